//! What the rest of the program asks of SpaceNet's satellite GAN.

use crate::dataset::stats::Survey;
use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::Result;
#[cfg(feature = "convert")]
use crate::exchange::onnx::graph::Value;
#[cfg(feature = "convert")]
use crate::exchange::onnx::layers::Layers;
use crate::networks::adversarial::AdversarialConfig;
use crate::networks::game::has_discriminator;
use crate::networks::recipe::{Demo, Recipe, Setup, trained};
use crate::networks::spacenet::game::Start;
use crate::networks::spacenet::network::{Discriminator, Generator, SIZE, STRIDE};
#[cfg(feature = "convert")]
use crate::paint::painter::Look;
use crate::paint::painter::{self, Painter};
use crate::train::learner::Learner;
use crate::train::settings::table::Settings;

/// See [`network`](crate::networks::spacenet::network).
pub struct Spacenet;

impl Recipe for Spacenet {
    fn name(&self) -> &'static str {
        <Generator as painter::Generator>::NAME
    }

    fn what(&self) -> &'static str {
        "Any bands to any others, grey to RGB or RGB to multispectral, by a GAN on windows"
    }

    fn recognises(&self, file: &WeightFile) -> bool {
        file.get("g.in0.weight").is_some()
    }

    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>> {
        trained(device, Generator::of(file)?, file)
    }

    #[cfg(feature = "convert")]
    fn onnx(&self, layers: &mut Layers<'_>, source: &Value, _: &Look) -> Result<Value> {
        super::onnx::onnx(layers, source)
    }

    fn trained_size(&self, file: &WeightFile) -> Result<Option<usize>> {
        has_discriminator(file).then(|| Discriminator::of(file).map(|network| network.size)).transpose()
    }

    fn stride(&self) -> usize {
        STRIDE
    }

    fn reads_all_bands(&self) -> bool {
        true
    }

    fn own_settings(&self) -> &'static [&'static str] {
        &["bands", "ratio", "width", "lr-d", "lambda-mse", "d-l2"]
    }

    fn defaults(&self) -> Settings {
        Settings {
            size: Some(SIZE),
            batch: Some(16),
            optimizer: Some("sgd".to_owned()),
            // The published 1e-3 drives the full network's tanh into saturation within a few updates, for good.
            lr: Some(1e-4),
            beta1: Some(0.5),
            beta2: Some(0.999),
            lambda_mse: Some(100.0),
            d_l2: Some(1e-4),
            ..Settings::default()
        }
    }

    fn learner(&self, setup: &Setup<'_>) -> Result<Box<dyn Learner>> {
        let settings = setup.settings;
        let start = Start {
            width: settings.width,
            size: settings.size.unwrap_or(SIZE),
            lambda_mse: settings.lambda_mse.unwrap_or_default(),
            learning: AdversarialConfig::of(setup)?,
        };
        let bands = match (setup.survey, setup.weights) {
            (Some(Survey { stats, .. }), _) => [stats.source_bands(), stats.target_bands()],
            (None, Some(weights)) => {
                let generator = Generator::of(weights)?;
                [generator.bands_in, generator.bands_out]
            }
            (None, None) => [1, 3],
        };
        Ok(Box::new(start.learner(setup.device, bands, setup.weights)?))
    }

    fn judges_one_size(&self) -> bool {
        true
    }

    fn demos(&self) -> Vec<Demo> {
        let settings = Settings {
            width: Some(0.25),
            batch: Some(4),
            steps: Some(800),
            // Plain SGD at the published rate overshoots: see the README.
            optimizer: Some("adam".to_owned()),
            lr: Some(2e-3),
            lr_d: Some(2e-4),
            lr_schedule: Some("cosine".to_owned()),
            lambda_mse: Some(3000.0),
            checkpoint_every: Some(400),
            sample_every: Some(200),
            ..Settings::default()
        };
        vec![
            Demo {
                what: "grey to colour, on scenes made here; by Adam (⟨optimizer⟩ adam) instead of SGD",
                sides: &["optical"],
                strip: "lightness | predicted | truth",
                run: "run",
                scenes: 24,
                settings: settings.clone(),
            },
            Demo {
                what: "colour to colour and near infrared, on the same scenes, by Adam",
                sides: &["optical", "multispectral"],
                strip: "colour | predicted | truth | predicted infrared | true infrared",
                run: "run-infrared",
                scenes: 24,
                settings,
            },
        ]
    }

    fn examples(&self) -> &'static [&'static str] {
        &["⟨source⟩ rgb/ ⟨target⟩ eight-bands/ ⟨steps⟩ 5000"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::recipe::{check, check_size, fill};

    fn filled(settings: Settings) -> Settings {
        fill(&Spacenet, settings)
    }

    #[test]
    fn it_has_its_own_defaults() {
        let settings = filled(Settings::default());
        check(&Spacenet, &settings).unwrap();
        assert_eq!((settings.lr, settings.batch, settings.size), (Some(1e-4), Some(16), Some(64)));
        assert_eq!(settings.optimizer.as_deref(), Some("sgd"));
        assert_eq!((settings.lambda_mse, settings.l2, settings.d_l2), (Some(100.0), Some(0.0), Some(1e-4)));
    }

    #[test]
    fn it_refuses_what_makes_no_sense_and_what_others_have() {
        let with = Settings::default;
        let cases = [
            (Settings { lambda_l1: Some(1.0), ..with() }, "lambda-l1"),
            (Settings { lambda_mse: Some(-1.0), ..with() }, "lambda-mse -1"),
            (Settings { d_l2: Some(-1.0), ..with() }, "d-l2 -1"),
        ];
        for (settings, expected) in cases {
            let error = check(&Spacenet, &filled(settings)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(check_size(&Spacenet, 48).is_err() && check_size(&Spacenet, 96).is_ok());
    }
}
