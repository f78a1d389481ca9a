//! The C library: a network with its weights, and an image in memory through it.
//!
//! `capi/include/huetape.h` is made of this file. What can go wrong comes back as a [`HuetapeStatus`] or as a null
//! pointer, and [`huetape_last_error`] says what it was; a panic is a failure like others.

#[cfg(test)]
mod tests;

use huetape::engine::device::{Device, DeviceChoice};
use huetape::imaging::codec::save::to_u8;
use huetape::imaging::picture::{Depth, Picture, PictureInfo, Samples};
use huetape::paint::colorizer::Colorizer;
use huetape::train::built_in::{GREY, NAMES};
use huetape::{Error, Result};
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

/// How a call ended.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HuetapeStatus {
    /// It did what it is for.
    Ok = 0,
    /// The work failed: memory, the device, a fault in the library.
    Failed = 1,
    /// An argument or a file is wrong.
    WrongInput = 2,
}

/// A network with its weights on a device.
pub struct HuetapeColorizer {
    colorizer: Colorizer,
    model: CString,
}

/// What an image in memory is called in messages.
const IN_MEMORY: &str = "the image in memory";

thread_local! {
    /// What went wrong last on this thread.
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Where the last panic was, on whatever thread.
static PANICKED_AT: Mutex<String> = Mutex::new(String::new());

/// The library's version, e.g. "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn huetape_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}

/// What went wrong in the last call of this thread that failed, in one line of UTF-8: what, where, what to do. Empty
/// where none has failed. The text is the library's, and stays until the next call of this thread that fails.
#[unsafe(no_mangle)]
pub extern "C" fn huetape_last_error() -> *const c_char {
    LAST_ERROR.with(|error| error.try_borrow().map_or(c"".as_ptr(), |error| error.as_ptr()))
}

/// Opens a network with its weights.
///
/// `weights`: "grey" or "sar", which come along; the path of a weight file; the folder of a training run; NULL for
/// "grey". `device`: "auto" (a GPU if there is one, else the CPU), "cpu", "gpu", "gpu:NAME"; NULL for what the variable
/// HUETAPE_DEVICE says, else "auto". NULL comes back where it fails. Close it with huetape_close.
///
/// # Safety
/// Both are NULL or texts that end in a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn huetape_open(weights: *const c_char, device: *const c_char) -> *mut HuetapeColorizer {
    let opened = guarded(|| {
        // SAFETY: as the caller promises.
        let (weights, device) = unsafe { (path_of(weights, "weights")?, text_of(device, "device")?) };
        let device = Device::open(&DeviceChoice::from_flag_or_env(device.as_deref())?)?;
        let colorizer = colorizer_of(&device, weights.as_deref().unwrap_or(Path::new(GREY)))?;
        let model = CString::new(colorizer.model()).unwrap_or_default();
        Ok(Box::into_raw(Box::new(HuetapeColorizer { colorizer, model })))
    });
    opened.unwrap_or(std::ptr::null_mut())
}

/// Colours an image of 8-bit samples, row by row without gaps, channels interleaved.
///
/// `source`: width x height x channels samples: 1 channel is grey, 3 are sRGB, of which the network reads the
/// lightness or the luma; of a network that reads several bands, all of them. It is prepared as the training prepared
/// its images. `colours`: room for width x height x huetape_bands samples, which is `colours_bytes`; 3 bands are
/// sRGB. It is written only where the call succeeds, and may be the same memory as `source`.
///
/// # Safety
/// `colorizer` comes from huetape_open and is not closed; the others lead to so many bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn huetape_colorize(
    colorizer: *const HuetapeColorizer,
    source: *const u8,
    width: usize,
    height: usize,
    channels: usize,
    colours: *mut u8,
    colours_bytes: usize,
) -> HuetapeStatus {
    let done = guarded(|| {
        // SAFETY: null, or a colorizer that is open.
        let colorizer = unsafe { colorizer.as_ref() }.ok_or_else(|| null("colorizer"))?;
        let size = format!("{width}x{height}x{channels}");
        let samples = |channels: usize| {
            let samples = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(channels));
            let known = samples.filter(|&samples| samples > 0 && isize::try_from(samples).is_ok());
            known.ok_or_else(|| wrong("an image that no memory holds, or an empty one", &size, "check its size"))
        };
        if source.is_null() {
            return Err(null("source"));
        }
        if colours.is_null() {
            return Err(null("colours"));
        }
        let needed = samples(colorizer.colorizer.bands())?;
        if colours_bytes != needed {
            let subject = format!("colours_bytes {colours_bytes}");
            return Err(wrong("another size than the coloured image has", &subject, &format!("use {needed}")));
        }
        // SAFETY: so many bytes lie there, as the caller promises; they are copied before anything is written.
        let samples = unsafe { std::slice::from_raw_parts(source, samples(channels)?) }.to_vec();
        let made = colour(&colorizer.colorizer, samples, [width, height, channels])?;
        if made.len() != needed {
            return Err(Error::failed("the network made another number of samples", made.len(), "report this"));
        }
        // SAFETY: room for so many bytes lies there, as the caller promises; `made` is memory of its own.
        unsafe { std::ptr::copy_nonoverlapping(made.as_ptr(), colours, needed) };
        Ok(())
    });
    done.map_or_else(|status| status, |()| HuetapeStatus::Ok)
}

