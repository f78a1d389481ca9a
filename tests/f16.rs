//! `--precision f16` as a user has it. On most machines without a card there are no f16 matrices: `tools/test --coop`
//! runs these where a software driver has them, and sets `HUETAPE_REQUIRE_F16=1`.

mod common;

use common::binary::{done, huetape, refused, scenes};
use std::path::Path;

/// Whether there is something that multiplies in f16.
fn has_f16(folder: &Path) -> bool {
    let listed = done(folder, "doctor --list");
    let there = listed.contains("f16 matrices");
    if !there {
        assert!(std::env::var("HUETAPE_REQUIRE_F16").is_err(), "no adapter has f16 matrices: {listed}");
        eprintln!("f16 was not tested: no adapter has f16 matrices");
    }
    there
}

#[test]
fn f16_is_refused_in_one_line_where_nothing_multiplies_in_it() {
    let root = scenes(&[32]);
    let cannot = |line: &str| refused(root.path(), line, &["--precision f16", "f32"]);
    cannot("doctor --device cpu --precision f16");
    cannot("profile colournet --pass forward --size 16 --width 0.125 --device cpu --precision f16");
    let data = "--source source --target target --size 32 --width 0.125 --steps 1 --out run";
    cannot(&format!("train pix2pix {data} --device cpu --precision f16"));
    assert!(!root.path().join("run").exists());
    refused(root.path(), "doctor --device cpu --precision f64", &["--precision f64", "f32 or f16"]);
    let small = "profile colournet --pass forward --size 16 --width 0.125 --iters 1 --device cpu";
    let cpu = done(root.path(), &format!("{small} --precision f32"));
    assert!(!cpu.contains("f16"), "{cpu}");
    if common::devices().iter().any(huetape::engine::device::Device::is_gpu) && !has_f16(root.path()) {
        cannot("doctor --device gpu --precision f16");
    }
}

/// Losses of a run, `name` of each step.
fn losses(folder: &Path, run: &str, name: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(folder.join(run).join("metrics.jsonl")).unwrap();
    let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()[name].as_f64().unwrap();
    text.lines().map(value).collect()
}

#[test]
fn trainings_in_f16_follow_those_in_f32_and_go_on_with_the_same_bits() {
    let root = scenes(&[48, 48]);
    let folder = root.path();
    if !has_f16(folder) {
        return;
    }
    for (network, flags, loss) in [
        ("colournet", "--width 0.125 --bins kmeans:4 --lr 1e-5", "loss"),
        ("pix2pix", "--width 0.125 --size 32 --batch 2 --lr 1e-5", "l1"),
    ] {
        let size = if flags.contains("--size") { "" } else { "--size 32 --batch 2" };
        let data = format!("--source source --target target {size} {flags} --device gpu --no-shuffle");
        let train = |steps: usize, out: &str, more: &str| {
            let ran = huetape(folder, &format!("train {network} {data} --steps {steps} --out {out} {more}"));
            assert_eq!(ran.code, 0, "{network}: {}", ran.stderr);
        };
        let name = |what: &str| format!("{network}-{what}");
        train(6, &name("f32"), "");
        train(6, &name("f16"), "--precision f16");
        let config = std::fs::read_to_string(folder.join(name("f16")).join("config.toml")).unwrap();
        assert!(config.contains("precision = \"f16\"") && config.contains("coop"), "{config}");
        let [single, half] = ["f32", "f16"].map(|of| losses(folder, &name(of), loss));
        for (step, (single, half)) in single.iter().zip(&half).enumerate() {
            // Rounding of factors shows in the fourth digit. Adam's first updates are all of one size, whatever the
            // gradient: with the rates of a training later steps start from weights that differ more.
            assert!((single - half).abs() <= 0.02 * single.abs(), "{network}, step {}: {single}, {half}", step + 1);
        }
        assert_ne!(single, half, "{network}: nothing was multiplied in f16");

        train(3, &name("part"), "--precision f16");
        let resumed = format!("train {network} --resume --out {} --steps 6", name("part"));
        assert_eq!(huetape(folder, &resumed).code, 0);
        let last = |run: String| {
            let file = folder.join(run).join("checkpoints");
            let mut files: Vec<_> = std::fs::read_dir(file).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            let bytes = std::fs::read(files.pop().unwrap()).unwrap();
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let mut all: Vec<(String, Vec<u8>)> =
                tensors.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
            all.sort();
            all
        };
        let (whole, parts) = (last(name("f16")), last(name("part")));
        assert!(whole.iter().any(|(name, _)| name.starts_with("train.loss-scale.")), "{network}");
        assert!(whole == parts, "{network} goes on with other bits");

        let line = format!("colorize source --run {} --out {} --device gpu", name("f16"), name("coloured"));
        done(folder, &format!("{line} --precision f16"));
    }
}
