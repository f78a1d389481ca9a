//! What the command line understands and what it says: values out of range, files of settings, outputs that are there
//! already, help, the device.

mod common;

use common::binary::{done, huetape, refused, scenes};
use std::fs;
use std::path::Path;

/// A training of a tiny network into `run`.
fn train(flags: &str) -> String {
    let tiny = "--device cpu --threads 1 --width 0.05 --size 16 --batch 1 --steps 1";
    format!("train colournet --source source --target target --out run {tiny} {flags}")
}

#[test]
fn a_value_out_of_range_is_answered_with_the_range() {
    let root = scenes(&[48]);
    let run = |line: &str, said: &[&str]| refused(root.path(), line, said);
    run(&train("--steps -3"), &["--steps -3", "use 1 or more"]);
    run(&train("--lr -1"), &["out of range", "--lr -1", "use a number above 0"]);
    run(&train("--batch x"), &["--batch x", "use 1 or more"]);
    run(&train("--seed -1"), &["--seed -1", "use a whole number of at least 0"]);
    run(&train("--width -0.5"), &["--width -0.5", "use a multiplier above 0"]);
    run(&train("--width 100"), &["--width 100", "above 0 and up to 16"]);
    run("colorize source --weights source --out out", &["--weights source", "name a file, or its run by --run"]);
    run("colorize source --run run --temperature -1", &["--temperature -1", "use a number from 0.0001 to 5"]);
    run("colorize source --run run --tile -64", &["--tile -64", "use a whole number of at least 0"]);
    run("profile colournet --pass forward --iters -1", &["--iters -1", "use a whole number of at least 0"]);
    run("evaluate --run run --images target --crop -4", &["--crop -4", "use "]);
    run("inspect summary colournet --q -1", &["--q -1", "use a whole number of at least 0"]);
    run("register a.png --points p.csv --threshold -1", &["--threshold -1", "use a number above 0"]);
}

#[test]
fn a_file_of_settings_takes_every_key_and_says_which_one_is_wrong() {
    let root = scenes(&[48, 48]);
    let write = |text: &str| fs::write(root.path().join("my.toml"), text).unwrap();
    let line = "train colournet --config my.toml";
    write("source = \"source\"\ntarget = \"target\"\nout = \"by-file\"\nsteps = 1\nsize = 16\nwidth = 0.05\nbatch = 1");
    done(root.path(), &format!("{line} --device cpu"));
    assert!(root.path().join("by-file/report.html").is_file());
    // The folder of a run is not a part of what it is.
    assert!(!fs::read_to_string(root.path().join("by-file/config.toml")).unwrap().contains("by-file"));
    done(root.path(), &format!("{line} --device cpu --out by-flag"));
    write("bathc = 3");
    refused(root.path(), line, &["no such setting: bathc in my.toml: did you mean batch?"]);
    write("batch = \"x\"");
    refused(root.path(), line, &["not a value that it takes", "batch in my.toml: use 1 or more"]);
    write("batch 3");
    refused(root.path(), line, &["not TOML", "my.toml line 1"]);
}

#[test]
fn help_of_a_network_is_shorter_than_that_of_all() {
    let root = tempfile::tempdir().unwrap();
    let all = done(root.path(), "train --help");
    for (network, own, foreign) in [
        ("colournet", "--bins", "--lambda-l1"),
        ("pix2pix", "--lambda-l1", "--bins"),
        ("spacenet", "--lambda-mse", "--bins"),
    ] {
        let help = done(root.path(), &format!("train {network} --help"));
        assert!(help.lines().count() + 20 < all.lines().count(), "{network}: {}", help.lines().count());
        assert!(help.contains(&format!("{own} ")) && !help.contains(&format!("{foreign} ")), "{help}");
    }
    refused(root.path(), "train colournet --images x --lambda-l1 3", &["colournet has no such setting", "--lambda-l1"]);
}

fn written(path: &Path) -> (Vec<u8>, std::time::SystemTime) {
    (fs::read(path).unwrap(), fs::metadata(path).unwrap().modified().unwrap())
}

