//! A profile as a page for people.

use crate::engine::device::{LaunchTime, Roofline, Work, human_bytes};
use crate::report::axis::AxisScale;
use crate::report::chart::{Chart, Series, SeriesStyle};
use crate::report::numbers::number;
use crate::report::page::{Block, Page, Section, Table};
use crate::report::verdict::Verdict;
use crate::workshop::profile::figures::{Figures, Sum, rates};

/// Kernels with a colour of their own in the plot.
const COLOURED: usize = 3;
/// Launches in the table.
const LISTED: usize = 60;

/// The page: what takes the time, the roofline plot, kernels, layers, launches.
pub fn page(figures: &Figures) -> Page {
    let Figures { model, pass, size, batch, width, device, measurement, .. } = figures;
    let of_bins = figures.bins.map(|bins| format!(", {bins} bins")).unwrap_or_default();
    let kept = figures.activations.map(|activations| format!(", activations {activations}")).unwrap_or_default();
    let [least, most] = figures.extremes().map(ms);
    let seconds = ms(measurement.median_seconds());
    let kernels = figures.by_kernel();
    let total: f64 = kernels.iter().map(|kernel| kernel.seconds).sum();
    let first = kernels.first().map_or(String::new(), |kernel| {
        format!("Most of it: {}, {:.0} % of the time of all launches.", kernel.name, 100.0 * kernel.seconds / total)
    });
    let mut accounting = figures.accounting();
    accounting.replace_range(..1, "L");
    let headline = format!("{seconds} ms a pass, {} of memory at most", human_bytes(measurement.peak_bytes));
    let detail = format!("{least} to {most} ms in {} passes. {accounting}. {first}", measurement.seconds.len());
    let mut sections = Vec::new();
    if let Some(roof) = &figures.roofline {
        sections.push(roofline(figures, roof, &kernels));
    }
    let head = ["kernel", "launches", "ms", "share %", "GFLOP/s", "GB/s", "roofline %"];
    let rows = kernels.iter().map(|kernel| {
        let [gflops, gbs] = rates(&kernel.work, kernel.seconds).map(number);
        let share = format!("{:.1}", 100.0 * kernel.seconds / total);
        let reached = figures.reached(&kernel.work, kernel.seconds);
        vec![kernel.name.to_owned(), kernel.launches.to_string(), ms(kernel.seconds), share, gflops, gbs, reached]
    });
    sections.push(section("Kernels", "", vec![table(&head, rows)]));
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let live = measurement.launches.iter().enumerate().map(|(i, launch)| (i as f64 + 1.0, mib(launch.live_bytes)));
    let memory = Chart {
        title: "Memory in use".into(),
        x_label: "launch".into(),
        y_label: "MiB".into(),
        series: vec![Series::new("in use", live.collect(), SeriesStyle::Line)],
        ..Chart::default()
    };
    let head = ["layer", "launches", "forward ms", "gradients ms", "MFLOP", "live MiB", "peak MiB"];
    let rows = figures.by_layer().into_iter().map(|layer: Sum<'_>| {
        let name = if layer.name.is_empty() { "(no layer)" } else { layer.name };
        let [live, peak] = [layer.live_bytes, layer.peak_bytes].map(|bytes| format!("{:.1}", mib(bytes)));
        let forward = ms(layer.seconds - layer.backward_seconds);
        let mflop = number(layer.work.flops / 1e6);
        vec![name.to_owned(), layer.launches.to_string(), forward, ms(layer.backward_seconds), mflop, live, peak]
    });
    let note = "Live is what was in use after the layer's forward pass, peak the most while one of its launches ran.";
    sections.push(section("Layers and memory", note, vec![Block::Chart(memory), table(&head, rows)]));
    let head = ["layer", "pass", "kernel", "body", "ms", "host ms", "GFLOP/s", "GB/s", "roofline %", "shapes"];
    let longest = figures.longest();
    let rows = longest.iter().take(LISTED).map(|launch| {
        let LaunchTime { layer, pass, kernel, body, shapes, work, seconds, host_seconds, .. } = launch;
        let [gflops, gbs] = rates(work, *seconds).map(number);
        // Shapes stay on one line.
        let line = shapes.replace(' ', "\u{a0}");
        let names = [layer, *pass, kernel, body].map(str::to_owned);
        let figures = [ms(*seconds), ms(*host_seconds), gflops, gbs, figures.reached(work, *seconds), line];
        names.into_iter().chain(figures).collect()
    });
    let note = format!("The longest {} of {}.", longest.len().min(LISTED), longest.len());
    sections.push(section("Launches", &note, vec![table(&head, rows)]));
    Page {
        title: format!("{model}: a {} pass", pass.name()),
        summary: format!("{size}x{size}, batch {batch}, width {width}{of_bins}{kept}, on {device}"),
        verdict: Verdict { headline, detail, ..Verdict::default() },
        sections,
        ..Page::default()
    }
}

