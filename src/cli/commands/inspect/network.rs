//! The network that `huetape inspect` looks into, and the source that it is shown.

use crate::cli::args::network::{Network, NetworkArgs, networks};
use crate::dataset::picture_file::PictureFile;
use crate::dataset::preparation::Preparation;
use crate::engine::device::Device;
use crate::engine::nn::{Watch, WeightFile};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::pixels::{Pixels, mirrored};
use crate::networks::{NETWORKS, of_file};
use crate::paint::colorizer::Options;
use crate::paint::painter::Framing;
use crate::run::run::Run;
use crate::train::built_in::weights_called;
use crate::train::learner::{Learner, Update};
use crate::train::workload::random_batch;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A network by its name, or one that was trained.
#[derive(Args, Debug)]
pub(super) struct ChosenArgs {
    /// A network by its name, instead of one that was trained
    #[arg(required_unless_present_any = ["run", "weights"], conflicts_with_all = ["run", "weights"])]
    #[arg(value_parser = networks())]
    model: Option<Network>,
    /// Run folder: its best checkpoint, else its newest
    #[arg(long, value_name = "RUN", conflicts_with = "weights")]
    run: Option<PathBuf>,
    /// Weights that come along, by their name, or a weight file; model, width and bins are read off its tensors
    #[arg(long, value_name = "NAME|FILE")]
    weights: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
}

/// A network that was chosen.
pub(super) struct Chosen {
    pub(super) recipe: Network,
    pub(super) learner: Box<dyn Learner>,
    /// Side of the pictures that it was trained on, or that was asked for.
    pub(super) size: usize,
}

impl ChosenArgs {
    pub(super) fn open(&self, device: &Device) -> Result<Chosen> {
        let file = match (&self.weights, &self.run) {
            (Some(path), _) => Some(weights_called(path)?),
            (None, Some(run)) => Some(WeightFile::read(&Run::open(run)?.weights()?)?),
            (None, None) => None,
        };
        let (recipe, trained) = match (&file, self.model) {
            (Some(file), _) => {
                let recipe = of_file(file)?;
                (recipe, recipe.trained_size(file)?)
            }
            // The parser wants a name where there is no file.
            (None, named) => (named.unwrap_or(NETWORKS[0]), None),
        };
        let network = self.network.of_size(trained);
        let size = network.size(recipe)?;
        Ok(Chosen { recipe, learner: network.learner(recipe, device, file.as_ref(), false)?, size })
    }
}

/// A random source of `size` x `size` pixels and a halo, as a training has it.
pub(super) fn random_source(learner: &dyn Learner, size: usize, halo: usize) -> Result<Tensor> {
    random_batch(learner.painter(), 1, size, halo).source_on(learner.painter().device())
}

/// The picture at `path` as the network reads it, `[1, H + 2 halo, W + 2 halo, bands]`: its centre of `size` x `size`
/// pixels, or of the window that the network paints by, or all of it.
pub(super) fn source_of(learner: &dyn Learner, path: &Path, options: &Options, size: Option<usize>) -> Result<Tensor> {
    let painter = learner.painter();
    let file = PictureFile::from(path.to_owned()).prepared(&options.preparation);
    let read = Options { preparation: Preparation::default(), ..options.clone() };
    let pixels = read.source(painter.source_bands(), &file.open()?.filled(), path)?;
    if let Some(size) = size {
        crate::ensure!(
            pixels.width >= size && pixels.height >= size,
            Error::input(
                format!("a picture of {}x{} is smaller than --size {size}", pixels.width, pixels.height),
                path.display(),
                "use a smaller --size, or leave it out"
            )
        );
    }
    let (values, [width, height]) = framed(&pixels, painter.framing(), size);
    Tensor::new(painter.device(), &[1, height, width, pixels.bands], &values)
}

/// The centre of a picture with the halo around it, and its width and height. Beyond the picture lies what
/// [`paint`](crate::paint::painter::paint) puts there: its last pixels again up to a multiple of the stride, its mirror
/// image around.
pub(super) fn framed(pixels: &Pixels, framing: Framing, size: Option<usize>) -> (Vec<f32>, [usize; 2]) {
    let Framing { stride, halo, window, .. } = framing;
    let sides = [pixels.width, pixels.height].map(|side| {
        let shown = size.or(window).unwrap_or(side.next_multiple_of(stride));
        let first = side.saturating_sub(shown) / 2;
        let full = side.max(first + shown) as isize;
        let around = halo as isize;
        let places = -around..shown as isize + around;
        let place = |i: isize| mirrored(first as isize + i, full as usize).min(side - 1);
        places.map(place).collect::<Vec<usize>>()
    });
    let [columns, rows] = &sides;
    let mut values = Vec::with_capacity(columns.len() * rows.len() * pixels.bands);
    for row in rows {
        for column in columns {
            let first = (row * pixels.width + column) * pixels.bands;
            values.extend_from_slice(&pixels.values[first..first + pixels.bands]);
        }
    }
    (values, [columns.len(), rows.len()])
}

/// Runs the networks once on a source, each under its watch.
pub(super) fn watched<W: Watch + 'static>(
    learner: &dyn Learner,
    source: &Tensor,
    update: Option<&Update>,
    watches: &[Arc<W>],
) -> Result<()> {
    let networks = learner.networks();
    for ((_, parameters), watch) in networks.iter().zip(watches) {
        parameters.watch(Some(watch.clone()));
    }
    let ran = learner.run(source, update);
    networks.iter().for_each(|(_, parameters)| parameters.watch(None));
    ran
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_framed_as_it_is_painted() {
        let pixels = Pixels { width: 5, height: 1, bands: 1, values: vec![0.0, 1.0, 2.0, 3.0, 4.0] };
        let row = |framing, size| framed(&pixels, framing, size).0;
        let framing = Framing { stride: 4, halo: 0, reach: 0, window: None, margin: 0 };
        assert_eq!(framed(&pixels, framing, None).1, [8, 4]);
        assert_eq!(row(framing, None)[..8], [0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0]);
        let halo = Framing { stride: 1, halo: 2, reach: 0, window: None, margin: 0 };
        assert_eq!(row(halo, None)[..9], [2.0, 1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0]);
        // The centre has its true neighbours around it.
        let window = Framing { stride: 1, halo: 1, reach: 0, window: Some(3), margin: 0 };
        assert_eq!(row(window, None)[..5], [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(
            row(Framing { window: Some(8), ..window }, None)[..10],
            [1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0]
        );
        assert_eq!(row(framing, Some(1)), [2.0]);
    }
}
