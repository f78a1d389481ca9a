//! What shapes a training beyond the published ones, through the binary: each setting trains, goes on bit for bit, and
//! is known from the weights alone.

mod common;

use common::binary::{done, refused, scenes};
use huetape::engine::nn::{StateTensor, WeightFile, save_tensors};
use std::fs;
use std::path::Path;

/// A folder with `source` and `target`: two synthetic scenes of 256 pixels, SAR and optical.
fn large_pictures() -> tempfile::TempDir {
    use huetape::imaging::{codec::save::save_png, synth::Scene};
    let root = tempfile::tempdir().unwrap();
    for side in ["source", "target"] {
        fs::create_dir(root.path().join(side)).unwrap();
    }
    for index in 0..2 {
        let (scene, name) = (Scene::new(5, index, 256), format!("{index}.png"));
        save_png(&root.path().join("source").join(&name), &scene.sar(4), 256, 256, None).unwrap();
        save_png(&root.path().join("target").join(&name), &scene.optical(), 256, 256, None).unwrap();
    }
    root
}

fn checkpoint(folder: &Path, run: &str, step: u64) -> Vec<u8> {
    fs::read(folder.join(format!("{run}/checkpoints/step-{step:08}.safetensors"))).unwrap()
}

/// The pictures are exactly of the size of the crops, so that augmentation alone makes batches differ.
#[test]
fn pix2pix_doubles_by_resizing_and_its_weights_are_known_by_their_shapes() {
    let root = large_pictures();
    let train = |run: &str, flags: &str| {
        let paths = "--source source --target target --val-source source --val-target target";
        format!("train pix2pix {paths} --out {run} --device cpu --width 0.01 --checkpoint-every 2 {flags}")
    };
    let flags = "--up resize --augment dihedral";
    done(root.path(), &train("whole", &format!("{flags} --steps 4")));
    done(root.path(), &train("parts", &format!("{flags} --steps 2")));
    done(root.path(), &train("parts", "--steps 4 --resume"));
    assert!(checkpoint(root.path(), "whole", 4) == checkpoint(root.path(), "parts", 4));
    done(root.path(), &train("mirrored", "--up resize --steps 2"));
    assert!(checkpoint(root.path(), "mirrored", 2) != checkpoint(root.path(), "parts", 2));

    refused(root.path(), &train("parts", "--up transposed --resume"), &["--up with parts"]);
    let weights = "whole/checkpoints/step-00000004.safetensors";
    let summary = done(root.path(), "inspect summary --run whole");
    assert!(summary.contains("g.up7.resize") && summary.contains("nearest x2"), "{summary}");
    assert!(!summary.contains("transposed"), "{summary}");
    done(root.path(), &format!("colorize source/0.png --weights {weights} --out colour.png --device cpu"));
    done(root.path(), "colorize source/0.png --run whole --out of-run.png --device cpu");
    assert!(root.path().join("colour.png").is_file() && root.path().join("of-run.png").is_file());

    let init = format!("--init {weights} --steps 1");
    refused(root.path(), &train("other", &format!("{init} --up transposed")), &["--up transposed", "another way"]);
    done(root.path(), &train("other", &init));
    let summary = done(root.path(), "inspect summary --run other");
    assert!(summary.contains("nearest x2"), "{summary}");
}

