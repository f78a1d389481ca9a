//! `huetape profile`: how long a pass takes, which launches it spends that time on, and how near the device's best they
//! come.

use crate::cli::args::device::DeviceArgs;
use crate::cli::args::help::examples;
use crate::cli::args::network::{Network, NetworkArgs, networks};
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{make_way, write_result};
use crate::engine::device::{Device, HostWork, LaunchTime, Roofline, human_bytes};
use crate::error::{Error, Result};
use crate::train::workload::{Measurement, Pass, WorkloadConfig, measure};
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Launches that are listed without `--all`.
const LISTED: usize = 15;

/// Which pass.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassName {
    /// A classifier up to the probabilities of the bins, at the size of its logits; a generator up to the picture
    Forward,
    /// A whole update, of a GAN's both networks: targets, forward passes, losses, gradients, optimisers
    Train,
}

#[derive(Args, Debug)]
#[command(after_help = examples(&[
    "profile {network} ⟨pass⟩ forward ⟨size⟩ 256 ⟨device⟩ cpu",
    "profile {network} ⟨pass⟩ train ⟨batch⟩ 8 ⟨iters⟩ 20 ⟨json⟩ step.json",
    "profile {network} ⟨pass⟩ train ⟨width⟩ 0.25",
]))]
pub struct ProfileArgs {
    /// Which network
    #[arg(value_parser = networks())]
    model: Network,
    /// What is timed
    #[arg(long, value_name = "PASS")]
    pass: PassName,
    /// Pictures a batch
    #[arg(long, value_name = "B", default_value_t = 1)]
    batch: usize,
    /// Passes that are timed, after two that are not
    #[arg(long, value_name = "N", default_value_t = 10)]
    iters: u64,
    #[command(flatten)]
    network: NetworkArgs,
    /// Write the figures as JSON as well; - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// List every launch, not the longest 15 alone
    #[arg(long)]
    all: bool,
    /// Measure what the device can do at best anew; else what was measured before holds
    #[cfg(feature = "gpu")]
    #[arg(long)]
    roofline: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

impl ProfileArgs {
    /// The files that it writes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.json.iter().map(PathBuf::as_path)
    }
}

pub fn run(args: ProfileArgs) -> Outcome {
    make_way(args.files())?;
    crate::ensure!(args.iters > 0, Error::input("must be at least 1", "--iters 0", "use 1 or more").into());
    crate::ensure!(args.batch > 0, Error::input("must be at least 1", "--batch 0", "use 1 or more").into());
    let (size, bins) = (args.network.size(args.model)?, args.network.bins(args.model)?);
    let device = args.device.open()?;
    let pass = args.pass.pass();
    let &ProfileArgs { model, batch, iters, .. } = &args;
    let mut learner = args.network.learner(model, &device, None, pass == Pass::Train)?;
    let measurement = measure(learner.as_mut(), &WorkloadConfig { pass, size, batch, halo: model.halo() }, iters)?;
    let roofline = roofline_of(&args, &device)?;
    let (least, most) = extremes(&measurement);
    let width = args.network.width().unwrap_or(1.0);
    outln!("{} {} pass on {}", model.name(), args.pass.name(), device.name());
    let of_bins = bins.map(|bins| format!(", {bins} bins")).unwrap_or_default();
    outln!("{size}x{size}, batch {batch}, width {width}{of_bins}, {iters} passes after 2 of warm-up");
    outln!("time: median {} ms ({} to {} ms)", ms(measurement.median_seconds()), ms(least), ms(most));
    outln!("memory: {} at most", human_bytes(measurement.peak_bytes));
    if device.is_gpu() {
        let HostWork { launches, dispatches, passes, submissions, reads, uploaded_bytes, seconds } = measurement.host;
        outln!(
            "host: {} ms to record {launches} launches, {dispatches} dispatches in {passes} compute passes and \
             {submissions} submissions; {reads} reads, {} uploaded",
            ms(seconds),
            human_bytes(uploaded_bytes)
        );
        outln!("\nBelow, each launch was waited for: its submission, some tens of microseconds, is in every figure.");
    }
    print_kernels(&measurement.launches);
    print_launches(&measurement.launches, if args.all { usize::MAX } else { LISTED }, roofline.as_ref());
    if let Some(path) = &args.json {
        write_json(path, &args, [Some(size), bins], &device.name(), &measurement, roofline.as_ref())?;
    }
    Ok(())
}

/// What the device can do at best, and a line about it; `None` where there is no memory to measure it with.
#[cfg(feature = "gpu")]
fn roofline_of(args: &ProfileArgs, device: &Device) -> Result<Option<Roofline>> {
    use crate::error::ErrorKind;
    use crate::workshop::roofline::{Source, roofline};
    let (roof, source) = match roofline(device, args.roofline) {
        Err(error) if error.kind() == ErrorKind::Memory => {
            outln!("roofline: there is no memory to measure it with");
            return Ok(None);
        }
        found => found?,
    };
    let Roofline { gflops, gbs, launch_us, .. } = roof;
    let from = match source {
        Source::Kept(file) => format!("kept in {} (--roofline measures anew)", file.display()),
        Source::Measured(file) => format!("measured now, kept in {}", file.display()),
        Source::NotKept => "measured now; there is no file to keep it in".to_owned(),
    };
    outln!("roofline: {gflops:.1} GFLOP/s, {gbs:.1} GB/s, {launch_us:.1} microseconds a launch; {from}");
    Ok(Some(roof))
}

