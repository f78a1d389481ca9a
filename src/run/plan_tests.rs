//! Plans: what is refused, and what the settings of each network come to.

use super::*;
use crate::networks::NETWORKS;

fn images() -> Settings {
    Settings { images: Some("pictures".into()), ..Settings::default() }
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
        (Settings { model: Some("another".into()), ..images() }, "train another"),
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
        (Settings { augment: Some("six".into()), ..images() }, "augment six"),
        (Settings { keep: Some(0), ..images() }, "keep 0"),
        (Settings { weight_decay: Some(-1.0), ..images() }, "weight-decay -1"),
        (Settings::default(), "nothing to train on"),
    ];
    for (settings, expected) in cases {
        let error = Plan::new(NETWORKS[0], &settings).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn centre_crops_leave_patches_out() {
    let recipe = NETWORKS.iter().find(|recipe| recipe.own_settings().contains(&"patches")).unwrap();
    let plan = |settings| Plan::new(*recipe, &settings).unwrap();
    assert!(plan(images()).patches.is_some());
    assert_eq!(plan(Settings { no_augment: Some(true), ..images() }).patches, None);
}
