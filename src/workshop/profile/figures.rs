//! The figures of a pass by kernel, by layer and by launch, and as JSON.

use crate::engine::device::{LaunchTime, Roofline, Timing, Work};
use crate::train::workload::{Measurement, Pass};
use serde_json::{Value, json};

/// A pass that was measured, and what it was.
pub struct Figures {
    /// Name of the network.
    pub model: &'static str,
    /// What was timed.
    pub pass: Pass,
    /// Side of the images, pixels.
    pub size: usize,
    /// Images a batch.
    pub batch: usize,
    /// Channel multiplier.
    pub width: f64,
    /// Colour bins, of a classifier.
    pub bins: Option<usize>,
    /// The activations that a step keeps for its gradients: `f16`, `computed again`; `None`: as they are.
    pub activations: Option<&'static str>,
    /// Name of the device.
    pub device: String,
    /// What was found.
    pub measurement: Measurement,
    /// What the device can do at best, where that is known.
    pub roofline: Option<Roofline>,
}

/// Launches that have something in common, added up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sum<'a> {
    /// The kernel or the layer.
    pub name: &'a str,
    /// How many.
    pub launches: usize,
    /// Seconds on the device, and those of them that are for gradients and updates.
    pub seconds: f64,
    /// See `seconds`.
    pub backward_seconds: f64,
    /// What there was to do.
    pub work: Work,
    /// Bytes in use when the last launch of the forward pass ran; of any, where there is none.
    pub live_bytes: u64,
    /// The most bytes that were in use when one of them ran.
    pub peak_bytes: u64,
}

/// Launches by a name of theirs, in the order in which the names come first.
pub fn sums<'a>(launches: &'a [LaunchTime], name: impl Fn(&'a LaunchTime) -> &'a str) -> Vec<Sum<'a>> {
    let mut sums: Vec<Sum<'a>> = Vec::new();
    for launch in launches {
        let name = name(launch);
        let at = sums.iter().position(|sum| sum.name == name).unwrap_or_else(|| {
            sums.push(Sum { name, ..Sum::default() });
            sums.len() - 1
        });
        let (sum, forward) = (&mut sums[at], launch.pass == "forward");
        if forward || sum.seconds == sum.backward_seconds {
            sum.live_bytes = launch.live_bytes;
        }
        sum.launches += 1;
        sum.seconds += launch.seconds;
        sum.backward_seconds += if forward { 0.0 } else { launch.seconds };
        sum.work.flops += launch.work.flops;
        sum.work.bytes += launch.work.bytes;
        sum.peak_bytes = sum.peak_bytes.max(launch.live_bytes);
    }
    sums
}

/// Operations and bytes a nanosecond.
pub fn rates(work: &Work, seconds: f64) -> [f64; 2] {
    [work.flops, work.bytes as f64].map(|amount| amount / seconds / 1e9)
}

