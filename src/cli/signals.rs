//! What signals do. The first one always ends the program: by the command itself where it looks at the flag in time,
//! else without it. What is unfinished is taken away.

use crate::cli::stdio::is_silent;
use crate::error::{Error, Result};
use crate::files::abandon_unfinished;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long a command may go on once it has been asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: it does not look.
    None,
    /// A moment, in which it may say what became of its work. It may also be waiting for a file that never comes.
    Moment,
    /// As long as it takes: it has something to save.
    UntilSaved,
}

/// What [`Patience::Moment`] is.
const MOMENT: Duration = Duration::from_secs(5);
/// Signals that come together are one: a terminal that closes sends two.
const TOGETHER: Duration = Duration::from_millis(500);
/// How often the signals are looked for.
const PULSE: Duration = Duration::from_millis(25);

/// Set by a signal.
static SIGNALLED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
/// Set once the command has been asked to end.
static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static PATIENCE: AtomicU8 = AtomicU8::new(Patience::None as u8);

/// Begins to listen: SIGINT, SIGTERM and SIGHUP end the program. A SIGHUP that is ignored, as under nohup, stays so.
///
/// # Errors
/// A system that cannot be asked for signals.
pub fn listen() -> Result<()> {
    let failed = |error| Error::failed(format!("cannot listen for signals ({error})"), "SIGINT", "report this");
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, SIGNALLED.clone()).map_err(failed)?;
    }
    #[cfg(target_os = "linux")]
    if hangup_counts() {
        signal_hook::flag::register(signal_hook::consts::SIGHUP, SIGNALLED.clone()).map_err(failed)?;
    }
    thread::Builder::new().name("signals".to_owned()).spawn(watch).map(drop).map_err(failed)
}

/// The flag that is set once the program is to end. Whoever takes it looks at it, and gets a moment for that.
pub fn stop_flag() -> Arc<AtomicBool> {
    be_patient(Patience::Moment);
    ASKED.clone()
}

/// Whether the program has been asked to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// How long the command may go on from here once it has been asked to end.
pub fn be_patient(patience: Patience) {
    PATIENCE.store(patience as u8, Ordering::Relaxed);
}

fn watch() {
    while !SIGNALLED.swap(false, Ordering::Relaxed) {
        thread::sleep(PULSE);
    }
    ASKED.store(true, Ordering::Relaxed);
    let asked = Instant::now();
    loop {
        let patience = PATIENCE.load(Ordering::Relaxed);
        let again = SIGNALLED.swap(false, Ordering::Relaxed) && asked.elapsed() > TOGETHER;
        let late = patience == Patience::Moment as u8 && asked.elapsed() > MOMENT;
        if again || late || patience == Patience::None as u8 {
            break;
        }
        thread::sleep(PULSE);
    }
    abandon_unfinished();
    let command = std::env::args().nth(1).unwrap_or_default();
    if !is_silent() {
        errln!("error: interrupted: huetape {command}: run it again, a training with --resume");
    }
    // At once: drivers may be at work on other threads.
    signal_hook::low_level::exit(1);
}

/// Whether SIGHUP means what it does by default. Only Linux says so without unsafe code; elsewhere it is left alone.
#[cfg(target_os = "linux")]
fn hangup_counts() -> bool {
    let ignored = |status: String| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    let mask = std::fs::read_to_string("/proc/self/status").ok().and_then(ignored);
    mask.is_some_and(|mask| mask & 1 << (signal_hook::consts::SIGHUP - 1) == 0)
}
