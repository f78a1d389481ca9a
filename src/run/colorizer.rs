//! Colorizers of weights and of runs.

use crate::dataset::lightness::LightnessMatch;
use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::{Error, ErrorKind, Result};
use crate::networks::{self, serves_training};
use crate::paint::colorizer::{Colorizer, Options};
use crate::paint::units::TargetUnits;
use crate::run::run::Run;
use crate::train::built_in::{BuiltIn, NAMES};
use crate::train::metadata::{Input, Lightness, Metadata};
use std::path::Path;

impl Colorizer {
    /// The network whose weights a file holds: which, its width, its bands and the number of bins are read off the
    /// tensors' names and shapes. How its inputs are read is what the file says of itself; of a file that says
    /// nothing, see [`Options`].
    ///
    /// # Errors
    /// A file that cannot be read, is cut short, lacks a tensor, or has one of a wrong shape or with a NaN; one of a
    /// later format.
    pub fn open(device: &Device, weights: impl AsRef<Path>) -> Result<Self> {
        Colorizer::of(device, &WeightFile::read_where(weights.as_ref(), |name| !serves_training(name))?, None)
    }

    /// The network of the weights of this name that come along, e.g. `grey`.
    ///
    /// # Errors
    /// No weights of that name, or a program built without them; no memory.
    pub fn built_in(device: &Device, name: &str) -> Result<Self> {
        let unknown =
            || Error::input("no weights of that name come along", name, format!("use {}", NAMES.join(" or ")));
        let weights = BuiltIn::by_name(Path::new(name))?.ok_or_else(unknown)?;
        Colorizer::of(device, &weights.read()?, None)
    }

    /// As [`Colorizer::open`], of a weight file's bytes.
    ///
    /// # Errors
    /// As [`Colorizer::open`].
    pub fn from_weights(device: &Device, bytes: &[u8]) -> Result<Self> {
        Colorizer::of(device, &WeightFile::from_bytes("weights in memory", bytes)?, None)
    }

    /// As [`Colorizer::open`], of a file that has been read. `lightness`: whose lightness images get, whatever the
    /// file says.
    ///
    /// # Errors
    /// As [`Colorizer::open`]; a lightness that the file does not tell or that the network makes itself.
    pub fn of(device: &Device, file: &WeightFile, lightness: Option<Lightness>) -> Result<Self> {
        let metadata = Metadata::of(file)?.unwrap_or_default();
        let recipe = networks::of_file(file)?;
        crate::ensure!(
            metadata.network.is_empty() || metadata.network == recipe.name(),
            Error::input(
                format!("its tensors are those of {}, and it says {}", recipe.name(), metadata.network),
                file.source(),
                "use a file as huetape wrote it, or a newer huetape"
            )
            .of(ErrorKind::File)
        );
        let wanted = lightness.unwrap_or(metadata.input.lightness);
        let by = matched(wanted, || Ok(metadata.lightness_match))?;
        let colorizer = Colorizer::new(recipe.painter(device, file)?).with_lightness(by)?;
        let input = &metadata.input;
        let units = input.target_stretch.as_ref().and_then(|stretch| TargetUnits::of(stretch, &input.target_names));
        let units = match (units, &input.target_files) {
            (Some(units), Some(files)) => Some(units.of_files(&files.sample, files.nodata.as_deref(), &files.units)),
            (units, _) => units,
        };
        let options = options_of(&colorizer, &metadata.input);
        Ok(colorizer.with_options(options).with_units(units))
    }

    /// The network of the run in a folder, which colours as `huetape colorize` does for it: with its best weights,
    /// else its newest, reading inputs as its training did.
    ///
    /// # Errors
    /// No run folder, none of its checkpoints written yet, settings that cannot be read; as [`Colorizer::open`].
    pub fn open_run(device: &Device, run: impl AsRef<Path>) -> Result<Self> {
        Colorizer::of_run(device, &Run::open(run)?, None)
    }

    /// As [`Colorizer::open_run`], of a run that has been opened. `lightness`: whose lightness images get, whatever
    /// the run says.
    ///
    /// # Errors
    /// As [`Colorizer::open_run`]; a lightness that the run does not tell or that the network makes itself.
    pub fn of_run(device: &Device, run: &Run, lightness: Option<Lightness>) -> Result<Self> {
        let by = matched(lightness.unwrap_or(run.input().lightness), || run.lightness_match())?;
        let file = WeightFile::read_where(&run.weights()?, |name| !serves_training(name))?;
        let colorizer = Colorizer::of(device, &file, Some(Lightness::Input))?.with_lightness(by)?;
        let options = options_of(&colorizer, run.input());
        Ok(colorizer.with_options(options))
    }
}

