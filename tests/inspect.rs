//! `huetape inspect` as a user runs it.

mod common;

use common::binary::{done, listing, refused, scenes};
use huetape::engine::nn::{StateTensor, WeightFile, save_described, save_tensors};
use std::fs;
use std::path::Path;

const TINY: &str = "--device cpu --threads 1 --width 0.05 --batch 1 --steps 1";

/// Shape and values of a `.npy` file.
fn npy(path: &Path) -> (String, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(start.is_multiple_of(64));
    let header = String::from_utf8(bytes[10..start].to_vec()).unwrap();
    assert!(header.contains("'descr': '<f4', 'fortran_order': False"));
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0.to_owned();
    (shape, bytes[start..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

#[test]
fn the_values_of_a_layer_before_and_after_its_activation_in_both_modes() {
    let root = scenes(&[64]);
    done(root.path(), &format!("train colournet --source source --target target --out run --size 16 {TINY}"));
    let line = "inspect activations source/0.png --run run --device cpu --out looks --layer conv1_1";
    let table = done(root.path(), line);
    assert!(table.contains("conv 3x3, relu") && table.contains("48 x 64 x 4"), "{table}");
    done(root.path(), &format!("{line} --when pre"));
    let at = |name: &str| npy(&root.path().join("looks").join(name));
    let ((shape, pre), (_, post)) = (at("conv1_1.pre-test.npy"), at("conv1_1.post-test.npy"));
    assert_eq!((shape.as_str(), pre.len()), ("48, 64, 4,", 48 * 64 * 4));
    assert!(pre.iter().any(|v| *v < 0.0));
    assert!(pre.iter().zip(&post).all(|(pre, post)| pre.max(0.0) == *post));
    // Four maps of 48 x 64, twice as large, two by two.
    let picture = huetape::imaging::codec::decode::open(&root.path().join("looks/conv1_1.post-test.png")).unwrap();
    assert_eq!((picture.info.width, picture.info.height), (2 * 2 * 64 + 2, 2 * 2 * 48 + 2));
    // What comes after a batch norm differs: after one update the running statistics are hardly the picture's own.
    for mode in ["train", "test"] {
        done(
            root.path(),
            &format!("inspect activations source/0.png --run run --device cpu --out looks --all --mode {mode}"),
        );
    }
    assert_eq!(at("conv1_1.post-train.npy").1, post);
    assert_ne!(at("conv2_1.post-train.npy").1, at("conv2_1.post-test.npy").1);
    let all = listing(&root.path().join("looks"));
    assert!(all.iter().filter(|path| path.to_string_lossy().ends_with(".post-train.npy")).count() > 30);
}

#[test]
fn a_weight_file_says_what_it_is() {
    let root = scenes(&[64]);
    let train = "train window8 --source source --target target --size 24 --device cpu --threads 1";
    let flags = "--bins kmeans:4 --band 1 --stretch 0,255 --despeckle lee:3 --batch 1 --steps 1";
    for run in ["run", "again"] {
        done(root.path(), &format!("{train} {flags} --out {run}"));
    }
    let file = "checkpoints/step-00000001.safetensors";
    let [one, two] = ["run", "again"].map(|run| fs::read(root.path().join(run).join(file)).unwrap());
    assert_eq!(one, two, "the same run gives the same bytes");
    let text = done(root.path(), &format!("inspect run/{file}"));
    for line in [
        "network:      window8",
        "updates:      1",
        "bins:         4 (kmeans:4)",
        "input:        band 1, stretch 0,255, despeckle lee:3",
        "trained on:   1 (pairs of images), crops of 24x24, batches of 1, by huetape ",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "no `{line}` in {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&done(root.path(), "inspect run --json")).unwrap();
    assert_eq!(json["metadata"]["input"]["stretch"], "0,255");
    assert_eq!((&json["network"], &json["bins"]), (&"window8".into(), &4.into()));

    // The tensors alone, as an earlier version wrote them; and what a later one may write.
    let tensors: Vec<StateTensor> = WeightFile::from_bytes("run", &one).unwrap().tensors().cloned().collect();
    save_tensors(&tensors, &root.path().join("old.safetensors")).unwrap();
    let text = done(root.path(), "inspect old.safetensors");
    assert!(text.contains("metadata:     none") && text.contains("network:      window8"), "{text}");
    save_described(&tensors, Some(r#"{"format":2}"#), &root.path().join("later.safetensors")).unwrap();
    for line in ["inspect later.safetensors", "colorize source/0.png --out c.png --weights later.safetensors"] {
        refused(root.path(), line, &["format 2", "format 1", "later.safetensors"]);
    }
    refused(root.path(), "inspect nothing.safetensors", &["nothing.safetensors"]);
}

#[test]
fn every_network_can_be_looked_into_with_a_picture_of_any_size() {
    let root = scenes(&[70]);
    let cases = [
        ("window8", "--size 24 --width 1", "conv1", "62, 84, "),
        ("sicgan", "--size 16 --patches 4", "g.conv1", "16, 16, "),
        ("spacenet", "--size 32", "g.layer1.conv1", "48, 70, "),
    ];
    for (model, flags, layer, shape) in cases {
        done(root.path(), &format!("train {model} --source source --target target --out {model} {TINY} {flags}"));
        for mode in ["test", "train"] {
            let line = format!(
                "inspect activations source/0.png --run {model} --layer {layer} --mode {mode} --device cpu --out \
                 {model}-looks"
            );
            done(root.path(), &line);
            let (found, _) = npy(&root.path().join(format!("{model}-looks/{layer}.post-{mode}.npy")));
            assert!(found.starts_with(shape), "{model} {mode}: {found}");
        }
    }
    // A discriminator that is bound to the size of its training runs at that size alone.
    done(root.path(), "inspect activations source/0.png --run spacenet --layer d.out --size 32 --device cpu --out d");
    assert_eq!(npy(&root.path().join("d/d.out.post-test.npy")).0, "1,");
    let line = "inspect activations source/0.png --run spacenet --layer d.out --device cpu --out none";
    refused(root.path(), line, &["does not run on a picture of this size", "--layer d.out", "--size 32"]);
    let shapes = done(root.path(), "inspect shapes --run spacenet --input source/0.png");
    assert!(shapes.contains("48 x 70 x") && shapes.contains("did not run"), "{shapes}");
}

#[test]
fn shapes_and_mistakes() {
    let root = scenes(&[48]);
    let shapes = done(root.path(), "inspect shapes colournet --width 0.05 --size 64");
    assert!(
        shapes.contains("64 x 64 x 1") && shapes.contains("8 x 8 x ") && shapes.contains("multiplications: "),
        "{shapes}"
    );
    let both = done(root.path(), "inspect shapes pix2pix --width 0.01");
    assert!(both.contains("generator") && both.contains("discriminator") && both.contains("transposed conv"), "{both}");
    done(root.path(), &format!("train colournet --source source --target target --out run --size 16 {TINY}"));
    let line = "inspect activations source/0.png --run run --device cpu --out looks";
    refused(
        root.path(),
        &format!("{line} --layer conv1-1"),
        &["no such layer", "--layer conv1-1", "use one of conv1_1"],
    );
    refused(root.path(), line, &["something is missing", "--layer"]);
    refused(root.path(), &format!("{line} --all --layer conv1_1"), &["do not go together"]);
    refused(root.path(), &format!("{line} --all --when during"), &["--when", "use one of pre post"]);
    refused(root.path(), &format!("{line} --all --size 13"), &["--size 13", "use 16"]);
    refused(root.path(), &format!("{line} --all --size 64"), &["48x48 is smaller than --size 64"]);
    refused(root.path(), "inspect activations none.png --run run --all --device cpu", &["none.png"]);
}
