//! Colorizers of weights and of runs.

use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::{Error, Result};
use crate::networks;
use crate::paint::colorizer::Colorizer;
use crate::train::checkpoint::Checkpoint;
use crate::train::run_dir::RunDir;
use std::path::{Path, PathBuf};

impl Colorizer {
    /// The network whose weights a file holds: which, its width, its bands and the number of bins are read off the
    /// tensors' names and shapes.
    ///
    /// # Errors
    /// A file that cannot be read, is cut short, lacks a tensor, or has one of a wrong shape or with a NaN.
    pub fn open(device: &Device, weights: &Path) -> Result<Self> {
        Colorizer::of(device, &WeightFile::read(weights)?)
    }

    /// As [`Colorizer::open`], of a file that has been read.
    ///
    /// # Errors
    /// As [`Colorizer::open`].
    pub fn of(device: &Device, file: &WeightFile) -> Result<Self> {
        Ok(Colorizer::new(networks::of_file(file)?.painter(device, file)?))
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::lightness::LightnessMatch;
    use crate::engine::nn::Parameters;
    use crate::engine::nn::save_tensors;
    use crate::imaging::color::Bins;
    use crate::imaging::picture::Picture;
    use crate::imaging::picture::{Depth, PictureInfo, Samples};
    use crate::imaging::pixels::Pixels;
    use crate::networks::classifier::network::{Architecture, Classifier};
    use crate::networks::pix2pix::network as pix2pix;
    use crate::networks::sicgan::network as sicgan;
    use crate::networks::spacenet::network as spacenet;
    use crate::networks::{colournet, window8};
    use crate::paint::colorizer::Options;
    use crate::paint::painter::{Generator, Look};

    fn weights(folder: &Path, architecture: &'static Architecture) -> PathBuf {
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
        assert_eq!(colorizer.painter().framing(), network.framing());
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
        for architecture in [&colournet::network::ARCHITECTURE, &window8::network::ARCHITECTURE] {
            let colorizer = Colorizer::open(&Device::cpu(), &weights(folder.path(), architecture)).unwrap();
            assert_eq!(colorizer.model(), architecture.name);
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
        let colorizer =
            || Colorizer::open(&Device::cpu(), &weights(folder.path(), &window8::network::ARCHITECTURE)).unwrap();
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