#[test]
fn results_go_where_they_can_and_never_over_others_unasked() {
    let root = scenes(&[48, 48]);
    fs::create_dir(root.path().join("run")).unwrap();
    done(root.path(), &train(""));
    let colorize = |flags: &str| format!("colorize --run run --device cpu {flags}");
    let refused = |flags: &str, said: &[&str]| refused(root.path(), &colorize(flags), said);
    refused("source/0.png source/1.png --out two.png", &["named as a file", "two.png", "two.png/"]);
    refused("source --out two.png", &["named as a file", "two.png"]);
    done(root.path(), &colorize("source --out two.png/"));
    assert!(root.path().join("two.png/1.png").is_file());

    fs::create_dir(root.path().join("empty")).unwrap();
    done(root.path(), &colorize("source --out empty"));
    let before = written(&root.path().join("empty/0.png"));
    refused("source --out empty", &["2 results are there already", "empty/0.png and others", "--overwrite"]);
    refused("source/0.png --out empty", &["the result is there already", "empty/0.png"]);
    refused("source/0.png --out empty/1.png", &["the result is there already", "empty/1.png"]);
    assert_eq!(written(&root.path().join("empty/0.png")), before);
    done(root.path(), &colorize("source --out empty --overwrite"));
    assert!(written(&root.path().join("empty/0.png")).1 > before.1);
    done(root.path(), &colorize("source/0.png --out new.png --compare target/0.png"));
    fs::remove_file(root.path().join("new.png")).unwrap();
    refused("source/0.png --out new.png --compare target/0.png", &["2 results", "new.compare.png"]);
}

#[test]
fn every_command_that_computes_says_on_what() {
    let root = scenes(&[48, 48]);
    for line in [
        train("--val-source source --val-target target"),
        "colorize source/0.png --run run --out a.png --device cpu --threads 1".to_owned(),
        "evaluate --run run --source source --target target --device cpu --threads 1".to_owned(),
    ] {
        let ran = huetape(root.path(), &line);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("device: cpu, 1 threads").count(), 1, "`{line}`: {}", ran.stderr);
    }
    let most = 4 * std::thread::available_parallelism().unwrap().get();
    let ran = huetape(root.path(), "colorize source/0.png --run run --out b.png --device cpu --threads 1000");
    assert!(ran.stderr.contains(&format!("--threads 1000: {most} are used")), "{}", ran.stderr);
    assert!(ran.code == 0 && ran.stderr.contains(&format!("device: cpu, {most} threads")), "{}", ran.stderr);
}