/// Two narrow networks with batch norm and one without: the average is under the plain names, what learns beside it is
/// what it would be alone, and both go on.
#[test]
fn averaged_weights_are_what_is_put_to_work_and_go_on_bit_for_bit() {
    let root = scenes(&[48, 60]);
    let large = large_pictures();
    let third = scenes(&[48, 60]);
    let paths = "--source source --target target --val-source source --val-target target --device cpu";
    for (folder, network, flags) in [
        (large.path(), "pix2pix", "--width 0.01"),
        (root.path(), "colournet", "--width 0.05 --size 16 --batch 2 --lr 1e-3"),
        (third.path(), "spacenet", "--width 0.05 --size 32 --batch 2 --optimizer adam"),
    ] {
        let train =
            |run: &str, more: &str| format!("train {network} {paths} --out {run} {flags} --checkpoint-every 2 {more}");
        done(folder, &train("whole", "--steps 4 --ema 0.9"));
        let last = checkpoint(folder, "whole", 4);
        fs::remove_file(folder.join("whole/checkpoints/step-00000004.safetensors")).unwrap();
        refused(folder, &train("whole", "--steps 4 --ema 0.5 --resume"), &["--ema with whole"]);
        done(folder, &train("whole", "--steps 4 --resume"));
        assert!(last == checkpoint(folder, "whole", 4), "{network}");
        done(folder, &train("alone", "--steps 4"));

        let file =
            |run: &str| WeightFile::read(&folder.join(run).join("checkpoints/step-00000004.safetensors")).unwrap();
        let (averaged, alone) = (file("whole"), file("alone"));
        let (mut same, mut other) = (0, 0);
        for raw in averaged.tensors().filter(|tensor| tensor.name.starts_with("raw.")) {
            let name = raw.name.trim_start_matches("raw.");
            assert_eq!(raw.data, alone.get(name).unwrap().data, "{network} {name}");
            let moved = averaged.get(name).unwrap().data != raw.data;
            *(if moved { &mut other } else { &mut same }) += 1;
        }
        assert!(other > 0 && same < other, "{network}: {same} of {} tensors are not averaged", same + other);
        assert!(!alone.names().any(|name| name.starts_with("raw.")));

        // The average alone, as weights to pass on, colours as the run does.
        let plain = |tensor: &&StateTensor| !["raw.", "adam.", "train."].iter().any(|p| tensor.name.starts_with(p));
        let tensors: Vec<StateTensor> = averaged.tensors().filter(plain).cloned().collect();
        save_tensors(&tensors, &folder.join("plain.safetensors")).unwrap();
        let coloured = |weights: &str| {
            done(
                folder,
                &format!("colorize source/0.png --weights {weights} --out colour.png --overwrite --device cpu"),
            );
            fs::read(folder.join("colour.png")).unwrap()
        };
        let of_run = |run: &str| coloured(&format!("{run}/checkpoints/step-00000004.safetensors"));
        assert!(of_run("whole") == coloured("plain.safetensors"), "{network}");
        assert!(of_run("whole") != of_run("alone"), "{network}");
    }
}