impl Figures {
    /// Kernels, the one that takes longest first.
    pub fn by_kernel(&self) -> Vec<Sum<'_>> {
        let mut kernels = sums(&self.measurement.launches, |launch| &launch.kernel);
        kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        kernels
    }

    /// Layers in their order.
    pub fn by_layer(&self) -> Vec<Sum<'_>> {
        sums(&self.measurement.launches, |launch| &launch.layer)
    }

    /// Launches, the longest first.
    pub fn longest(&self) -> Vec<&LaunchTime> {
        let mut longest: Vec<&LaunchTime> = self.measurement.launches.iter().collect();
        longest.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        longest
    }

    /// Whether the device is the processor.
    pub fn on_host(&self) -> bool {
        self.device == "cpu"
    }

    /// The shortest and the longest pass, in seconds.
    pub fn extremes(&self) -> [f64; 2] {
        let of = |seconds: Option<&f64>| seconds.copied().unwrap_or(f64::NAN);
        [of(self.measurement.seconds.first()), of(self.measurement.seconds.last())]
    }

    /// What launches account for, in a sentence without its stop.
    pub fn accounting(&self) -> String {
        let Measurement { timing, unusable, accounted, accounted_wall, .. } = &self.measurement;
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let clock = format!("launches account for {} of the pass, timed by the clock", percent(*accounted_wall));
        match timing {
            Timing::Timestamps => {
                let (device, wall) = (percent(*accounted), percent(*accounted_wall));
                format!(
                    "launches account for {device} of the device's time and {wall} of the pass, timed by timestamps"
                )
            }
            Timing::Clock if *unusable > 0 => {
                format!("{clock}: {unusable} dispatches have timestamps that are zero or not in order")
            }
            Timing::Clock => clock,
        }
    }

    /// All of it.
    pub fn json(&self) -> Value {
        let Measurement { timing, unusable, accounted, accounted_wall, host, .. } = &self.measurement;
        let timing = if *timing == Timing::Clock { "clock" } else { "timestamps" };
        let launches = self.measurement.launches.iter().zip(&self.measurement.fastest);
        let layer = |sum: Sum<'_>| {
            object(vec![
                ("layer", sum.name.into()),
                ("launches", sum.launches.into()),
                ("seconds", sum.seconds.into()),
                ("backward_seconds", sum.backward_seconds.into()),
                ("live_bytes", sum.live_bytes.into()),
                ("peak_bytes", sum.peak_bytes.into()),
            ])
        };
        let [least, most] = self.extremes();
        object(vec![
            ("model", self.model.into()),
            ("pass", self.pass.name().into()),
            ("size", self.size.into()),
            ("batch", self.batch.into()),
            ("width", self.width.into()),
            ("activations", self.activations.into()),
            ("bins", self.bins.into()),
            ("iterations", self.measurement.seconds.len().into()),
            ("device", self.device.as_str().into()),
            ("seconds_median", self.measurement.median_seconds().into()),
            ("seconds_min", least.into()),
            ("seconds_max", most.into()),
            ("peak_bytes", self.measurement.peak_bytes.into()),
            ("host", json!(host)),
            ("roofline", json!(self.roofline)),
            ("timing", timing.into()),
            ("unusable_timestamps", (*unusable).into()),
            ("accounted", (*accounted).into()),
            ("accounted_wall", (*accounted_wall).into()),
            ("layers", Value::Array(self.by_layer().into_iter().map(layer).collect())),
            ("launches", Value::Array(launches.map(|(launch, fastest)| self.launch(launch, *fastest)).collect())),
        ])
    }

    fn launch(&self, launch: &LaunchTime, fastest: f64) -> Value {
        let &LaunchTime { pass, work, seconds, host_seconds, live_bytes, .. } = launch;
        let mut pairs = vec![
            ("layer", launch.layer.as_str().into()),
            ("pass", pass.into()),
            ("kernel", launch.kernel.as_str().into()),
            ("body", launch.body.as_str().into()),
            ("shapes", launch.shapes.as_str().into()),
            ("seconds", seconds.into()),
            ("seconds_min", fastest.into()),
            ("host_seconds", host_seconds.into()),
            ("live_bytes", live_bytes.into()),
        ];
        // Without GPUs there are no plans, which know the operations.
        if cfg!(feature = "gpu") {
            let [gflops, gbs] = rates(&work, seconds);
            let flops = [("flops", work.flops), ("bytes", work.bytes as f64), ("gflops", gflops), ("gbs", gbs)];
            pairs.extend(flops.map(|(key, figure)| (key, figure.into())));
            if let Some(roof) = &self.roofline {
                pairs.push(("attainable_gflops", roof.attainable_gflops(&work).into()));
                pairs.push(("share", roof.share(&work, seconds).into()));
            }
        }
        object(pairs)
    }
}

/// A JSON object. Not `json!`, which repeats much code for each value.
pub(super) fn object(pairs: Vec<(&str, Value)>) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(layer: &str, pass: &'static str, seconds: f64, live_bytes: u64) -> LaunchTime {
        let work = Work { flops: 10.0, bytes: 4 };
        LaunchTime {
            layer: layer.into(),
            pass,
            kernel: format!("k{pass}"),
            seconds,
            live_bytes,
            work,
            ..LaunchTime::default()
        }
    }

    #[test]
    fn launches_add_up_by_layer_in_their_order_with_the_memory_of_each() {
        let launches = [
            launch("a", "forward", 1.0, 100),
            launch("b", "forward", 2.0, 300),
            launch("b", "dw", 4.0, 500),
            launch("a", "dx", 8.0, 200),
            launch("optimizer", "update", 16.0, 50),
        ];
        let found = sums(&launches, |launch| &launch.layer);
        let row = |sum: &Sum<'_>| (sum.name.to_owned(), sum.launches, sum.seconds, sum.backward_seconds);
        let rows: Vec<_> = found.iter().map(row).collect();
        assert_eq!(rows[0], ("a".to_owned(), 2, 9.0, 8.0));
        assert_eq!(rows[1], ("b".to_owned(), 2, 6.0, 4.0));
        assert_eq!(rows[2], ("optimizer".to_owned(), 1, 16.0, 16.0));
        let memory: Vec<_> = found.iter().map(|sum| (sum.live_bytes, sum.peak_bytes)).collect();
        assert_eq!(memory, [(100, 200), (300, 500), (50, 50)]);
        assert_eq!(found[1].work, Work { flops: 20.0, bytes: 8 });
    }
}
