//! What the rest of the program asks of a network.

use crate::dataset::loader_options::Turns;
use crate::engine::device::Device;
use crate::engine::nn::{Parameters, WeightFile};
use crate::error::{Error, Result};
use crate::paint::painter::{Generator, Painter, Trained};

/// A network as the rest of the program knows it: one value of this kind a network, in [`NETWORKS`](crate::networks::NETWORKS).
pub trait Recipe: Sync {
    /// Its name, on the command line and in files.
    fn name(&self) -> &'static str;

    /// What it does, in a line.
    fn what(&self) -> &'static str;

    /// Whether a file holds its weights, by the names of the tensors.
    fn recognises(&self, file: &WeightFile) -> bool;

    /// The network with the weights of a file, which it recognises; width, bands and the like are read off the tensors' shapes.
    ///
    /// # Errors
    /// Tensors that are missing, do not belong together or hold a NaN; no memory.
    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>>;

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

    /// Pixels on each side of a training image that it reads and gives no colour.
    fn margin(&self) -> usize {
        0
    }

    /// Pixels that it reads beyond each side of a crop.
    fn halo(&self) -> usize {
        0
    }

    /// Shorter side that images are enlarged to, if they are smaller, before crops of `size` are cut at random.
    fn enlarge(&self, _size: usize) -> Option<usize> {
        None
    }

    /// How random crops are turned.
    fn turns(&self) -> Turns {
        Turns::Mirrors
    }

    /// Whether it reads all bands of a source and makes all bands of a target, instead of one band and sRGB.
    fn reads_all_bands(&self) -> bool {
        false
    }
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
    let parameters = Parameters::new(device, network.param_specs(), 0, false)?;
    parameters.load(file)?;
    Ok(Box::new(Trained { network, parameters }))
}
