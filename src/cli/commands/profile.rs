//! `huetape profile`: how long a pass takes, which launches it spends that time on, and how near the device's best they
//! come.

use crate::cli::args::device::DeviceArgs;
use crate::cli::args::given::{Choice, Given};
use crate::cli::args::help::examples;
use crate::cli::args::network::{Network, NetworkArgs, networks};
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{make_way, write_result};
use crate::engine::device::{Device, HostWork, LaunchTime, Roofline, Timing, human_bytes};
use crate::error::{Error, Result};
use crate::train::workload::{Pass, WorkloadConfig, measure};
use crate::workshop::profile::figures::{Figures, Sum, rates};
use crate::workshop::profile::page::page;
use crate::workshop::profile::regression;
use crate::workshop::profile::trace::trace;
use clap::{Args, ValueEnum};
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

/// The settings of what a training keeps of a step.
#[derive(Debug, Clone, Default)]
struct OfStep;

impl Choice for OfStep {
    const KEYS: Option<&'static [&'static str]> = Some(&["recompute", "activations"]);
}

#[derive(Args, Debug)]
#[command(after_help = examples(&[
    "profile {network} ⟨pass⟩ forward ⟨size⟩ 256 ⟨device⟩ cpu",
    "profile {network} ⟨pass⟩ train ⟨batch⟩ 8 ⟨iters⟩ 20 ⟨json⟩ step.json",
    "profile {network} ⟨pass⟩ train ⟨width⟩ 0.25 ⟨html⟩ step.html ⟨trace⟩ step.trace.json",
    "profile {network} ⟨pass⟩ train ⟨baseline⟩ step.json ⟨max-regression⟩ 10",
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
    #[command(flatten)]
    step: Given<OfStep>,
    /// Write the figures as JSON as well; - for standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the launches of a pass for Chrome or Perfetto, as tracks of the host and the device
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write a page with the roofline plot, kernels, layers and launches
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Compare with the JSON of an earlier profile: a pass or a launch that is slower ends with exit code 1
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// By how many percent the pass or a launch may be slower than in the baseline
    #[arg(long, value_name = "PCT", default_value_t = 10.0, requires = "baseline")]
    max_regression: f64,
    /// List every launch, not the longest 15 alone, and what each layer takes
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
        [&self.json, &self.trace, &self.html].into_iter().flatten().map(PathBuf::as_path)
    }
}

pub fn run(args: ProfileArgs) -> Outcome {
    make_way(args.files())?;
    crate::ensure!(args.iters > 0, Error::input("must be at least 1", "--iters 0", "use 1 or more").into());
    crate::ensure!(args.batch > 0, Error::input("must be at least 1", "--batch 0", "use 1 or more").into());
    let percent = args.max_regression;
    crate::ensure!(
        percent.is_finite() && percent >= 0.0,
        Error::input("must be at least 0", format!("--max-regression {percent}"), "use 0 or more").into()
    );
    let kept = &args.step.settings;
    crate::ensure!(
        args.pass == PassName::Train || (kept.recompute.is_none() && kept.activations.is_none()),
        Error::input("a forward pass keeps no activations", "--recompute or --activations", "use --pass train").into()
    );
    let baseline = args.baseline.as_deref().map(|file| regression::read(file).map(|read| (file, read))).transpose()?;
    let (size, bins) = (args.network.size(args.model)?, args.network.bins(args.model)?);
    let device = args.device.open()?;
    let pass = args.pass.pass();
    let &ProfileArgs { model, batch, iters, .. } = &args;
    let mut learner = args.network.keeping_as(kept).learner(model, &device, None, pass == Pass::Train)?;
    let measurement = measure(learner.as_mut(), &WorkloadConfig { pass, size, batch, halo: model.halo() }, iters)?;
    let roofline = roofline_of(&args, &device)?;
    let (width, device) = (args.network.width().unwrap_or(1.0), device.name());
    let activations = match (kept.recompute, kept.activations.as_deref()) {
        (Some(true), _) => Some("computed again"),
        (_, Some("f16")) => Some("f16"),
        _ => None,
    };
    let model = model.name();
    let figures = Figures { model, pass, size, batch, width, bins, activations, device, measurement, roofline };
    print(&figures, args.all);
    let json = figures.json();
    if let Some(path) = &args.json {
        write_result(path, format!("{json:#}\n").as_bytes())?;
    }
    if let Some(path) = &args.trace {
        write_result(path, trace(&figures).to_string().as_bytes())?;
    }
    if let Some(path) = &args.html {
        write_result(path, page(&figures).to_html().as_bytes())?;
    }
    if let Some((file, before)) = baseline {
        regression::check(&before, &json, percent, file)?;
        outln!("\nno launch, nor the pass, is over {percent} % slower than in {}", file.display());
    }
    Ok(())
}

