//! Checkpoints: everything that a run needs to go on bit for bit, in one safetensors file, whole or absent.

use crate::engine::nn::{StateTensor, WeightFile, save_described};
use crate::error::{Error, ErrorKind, Result};
use crate::train::metadata::Metadata;
use crate::train::run_dir::RunDir;
use std::path::PathBuf;

/// The lowest validation loss up to the checkpoint, `[1]`; infinite where there was none.
const BEST_LOSS: &str = "train.best_loss";

/// Writes the checkpoint of `metadata.step`; with `improved` also as `best.safetensors`.
///
/// # Errors
/// A disk that is full or may not be written.
pub fn save(
    dir: &RunDir,
    metadata: &Metadata,
    mut state: Vec<StateTensor>,
    best: f64,
    improved: bool,
) -> Result<PathBuf> {
    state.push(StateTensor { name: BEST_LOSS.to_owned(), shape: vec![1], data: vec![best as f32] });
    let json = metadata.to_json()?;
    // The best first: a run killed between the two goes on from before this step, and writes both again.
    if improved {
        save_described(&state, Some(&json), &dir.best())?;
    }
    let path = dir.checkpoint(metadata.step);
    save_described(&state, Some(&json), &path)?;
    Ok(path)
}

/// The weights that a run colours with: the best by validation if there are such, else the newest.
///
/// # Errors
/// No checkpoint written yet; a folder that cannot be read.
pub fn weights_of(dir: &RunDir) -> Result<PathBuf> {
    if dir.best().is_file() {
        return Ok(dir.best());
    }
    let newest = Checkpoint::newest(dir)?;
    let path = newest.checkpoint.map(|checkpoint| checkpoint.path);
    path.or(newest.broken.into_iter().next().map(|(path, _)| path)).ok_or_else(|| {
        let remedy = "let it train on, or resume it with ⟨resume⟩";
        Error::input("the run has no checkpoint yet", dir.root().display(), remedy).of(ErrorKind::NotFound)
    })
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

    /// The lowest validation loss up to here; infinite where there was none.
    pub(super) fn best_loss(&self) -> f64 {
        let stored = self.file.get(BEST_LOSS).and_then(|tensor| tensor.data.first());
        stored.map_or(f64::INFINITY, |&loss| f64::from(loss))
    }
}
