//! What is printed: results on stdout, progress and complaints on stderr. Work goes on whether somebody reads them or
//! not.

use crate::error::{Error, ErrorKind, Result};
use crate::files::write_whole;
use std::fmt::Arguments;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// Prints on stdout.
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::stdio::print(format_args!($($text)*)) };
}

/// Prints a line on stdout.
macro_rules! outln {
    () => { $crate::cli::stdio::print(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::stdio::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line on stderr.
macro_rules! errln {
    ($($text:tt)*) => { $crate::cli::stdio::complain(format_args!($($text)*)) };
}

/// Prints a line on stderr that is no complaint: a note, how far the work is.
macro_rules! noteln {
    ($($text:tt)*) => { $crate::cli::stdio::note(format_args!($($text)*)) };
}

/// How much is told on stderr beside errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// Nothing.
    Quiet,
    /// Notes, and how far the work is.
    Usual,
    /// Each step, what caused an error, what it all took.
    Verbose,
}

static VOLUME: AtomicU8 = AtomicU8::new(Volume::Usual as u8);
/// Whether printing is all that the command does.
static PRINTS_ONLY: AtomicBool = AtomicBool::new(false);
/// Whether what is printed goes to stderr, stdout being a file's.
static ASIDE: AtomicBool = AtomicBool::new(false);
/// Whether another process speaks for this one.
static SILENT: AtomicBool = AtomicBool::new(false);
/// What kept stdout from being written first.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Sets how much is told.
pub fn set_volume(volume: Volume) {
    VOLUME.store(volume as u8, Ordering::Relaxed);
}

/// From here on only errors are printed: another process speaks for this one.
#[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "one process speaks for itself"))]
pub fn fall_silent() {
    set_volume(Volume::Quiet);
    SILENT.store(true, Ordering::Relaxed);
}

/// Whether another process speaks for this one.
pub fn is_silent() -> bool {
    cfg!(feature = "mpi") && SILENT.load(Ordering::Relaxed)
}

/// How much is told.
pub fn volume() -> Volume {
    let known = [Volume::Quiet, Volume::Verbose];
    known.into_iter().find(|known| *known as u8 == VOLUME.load(Ordering::Relaxed)).unwrap_or(Volume::Usual)
}

/// From here on the command prints and does nothing else: it ends with its reader.
pub fn prints_only() {
    PRINTS_ONLY.store(true, Ordering::Relaxed);
}

/// The file that a user calls `-`.
pub fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Stdout is to hold one of these files and nothing else, if one is called `-`: what is printed goes to stderr.
///
/// # Errors
/// Two files for stdout.
pub fn make_way<'a>(files: impl Iterator<Item = &'a Path>) -> Result<()> {
    let count = files.filter(|file| is_stdout(file)).count();
    crate::ensure!(
        count < 2,
        Error::input("two results for standard output", "-", "give one of them the name of a file")
    );
    ASIDE.store(count > 0, Ordering::Relaxed);
    Ok(())
}

/// Writes a result to a file, whole or not at all, or to stdout where its name is `-`.
///
/// # Errors
/// As [`write_whole`].
pub fn write_result(path: &Path, bytes: &[u8]) -> Result<()> {
    if !is_stdout(path) {
        return write_whole(path, bytes);
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| lost(&error))
}

/// Whether figures that are printed can be written as JSON too; the small static program leaves that out.
pub const JSON: bool = cfg!(feature = "json");

/// As [`make_way`], for the file that [`write_json`] will write.
///
/// # Errors
/// A program that was built without this.
pub fn make_way_for_json(path: Option<&Path>) -> Result<()> {
    let remedy = "leave it out, or use a huetape with it";
    let without = || Error::input("this huetape was built without the feature `json`", "--json", remedy);
    crate::ensure!(JSON || path.is_none(), without());
    make_way(path.into_iter())
}

/// Writes figures as JSON where they are asked for, see [`write_result`].
///
/// # Errors
/// As [`write_whole`].
pub fn write_json(path: Option<&Path>, figures: impl FnOnce() -> serde_json::Value) -> Result<()> {
    match path {
        Some(path) if JSON => write_result(path, format!("{:#}\n", figures()).as_bytes()),
        _ => Ok(()),
    }
}

/// What `out!` does.
pub fn print(text: Arguments<'_>) {
    if is_silent() {
        return;
    }
    if ASIDE.load(Ordering::Relaxed) {
        let _ = io::stderr().write_fmt(text);
    } else if let Err(error) = io::stdout().write_fmt(text) {
        if error.kind() == io::ErrorKind::BrokenPipe && PRINTS_ONLY.load(Ordering::Relaxed) {
            // The reader has seen enough (`| head`).
            std::process::exit(0);
        }
        FAILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// What `errln!` does: where nobody can be told, nobody is.
pub fn complain(text: Arguments<'_>) {
    let _ = io::stderr().write_fmt(format_args!("{text}\n"));
}

/// What `noteln!` does.
pub fn note(text: Arguments<'_>) {
    if volume() > Volume::Quiet {
        complain(text);
    }
}

/// Whether everything has been printed that a command was there to print.
///
/// # Errors
/// A full disk, of a command that does nothing but print.
pub fn check_printed() -> Result<()> {
    let flushed = io::stdout().flush();
    let failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner).take().or(flushed.err());
    match failed {
        Some(error) if PRINTS_ONLY.load(Ordering::Relaxed) && error.kind() != io::ErrorKind::BrokenPipe => {
            Err(lost(&error))
        }
        _ => Ok(()),
    }
}

fn lost(error: &io::Error) -> Error {
    let what = format!("cannot print ({error})");
    Error::failed(what, "standard output", "free some space, or send it elsewhere").of(ErrorKind::Io)
}
