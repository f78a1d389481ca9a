//! Files that are whole or absent.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// How the names of files that are still being written begin. One that is left over tells of a process that was killed.
pub(crate) const UNFINISHED: &str = ".unfinished-";

/// The unfinished files of this process, for [`abandon_unfinished`].
static BEGUN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Writes `bytes` to `path`, whole or not at all.
///
/// The bytes go to a temporary file in the same folder, reach the disk, and only then take the name `path`, replacing
/// what was there: a reader, a kill or a power cut never meets half a file. A `path` that is a link stays one: what it
/// leads to is replaced. A pipe or a device is written into.
///
/// # Errors
///
/// Names `path`: no such folder, a folder that may not be written, a full disk, or what else the system said.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole_with(path, |file| file.write_all(bytes))
}

/// Like [`write_whole`], for content that `write` produces piece by piece.
///
/// # Errors
///
/// As [`write_whole`]; an error that `write` returns leaves no file behind.
pub fn write_whole_with(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let written = if is_special(path) { pour(path, write) } else { replace(path, write) };
    written.map_err(|error| io_error("cannot write", path, &error))
}

/// Checks, before any work, that [`write_whole`] can make the file.
///
/// # Errors
///
/// As [`write_whole`].
#[cfg(feature = "cli")]
pub(crate) fn check_place(path: &Path) -> Result<()> {
    if is_special(path) { Ok(()) } else { Unfinished::create(path).map(drop) }
}

/// Turns an I/O error met while `doing` something to `path` into an [`Error`] that says what to do about it.
///
/// What the user named wrongly (a path that does not exist or may not be touched) is wrong input; the rest, such as a
/// full disk, is failed work.
pub fn io_error(doing: &str, path: &Path, error: &io::Error) -> Error {
    let subject = path.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::failed(format!("{doing}, the disk is full"), subject, "free some space or choose another folder")
                .of(ErrorKind::Io)
        }
        io::ErrorKind::FileTooLarge => {
            let remedy = "raise the limit (`ulimit -f`), or choose another folder";
            Error::failed(format!("{doing}, the system allows no file of that size"), subject, remedy).of(ErrorKind::Io)
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::input(format!("{doing}, permission denied"), subject, "choose a folder that may be written")
        }
        io::ErrorKind::NotFound => {
            Error::input(format!("{doing}, no such file or folder"), subject, "check the path for a misspelling")
        }
        io::ErrorKind::NotADirectory => {
            Error::input(format!("{doing}, part of the path is a file"), subject, "choose another path")
        }
        io::ErrorKind::AlreadyExists => Error::input(
            format!("{doing}, a file of that name is in the way"),
            subject,
            "choose another path, or take it away",
        ),
        io::ErrorKind::IsADirectory => Error::input(format!("{doing}, it is a folder"), subject, "choose another path"),
        _ => Error::failed(doing, subject, error.to_string()),
    }
}

/// Bytes that are free where `path` is to be written; `None` where the system does not say.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let there = rustix::fs::statvfs(folder_of(path)).ok()?;
        // File systems without blocks have no count of free ones either.
        (there.f_blocks > 0).then(|| there.f_bavail.saturating_mul(there.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// A file that is written bit by bit over a long time: dropped before [`Unfinished::finish`] it leaves nothing.
#[derive(Debug)]
pub(crate) struct Unfinished {
    file: tempfile::NamedTempFile,
    path: PathBuf,
    /// Where the file goes: `path`, or what it leads to where it is a link.
    place: PathBuf,
    _begun: Begun,
}

impl Unfinished {
    /// Begins the file that will be `path`: a temporary one in the same folder.
    ///
    /// # Errors
    ///
    /// As [`write_whole`].
    pub fn create(path: &Path) -> Result<Self> {
        crate::ensure!(
            !is_special(path),
            Error::input("a pipe or a device, where a file is needed", path.display(), "name a file")
        );
        let place = behind_links(path);
        let (file, begun) = temporary(folder_of(&place)).map_err(|error| io_error("cannot write", path, &error))?;
        Ok(Unfinished { file, path: path.to_path_buf(), place, _begun: begun })
    }

    /// The open file.
    pub fn file(&mut self) -> &mut fs::File {
        self.file.as_file_mut()
    }

    /// What the file is named until it is finished.
    pub fn unfinished_path(&self) -> &Path {
        self.file.path()
    }

    /// What the file will be named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the file on the disk and gives it its name.
    ///
    /// # Errors
    ///
    /// As [`write_whole`].
    pub fn finish(self) -> Result<()> {
        let failed = |error: &io::Error| io_error("cannot write", &self.path, error);
        self.file.as_file().sync_all().map_err(|error| failed(&error))?;
        self.file.persist(&self.place).map_err(|error| failed(&error.error))?;
        sync_folder(folder_of(&self.place));
        Ok(())
    }
}

/// Removes every unfinished file of this process and lets no other be begun: the process must end next.
#[cfg(feature = "cli")]
pub(crate) fn abandon_unfinished() {
    let begun = begun();
    begun.iter().for_each(|file| drop(fs::remove_file(file)));
    // Whoever would begin a file waits for the end.
    std::mem::forget(begun);
}

/// An entry of [`BEGUN`].
#[derive(Debug)]
struct Begun(PathBuf);

impl Drop for Begun {
    fn drop(&mut self) {
        begun().remove(&self.0);
    }
}

fn begun() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a pipe, a device or the like lies there, which must not be replaced.
fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

fn pour(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(fs::OpenOptions::new().write(true).open(path)?);
    write(&mut file)?;
    file.flush()
}

/// The path that links lead to, the file's own where it is none.
fn behind_links(path: &Path) -> PathBuf {
    let mut place = path.to_path_buf();
    // As many as Linux follows.
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&place) else { break };
        place = folder_of(&place).join(target);
    }
    place
}

