//! Settings: what is refused, what wins over what, and the defaults of each network.

use super::*;
use crate::imaging::color::Smoothing;
use crate::networks::window8;

fn images() -> Settings {
    Settings { images: Some("pictures".into()), ..Settings::default() }
}

#[test]
fn written_settings_read_back_to_the_same_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let settings = Settings { width: Some(0.25), steps: Some(7), ..images() }.filled(Model::Colournet);
    let made_by = Some(BTreeMap::from([("device".to_owned(), "cpu".to_owned())]));
    let settings = Settings { model: Some("colournet".into()), made_by, ..settings };
    settings.write(&path).unwrap();
    assert_eq!(Settings::read(&path).unwrap(), settings);
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(&path, "bathc = 3\n").unwrap();
    let error = Settings::read(&path).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("my.toml") && error.to_string().contains("bathc"), "{error}");
}

#[test]
fn a_flag_wins_over_the_file_also_between_alternatives() {
    let file = Settings { epochs: Some(3), batch: Some(2), ..images() };
    let merged = Settings { steps: Some(9), ..Settings::default() }.or(file);
    assert_eq!((merged.steps, merged.epochs, merged.batch), (Some(9), None, Some(2)));
}

#[test]
fn weights_to_start_from_win_over_the_bins_and_the_width_of_a_file() {
    let merged = Settings { init: Some("w".into()), ..Settings::default() }.or(images().filled(Model::Colournet));
    assert_eq!((merged.bins, merged.width), (None, None));
}

#[test]
fn values_that_make_no_sense_are_refused_by_their_flag() {
    let cases = [
        (Settings { width: Some(0.0), ..images() }, "--width 0"),
        (Settings { bins: Some("kmeans:0".into()), ..images() }, "--bins kmeans:0"),
        (Settings { size: Some(100), ..images() }, "--size 100"),
        (Settings { batch: Some(0), ..images() }, "--batch 0"),
        (Settings { lr: Some(f64::NAN), ..images() }, "--lr"),
        (Settings { optimizer: Some("lion".into()), ..images() }, "--optimizer lion"),
        (Settings { init: Some("w".into()), bins: Some("grid".into()), ..images() }, "--bins beside --init"),
        (Settings { dropout: Some(0.5), ..images() }, "--dropout"),
        (Settings { model: Some("pix2pix".into()), ..images() }, "train pix2pix"),
        (Settings { source: Some("s".into()), ..Settings::default() }, "--source"),
        (Settings { batch: Some(usize::MAX), ..images() }, "--batch"),
        (Settings { band: Some(1), ..images() }, "--band beside --images"),
        (Settings { val_target: Some("t".into()), ..images() }, "--val-target"),
        (Settings::default(), "nothing to train on"),
    ];
    for (settings, expected) in cases {
        let error = settings.resolve(Model::Colournet).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.line(|name| format!("--{name}")).contains(expected), "{error}");
    }
}

#[test]
fn pix2pix_has_its_own_defaults_and_refusals() {
    let resolved = images().resolve(Model::Pix2pix).unwrap();
    assert_eq!((resolved.session.lr, resolved.session.loader.batch), (2e-4, 1));
    let Start::Pix2pix(start) = resolved.start else { panic!("{:?}", resolved.start) };
    assert_eq!(start.learning.optimizer, OptimizerKind::Adam { beta1: 0.5, beta2: 0.999, eps: 1e-8 });
    assert_eq!((start.lambda_l1, start.learning.lr_ratio), (100.0, 1.0));
    let cases = [
        (Settings { size: Some(128), ..images() }, "--size 128"),
        (Settings { bins: Some("grid".into()), ..images() }, "--bins"),
        (Settings { dropout: Some(1.0), ..images() }, "--dropout 1"),
        (Settings { leaky_slope: Some(0.0), ..images() }, "--leaky-slope 0"),
        (Settings { lambda_l1: Some(-1.0), ..images() }, "--lambda-l1 -1"),
        (Settings { lr_d: Some(0.0), ..images() }, "--lr-d 0"),
        (Settings { input_channels: Some(0), ..images() }, "--input-channels 0"),
    ];
    for (settings, expected) in cases {
        let error = settings.resolve(Model::Pix2pix).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.line(|name| format!("--{name}")).contains(expected), "{error}");
    }
}

#[test]
fn spacenet_has_its_own_defaults_and_refusals() {
    let resolved = images().resolve(Model::Spacenet).unwrap();
    let loader = &resolved.session.loader;
    assert_eq!((resolved.session.lr, loader.batch, loader.size), (1e-4, 16, 64));
    let Start::Spacenet(start) = resolved.start else { panic!("{:?}", resolved.start) };
    assert_eq!(start.learning.optimizer, OptimizerKind::Sgd { momentum: 0.9 });
    assert_eq!((start.lambda_mse, start.size), (100.0, 64));
    assert_eq!((start.learning.l2, start.learning.d_l2), (0.0, 1e-4));
    let cases = [
        (Settings { size: Some(48), ..images() }, "--size 48"),
        (Settings { lambda_l1: Some(1.0), ..images() }, "--lambda-l1"),
        (Settings { lambda_mse: Some(-1.0), ..images() }, "--lambda-mse -1"),
        (Settings { d_l2: Some(-1.0), ..images() }, "--d-l2 -1"),
    ];
    for (settings, expected) in cases {
        let error = settings.resolve(Model::Spacenet).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.line(|name| format!("--{name}")).contains(expected), "{error}");
    }
    let error = Settings { d_l2: Some(1.0), ..images() }.resolve(Model::Pix2pix).unwrap_err();
    assert!(error.to_string().contains("--d-l2"), "{error}");
}

#[test]
fn window8_has_its_own_defaults_and_refusals() {
    let resolved = images().resolve(Model::Window8).unwrap();
    let loader = &resolved.session.loader;
    assert_eq!((resolved.session.lr, loader.batch, loader.size), (1e-4, 32, 32));
    let Start::Classification(start) = resolved.start else { panic!("{:?}", resolved.start) };
    assert_eq!((start.architecture, start.smoothing), (&window8::network::ARCHITECTURE, Smoothing::None));
    for (settings, expected) in [
        (Settings { size: Some(16), ..images() }, "--size 16"),
        (Settings { width: Some(0.5), ..images() }, "--width"),
        (Settings { lambda_l1: Some(1.0), ..images() }, "--lambda-l1"),
    ] {
        let error = settings.resolve(Model::Window8).unwrap_err();
        assert!(error.line(|name| format!("--{name}")).contains(expected), "{error}");
    }
    let odd = Settings { size: Some(17), bin_width: Some(5), width: Some(1.0), ..images() };
    assert!(odd.resolve(Model::Window8).is_ok());
}
