//! A trained network that colours pictures of any size that fits memory.

use crate::data::{Area, Picture, Reading, save::to_u8};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::models::classifier::{Classifier, TEMPERATURE, bins_and_prior};
use crate::models::colournet;
use crate::models::pix2pix::{self, Generator};
use crate::nn::{Parameters, WeightFile};
use crate::tensor::Tensor;
use crate::train::checkpoint::Checkpoint;
use crate::train::run_dir::RunDir;
use image::RgbImage;
use std::path::{Path, PathBuf};

/// How pictures are coloured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Temperature of a classifier's annealed mean: towards 0 the likeliest colour, 1 the mean.
    pub temperature: f32,
    /// Band of a multi-band source, from 1.
    pub band: Option<usize>,
    /// Colour pictures are read by their CIE lightness instead of a band or their luma.
    pub lightness: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { temperature: TEMPERATURE, band: None, lightness: false }
    }
}

/// A network with its weights on a device.
pub struct Colorizer {
    network: Network,
    device: Device,
}

enum Network {
    Colournet(Classifier),
    Pix2pix { generator: Generator, parameters: Parameters },
}

impl Colorizer {
    /// The network whose weights a file holds: which, its width and the number of bins are read off the tensors' names and
    /// shapes.
    ///
    /// # Errors
    /// A file that cannot be read, is cut short, lacks a tensor, or has one of a wrong shape or with a NaN.
    pub fn open(device: &Device, weights: &Path) -> Result<Self> {
        let file = WeightFile::read(weights)?;
        let network = if file.get("g.down1.weight").is_some() {
            let generator = Generator::of(&file)?;
            let parameters = Parameters::new(device, generator.param_specs(), 0, false)?;
            parameters.load(&file)?;
            Network::Pix2pix { generator, parameters }
        } else {
            let network = colournet::network_of(&file)?;
            let (bins, prior) = bins_and_prior(&file)?;
            let classifier = Classifier::new(device, network, colournet::UPSAMPLE, &bins, prior, 0, false)?;
            classifier.load(&file)?;
            Network::Colournet(classifier)
        };
        Ok(Colorizer { network, device: device.clone() })
    }

    /// The network's name on the command line.
    pub fn model(&self) -> &'static str {
        match self.network {
            Network::Colournet(_) => "colournet",
            Network::Pix2pix { .. } => "pix2pix",
        }
    }

    /// Sides of what the network takes are multiples of this.
    fn stride(&self) -> usize {
        match self.network {
            Network::Colournet(_) => colournet::STRIDE,
            Network::Pix2pix { .. } => pix2pix::STRIDE,
        }
    }

    /// The weights that a run colours with: the best by validation if there are such, else the newest.
    ///
    /// # Errors
    /// No run folder, or none of its checkpoints written yet.
    pub fn weights_of_run(run: &Path) -> Result<PathBuf> {
        let dir = RunDir::open(run)?;
        if dir.best().is_file() {
            return Ok(dir.best());
        }
        let newest = Checkpoint::newest(&dir)?;
        let path = newest.checkpoint.map(|checkpoint| checkpoint.path);
        path.or(newest.broken.into_iter().next().map(|(path, _)| path)).ok_or_else(|| {
            Error::input("the run has no checkpoint yet", run.display(), "let it train on, or resume it with --resume")
        })
    }

    /// Colours a picture; the result has its size.
    ///
    /// The picture is continued at the bottom and right by its edge up to a size that the network takes, and cut after.
    ///
    /// # Errors
    /// A band that is not there, floats outside 0..1 or without a number, memory.
    pub fn colorize(&self, picture: &Picture, path: &Path, options: &Options) -> Result<RgbImage> {
        let reading = if options.lightness { Reading::Lightness } else { Reading::Grey { band: options.band } };
        reading.check(&picture.info, path)?;
        picture.check_range(path)?;
        let (width, height) = (picture.info.width, picture.info.height);
        let mut grey = vec![0.0; width * height];
        picture.read(reading, Area { x: 0, y: 0, width, height }, &mut grey);
        let [padded_w, padded_h] = [width, height].map(|side| side.next_multiple_of(self.stride()));
        let padded: Vec<f32> = (0..padded_h)
            .flat_map(|y| (0..padded_w).map(move |x| (x, y)))
            .map(|(x, y)| grey[y.min(height - 1) * width + x.min(width - 1)].clamp(0.0, 1.0))
            .collect();
        let source = Tensor::new(&self.device, &[1, padded_h, padded_w, 1], &padded)?;
        let colours = match &self.network {
            Network::Colournet(classifier) => classifier.colorize(&source, options.temperature)?,
            Network::Pix2pix { generator, parameters } => generator.colorize(parameters, &source)?,
        };
        let colours = to_u8(&colours.to_vec()?);
        let rows = colours.chunks_exact(padded_w * 3).take(height).flat_map(|row| &row[..width * 3]).copied();
        RgbImage::from_raw(width as u32, height as u32, rows.collect())
            .ok_or_else(|| Error::failed("a picture has another size than its values", path.display(), "report this"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Bins;
    use crate::data::{Depth, PictureInfo, Samples};
    use crate::nn::save_tensors;

    fn weights(folder: &Path) -> PathBuf {
        let bins = Bins { centres: vec![[-20.0, 10.0], [30.0, 0.0], [5.0, -40.0]] };
        let network = colournet::network(0.05, bins.len());
        let device = Device::cpu();
        let classifier = Classifier::new(&device, network, 4, &bins, vec![0.5, 0.3, 0.2], 1, false).unwrap();
        let path = folder.join("w.safetensors");
        save_tensors(&classifier.state().unwrap(), &path).unwrap();
        path
    }

    #[test]
    fn pix2pix_is_known_by_its_names_and_takes_any_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let device = Device::cpu();
        let parameters = Parameters::new(&device, Generator::new(1, 0.01, 0.3).param_specs(), 1, false).unwrap();
        save_tensors(&parameters.state().unwrap(), &path).unwrap();
        let colorizer = Colorizer::open(&device, &path).unwrap();
        assert_eq!(colorizer.model(), "pix2pix");
        for (width, height) in [(1, 1), (256, 256), (300, 40)] {
            let info = PictureInfo { width, height, bands: 1, depth: Depth::U8 };
            let picture = Picture { info, samples: Samples::U8(vec![128; width * height]) };
            let colours = colorizer.colorize(&picture, Path::new("p.png"), &Options::default()).unwrap();
            assert_eq!(colours.dimensions(), (width as u32, height as u32));
        }
    }

    #[test]
    fn any_size_keeps_its_size_down_to_one_pixel() {
        let folder = tempfile::tempdir().unwrap();
        let colorizer = Colorizer::open(&Device::cpu(), &weights(folder.path())).unwrap();
        for (width, height) in [(1, 1), (7, 3), (16, 8), (33, 21)] {
            let info = PictureInfo { width, height, bands: 1, depth: Depth::U8 };
            let picture = Picture { info, samples: Samples::U8(vec![128; width * height]) };
            let colours = colorizer.colorize(&picture, Path::new("p.png"), &Options::default()).unwrap();
            assert_eq!(colours.dimensions(), (width as u32, height as u32));
        }
    }
}
