//! What the rest of the program asks of window8.

use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::Result;
#[cfg(feature = "convert")]
use crate::exchange::onnx::graph::Value;
#[cfg(feature = "convert")]
use crate::exchange::onnx::layers::Layers;
#[cfg(feature = "convert")]
use crate::networks::classifier;
use crate::networks::classifier::network::Classifier;
use crate::networks::classifier::recipe as classification;
use crate::networks::recipe::{Demo, Recipe, Setup};
use crate::networks::window8::network::{ARCHITECTURE, HALO};
#[cfg(feature = "convert")]
use crate::paint::painter::Look;
use crate::paint::painter::Painter;
use crate::train::learner::Learner;
use crate::train::settings::table::Settings;

/// See [`network`](crate::networks::window8::network).
pub struct Window8;

impl Recipe for Window8 {
    fn name(&self) -> &'static str {
        ARCHITECTURE.name
    }

    fn what(&self) -> &'static str {
        "SAR or grey to colour by a small classification network that reads 17x17 pixels around each"
    }

    fn recognises(&self, file: &WeightFile) -> bool {
        file.get("conv1.weight").is_some()
    }

    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>> {
        Ok(Box::new(Classifier::read(device, &ARCHITECTURE, file, false)?))
    }

    #[cfg(feature = "convert")]
    fn onnx(&self, layers: &mut Layers<'_>, source: &Value, look: &Look) -> Result<Value> {
        classifier::onnx::onnx(&ARCHITECTURE, layers, source, look.temperature)
    }

    fn margin(&self) -> usize {
        HALO
    }

    fn own_settings(&self) -> &'static [&'static str] {
        &[
            "bands",
            "ratio",
            "lightness",
            "bins",
            "bin-width",
            "lambda",
            "sigma",
            "prior-smoothing",
            "predict-lightness",
            "lambda-l",
        ]
    }

    fn defaults(&self) -> Settings {
        Settings {
            size: Some(32),
            batch: Some(32),
            prior_smoothing: Some("none".to_owned()),
            lambda_l: Some(1.0),
            ..classification::defaults()
        }
    }

    fn learner(&self, setup: &Setup<'_>) -> Result<Box<dyn Learner>> {
        classification::learner(&ARCHITECTURE, setup)
    }

    fn bins(&self) -> Option<usize> {
        Some(classification::BINS)
    }

    fn demos(&self) -> Vec<Demo> {
        vec![Demo {
            what: "SAR to colour and lightness, on scenes made here",
            sides: &["sar", "optical"],
            strip: "SAR | predicted | truth",
            run: "run",
            scenes: 24,
            settings: Settings {
                size: Some(48),
                batch: Some(8),
                bins: Some("kmeans:48".to_owned()),
                steps: Some(600),
                lr: Some(1e-3),
                lr_schedule: Some("cosine".to_owned()),
                // A radar value is no lightness: speckle and dark fields would stay in the picture.
                predict_lightness: Some(true),
                checkpoint_every: Some(300),
                sample_every: Some(300),
                ..Settings::default()
            },
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::recipe::{check, check_size, fill};

    fn filled(settings: Settings) -> Settings {
        fill(&Window8, settings)
    }

    #[test]
    fn it_has_its_own_defaults() {
        let settings = filled(Settings::default());
        check(&Window8, &settings).unwrap();
        assert_eq!((settings.lr, settings.batch, settings.size), (Some(1e-4), Some(32), Some(32)));
        assert_eq!(settings.prior_smoothing.as_deref(), Some("none"));
        // Of a network without a width, 1 is the width.
        check(&Window8, &filled(Settings { width: Some(1.0), ..Settings::default() })).unwrap();
    }

    #[test]
    fn it_refuses_what_makes_no_sense_and_what_others_have() {
        let with = Settings::default;
        let cases = [
            (Settings { width: Some(0.5), ..with() }, "width"),
            (Settings { lambda_l1: Some(1.0), ..with() }, "lambda-l1"),
        ];
        for (settings, expected) in cases {
            let error = check(&Window8, &filled(settings)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(check_size(&Window8, 16).is_err() && check_size(&Window8, 17).is_ok());
    }
}
