//! What shapes a training beyond the published ones, through the binary: each setting trains, goes on bit for bit, and
//! is known from the weights alone.

mod common;

use common::binary::{done, refused, scenes};
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

#[test]
fn crops_are_turned_as_the_setting_says() {
    let root = scenes(&[48]);
    let train =
        "train colournet --source source --target target --out run --device cpu --width 0.05 --size 16 --steps 1";
    refused(root.path(), &format!("{train} --augment six"), &["--augment six", "use mirror, rotate or dihedral"]);
    let help = done(root.path(), "train --help");
    assert!(help.contains("--augment <HOW>") && help.contains("[default: mirror; sicgan rotate]"), "{help}");
}
