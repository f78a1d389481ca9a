//! `huetape kernels check`.

use crate::cli::args::device::{self, DeviceArgs};
use crate::cli::names::flag;
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{JSON, make_way_for_json, write_json};
use crate::engine::self_test::{OpEntry, SelfTest, tolerance};
use crate::error::Error;
use crate::workshop::catalogue::{kernel, ops, text_of};
use crate::workshop::check::{Run, check, read_text, replace};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape kernels check
  huetape kernels check conv2d --device gpu:llvmpipe
  huetape kernels check conv2d --text my_conv2d.wgsl --device gpu")]
pub struct CheckArgs {
    /// Kernels whose ops are checked [default: all]
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Check this WGSL text in place of the kernel's own, which must be one: kernels/KERNEL.wgsl with your changes
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// What is printed as JSON; - for standard output
    #[arg(long, value_name = "FILE", hide = !JSON)]
    pub(super) json: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: &CheckArgs) -> Outcome {
    make_way_for_json(args.json.as_deref())?;
    let mut wanted: Vec<&'static OpEntry> = Vec::new();
    for name in &args.kernels {
        let (op, _) = kernel(name)?;
        if !wanted.iter().any(|known| known.name == op.name) {
            wanted.push(op);
        }
    }
    if wanted.is_empty() {
        wanted.extend(ops());
    }
    let device = args.device.open()?;
    if let Some(path) = &args.text {
        let [name] = &args.kernels[..] else {
            let remedy = "name one kernel before it";
            return Err(Error::input("a text is of one kernel", "⟨text⟩", remedy).into());
        };
        let remedy = "use ⟨device⟩ gpu, or gpu:llvmpipe";
        crate::ensure!(device.is_gpu(), Error::input("the CPU runs no text", "⟨text⟩", remedy).into());
        let (_, kernel) = kernel(name)?;
        replace(&device, kernel, text_of(kernel, None)?.body, &read_text(name, path)?);
    }
    outln!("{}", device::line(&device));
    if device.is_gpu() {
        let most = tolerance(&device);
        outln!("each op beside its twin: largest difference, as a share of the largest value; at most {most:.0e}");
    }
    let width = wanted.iter().map(|op| op.name.len()).max().unwrap_or(0);
    let (mut failed, mut figures) = (Vec::new(), Vec::new());
    for op in &wanted {
        let checked = check(&device, op);
        let said = |test: &SelfTest| match &test.difference {
            Ok(difference) => format!("{difference:.1e}"),
            Err(error) => error.line(flag),
        };
        let run = |run: &Run| {
            let body = run.body.as_ref().map(|body| format!("{body}: ")).unwrap_or_default();
            match &run.without {
                Some(without) => format!("{body}checks on {}, off {}", said(&run.with_checks), said(without)),
                None => format!("twins {}", said(&run.with_checks)),
            }
        };
        let runs = checked.runs.iter().map(run).collect::<Vec<_>>().join("; ");
        let word = if checked.passed() { "pass" } else { "FAIL" };
        outln!("{word}  {:<width$}  {} entry points in 4 languages; {runs}", checked.op, checked.entries);
        for overrun in checked.runs.iter().flat_map(|run| &run.overruns) {
            outln!("      {overrun}");
        }
        checked.refused.iter().for_each(|error| outln!("      {}", error.line(flag)));
        let test = |test: &SelfTest| match &test.difference {
            Ok(difference) => json!({ "difference": difference, "passed": test.passed() }),
            Err(error) => json!({ "error": error.line(flag), "passed": false }),
        };
        let run = |run: &Run| {
            json!({
                "body": run.body, "with_checks": test(&run.with_checks),
                "without_checks": run.without.as_ref().map(test), "overruns": run.overruns.len(),
            })
        };
        figures.push(json!({
            "op": checked.op, "entry_points": checked.entries, "passed": checked.passed(),
            "runs": checked.runs.iter().map(run).collect::<Vec<_>>(), "refused": checked.refused.len(),
        }));
        if !checked.passed() {
            failed.push(checked.op);
        }
    }
    write_json(args.json.as_deref(), || json!({ "device": device.name(), "ops": figures }))?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::failed("kernels do not pass", failed.join(", "), "see the lines above").into())
}
