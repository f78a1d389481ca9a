//! What the rest of the program asks of a network.

use crate::dataset::stats::Survey;
use crate::engine::device::Device;
#[cfg(feature = "convert")]
use crate::engine::nn::StateTensor;
use crate::engine::nn::{Parameters, WeightFile};
use crate::error::{Error, Result};
#[cfg(feature = "convert")]
use crate::exchange::foreign::layout::Layout;
#[cfg(feature = "convert")]
use crate::exchange::onnx::graph::Value;
#[cfg(feature = "convert")]
use crate::exchange::onnx::layers::Layers;
use crate::networks::common::keeping;
#[cfg(feature = "convert")]
use crate::paint::painter::Look;
use crate::paint::painter::{Generator, Painter, Trained};
use crate::train::learner::Learner;
use crate::train::settings::table::{Settings, TABLE};
use std::fmt;

/// What a learner is made of.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// Where it learns.
    pub device: &'a Device,
    /// Its settings, [filled](fill) and [checked](check).
    pub settings: &'a Settings,
    /// What was found in the training data. Without, for a network that is looked at apart from any training, a
    /// classifier's bins lie on a lattice, and bands are one and three where no weights tell them.
    pub survey: Option<&'a Survey>,
    /// Colour bins of a classifier without a survey and without weights.
    pub bins: usize,
    /// Weights to start from.
    pub weights: Option<&'a WeightFile>,
    /// Whether it will learn: then gradients and the optimiser's moments lie beside the weights.
    pub training: bool,
}

/// What a network shows on scenes made by [`synth`](crate::imaging::synth), small enough for two cores and two minutes.
pub struct Demo {
    /// What it does, in a line; settings are named as `⟨width⟩`.
    pub what: &'static str,
    /// Images that are made of each scene: `sar`, `optical`, `multispectral`. The last is the target; one alone is read
    /// by its lightness.
    pub sides: &'static [&'static str],
    /// What a sample strip shows.
    pub strip: &'static str,
    /// Folder of its run; each demo of a network has its own.
    pub run: &'static str,
    /// Scenes to train on.
    pub scenes: u32,
    /// How it is trained.
    pub settings: Settings,
}

/// A network as the rest of the program knows it: one value of this kind a network, in
/// [`NETWORKS`](crate::networks::NETWORKS).
pub trait Recipe: Sync {
    /// Its name, on the command line and in files.
    fn name(&self) -> &'static str;

    /// What it does, in a line that stands by itself: help lists it.
    fn what(&self) -> &'static str;

    /// Whether a file holds its weights, by the names of the tensors.
    fn recognises(&self, file: &WeightFile) -> bool;

    /// The network with the weights of a file, which it recognises; width, bands and the like are read off the tensors'
    /// shapes.
    ///
    /// # Errors
    /// Tensors that are missing, do not belong together or hold a NaN; no memory.
    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>>;

    /// Those settings that only some networks have, by their keys, which this one has.
    fn own_settings(&self) -> &'static [&'static str];

    /// Its defaults where they differ from those that all networks share.
    fn defaults(&self) -> Settings;

    /// Settings that won for a task, by the task's name; whoever takes one is given them as defaults.
    fn presets(&self) -> Vec<(&'static str, Settings)> {
        Vec::new()
    }

    /// Writes the network into a graph, with weights that [`Recipe::painter`] has found whole: of `source` `[N,
    /// source_bands, H, W]` 0..1 the image `[N, bands, H, W]` 0..1, as it paints one in one go.
    ///
    /// # Errors
    /// A network that has no such form.
    #[cfg(feature = "convert")]
    fn onnx(&self, layers: &mut Layers<'_>, _source: &Value, _look: &Look) -> Result<Value> {
        let what = format!("{} cannot be written as a graph", self.name());
        Err(Error::input(what, layers.weights.source(), "use weights of another network"))
    }

    /// How published programs name the tensors of this network.
    #[cfg(feature = "convert")]
    fn layouts(&self) -> &'static [Layout] {
        &[]
    }

    /// The tensor by which weights of several channels read that many bands of a source; nothing where none is needed.
    #[cfg(feature = "convert")]
    fn source_bands_setting(&self, _bands: usize) -> Option<StateTensor> {
        None
    }

    /// A learner over fresh weights, or on from given ones, which it recognises.
    ///
    /// # Errors
    /// Weights that do not fit the settings or the data; fewer colours than bins; no memory.
    fn learner(&self, setup: &Setup<'_>) -> Result<Box<dyn Learner>>;

    /// What `huetape demo` shows of it.
    fn demos(&self) -> Vec<Demo>;

    /// Command lines for help, without the program and the network; settings are named as `⟨width⟩`.
    fn examples(&self) -> &'static [&'static str] {
        &[]
    }

    /// Colour bins of the published network; `None` where it is not a classifier.
    fn bins(&self) -> Option<usize> {
        None
    }

    /// Whether it paints by windows of the side that it was trained on, which overlap and are blended.
    fn paints_by_windows(&self) -> bool {
        false
    }

    /// Whether a part of it, a discriminator, runs at the side of its training alone, while the network itself takes
    /// any size.
    fn judges_one_size(&self) -> bool {
        false
    }

    /// Whether the report of a training lists the losses of its epochs.
    fn lists_epochs(&self) -> bool {
        false
    }

    /// The side of the images that weights were trained on, where the file tells.
    ///
    /// # Errors
    /// Tensors that are missing or do not belong together.
    fn trained_size(&self, _file: &WeightFile) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Sides of training images must be multiples of this, pixels.
    fn stride(&self) -> usize {
        1
    }

    /// Pixels on each side of a training image that it reads and gives no colour: its `Framing::halo`.
    fn margin(&self) -> usize {
        0
    }

    /// Pixels that are read beyond each side of a training crop, which is coloured whole.
    fn halo(&self) -> usize {
        0
    }

    /// Shorter side that images are enlarged to, if they are smaller, before crops of `size` are cut at random.
    fn enlarge(&self, _size: usize) -> Option<usize> {
        None
    }

    /// Whether it reads all bands of a source and makes all bands of a target, instead of one band and sRGB.
    fn reads_all_bands(&self) -> bool {
        false
    }
}

