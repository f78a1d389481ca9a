//! How a run read its inputs.

use crate::dataset::preparation::{Preparation, Preparations};
use crate::error::Result;
use crate::train::run_dir::RunDir;
use crate::train::settings::table::Settings;
use std::path::Path;

/// How a run's inputs were read, for colouring others the same way.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RunInput {
    /// Band of the source, from 1.
    pub band: Option<usize>,
    /// The source was the lightness of colour images.
    pub lightness: bool,
    /// What was done to the source.
    pub preparation: Preparation,
    /// What was done to the target.
    pub target: Preparation,
    /// Its images get the lightness of the source without speckle, matched to the targets.
    pub despeckled: bool,
}

/// How the run in `folder` read its inputs; the default where it has no settings.
///
/// # Errors
/// Settings that cannot be read.
pub fn input_of_run(folder: &Path) -> Result<RunInput> {
    let path = RunDir::open(folder)?.config();
    if !path.exists() {
        return Ok(RunInput::default());
    }
    let settings = Settings::read(&path)?;
    let Preparations { source: preparation, target } = settings.preparations()?;
    let (lightness, despeckled) = (settings.images.is_some(), settings.despeckles_lightness());
    Ok(RunInput { band: settings.band, lightness, preparation, target, despeckled })
}
