//! `huetape profile`: what it counts, what it accounts for, what it writes, and what it catches.

mod common;

use common::binary::{done, failed, refused};
use huetape::engine::device::Device;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Side of the output, channels in and out, side of the kernel: of a transposed convolution the side of its input,
/// which each tap of the kernel meets once.
type Layer = [u64; 4];

/// ColourNet at 64x64 and an eighth of its width with 20 bins.
const COLOURNET: &[Layer] = &[
    [64, 1, 8, 3],
    [32, 8, 8, 3],
    [32, 8, 16, 3],
    [16, 16, 16, 3],
    [16, 16, 32, 3],
    [16, 32, 32, 3],
    [8, 32, 32, 3],
    [8, 32, 64, 3],
    [8, 64, 64, 3],
    [8, 64, 64, 3],
    [8, 64, 64, 3],
    [8, 64, 64, 3],
    [8, 64, 64, 3],
    [8, 64, 64, 3],
    [8, 64, 64, 3],
    [8, 64, 64, 3],
    [8, 64, 32, 3],
    [8, 32, 32, 3],
    [8, 32, 32, 3],
    [16, 32, 16, 3],
    [16, 16, 16, 3],
    [16, 16, 16, 3],
    [16, 16, 20, 1],
];

/// The generator of pix2pix at 256x256 and a sixteenth of its width: down, up with the skips, out.
const GENERATOR: &[Layer] = &[
    [128, 1, 4, 4],
    [64, 4, 8, 4],
    [32, 8, 16, 4],
    [16, 16, 32, 4],
    [8, 32, 32, 4],
    [4, 32, 32, 4],
    [2, 32, 32, 4],
    [1, 32, 32, 4],
    [1, 32, 32, 4],
    [2, 64, 32, 4],
    [4, 64, 32, 4],
    [8, 64, 32, 4],
    [16, 64, 16, 4],
    [32, 32, 8, 4],
    [64, 16, 4, 4],
    [128, 8, 3, 4],
];

/// Its discriminator, which reads the source and three channels of a picture.
const DISCRIMINATOR: &[Layer] = &[[128, 4, 4, 4], [64, 4, 8, 4], [32, 8, 16, 4], [31, 16, 32, 4], [30, 32, 1, 4]];

/// Operations of the convolutions on `n` images: 2 N Ho Wo O Kh Kw C.
fn operations(n: u64, layers: &[Layer]) -> u64 {
    layers.iter().map(|[side, c, o, kernel]| 2 * n * side * side * o * kernel * kernel * c).sum()
}