fn temporary(folder: &Path) -> io::Result<(tempfile::NamedTempFile, Begun)> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    #[cfg(unix)]
    {
        // As any new file: readable to whom the umask allows, not private like a temporary file.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut begun = begun();
    let file = builder.tempfile_in(folder)?;
    let entry = Begun(file.path().to_path_buf());
    begun.insert(entry.0.clone());
    Ok((file, entry))
}

fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let place = behind_links(path);
    let folder = folder_of(&place);
    let (mut file, _begun) = temporary(folder)?;
    let mut watched = Watched { file: &mut file, failed: None };
    let mut buffered = BufWriter::new(&mut watched);
    let written = write(&mut buffered).and_then(|()| buffered.flush());
    // What is left in it is of no use once a write has failed.
    drop(buffered.into_parts());
    let failed = watched.failed;
    written.map_err(|error| failed.map_or(error, io::Error::from))?;
    file.as_file().sync_all()?;
    file.persist(&place).map_err(|error| error.error)?;
    sync_folder(folder);
    Ok(())
}

/// A file that remembers that there was no room for a write: encoders hand on no more than the text of an error.
struct Watched<'a> {
    file: &'a mut tempfile::NamedTempFile,
    failed: Option<io::ErrorKind>,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|error| {
            // Others say more in their own words.
            let told = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
            self.failed = self.failed.or(told.contains(&error.kind()).then_some(error.kind()));
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Puts a rename on the disk. File systems that cannot do this for a folder say so; the file itself is safe by then.
fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    #[cfg(not(unix))]
    let _ = folder;
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_the_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        write_whole(&path, b"first, longer").unwrap();
        write_whole(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(folder.path()), ["config.toml"]);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        write_whole(&path, b"old").unwrap();
        let error = write_whole_with(&path, |file| {
            file.write_all(b"half of the ne")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains("disk is full") && error.to_string().contains("a.safetensors"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a.safetensors"]);
    }

    #[test]
    fn a_missing_folder_is_wrong_input_that_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_whole(&folder.path().join("nowhere/report.html"), b"").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("nowhere/report.html"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_leads_to_is_written_and_the_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("deep")).unwrap();
        fs::write(at("deep/a.json"), "old").unwrap();
        std::os::unix::fs::symlink("deep/a.json", at("link")).unwrap();
        std::os::unix::fs::symlink("link", at("link-to-link")).unwrap();
        std::os::unix::fs::symlink("deep/none.json", at("dangling")).unwrap();
        for (name, file) in [("link", "deep/a.json"), ("link-to-link", "deep/a.json"), ("dangling", "deep/none.json")] {
            write_whole(&at(name), name.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(at(file)).unwrap(), name);
            let mut file = Unfinished::create(&at(name)).unwrap();
            file.file().write_all(b"new").unwrap();
            file.finish().unwrap();
            assert!(at(name).is_symlink() && fs::read(at(name)).unwrap() == b"new");
        }
        assert_eq!(names(&at("deep")), ["a.json", "none.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_into_and_never_replaced() {
        use std::os::unix::fs::FileTypeExt;
        let null = Path::new("/dev/null");
        write_whole(null, b"nothing").unwrap();
        let error = Unfinished::create(null).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("/dev/null"), "{error}");
        assert!(fs::metadata(null).unwrap().file_type().is_char_device());
    }

    #[cfg(unix)]
    #[test]
    fn a_written_file_has_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        fs::write(folder.path().join("plain"), "").unwrap();
        write_whole(&folder.path().join("whole"), b"").unwrap();
        assert_eq!(mode("whole"), mode("plain"));
    }
}
