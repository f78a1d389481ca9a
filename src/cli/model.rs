//! Which network a command is about, and how its training starts.

use crate::cli::settings::{Settings, at_least, below_one, positive};
use crate::dataset::pairs::DataSource;
use crate::dataset::stats::{DataStats, Survey};
use crate::engine::device::Device;
use crate::engine::nn::{OptimizerKind, WeightFile};
use crate::error::{Error, Result};
use crate::imaging::picture::Reading;
use crate::networks;
use crate::networks::adversarial::AdversarialConfig;
use crate::networks::classifier::learner::{self as classification, ClassificationConfig};
use crate::networks::colournet::network as colournet;
use crate::networks::pix2pix::game as pix2pix_game;
use crate::networks::pix2pix::network as pix2pix;
use crate::networks::recipe::{self, Recipe};
use crate::networks::sicgan::game as sicgan_game;
use crate::networks::sicgan::network as sicgan;
use crate::networks::spacenet::game as spacenet_game;
use crate::networks::spacenet::network as spacenet;
use crate::networks::window8::network as window8;
use crate::train::learner::Learner;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Which network.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// SAR or grey to colour by classification over ab bins
    Colournet,
    /// The same by a small network that reads 17x17 pixels around each
    Window8,
    /// SAR or grey to colour by a conditional GAN
    Pix2pix,
    /// Grey to colour by a GAN on patches, from as little as one picture
    Sicgan,
    /// Any bands to any others, grey to RGB or RGB to multispectral, by a GAN on windows
    Spacenet,
}

