//! How commands end.

use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What a command hands back: anyhow carries the library's errors up to the one place that prints them.
pub type Outcome = anyhow::Result<()>;

/// A flag that is set once the user or the system asks the process to stop (SIGINT, SIGTERM). A second signal ends it
/// at once.
///
/// # Errors
/// A system that cannot be asked for signals.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
            .map_err(|error| Error::failed(format!("cannot listen for signals ({error})"), "SIGINT", "report this"))?;
    }
    Ok(stop)
}
