//! The layout of a run folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{UNFINISHED, folder_of, io_error};
use crate::report::page::ended_of;

/// How the names of event files begin, by which TensorBoard knows them.
const EVENTS: &str = "events.out.tfevents.";

/// A checkpoint of a run folder: `checkpoints/step-00000600.safetensors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointFile {
    /// The optimiser updates that went into it.
    pub step: u64,
    /// Where it lies.
    pub path: PathBuf,
}

/// A sample image of a run folder: `samples/step-00000600-1.png`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleFile {
    /// The optimiser updates before it.
    pub step: u64,
    /// Which of the sample images, from 1.
    pub number: usize,
    path: PathBuf,
}

impl SampleFile {
    /// The PNG file's bytes.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn read(&self) -> Result<Vec<u8>> {
        fs::read(&self.path).map_err(|error| io_error("cannot read", &self.path, &error))
    }
}

/// A run folder: `config.toml`, `metrics.jsonl`, `checkpoints/`, `samples/`, `report.html`, event files if wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Makes a new run folder, parents included. An empty folder is as good as none.
    ///
    /// # Errors
    ///
    /// A file of that name, a folder that holds anything, or a place that may not be written.
    pub fn create(root: impl Into<PathBuf>) -> Result<RunDir> {
        let root = root.into();
        RunDir::make(&root, false)?;
        RunDir::resume(root)
    }

    /// The folder at `root` without a look at it, for a process that does not write there.
    pub(crate) fn unopened(root: &Path) -> RunDir {
        RunDir { root: root.to_owned() }
    }

    /// Whether a new run can be made there: nothing is there, or an empty folder.
    pub fn is_free(root: &Path) -> bool {
        !root.exists() || fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none())
    }

    /// Makes the folder itself, parents included; one that holds anything is an error unless it may.
    ///
    /// # Errors
    ///
    /// As [`RunDir::create`].
    pub(crate) fn make(root: &Path, may_exist: bool) -> Result<()> {
        let failed = |error: &io::Error| io_error("cannot create the folder", root, error);
        fs::create_dir_all(folder_of(root)).map_err(|error| failed(&error))?;
        match fs::create_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !may_exist && !RunDir::is_free(root) => {
                let remedy = "choose another ⟨out⟩, or add ⟨resume⟩ to go on with it";
                Err(Error::input("the run folder exists already", root.display(), remedy))
            }
            Err(error) if !root.is_dir() => Err(failed(&error)),
            _ => Ok(()),
        }
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
            return Err(Error::input("no such run folder", root.display(), "give the ⟨out⟩ folder of a training run"));
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

    /// `events.out.tfevents.1764201600.huetape`: the event file for TensorBoard that was begun in this second since
    /// 1970.
    pub fn events(&self, second: u64) -> PathBuf {
        self.root.join(format!("{EVENTS}{second:010}.huetape"))
    }

    /// When the event files of the run were begun, the newest last; those of other programs are not among them.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read.
    pub fn event_files(&self) -> Result<Vec<u64>> {
        let second = |name: &str| name.strip_prefix(EVENTS)?.strip_suffix(".huetape")?.parse().ok();
        let mut found: Vec<u64> = entries(&self.root)?.iter().filter_map(|(name, _)| second(name)).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Removes an event file.
    ///
    /// # Errors
    ///
    /// A file that cannot be removed.
    pub fn remove_events(&self, second: u64) -> Result<()> {
        remove(&self.events(second))
    }

    /// `statistics.json`: means and regression of the training data, for baselines.
    pub fn statistics(&self) -> PathBuf {
        self.root.join("statistics.json")
    }

    /// `report.html`: curves, samples, tables.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// `checkpoints/`: weights and optimiser state, flat.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// `samples/`: sample images.
    pub fn samples(&self) -> PathBuf {
        self.root.join("samples")
    }

    /// Whether the run has come to its end with the checkpoint of `step`: its report, which is written last, says so.
    /// One of an older huetape is known by its time, which no clock must have changed.
    pub fn is_finished(&self, step: u64) -> bool {
        let report = fs::read_to_string(self.report()).unwrap_or_default();
        if let Some(ended) = ended_of(&report) {
            return ended == step;
        }
        let written = |path: PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
        match (written(self.checkpoint(step)), written(self.report())) {
            (Some(checkpoint), Some(report)) => report >= checkpoint,
            _ => false,
        }
    }

    /// Where sample image `number` (from 1) of `step` lies: `samples/step-00000600-1.png`.
    pub fn sample(&self, step: u64, number: usize) -> PathBuf {
        self.samples().join(format!("step-{step:08}-{number}.png"))
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
    pub fn list_checkpoints(&self) -> Result<Vec<CheckpointFile>> {
        let step_of = |name: &str| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok();
        let files = entries(&self.checkpoints())?;
        let mut found: Vec<CheckpointFile> =
            files.into_iter().filter_map(|(name, path)| Some(CheckpointFile { step: step_of(&name)?, path })).collect();
        found.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.step));
        Ok(found)
    }

    /// The sample images, by step and number.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read.
    pub fn sample_files(&self) -> Result<Vec<SampleFile>> {
        let parse = |name: &str| {
            let (step, number) = name.strip_prefix("step-")?.strip_suffix(".png")?.split_once('-')?;
            Some((step.parse().ok()?, number.parse().ok()?))
        };
        let mut found: Vec<SampleFile> = entries(&self.samples())?
            .into_iter()
            .filter_map(|(name, path)| parse(&name).map(|(step, number)| SampleFile { step, number, path }))
            .collect();
        found.sort_by_key(|file| (file.step, file.number));
        Ok(found)
    }

    /// Removes the sample images of later steps than `step`: a run that goes on from there makes them again.
    ///
    /// # Errors
    ///
    /// A file that cannot be removed.
    pub fn cut_samples(&self, step: u64) -> Result<()> {
        self.sample_files()?.iter().filter(|file| file.step > step).try_for_each(|file| remove(&file.path))
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
    match list() {
        // Where nothing has been made, nothing lies.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|error| io_error("cannot read the folder", folder, &error)),
    }
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
    fn a_new_run_has_its_folders_and_an_old_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("runs/first");
        fs::create_dir_all(&root).unwrap();
        let run = RunDir::create(&root).unwrap();
        assert_eq!(names(run.root()), ["checkpoints", "samples"]);
        let error = RunDir::create(&root).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("resume"), "{error}");
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
