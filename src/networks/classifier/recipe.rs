//! What the recipes of classification networks share.

use crate::error::Result;
use crate::networks::classifier::learner::{ClassificationConfig, Start};
use crate::networks::classifier::network::Architecture;
use crate::networks::common::keeping;
use crate::networks::freeze::Freeze;
use crate::networks::recipe::Setup;
use crate::train::learner::Learner;
use crate::train::settings::table::Settings;

/// Colour bins of the published networks.
pub const BINS: usize = 274;

/// The defaults of a classification network.
pub fn defaults() -> Settings {
    Settings {
        batch: Some(8),
        lr: Some(1e-4),
        beta1: Some(0.9),
        beta2: Some(0.99),
        bins: Some("grid".to_owned()),
        bin_width: Some(10),
        lambda: Some(0.5),
        sigma: Some(5.0),
        prior_smoothing: Some("ab".to_owned()),
        ..Settings::default()
    }
}

/// The learner of a classification network.
///
/// # Errors
/// As [`Recipe::learner`](crate::networks::recipe::Recipe::learner).
pub fn learner(architecture: &'static Architecture, setup: &Setup<'_>) -> Result<Box<dyn Learner>> {
    let settings = setup.settings;
    let start = Start {
        architecture,
        width: settings.width,
        bins: settings.bins.as_deref().unwrap_or("grid").parse()?,
        bin_width: settings.bin_width.unwrap_or_default(),
        smoothing: settings.prior_smoothing.as_deref().unwrap_or_default().parse()?,
        predict_lightness: settings.predict_lightness == Some(true),
        seed: settings.seed.unwrap_or_default(),
        learning: ClassificationConfig {
            optimizer: settings.rule()?,
            weight_decay: settings.weight_decay.unwrap_or_default(),
            l2: settings.l2.unwrap_or_default(),
            lambda: settings.lambda.unwrap_or_default(),
            sigma: settings.sigma.unwrap_or_default(),
            lambda_l: settings.lambda_l.unwrap_or_default(),
            ema: settings.ema,
            freeze: Freeze::of(settings.freeze.as_deref()),
            keeping: keeping(settings)?,
            training: setup.training,
        },
    };
    Ok(match (setup.survey, setup.weights) {
        (None, None) => Box::new(start.on_lattice(setup.device, setup.bins)?),
        (None, Some(weights)) => Box::new(start.with_weights(setup.device, weights)?),
        (Some(survey), weights) => Box::new(start.learner(setup.device, survey, weights)?),
    })
}