/// Bands that the coloured image has, 3 for sRGB; 0 for NULL.
///
/// # Safety
/// As huetape_colorize.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn huetape_bands(colorizer: *const HuetapeColorizer) -> usize {
    // SAFETY: null, or a colorizer that is open.
    unsafe { colorizer.as_ref() }.map_or(0, |colorizer| colorizer.colorizer.bands())
}

/// The network's name, e.g. "colournet"; empty for NULL. The text is the colorizer's.
///
/// # Safety
/// As huetape_colorize.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn huetape_model(colorizer: *const HuetapeColorizer) -> *const c_char {
    // SAFETY: null, or a colorizer that is open.
    unsafe { colorizer.as_ref() }.map_or(c"".as_ptr(), |colorizer| colorizer.model.as_ptr())
}

/// Closes a colorizer that no other thread is using. NULL is nothing to close.
///
/// # Safety
/// `colorizer` is NULL, or comes from huetape_open and is used no more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn huetape_close(colorizer: *mut HuetapeColorizer) {
    let closed = guarded(|| {
        if !colorizer.is_null() {
            // SAFETY: it was made by `Box::into_raw`, and this is its end.
            drop(unsafe { Box::from_raw(colorizer) });
        }
        Ok(())
    });
    // Nobody is told: what could not be taken down is gone all the same.
    let _ = closed;
}

/// The network that a text names.
fn colorizer_of(device: &Device, weights: &Path) -> Result<Colorizer> {
    match weights.to_str().filter(|name| NAMES.contains(name)) {
        Some(name) => Colorizer::built_in(device, name),
        None if weights.is_dir() => Colorizer::open_run(device, weights),
        None => Colorizer::open(device, weights),
    }
}

/// An image through a network, as 8-bit samples.
fn colour(colorizer: &Colorizer, samples: Vec<u8>, [width, height, bands]: [usize; 3]) -> Result<Vec<u8>> {
    let info = PictureInfo { width, height, bands, depth: Depth::U8 };
    let picture = Picture { info, samples: Samples::U8(samples) };
    Ok(to_u8(&colorizer.colorize(&picture, Path::new(IN_MEMORY), colorizer.options())?.values))
}

/// Runs `work` and keeps what went wrong for [`huetape_last_error`].
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> std::result::Result<T, HuetapeStatus> {
    static QUIET: Once = Once::new();
    // The hook is that of the standard library within this library: a host written in Rust has its own.
    QUIET.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
            *PANICKED_AT.lock().unwrap_or_else(PoisonError::into_inner) = place;
        }));
    });
    let error = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error,
        Err(payload) => {
            let said = payload.downcast_ref::<String>().cloned();
            let said = said.or_else(|| payload.downcast_ref::<&str>().map(|said| (*said).to_owned()));
            let place = PANICKED_AT.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Error::failed("a fault in huetape itself", place, format!("report it: {}", said.unwrap_or_default()))
        }
    };
    let line = error.to_string().replace(['\0', '\n'], " ");
    LAST_ERROR.with(|last| *last.borrow_mut() = CString::new(line).unwrap_or_default());
    Err(if error.exit_code() == 2 { HuetapeStatus::WrongInput } else { HuetapeStatus::Failed })
}

fn wrong(what: &str, subject: &str, remedy: &str) -> Error {
    Error::input(what, subject, remedy)
}

fn null(argument: &str) -> Error {
    wrong("a null pointer", argument, "give memory for it")
}

/// A text; `None` for null.
///
/// # Safety
/// `text` is null or ends in a zero.
unsafe fn text_of(text: *const c_char, argument: &str) -> Result<Option<String>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    let bytes = unsafe { CStr::from_ptr(text) };
    let text = bytes.to_str().map_err(|error| wrong("not UTF-8", argument, "encode it so").caused_by(error))?;
    Ok(Some(text.to_owned()))
}

/// A path; `None` for null. On Unix any bytes are one.
///
/// # Safety
/// As [`text_of`].
unsafe fn path_of(text: *const c_char, argument: &str) -> Result<Option<PathBuf>> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let _ = argument;
        if text.is_null() {
            return Ok(None);
        }
        // SAFETY: as the caller promises.
        let bytes = unsafe { CStr::from_ptr(text) };
        Ok(Some(std::ffi::OsStr::from_bytes(bytes.to_bytes()).into()))
    }
    #[cfg(not(unix))]
    {
        // SAFETY: as the caller promises.
        Ok(unsafe { text_of(text, argument)? }.map(PathBuf::from))
    }
}