impl Model {
    /// What the library knows of it.
    pub fn recipe(self) -> &'static dyn Recipe {
        networks::NETWORKS[self as usize]
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        self.recipe().name()
    }

    /// The network whose weights a file holds.
    ///
    /// # Errors
    /// Tensors of no network.
    pub fn of(file: &WeightFile) -> Result<Model> {
        let name = networks::of_file(file)?.name();
        let found = Model::value_variants().iter().copied().find(|model| model.name() == name);
        found.ok_or_else(|| Error::input("no such network", name, "report this"))
    }

    /// The side of the pictures that weights were trained on, where the file tells.
    ///
    /// # Errors
    /// Tensors that are missing or do not belong together.
    pub fn trained_size(file: &WeightFile) -> Result<Option<usize>> {
        networks::of_file(file)?.trained_size(file)
    }

    /// How the two sides of `data` are read; `band` (from 1) chooses one of the sources'.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn readings(self, data: &DataSource, band: Option<usize>) -> Result<(Reading, Reading)> {
        match self.recipe().reads_all_bands() {
            true => data.readings_of_all_bands(band),
            false => Ok(data.readings(band)),
        }
    }

    /// Pixels that it reads beyond each side of a crop.
    pub fn halo(self) -> usize {
        self.recipe().halo()
    }

    /// Refuses pictures of a size, that of `--size`, that the network cannot be run on.
    ///
    /// # Errors
    /// A size that is no multiple of the stride, or leaves nothing to colour.
    pub fn check_size(self, size: usize) -> Result<()> {
        recipe::check_size(self.recipe(), size)
    }

    /// The settings that differ from one network to another, for weights that are `fresh` or come from a file, which brings
    /// some of them.
    pub fn defaults(self, fresh: bool) -> Settings {
        match self {
            Model::Colournet => Settings {
                batch: Some(8),
                lr: Some(1e-4),
                beta1: Some(0.9),
                beta2: Some(0.99),
                bins: fresh.then(|| "grid".to_owned()),
                bin_width: Some(10),
                lambda: Some(0.5),
                sigma: Some(5.0),
                prior_smoothing: Some("ab".to_owned()),
                ..Settings::default()
            },
            Model::Window8 => Settings {
                size: Some(32),
                batch: Some(32),
                prior_smoothing: Some("none".to_owned()),
                ..Model::Colournet.defaults(fresh)
            },
            Model::Pix2pix => Settings {
                batch: Some(1),
                lr: Some(2e-4),
                beta1: Some(0.5),
                beta2: Some(0.999),
                lambda_l1: Some(100.0),
                dropout: Some(pix2pix::DROPOUT),
                leaky_slope: fresh.then_some(pix2pix::LEAKY_SLOPE),
                input_channels: fresh.then_some(1),
                ..Settings::default()
            },
            Model::Sicgan => Settings {
                size: Some(sicgan::PATCH),
                epochs: Some(20),
                batch: Some(32),
                lr: Some(1e-4),
                lr_d: Some(4e-4),
                beta1: Some(0.5),
                beta2: Some(0.999),
                lambda_l1: Some(0.0),
                patches: Some(5000),
                min_distance: Some(64),
                ..Settings::default()
            },
            Model::Spacenet => Settings {
                size: Some(spacenet::SIZE),
                batch: Some(16),
                optimizer: Some("sgd".to_owned()),
                // The published 1e-3 drives the full network's tanh into saturation within a few updates, for good.
                lr: Some(1e-4),
                beta1: Some(0.5),
                beta2: Some(0.999),
                lambda_mse: Some(100.0),
                d_l2: Some(1e-4),
                ..Settings::default()
            },
        }
    }

    /// Refuses settings that only other networks have.
    fn refuse_foreign(self, settings: &Settings) -> Result<()> {
        let classifiers: &[Model] = &[Model::Colournet, Model::Window8];
        let pairs: &[Model] = &[Model::Pix2pix, Model::Sicgan, Model::Spacenet];
        // Of a network without a width, 1 is the width.
        let width = settings.width.is_some_and(|width| width != 1.0);
        let scaled: &[Model] = &[Model::Colournet, Model::Pix2pix, Model::Sicgan, Model::Spacenet];
        let of_some = [
            ("--width", width, scaled),
            ("--lightness", settings.lightness.is_some(), &[Model::Colournet, Model::Window8, Model::Sicgan]),
            ("--bins", settings.bins.is_some(), classifiers),
            ("--bin-width", settings.bin_width.is_some(), classifiers),
            ("--lambda", settings.lambda.is_some(), classifiers),
            ("--sigma", settings.sigma.is_some(), classifiers),
            ("--prior-smoothing", settings.prior_smoothing.is_some(), classifiers),
            ("--lr-d", settings.lr_d.is_some(), pairs),
            ("--lambda-l1", settings.lambda_l1.is_some(), &[Model::Pix2pix, Model::Sicgan]),
            ("--dropout", settings.dropout.is_some(), &[Model::Pix2pix]),
            ("--leaky-slope", settings.leaky_slope.is_some(), &[Model::Pix2pix]),
            ("--input-channels", settings.input_channels.is_some(), &[Model::Pix2pix]),
            ("--patches", settings.patches.is_some(), &[Model::Sicgan]),
            ("--min-distance", settings.min_distance.is_some(), &[Model::Sicgan]),
            ("--lambda-mse", settings.lambda_mse.is_some(), &[Model::Spacenet]),
            ("--d-l2", settings.d_l2.is_some(), &[Model::Spacenet]),
        ];
        match of_some.iter().find(|(_, given, models)| *given && !models.contains(&self)) {
            Some((flag, ..)) => Err(Error::input(format!("{} has no such setting", self.name()), flag, "leave it out")),
            None => Ok(()),
        }
    }
}

/// What a training starts from.
#[derive(Debug, Clone)]
pub enum Start {
    Classification(classification::Start),
    Pix2pix(pix2pix_game::Start),
    Sicgan(sicgan_game::Start),
    Spacenet(spacenet_game::Start),
}

