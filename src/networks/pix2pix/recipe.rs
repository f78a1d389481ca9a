//! What the rest of the program asks of pix2pix.

use crate::dataset::loader_options::Turns;
use crate::engine::device::Device;
#[cfg(feature = "convert")]
use crate::engine::nn::StateTensor;
use crate::engine::nn::WeightFile;
use crate::error::Result;
#[cfg(feature = "convert")]
use crate::exchange::foreign::layout::{Layout, setting};
#[cfg(feature = "convert")]
use crate::exchange::onnx::graph::Value;
#[cfg(feature = "convert")]
use crate::exchange::onnx::layers::Layers;
use crate::networks::adversarial::AdversarialConfig;
use crate::networks::pix2pix::game::Start;
use crate::networks::pix2pix::network::{self as pix2pix, Generator};
use crate::networks::pix2pix::up::Up;
use crate::networks::recipe::{Demo, Recipe, Setup, trained};
#[cfg(feature = "convert")]
use crate::paint::painter::Look;
use crate::paint::painter::{self, Painter};
use crate::train::learner::Learner;
use crate::train::settings::table::Settings;

/// See [`network`](crate::networks::pix2pix::network).
pub struct Pix2pix;

impl Recipe for Pix2pix {
    fn name(&self) -> &'static str {
        <Generator as painter::Generator>::NAME
    }

    fn what(&self) -> &'static str {
        "SAR or grey to colour by a conditional GAN"
    }

    fn recognises(&self, file: &WeightFile) -> bool {
        file.get("g.down1.weight").is_some()
    }

    fn painter(&self, device: &Device, file: &WeightFile) -> Result<Box<dyn Painter>> {
        trained(device, Generator::of(file)?, file)
    }

    #[cfg(feature = "convert")]
    fn layouts(&self) -> &'static [Layout] {
        &super::foreign::LAYOUTS
    }

    #[cfg(feature = "convert")]
    fn source_bands_setting(&self, bands: usize) -> Option<StateTensor> {
        Some(setting(pix2pix::BANDS_TENSOR, bands as f32))
    }

    #[cfg(feature = "convert")]
    fn onnx(&self, layers: &mut Layers<'_>, source: &Value, _: &Look) -> Result<Value> {
        super::onnx::onnx(&Generator::of(layers.weights)?, layers, source)
    }

    fn trained_size(&self, file: &WeightFile) -> Result<Option<usize>> {
        Ok(Some(Generator::of(file)?.side))
    }

    fn stride(&self) -> usize {
        pix2pix::STRIDE
    }

    fn enlarge(&self, size: usize) -> Option<usize> {
        Some(pix2pix::enlarged(size))
    }

    fn own_settings(&self) -> &'static [&'static str] {
        &[
            "preset",
            "bands",
            "ratio",
            "width",
            "lr-d",
            "lambda-l1",
            "l1-scales",
            "gradient-share",
            "dropout",
            "leaky-slope",
            "up",
            "input-channels",
        ]
    }

    fn defaults(&self) -> Settings {
        Settings {
            batch: Some(1),
            lr: Some(2e-4),
            beta1: Some(0.5),
            beta2: Some(0.999),
            lambda_l1: Some(100.0),
            dropout: Some(pix2pix::DROPOUT),
            leaky_slope: Some(pix2pix::LEAKY_SLOPE),
            up: Some(Up::Transposed.to_string()),
            input_channels: Some(1),
            ..Settings::default()
        }
    }

    fn presets(&self) -> Vec<(&'static str, Settings)> {
        let sar = Settings {
            despeckle: Some("lee:5".to_owned()),
            width: Some(0.1875),
            batch: Some(4),
            steps: Some(900),
            augment: Some(Turns::Dihedral.to_string()),
            // The distance from the target leads, from coarse to fine; the discriminator would win against so narrow a
            // generator.
            lr: Some(1e-3),
            lr_d: Some(1e-4),
            lr_schedule: Some("cosine".to_owned()),
            lr_warmup: Some(50),
            beta2: Some(0.99),
            ema: Some(0.99),
            lambda_l1: Some(1000.0),
            l1_scales: Some(4),
            dropout: Some(0.0),
            up: Some(Up::Resize.to_string()),
            ..Settings::default()
        };
        vec![("sar", sar)]
    }

    fn learner(&self, setup: &Setup<'_>) -> Result<Box<dyn Learner>> {
        let settings = setup.settings;
        let start = Start {
            width: settings.width,
            leaky_slope: settings.leaky_slope,
            up: settings.up.as_deref().map(str::parse).transpose()?,
            input_channels: settings.input_channels,
            source_bands: setup.survey.map(|survey| survey.stats.source_bands()),
            lambda_l1: settings.lambda_l1.unwrap_or_default(),
            dropout: settings.dropout.unwrap_or_default(),
            side: settings.size.unwrap_or(pix2pix::SIDE),
            batch: settings.batch.unwrap_or(1),
            learning: AdversarialConfig::of(setup)?,
        };
        Ok(Box::new(start.learner(setup.device, setup.weights)?))
    }

    fn paints_by_windows(&self) -> bool {
        true
    }

    fn demos(&self) -> Vec<Demo> {
        vec![Demo {
            what: "SAR to colour, on scenes made here",
            sides: &["sar", "optical"],
            strip: "SAR | predicted | truth",
            run: "run",
            scenes: 24,
            settings: Settings {
                width: Some(0.25),
                steps: Some(1200),
                lr_schedule: Some("cosine".to_owned()),
                checkpoint_every: Some(600),
                sample_every: Some(300),
                ..Settings::default()
            },
        }]
    }

    fn examples(&self) -> &'static [&'static str] {
        &["⟨source⟩ sar/ ⟨target⟩ optical/ ⟨width⟩ 0.25 ⟨epochs⟩ 50"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::recipe::{check, check_size, fill};

    fn filled(settings: Settings) -> Settings {
        fill(&Pix2pix, settings)
    }

    #[test]
    fn it_has_its_own_defaults() {
        let settings = filled(Settings::default());
        check(&Pix2pix, &settings).unwrap();
        assert_eq!((settings.lr, settings.lr_d, settings.batch, settings.size), (Some(2e-4), None, Some(1), Some(256)));
        assert_eq!((settings.lambda_l1, settings.beta1, settings.beta2), (Some(100.0), Some(0.5), Some(0.999)));
    }

    #[test]
    fn it_refuses_what_makes_no_sense_and_what_others_have() {
        let with = Settings::default;
        let cases = [
            (Settings { bins: Some("grid".into()), ..with() }, "bins"),
            (Settings { dropout: Some(1.0), ..with() }, "dropout 1"),
            (Settings { leaky_slope: Some(0.0), ..with() }, "leaky-slope 0"),
            (Settings { lambda_l1: Some(-1.0), ..with() }, "lambda-l1 -1"),
            (Settings { lr_d: Some(0.0), ..with() }, "lr-d 0"),
            (Settings { up: Some("bicubic".into()), ..with() }, "up bicubic"),
            (Settings { input_channels: Some(0), ..with() }, "input-channels 0"),
            (Settings { patches: Some(9), ..with() }, "patches"),
            (Settings { d_l2: Some(1.0), ..with() }, "d-l2"),
            (Settings { lightness: Some("input".into()), ..with() }, "lightness"),
        ];
        for (settings, expected) in cases {
            let error = check(&Pix2pix, &filled(settings)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(check_size(&Pix2pix, 100).is_err() && check_size(&Pix2pix, 64).is_ok());
    }
}
