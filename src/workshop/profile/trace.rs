//! The launches of a pass as a trace that Chrome (`chrome://tracing`) and Perfetto (<https://ui.perfetto.dev>) show.

use crate::engine::device::{LaunchTime, Timing};
use crate::workshop::profile::figures::Figures;
use serde_json::{Value, json};

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
        let (ts, bytes) = (1e6 * host_start, launch.live_bytes);
        events.push(json!({ "name": "memory", "ph": "C", "pid": 1, "ts": ts, "args": { "bytes": bytes } }));
    }
    json!({ "displayTimeUnit": "ms", "traceEvents": events })
}

fn named(what: &str, track: u32, name: &str) -> Value {
    json!({ "name": what, "ph": "M", "pid": 1, "tid": track, "args": { "name": name } })
}

fn event(launch: &LaunchTime, track: u32, start: f64, seconds: f64) -> Value {
    let LaunchTime { layer, pass, kernel, body, shapes, work, .. } = launch;
    let args = json!({ "kernel": kernel, "body": body, "shapes": shapes, "flops": work.flops, "bytes": work.bytes });
    let name = format!("{layer} {pass} {kernel}");
    let (name, ts, dur) = (name.trim_start(), 1e6 * start, 1e6 * seconds);
    json!({ "name": name, "cat": pass, "ph": "X", "pid": 1, "tid": track, "ts": ts, "dur": dur, "args": args })
}