fn print(figures: &Figures, all: bool) {
    let Figures { model, pass, size, batch, width, bins, activations, device, measurement, .. } = figures;
    let of_bins = bins.map(|bins| format!(", {bins} bins")).unwrap_or_default();
    let kept = activations.map(|activations| format!(", activations {activations}")).unwrap_or_default();
    outln!("{model} {} pass on {device}", pass.name());
    let passes = measurement.seconds.len();
    outln!("{size}x{size}, batch {batch}, width {width}{of_bins}{kept}, {passes} passes after 2 of warm-up");
    let [least, most] = figures.extremes().map(ms);
    outln!("time: median {} ms ({least} to {most} ms)", ms(measurement.median_seconds()));
    outln!("memory: {} at most", human_bytes(measurement.peak_bytes));
    let HostWork { launches, dispatches, passes, submissions, reads, uploaded_bytes, seconds } = measurement.host;
    if launches > 0 {
        outln!(
            "host: {} ms to record {launches} launches, {dispatches} dispatches in {passes} compute passes and \
             {submissions} submissions; {reads} reads, {} uploaded",
            ms(seconds),
            human_bytes(uploaded_bytes)
        );
    }
    outln!("{}", figures.accounting());
    if launches > 0 && measurement.timing == Timing::Clock {
        outln!("\nBelow, each launch was waited for: its submission, some tens of microseconds, is in every figure.");
    }
    print_kernels(figures);
    if all {
        print_layers(figures);
    }
    print_launches(figures, if all { usize::MAX } else { LISTED });
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
}

fn ms(seconds: f64) -> String {
    format!("{:.3}", 1e3 * seconds)
}

fn print_kernels(figures: &Figures) {
    let (rows, launches) = (figures.by_kernel(), figures.measurement.launches.len());
    let total: f64 = rows.iter().map(|row| row.seconds).sum();
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max("kernel".len());
    outln!("\n{:<width$}  {:>6}  {:>10}  {:>6}", "kernel", "count", "total ms", "share");
    for Sum { name, launches, seconds, .. } in rows {
        outln!("{name:<width$}  {launches:>6}  {:>10}  {:>4.1} %", ms(seconds), 100.0 * seconds / total);
    }
    outln!("{:<width$}  {launches:>6}  {:>10}", "all", ms(total));
}

fn print_layers(figures: &Figures) {
    let rows = figures.by_layer();
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max("layer".len());
    outln!(
        "\n{:<width$}  {:>6}  {:>10}  {:>12}  {:>10}  {:>10}",
        "layer",
        "count",
        "forward ms",
        "gradients ms",
        "live",
        "peak"
    );
    for Sum { name, launches, seconds, backward_seconds: back, live_bytes, peak_bytes, .. } in rows {
        let name = if name.is_empty() { "-" } else { name };
        let [live, peak] = [live_bytes, peak_bytes].map(human_bytes);
        let forward = ms(seconds - back);
        outln!("{name:<width$}  {launches:>6}  {forward:>10}  {:>12}  {live:>10}  {peak:>10}", ms(back));
    }
}

fn print_launches(figures: &Figures, listed: usize) {
    let (longest, roofline) = (figures.longest(), figures.roofline.as_ref());
    let width = |of: &dyn Fn(&LaunchTime) -> usize| longest.iter().map(|launch| of(launch)).max().unwrap_or(0);
    let layers = width(&|launch| launch.layer.len());
    let kernels = width(&|launch| launch.kernel.len());
    outln!("\nlaunches, longest first{}", if roofline.is_some() { ", with their share of the roofline" } else { "" });
    for launch in longest.iter().take(listed) {
        let LaunchTime { layer, pass, kernel, body, shapes, work, seconds, .. } = launch;
        let body = if ["main", "twin"].contains(&body.as_str()) { "" } else { body };
        let reached = roofline.map_or_else(String::new, |roof| {
            let ([gflops, gbs], share) = (rates(work, *seconds), 100.0 * roof.share(work, *seconds));
            format!("{gflops:>8.1} GFLOP/s {gbs:>7.1} GB/s {share:>4.0} %  ")
        });
        let name = format!("{layer:<layers$}  {pass:<8}  {kernel:<kernels$}");
        outln!("{:>10} ms  {name}  {body:<8}  {reached}{shapes}", ms(*seconds));
    }
    if longest.len() > listed {
        outln!("and {} more (--all lists them)", longest.len() - listed);
    }
}
