//! Times of single launches, and what a device can do at best.

use serde::{Deserialize, Serialize};

/// How launches are timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// By timestamps that a GPU writes before and after each dispatch. Nothing is waited for.
    Timestamps,
    /// By the host's clock. On a GPU each launch is waited for, which is right on every adapter; a submission and a
    /// wait, some tens of microseconds, are in every figure.
    Clock,
}

/// What was seen of launches.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Every launch, in order.
    pub launches: Vec<LaunchTime>,
    /// How they were timed.
    pub timing: Timing,
    /// Seconds that a GPU worked: from the first timestamp to the last of each submission, added up. `None` by the
    /// clock.
    pub busy_seconds: Option<f64>,
    /// Dispatches whose timestamps are missing or not in order: with one such, no time of this profile can be used.
    pub unusable: usize,
}

/// The time that one launch took.
#[derive(Debug, Clone, Default)]
pub struct LaunchTime {
    /// The layer that it belongs to, see [`Device::layer`](crate::engine::device::Device::layer); may be empty.
    pub layer: String,
    /// What it is for: `forward`, `dx` (the gradient of a value), `dw` (of a parameter with several axes), `db` (of a
    /// parameter with one), `backward` (another part of a gradient) or `update`.
    pub pass: &'static str,
    /// Name of the kernel.
    pub kernel: String,
    /// Name of the body that ran, `twin` on the CPU.
    pub body: String,
    /// Shapes of its buffers: inputs, `<>` in-outs, `->` outputs.
    pub shapes: String,
    /// What there was to do.
    pub work: Work,
    /// Seconds from its start to its end on the device.
    pub seconds: f64,
    /// When the device began, in seconds since the profile began; of a GPU by timestamps, since its first launch did.
    pub start: f64,
    /// Seconds that the host spent beside: recording; on the CPU all but the computation.
    pub host_seconds: f64,
    /// When the host began, in seconds since the profile began.
    pub host_start: f64,
    /// Bytes of the buffers that were in use.
    pub live_bytes: u64,
}

/// What there is to do in a launch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Work {
    /// Floating-point operations; by the formula where memory decides, of copies none.
    pub flops: f64,
    /// Bytes that it must read and write at least: each input and output once, what is updated in place twice.
    pub bytes: u64,
}

/// What a device can do at best, measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// Floating-point operations a nanosecond: multiplications with an addition, which count as two.
    pub gflops: f64,
    /// Bytes a nanosecond that a copy reads and writes.
    pub gbs: f64,
    /// Microseconds that a launch takes which computes next to nothing.
    pub launch_us: f64,
    /// When it was measured: seconds since 1970.
    pub measured: u64,
}

impl Roofline {
    /// Whether it can have been measured.
    pub fn is_sound(&self) -> bool {
        [self.gflops, self.gbs, self.launch_us].iter().all(|value| value.is_finite() && *value > 0.0)
    }

    /// Floating-point operations a nanosecond that this work can reach: all, or as many as its bytes let through.
    pub fn attainable_gflops(&self, work: &Work) -> f64 {
        self.gflops.min(work.flops / work.bytes as f64 * self.gbs)
    }

    /// The least time of this work as a share of the time that it took. The least time is that of the operations or
    /// that of the bytes, whichever is longer: the share of [`Roofline::attainable_gflops`] that was reached.
    pub fn share(&self, work: &Work, seconds: f64) -> f64 {
        let least = (work.flops / self.gflops).max(work.bytes as f64 / self.gbs) / 1e9;
        least / seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOF: Roofline = Roofline { gflops: 100.0, gbs: 10.0, launch_us: 5.0, measured: 0 };

    #[test]
    fn the_share_is_that_of_what_the_intensity_lets_reach() {
        for (flops, bytes, attainable) in
            [(1e9, 1_000_000, 100.0), (1e9, 1_000_000_000, 10.0), (1e9, 100_000_000, 100.0)]
        {
            let work = Work { flops, bytes };
            assert_eq!(ROOF.attainable_gflops(&work), attainable);
            // In a second.
            assert!((ROOF.share(&work, 1.0) - 1.0 / attainable).abs() < 1e-12);
        }
        // Where nothing is computed, bytes alone.
        assert_eq!(ROOF.share(&Work { flops: 0.0, bytes: 5_000_000_000 }, 1.0), 0.5);
    }

    #[test]
    fn what_was_never_measured_is_not_sound() {
        assert!(ROOF.is_sound());
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(!Roofline { gbs: value, ..ROOF }.is_sound());
        }
    }
}
