//! What the rest of the program asks of SICGAN.

use crate::dataset::loader_options::Turns;
use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::Result;
#[cfg(feature = "convert")]
use crate::exchange::onnx::graph::Value;
#[cfg(feature = "convert")]
use crate::exchange::onnx::layers::Layers;
use crate::networks::adversarial::AdversarialConfig;
use crate::networks::recipe::{Demo, Recipe, Setup, trained};
use crate::networks::sicgan::game::{Noise, Start};
use crate::networks::sicgan::network::{self as sicgan, Generator};
#[cfg(feature = "convert")]
use crate::paint::painter::Look;
use crate::paint::painter::{self, Painter};
use crate::train::learner::Learner;
use crate::train::settings::table::Settings;

/// See [`network`](crate::networks::sicgan::network).
pub struct Sicgan;

impl Recipe for Sicgan {
    fn name(&self) -> &'static str {
        <Generator as painter::Generator>::NAME
    }

    fn what(&self) -> &'static str {
        "Grey to colour by a GAN on patches, from as little as one picture"
    }

    fn recognises(&self, file: &WeightFile) -> bool {
        file.get("g.conv1.weight").is_some()
    }

    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>> {
        trained(device, Generator::of(file)?, file)
    }

    #[cfg(feature = "convert")]
    fn onnx(&self, layers: &mut Layers<'_>, source: &Value, _: &Look) -> Result<Value> {
        super::onnx::onnx(&Generator::of(layers.weights)?, layers, source)
    }

    fn trained_size(&self, file: &WeightFile) -> Result<Option<usize>> {
        Ok(Some(Generator::of(file)?.patch))
    }

    fn halo(&self) -> usize {
        sicgan::HALO
    }

    fn own_settings(&self) -> &'static [&'static str] {
        &["width", "lightness", "lr-d", "lambda-l1", "l1-scales", "gradient-share", "patches", "min-distance"]
    }

    fn defaults(&self) -> Settings {
        Settings {
            size: Some(sicgan::PATCH),
            epochs: Some(20),
            batch: Some(32),
            lr: Some(1e-4),
            lr_d: Some(4e-4),
            beta1: Some(0.5),
            beta2: Some(0.999),
            lambda_l1: Some(0.0),
            augment: Some(Turns::MirrorsAndRotations.to_string()),
            patches: Some(5000),
            min_distance: Some(64),
            ..Settings::default()
        }
    }

    fn learner(&self, setup: &Setup<'_>) -> Result<Box<dyn Learner>> {
        let settings = setup.settings;
        let start = Start {
            width: settings.width,
            patch: settings.size.unwrap_or(sicgan::PATCH),
            lambda_l1: settings.lambda_l1.unwrap_or_default(),
            noise: Noise::default(),
            learning: AdversarialConfig::of(setup)?,
        };
        Ok(Box::new(start.learner(setup.device, setup.weights)?))
    }

    fn paints_by_windows(&self) -> bool {
        true
    }

    fn lists_epochs(&self) -> bool {
        true
    }

    fn demos(&self) -> Vec<Demo> {
        vec![Demo {
            what: "grey to colour after two images, on scenes made here; with ⟨lambda-l1⟩ 10 (published: 0)",
            sides: &["optical"],
            strip: "lightness | predicted | truth",
            run: "run",
            scenes: 2,
            settings: Settings {
                width: Some(0.25),
                size: Some(48),
                batch: Some(16),
                patches: Some(800),
                steps: Some(1200),
                lr: Some(1e-3),
                lr_d: Some(1e-3),
                lr_schedule: Some("cosine".to_owned()),
                lambda_l1: Some(10.0),
                checkpoint_every: Some(600),
                sample_every: Some(300),
                ..Settings::default()
            },
        }]
    }

    fn examples(&self) -> &'static [&'static str] {
        &["⟨images⟩ one-photo/ ⟨width⟩ 0.5 ⟨lambda-l1⟩ 10"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::recipe::{check, check_size, fill};

    fn filled(settings: Settings) -> Settings {
        fill(&Sicgan, settings)
    }

    #[test]
    fn it_has_its_own_defaults() {
        let settings = filled(Settings::default());
        check(&Sicgan, &settings).unwrap();
        assert_eq!((settings.lr, settings.lr_d, settings.epochs), (Some(1e-4), Some(4e-4), Some(20)));
        assert_eq!((settings.batch, settings.size, settings.lambda_l1), (Some(32), Some(128), Some(0.0)));
        assert_eq!((settings.patches, settings.min_distance), (Some(5000), Some(64)));
        assert_eq!(settings.augment.as_deref(), Some("rotate"));
    }

    #[test]
    fn it_refuses_what_makes_no_sense_and_what_others_have() {
        let with = Settings::default;
        let cases = [
            (Settings { patches: Some(0), ..with() }, "patches 0"),
            (Settings { patches: Some(10_000_000), ..with() }, "patches 10000000"),
            (Settings { lambda_l1: Some(-1.0), ..with() }, "lambda-l1 -1"),
            (Settings { lr_d: Some(0.0), ..with() }, "lr-d 0"),
            (Settings { dropout: Some(0.5), ..with() }, "dropout"),
            (Settings { leaky_slope: Some(0.1), ..with() }, "leaky-slope"),
        ];
        for (settings, expected) in cases {
            let error = check(&Sicgan, &filled(settings)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(check_size(&Sicgan, 0).is_err() && check_size(&Sicgan, 17).is_ok());
    }
}
