//! What a device can do at best, measured: multiplications with an addition, bytes of memory, launches.
//!
//! Kept per device in a cache file, so that a profile does not measure it each time.

use crate::engine::device::{Device, Roofline};
use crate::engine::ops::gemm::panel_product;
use crate::engine::ops::probe::{copy, multiply_add, multiply_add_flops};
use crate::engine::tensor::Tensor;
use crate::error::{ErrorKind, Result};
use crate::workshop::cache::{self, key};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A measurement lasts this long at least: clocks and submissions are then a small part of it.
const LEAST_SECONDS: f64 = 0.02;
/// The best of so many counts: what is measured is what the device can do, not what else runs on it.
const REPEATS: usize = 5;
/// Elements that are copied, 256 MiB on a card and 128 MiB else: much more than any cache holds.
const COPIED: [usize; 2] = [1 << 26, 1 << 25];
/// The fewest, where there is no memory for more.
const LEAST_COPIED: usize = 1 << 20;
/// Elements that multiply: enough for every lane of a large card, and few enough for a processor.
const MULTIPLYING: [usize; 2] = [1 << 20, 1 << 14];
/// Rounds that the fastest card needs for [`LEAST_SECONDS`], and no more.
const MOST_ROUNDS: u32 = 1 << 14;
/// Copies that the fastest card needs for it, and no more.
const MOST_COPIES: u32 = 1 << 10;
/// Launches that are timed together.
const LAUNCHES: u32 = 200;

/// Where a roofline comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// From this file, measured before.
    Kept(PathBuf),
    /// Measured now, and kept in this file.
    Measured(PathBuf),
    /// Measured now; there is no file that can be written.
    NotKept,
}

/// The roofline of a device: what is kept, or measured where nothing is kept or `anew` is set.
///
/// # Errors
/// Whatever a launch reports. A cache file that cannot be read or written is not an error.
pub fn roofline(device: &Device, anew: bool) -> Result<(Roofline, Source)> {
    roofline_in(cache::file("roofline.json").as_deref(), device, anew)
}

fn roofline_in(file: Option<&Path>, device: &Device, anew: bool) -> Result<(Roofline, Source)> {
    let key = key(device);
    let mut kept = file.map(read).unwrap_or_default();
    if let (Some(file), Some(known), false) = (file, kept.get(&key), anew) {
        return Ok((*known, Source::Kept(file.to_owned())));
    }
    let measured = measure(device)?;
    kept.insert(key, measured);
    let written = file.filter(|file| cache::write(file, &serde_json::json!(kept)).is_ok());
    Ok((measured, written.map_or(Source::NotKept, |file| Source::Measured(file.to_owned()))))
}

/// What is kept; nothing where the file is missing or damaged.
fn read(file: &Path) -> BTreeMap<String, Roofline> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut kept: BTreeMap<String, Roofline> = serde_json::from_str(&text).unwrap_or_default();
    kept.retain(|_, roofline| roofline.is_sound());
    kept
}

fn measure(device: &Device) -> Result<Roofline> {
    // So few digits read back from JSON as they were.
    let short = |figure: f64| (figure * 1e3).round() / 1e3;
    // What is measured needs the room of what a pass has left.
    device.trim()?;
    let gflops = if device.is_gpu() { multiplications(device)? } else { products() } / 1e9;
    let gbs = bandwidth(device)? / 1e9;
    let launch_us = 1e6 * launch(device)?;
    device.trim()?;
    let measured = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(Roofline { gflops: short(gflops), gbs: short(gbs), launch_us: short(launch_us), measured })
}

