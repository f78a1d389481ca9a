//! `huetape tune`: which bodies of kernels are the fastest on a device.
//!
//! What is kept holds until the adapter, the driver or a kernel's text changes.

use crate::cli::args::device::{self, DeviceArgs};
use crate::cli::args::help::examples;
use crate::cli::args::network::{Network, NetworkArgs, networks};
use crate::cli::commands::kernels::pass::of_network;
use crate::cli::commands::profile::PassName;
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{JSON, make_way_for_json, write_json};
use crate::cli::tables::print_rows;
use crate::engine::device::{Forced, Tuned};
use crate::error::{Error, ErrorKind};
use crate::networks::NETWORKS;
use crate::workshop::table::{self, Line};
use crate::workshop::tune::{Found, Other, confirm, measure};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = examples(&[
    "tune",
    "tune {network} ⟨size⟩ 64 ⟨width⟩ 0.25 ⟨device⟩ gpu",
    "tune ⟨list⟩",
    "tune ⟨forget⟩",
]))]
pub struct TuneArgs {
    /// Network whose launches are measured [default: all]
    #[arg(value_name = "MODEL", value_parser = networks())]
    model: Option<Network>,
    /// Which pass
    #[arg(long, value_name = "PASS", default_value = "train")]
    pass: PassName,
    /// Pictures a batch
    #[arg(long, value_name = "B", default_value_t = 1)]
    batch: usize,
    #[command(flatten)]
    network: NetworkArgs,
    /// List what is kept, of all adapters
    #[arg(long, conflicts_with_all = ["model", "forget"])]
    list: bool,
    /// Forget what is kept of the adapter that --device names, else of all
    #[arg(long, conflicts_with = "model")]
    forget: bool,
    /// What is printed as JSON; - for standard output
    #[arg(long, value_name = "FILE", hide = !JSON, conflicts_with = "forget")]
    json: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

impl TuneArgs {
    /// Whether it prints and does nothing else.
    pub fn prints_only(&self) -> bool {
        self.list && self.json.is_none()
    }
}

pub fn run(args: &TuneArgs) -> Outcome {
    make_way_for_json(args.json.as_deref())?;
    let file = table::file();
    let file = file.as_deref();
    if args.list {
        let lines = table::lines(file);
        list(&lines);
        return Ok(write_json(args.json.as_deref(), || lines.iter().map(line_json).collect())?);
    }
    if args.forget {
        let device = args.device.device().map(|_| args.device.open()).transpose()?;
        outln!("{} forgotten", table::forget(file, device.as_ref())?);
        return Ok(());
    }
    let device = args.device.open()?;
    let remedy = "use ⟨device⟩ gpu, or gpu:llvmpipe";
    let twins =
        || Error::input("the CPU runs the twins of kernels, there is nothing to choose", "⟨device⟩ cpu", remedy);
    crate::ensure!(device.is_gpu(), twins().of(ErrorKind::Device).into());
    // Beside what it would choose by itself.
    device.force_bodies(Forced::default());
    device.use_tuned(Tuned::default());
    outln!("{}", device::line(&device));
    let models: Vec<Network> = args.model.map_or_else(|| NETWORKS.to_vec(), |model| vec![model]);
    let (mut wins, mut wrong, mut figures) = (0, Vec::new(), Vec::new());
    for model in models {
        let pass = (args.pass, args.batch);
        let found = of_network(&device, &args.network, model, pass, |pass| {
            let mut found = measure(&device, pass)?;
            confirm(&device, pass, &mut found).map(|()| found)
        })?;
        outln!("\n{}: each body beside the device's own choice, by time", model.name());
        found.iter().for_each(print);
        figures.extend(found.iter().map(|found| found_json(model.name(), found)));
        wins += found.iter().filter(|found| found.winner().is_some()).count();
        let off = found.iter().flat_map(|found| found.others.iter().map(move |other| (found, other)));
        let off = off.filter(|(_, (_, other))| matches!(other, Other::Wrong(_)));
        wrong.extend(off.map(|(found, (body, _))| format!("{}={body}", found.kernel)));
        // Model by model: what was measured stays if somebody ends the next.
        table::keep(file, &device, &found)?;
    }
    let place = file.map(|file| file.display().to_string()).unwrap_or_default();
    outln!("\n{wins} kept in {place}: bodies that take less time, by more than 5 % and the noise");
    write_json(args.json.as_deref(), || json!({ "device": device.name(), "launches": figures }))?;
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.sort();
    wrong.dedup();
    let remedy = "`huetape doctor` and `huetape kernels check` say more";
    Err(Error::failed("bodies do not compute what their twins do", wrong.join(", "), remedy).into())
}

/// What was found of a launch as JSON has it: times beside that of the device's own choice.
fn found_json(model: &str, found: &Found) -> Value {
    let other = |(body, other): (&String, &Other)| {
        let (what, time) = match other {
            Other::Declines(_) => ("declines", None),
            Other::Wrong(_) => ("wrong", None),
            Other::Slower(ratio) => ("slower", Some(*ratio)),
            Other::Unconfirmed(ratio) => ("unconfirmed", Some(ratio.median)),
            Other::Timed(ratio) => ("timed", Some(ratio.median)),
        };
        json!({ "body": body, "what": what, "time": time })
    };
    json!({
        "model": model, "kernel": found.kernel, "launches_like": found.class, "own_choice": found.heuristic,
        "others": found.others.iter().map(other).collect::<Vec<_>>(),
        "kept": found.winner().map(|(body, _)| body.to_owned()),
    })
}

fn line_json(line: &Line) -> Value {
    let Line { device, kernel, class, winner, holds, .. } = line;
    json!({
        "device": device, "kernel": kernel, "launches_like": class, "body": winner.body,
        "instead_of": winner.instead_of, "time": winner.ratio, "holds": holds,
    })
}

fn print(found: &Found) {
    let other = |(body, other): (&String, &Other)| match other {
        Other::Declines(_) => format!("{body} declines"),
        Other::Wrong(off) => format!("{body} is WRONG by {off:.1e}"),
        Other::Slower(ratio) => format!("{body} {ratio:.1}"),
        Other::Unconfirmed(ratio) => format!("{body} is faster, but passes with it take {:.2}", ratio.median),
        Other::Timed(ratio) => format!("{body} {:.2} +- {:.2}", ratio.median, ratio.deviation),
    };
    let others: Vec<String> = found.others.iter().map(other).collect();
    let winner = found.winner().map_or_else(String::new, |(body, _)| format!("; {body} is kept"));
    outln!("{} {}: {} 1; {}{winner}", found.kernel, found.class, found.heuristic, others.join(", "));
}

fn list(lines: &[Line]) {
    let mut device = "";
    for line in lines {
        if line.device != device {
            outln!("{}{}", if device.is_empty() { "" } else { "\n" }, line.device);
            device = &line.device;
            let of = lines.iter().filter(|other| other.device == line.device);
            let heads = ["  kernel", "launches like", "body", "instead of", "time", ""].map(str::to_owned);
            let row = |line: &Line| {
                let (winner, void) = (&line.winner, if line.holds { "" } else { "void: the text has changed" });
                let (body, instead) = (winner.body.clone(), winner.instead_of.clone());
                let kernel = format!("  {}", line.kernel);
                [kernel, line.class.clone(), body, instead, format!("{:.2}", winner.ratio), void.to_owned()]
            };
            print_rows(&heads, of.map(row), 4);
        }
    }
    if lines.is_empty() {
        outln!("nothing is kept");
    }
}
