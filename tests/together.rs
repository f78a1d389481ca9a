//! A training of several processes, played by threads, is that of one process with the whole batch.
#![cfg(feature = "testing")]

use huetape::engine::device::Device;
use huetape::engine::ranks::Ranks;
use huetape::engine::testing::together;
use huetape::error::Result;
use huetape::imaging::codec::save::save_png;
use huetape::imaging::synth::Scene;
use huetape::networks::by_name;
use huetape::run::training::{Ended, Training};
use huetape::train::session::Outcome;
use huetape::train::settings::table::Settings;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Six scenes of 64x64 pixels, SAR and optical; two more to validate on.
fn scenes() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (folder, first, count) in [("train", 0, 6), ("val", 6, 2)] {
        let at = |side: &str| root.path().join(folder).join(side);
        for side in ["source", "target"] {
            fs::create_dir_all(at(side)).unwrap();
        }
        for k in first..first + count {
            let (scene, name) = (Scene::new(5, k, 64), format!("{k}.png"));
            save_png(&at("source").join(&name), &scene.sar(4), 64, 64, None).unwrap();
            save_png(&at("target").join(&name), &scene.optical(), 64, 64, None).unwrap();
        }
    }
    root
}

/// Settings of a narrow network for `steps` updates of batches of `batch` crops.
fn settings(root: &Path, model: &str, batch: usize, steps: u64) -> Settings {
    let at = |name: &str| Some(root.join(name));
    Settings {
        model: Some(model.to_owned()),
        source: at("train/source"),
        target: at("train/target"),
        val_source: at("val/source"),
        val_target: at("val/target"),
        width: Some(0.05),
        size: Some(64),
        batch: Some(batch),
        steps: Some(steps),
        checkpoint_every: Some(10),
        seed: Some(3),
        threads: Some(1),
        ..Settings::default()
    }
}

/// The same for colournet at a learning rate, and with what Adam adds to a root, at which rounding stays what it is: at
/// the usual ones it makes differences of 1e-7 a hundred times larger with each of its first updates, as between any
/// two devices.
fn calm(settings: Settings) -> Settings {
    match settings.model.as_deref() {
        Some("colournet") => Settings { lr: Some(3e-6), adam_eps: Some(1e-3), ..settings },
        _ => settings,
    }
}

/// Trains in the folder `out` as one of several processes.
fn train(settings: &Settings, out: &Path, ranks: &Ranks, stop: Option<u64>) -> Result<Ended> {
    let device = Device::cpu();
    device.join(ranks);
    let asked = Arc::new(AtomicBool::new(false));
    let training = Training::new(by_name(settings.model.as_deref().unwrap())?, settings.clone())?;
    training.resuming(true).stopped_by(asked.clone()).run(&device, out, &mut |event| {
        // Only one of the processes is asked.
        if let huetape::train::session::Event::Step { step, .. } = event {
            asked.fetch_or(Some(step) == stop, Ordering::Relaxed);
        }
    })
}

/// Trains in `size` processes; the run folder.
fn run(root: &Path, name: &str, settings: &Settings, size: usize) -> PathBuf {
    let out = root.join(name);
    for ended in together(size, |ranks| train(settings, &out, &ranks, None)) {
        assert_eq!(ended.unwrap().outcome, Outcome::Finished);
    }
    out
}

/// The losses of each step by name.
fn losses(run: &Path) -> Vec<BTreeMap<String, f64>> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let told = ["step", "seconds", "images_per_s", "time", "lr", "epoch"];
    let of_line = |line: &str| -> BTreeMap<String, f64> {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        let numbers = object.into_iter().filter(|(name, _)| !told.contains(&name.as_str()));
        numbers.filter(|(name, _)| !name.starts_with("val_")).map(|(name, v)| (name, v.as_f64().unwrap())).collect()
    };
    text.lines().map(of_line).collect()
}

fn weights(run: &Path, step: u64) -> Vec<u8> {
    fs::read(run.join(format!("checkpoints/step-{step:08}.safetensors"))).unwrap()
}

