//! What the settings of a training come to, before any image is read.

use crate::dataset::loader_options::LoaderOptions;
use crate::dataset::pair::Crop;
use crate::dataset::pairs::DataSource;
use crate::dataset::preparation::Preparations;
use crate::error::{Error, Result};
use crate::imaging::picture::Reading;
use crate::networks::recipe::{Recipe, check, check_size, fill};
use crate::train::schedule::LrSchedule;
use crate::train::session::SessionConfig;
use crate::train::settings::table::Settings;

/// Pixels of a batch at most: a gigabyte for each channel of floats.
const MOST_PIXELS: usize = 1 << 28;
/// Threads that load images, at most.
const MOST_LOADERS: usize = 16;

/// What the settings of a training come to.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The settings, filled and checked.
    pub settings: Settings,
    /// Where the training data come from.
    pub data: DataSource,
    /// Where the validation data come from, if there are any.
    pub validation: Option<DataSource>,
    /// What is done to both sides.
    pub preparations: Preparations,
    /// How the loop goes. Its steps are those of the settings; with epochs they are set once the number of images is
    /// known.
    pub session: SessionConfig,
    /// Passes over the data, where these are given instead of steps.
    pub epochs: Option<u64>,
    /// Patches to choose once the images are known.
    pub patches: Option<Patches>,
    all_bands: bool,
    stride: usize,
}

/// Fixed patches instead of random crops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patches {
    /// How many.
    pub count: usize,
    /// Least squared distance between two origins, pixels.
    pub min_distance: usize,
}

impl Plan {
    /// Checks every setting and says what they come to for `recipe`'s network.
    ///
    /// # Errors
    /// The first value that makes no sense, by its name.
    pub fn new(recipe: &dyn Recipe, settings: &Settings) -> Result<Plan> {
        let named = settings.model.as_deref().unwrap_or(recipe.name());
        crate::ensure!(
            named == recipe.name(),
            Error::input(format!("the settings are those of {named}"), recipe.name(), format!("say `train {named}`"))
        );
        let settings = fill(recipe, settings.clone());
        check(recipe, &settings)?;
        let data = settings.data()?;
        let validation = settings.validation(&data)?;
        crate::ensure!(
            settings.band.is_none() || settings.images.is_none(),
            Error::input("colour images are read by their lightness", "⟨band⟩ beside ⟨images⟩", "leave ⟨band⟩ out")
        );
        let (size, batch) = (settings.size.unwrap_or_default(), settings.batch.unwrap_or_default());
        check_size(recipe, size)?;
        crate::ensure!(
            size.checked_mul(size)
                .and_then(|pixels| pixels.checked_mul(batch))
                .is_some_and(|pixels| pixels <= MOST_PIXELS),
            Error::input(
                "a batch of more pixels than memory holds",
                format!("⟨batch⟩ {batch}"),
                "lower ⟨batch⟩ or ⟨size⟩"
            )
        );
        let preparations = settings.preparations()?;
        let filters = preparations.source.despeckle.as_ref().filter(|filters| filters.len() > 1);
        if let (Some(filters), false) = (filters, recipe.own_settings().contains(&"bands")) {
            let (what, subject) = (format!("{} reads one band", recipe.name()), format!("⟨despeckle⟩ {filters}"));
            return Err(Error::input(what, subject, "name one filter"));
        }
        Ok(Plan {
            validation,
            preparations,
            session: SessionConfig {
                steps: settings.steps.unwrap_or_default(),
                loader: LoaderOptions {
                    batch,
                    size,
                    seed: settings.seed.unwrap_or_default(),
                    shuffle: settings.no_shuffle != Some(true),
                    halo: recipe.halo(),
                    augment: settings.no_augment != Some(true),
                    turns: settings.augment.as_deref().unwrap_or_default().parse()?,
                    enlarge: recipe.enlarge(size),
                    threads: loader_threads(settings.threads),
                    ..LoaderOptions::default()
                },
                lr: settings.lr.unwrap_or_default(),
                lr_schedule: settings.lr_schedule.as_deref().unwrap_or_default().parse::<LrSchedule>()?,
                lr_warmup: settings.lr_warmup.unwrap_or_default(),
                checkpoint_every: settings.checkpoint_every.unwrap_or_default(),
                keep: settings.keep.unwrap_or_default(),
                keep_best: true,
                sample_every: settings.sample_every.unwrap_or_default(),
                tensorboard: settings.tensorboard.unwrap_or_default(),
            },
            epochs: settings.epochs,
            patches: match (settings.patches, settings.min_distance) {
                // Centre crops leave them out.
                (Some(count), Some(min_distance)) if settings.no_augment != Some(true) => {
                    Some(Patches { count, min_distance })
                }
                _ => None,
            },
            all_bands: recipe.reads_all_bands(),
            stride: recipe.stride(),
            data,
            settings,
        })
    }

    /// The crops that it is trained on.
    pub fn crop(&self) -> Crop {
        Crop { size: self.session.loader.size, stride: self.stride }
    }

    /// How the network reads sources and targets. Validation images have the bands of the training images.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn readings(&self) -> Result<(Reading, Reading)> {
        match self.all_bands {
            true => self.data.readings_of_all_bands(self.settings.band, &self.preparations),
            false => Ok(self.data.readings_of_chosen(self.settings.band, &self.preparations)),
        }
    }
}

/// Threads that decode and cut images. What a batch holds does not depend on them.
fn loader_threads(threads: Option<usize>) -> usize {
    let all = || std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    threads.unwrap_or_else(all).clamp(1, MOST_LOADERS)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
