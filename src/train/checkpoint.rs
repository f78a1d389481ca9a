//! Checkpoints: everything that a run needs to go on bit for bit, in one safetensors file, whole or absent.

use super::run_dir::RunDir;
use crate::error::Result;
use crate::nn::{StateTensor, WeightFile, save_tensors};
use std::path::PathBuf;

/// The lowest validation loss up to the checkpoint, `[1]`; infinite where there was none.
const BEST_LOSS: &str = "train.best_loss";

/// Writes the checkpoint of `step`; with `improved` also as `best.safetensors`.
///
/// # Errors
/// A disk that is full or may not be written.
pub fn save(dir: &RunDir, step: u64, mut state: Vec<StateTensor>, best: f64, improved: bool) -> Result<PathBuf> {
    state.push(StateTensor { name: BEST_LOSS.to_owned(), shape: vec![1], data: vec![best as f32] });
    // The best first: a run killed between the two goes on from before this step, and writes both again.
    if improved {
        save_tensors(&state, &dir.best())?;
    }
    let path = dir.checkpoint(step);
    save_tensors(&state, &path)?;
    Ok(path)
}

/// The lowest validation loss that a checkpoint has seen.
pub(super) fn best_loss(file: &WeightFile) -> f64 {
    file.get(BEST_LOSS).and_then(|tensor| tensor.data.first()).map_or(f64::INFINITY, |&loss| f64::from(loss))
}