fn ms(seconds: f64) -> String {
    format!("{:.3}", 1e3 * seconds)
}

fn section(heading: &str, note: &str, blocks: Vec<Block>) -> Section {
    Section { heading: heading.into(), note: note.into(), blocks }
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Block {
    let head = head.iter().map(|&name| name.to_owned()).collect();
    Block::Table(Table { head, rows: rows.collect(), ..Table::default() })
}

/// Every launch by what it does a byte and what it reaches, under what the device can do.
fn roofline(figures: &Figures, roof: &Roofline, kernels: &[Sum<'_>]) -> Section {
    let launches = figures.measurement.launches.iter().filter(|launch| launch.work.flops > 0.0);
    let point =
        |launch: &LaunchTime| (launch.work.flops / launch.work.bytes as f64, rates(&launch.work, launch.seconds)[0]);
    let points: Vec<(&str, (f64, f64))> = launches.map(|launch| (launch.kernel.as_str(), point(launch))).collect();
    let coloured: Vec<&str> =
        kernels.iter().filter(|kernel| kernel.work.flops > 0.0).map(|kernel| kernel.name).collect();
    let coloured = &coloured[..coloured.len().min(COLOURED)];
    let of = |name: Option<&str>| {
        let within = |kernel: &str| name.map_or(!coloured.contains(&kernel), |name| name == kernel);
        points.iter().filter(|(kernel, _)| within(kernel)).map(|(_, point)| *point).collect::<Vec<_>>()
    };
    let (low, high) = points.iter().fold((0.1f64, 100.0f64), |(low, high), (_, (x, _))| (low.min(*x), high.max(*x)));
    let knee = (roof.gflops / roof.gbs).clamp(low, high);
    let line = [low, knee, high].map(|x| (x, roof.gflops.min(x * roof.gbs))).to_vec();
    let mut series = vec![Series::new("roofline", line, SeriesStyle::Line)];
    let named = coloured.iter().map(|&name| (name, of(Some(name)))).chain([("others", of(None))]);
    series.extend(named.map(|(name, points)| Series::new(name, points, SeriesStyle::Scatter)));
    let chart = Chart {
        title: "Launches under the roofline".into(),
        x_label: "operations a byte".into(),
        y_label: "GFLOP/s".into(),
        scale: AxisScale::Log,
        x_scale: AxisScale::Log,
        series,
    };
    let Roofline { gflops, gbs, launch_us, .. } = roof;
    let note = format!(
        "What this device does at best, measured: {} GFLOP/s, {} GB/s, {} microseconds a launch. Launches that compute \
         nothing are left out.",
        number(*gflops),
        number(*gbs),
        number(*launch_us)
    );
    section("Roofline", &note, vec![Block::Chart(chart)])
}

impl Figures {
    /// The share of the roofline in percent.
    fn reached(&self, work: &Work, seconds: f64) -> String {
        self.roofline.map_or("–".to_owned(), |roof| format!("{:.0}", 100.0 * roof.share(work, seconds)))
    }
}