impl Start {
    /// The start that `settings`, filled, describe for `model`.
    ///
    /// # Errors
    /// The first value that makes no sense, by its flag.
    pub fn resolve(model: Model, settings: &Settings, optimizer: OptimizerKind) -> Result<Start> {
        model.refuse_foreign(settings)?;
        let weight_decay = at_least(settings.weight_decay.unwrap_or_default(), 0.0, false, "--weight-decay")?;
        let l2 = at_least(settings.l2.unwrap_or_default(), 0.0, false, "--l2")?;
        if let Some(width) = settings.width {
            crate::ensure!(
                width > 0.0 && width <= 16.0,
                Error::input(
                    "the width makes no network",
                    format!("--width {width}"),
                    "use a multiplier above 0, e.g. 0.25 or 1"
                )
            );
        }
        let (init, width, seed) = (settings.init.clone(), settings.width, settings.seed.unwrap_or_default());
        let d_l2 = at_least(settings.d_l2.unwrap_or(l2), 0.0, false, "--d-l2")?;
        let lambda_l1 = || -> Result<f32> {
            let lambda = f64::from(settings.lambda_l1.unwrap_or_default());
            Ok(at_least(lambda, 0.0, false, "--lambda-l1")? as f32)
        };
        let learning = || -> Result<AdversarialConfig> {
            let lr_ratio = match (settings.lr_d, settings.lr) {
                (Some(lr_d), Some(lr)) => at_least(lr_d, 0.0, true, "--lr-d")? / lr,
                _ => 1.0,
            };
            Ok(AdversarialConfig { optimizer, weight_decay, l2, d_l2, lr_ratio, seed, training: true })
        };
        match model {
            Model::Colournet | Model::Window8 => {
                let bins = settings.bins.as_deref();
                crate::ensure!(
                    init.is_none() || bins.is_none(),
                    Error::input(
                        "the weights bring their own bins",
                        "--bins beside --init",
                        "leave one of the two out"
                    )
                );
                let lambda = settings.lambda.unwrap_or_default();
                crate::ensure!(
                    (0.0..=1.0).contains(&lambda),
                    Error::input("out of range", format!("--lambda {lambda}"), "use a number from 0 to 1")
                );
                let bin_width = settings.bin_width.unwrap_or_default();
                crate::ensure!(
                    (1..=100).contains(&bin_width),
                    Error::input(
                        "out of range",
                        format!("--bin-width {bin_width}"),
                        "use 1 to 100 ab units; 10 is usual"
                    )
                );
                let sigma = at_least(f64::from(settings.sigma.unwrap_or_default()), 0.0, true, "--sigma")? as f32;
                let architecture = match model {
                    Model::Window8 => &window8::ARCHITECTURE,
                    _ => &colournet::ARCHITECTURE,
                };
                Ok(Start::Classification(classification::Start {
                    architecture,
                    init,
                    width,
                    bins: bins.unwrap_or("grid").parse()?,
                    bin_width,
                    smoothing: settings.prior_smoothing.as_deref().unwrap_or_default().parse()?,
                    seed,
                    learning: ClassificationConfig { optimizer, weight_decay, l2, lambda, sigma, training: true },
                }))
            }
            Model::Pix2pix => {
                let above_zero = |value: f32, flag: &str| at_least(f64::from(value), 0.0, true, flag).map(|v| v as f32);
                Ok(Start::Pix2pix(pix2pix_game::Start {
                    init,
                    width,
                    leaky_slope: settings.leaky_slope.map(|slope| above_zero(slope, "--leaky-slope")).transpose()?,
                    input_channels: match settings.input_channels {
                        Some(channels) => Some(positive(Some(channels), "--input-channels")?),
                        None => None,
                    },
                    lambda_l1: lambda_l1()?,
                    dropout: below_one(f64::from(settings.dropout.unwrap_or_default()), "--dropout")? as f32,
                    side: positive(settings.size, "--size")?,
                    learning: learning()?,
                }))
            }
            Model::Sicgan => Ok(Start::Sicgan(sicgan_game::Start {
                init,
                width,
                patch: positive(settings.size, "--size")?,
                lambda_l1: lambda_l1()?,
                noise: sicgan_game::Noise::default(),
                learning: learning()?,
            })),
            Model::Spacenet => {
                let lambda_mse = f64::from(settings.lambda_mse.unwrap_or_default());
                Ok(Start::Spacenet(spacenet_game::Start {
                    init,
                    width,
                    size: positive(settings.size, "--size")?,
                    lambda_mse: at_least(lambda_mse, 0.0, false, "--lambda-mse")? as f32,
                    learning: learning()?,
                }))
            }
        }
    }

