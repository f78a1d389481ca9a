//! Plans: what is refused, and what the settings of each network come to.

use super::*;
use crate::dataset::loader_options::Turns;
use crate::networks::{NETWORKS, by_name};

fn images() -> Settings {
    Settings { images: Some("pictures".into()), ..Settings::default() }
}

fn plan(network: &str, settings: &Settings) -> Result<Plan> {
    Plan::new(by_name(network).unwrap(), settings)
}

fn refuses(network: &str, cases: &[(Settings, &str)]) {
    for (settings, expected) in cases {
        let error = plan(network, settings).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn the_defaults_of_every_network_make_a_plan() {
    for recipe in NETWORKS {
        let plan = Plan::new(*recipe, &images()).unwrap();
        assert_eq!(plan.session.loader.size, plan.settings.size.unwrap());
        assert!(plan.session.lr > 0.0 && plan.epochs.is_some() && plan.validation.is_none());
    }
}

#[test]
fn values_that_make_no_sense_are_refused_by_their_name() {
    let cases = [
        (Settings { width: Some(0.0), ..images() }, "width 0"),
        (Settings { bins: Some("kmeans:0".into()), ..images() }, "bins kmeans:0"),
        (Settings { size: Some(100), ..images() }, "size 100"),
        (Settings { batch: Some(0), ..images() }, "batch 0"),
        (Settings { lr: Some(f64::NAN), ..images() }, "lr"),
        (Settings { optimizer: Some("lion".into()), ..images() }, "optimizer lion"),
        (Settings { init: Some("w".into()), bins: Some("grid".into()), ..images() }, "bins beside init"),
        (Settings { dropout: Some(0.5), ..images() }, "dropout"),
        (Settings { model: Some("pix2pix".into()), ..images() }, "train pix2pix"),
        (Settings { source: Some("s".into()), ..Settings::default() }, "source"),
        (Settings { batch: Some(usize::MAX), ..images() }, "batch"),
        (Settings { band: Some(1), ..images() }, "band beside images"),
        (Settings { val_target: Some("t".into()), ..images() }, "val-target"),
        (Settings { despeckle: Some("lee:7".into()), ..images() }, "despeckle beside images"),
        (Settings { lightness: Some("despeckle".into()), ..images() }, "lightness despeckle beside images"),
        (Settings { sigma: Some(0.0), ..images() }, "sigma 0"),
        (Settings { lambda: Some(1.5), ..images() }, "lambda 1.5"),
        (Settings { bin_width: Some(0), ..images() }, "bin-width 0"),
        (Settings { beta1: Some(1.0), ..images() }, "beta1 1"),
        (Settings { keep: Some(0), ..images() }, "keep 0"),
        (Settings { weight_decay: Some(-1.0), ..images() }, "weight-decay -1"),
        (Settings::default(), "nothing to train on"),
    ];
    refuses("colournet", &cases);
}

#[test]
fn pix2pix_has_its_own_defaults_and_refusals() {
    let made = plan("pix2pix", &images()).unwrap();
    assert_eq!((made.session.lr, made.session.loader.batch), (2e-4, 1));
    let settings = &made.settings;
    assert_eq!(
        (settings.lambda_l1, settings.lr_d, settings.beta1, settings.beta2),
        (Some(100.0), None, Some(0.5), Some(0.999))
    );
    let cases = [
        (Settings { size: Some(128), ..images() }, "size 128"),
        (Settings { bins: Some("grid".into()), ..images() }, "bins"),
        (Settings { dropout: Some(1.0), ..images() }, "dropout 1"),
        (Settings { leaky_slope: Some(0.0), ..images() }, "leaky-slope 0"),
        (Settings { lambda_l1: Some(-1.0), ..images() }, "lambda-l1 -1"),
        (Settings { lr_d: Some(0.0), ..images() }, "lr-d 0"),
        (Settings { input_channels: Some(0), ..images() }, "input-channels 0"),
        (Settings { patches: Some(9), ..images() }, "patches"),
        (Settings { d_l2: Some(1.0), ..images() }, "d-l2"),
        (Settings { lightness: Some("input".into()), ..images() }, "lightness"),
    ];
    refuses("pix2pix", &cases);
}

#[test]
fn spacenet_has_its_own_defaults_and_refusals() {
    let made = plan("spacenet", &images()).unwrap();
    let loader = &made.session.loader;
    assert_eq!((made.session.lr, loader.batch, loader.size), (1e-4, 16, 64));
    let settings = &made.settings;
    assert_eq!(settings.optimizer.as_deref(), Some("sgd"));
    assert_eq!((settings.lambda_mse, settings.l2, settings.d_l2), (Some(100.0), Some(0.0), Some(1e-4)));
    let cases = [
        (Settings { size: Some(48), ..images() }, "size 48"),
        (Settings { lambda_l1: Some(1.0), ..images() }, "lambda-l1"),
        (Settings { lambda_mse: Some(-1.0), ..images() }, "lambda-mse -1"),
        (Settings { d_l2: Some(-1.0), ..images() }, "d-l2 -1"),
    ];
    refuses("spacenet", &cases);
}

#[test]
fn window8_has_its_own_defaults_and_refusals() {
    let made = plan("window8", &images()).unwrap();
    let loader = &made.session.loader;
    assert_eq!((made.session.lr, loader.batch, loader.size), (1e-4, 32, 32));
    assert_eq!(made.settings.prior_smoothing.as_deref(), Some("none"));
    let cases = [
        (Settings { size: Some(16), ..images() }, "size 16"),
        (Settings { width: Some(0.5), ..images() }, "width"),
        (Settings { lambda_l1: Some(1.0), ..images() }, "lambda-l1"),
    ];
    refuses("window8", &cases);
    // Of a network without a width, 1 is the width.
    let odd = Settings { size: Some(17), bin_width: Some(5), width: Some(1.0), ..images() };
    assert!(plan("window8", &odd).is_ok());
}

#[test]
fn sicgan_has_its_own_defaults_and_refusals() {
    let made = plan("sicgan", &images()).unwrap();
    assert_eq!((made.session.lr, made.epochs), (1e-4, Some(20)));
    let loader = &made.session.loader;
    assert_eq!((loader.batch, loader.size, loader.halo, loader.turns), (32, 128, 1, Turns::MirrorsAndRotations));
    assert_eq!(made.patches, Some(Patches { count: 5000, min_distance: 64 }));
    assert_eq!((made.settings.lambda_l1, made.settings.lr_d), (Some(0.0), Some(4e-4)));
    let cases = [
        (Settings { patches: Some(0), ..images() }, "patches 0"),
        (Settings { patches: Some(10_000_000), ..images() }, "patches 10000000"),
        (Settings { size: Some(0), ..images() }, "size 0"),
        (Settings { lambda_l1: Some(-1.0), ..images() }, "lambda-l1 -1"),
        (Settings { lr_d: Some(0.0), ..images() }, "lr-d 0"),
        (Settings { dropout: Some(0.5), ..images() }, "dropout"),
        (Settings { leaky_slope: Some(0.1), ..images() }, "leaky-slope"),
    ];
    refuses("sicgan", &cases);
    let centres = Settings { no_augment: Some(true), ..images() };
    assert_eq!(plan("sicgan", &centres).unwrap().patches, None);
}
