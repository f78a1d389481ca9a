//! Checkpoints: everything that a run needs to go on bit for bit, in one safetensors file, whole or absent.

use crate::engine::device::human_bytes;
use crate::engine::nn::{StateTensor, StateView, WeightFile, save_views};
use crate::error::{Error, ErrorKind, Result};
use crate::files::free_bytes;
use crate::train::metadata::Metadata;
use crate::train::run_dir::RunDir;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The lowest validation loss up to the checkpoint, or of an adversarial pair the lowest score, `[1]`; infinite where
/// there was none. They have two names, for older versions chose a pair's weights by the loss.
fn best_name(of_pair: bool) -> &'static str {
    if of_pair { "train.best_score" } else { "train.best_loss" }
}

/// Writes the checkpoint of `metadata.step`; with `improved` also as `best.safetensors`. `best`: whether it is of an
/// adversarial pair, and the best score so far. The state is copied to the host as it is written.
///
/// # Errors
/// A disk that is full or may not be written; a lost device.
pub fn save(
    dir: &RunDir,
    metadata: &Metadata,
    mut state: Vec<StateView>,
    (of_pair, best): (bool, f64),
    improved: bool,
) -> Result<PathBuf> {
    let best = StateTensor { name: best_name(of_pair).to_owned(), shape: vec![1], data: vec![best as f32] };
    state.push(best.into());
    let json = metadata.to_json()?;
    let of_tensor = |view: &StateView| 4 * view.len() + view.name().len() + HEADER_OF_TENSOR;
    let bytes = (json.len() + state.iter().map(of_tensor).sum::<usize>()) as u64;
    let write = |path: &Path| {
        let free = free_bytes(path);
        check_room(path, bytes, free)?;
        save_views(&state, Some(&json), path).map_err(|error| with_room(error, bytes, free))
    };
    // The best first: a run killed between the two goes on from before this step, and writes both again.
    if improved {
        write(&dir.best())?;
    }
    let path = dir.checkpoint(metadata.step);
    write(&path)?;
    Ok(path)
}

/// Bytes that the header of a file takes for a tensor beside its name, about.
const HEADER_OF_TENSOR: usize = 96;

/// What to do where a checkpoint has no room: the old one goes only once the new one is whole, so that both must fit.
fn remedy(bytes: u64, free: Option<u64>) -> String {
    let free = free.map_or_else(String::new, |free| format!(", of which {} are there", human_bytes(free)));
    format!(
        "free {} for the next checkpoint{free}; it is written beside the last one, with ⟨keep⟩ 1 too; then go on with \
         ⟨resume⟩",
        human_bytes(bytes)
    )
}

/// Refuses to begin a checkpoint that the disk has no room for.
fn check_room(path: &Path, bytes: u64, free: Option<u64>) -> Result<()> {
    crate::ensure!(
        free.is_none_or(|free| free >= bytes),
        Error::failed("the disk has no room for a checkpoint", path.display(), remedy(bytes, free)).of(ErrorKind::Io)
    );
    Ok(())
}

/// Says how much a checkpoint takes where it could not be written for lack of room.
fn with_room(error: Error, bytes: u64, free: Option<u64>) -> Error {
    if error.kind() == ErrorKind::Io { error.with_remedy(remedy(bytes, free)) } else { error }
}

/// Which of a run's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// The best by validation if there are such, else the newest.
    #[default]
    Usual,
    /// The best by validation.
    Best,
    /// The newest.
    Last,
    /// Those after this update.
    Step(u64),
}

impl FromStr for Which {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "best" => Ok(Which::Best),
            "last" => Ok(Which::Last),
            _ => text.parse().map(Which::Step).map_err(|_| {
                Error::input("no such checkpoint", format!("⟨checkpoint⟩ {text}"), "use last, best or a step's number")
            }),
        }
    }
}

/// The weights of a run that are asked for.
///
/// # Errors
/// None that are like that; a folder that cannot be read.
pub fn weights_of_which(dir: &RunDir, which: Which) -> Result<PathBuf> {
    let (path, name) = match which {
        Which::Usual => return weights_of(dir),
        Which::Last => return newest_of(dir),
        Which::Best => (dir.best(), "best".to_owned()),
        Which::Step(step) => (dir.checkpoint(step), step.to_string()),
    };
    if path.is_file() {
        return Ok(path);
    }
    let mut there: Vec<String> = dir.list_checkpoints()?.iter().rev().map(|found| found.step.to_string()).collect();
    there.extend(dir.best().is_file().then(|| "best".to_owned()));
    let have = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let remedy = format!("{} has {have}; more of them stay by ⟨keep⟩", dir.root().display());
    Err(Error::input("no such checkpoint", format!("⟨checkpoint⟩ {name}"), remedy).of(ErrorKind::NotFound))
}