/// The shortest of some runs, in seconds, after one that does not count.
fn best(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    run()?;
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Floating-point operations a second of a GPU.
fn multiplications(device: &Device) -> Result<f64> {
    let len = MULTIPLYING[usize::from(device.is_software())];
    let (x, y) = (Tensor::empty(device, &[len])?, Tensor::empty(device, &[len])?);
    device.fill(&x, 0.5)?;
    let run = |rounds| multiply_add(&x, rounds, &y).and_then(|()| device.sync());
    let mut rounds = 16;
    run(rounds)?;
    loop {
        let start = Instant::now();
        run(rounds)?;
        if start.elapsed().as_secs_f64() >= LEAST_SECONDS || rounds >= MOST_ROUNDS {
            return Ok(multiply_add_flops(len, rounds) / best(|| run(rounds))?);
        }
        rounds *= 2;
    }
}

/// Floating-point operations a second of the processor: the products that its convolutions are made of, on operands
/// that stay in the first-level cache, on all threads at once.
fn products() -> f64 {
    const ROWS: usize = 48;
    const DEPTH: usize = 64;
    const COLUMNS: usize = 64;
    let run = |times: usize| {
        let start = Instant::now();
        rayon::broadcast(|_| {
            let (a, b) = (vec![0.5f32; ROWS * DEPTH], vec![0.25f32; DEPTH * COLUMNS]);
            let mut c = vec![0.0f32; ROWS * COLUMNS];
            for _ in 0..times {
                panel_product::<COLUMNS>(ROWS, |i| (i, &a[i * DEPTH..][..DEPTH]), black_box(&b), false, &mut c, &[]);
                black_box(&mut c);
            }
        });
        start.elapsed().as_secs_f64()
    };
    let mut times = 16;
    while run(times) < LEAST_SECONDS && times < 1 << 24 {
        times *= 2;
    }
    let best = (0..REPEATS).map(|_| run(times)).fold(f64::INFINITY, f64::min);
    let each = 2.0 * (ROWS * DEPTH * COLUMNS) as f64;
    each * (times * rayon::current_num_threads()) as f64 / best
}

/// Bytes a second that a copy reads and writes.
fn bandwidth(device: &Device) -> Result<f64> {
    let on_a_card = device.is_gpu() && !device.is_software();
    let mut len = COPIED[usize::from(!on_a_card)].min(device.max_elements() / 4 * 4);
    let pair = |len: usize| Ok([Tensor::empty(device, &[len])?, Tensor::empty(device, &[len])?]);
    let [x, y] = loop {
        match pair(len) {
            Err(error) if ErrorKind::Memory == crate::Error::kind(&error) && len > LEAST_COPIED => len /= 2,
            made => break made?,
        }
    };
    device.fill(&x, 0.5)?;
    let run = |times: u32| (0..times).try_for_each(|_| copy(&x, &y)).and_then(|()| device.sync());
    run(1)?;
    let mut times = 1;
    loop {
        let start = Instant::now();
        run(times)?;
        if start.elapsed().as_secs_f64() >= LEAST_SECONDS || times >= MOST_COPIES {
            return Ok(8.0 * len as f64 * f64::from(times) / best(|| run(times))?);
        }
        times *= 2;
    }
}

/// Seconds that a launch takes which computes next to nothing, among many.
fn launch(device: &Device) -> Result<f64> {
    let y = Tensor::empty(device, &[1])?;
    let run = || (0..LAUNCHES).try_for_each(|_| device.fill(&y, 0.5)).and_then(|()| device.sync());
    Ok(best(run)? / f64::from(LAUNCHES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_kept_and_a_broken_file_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("below/roofline.json");
        let device = Device::cpu();
        let (first, source) = roofline_in(Some(&file), &device, false).unwrap();
        assert_eq!(source, Source::Measured(file.clone()));
        assert!(first.is_sound() && first.measured > 1_600_000_000, "{first:?}");
        let (second, source) = roofline_in(Some(&file), &device, false).unwrap();
        assert_eq!((second, source), (first, Source::Kept(file.clone())));
        for broken in
            ["{", "[]", "{\"cpu\": 1}", &std::fs::read_to_string(&file).unwrap().replace("gbs\": ", "gbs\": -")]
        {
            std::fs::write(&file, broken).unwrap();
            assert_eq!(roofline_in(Some(&file), &device, false).unwrap().1, Source::Measured(file.clone()), "{broken}");
            assert!(read(&file).contains_key(&key(&device)));
        }
        assert_eq!(roofline_in(Some(&file), &device, true).unwrap().1, Source::Measured(file));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file");
        std::fs::write(&file, "").unwrap();
        let below = file.join("roofline.json");
        assert_eq!(roofline_in(Some(&below), &Device::cpu(), false).unwrap().1, Source::NotKept);
        assert_eq!(roofline_in(None, &Device::cpu(), false).unwrap().1, Source::NotKept);
    }

    #[test]
    fn a_gpu_has_a_roofline_too() {
        for device in crate::engine::testing::check::devices().iter().filter(|device| device.is_gpu()) {
            assert!(measure(device).unwrap().is_sound(), "{}", device.name());
            assert!(key(device).len() > device.name().len(), "the driver is part of {}", key(device));
        }
    }
}
