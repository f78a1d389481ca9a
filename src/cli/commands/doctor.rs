//! `huetape doctor`: what is there to compute with, and whether it computes right.

use crate::cli::args::device::DeviceArgs;
use crate::cli::names::flag;
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{JSON, make_way_for_json, write_json};
use crate::engine::device::{AdapterReport, Device, DeviceChoice, adapters, human_bytes};
#[cfg(feature = "gpu")]
use crate::engine::self_test::self_test_of;
use crate::engine::self_test::{SelfTest, self_test, tolerance};
use crate::error::Error;
use crate::{engine, imaging};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape doctor
  huetape doctor --list
  huetape doctor --device cpu --json -
  huetape doctor --device gpu:llvmpipe")]
pub struct DoctorArgs {
    /// List what there is, by the numbers that --device gpu:NUMBER takes, and test nothing
    #[arg(long)]
    list: bool,
    /// What is printed as JSON; - for standard output
    #[arg(long, value_name = "FILE", hide = !JSON)]
    json: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

impl DoctorArgs {
    /// The files that it writes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.json.iter().map(PathBuf::as_path)
    }
}

pub fn run(args: DoctorArgs) -> Outcome {
    make_way_for_json(args.json.as_deref())?;
    let mut tested = Vec::new();
    let (adapters, verdict) = look(&args, &mut tested)?;
    write_json(args.json.as_deref(), || {
        let adapters: Vec<Value> = adapters.iter().map(adapter_json).collect();
        let tested: Vec<Value> = tested.iter().map(tested_json).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"), "arch": std::env::consts::ARCH, "os": std::env::consts::OS,
            "cores": cores(), "simd": simd_features(), "adapters": adapters, "tests": tested,
        })
    })?;
    verdict
}

/// Prints what there is and tests it; the adapters that were asked for, and what came of it.
fn look(args: &DoctorArgs, tested: &mut Vec<Tested>) -> anyhow::Result<(Vec<AdapterReport>, Outcome)> {
    if args.list {
        let adapters = adapters();
        print_cpu();
        print_adapters(&adapters);
        advise(&adapters);
        return Ok((adapters, Ok(())));
    }
    if args.device.device().is_some() {
        let device = args.device.open()?;
        print_cpu();
        // With --device cpu no driver is asked: that must work where one is broken.
        let adapters = if device.is_gpu() { adapters() } else { Vec::new() };
        if device.is_gpu() {
            print_adapters(&adapters);
        }
        let failed = check(&device, tested);
        return Ok((adapters, verdict(if failed > 0 { vec![device.name()] } else { Vec::new() })));
    }
    let adapters = adapters();
    print_cpu();
    print_adapters(&adapters);
    let mut choices = vec![DeviceChoice::Cpu];
    choices.extend((0..adapters.len()).map(|number| DeviceChoice::Named(number.to_string())));
    let mut bad = Vec::new();
    for choice in choices {
        match args.device.open_choice(&choice) {
            Ok(device) if check(&device, tested) > 0 => bad.push(device.name()),
            Ok(_) => {}
            Err(error) => {
                outln!("\nself-test did not start: {}", error.line(flag));
                bad.push(match choice {
                    DeviceChoice::Named(number) => format!("adapter {number}"),
                    _ => "cpu".to_owned(),
                });
            }
        }
    }
    advise(&adapters);
    Ok((adapters, verdict(bad)))
}

fn verdict(bad: Vec<String>) -> Outcome {
    if bad.is_empty() {
        return Ok(());
    }
    let remedy = "update its driver, or compute elsewhere with --device";
    Err(Error::failed("a device does not compute right", bad.join(", "), remedy).into())
}