/// The weights that a run colours with: the best by validation if there are such, else the newest.
///
/// # Errors
/// No checkpoint written yet; a folder that cannot be read.
pub fn weights_of(dir: &RunDir) -> Result<PathBuf> {
    if dir.best().is_file() {
        return Ok(dir.best());
    }
    newest_of(dir)
}

/// The newest whole checkpoint, of which only the header is read: it stands for the length of the file. Where none is
/// whole, the newest.
fn newest_of(dir: &RunDir) -> Result<PathBuf> {
    let mut listed = dir.list_checkpoints()?;
    let whole = listed.iter().position(|listed| WeightFile::read_where(&listed.path, |_| false).is_ok());
    if listed.is_empty() {
        let remedy = "let it train on, or resume it with ⟨resume⟩";
        return Err(Error::input("the run has no checkpoint yet", dir.root().display(), remedy).of(ErrorKind::NotFound));
    }
    Ok(listed.swap_remove(whole.unwrap_or(0)).path)
}

/// A checkpoint that has been read.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The optimiser updates that went into it.
    pub step: u64,
    /// Where it lies.
    pub path: PathBuf,
    /// Everything in it.
    pub file: WeightFile,
}

/// What looking for the newest whole checkpoint found.
#[derive(Debug, Default)]
pub struct Newest {
    /// The newest that is whole, if any is.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that cannot be read, with what is wrong with them.
    pub broken: Vec<(PathBuf, Error)>,
}

impl Checkpoint {
    /// The newest whole checkpoint of a run.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn newest(dir: &RunDir) -> Result<Newest> {
        let mut found = Newest::default();
        for listed in dir.list_checkpoints()? {
            match WeightFile::read(&listed.path) {
                Ok(file) => {
                    found.checkpoint = Some(Checkpoint { step: listed.step, path: listed.path, file });
                    break;
                }
                Err(error) => found.broken.push((listed.path, error)),
            }
        }
        Ok(found)
    }

    /// The best score up to here; infinite where there was none.
    pub(super) fn best_score(&self, of_pair: bool) -> f64 {
        let stored = self.file.get(best_name(of_pair)).and_then(|tensor| tensor.data.first());
        stored.map_or(f64::INFINITY, |&loss| f64::from(loss))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::io_error;
    use std::io;

    #[test]
    fn the_newest_whole_checkpoint_is_found_without_reading_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::create(temp.path().join("run")).unwrap();
        assert_eq!(newest_of(&dir).unwrap_err().kind(), ErrorKind::NotFound);
        let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let whole = [&(header.len() as u64).to_le_bytes(), &header[..], &[0; 4]].concat();
        std::fs::write(dir.checkpoint(1), &whole[..whole.len() - 1]).unwrap();
        std::fs::write(dir.checkpoint(3), &whole[..20]).unwrap();
        // Of none that is whole the newest, whose fault is told when it is read.
        assert_eq!(newest_of(&dir).unwrap(), dir.checkpoint(3));
        std::fs::write(dir.checkpoint(2), &whole).unwrap();
        assert_eq!(newest_of(&dir).unwrap(), dir.checkpoint(2));
    }

    #[test]
    fn a_full_disk_is_told_with_the_room_that_is_needed_and_free() {
        let c = Path::new("c");
        let at = |kind: io::ErrorKind| with_room(io_error("cannot write", c, &kind.into()), 3 << 20, None);
        let full = at(io::ErrorKind::StorageFull).to_string();
        assert!(full.contains("the disk is full: c: free 3.0 MiB for the next checkpoint; it is"), "{full}");
        assert!(at(io::ErrorKind::NotFound).to_string().contains("check the path"));
        let error = check_room(c, 3 << 20, Some(1 << 20)).unwrap_err();
        assert_eq!((error.exit_code(), error.kind()), (1, ErrorKind::Io));
        let said = "the disk has no room for a checkpoint: c: free 3.0 MiB for the next checkpoint, of which 1.0 MiB \
                    are there; it is written beside the last one, with keep 1 too; then go on with resume";
        assert_eq!(error.to_string(), said);
        assert!(check_room(c, 3 << 20, Some(3 << 20)).is_ok() && check_room(c, u64::MAX, None).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn the_system_says_how_much_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_bytes(&folder.path().join("a"));
        assert!(free.is_some_and(|free| free > 0 && free < 1 << 60), "{free:?}");
        assert_eq!(free_bytes(Path::new("/nonesuch/a")), None);
    }
}
