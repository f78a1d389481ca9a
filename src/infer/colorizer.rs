//! A trained network that colours pictures of any size that fits memory.

use crate::data::{Area, Picture, Reading, save::to_u8};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::models::classifier::{Architecture, Classifier};
use crate::models::painter::{self, Generator, Look, Painter, Pixels, Trained};
use crate::models::{pix2pix, sicgan};
use crate::nn::{Parameters, WeightFile};
use crate::train::checkpoint::Checkpoint;
use crate::train::run_dir::RunDir;
use image::RgbImage;
use std::path::{Path, PathBuf};

/// How pictures are coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Options {
    /// What the network does.
    pub look: Look,
    /// Band of a multi-band source, from 1.
    pub band: Option<usize>,
    /// Colour pictures are read by their CIE lightness instead of a band or their luma.
    pub lightness: bool,
}

/// A network with its weights on a device.
pub struct Colorizer {
    painter: Box<dyn Painter>,
}

/// The name on the command line of the network whose weights a file holds, by the names of its tensors; a classifier's where
/// they are those of no network.
pub fn model_of(file: &WeightFile) -> &'static str {
    let has = |name| file.get(name).is_some();
    match () {
        () if has("g.down1.weight") => pix2pix::Generator::NAME,
        () if has("g.conv1.weight") => sicgan::Generator::NAME,
        () => Architecture::of(file).name(),
    }
}

/// A generator with the weights of a file.
fn trained<G: Generator + 'static>(device: &Device, network: G, file: &WeightFile) -> Result<Box<dyn Painter>> {
    let parameters = Parameters::new(device, network.param_specs(), 0, false)?;
    parameters.load(file)?;
    Ok(Box::new(Trained { network, parameters }))
}

impl Colorizer {
    /// The network whose weights a file holds: which, its width and the number of bins are read off the tensors' names and
    /// shapes.
    ///
    /// # Errors
    /// A file that cannot be read, is cut short, lacks a tensor, or has one of a wrong shape or with a NaN.
    pub fn open(device: &Device, weights: &Path) -> Result<Self> {
        let file = WeightFile::read(weights)?;
        let painter: Box<dyn Painter> = match model_of(&file) {
            pix2pix::Generator::NAME => trained(device, pix2pix::Generator::of(&file)?, &file)?,
            sicgan::Generator::NAME => trained(device, sicgan::Generator::of(&file)?, &file)?,
            _ => Box::new(Classifier::read(device, &file, false)?),
        };
        Ok(Colorizer { painter })
    }

    /// The network's name on the command line.
    pub fn model(&self) -> &'static str {
        self.painter.name()
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

    /// Colours a picture; the result has its size. See [`painter::paint`] for how.
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
        grey.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        let colours =
            painter::paint(self.painter.as_ref(), &Pixels { width, height, bands: 1, values: grey }, &options.look)?;
        RgbImage::from_raw(width as u32, height as u32, to_u8(&colours.values))
            .ok_or_else(|| Error::failed("a picture has another size than its values", path.display(), "report this"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Bins;
    use crate::data::{Depth, PictureInfo, Samples};
    use crate::nn::save_tensors;

    fn weights(folder: &Path, architecture: Architecture) -> PathBuf {
        let bins = Bins { centres: vec![[-20.0, 10.0], [30.0, 0.0], [5.0, -40.0]] };
        let device = Device::cpu();
        let classifier = Classifier::new(&device, architecture, 0.05, &bins, vec![0.5, 0.3, 0.2], 1, false).unwrap();
        let path = folder.join("w.safetensors");
        save_tensors(&classifier.state().unwrap(), &path).unwrap();
        path
    }

    /// A generator's weights alone: what it is and how it is applied is read off them.
    fn is_known_and_takes_any_size<G: Generator>(network: &G, sizes: &[(usize, usize)]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let device = Device::cpu();
        let mut state = Parameters::new(&device, network.param_specs(), 1, false).unwrap().state().unwrap();
        state.extend(network.settings());
        save_tensors(&state, &path).unwrap();
        let colorizer = Colorizer::open(&device, &path).unwrap();
        assert_eq!(colorizer.model(), G::NAME);
        assert_eq!(colorizer.painter.framing(), network.framing());
        for &(width, height) in sizes {
            let info = PictureInfo { width, height, bands: 1, depth: Depth::U8 };
            let picture = Picture { info, samples: Samples::U8(vec![128; width * height]) };
            let colours = colorizer.colorize(&picture, Path::new("p.png"), &Options::default()).unwrap();
            assert_eq!(colours.dimensions(), (width as u32, height as u32));
        }
    }

    #[test]
    fn generators_are_known_by_their_names_and_take_any_size() {
        is_known_and_takes_any_size(&pix2pix::Generator::new(1, 0.01, 0.3), &[(1, 1), (256, 256), (300, 40)]);
        is_known_and_takes_any_size(&sicgan::Generator::new(0.05, sicgan::PATCH), &[(1, 1), (128, 128), (150, 40)]);
        is_known_and_takes_any_size(&sicgan::Generator::new(0.05, 20), &[(1, 1), (20, 20), (45, 13)]);
    }

    #[test]
    fn any_size_keeps_its_size_down_to_one_pixel() {
        let folder = tempfile::tempdir().unwrap();
        for architecture in [Architecture::Colournet, Architecture::Window8] {
            let colorizer = Colorizer::open(&Device::cpu(), &weights(folder.path(), architecture)).unwrap();
            assert_eq!(colorizer.model(), architecture.name());
            for (width, height) in [(1, 1), (7, 3), (16, 8), (33, 21)] {
                let info = PictureInfo { width, height, bands: 1, depth: Depth::U8 };
                let picture = Picture { info, samples: Samples::U8(vec![128; width * height]) };
                let colours = colorizer.colorize(&picture, Path::new("p.png"), &Options::default()).unwrap();
                assert_eq!(colours.dimensions(), (width as u32, height as u32));
            }
        }
    }
}
