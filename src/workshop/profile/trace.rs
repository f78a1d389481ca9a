//! The launches of a pass as a trace that Chrome (`chrome://tracing`) and Perfetto (<https://ui.perfetto.dev>) show.

use crate::engine::device::{LaunchTime, Timing};
use crate::workshop::profile::figures::{Figures, object};
use serde_json::Value;

/// The numbers of the tracks: what the host does, and what the device does.
const HOST: u32 = 1;
const DEVICE: u32 = 2;

/// The trace as JSON, in the "Trace Event Format": complete events in microseconds on two tracks, and the memory in use
/// as a counter.
///
/// A GPU has a clock of its own: its first launch stands where the host had recorded it.
pub fn trace(figures: &Figures) -> Value {
    let launches = &figures.measurement.traced;
    let shift = match (figures.measurement.timing, launches.first()) {
        (Timing::Timestamps, Some(first)) => first.host_start + first.host_seconds,
        _ => 0.0,
    };
    let process = format!("{} {} on {}", figures.model, figures.pass.name(), figures.device);
    let mut events = vec![named("process_name", 0, &process), named("thread_name", HOST, "host")];
    events.push(named("thread_name", DEVICE, "device"));
    let mut busy_until: f64 = 0.0;
    for launch in launches {
        // The twins of the CPU run within what the host does, which then holds both.
        let host_seconds = launch.host_seconds + if figures.on_host() { launch.seconds } else { 0.0 };
        let host_start = launch.host_start.max(busy_until);
        busy_until = host_start + host_seconds;
        events.push(event(launch, HOST, host_start, host_seconds));
        events.push(event(launch, DEVICE, launch.start + shift, launch.seconds));
        let bytes = vec![("bytes", launch.live_bytes.into())];
        events.push(entry("memory", "C", HOST, bytes, vec![("ts", (1e6 * host_start).into())]));
    }
    object(vec![("displayTimeUnit", "ms".into()), ("traceEvents", Value::Array(events))])
}

fn named(what: &str, track: u32, name: &str) -> Value {
    entry(what, "M", track, vec![("name", name.into())], Vec::new())
}

fn event(launch: &LaunchTime, track: u32, start: f64, seconds: f64) -> Value {
    let LaunchTime { layer, pass, kernel, body, shapes, work, .. } = launch;
    let texts = [("kernel", kernel), ("body", body), ("shapes", shapes)];
    let mut args: Vec<(&str, Value)> = texts.map(|(key, text)| (key, text.as_str().into())).into();
    args.extend([("flops", work.flops.into()), ("bytes", work.bytes.into())]);
    let times = [("ts", 1e6 * start), ("dur", 1e6 * seconds)].map(|(key, time)| (key, time.into()));
    let name = format!("{layer} {pass} {kernel}");
    let more = times.into_iter().chain([("cat", (*pass).into())]).collect();
    entry(name.trim_start(), "X", track, args, more)
}

/// An entry of a phase, as the format calls its kinds.
fn entry(name: &str, phase: &str, track: u32, args: Vec<(&str, Value)>, more: Vec<(&str, Value)>) -> Value {
    let mut pairs = more;
    let fixed = [("name", name.into()), ("ph", phase.into()), ("pid", 1.into()), ("tid", track.into())];
    pairs.extend(fixed);
    pairs.push(("args", object(args)));
    object(pairs)
}
