//! The texts in `kernels/` without a device: every one parses, validates, specialises, fits its host, and makes SPIR-V
//! that spirv-val accepts; and the commands about them.

mod common;

use common::binary::{huetape, huetape_with_cache, refused};
use huetape::engine::device::{Body, Device, Plan, texts, wgsl};
use huetape::workshop::catalogue;
use huetape::workshop::compare::Ratio;
use huetape::workshop::table;
use huetape::workshop::translate::{Target, translate};
use huetape::workshop::tune::{Found, Other};
use std::collections::BTreeSet;
use std::process::Command;

/// Every kernel parses, validates and specialises in every variant; all failures are reported at once.
#[test]
fn every_kernel_parses_in_every_variant_and_matches_its_host() {
    let mut failures = Vec::new();
    let mut known = Vec::new();
    for kernel in [huetape::engine::ops::kernels(), huetape::imaging::ops::kernels()].concat() {
        known.extend(texts(kernel).map(|text| text.source));
        for (text, variant) in texts(kernel).flat_map(|text| text.variants.iter().map(move |variant| (text, variant))) {
            let checked = wgsl::compose(kernel.name(), text.source, variant)
                .and_then(|text| wgsl::parse(kernel.name(), &text))
                .map(|module| check_params(kernel.name(), kernel.param_bytes(), &module));
            match checked {
                Ok(Ok(())) => {}
                Ok(Err(message)) => failures.push(message),
                Err(error) => failures.push(format!("{variant:?}: {error}")),
            }
        }
    }
    // Relative to the repository root, where cargo starts a test: so the built test runs on another machine too.
    let folder = "kernels";
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_kernel = path.extension().is_some_and(|e| e == "wgsl");
        if is_kernel && !known.contains(&std::fs::read_to_string(&path).unwrap().as_str()) {
            failures.push(format!("{} belongs to no op", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn check_params(name: &str, host_bytes: usize, module: &wgsl::Module) -> Result<(), String> {
    for entry in &module.entries {
        for binding in &entry.bindings {
            if let wgsl::BindingKind::Uniform { bytes } = binding.kind
                && bytes as usize != host_bytes
            {
                return Err(format!("{name}/{}: parameters of {bytes} bytes, {host_bytes} on the host", entry.name));
            }
        }
    }
    Ok(())
}

#[test]
fn spirv_val_accepts_every_entry_point_with_checks_and_without() {
    if Command::new("spirv-val").arg("--version").output().is_err() {
        assert!(std::env::var("HUETAPE_REQUIRE_GPU").is_err(), "spirv-val is not there: run tools/setup");
        eprintln!("SPIR-V was not judged: spirv-val is not there");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    for entry in catalogue::entries().unwrap() {
        let (_, kernel) = catalogue::kernel(&entry.kernel).unwrap();
        let text = catalogue::text_of(kernel, Some(&entry.bodies[0])).unwrap();
        for checked in [true, false] {
            let path = folder.path().join(format!("{}-{}-{checked}.spv", entry.kernel, entry.entry));
            std::fs::write(&path, translate(kernel.name(), &text, &entry.entry, Target::Spirv, checked).unwrap())
                .unwrap();
            let judged = Command::new("spirv-val").args(["--target-env", "vulkan1.1"]).arg(&path).output().unwrap();
            if !judged.status.success() {
                let said = String::from_utf8_lossy(&judged.stderr).into_owned();
                // One of before 2023's end does not know them; one of after 2025's refuses the layout that naga gives
                // to workgroup memory in any kernel.
                if text.has_matrices() && ["operand: 6022", "None-10684"].iter().any(|known| said.contains(known)) {
                    eprintln!("{} was not judged: spirv-val is too old", path.display());
                    continue;
                }
                failures.push(format!("{}/{} checked {checked}: {said}", entry.kernel, entry.entry));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn kernels_are_listed_shown_and_checked() {
    let root = tempfile::tempdir().unwrap();
    let ran = huetape(root.path(), "kernels list --json list.json");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(root.path().join("list.json")).unwrap()).unwrap();
    let entries = catalogue::entries().unwrap();
    assert_eq!(json, serde_json::json!(entries));
    for entry in &entries {
        assert!(ran.stdout.contains(&entry.kernel) && ran.stdout.contains(&entry.entry), "{}", ran.stdout);
    }

    let shown = huetape(root.path(), "kernels show conv2d");
    assert!(shown.stdout.contains("fn quads(") && shown.stdout.contains("fn linear_index("), "{}", shown.stdout);
    for (target, sign) in [("msl", "kernel void"), ("hlsl", "[numthreads(")] {
        let shown = huetape(root.path(), &format!("kernels show conv2d --entry quads --target {target}"));
        assert!(shown.code == 0 && shown.stdout.contains(sign), "{target}: {}{}", shown.stdout, shown.stderr);
    }
    // What a card runs for three channels.
    let shown = huetape(root.path(), "kernels show conv2d --shape 1x8x8x3,3x3x3x16 --target msl");
    assert!(shown.code == 0 && shown.stdout.contains("kernel void scalars"), "{}{}", shown.stdout, shown.stderr);
    let declined = "kernels show conv2d --body quads --shape 1x8x8x3,3x3x3x16";
    refused(root.path(), declined, &["--body quads", "multiples of 4"]);
    refused(root.path(), "kernels show relu --shape 1x8x8x3,3x3x3x16", &["relu", "no convolution", "conv2d_dw"]);
    assert_eq!(huetape(root.path(), "kernels show relu --target spirv --out relu.spv").code, 0);
    let words = std::fs::read(root.path().join("relu.spv")).unwrap();
    assert_eq!(words[..4], 0x0723_0203u32.to_ne_bytes(), "the magic number of SPIR-V");
    refused(root.path(), "kernels show nonesuch", &["nonesuch", "kernels list"]);
    refused(root.path(), "kernels show relu --target spirv", &["--target spirv", "--out"]);
    refused(root.path(), "kernels show conv2d --target spirv --out a.spv", &["--entry", "quads"]);
    refused(root.path(), "kernels show relu --target glsl", &["glsl", "hlsl"]);

    let checked = huetape(root.path(), "kernels check relu softmax --device cpu");
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    assert!(checked.stdout.contains("pass  relu") && checked.stdout.contains("pass  softmax"), "{}", checked.stdout);
}

#[test]
fn a_body_is_forced_and_one_that_cannot_run_is_an_error_with_its_reason() {
    let root = tempfile::tempdir().unwrap();
    let line = "profile colournet --pass forward --size 16 --width 0.125 --iters 1";
    refused(root.path(), &format!("{line} --device cpu --body conv2d=quads"), &["--body", "twins", "--device gpu"]);
    refused(root.path(), &format!("{line} --device cpu --body conv2d=quad"), &["conv2d=quad", "quads", "software"]);
    refused(root.path(), &format!("{line} --device cpu --body conv=quads"), &["conv=quads", "conv2d_dx"]);
    refused(root.path(), &format!("{line} --device cpu --body quads"), &["--body", "KERNEL=BODY"]);
    if !common::devices().iter().any(Device::is_gpu) {
        return;
    }
    let fault = std::fs::read_to_string("kernels/relu.wgsl").unwrap().replace("is_below_zero(x[i])", "x[i] < 0.1");
    std::fs::write(root.path().join("fault.wgsl"), fault).unwrap();
    let ran = huetape(root.path(), "kernels check relu --text fault.wgsl --device gpu");
    assert!(ran.code == 1 && ran.stdout.contains("FAIL  relu"), "{}{}", ran.stdout, ran.stderr);
    std::fs::write(root.path().join("broken.wgsl"), "fn main( {").unwrap();
    refused(root.path(), "kernels check relu --text broken.wgsl --device gpu", &["broken.wgsl"]);
    refused(root.path(), "kernels check --text fault.wgsl --device gpu", &["--text", "one kernel"]);

    let line = format!("{line} --device gpu --all --json profile.json");
    let bodies = |flags: &str| {
        let ran = huetape(root.path(), &format!("{line} {flags}"));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let json = std::fs::read(root.path().join("profile.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let launches = json["launches"].as_array().unwrap().clone();
        let convolutions = launches.into_iter().filter(|launch| launch["kernel"] == "conv2d");
        convolutions.map(|launch| launch["body"].as_str().unwrap().to_owned()).collect::<BTreeSet<String>>()
    };
    assert_eq!(bodies("--body conv2d=scalars"), BTreeSet::from(["scalars".to_owned()]));
    // The first layer reads one channel.
    let both = BTreeSet::from(["quads".to_owned(), "scalars".to_owned()]);
    assert_eq!(bodies("--body conv2d=quads --body conv2d=scalars"), both);
    refused(root.path(), &format!("{line} --body conv2d=quads"), &["conv2d", "quads", "multiples of 4", "1 to"]);
}

#[test]
fn a_changed_text_is_compared_with_the_kernels_own() {
    if !common::devices().iter().any(Device::is_gpu) {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let own = std::fs::read_to_string("kernels/conv2d.wgsl").unwrap();
    let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
    let line = |file: &str| format!("kernels compare conv2d {file} --pass forward --size 32 --width 0.25 --device gpu");
    // By the clock of a machine that may be busy: one of three tries must say what is so.
    let says = |file: &str, wanted: &str| {
        let said = (0..3).map(|_| huetape(root.path(), &line(file))).find(|ran| ran.stdout.ends_with(wanted));
        assert!(said.is_some_and(|ran| ran.code == 0), "{file} is never said to be: {wanted}");
    };
    write("alike.wgsl", &format!("{own}// The same.\n"));
    says("alike.wgsl", "no difference\n");

    // Each product by cosines of next to nothing, which are 1.
    let value = "select(vec4<f32>(), x4[place[i].x + quad], place[i].y != 0u)";
    let cosines = ["1e-30", "2e-30", "3e-30"].map(|small| format!(" * cos({small} * x4[place[i].x + quad])")).concat();
    let slow = own.replace(value, &format!("{value}{cosines}"));
    assert_ne!(slow, own);
    write("slow.wgsl", &slow);
    says("slow.wgsl", "slower\n");

    let wrong = own.replace("let iy = place.y + i32(ky * p.dilation);", "let iy = place.y + i32(ky);");
    write("wrong.wgsl", &wrong);
    let said = common::binary::failed(root.path(), &line("wrong.wgsl"), 1, &["does not compute what conv2d does"]);
    assert!(!said.contains("ratio"), "{said}");
    refused(root.path(), &line("none.wgsl"), &["none.wgsl"]);
}

#[test]
fn launches_are_timed_by_each_body_that_computes_right() {
    let root = tempfile::tempdir().unwrap();
    let times = |flags: &str| {
        let line = format!("kernels time conv2d --shape 1x8x8x4,3x3x4x8,stride2 --json times.json {flags}");
        let said = common::binary::done(root.path(), &line);
        assert!(said.contains("[1, 8, 8, 4] [3, 3, 4, 8] [8] -> [1, 4, 4, 8]"), "{said}");
        let json = std::fs::read(root.path().join("times.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&json).unwrap()
    };
    let is_timed = |body: &serde_json::Value| {
        let [warm, flushed] = ["warm", "flushed"].map(|caches| body[caches]["seconds"].as_f64().unwrap());
        assert!(warm > 0.0 && flushed > 0.0 && body["difference"].as_f64().unwrap() <= 1e-3, "{body}");
        // 16 pixels of 8 sums of 36 products.
        assert_eq!(body["flops"], 2.0 * 16.0 * 8.0 * 36.0);
        body["body"].as_str().unwrap().to_owned()
    };
    let on_cpu = times("--device cpu");
    // Without a ReLU and with one.
    assert_eq!(on_cpu["launches"].as_array().unwrap().len(), 2);
    assert_eq!(is_timed(&on_cpu["launches"][0]["bodies"][0]), "twin");
    refused(root.path(), "kernels time conv2d --shape 1x8x8x4,3x3x5x8 --device cpu", &["--shape", "3x3x64x128"]);
    refused(root.path(), "kernels time conv2d --body quad --device cpu", &["--body quad", "quads, scalars"]);
    let none = "kernels time adam --shape 1x8x8x4,3x3x4x8 --device cpu";
    refused(root.path(), none, &["no such launch", "adam", "--all"]);
    if !common::devices().iter().any(Device::is_gpu) {
        return;
    }
    let on_gpu = times("--device gpu --body all");
    let bodies = on_gpu["launches"][0]["bodies"].as_array().unwrap();
    const DECLINED: [&str; 5] = ["coop", "wide", "narrow", "winograd", "winograd_software"];
    let (declined, timed): (Vec<_>, Vec<_>) = bodies.iter().partition(|body| body.get("declines").is_some());
    assert!(timed.into_iter().map(is_timed).eq(["quads", "scalars", "software_quads", "software"]));
    assert!(declined.iter().map(|body| body["body"].as_str().unwrap()).eq(DECLINED), "{declined:?}");
    assert_eq!(bodies.iter().filter(|body| body["by"] == "heuristic").count(), 1);
    let named = times("--device gpu --body scalars");
    assert_eq!(named["launches"][0]["bodies"].as_array().unwrap().len(), 1);
    // A network's launches, by part of their shapes.
    let line = "kernels time conv2d --shape [8] --pass forward --size 16 --width 0.125 --device gpu --body all";
    let said = common::binary::done(root.path(), line);
    assert!(said.contains("quads declines it: channels in multiples of 4"), "{said}");
}

#[test]
fn a_table_names_the_bodies_until_it_is_forgotten_or_the_text_changes() {
    // Its own choice is known.
    let Some(gpu) = common::devices().into_iter().find(Device::is_software) else { return };
    let root = common::binary::scenes(&[48]);
    let (cache, file) = (root.path().join("cache"), root.path().join("cache/tune.json"));
    let ran = |line: &str| {
        let ran = huetape_with_cache(root.path(), &cache, line);
        assert_eq!(ran.code, 0, "`{line}`: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    };
    assert_eq!(ran("tune --list"), "nothing is kept\n");
    let said = ran("tune colournet --pass forward --size 16 --width 0.125 --device gpu:llvmpipe");
    let classes = said.lines().filter_map(|line| line.strip_prefix("conv2d ")?.split_once(": "));
    let classes: Vec<&str> = classes.map(|(class, _)| class).collect();
    assert!(!classes.is_empty() && file.exists() != said.contains("\n0 kept"), "{said}");

    let plant = |ratio: f64| {
        let found = classes.iter().map(|class| Found {
            kernel: "conv2d".to_owned(),
            class: (*class).to_owned(),
            launches: 1,
            heuristic: "software".to_owned(),
            seconds: 1e-3,
            others: [("scalars".to_owned(), Other::Timed(Ratio { median: ratio, deviation: 0.0 }))].into(),
        });
        table::keep(Some(&file), &gpu, &found.collect::<Vec<_>>()).unwrap();
    };
    plant(0.5);
    let listed = ran("tune --list");
    assert!(listed.contains("llvmpipe") && listed.contains(classes[0]) && listed.contains("0.50"), "{listed}");
    let bodies = |flags: &str| {
        let line =
            "profile colournet --pass forward --size 16 --width 0.125 --iters 1 --device gpu --json profile.json";
        ran(&format!("{line} {flags}"));
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(root.path().join("profile.json")).unwrap()).unwrap();
        let launches = json["launches"].as_array().unwrap().clone().into_iter();
        let convolutions = launches.filter(|launch| launch["kernel"] == "conv2d");
        convolutions.map(|launch| launch["body"].as_str().unwrap().to_owned()).collect::<BTreeSet<String>>()
    };
    let only = |body: &str| BTreeSet::from([body.to_owned()]);
    // The first layer reads one channel.
    let own = BTreeSet::from(["software".to_owned(), "software_quads".to_owned()]);
    assert_eq!(bodies(""), only("scalars"));
    assert_eq!(bodies("--body conv2d=software"), only("software"));
    let said = ran("doctor --device gpu");
    assert!(
        said.contains("conv2d by scalars, tuned for others: ")
            && said.contains("conv2d runs software_quads (heuristic)"),
        "{said}"
    );

    let text = std::fs::read_to_string(&file).unwrap();
    let known = text.split("\"texts\": \"").nth(1).unwrap()[..16].to_owned();
    std::fs::write(&file, text.replace(&known, "0123456789abcdef")).unwrap();
    assert_eq!(bodies(""), own);
    assert!(ran("tune --list").contains("void: the text has changed"));
    std::fs::write(&file, "{\"a\": ").unwrap();
    assert_eq!(bodies(""), own);

    plant(0.5);
    let data = "--source source --target target --bins kmeans:4";
    ran(&format!("train colournet {data} --size 16 --width 0.125 --batch 1 --steps 1 --device gpu --out run"));
    let config = std::fs::read_to_string(root.path().join("run/config.toml")).unwrap();
    assert!(config.contains("scalars (tuned)"), "{config}");
    assert!(ran("tune --forget --device gpu").ends_with(&format!("{} forgotten\n", classes.len())));
    assert_eq!(bodies(""), own);
    refused(root.path(), "tune colournet --device cpu", &["--device cpu", "twins", "--device gpu"]);
}

/// What kernels may be made of one day, and what naga's writers make of it: the table in docs/kernels.md.
#[test]
fn the_table_of_what_languages_cannot_express_is_what_the_writers_say() {
    let buffers = "@group(0) @binding(1) var<storage, read> x: array<f32>;\n\
                   @group(0) @binding(2) var<storage, read_write> y: array<f32>;\n";
    let main = |statements: &str| {
        let head = "@compute @workgroup_size(32) fn main(@builtin(local_invocation_index) i: u32)";
        format!("{buffers}{head} {{ {statements} }}\n")
    };
    let matrices = "let a = coopLoad<coop_mat8x8<f32, A>>(&x[0]); let b = coopLoad<coop_mat8x8<f32, B>>(&x[64]); \
                    let c = coopLoad<coop_mat8x8<f32, C>>(&y[0]); coopStore(coopMultiplyAdd(a, b, c), &y[0]);";
    let atomic = "@group(0) @binding(1) var<storage, read_write> y: atomic<f32>;\n\
                  @compute @workgroup_size(32) fn main() { atomicAdd(&y, 1.0); }\n";
    let made_of = [
        ("f16 (`enable f16`)", "", format!("enable f16;\n{}", main("let h = f16(x[i]); y[i] = f32(h * h);"))),
        ("subgroup operations", "", main("y[i] = subgroupAdd(x[i]);")),
        ("integers of 64 bits", "", main("y[i] = f32(u64(i) * u64(i));")),
        ("atomic addition of floats", "", atomic.to_owned()),
        (
            "cooperative matrices",
            "naga's HLSL writer has none",
            format!("enable wgpu_cooperative_matrix;\n{}", main(matrices)),
        ),
    ];
    let mut table = vec![
        "| made of | SPIR-V (Vulkan) | MSL (Metal) | HLSL (DX12) | why not |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
        "| every kernel of this crate but those for f16 | yes | yes | yes | |".to_owned(),
    ];
    for (name, why, text) in &made_of {
        let body = Body::<()>::new(text, &|_, _| Plan::default());
        let cells = [Target::Spirv, Target::Msl, Target::Hlsl].map(|target| {
            let [on, off] = [true, false].map(|checked| translate("t", &body.text, "main", target, checked));
            assert_eq!(on.is_ok(), off.is_ok(), "{name}");
            on.as_ref().map_or_else(|error| assert!(!why.is_empty(), "{name}: {error}"), |_| ());
            if on.is_ok() { "yes" } else { "no" }
        });
        table.push(format!("| {name} | {} | {why}{}|", cells.join(" | "), if why.is_empty() { "" } else { " " }));
    }
    let page = std::fs::read_to_string("docs/kernels.md").unwrap();
    assert!(page.contains(&table.join("\n")), "docs/kernels.md lacks this table:\n{}", table.join("\n"));
}
