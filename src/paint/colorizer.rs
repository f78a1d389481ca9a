//! A trained network that colours pictures and scenes of any size.

use crate::dataset::lightness::LightnessMatch;
use crate::dataset::prepared::{Preparation, PreparedScene};
use crate::engine::device::Device;
use crate::engine::nn::{Parameters, WeightFile};
use crate::error::{Error, Result};
use crate::imaging::picture::{Picture, Reading};
use crate::imaging::pixels::Area;
use crate::imaging::pixels::Pixels;
use crate::networks::classifier::network::{Architecture, Classifier};
use crate::networks::pix2pix::network as pix2pix;
use crate::networks::sicgan::network as sicgan;
use crate::networks::spacenet::network as spacenet;
use crate::paint::memory::best_tile;
use crate::paint::painter::{Generator, Look, Painter, Trained, no_uncertainty};
use crate::paint::plan::Tiling;
use crate::paint::relit::Relit;
use crate::paint::scene::{self, Scene, Sink, Source};
use crate::paint::whole;
use crate::train::checkpoint::Checkpoint;
use crate::train::run_dir::RunDir;
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
    /// What is done to a picture before it is read.
    pub preparation: Preparation,
}

/// Decoded chunks of a scene that are kept: it is read band by band, and no more than the rows that two of them share is read
/// again.
const CACHE_BYTES: usize = 8 << 20;

impl Options {
    /// How a network of `source_bands` reads the picture at `path`.
    ///
    /// # Errors
    /// A band chosen for a network that reads several.
    pub fn reading(&self, source_bands: usize, path: &Path) -> Result<Reading> {
        match (source_bands, self.band) {
            (1, _) if self.lightness => Ok(Reading::Lightness),
            (1, band) => Ok(Reading::Grey { band }),
            (bands, None) => Ok(Reading::Bands(bands)),
            (bands, Some(band)) => Err(Error::input(
                format!("the network reads {bands} bands"),
                format!("⟨band⟩ {band} with {}", path.display()),
                "leave ⟨band⟩ out",
            )),
        }
    }

    /// What a network of `source_bands` reads of a picture, values 0..1.
    ///
    /// # Errors
    /// A band that is not there, floats outside 0..1 or without a number.
    pub fn source(&self, source_bands: usize, picture: &Picture, path: &Path) -> Result<Pixels> {
        let reading = self.reading(source_bands, path)?;
        reading.check(&picture.info, path)?;
        let prepared;
        let picture = match self.preparation.is_none() {
            true => picture,
            false => {
                prepared = self.preparation.apply(picture.clone(), path)?;
                &prepared
            }
        };
        picture.check_range(path)?;
        let mut pixels = Pixels::new(picture.info.width, picture.info.height, reading.channels());
        picture.read(reading, picture.area(), &mut pixels.values);
        pixels.values.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        Ok(pixels)
    }
}

/// A network with its weights on a device.
pub struct Colorizer {
    painter: Box<dyn Painter>,
    lightness: Option<LightnessMatch>,
}

/// The name on the command line of the network whose weights a file holds, by the names of its tensors; a classifier's where
/// they are those of no network.
pub fn model_of(file: &WeightFile) -> &'static str {
    let marks = [
        ("g.down1.weight", pix2pix::Generator::NAME),
        ("g.conv1.weight", sicgan::Generator::NAME),
        ("g.in0.weight", spacenet::Generator::NAME),
    ];
    let mark = marks.iter().find(|(tensor, _)| file.get(tensor).is_some());
    mark.map_or_else(|| Architecture::of(file).name(), |(_, name)| name)
}

/// A generator with the weights of a file.
fn trained<G: Generator + 'static>(device: &Device, network: G, file: &WeightFile) -> Result<Box<dyn Painter>> {
    let parameters = Parameters::new(device, network.param_specs(), 0, false)?;
    parameters.load(file)?;
    Ok(Box::new(Trained { network, parameters }))
}

impl Colorizer {
    /// The network whose weights a file holds: which, its width, its bands and the number of bins are read off the tensors'
    /// names and shapes.
    ///
    /// # Errors
    /// A file that cannot be read, is cut short, lacks a tensor, or has one of a wrong shape or with a NaN.
    pub fn open(device: &Device, weights: &Path) -> Result<Self> {
        let file = WeightFile::read(weights)?;
        let painter: Box<dyn Painter> = match model_of(&file) {
            pix2pix::Generator::NAME => trained(device, pix2pix::Generator::of(&file)?, &file)?,
            sicgan::Generator::NAME => trained(device, sicgan::Generator::of(&file)?, &file)?,
            spacenet::Generator::NAME => trained(device, spacenet::Generator::of(&file)?, &file)?,
            _ => Box::new(Classifier::read(device, &file, false)?),
        };
        Ok(Colorizer { painter, lightness: None })
    }

