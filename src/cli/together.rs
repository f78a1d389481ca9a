//! Several processes that a launcher of MPI has started: the first one speaks for all.

use crate::cli::signals;
use crate::cli::stdio;
use crate::engine::ranks::Ranks;
use crate::error::Result;
use std::time::Duration;

/// How long another process than the first waits before it tells what went wrong: where all meet the same, the first
/// has told it by then and ended them.
const TURN: Duration = Duration::from_secs(1);
/// Where Open MPI says how many processes it has started.
#[cfg(not(feature = "mpi"))]
const LAUNCHED: &str = "OMPI_COMM_WORLD_SIZE";

/// The processes that this one is to work with. All but the first fall silent.
///
/// # Errors
/// An MPI that cannot be used.
pub fn join() -> Result<Ranks> {
    #[cfg(feature = "mpi")]
    {
        let ranks = crate::engine::mpi::join()?;
        if !ranks.leads() {
            stdio::fall_silent();
        }
        Ok(ranks)
    }
    #[cfg(not(feature = "mpi"))]
    {
        let launched = std::env::var(LAUNCHED).ok().and_then(|size| size.parse::<usize>().ok());
        if let Some(size) = launched.filter(|size| *size > 1) {
            noteln!("built without the feature `mpi`: each of the {size} processes works by itself");
        }
        Ok(Ranks::ALONE)
    }
}

/// Whether this process is to tell that its command line cannot be read: the others have the same.
pub fn tells_of_usage() -> bool {
    #[cfg(feature = "mpi")]
    return crate::engine::mpi::launched_as().is_none_or(|rank| rank == 0);
    #[cfg(not(feature = "mpi"))]
    true
}

/// Takes leave of the others, who have done their work too.
pub fn leave() {
    #[cfg(feature = "mpi")]
    crate::engine::mpi::leave();
}

/// Whether this process is to tell of an error; where it is, as which one of several.
pub fn teller() -> Option<String> {
    if !stdio::is_silent() {
        return Some(String::new());
    }
    std::thread::sleep(TURN);
    #[cfg(feature = "mpi")]
    let rank = crate::engine::mpi::launched_as().unwrap_or_default();
    #[cfg(not(feature = "mpi"))]
    let rank = 0;
    (!signals::asked()).then(|| format!("process {rank}: "))
}

/// Ends the others, which would wait for this one for ever.
pub fn abort(code: u8) {
    #[cfg(feature = "mpi")]
    crate::engine::mpi::abort(code);
    #[cfg(not(feature = "mpi"))]
    let _ = code;
}