#[test]
fn doctor_lists_by_number_without_testing() {
    let root = tempfile::tempdir().unwrap();
    let ran = huetape(root.path(), "doctor --list");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("\ncpu: ") && ran.stdout.contains("--device auto takes: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("adapter 0: ") != ran.stdout.contains("no GPU adapter"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("self-test"), "{}", ran.stdout);
}

#[test]
fn what_a_folder_holds_beside_pictures_is_named_and_counted() {
    let root = scenes(&[48, 48]);
    fs::write(root.path().join("source/x.gif"), "GIF89a").unwrap();
    fs::write(root.path().join("source/y.JP2"), "").unwrap();
    let said = "source: 2 files are not read: x.gif, y.JP2";
    let check = "check-data --source source --target target --device cpu --size 16 --width 0.05";
    for line in [&train(""), check, "colorize source --run run --out out --device cpu"] {
        let ran = huetape(root.path(), line);
        assert!(ran.code == 0 && ran.stderr.matches(said).count() == 1, "`{line}`: {}", ran.stderr);
    }
}

#[test]
fn folders_below_are_coloured_when_asked_and_hinted_at_when_not() {
    let root = scenes(&[48, 48]);
    done(root.path(), &train(""));
    fs::create_dir_all(root.path().join("in/2025/may")).unwrap();
    fs::create_dir(root.path().join("in/2026")).unwrap();
    for place in ["in/2025/may/a.png", "in/2026/a.png"] {
        fs::copy(root.path().join("source/0.png"), root.path().join(place)).unwrap();
    }
    refused(
        root.path(),
        "colorize in --run run --out out --device cpu",
        &["the images lie in folders below: in", "add --recursive"],
    );
    done(root.path(), "colorize in --run run --out out --recursive --device cpu");
    for place in ["out/2025/may/a.png", "out/2026/a.png"] {
        assert!(root.path().join(place).is_file(), "{place}");
    }
}

#[test]
fn of_two_inputs_with_one_stem_one_is_coloured_and_the_other_named() {
    let root = scenes(&[48, 48]);
    done(root.path(), &train(""));
    image::open(root.path().join("source/0.png")).unwrap().save(root.path().join("source/0.jpg")).unwrap();
    let line = "colorize source --run run --out out --device cpu";
    refused(root.path(), line, &["source/0.jpg and source/0.png would both be written", "out/0.png"]);
    let ran = huetape(root.path(), &format!("{line} --keep-going"));
    assert!(ran.code == 1 && ran.stderr.contains("1 of 3 pictures could not be coloured: out"), "{}", ran.stderr);
    assert!(ran.stderr.contains("error: source/0.jpg and source/0.png would both be written"), "{}", ran.stderr);
    assert!(root.path().join("out/0.png").is_file() && root.path().join("out/1.png").is_file());
}

#[test]
fn which_weights_of_a_run_colour_can_be_said() {
    let root = scenes(&[48, 48]);
    done(root.path(), &train("--steps 4 --checkpoint-every 2 --val-source source --val-target target --lr 0.01"));
    let colours = |which: &str| {
        let out = format!("by-{}.png", which.replace(' ', ""));
        done(root.path(), &format!("colorize source/0.png --run run {which} --out {out} --device cpu"));
        fs::read(root.path().join(out)).unwrap()
    };
    let [second, last] = [colours("--checkpoint 2"), colours("--checkpoint last")];
    assert!(second != last && last == colours("--checkpoint 4"));
    assert!(colours("--checkpoint best") == colours(""));
    let refused = |flags: &str, said: &[&str]| {
        refused(root.path(), &format!("colorize source/0.png --out x.png --device cpu {flags}"), said);
    };
    refused("--run run --checkpoint 3", &["no such checkpoint", "--checkpoint 3", "run has 2, 4, best"]);
    refused("--run run --checkpoint newest", &["--checkpoint newest", "use last, best or a step's number"]);
    refused("--weights run/checkpoints/best.safetensors --checkpoint last", &["--checkpoint", "--weights"]);
}

#[test]
fn a_hint_about_the_size_of_crops_works_when_it_is_followed() {
    let root = scenes(&[192, 192]);
    let line = "--source source --target target --out run --device cpu --steps 1 --batch 1 --width 0.05";
    // Pictures of 192x48.
    refused(root.path(), &format!("train colournet {line} --size 64"), &["192x48", "use --size 48 or less"]);
    done(root.path(), &format!("train colournet {line} --size 48"));
    let line = line.replace("--out run", "--out other");
    let said = "use --size 32 or less";
    refused(root.path(), &format!("train pix2pix {line}"), &["192x48", "smaller than the crop of 256x256", said]);
    let check = "check-data --model pix2pix --source source --target target --device cpu";
    assert!(huetape(root.path(), check).stdout.contains(said));
}

#[test]
fn pictures_that_cannot_be_used_are_left_out_and_listed_when_asked() {
    let root = scenes(&[48, 48, 48]);
    fs::write(root.path().join("source/0.png"), "no picture at all").unwrap();
    let whole = fs::read(root.path().join("target/1.png")).unwrap();
    fs::write(root.path().join("target/1.png"), &whole[..whole.len() / 2]).unwrap();
    fs::copy(root.path().join("source/2.png"), root.path().join("source/lone.png")).unwrap();
    refused(root.path(), &train(""), &["source/lone.png", "without its target"]);
    let ran = huetape(root.path(), &train("--keep-going"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for name in ["source/lone.png", "source/0.png", "target/1.png"] {
        let listed = |line: &str| line.starts_with("left out: ") && line.contains(name);
        assert_eq!(ran.stderr.lines().filter(|line| listed(line)).count(), 1, "{name}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("3 pictures are left out, 1 remain"), "{}", ran.stderr);
    fs::write(root.path().join("source/2.png"), "nor this").unwrap();
    refused(root.path(), &train("--keep-going").replace("--out run", "--out other"), &["source/"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_dry_run_says_the_memory_of_the_process_within_a_fifth() {
    use std::process::{Command, Stdio};
    let root = scenes(&[200, 200, 200, 200]);
    let line = "train colournet --source source --target target --out run --device cpu --threads 2 --width 0.5 \
                --size 48 --batch 4 --steps 3";
    let dry = done(root.path(), &format!("{line} --dry-run"));
    let said = dry.lines().find_map(|line| line.strip_prefix("memory of the process: about ")).expect(&dry);
    let (number, unit) = said.split_once(' ').unwrap();
    let said = number.parse::<f64>().unwrap() * if unit == "GiB" { 1024.0 } else { 1.0 };
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("huetape"))
        .current_dir(root.path())
        .args(line.split_whitespace())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0.0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = line.map_or(peak, |kib| kib.parse::<f64>().unwrap() / 1024.0).max(peak);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success() && peak > 0.0);
    assert!((0.8..1.2).contains(&(said / peak)), "{said} MiB said, {peak} MiB taken");
}

/// A TIFF of one strip of 16x16 samples of so many bits in a format of the standard.
fn tiff(bits: u32, format: u32, samples: &[u8]) -> Vec<u8> {
    let entries: [[u32; 3]; 10] = [
        [256, 4, 16],
        [257, 4, 16],
        [258, 3, bits],
        [259, 3, 1],
        [262, 3, 1],
        [273, 4, 134],
        [277, 3, 1],
        [278, 4, 16],
        [279, 4, samples.len() as u32],
        [339, 3, format],
    ];
    let mut bytes = b"II\x2a\0\x08\0\0\0\x0a\0".to_vec();
    for [tag, kind, value] in entries {
        bytes.extend([tag as u16, kind as u16].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([1, value].iter().flat_map(|word| word.to_le_bytes()));
    }
    bytes.extend([0; 4]);
    assert_eq!(bytes.len(), 134);
    bytes.extend_from_slice(samples);
    bytes
}

#[test]
fn hints_lead_to_what_works() {
    let root = scenes(&[48, 48]);
    done(root.path(), &train(""));
    // What follows "use" in what a command says.
    let hint = |line: &str| {
        let ran = huetape(root.path(), line);
        assert_eq!(ran.code, 2, "`{line}`: {}", ran.stderr);
        ran.stderr.trim().rsplit(": ").next().unwrap().to_owned()
    };
    let summary = |width: &str| format!("inspect summary colournet --width {width}");
    assert_eq!(hint(&summary("100")), "use a multiplier above 0 and up to 16, e.g. 0.25 or 1");
    done(root.path(), &summary("0.25"));

    let layer =
        |name: &str| format!("inspect activations source/0.png --run run --device cpu --out looks --layer {name}");
    let said = hint(&layer("conv1-1"));
    let named = said.strip_prefix("use one of ").unwrap().split(", ").next().unwrap();
    done(root.path(), &layer(named));

    let colorize = "colorize source/0.png --device cpu --overwrite --out a.png";
    assert_eq!(hint(&format!("{colorize} --weights run")), "name a file, or its run by --run");
    done(root.path(), &format!("{colorize} --run run"));
    done(root.path(), &format!("{colorize} --weights run/checkpoints/step-00000001.safetensors"));

    let parts: Vec<[f32; 2]> = (0..256).map(|i| [i as f32 / 400.0, 0.3 - i as f32 / 900.0]).collect();
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    fs::write(root.path().join("slc.tif"), tiff(64, 6, &bytes(parts.as_flattened()))).unwrap();
    let said = huetape(root.path(), "colorize slc.tif --run run --device cpu --out b.tif");
    assert!(said.code == 2 && said.stderr.contains("complex samples; take their magnitude first"), "{}", said.stderr);
    let magnitudes: Vec<f32> = parts.iter().map(|[re, im]| re.hypot(*im)).collect();
    fs::write(root.path().join("slc.tif"), tiff(32, 3, &bytes(&magnitudes))).unwrap();
    done(root.path(), "colorize slc.tif --run run --device cpu --out b.tif");
}

/// The most memory that a run of the binary took, bytes.
#[cfg(target_os = "linux")]
fn most_memory(folder: &Path, line: &str) -> u64 {
    let program = assert_cmd::cargo::cargo_bin!("huetape");
    let mut child =
        std::process::Command::new(program).args(line.split_whitespace()).current_dir(folder).spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let of = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
        most = of.unwrap_or(0).max(most);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success(), "{line}");
    1024 * most
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_png_is_read_and_written_by_rows() {
    let root = scenes(&[48]);
    done(root.path(), &train(""));
    let side = 2000u32;
    let large = image::GrayImage::from_fn(side, side, |x, y| image::Luma([((x * 7 + y * 13) % 251) as u8]));
    large.save(root.path().join("large.png")).unwrap();
    let colorize = |out: &str| format!("colorize large.png --run run --out {out} --device cpu --threads 1 --tile 256");
    let [tif, png] = ["a.tif", "a.png"].map(|out| most_memory(root.path(), &colorize(out)));
    // A whole picture of floats would be 12 bytes a pixel, one of bytes 3.
    let pixels = u64::from(side * side);
    assert!(png < tif + 7 * pixels, "{} MiB to PNG, {} MiB to TIFF", png >> 20, tif >> 20);
    assert!(png < 200 << 20, "{} MiB", png >> 20);
}
