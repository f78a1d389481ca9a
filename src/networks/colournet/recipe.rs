//! What the rest of the program asks of colournet.

use crate::dataset::loader_options::Turns;
use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::Result;
#[cfg(feature = "convert")]
use crate::exchange::foreign::layout::Layout;
#[cfg(feature = "convert")]
use crate::exchange::onnx::graph::Value;
#[cfg(feature = "convert")]
use crate::exchange::onnx::layers::Layers;
#[cfg(feature = "convert")]
use crate::networks::classifier;
use crate::networks::classifier::network::Classifier;
use crate::networks::classifier::recipe as classification;
use crate::networks::colournet::network::{ARCHITECTURE, STRIDE};
use crate::networks::recipe::{Demo, Recipe, Setup};
#[cfg(feature = "convert")]
use crate::paint::painter::Look;
use crate::paint::painter::Painter;
use crate::train::learner::Learner;
use crate::train::settings::table::Settings;

/// See [`network`](crate::networks::colournet::network).
pub struct Colournet;

impl Recipe for Colournet {
    fn name(&self) -> &'static str {
        ARCHITECTURE.name
    }

    fn what(&self) -> &'static str {
        "SAR or grey to colour by classification over ab bins"
    }

    fn recognises(&self, file: &WeightFile) -> bool {
        file.get("conv1_1.weight").is_some()
    }

    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>> {
        Ok(Box::new(Classifier::read(device, &ARCHITECTURE, file, false)?))
    }

    #[cfg(feature = "convert")]
    fn layouts(&self) -> &'static [Layout] {
        std::slice::from_ref(&super::foreign::ECCV16)
    }

    #[cfg(feature = "convert")]
    fn onnx(&self, layers: &mut Layers<'_>, source: &Value, look: &Look) -> Result<Value> {
        classifier::onnx::onnx(&ARCHITECTURE, layers, source, look.temperature)
    }

    fn stride(&self) -> usize {
        STRIDE
    }

    fn own_settings(&self) -> &'static [&'static str] {
        &[
            "preset",
            "bands",
            "ratio",
            "width",
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
        Settings { lambda_l: Some(1.0), ..classification::defaults() }
    }

    fn presets(&self) -> Vec<(&'static str, Settings)> {
        let grey = Settings {
            width: Some(0.25),
            size: Some(128),
            steps: Some(4000),
            augment: Some(Turns::Dihedral.to_string()),
            lr: Some(3e-4),
            lr_schedule: Some("cosine".to_owned()),
            lr_warmup: Some(100),
            ema: Some(0.998),
            lambda: Some(1.0),
            ..Settings::default()
        };
        vec![("grey", grey)]
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
                width: Some(0.25),
                size: Some(128),
                batch: Some(4),
                steps: Some(1000),
                lr: Some(1e-3),
                lr_schedule: Some("cosine".to_owned()),
                // A radar value is no lightness: speckle and dark fields would stay in the picture.
                predict_lightness: Some(true),
                checkpoint_every: Some(500),
                sample_every: Some(250),
                ..Settings::default()
            },
        }]
    }

    fn examples(&self) -> &'static [&'static str] {
        &[
            "⟨source⟩ sar/ ⟨target⟩ optical/ ⟨out⟩ runs/first",
            "⟨images⟩ photos/ ⟨width⟩ 0.5 ⟨batch⟩ 4 ⟨steps⟩ 2000",
            "⟨source⟩ scene_vh.tif ⟨target⟩ scene_optical.tif ⟨stretch⟩ db:-25,0 ⟨despeckle⟩ lee:7",
        ]
    }
}
