//! Kernels compiled for AMD GPUs that are not there: none spills, none falls in subgroups below benches/isa.json.
#![cfg(feature = "gpu")]

mod common;

use assert_cmd::Command;
use common::binary::Ran;
use huetape::workshop::isa::figures::Baseline;
use std::fs;
use std::path::Path;

/// The GPUs that benches/isa.json has.
const GPUS: [&str; 2] = ["navi21", "gfx1100"];

/// Runs `huetape kernels isa` at the root of the repository, where cargo starts a test, with the driver's own settings.
fn isa(line: &str) -> Ran {
    isa_with(line, &[])
}

fn isa_with(line: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::cargo_bin("huetape").unwrap();
    for changes_code in ["RADV_DEBUG", "RADV_PERFTEST", "ACO_DEBUG", "XDG_RUNTIME_DIR"] {
        command.env_remove(changes_code);
    }
    let output =
        command.envs(variables.iter().copied()).args(["kernels", "isa"]).args(line.split_whitespace()).output();
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Whether Mesa's driver for AMD GPUs is here; where GPUs are required it must be.
fn compiles() -> bool {
    let ran = isa("relu --gpu navi21");
    let missing = ran.code == 2 && ran.stderr.contains("apt-get install");
    if missing {
        assert!(std::env::var("HUETAPE_REQUIRE_GPU").is_err(), "run tools/setup: {}", ran.stderr);
        eprintln!("nothing was compiled for AMD GPUs: {}", ran.stderr);
    }
    !missing
}

/// The one line of an error, which must end with this code.
fn refused(ran: &Ran, code: i32) -> &str {
    assert_eq!((ran.code, ran.stderr.lines().count()), (code, 1), "{}{}", ran.stdout, ran.stderr);
    &ran.stderr
}

#[test]
fn no_kernel_spills_or_falls_in_subgroups() {
    if !compiles() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let json = root.path().join("now.json");
    let ran = isa(&format!("--gpu {} --baseline benches/isa.json --json {}", GPUS.join(","), json.display()));
    let worse: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("worse: ")).collect();
    assert_eq!(ran.code, 0, "tools/isa-figures keeps new figures\n{}\n{}", worse.join("\n"), ran.stderr);
    let (before, now) = (Baseline::read(Path::new("benches/isa.json")).unwrap(), Baseline::read(&json).unwrap());
    for figures in &before.figures {
        let there = now.find(figures).is_some();
        assert!(there, "{} is no more: run tools/isa-figures", figures.name());
    }
    for gpu in GPUS {
        let main = now.figures.iter().find(|known| known.gpu == gpu && known.entry == "quads").unwrap();
        // A tile of 64 x 64 by 128 invocations and a slice of 16: 16 x 4096 / 128 multiplications each.
        assert_eq!(main.main_loop.unwrap().fma, 512, "{main:?}");
    }
}

#[test]
fn sizes_that_are_known_leave_less_to_run() {
    if !compiles() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let of = |line: &str| {
        let json = root.path().join("figures.json");
        assert_eq!(isa(&format!("{line} --body quads --gpu gfx1100 --json {}", json.display())).code, 0, "{line}");
        Baseline::read(&json).unwrap().figures.into_iter().find(|figures| figures.entry == "quads").unwrap()
    };
    for (kernel, most) in [("conv2d", 0.9), ("conv2d_dx", 0.7), ("conv2d_dw", 0.9)] {
        let any = of(kernel);
        let known = of(&format!("{kernel} --shape 1x32x32x64,3x3x64x128"));
        let share = known.instructions as f64 / any.instructions as f64;
        assert!(share < most, "{kernel}: {} of {} instructions", known.instructions, any.instructions);
        assert_eq!(known.main_loop.unwrap().fma, any.main_loop.unwrap().fma, "{kernel}");
    }
}

/// conv2d's text with something planted into its entry point `quads`, judged by benches/isa.json.
fn planted(declared: &str, before_the_sum: &str, after_the_sum: &str) -> Ran {
    let text = fs::read_to_string("kernels/conv2d.wgsl").unwrap();
    let sum = "    var sum: array<vec4<f32>, 8>;\n    for (var done = job.begin;";
    let entry = "@compute @workgroup_size(128)\nfn quads(";
    assert!(text.contains(sum) && text.contains(entry), "where is it planted now?");
    let changed = sum.replace("    for", &format!("{after_the_sum}\n    for"));
    let text = text.replacen(sum, &format!("{before_the_sum}\n{changed}"), 1);
    let text = text.replacen(entry, &format!("{declared}\n{entry}"), 1);
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("changed.wgsl");
    fs::write(&path, text).unwrap();
    isa(&format!("conv2d --body quads --gpu navi21,gfx1100 --baseline benches/isa.json --text {}", path.display()))
}