    /// The same network, whose pictures get another lightness than that of their source, if `by` is given.
    ///
    /// # Errors
    /// A network that makes the lightness itself.
    pub fn with_lightness(self, by: Option<LightnessMatch>) -> Result<Self> {
        crate::ensure!(
            by.is_none() || self.painter.keeps_lightness(),
            Error::input(
                format!("{} makes the lightness of its pictures itself", self.painter.name()),
                "⟨lightness⟩ despeckle",
                "leave it out"
            )
        );
        Ok(Colorizer { lightness: by, ..self })
    }

    /// The network's name on the command line.
    pub fn model(&self) -> &'static str {
        self.painter.name()
    }

    /// Bands of the pictures that it makes; three are sRGB.
    pub fn bands(&self) -> usize {
        self.painter.bands()
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
            Error::input("the run has no checkpoint yet", run.display(), "let it train on, or resume it with ⟨resume⟩")
        })
    }

    /// Whether the network can say how unsure it is, as an error where it cannot.
    ///
    /// # Errors
    /// A network that is no classifier.
    pub fn check_uncertainty(&self) -> Result<()> {
        crate::ensure!(self.painter.knows_uncertainty(), no_uncertainty(self.painter.name()));
        Ok(())
    }

    /// Colours a picture; the result, values 0..1, has its size. See [`whole::paint`] for how.
    ///
    /// # Errors
    /// A band that is not there, floats outside 0..1 or without a number, memory.
    pub fn colorize(&self, picture: &Picture, path: &Path, options: &Options) -> Result<Pixels> {
        self.paint(&self.source(picture, path, options)?, &options.look)
    }

    /// A scene that is read by windows, as the network reads it.
    ///
    /// # Errors
    /// As [`PreparedScene::open`]; a band that is asked of a network that reads several.
    pub fn open_scene(&self, path: &Path, options: &Options) -> Result<PreparedScene> {
        let scene =
            PreparedScene::open(path, self.reading(path, options)?, &options.preparation, self.painter.device())?;
        Ok(scene.with_cache(CACHE_BYTES))
    }

    /// What the network reads of a picture, values 0..1.
    ///
    /// # Errors
    /// As [`Options::source`].
    pub fn source(&self, picture: &Picture, path: &Path, options: &Options) -> Result<Pixels> {
        options.source(self.painter.source_bands(), picture, path)
    }

    /// Colours what [`Colorizer::source`] has read, see [`whole::paint`].
    ///
    /// # Errors
    /// Memory, and whatever a launch reports.
    pub fn paint(&self, source: &Pixels, look: &Look) -> Result<Pixels> {
        match &self.lightness {
            None => whole::paint(self.painter.as_ref(), source, look),
            Some(by) => {
                let whole = Area { x: 0, y: 0, width: source.width, height: source.height };
                let relit = Relit { source, by, device: self.painter.device() }.read(whole)?;
                whole::paint(self.painter.as_ref(), &relit.pixels, look)
            }
        }
    }

    /// The tiles by which a scene is painted: of `tile` pixels a side, or else of what fits the device's memory, see
    /// [`best_tile`]; overlapping by `overlap` pixels, or else by the network's reach.
    ///
    /// # Errors
    /// Whatever the network reports where it is tried.
    pub fn tiling(&self, size: [usize; 2], tile: Option<usize>, overlap: Option<usize>, look: &Look) -> Result<Tiling> {
        let painter = self.painter.as_ref();
        let tile = tile.map_or_else(|| best_tile(painter, size, overlap, look), Ok)?;
        Ok(Tiling::of_scene(&painter.framing(), tile, overlap))
    }

    /// Colours a scene of any size, see [`scene::paint`].
    ///
    /// # Errors
    /// As [`scene::paint`].
    pub fn paint_scene(
        &self,
        source: &dyn Source,
        sink: &mut dyn Sink,
        scene: &Scene,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<()> {
        match &self.lightness {
            None => scene::paint(self.painter.as_ref(), source, sink, scene, progress),
            Some(by) => {
                let relit = Relit { source, by, device: self.painter.device() };
                scene::paint(self.painter.as_ref(), &relit, sink, scene, progress)
            }
        }
    }

    /// How the network reads the picture at `path`.
    ///
    /// # Errors
    /// As [`Options::reading`].
    pub fn reading(&self, path: &Path, options: &Options) -> Result<Reading> {
        options.reading(self.painter.source_bands(), path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nn::save_tensors;
    use crate::imaging::color::Bins;
    use crate::imaging::picture::{Depth, PictureInfo, Samples};

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
            assert_eq!((colours.width, colours.height, colours.bands), (width, height, 3));
        }
    }

    #[test]
    fn generators_are_known_by_their_names_and_take_any_size() {
        is_known_and_takes_any_size(&pix2pix::Generator::new(1, 0.01, 0.3), &[(1, 1), (256, 256), (300, 40)]);
        is_known_and_takes_any_size(&sicgan::Generator::new(0.05, sicgan::PATCH), &[(1, 1), (128, 128), (150, 40)]);
        is_known_and_takes_any_size(&sicgan::Generator::new(0.05, 20), &[(1, 1), (20, 20), (45, 13)]);
    }

    #[test]
    fn spacenet_is_known_by_its_names_and_reads_and_makes_its_bands() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let device = Device::cpu();
        let specs = Generator::param_specs(&spacenet::Generator::new(2, 5, 0.05));
        save_tensors(&Parameters::new(&device, specs, 1, false).unwrap().state().unwrap(), &path).unwrap();
        let colorizer = Colorizer::open(&device, &path).unwrap();
        assert_eq!((colorizer.model(), colorizer.bands()), ("spacenet", 5));
        let picture = |bands: usize| Picture {
            info: PictureInfo { width: 7, height: 3, bands, depth: Depth::U8 },
            samples: Samples::U8(vec![128; 21 * bands]),
        };
        let colorize = |bands, options| colorizer.colorize(&picture(bands), Path::new("p.tif"), &options);
        let colours = colorize(2, Options::default()).unwrap();
        assert_eq!((colours.width, colours.height, colours.values.len()), (7, 3, 105));
        assert!(colours.values.iter().all(|v| (0.0..=1.0).contains(v)));
        let error = colorize(3, Options::default()).unwrap_err().to_string();
        assert!(error.contains("is 3, not 2: p.tif"), "{error}");
        let error = colorize(2, Options { band: Some(1), ..Options::default() }).unwrap_err().to_string();
        assert!(error.contains("reads 2 bands: band 1 with p.tif"), "{error}");
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
                assert_eq!((colours.width, colours.height, colours.bands), (width, height, 3));
            }
        }
    }

    #[test]
    fn another_lightness_leaves_the_colours_and_is_refused_where_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let by: LightnessMatch = serde_json::from_str(r#"{"source": [0.0, 1.0], "target": [0.75, 0.75]}"#).unwrap();
        let colorizer = || Colorizer::open(&Device::cpu(), &weights(folder.path(), Architecture::Window8)).unwrap();
        let source = Pixels { values: (0..48).map(|i| i as f32 / 47.0).collect(), ..Pixels::new(8, 6, 1) };
        let lab = |colorizer: &Colorizer| -> Vec<[f32; 3]> {
            let colours = colorizer.paint(&source, &Look::default()).unwrap();
            colours
                .values
                .chunks_exact(3)
                .map(|rgb| crate::imaging::color::srgb_to_lab([rgb[0], rgb[1], rgb[2]]))
                .collect()
        };
        let (plain, relit) = (lab(&colorizer()), lab(&colorizer().with_lightness(Some(by.clone())).unwrap()));
        for (plain, relit) in plain.iter().zip(&relit) {
            assert!((relit[0] - 75.0).abs() < 0.5, "{relit:?}");
            // Very dark and very bright colours are cut to sRGB.
            if (40.0..80.0).contains(&plain[0]) {
                assert!((plain[1] - relit[1]).abs() < 0.5 && (plain[2] - relit[2]).abs() < 0.5, "{plain:?} {relit:?}");
            }
        }
        let path = folder.path().join("g.safetensors");
        let network = pix2pix::Generator::new(1, 0.01, 0.3);
        let parameters = Parameters::new(&Device::cpu(), network.param_specs(), 1, false).unwrap();
        save_tensors(&parameters.state().unwrap(), &path).unwrap();
        let error = Colorizer::open(&Device::cpu(), &path).unwrap().with_lightness(Some(by)).err().unwrap();
        assert!(error.exit_code() == 2 && error.to_string().contains("lightness despeckle"), "{error}");
    }
}