/// The head is learned, goes on, is known by its tensors alone, and makes the lightness of what is coloured; without it
/// weights are what they were.
#[test]
fn classifiers_predict_lightness_and_without_it_nothing_changes() {
    let root = scenes(&[48, 60]);
    let folder = root.path();
    for (network, size) in [("colournet", "--width 0.05 --size 16"), ("window8", "--size 20 --bins kmeans:6")] {
        let train = |run: &str, flags: &str| {
            let paths = "--source source --target target --val-source source --val-target target --device cpu";
            let flags = format!("{size} --batch 2 --lr 1e-2 --checkpoint-every 2 {flags}");
            format!("train {network} {paths} --out {network}-{run} {flags}")
        };
        done(folder, &train("whole", "--predict-lightness --ema 0.5 --steps 6"));
        done(folder, &train("parts", "--predict-lightness --ema 0.5 --steps 2"));
        done(folder, &train("parts", "--steps 6 --resume"));
        let [whole, parts] = ["whole", "parts"].map(|run| checkpoint(folder, &format!("{network}-{run}"), 6));
        assert!(whole == parts, "{network}");
        done(folder, &train("plain", "--steps 2"));

        let read = |run: &str, step: u64| {
            WeightFile::read(&folder.join(format!("{network}-{run}/checkpoints/step-{step:08}.safetensors"))).unwrap()
        };
        let (file, plain) = (read("whole", 6), read("plain", 2));
        let shape = &file.get("l.weight").unwrap().shape;
        assert!(shape[..2] == [1, 1] && shape[3] == 1 && file.get("l.bias").is_some(), "{shape:?}");
        assert!(plain.get("l.weight").is_none());
        let first = |run: &str, name: &str| {
            let text = fs::read_to_string(folder.join(format!("{network}-{run}/metrics.jsonl"))).unwrap();
            let step: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            step[name].as_f64()
        };
        // The head has learned nothing at the first step: the rest of the loss is what it is without.
        let colours = first("whole", "loss").unwrap() - first("whole", "lightness").unwrap();
        assert!((colours - first("plain", "loss").unwrap()).abs() < 1e-5, "{network} {colours}");
        assert_eq!(first("plain", "lightness"), None);

        // L of each pixel is the head's: with a weight of nothing and a bias of 0.25 it is 25 everywhere.
        let plain_names = |t: &&StateTensor| !["raw.", "adam.", "train."].iter().any(|p| t.name.starts_with(p));
        let mut tensors: Vec<StateTensor> = file.tensors().filter(plain_names).cloned().collect();
        for tensor in tensors.iter_mut().filter(|tensor| tensor.name.starts_with("l.")) {
            tensor.data.fill(if tensor.name == "l.bias" { 0.25 } else { 0.0 });
        }
        save_tensors(&tensors, &folder.join("dark.safetensors")).unwrap();
        done(folder, "colorize source/0.png --weights dark.safetensors --out dark.png --overwrite --device cpu");
        let image = huetape::imaging::codec::decode::open(&folder.join("dark.png")).unwrap();
        for i in 0..image.info.width * image.info.height {
            let (x, y) = (i % image.info.width, i / image.info.width);
            let (rgb, [lightness, ..]) = (image.rgb(x, y), image.lab(x, y));
            // Where the colour is not one of sRGB, it is clipped.
            let clipped = rgb.iter().any(|v| *v <= 0.0 || *v >= 1.0);
            assert!(clipped || (lightness - 25.0).abs() < 1.0, "{network} {rgb:?} {lightness}");
        }
        let line = "colorize source/0.png --weights dark.safetensors --lightness despeckle --out no.png --device cpu";
        refused(folder, line, &["--lightness despeckle"]);
        refused(folder, &train("no", "--predict-lightness --lightness despeckle --steps 1"), &["do not go together"]);
        refused(folder, &train("plain", "--predict-lightness --steps 4 --resume"), &["--predict-lightness with"]);

        // On from weights: with a head, and from those without one with a fresh one.
        let init = |run: &str, step: u64| format!("--init {network}-{run}/checkpoints/step-{step:08}.safetensors");
        let on = |run: &str, flags: &str| train(run, flags).replace("--bins kmeans:6", "");
        done(folder, &on("on", &format!("{} --steps 1", init("whole", 6))));
        assert!(read("on", 1).get("l.weight").is_some());
        done(folder, &on("head", &format!("{} --predict-lightness --freeze conv* --steps 1", init("plain", 2))));
        let tuned = read("head", 1);
        assert!(tuned.get("l.weight").is_some(), "{network}");
        assert_eq!(
            tuned.get("conv1.weight").or(tuned.get("conv1_1.weight")).map(|tensor| &tensor.data),
            plain.get("conv1.weight").or(plain.get("conv1_1.weight")).map(|tensor| &tensor.data)
        );
    }
}