/// How far losses lie apart at most, as a share.
fn apart(one: &[BTreeMap<String, f64>], other: &[BTreeMap<String, f64>]) -> f64 {
    assert_eq!(one.len(), other.len());
    let mut worst = 0.0f64;
    for (one, other) in one.iter().zip(other) {
        assert!(!one.is_empty() && one.keys().eq(other.keys()));
        for (name, value) in one {
            worst = worst.max((value - other[name]).abs() / value.abs().max(1e-3));
        }
    }
    worst
}

/// Of even shares the sums have one order, however many processes there are.
#[test]
fn two_and_four_processes_have_the_bits_of_one() {
    let root = scenes();
    for model in ["colournet", "pix2pix"] {
        let settings = settings(root.path(), model, 4, 20);
        let name = |which: &str| format!("{model}-{which}");
        let one = run(root.path(), &name("one"), &settings, 1);
        for size in [2, 4] {
            let several = run(root.path(), &name(&size.to_string()), &settings, size);
            assert_eq!(losses(&one).len(), 20);
            // Each process rounds its loss.
            let worst = apart(&losses(&one), &losses(&several));
            assert!(worst < 1e-6, "{model}, {size}: {worst:e}");
            assert!(weights(&one, 20) == weights(&several, 20), "{model}, {size}");
        }
    }
}

#[test]
fn uneven_shares_have_the_same_bits_each_time() {
    let root = scenes();
    let settings = settings(root.path(), "colournet", 5, 3);
    let [one, again] = ["one", "again"].map(|name| run(root.path(), name, &settings, 2));
    assert_eq!(losses(&one), losses(&again));
    assert!(weights(&one, 3) == weights(&again, 3));
}

/// A batch that does not divide by the processes; noise, labels and the penalty on kernels.
#[test]
fn uneven_shares_count_by_their_images() {
    let root = scenes();
    for model in ["colournet", "sicgan", "spacenet"] {
        let settings = calm(Settings { size: Some(32), ..settings(root.path(), model, 5, 6) });
        let one = losses(&run(root.path(), &format!("{model}-one"), &settings, 1));
        let three = losses(&run(root.path(), &format!("{model}-three"), &settings, 3));
        let worst = apart(&one, &three);
        assert!(worst < 1e-5, "{model}: {worst:e}");
    }
}

#[test]
fn a_run_that_one_process_is_asked_to_stop_goes_on_with_the_same_bits_and_with_other_numbers_of_processes() {
    let root = scenes();
    let settings = calm(settings(root.path(), "colournet", 4, 12));
    let whole = run(root.path(), "whole", &settings, 2);
    let cut = root.path().join("cut");
    let ended = together(2, |ranks| train(&settings, &cut, &ranks, Some(5).filter(|_| ranks.leads())));
    // It is asked while it tells of step 5, which the others have done by then.
    let outcomes: Vec<Outcome> = ended.into_iter().map(|ended| ended.unwrap().outcome).collect();
    assert_eq!(outcomes, [Outcome::Stopped { step: 6 }, Outcome::Stopped { step: 6 }]);
    run(root.path(), "cut", &settings, 2);
    assert!(weights(&whole, 12) == weights(&cut, 12));
    assert_eq!(losses(&whole), losses(&cut));

    let other = root.path().join("other");
    together(2, |ranks| train(&settings, &other, &ranks, Some(5).filter(|_| ranks.leads())).unwrap());
    run(root.path(), "other", &settings, 3);
    let worst = apart(&losses(&whole), &losses(&other));
    assert!(worst < 1e-5, "{worst:e}");
    // What has been finished is finished in all of them.
    let again = together(2, |ranks| train(&settings, &other, &ranks, None).unwrap().outcome);
    assert_eq!(again, [Outcome::FinishedBefore { step: 12 }, Outcome::FinishedBefore { step: 12 }]);
}

#[test]
fn more_processes_than_images_are_refused_before_anything_is_written() {
    let root = scenes();
    let settings = settings(root.path(), "colournet", 2, 2);
    let out = root.path().join("none");
    let refused = together(3, |ranks| train(&settings, &out, &ranks, None).unwrap_err());
    for error in refused {
        assert!(error.exit_code() == 2 && error.to_string().contains("3 processes for a batch of 2 images"), "{error}");
    }
    assert!(!out.exists());
}