/// A program without GPUs measures none.
#[cfg(not(feature = "gpu"))]
fn roofline_of(_: &ProfileArgs, _: &Device) -> Result<Option<Roofline>> {
    Ok(None)
}

impl PassName {
    /// What is timed.
    pub fn pass(self) -> Pass {
        match self {
            PassName::Forward => Pass::Forward,
            PassName::Train => Pass::Train,
        }
    }

    fn name(self) -> &'static str {
        match self {
            PassName::Forward => "forward",
            PassName::Train => "train",
        }
    }
}

fn ms(seconds: f64) -> String {
    format!("{:.3}", 1e3 * seconds)
}

/// The shortest and the longest pass, in seconds.
fn extremes(measurement: &Measurement) -> (f64, f64) {
    let of = |seconds: Option<&f64>| seconds.copied().unwrap_or(f64::NAN);
    (of(measurement.seconds.first()), of(measurement.seconds.last()))
}

/// Launches and seconds by kernel, the longest first.
fn by_kernel(launches: &[LaunchTime]) -> Vec<(&str, usize, f64)> {
    let mut kernels: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for launch in launches {
        let (count, seconds) = kernels.entry(&launch.kernel).or_default();
        *count += 1;
        *seconds += launch.seconds;
    }
    let mut rows: Vec<_> = kernels.into_iter().map(|(kernel, (count, seconds))| (kernel, count, seconds)).collect();
    rows.sort_by(|a, b| b.2.total_cmp(&a.2));
    rows
}

fn print_kernels(launches: &[LaunchTime]) {
    let rows = by_kernel(launches);
    let total: f64 = launches.iter().map(|launch| launch.seconds).sum();
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0).max("kernel".len());
    outln!("\n{:<width$}  {:>6}  {:>10}  {:>6}", "kernel", "count", "total ms", "share");
    for (kernel, count, seconds) in rows {
        outln!("{kernel:<width$}  {count:>6}  {:>10}  {:>4.1} %", ms(seconds), 100.0 * seconds / total);
    }
    outln!("{:<width$}  {:>6}  {:>10}", "all", launches.len(), ms(total));
}

/// Operations and bytes a nanosecond.
fn rates(launch: &LaunchTime) -> [f64; 2] {
    [launch.work.flops, launch.work.bytes as f64].map(|amount| amount / launch.seconds / 1e9)
}

fn print_launches(launches: &[LaunchTime], listed: usize, roofline: Option<&Roofline>) {
    let mut longest: Vec<&LaunchTime> = launches.iter().collect();
    longest.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let width = launches.iter().map(|launch| launch.kernel.len()).max().unwrap_or(0);
    outln!("\nlaunches, longest first{}", if roofline.is_some() { ", with their share of the roofline" } else { "" });
    for launch in longest.iter().take(listed) {
        let body = if ["main", "twin"].contains(&launch.body.as_str()) { "" } else { &launch.body };
        let reached = roofline.map_or_else(String::new, |roof| {
            let ([gflops, gbs], share) = (rates(launch), 100.0 * roof.share(&launch.work, launch.seconds));
            format!("{gflops:>8.1} GFLOP/s {gbs:>7.1} GB/s {share:>4.0} %  ")
        });
        outln!("{:>10} ms  {:<width$}  {body:<8}  {reached}{}", ms(launch.seconds), launch.kernel, launch.shapes);
    }
    if longest.len() > listed {
        outln!("and {} more (--all lists them)", longest.len() - listed);
    }
}

fn write_json(
    path: &Path,
    args: &ProfileArgs,
    [size, bins]: [Option<usize>; 2],
    device: &str,
    measurement: &Measurement,
    roofline: Option<&Roofline>,
) -> Result<()> {
    let (least, most) = extremes(measurement);
    let launch = |of: &LaunchTime| {
        let (kernel, body, shapes) = (&of.kernel, &of.body, &of.shapes);
        let mut value = serde_json::json!({ "kernel": kernel, "body": body, "shapes": shapes, "seconds": of.seconds });
        if let Some(roof) = roofline {
            let [gflops, gbs] = rates(of);
            for (key, figure) in [
                ("flops", of.work.flops),
                ("bytes", of.work.bytes as f64),
                ("gflops", gflops),
                ("gbs", gbs),
                ("attainable_gflops", roof.attainable_gflops(&of.work)),
                ("share", roof.share(&of.work, of.seconds)),
            ] {
                value[key] = figure.into();
            }
        }
        value
    };
    let value = serde_json::json!({
        "model": args.model.name(),
        "pass": args.pass.name(),
        "size": size,
        "batch": args.batch,
        "width": args.network.width().unwrap_or(1.0),
        "bins": bins,
        "iterations": args.iters,
        "device": device,
        "seconds_median": measurement.median_seconds(),
        "seconds_min": least,
        "seconds_max": most,
        "peak_bytes": measurement.peak_bytes,
        "host": measurement.host,
        "roofline": roofline,
        "launches": measurement.launches.iter().map(launch).collect::<Vec<_>>(),
    });
    write_result(path, format!("{value:#}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::Work;

    #[test]
    fn kernels_add_up_and_come_longest_first() {
        let launch = |kernel: &str, seconds| LaunchTime {
            kernel: kernel.into(),
            body: "twin".into(),
            shapes: String::new(),
            work: Work::default(),
            seconds,
        };
        let launches = [launch("a", 1.0), launch("b", 4.0), launch("a", 2.0)];
        assert_eq!(by_kernel(&launches), [("b", 1, 4.0), ("a", 2, 3.0)]);
    }
}