/// How images are coloured that are read as `input` says.
fn options_of(colorizer: &Colorizer, input: &Input) -> Options {
    let (band, lightness) = (input.band, input.of_colour_images);
    Options { look: colorizer.painter().look(), band, lightness, preparation: input.source() }
}

/// The match of lightness that is wanted, if one is.
fn matched(
    wanted: Lightness,
    known: impl FnOnce() -> Result<Option<LightnessMatch>>,
) -> Result<Option<LightnessMatch>> {
    if wanted == Lightness::Input {
        return Ok(None);
    }
    let unknown = || {
        let remedy = "name a ⟨run⟩ that was trained on grey pictures and colours";
        Error::input("nothing is known of the lightness to match", "⟨lightness⟩ despeckle", remedy)
    };
    known()?.map(Some).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nn::Parameters;
    use crate::engine::nn::{save_described, save_tensors};
    use crate::imaging::codec::save::save_png;
    use crate::imaging::color::Bins;
    use crate::imaging::picture::Picture;
    use crate::imaging::picture::{Depth, PictureInfo, Samples};
    use crate::imaging::pixels::Pixels;
    use crate::networks::classifier::network::{Architecture, Classifier};
    use crate::networks::pix2pix::network as pix2pix;
    use crate::networks::sicgan::network as sicgan;
    use crate::networks::spacenet::network as spacenet;
    use crate::networks::{colournet, window8};
    use crate::paint::painter::{Generator, Look};
    use std::path::PathBuf;

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
            let colorizer = Colorizer::open(&Device::cpu(), weights(folder.path(), architecture)).unwrap();
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
            || Colorizer::open(&Device::cpu(), weights(folder.path(), &window8::network::ARCHITECTURE)).unwrap();
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

    #[test]
    fn a_source_that_is_not_an_image_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = weights(folder.path(), &window8::network::ARCHITECTURE);
        let bytes = std::fs::read(&path).unwrap();
        let colorizer = Colorizer::from_weights(&Device::cpu(), &bytes).unwrap();
        let source = |width, height, bands, values: usize| Pixels { width, height, bands, values: vec![0.5; values] };
        let look = Look::default();
        let good = colorizer.paint(&source(3, 2, 1, 6), &look).unwrap();
        assert_eq!(good, Colorizer::open(&Device::cpu(), &path).unwrap().paint(&source(3, 2, 1, 6), &look).unwrap());
        for bad in [
            source(0, 4, 1, 0),
            source(3, 2, 1, 5),
            source(3, 2, 1, 7),
            source(3, 2, 2, 12),
            source(usize::MAX, 2, 1, 6),
        ] {
            let error = colorizer.paint(&bad, &look).unwrap_err();
            assert_eq!((error.exit_code(), error.kind()), (2, ErrorKind::Shape), "{error}");
        }
        for (width, samples) in [(0, 0), (5, 3)] {
            let info = PictureInfo { width, height: 1, bands: 1, depth: Depth::U8 };
            let picture = Picture { info, samples: Samples::U8(vec![1; samples]) };
            let error = colorizer.colorize(&picture, Path::new("p.png"), &Options::default()).unwrap_err();
            assert!(error.kind() == ErrorKind::Shape && error.to_string().contains("p.png"), "{error}");
        }
    }

    #[test]
    fn weights_that_say_they_are_of_another_network_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = weights(folder.path(), &window8::network::ARCHITECTURE);
        let tensors: Vec<_> = WeightFile::read(&path).unwrap().tensors().cloned().collect();
        let metadata = Metadata { network: "window9".to_owned(), ..Metadata::default() };
        save_described(&tensors, Some(&metadata.to_json().unwrap()), &path).unwrap();
        let error = Colorizer::open(&Device::cpu(), &path).err().unwrap();
        assert!(error.exit_code() == 2 && error.to_string().contains("window9"), "{error}");
    }

    #[test]
    fn files_are_not_overwritten_and_names_say_the_format() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let colorizer =
            Colorizer::open(&Device::cpu(), weights(folder.path(), &window8::network::ARCHITECTURE)).unwrap();
        let input = at("in.png");
        save_png(&input, &[7, 90, 200, 30, 60, 120], 3, 2, None).unwrap();
        for output in ["in.png", "new/../in.png", "out.jpg"] {
            let _ = std::fs::create_dir(at("new"));
            let error = colorizer.colour_file(&input, at(output)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
        }
        assert_eq!(colorizer.colour_file(at("none.png"), at("deep/out.png")).unwrap_err().exit_code(), 2);
        assert!(!at("deep").exists());
        colorizer.colour_file(&input, at("deep/out.png")).unwrap();
        assert!(at("deep/out.png").is_file());
    }
}