fn print_cpu() {
    outln!("huetape {} on {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS);
    let cores = cores();
    let simd = simd_features();
    let simd = if simd.is_empty() { "no SIMD that huetape knows of".to_owned() } else { simd.join(" ") };
    outln!("\ncpu: {cores} {}, {simd}", if cores == 1 { "core" } else { "cores" });
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// An adapter as JSON has it.
fn adapter_json(adapter: &AdapterReport) -> Value {
    json!({
        "name": adapter.name, "backend": adapter.backend, "kind": adapter.kind, "driver": adapter.driver,
        "software": adapter.software, "note": adapter.note, "max_binding_bytes": adapter.max_binding_bytes,
        "workgroup_bytes": adapter.workgroup_bytes, "features": adapter.features,
    })
}

/// The self-test of a device, by the device's name.
type Tested = (String, Vec<SelfTest>);

fn tested_json((device, tests): &Tested) -> Value {
    let op = |test: &SelfTest| {
        let error = test.difference.as_ref().err().map(|error| error.line(flag));
        json!({
            "op": test.op, "difference": test.difference.as_ref().ok(), "error": error, "passed": test.passed(),
        })
    };
    json!({ "device": device, "ops": tests.iter().map(op).collect::<Vec<_>>() })
}

/// The instruction sets that the twins' matrix products choose among, as this processor has them.
fn simd_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("avx", std::is_x86_feature_detected!("avx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(target_arch = "aarch64")]
    let known = [("neon", std::arch::is_aarch64_feature_detected!("neon"))];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let known: [(&'static str, bool); 0] = [];
    known.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

fn print_adapters(adapters: &[AdapterReport]) {
    if adapters.is_empty() {
        outln!("\nno GPU adapter: no Vulkan, Metal or DX12 driver answers");
    }
    for (number, adapter) in adapters.iter().enumerate() {
        outln!("\nadapter {number}: {}", adapter.name);
        outln!("  {} {}, driver {}", adapter.backend, adapter.kind, adapter.driver);
        outln!(
            "  limits: {} a binding, {} of workgroup memory",
            human_bytes(adapter.max_binding_bytes),
            human_bytes(u64::from(adapter.workgroup_bytes))
        );
        if let Some(note) = adapter.note {
            outln!("  note: an adapter {note}");
        }
        if !adapter.features.is_empty() {
            outln!("  features in use: {}", adapter.features.join(", "));
        }
    }
}

/// Prints the self-test of a device, and adds it to `tested`; the number of ops that failed.
fn check(device: &Device, tested: &mut Vec<Tested>) -> usize {
    outln!("\nself-test on {}", device.name());
    if device.is_gpu() {
        outln!(
            "  each op beside its CPU twin: largest difference, as a share of the largest value; at most \
             {:.0e}",
            tolerance(device)
        );
    } else {
        outln!("  only the CPU twins are run here, twice: both runs must give the same bits");
    }
    let tests = self_test(device, &[engine::ops::OPS, imaging::ops::OPS].concat());
    let width = tests.iter().map(|test| test.op.len()).max().unwrap_or(0);
    for test in &tests {
        let word = if test.passed() { "pass" } else { "FAIL" };
        match &test.difference {
            Ok(difference) => {
                outln!("  {:<width$}  {difference:>8.1e}  {word}", test.op)
            }
            Err(error) => outln!("  {:<width$}  {word}: {}", test.op, error.line(flag)),
        }
    }
    let failed = tests.iter().filter(|test| !test.passed()).count();
    outln!("  {} of {} passed", tests.len() - failed, tests.len());
    #[cfg(feature = "gpu")]
    let failed = failed + check_bodies(device, &tests);
    tested.push((device.name(), tests));
    failed
}

/// Prints which bodies the launches took where there is a choice, and why, and tests those that were measured to be the
/// fastest for other launches; how many failed.
#[cfg(feature = "gpu")]
fn check_bodies(device: &Device, tests: &[SelfTest]) -> usize {
    use crate::engine::device::Forced;
    use crate::workshop::check::{bodies_beside, first};
    let mut ran: Vec<(String, Vec<String>)> = Vec::new();
    for run in device.bodies_run() {
        let body = format!("{} ({})", run.body, run.by.name());
        match ran.last_mut().filter(|(kernel, _)| *kernel == run.kernel) {
            Some((_, bodies)) => bodies.push(body),
            None => ran.push((run.kernel, vec![body])),
        }
    }
    for (kernel, bodies) in &ran {
        outln!("  {kernel} runs {}", bodies.join(", "));
    }
    let mut failed = 0;
    for (body, ops) in bodies_beside(device) {
        device.force_bodies(first(&body));
        for op in ops.iter().filter(|op| tests.iter().any(|test| test.op == op.name)) {
            let test = self_test_of(device, op);
            let said = match &test.difference {
                Ok(difference) => format!("{difference:.1e}"),
                Err(error) => error.line(flag),
            };
            outln!(
                "  {} by {body}, tuned for others: {said}  {}",
                op.name,
                if test.passed() { "pass" } else { "FAIL" }
            );
            failed += usize::from(!test.passed());
        }
    }
    device.force_bodies(Forced::default());
    failed
}

/// What to install or set where a real GPU is not to be used as things stand.
fn advise(adapters: &[AdapterReport]) {
    if adapters.iter().any(|adapter| !adapter.software) {
        outln!("\n--device auto takes: {}", adapters[0].name);
        return;
    }
    outln!("\n--device auto takes: cpu");
    outln!("to use a GPU, install its driver:");
    if cfg!(target_os = "linux") {
        outln!("  AMD, Intel (Debian, Ubuntu): apt-get install libvulkan1 mesa-vulkan-drivers");
        outln!("  NVIDIA: the vendor's driver with its Vulkan part, and apt-get install libvulkan1");
        outln!("  in a container: give it the device (/dev/dri, or NVIDIA_DRIVER_CAPABILITIES=graphics,compute)");
    } else if cfg!(target_os = "windows") {
        outln!("  the vendor's current driver, which brings DX12 and Vulkan");
    } else {
        outln!("  macOS brings Metal with the system; elsewhere, a Vulkan driver");
    }
    if adapters.is_empty() && cfg!(target_os = "linux") {
        outln!("  none there, but kernels to be tested: mesa-vulkan-drivers has llvmpipe, for --device gpu:llvmpipe");
    }
}
