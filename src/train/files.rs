//! Files that are whole or absent, and the layout of a run folder.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// How the names of files that are still being written begin. One that is left over tells of a process that was killed.
const UNFINISHED: &str = ".unfinished-";

/// Writes `bytes` to `path`, whole or not at all.
///
/// The bytes go to a temporary file in the same folder, reach the disk, and only then take the name `path`, replacing
/// what was there: a reader, a kill or a power cut never meets half a file.
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
    let folder = folder_of(path);
    replace(path, folder, write).map_err(|error| io_error("cannot write", path, &error))
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
        io::ErrorKind::IsADirectory => Error::input(format!("{doing}, it is a folder"), subject, "choose another path"),
        _ => Error::failed(doing, subject, error.to_string()),
    }
}

fn replace(path: &Path, folder: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    #[cfg(unix)]
    {
        // As any new file: readable to whom the umask allows, not private like a temporary file.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    let mut buffered = BufWriter::new(&mut file);
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder);
    Ok(())
}

/// Puts a rename on the disk. File systems that cannot do this for a folder say so; the file itself is safe by then.
fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    #[cfg(not(unix))]
    let _ = folder;
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A checkpoint of a run folder: `checkpoints/step-00000600.safetensors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The optimiser updates that went into it.
    pub step: u64,
    /// Where it lies.
    pub path: PathBuf,
}

/// A run folder: `config.toml`, `metrics.jsonl`, `checkpoints/`, `samples/`, `report.html`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Makes a new run folder, parents included.
    ///
    /// # Errors
    ///
    /// A folder or file of that name that exists already, or a place that may not be written.
    pub fn create(root: impl Into<PathBuf>) -> Result<RunDir> {
        let root = root.into();
        fs::create_dir_all(folder_of(&root)).map_err(|error| io_error("cannot create the folder", &root, &error))?;
        match fs::create_dir(&root) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let remedy = "choose another --out, or add --resume to go on with it";
                return Err(Error::input("the run folder exists already", root.display(), remedy));
            }
            made => made.map_err(|error| io_error("cannot create the folder", &root, &error))?,
        }
        RunDir::resume(root)
    }

    /// The run folder at `root` to go on with: made if it is missing, missing subfolders too, and cleared of files that
    /// a killed process left unfinished.
    ///
    /// # Errors
    ///
    /// A place that may not be read or written.
    pub fn resume(root: impl Into<PathBuf>) -> Result<RunDir> {
        let run = RunDir { root: root.into() };
        for folder in [run.checkpoints(), run.samples()] {
            fs::create_dir_all(&folder).map_err(|error| io_error("cannot create the folder", &folder, &error))?;
        }
        for folder in [run.root.clone(), run.checkpoints(), run.samples()] {
            for (name, path) in entries(&folder)? {
                if name.starts_with(UNFINISHED) {
                    remove(&path)?;
                }
            }
        }
        Ok(run)
    }

    /// The run folder at `root`, for reading: nothing is made or removed.
    ///
    /// # Errors
    ///
    /// No folder there.
    pub fn open(root: impl Into<PathBuf>) -> Result<RunDir> {
        let root = root.into();
        if !root.is_dir() {
            return Err(Error::input("no such run folder", root.display(), "give the --out folder of a training run"));
        }
        Ok(RunDir { root })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `config.toml`: the settings of the run.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// `metrics.jsonl`: one line a step.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// `report.html`: curves, samples, tables.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// `checkpoints/`: weights and optimiser state, flat.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// `samples/`: sample pictures.
    pub fn samples(&self) -> PathBuf {
        self.root.join("samples")
    }

    /// Where the checkpoint of `step` lies: `checkpoints/step-00000600.safetensors`.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.checkpoints().join(format!("step-{step:08}.safetensors"))
    }

    /// Where the checkpoint with the best validation lies: `checkpoints/best.safetensors`.
    pub fn best(&self) -> PathBuf {
        self.checkpoints().join("best.safetensors")
    }

    /// The checkpoints of single steps, newest first; `best.safetensors` and foreign files are not among them.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read.
    pub fn list_checkpoints(&self) -> Result<Vec<Checkpoint>> {
        let step_of = |name: &str| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok();
        let files = entries(&self.checkpoints())?;
        let mut found: Vec<Checkpoint> =
            files.into_iter().filter_map(|(name, path)| Some(Checkpoint { step: step_of(&name)?, path })).collect();
        found.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.step));
        Ok(found)
    }

    /// Removes all checkpoints of single steps but the `keep` newest, and never the newest; `best.safetensors` stays.
    ///
    /// # Errors
    ///
    /// A file that cannot be removed.
    pub fn prune(&self, keep: usize) -> Result<()> {
        self.list_checkpoints()?.iter().skip(keep.max(1)).try_for_each(|checkpoint| remove(&checkpoint.path))
    }
}

/// Names and paths of what lies in `folder`; names that are not Unicode are none of ours.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let list = || -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, entry.path()));
            }
        }
        Ok(found)
    };
    list().map_err(|error| io_error("cannot read the folder", folder, &error))
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|error| io_error("cannot remove", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = entries(folder).unwrap().into_iter().map(|(name, _)| name).collect();
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
    fn a_written_file_has_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        fs::write(folder.path().join("plain"), "").unwrap();
        write_whole(&folder.path().join("whole"), b"").unwrap();
        assert_eq!(mode("whole"), mode("plain"));
    }

    #[test]
    fn a_new_run_has_its_folders_and_an_old_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("runs/colournet");
        let run = RunDir::create(&root).unwrap();
        assert_eq!(names(run.root()), ["checkpoints", "samples"]);
        let error = RunDir::create(&root).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--resume"), "{error}");
        assert_eq!(RunDir::open(&root).unwrap(), run);
    }

    #[test]
    fn opening_a_run_that_is_not_there_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(RunDir::open(folder.path().join("none")).unwrap_err().exit_code(), 2);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn checkpoints_are_listed_newest_first_beyond_eight_digits_too() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path().join("run")).unwrap();
        for step in [7, 123_456_789, 600] {
            fs::write(run.checkpoint(step), "").unwrap();
        }
        for other in [run.best(), run.checkpoints().join("step-x.safetensors"), run.checkpoints().join("notes.txt")] {
            fs::write(other, "").unwrap();
        }
        let steps: Vec<u64> = run.list_checkpoints().unwrap().iter().map(|checkpoint| checkpoint.step).collect();
        assert_eq!(steps, [123_456_789, 600, 7]);
        assert!(run.checkpoint(600).ends_with("checkpoints/step-00000600.safetensors"));
    }

    #[test]
    fn pruning_keeps_the_newest_and_the_best() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path().join("run")).unwrap();
        (1..=5).for_each(|step| fs::write(run.checkpoint(step), "").unwrap());
        fs::write(run.best(), "").unwrap();
        run.prune(2).unwrap();
        let two = ["best.safetensors", "step-00000004.safetensors", "step-00000005.safetensors"];
        assert_eq!(names(&run.checkpoints()), two);
        run.prune(0).unwrap();
        assert_eq!(names(&run.checkpoints()), ["best.safetensors", "step-00000005.safetensors"]);
    }

    #[test]
    fn resuming_clears_what_a_killed_process_left_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("run");
        let run = RunDir::create(&root).unwrap();
        fs::write(run.checkpoint(3), "").unwrap();
        for place in [run.root().to_path_buf(), run.checkpoints(), run.samples()] {
            fs::write(place.join(format!("{UNFINISHED}x1")), "half").unwrap();
        }
        RunDir::resume(&root).unwrap();
        assert_eq!(names(run.root()), ["checkpoints", "samples"]);
        assert_eq!(names(&run.checkpoints()), ["step-00000003.safetensors"]);
        assert!(names(&run.samples()).is_empty());
    }
}