fn profiled(folder: &Path, line: &str) -> (String, Value) {
    let printed = done(folder, &format!("profile {line} --json profile.json"));
    (printed, read(&folder.join("profile.json")))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn launches(profile: &Value) -> &Vec<Value> {
    profile["launches"].as_array().unwrap()
}

/// What the convolutions of a profile count, forward, dx and dw.
fn counted(profile: &Value) -> [f64; 3] {
    ["forward", "dx", "dw"].map(|pass| {
        let convolutions = launches(profile).iter().filter(|launch| {
            let kernel = launch["kernel"].as_str().unwrap();
            launch["pass"] == pass && ["conv2d", "conv2d_dx", "conv2d_dw"].contains(&kernel)
        });
        convolutions.map(|launch| launch["flops"].as_f64().unwrap()).sum()
    })
}

/// Without GPUs there are no plans, which know the operations.
#[cfg(feature = "gpu")]
#[test]
fn operations_agree_with_the_closed_form() {
    let folder = tempfile::tempdir().unwrap();
    let counts = |line: &str| counted(&profiled(folder.path(), &format!("{line} --iters 1 --device cpu")).1);
    let exact = |count: u64| count as f64;

    let colournet = "colournet --size 64 --width 0.125 --q 20 --batch 2";
    let (all, first) = (operations(2, COLOURNET), operations(2, &COLOURNET[..1]));
    assert_eq!(counts(&format!("{colournet} --pass forward")), [exact(all), 0.0, 0.0]);
    // Nothing asks for the gradient of the picture.
    assert_eq!(counts(&format!("{colournet} --pass train")), [all, all - first, all].map(exact));

    let pix2pix = "pix2pix --width 0.0625";
    let (g, g_first) = (operations(1, GENERATOR), operations(1, &GENERATOR[..1]));
    let (d, d_first) = (operations(1, DISCRIMINATOR), operations(1, &DISCRIMINATOR[..1]));
    assert_eq!(counts(&format!("{pix2pix} --pass forward")), [exact(g), 0.0, 0.0]);
    // The discriminator runs on the real and on the made picture. Its own gradient goes through both, not on to the
    // pictures; the generator's goes through the made one alone, and on.
    let expected = [g + 2 * d, g - g_first + 2 * (d - d_first) + d, g + 2 * d];
    assert_eq!(counts(&format!("{pix2pix} --pass train")), expected.map(exact));
}

#[test]
fn launches_account_for_the_pass_and_each_has_its_layer_and_its_times() {
    let folder = tempfile::tempdir().unwrap();
    for device in ["cpu", "gpu"] {
        if device == "gpu" && !common::devices().iter().any(Device::is_gpu) {
            continue;
        }
        // Some microseconds pass between two launches, so launches have to be long enough for 95 %.
        let line = format!("colournet --pass train --size 160 --width 0.125 --iters 3 --device {device} --all");
        let line = format!("{line} --trace trace.json --html page.html");
        // Something else on the machine may take time between two launches: then once more.
        let share = |profile: &Value| profile["accounted"].as_f64().unwrap();
        let mut runs = (0..8).map(|_| profiled(folder.path(), &line));
        let mut best = runs.next().unwrap();
        while let Some(next) = (share(&best.1) < 0.95).then(|| runs.next()).flatten() {
            best = if share(&next.1) > share(&best.1) { next } else { best };
        }
        let (printed, profile) = best;
        assert!((0.95..1.000_001).contains(&share(&profile)), "{device}: {}", share(&profile));
        assert!(printed.contains("launches account for 9") || printed.contains("account for 100.0 %"), "{printed}");
        assert!(printed.contains("gradients ms"), "{printed}");

        let of = |layer: &str, kernel: &str| -> Vec<String> {
            let all = launches(&profile).iter();
            let ours = all.filter(|launch| launch["layer"] == layer && launch["kernel"] == kernel);
            ours.map(|launch| launch["pass"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(of("conv3_2", "conv2d"), ["forward"]);
        assert_eq!(of("conv3_2", "conv2d_dx"), ["dx"]);
        assert_eq!(of("conv3_2", "conv2d_dw"), ["dw"]);
        assert_eq!(of("conv3_2", "conv2d_dz"), ["db"]);
        assert_eq!(of("bn3", "batch_norm_grad"), ["dx"]);
        assert!(of("optimizer", "adam").iter().all(|pass| pass == "update"));
        assert!(launches(&profile).iter().all(|launch| launch["layer"] != ""), "a launch belongs to no layer");
        for launch in launches(&profile) {
            let time = |key: &str| launch[key].as_f64().unwrap();
            assert!(time("seconds") > 0.0 && time("seconds_min") <= time("seconds"), "{launch}");
            assert!(time("host_seconds") >= 0.0 && launch["live_bytes"].as_u64().unwrap() > 0, "{launch}");
        }
        for layer in profile["layers"].as_array().unwrap() {
            let bytes = ["live_bytes", "peak_bytes"].map(|key| layer[key].as_u64().unwrap());
            assert!(0 < bytes[0] && bytes[0] <= bytes[1], "{layer}");
            assert!(bytes[1] <= profile["peak_bytes"].as_u64().unwrap() + (1 << 20), "{layer}");
        }
        check_trace(&read(&folder.path().join("trace.json")), launches(&profile).len());
        let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
        for part in ["conv3_2", "conv2d_dw", "<svg", "Memory in use", "peak MiB"] {
            assert!(page.contains(part), "no {part} on the page");
        }
        assert_eq!(page.contains("under the roofline"), cfg!(feature = "gpu"));
        assert!(!page.contains("http://") && !page.contains("https://"), "the page needs something from elsewhere");
    }
}

/// Two tracks, each with every launch, one after the other.
fn check_trace(trace: &Value, launches: usize) {
    let events = trace["traceEvents"].as_array().unwrap();
    for track in [1, 2] {
        let complete = events.iter().filter(|event| event["ph"] == "X" && event["tid"] == track);
        let spans: Vec<[f64; 2]> =
            complete.map(|event| ["ts", "dur"].map(|key| event[key].as_f64().unwrap())).collect();
        assert_eq!(spans.len(), launches);
        for pair in spans.windows(2) {
            assert!(pair[0][1] > 0.0 || track == 1, "{pair:?}");
            assert!(pair[0][0] + pair[0][1] <= pair[1][0] + 1.0, "launches of a track overlap: {pair:?}");
        }
    }
    let named = |name: &str| events.iter().any(|event| event["ph"] == "M" && event["args"]["name"] == name);
    assert!(named("host") && named("device"));
}

/// A profile whose times are those of another one times `factor`, those of one launch or of all and the pass.
fn scaled(profile: &Value, launch: Option<usize>, factor: f64) -> Value {
    let mut scaled = profile.clone();
    let scale = |value: &mut Value| {
        for key in ["seconds", "seconds_min", "seconds_max", "seconds_median"] {
            if let Some(seconds) = value[key].as_f64() {
                value[key] = json!(factor * seconds);
            }
        }
    };
    if launch.is_none() {
        scale(&mut scaled);
    }
    let launches = scaled["launches"].as_array_mut().unwrap();
    let chosen = launches.iter_mut().enumerate().filter(|(i, _)| launch.is_none_or(|launch| launch == *i));
    chosen.for_each(|(_, launch)| scale(launch));
    scaled
}

#[test]
fn a_baseline_catches_what_has_become_slower() {
    let folder = tempfile::tempdir().unwrap();
    let line = "colournet --pass forward --size 64 --width 0.25 --q 20 --iters 5 --device cpu";
    let (_, profile) = profiled(folder.path(), line);
    let write = |profile: &Value| fs::write(folder.path().join("base.json"), profile.to_string()).unwrap();
    let against = format!("profile {line} --baseline base.json");
    // A machine that others use may be several times as slow at any moment.
    write(&scaled(&profile, None, 50.0));
    let printed = done(folder.path(), &against);
    assert!(printed.contains("base.json"), "{printed}");
    write(&scaled(&profile, None, 0.02));
    failed(folder.path(), &format!("{against} --max-regression 20"), 1, &["the pass is", "% slower", "base.json"]);
    // All as slow as can be, but for the longest launch.
    let seconds = |launch: &Value| launch["seconds"].as_f64().unwrap();
    let of = |i: usize| seconds(&launches(&profile)[i]);
    let longest = (0..launches(&profile).len()).max_by(|&a, &b| of(a).total_cmp(&of(b))).unwrap();
    write(&scaled(&scaled(&profile, None, 50.0), Some(longest), 0.001));
    let name = ["layer", "pass", "kernel"].map(|key| launches(&profile)[longest][key].as_str().unwrap());
    let said = failed(folder.path(), &against, 1, &[&name.join(" ")]);
    assert!(!said.contains("the pass is"), "{said}");

    write(&json!({ "size": 64 }));
    refused(folder.path(), &against, &["base.json", "profile"]);
    write(&profile);
    refused(folder.path(), &format!("{against} --size 32"), &["another size", "64", "32", "base.json"]);
    refused(folder.path(), &format!("{against} --max-regression -1"), &["--max-regression"]);
    refused(folder.path(), &format!("profile {line} --max-regression 5"), &["--baseline"]);
}

/// `tools/peers/beside.py`, with a peer that a shell script plays.
#[cfg(unix)]
#[test]
fn a_peer_is_set_beside_both_passes() {
    use std::os::unix::fs::PermissionsExt as _;
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("beside.py did not run: no python3");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let peer = folder.path().join("peer");
    // Its last argument is the file for its figures.
    fs::write(&peer, "#!/bin/sh\nfor last; do :; done\necho '{\"seconds_median\": 0.5}' > \"$last\"\n").unwrap();
    fs::set_permissions(&peer, fs::Permissions::from_mode(0o755)).unwrap();
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/peers/beside.py");
    let mut command = Command::new("python3");
    command.arg(beside).args(["colournet", "--peer", "burn", "--burn"]).arg(&peer);
    command.arg("--huetape").arg(env!("CARGO_BIN_EXE_huetape"));
    let output = command.args("--size 32 --width 0.1 --iters 1 --rounds 2".split(' ')).output().unwrap();
    let [printed, said] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    for pass in ["forward", "train"] {
        let row = printed.lines().find(|line| line.starts_with(pass)).unwrap_or_else(|| panic!("{printed}{said}"));
        assert!(row.contains("0.5000 s") && row.contains("MiB"), "{row}");
    }
}
