//! Flags about the device, which every command that computes has.

use crate::cli::args::given::{Choice, Given};
use crate::engine::device::{Device, DeviceChoice, Forced, Precision, parse_bytes};
use crate::error::{Error, Result};
use crate::train::settings::checks;
use crate::train::settings::table::Settings;
use clap::Args;

/// The settings of a device.
#[derive(Debug, Clone, Default)]
pub struct OfDevice;

impl Choice for OfDevice {
    const KEYS: Option<&'static [&'static str]> = Some(&["device", "precision", "memory", "threads", "body"]);
}

/// Where a command computes.
#[derive(Args, Debug, Clone, Default)]
pub struct DeviceArgs {
    #[command(flatten)]
    given: Given<OfDevice>,
}

impl DeviceArgs {
    /// Opens the device that the flag or the environment names and sets its cap and the number of threads.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(&self) -> Result<Device> {
        open(&self.given.settings)
    }

    /// As [`DeviceArgs::open`] for a device of the caller's choice.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open_choice(&self, choice: &DeviceChoice) -> Result<Device> {
        open_choice(&self.given.settings, choice)
    }

    /// The device that the flag names.
    pub fn device(&self) -> Option<&str> {
        self.given.settings.device.as_deref()
    }

    /// The number of threads that was given.
    pub fn threads(&self) -> Option<usize> {
        self.given.settings.threads
    }
}

/// Opens the device that settings or the environment name and sets its cap and the number of threads.
///
/// # Errors
/// A device that is not there; values that make no sense.
pub fn open(settings: &Settings) -> Result<Device> {
    open_choice(settings, &DeviceChoice::from_flag_or_env(settings.device.as_deref())?)
}

/// What a command computes on, in a line that it prints as it begins.
pub fn line(device: &Device) -> String {
    let software = "a driver that computes on the processor: --device cpu is mostly faster";
    let f16 = if device.precision() == Precision::F16 { ", convolutions in f16" } else { "" };
    let name = device.name() + f16;
    match (device.is_gpu(), device.note().or(device.is_software().then_some(software))) {
        (false, _) => format!("device: {name}, {} threads", rayon::current_num_threads()),
        (true, None) => format!("device: {name}"),
        (true, Some(note)) => format!("device: {name}, {note}"),
    }
}

/// Threads that make sense, at most, for each core: more only wait for each other.
const THREADS_A_CORE: usize = 4;

/// Sets the number of threads; commands that work in parallel before they open a device call it first.
///
/// # Errors
/// No threads.
pub fn set_threads(settings: &Settings) -> Result<()> {
    if let Some(threads) = settings.threads {
        crate::ensure!(threads > 0, Error::input("no threads to work with", "⟨threads⟩ 0", "use 1 or more"));
        let most = THREADS_A_CORE * std::thread::available_parallelism().map_or(1, usize::from);
        if threads > most {
            noteln!("--threads {threads}: {most} are used, {THREADS_A_CORE} for each core");
        }
        let threads = threads.min(most);
        // Fails only when the pool exists already: the first call stands.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    Ok(())
}

fn open_choice(settings: &Settings, choice: &DeviceChoice) -> Result<Device> {
    set_threads(settings)?;
    let cap = match &settings.memory {
        None => None,
        Some(text) => Some(parse_bytes(text).ok_or_else(|| {
            Error::input("not a size in bytes", format!("⟨memory⟩ {text}"), "write e.g. 800M, 6G or 6.5GiB")
        })?),
    };
    let forced = forced_bodies(settings)?;
    let precision = settings.precision.as_deref().map_or(Ok(Precision::F32), str::parse)?;
    let device = Device::open_for(choice, precision)?;
    device.set_memory_cap(cap);
    let asked = settings.body.is_some();
    let remedy = "leave it out, or use ⟨device⟩ gpu";
    crate::ensure!(
        device.is_gpu() || !asked,
        Error::input("the CPU runs the twins of kernels, not their bodies", "⟨body⟩", remedy)
    );
    device.force_bodies(forced);
    #[cfg(feature = "gpu")]
    if device.is_gpu() {
        use crate::workshop::{cache, table};
        cache::keep_pipelines(&device);
        device.use_tuned(table::tuned(table::file().as_deref(), &device));
    }
    Ok(device)
}

/// The bodies that the settings ask for, and after them those of `HUETAPE_BODY`.
fn forced_bodies(settings: &Settings) -> Result<Forced> {
    let mut all = Forced::default();
    for text in settings.body.iter().cloned().chain(std::env::var("HUETAPE_BODY")) {
        checks::bodies(&text, "body")?;
        all = all.and(text.parse()?);
    }
    Ok(all)
}