    /// Weights that it is told to start from.
    pub fn init(&self) -> Option<&Path> {
        match self {
            Start::Classification(start) => start.init.as_deref(),
            Start::Pix2pix(start) => start.init.as_deref(),
            Start::Sicgan(start) => start.init.as_deref(),
            Start::Spacenet(start) => start.init.as_deref(),
        }
    }

    /// A learner for training on what `survey` found in the data, or on from the weights in `init`.
    ///
    /// # Errors
    /// Weights that do not fit; no memory.
    pub fn learner(&self, device: &Device, survey: &Survey, init: Option<&WeightFile>) -> Result<Box<dyn Learner>> {
        Ok(match self {
            Start::Classification(start) => {
                if let Some(file) = init {
                    networks::check_weights(networks::by_name(start.architecture.name)?, file)?;
                }
                Box::new(start.learner(device, survey, init)?)
            }
            Start::Pix2pix(start) => Box::new(start.learner(device, init)?),
            Start::Sicgan(start) => Box::new(start.learner(device, init)?),
            Start::Spacenet(start) => Box::new(start.learner(device, &survey.stats, init)?),
        })
    }

    /// The networks without any data: with the weights in `init`, else fresh ones, a classifier's bins being `bins` on a
    /// lattice. Without `training` they cannot learn, and take no more memory than their weights.
    ///
    /// # Errors
    /// Weights that do not fit; no memory.
    pub fn networks(
        &self,
        device: &Device,
        bins: usize,
        init: Option<&WeightFile>,
        training: bool,
    ) -> Result<Box<dyn Learner>> {
        let mut start = self.clone();
        match &mut start {
            Start::Classification(start) => start.learning.training = training,
            Start::Pix2pix(start) => start.learning.training = training,
            Start::Sicgan(start) => start.learning.training = training,
            Start::Spacenet(start) => start.learning.training = training,
        }
        match &start {
            Start::Classification(start) if init.is_none() => Ok(Box::new(start.on_lattice(device, bins)?)),
            Start::Spacenet(_) => {
                let bands = init.map(spacenet::Generator::of).transpose()?.map(|g| [g.bands_in, g.bands_out]);
                let [source, target] = bands.unwrap_or([1, 3]);
                let stats = DataStats {
                    slope: vec![vec![0.0; source]; target],
                    mean: vec![0.0; target],
                    ..DataStats::default()
                };
                start.learner(device, &Survey { stats, ..Survey::default() }, init)
            }
            _ => start.learner(device, &Survey::default(), init),
        }
    }
}

/// Which network, for commands that take one apart from any training.
#[derive(Args, Debug, Clone)]
pub struct NetworkArgs {
    /// Multiplier of every layer's channels [default: 1.0]
    #[arg(long, value_name = "F")]
    pub width: Option<f64>,
    /// Colour bins of a classifier [default: 274]
    #[arg(long = "q", value_name = "Q")]
    pub bins: Option<usize>,
    /// Channels that pix2pix's grey input is repeated to [default: 1]
    #[arg(long, value_name = "N")]
    pub input_channels: Option<usize>,
    /// Side of the pictures in pixels [default: that of a training]
    #[arg(long, value_name = "S")]
    pub size: Option<usize>,
}

/// Bins of the published classifiers.
const BINS: usize = 274;

