//! One process at a time writes into a run folder.

use crate::error::{Error, ErrorKind, Result};
use crate::files::io_error;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind as IoErrorKind, Write};
use std::path::Path;

/// The file that is locked. It stays, empty, when the run ends: what counts is the lock, which the system takes away
/// with the process.
const LOCK: &str = ".lock";

/// The right to write into a run folder, until it is dropped or the process ends, however that comes about.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

impl RunLock {
    /// Takes the right to the folder at `root`, which must be there.
    ///
    /// # Errors
    ///
    /// A run that another process, named by its id, writes into; a folder that may not be written.
    pub fn take(root: &Path) -> Result<RunLock> {
        let path = root.join(LOCK);
        let failed = |error: &std::io::Error| io_error("cannot lock the run", &path, error);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let mut file = file.map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let id = fs::read_to_string(&path).unwrap_or_default();
                let who = if id.is_empty() { "another process".to_owned() } else { format!("process {id}") };
                let remedy = "wait for it, stop it, or choose another ⟨out⟩";
                return Err(
                    Error::input(format!("{who} trains in this folder"), root.display(), remedy).of(ErrorKind::Exists)
                );
            }
            // Some network file systems know no locks: there the user has to take care.
            Err(TryLockError::Error(error)) if error.kind() == IoErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        let named = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        named.map_err(|error| failed(&error))?;
        Ok(RunLock { file })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // The name of a process that is gone would only confuse.
        let _ = self.file.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_free_again_after() {
        let folder = tempfile::tempdir().unwrap();
        let lock = RunLock::take(folder.path()).unwrap();
        let error = RunLock::take(folder.path()).unwrap_err();
        assert_eq!((error.exit_code(), error.kind()), (2, ErrorKind::Exists));
        let id = std::process::id();
        #[cfg(unix)]
        assert!(error.to_string().starts_with(&format!("process {id} trains in this folder")), "{error}");
        drop(lock);
        drop(RunLock::take(folder.path()).unwrap());
        assert_eq!(RunLock::take(&folder.path().join("none")).unwrap_err().exit_code(), 2);
    }
}
