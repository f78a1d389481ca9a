//! What a training says of itself: its metrics, its report, its verdict, its data.

mod common;

use common::binary::{done, huetape, scenes};
use huetape::imaging::codec::save::save_png;
use std::fs;
use std::path::Path;

fn train(model: &str, flags: &str) -> String {
    let data = "--source source --target target --val-source source --val-target target";
    format!("train {model} {data} --out run --device cpu --threads 1 {flags}")
}

fn metrics(root: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(root.join("run/metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn report(root: &Path) -> String {
    fs::read_to_string(root.join("run/report.html")).unwrap()
}

#[test]
fn metrics_have_the_epoch_the_time_and_the_figures_of_each_validation() {
    let root = scenes(&[48, 48, 48]);
    let ran = huetape(
        root.path(),
        &train("colournet", "--width 0.05 --size 16 --batch 2 --steps 6 --checkpoint-every 2 --sample-every 3"),
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines = metrics(root.path());
    let epochs: Vec<u64> = lines.iter().map(|line| line["epoch"].as_u64().unwrap()).collect();
    // Batches of 2 of 3 pictures, one epoch after the other.
    assert_eq!(epochs, [1, 1, 2, 3, 3, 4]);
    let times: Vec<f64> = lines.iter().map(|line| line["time"].as_f64().unwrap()).collect();
    assert!(times.is_sorted() && times[0] > 1.7e9, "{times:?}");
    for (i, line) in lines.iter().enumerate() {
        for name in ["val_loss", "val_ab_error", "val_psnr", "val_ssim"] {
            assert_eq!(line[name].is_f64(), i % 2 == 1, "{name} in {line}");
        }
        assert!(line["val_ssim"].as_f64().is_none_or(|ssim| (-1.0..=1.0).contains(&ssim)));
    }
    // Said as it goes, and the final judgement too, image by image.
    assert!(ran.stderr.contains("step 4: validation loss ") && ran.stderr.contains(", ab error "), "{}", ran.stderr);
    assert!(ran.stderr.contains("3/3 "), "{}", ran.stderr);

    let page = report(root.path());
    let best = lines.iter().filter(|line| line["val_loss"].is_f64());
    let best = best.min_by(|a, b| a["val_loss"].as_f64().unwrap().total_cmp(&b["val_loss"].as_f64().unwrap()));
    let step = best.unwrap()["step"].as_u64().unwrap();
    assert!(page.contains(&format!("by the weights after update {step}")), "best is {step}");
    assert!(page.contains("each by the weights of its own") && page.contains("16x16 pixels, of 3 of the 3 validation"));
    for title in ["Ab error", "PSNR", "SSIM"] {
        assert!(page.contains(&format!("<figcaption>{title}</figcaption>")), "{title}");
    }
}

#[cfg(unix)]
#[test]
fn the_report_is_there_while_the_training_goes_on() {
    use std::process::{Command, Stdio};
    let root = scenes(&[48, 48]);
    let line = train("colournet", "--width 0.05 --size 16 --batch 1 --steps 100000 --checkpoint-every 3");
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("huetape"))
        .current_dir(root.path())
        .args(line.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = std::time::Instant::now();
    while !root.path().join("run/report.html").exists() {
        assert!(start.elapsed().as_secs() < 60 && child.try_wait().unwrap().is_none(), "no report");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let page = report(root.path());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(page.contains("Not compared yet") && page.contains(" of 100000 updates in "), "{}", &page[..3000]);
}

/// A GAN's weights are not chosen by the loss alone: what has the detail of the truth wins over a blur.
#[test]
fn the_best_of_a_pair_is_chosen_by_a_score_that_is_kept_apart() {
    let root = scenes(&[64, 64]);
    done(root.path(), &train("sicgan", "--width 0.05 --size 24 --patches 4 --batch 2 --steps 4 --checkpoint-every 2"));
    let path = root.path().join("run/checkpoints/step-00000004.safetensors");
    let file = huetape::engine::nn::WeightFile::read(&path).unwrap();
    let score = f64::from(file.get("train.best_score").unwrap().data[0]);
    let losses: Vec<f64> = metrics(root.path()).iter().filter_map(|line| line["val_loss"].as_f64()).collect();
    assert!(file.get("train.best_loss").is_none() && losses.len() == 2);
    assert!(losses.iter().any(|loss| score >= 0.9999 * loss), "{score} of {losses:?}");
}

#[test]
fn targets_without_colour_are_told_of() {
    let root = scenes(&[48, 48]);
    let tiny = "--width 0.05 --size 16 --batch 1 --steps 1";
    let check = "check-data --source source --target target --device cpu --width 0.05 --size 16";
    assert!(!done(root.path(), check).contains("no colour"));
    let grey: Vec<u8> = (0..48 * 48).flat_map(|i| [(i % 200) as u8; 3]).collect();
    save_png(&root.path().join("target/1.png"), &grey, 48, 48, None).unwrap();
    let half = "1 of 2 targets (50 %) have no colour";
    assert!(done(root.path(), check).contains(half));
    let ran = huetape(root.path(), &train("colournet", tiny));
    assert!(ran.code == 0 && ran.stderr.contains(half), "{}", ran.stderr);
    save_png(&root.path().join("target/0.png"), &grey, 48, 48, None).unwrap();
    assert!(done(root.path(), check).contains("the targets have no colour: all of them are grey"));
}

#[test]
fn a_verdict_says_how_sure_it_is() {
    let root = scenes(&[48, 48, 48, 48]);
    let printed = done(root.path(), &train("colournet", "--width 0.05 --size 16 --batch 1 --steps 1"));
    let verdict = printed.lines().rev().nth(1).unwrap();
    assert!(verdict.contains("interval of the difference"), "{printed}");
    let again = done(root.path(), "evaluate --run run --source source --target target --device cpu");
    assert!(again.contains(verdict), "{verdict}\n{again}");
}

#[test]
fn a_training_whose_loss_rises_is_said_to_have_diverged() {
    let root = scenes(&[64, 64]);
    let tiny = "--size 32 --batch 2 --steps 40 --bins kmeans:8 --optimizer sgd";
    let ran = huetape(root.path(), &train("window8", &format!("{tiny} --lr 30")));
    assert!(ran.code == 0 && ran.stderr.contains("the training has diverged: its loss ended at "), "{}", ran.stderr);
    assert!(ran.stderr.contains("lower --lr") && report(root.path()).contains("Did it diverge?"));
    let ran = huetape(root.path(), &train("window8", &format!("{tiny} --lr 0.001")).replace("--out run", "--out well"));
    assert!(ran.code == 0 && !ran.stderr.contains("diverged"), "{}", ran.stderr);
}