impl fmt::Debug for dyn Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Settings of a training of `recipe`'s network with every default filled in, those of a preset first.
pub fn fill(recipe: &dyn Recipe, settings: Settings) -> Settings {
    let preset = settings.preset.as_deref().and_then(|name| preset(recipe, name));
    settings.or(preset.unwrap_or_default()).filled(recipe.defaults())
}

fn preset(recipe: &dyn Recipe, name: &str) -> Option<Settings> {
    recipe.presets().into_iter().find(|(preset, _)| *preset == name).map(|(_, settings)| settings)
}

/// Refuses settings that make no sense, or that the network does not have.
///
/// # Errors
/// The first of them, by its name.
pub fn check(recipe: &dyn Recipe, settings: &Settings) -> Result<()> {
    settings.check_values()?;
    keeping(settings)?;
    let (own, common) = (recipe.own_settings(), Settings::common());
    // What all networks have by default is what one without the setting has.
    let foreign = TABLE.iter().find(|setting| {
        setting.about.of_some
            && !own.contains(&setting.key)
            && (setting.given)(settings)
            && !((setting.given)(&common) && (setting.same)(settings, &common))
    });
    if let Some(setting) = foreign {
        let what = format!("{} has no such setting", recipe.name());
        return Err(Error::input(what, format!("⟨{}⟩", setting.key), "leave it out"));
    }
    match settings.preset.as_deref().filter(|name| preset(recipe, name).is_none()) {
        None => Ok(()),
        Some(name) => {
            let what = format!("{} has no such preset", recipe.name());
            Err(Error::input(what, format!("⟨preset⟩ {name}"), format!("use {}", preset_names(recipe))))
        }
    }
}

/// The names of a network's presets: `a or b`.
pub fn preset_names(recipe: &dyn Recipe) -> String {
    recipe.presets().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ")
}

/// Refuses a side of training images that the network cannot be run on.
///
/// # Errors
/// A size that is not a multiple of the stride, or leaves nothing to colour.
pub fn check_size(recipe: &dyn Recipe, size: usize) -> Result<()> {
    let stride = recipe.stride();
    crate::ensure!(
        size > 0 && size.is_multiple_of(stride),
        Error::input(
            format!("the size is not a multiple of {stride}"),
            format!("⟨size⟩ {size}"),
            format!("use {}", size.max(1).next_multiple_of(stride))
        )
    );
    let margins = 2 * recipe.margin();
    crate::ensure!(
        size > margins,
        Error::input(
            format!("{} colours no pixel of an image that is no larger than {margins}", recipe.name()),
            format!("⟨size⟩ {size}"),
            "use a larger size, e.g. 32"
        )
    );
    Ok(())
}

/// A generator with the weights of a file.
///
/// # Errors
/// Tensors that are missing, have another shape or hold a NaN; no memory.
pub(super) fn trained<G: Generator + 'static>(
    device: &Device,
    network: G,
    file: &WeightFile,
) -> Result<Box<dyn Painter>> {
    let parameters = Parameters::read(device, network.param_specs(), file, false)?;
    Ok(Box::new(Trained { network, parameters }))
}
