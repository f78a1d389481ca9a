//! What the first of several processes finds before a training begins, and the others need to know.

use crate::dataset::stats::Survey;
use crate::engine::nn::WeightFile;
use crate::engine::ranks::Ranks;
use crate::error::{Error, Result};
use crate::imaging::color::AbHistogram;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value of the first process, in all of them.
///
/// # Errors
/// Those of `make`; a process that cannot be reached.
pub(super) fn told<T: Serialize + DeserializeOwned>(ranks: &Ranks, make: impl FnOnce() -> Result<T>) -> Result<T> {
    if ranks.alone() {
        return make();
    }
    let bytes = ranks.from_first(|| serde_json::to_vec(&make()?).map_err(garbled))?;
    serde_json::from_slice(&bytes).map_err(garbled)
}

fn garbled(error: serde_json::Error) -> Error {
    let remedy = "start the same program in all of them";
    Error::failed("what one process tells the others cannot be read", "processes", remedy).caused_by(error)
}

/// The first process's survey of the images: the others do not read them.
///
/// # Errors
/// Those of `make`; a process that cannot be reached.
pub(super) fn survey(ranks: &Ranks, make: impl FnOnce() -> Result<Survey>) -> Result<Survey> {
    if ranks.alone() {
        return make();
    }
    let mine = if ranks.leads() { make()? } else { Survey::default() };
    let (stats, grey) = told(ranks, || Ok((mine.stats.clone(), mine.grey)))?;
    // Bins are made of these: bit by bit.
    let counts = ranks.from_first(|| Ok(bytemuck::cast_slice(mine.histogram.counts()).to_vec()))?;
    let sample = ranks.from_first(|| Ok(bytemuck::cast_slice(&mine.sample).to_vec()))?;
    let histogram = AbHistogram::of_counts(bytemuck::pod_collect_to_vec(&counts));
    Ok(Survey { stats, histogram, sample: bytemuck::pod_collect_to_vec(&sample), grey })
}

/// The first process's weights, if it has some: the others need no file.
///
/// # Errors
/// A process that cannot be reached; weights of later metadata than this program reads.
pub(super) fn weights(ranks: &Ranks, mine: Option<WeightFile>) -> Result<Option<WeightFile>> {
    if ranks.alone() {
        return Ok(mine);
    }
    let (source, bytes) = match &mine {
        Some(file) => (file.source().to_owned(), file.to_bytes()?),
        None => Default::default(),
    };
    let source: String = told(ranks, || Ok(source))?;
    let bytes = ranks.from_first(|| Ok(bytes))?;
    if ranks.leads() {
        return Ok(mine);
    }
    (!bytes.is_empty()).then(|| WeightFile::from_bytes(&source, &bytes)).transpose()
}