impl NetworkArgs {
    /// The networks of `model` as these flags say, or with the weights of a file.
    ///
    /// # Errors
    /// Flags that make no sense for the model; weights that do not fit; no memory.
    pub fn networks(
        &self,
        model: Model,
        device: &Device,
        weights: Option<&WeightFile>,
        training: bool,
    ) -> Result<Box<dyn Learner>> {
        let &NetworkArgs { width, input_channels, .. } = self;
        let init = weights.map(|file| PathBuf::from(file.source()));
        let size = self.size.or(weights.map(Model::trained_size).transpose()?.flatten());
        let settings = Settings { width, input_channels, init, size, ..Settings::default() }.filled(model);
        let bins = self.bins(model)?;
        crate::ensure!(
            self.bins.is_none() || weights.is_none(),
            Error::input("the weights bring their own bins", "--q", "leave it out")
        );
        let start = Start::resolve(model, &settings, settings.rule()?)?;
        start.networks(device, bins.unwrap_or(BINS), weights, training)
    }

    /// Colour bins of a classifier.
    ///
    /// # Errors
    /// None, or some for a network that has no such thing.
    pub fn bins(&self, model: Model) -> Result<Option<usize>> {
        let classifier = matches!(model, Model::Colournet | Model::Window8);
        match self.bins {
            Some(_) if !classifier => {
                Err(Error::input(format!("{} has no such setting", model.name()), "--q", "leave it out"))
            }
            Some(bins) => positive(Some(bins), "--q").map(Some),
            None => Ok(classifier.then_some(BINS)),
        }
    }

    /// Side of the pictures.
    ///
    /// # Errors
    /// One that the network cannot be run on.
    pub fn size(&self, model: Model) -> Result<usize> {
        let settings = Settings { size: self.size, ..Settings::default() }.filled(model);
        let size = settings.size.unwrap_or_default();
        model.check_size(size).map(|()| size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::settings::Patches;
    use crate::dataset::loader_options::Turns;

    fn images() -> Settings {
        Settings { images: Some("pictures".into()), ..Settings::default() }
    }

    #[test]
    fn sicgan_has_its_own_defaults_and_refusals() {
        let resolved = images().resolve(Model::Sicgan).unwrap();
        assert_eq!((resolved.session.lr, resolved.epochs), (1e-4, Some(20)));
        let loader = &resolved.session.loader;
        assert_eq!((loader.batch, loader.size, loader.halo, loader.turns), (32, 128, 1, Turns::MirrorsAndRotations));
        assert_eq!(resolved.patches, Some(Patches { count: 5000, min_distance: 64 }));
        let Start::Sicgan(start) = resolved.start else { panic!("{:?}", resolved.start) };
        assert_eq!(start.learning.optimizer, OptimizerKind::Adam { beta1: 0.5, beta2: 0.999, eps: 1e-8 });
        assert_eq!((start.lambda_l1, start.patch, start.noise), (0.0, 128, sicgan_game::Noise::default()));
        // 4e-4 / 1e-4, each rounded.
        assert!((start.learning.lr_ratio - 4.0).abs() < 1e-12);
        let cases = [
            (Settings { patches: Some(0), ..images() }, "--patches 0"),
            (Settings { patches: Some(10_000_000), ..images() }, "--patches 10000000"),
            (Settings { size: Some(0), ..images() }, "--size 0"),
            (Settings { lambda_l1: Some(-1.0), ..images() }, "--lambda-l1 -1"),
            (Settings { lr_d: Some(0.0), ..images() }, "--lr-d 0"),
            (Settings { dropout: Some(0.5), ..images() }, "--dropout"),
            (Settings { leaky_slope: Some(0.1), ..images() }, "--leaky-slope"),
        ];
        for (settings, expected) in cases {
            let error = settings.resolve(Model::Sicgan).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let foreign = Settings { patches: Some(9), ..images() }.resolve(Model::Pix2pix).unwrap_err();
        assert!(foreign.to_string().contains("--patches"), "{foreign}");
    }

    #[test]
    fn centre_crops_leave_sicgans_patches_out() {
        let resolved = Settings { no_augment: Some(true), ..images() }.resolve(Model::Sicgan).unwrap();
        assert_eq!(resolved.patches, None);
    }
}