#[test]
fn a_kernel_that_is_made_to_spill_is_caught() {
    if !compiles() {
        return;
    }
    let ran = planted(
        "",
        "    var kept: array<vec4<f32>, 64>;\n    kept[p.c % 64u] = vec4<f32>(1.0);",
        "    sum[0] = kept[p.o % 64u];",
    );
    assert!(refused(&ran, 1).contains("benches/isa.json"), "{}", ran.stderr);
    for gpu in GPUS {
        assert!(ran.stdout.contains(&format!("worse: conv2d/quads for {gpu} spills: ")), "{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("worse: conv2d/scalars"), "{}", ran.stdout);
}

#[test]
fn a_kernel_that_leaves_room_for_fewer_subgroups_is_caught() {
    if !compiles() {
        return;
    }
    let ran = planted(
        "var<workgroup> idle: array<f32, 6000>;\n",
        "    idle[local * p.c % 6000u] = 1.0;\n    workgroupBarrier();",
        "    sum[0].x = idle[local * p.o % 6000u];",
    );
    refused(&ran, 1);
    for gpu in GPUS {
        assert!(ran.stdout.contains(&format!("worse: conv2d/quads for {gpu} falls from ")), "{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("worse: conv2d/scalars"), "{}", ran.stdout);
}

#[test]
fn the_machines_code_is_written_and_one_body_is_enough() {
    if !compiles() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let asm = root.path().join("quads.txt");
    let ran = isa(&format!("conv2d --body quads --gpu navi21 --json - --asm {}", asm.display()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let [figures, total] = &json["figures"].as_array().unwrap()[..] else { panic!("two entry points: {json}") };
    assert_eq!((&figures["entry"], &total["entry"]), (&"quads".into(), &"total".into()));
    assert_eq!((&figures["body"], &figures["subgroup_size"]), (&"quads".into(), &64.into()));
    // The depth of these sizes is not cut: nothing is added up.
    let shaped = isa("conv2d --shape 16x64x64x64,3x3x64x128 --gpu navi21 --json -");
    let shaped: serde_json::Value = serde_json::from_str(&shaped.stdout).unwrap();
    let [shaped] = &shaped["figures"].as_array().unwrap()[..] else { panic!("one entry point: {shaped}") };
    assert_eq!((&shaped["entry"], &shaped["lds_bytes"]), (&figures["entry"], &figures["lds_bytes"]));
    let asm = fs::read_to_string(asm).unwrap();
    assert!(asm.starts_with("; conv2d/quads for navi21 by Mesa ") && asm.contains("s_endpgm"), "{asm}");
    let quads = asm.split("\n; conv2d/quads/total").next().unwrap();
    assert_eq!(quads.matches("v_fma").count() as u64, figures["main_loop"]["fma"].as_u64().unwrap());
}

#[test]
fn what_cannot_be_compiled_is_one_line() {
    if !compiles() {
        return;
    }
    let unknown = isa("relu --gpu navi21,nonesuch");
    assert!(refused(&unknown, 2).contains("--gpu nonesuch: use one of ") && unknown.stderr.contains("gfx1100"));
    assert!(refused(&isa("conv2d_dy --gpu navi21"), 2).contains("conv2d_dx"));
    let wrong = isa("conv2d --body quad --gpu navi21");
    assert!(
        refused(&wrong, 2).contains("--body quad: use one of coop, wide, narrow, quads, scalars"),
        "{}",
        wrong.stderr
    );
    assert!(refused(&isa("--text kernels/relu.wgsl --gpu navi21"), 2).contains("--text"));
    assert!(refused(&isa("relu --text kernels/nonesuch.wgsl --gpu navi21"), 2).contains("kernels/nonesuch.wgsl"));
    assert!(refused(&isa("relu --baseline Cargo.toml --gpu navi21"), 2).contains("Cargo.toml"));
    assert!(refused(&isa("--shape 1x8x8x4,3x3x4x8 --gpu navi21"), 2).contains("--shape"));
    refused(&isa("relu"), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn where_the_driver_is_missing_a_line_says_what_to_install() {
    let nowhere = ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"].map(|name| (name, "/nonexistent.json"));
    let ran = isa_with("relu --gpu navi21", &nowhere);
    assert!(refused(&ran, 2).contains("apt-get install libvulkan1 mesa-vulkan-drivers"), "{}", ran.stderr);
}