/// Fine-tuning: what is frozen keeps its bits and has no optimiser's state; the rate rises over the warm-up.
#[test]
fn frozen_layers_keep_their_weights_and_the_rate_warms_up() {
    let root = scenes(&[48]);
    let train = |run: &str, flags: &str| {
        let paths = "--source source --target target --device cpu --size 16 --batch 2";
        format!("train colournet {paths} --out {run} {flags}")
    };
    done(root.path(), &train("first", "--width 0.05 --steps 1"));
    let init = "--init first/checkpoints/step-00000001.safetensors";
    let flags = format!("{init} --freeze conv1*,bn1.gamma,*.bias --lr 1e-3 --lr-warmup 4 --weight-decay 0.1");
    done(root.path(), &train("tuned", &format!("{flags} --steps 5")));
    let read = |path: &str| WeightFile::read(&root.path().join(path)).unwrap();
    let (before, after) =
        (read("first/checkpoints/step-00000001.safetensors"), read("tuned/checkpoints/step-00000005.safetensors"));
    for tensor in before.tensors().filter(|tensor| tensor.name.ends_with(".weight") || tensor.name.ends_with(".bias")) {
        let name = &tensor.name;
        if name.starts_with("adam.") {
            continue;
        }
        let frozen = name.starts_with("conv1") || name.ends_with(".bias");
        assert_eq!(after.get(name).unwrap().data == tensor.data, frozen, "{name}");
        assert_eq!(after.get(&format!("adam.m.{name}")).is_none(), frozen, "{name}");
    }
    let metrics = fs::read_to_string(root.path().join("tuned/metrics.jsonl")).unwrap();
    let rate = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["lr"].as_f64().unwrap();
    assert_eq!(metrics.lines().map(rate).collect::<Vec<_>>(), [2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3]);

    done(root.path(), &train("parts", &format!("{flags} --steps 2")));
    done(root.path(), &train("parts", "--steps 5 --resume"));
    assert!(checkpoint(root.path(), "tuned", 5) == checkpoint(root.path(), "parts", 5));
    let summary = done(root.path(), "inspect summary --run tuned");
    assert!(summary.contains("trainable"), "{summary}");
    for (pattern, what) in [("conv9*", "no parameter has such a name"), ("*", "nothing of a network is left to learn")]
    {
        let flag = format!("--freeze {pattern}");
        refused(root.path(), &train("other", &format!("{init} --steps 1 {flag}")), &[&flag, what]);
    }
}

#[test]
fn distances_over_scales_and_of_gradients_change_what_is_learned_and_go_on() {
    let root = scenes(&[48, 60]);
    let train = |run: &str, flags: &str| {
        let flags = format!("{flags} --width 0.05 --size 24 --patches 8 --batch 4 --checkpoint-every 2");
        format!("train sicgan --images target --out {run} --device cpu --lambda-l1 10 {flags}")
    };
    let first = |run: &str| {
        let text = fs::read_to_string(root.path().join(run).join("metrics.jsonl")).unwrap();
        let step: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        ["g_loss", "l1"].map(|name| step[name].as_f64().unwrap())
    };
    let flags = "--l1-scales 4 --gradient-share 0.5";
    done(root.path(), &train("whole", &format!("{flags} --steps 4")));
    let last = checkpoint(root.path(), "whole", 4);
    fs::remove_file(root.path().join("whole/checkpoints/step-00000004.safetensors")).unwrap();
    done(root.path(), &train("whole", "--steps 4 --resume"));
    assert!(last == checkpoint(root.path(), "whole", 4));
    done(root.path(), &train("plain", "--steps 2"));
    done(root.path(), &train("edges", "--steps 2 --gradient-share 0.5"));
    // `l1` stays the plain mean.
    assert_eq!([first("whole")[1], first("edges")[1]], [first("plain")[1]; 2]);
    assert!(first("edges")[0] > first("plain")[0] && first("whole")[0] < first("edges")[0]);
    refused(root.path(), &train("no", "--steps 1 --l1-scales 0"), &["--l1-scales 0"]);
}

#[test]
fn crops_are_turned_as_the_setting_says() {
    let root = scenes(&[48]);
    let train =
        "train colournet --source source --target target --out run --device cpu --width 0.05 --size 16 --steps 1";
    refused(root.path(), &format!("{train} --augment six"), &["--augment six", "use mirror, rotate or dihedral"]);
    let help = done(root.path(), "train --help");
    assert!(help.contains("--augment <HOW>") && help.contains("[default: mirror; sicgan rotate]"), "{help}");
}
