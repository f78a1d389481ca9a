//! What the values of files seem to be, and the stretch that fits them: a guess for people, by some places of some
//! files.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::dataset::preparation::Preparation;
use crate::dataset::stack;
use crate::error::Result;
use crate::imaging::codec::decode::ImageFile;
use crate::imaging::pixels::Area;
use crate::imaging::raster::RasterInfo;

/// Files that are looked at, at most; spread evenly.
const FILES: usize = 8;
/// Sides of the places in a file that are looked at, and how many there are along each axis.
const SIDE: usize = 64;
const PLACES: usize = 3;
/// Shares of values below and above the stretch.
const CLIPPED: f64 = 0.02;
/// How many times as much power as the 2nd percentile the 98th has at least: amplitudes of the same scene have the
/// root.
const POWER_RANGE: f32 = 12.0;

/// What values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Samples of up to 8 bits.
    Bytes,
    /// Radar backscatter, linear.
    Power,
    /// Its square root.
    Amplitude,
    /// Radar backscatter in decibels.
    Decibels,
    /// Optical reflectance.
    Reflectance,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Quantity::Bytes => "8-bit values",
            Quantity::Power => "linear radar power",
            Quantity::Amplitude => "radar amplitudes",
            Quantity::Decibels => "decibels",
            Quantity::Reflectance => "reflectances",
        })
    }
}

/// What the values of a side seem to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// What they are.
    pub quantity: Quantity,
    /// The type of the samples, e.g. `f32`.
    pub sample: String,
    /// A stretch that fits, as `stretch` is written.
    pub stretch: String,
}

impl Guess {
    /// Of the bands that a preparation reads of some files; `None` where nothing can be read or has data.
    pub fn of(files: &[PathBuf], how: &Preparation) -> Option<Self> {
        let step = files.len().div_ceil(FILES).max(1);
        let mut all: Option<(RasterInfo, Vec<Vec<f32>>)> = None;
        for file in files.iter().step_by(step) {
            // What is wrong with a file is told elsewhere.
            let Ok((info, bands)) = values_of(stack::parts(file).first()?, how) else { continue };
            let (_, values) = all.get_or_insert_with(|| (info, vec![Vec::new(); bands.len()]));
            values.iter_mut().zip(bands).for_each(|(all, band)| all.extend(band));
        }
        let (info, mut bands) = all?;
        bands.iter_mut().for_each(|band| band.sort_by(f32::total_cmp));
        let ends: Option<Vec<[f32; 3]>> = bands.iter().map(|band| ends(band)).collect();
        let ends = ends.filter(|ends| !ends.is_empty())?;
        let quantity = quantity_of(&info, &ends);
        let stretch = match quantity {
            Quantity::Bytes => "none".to_owned(),
            Quantity::Reflectance => {
                let high = ends.iter().fold(0.0f32, |high, [_, _, p98]| high.max(*p98));
                let digit = 10f32.powf(high.max(1e-6).log10().floor());
                format!("0,{}", round_up(high, digit))
            }
            Quantity::Decibels => of_bands(&ends, "", |value| value),
            Quantity::Power => of_bands(&ends, "db:", |value| 10.0 * value.log10()),
            Quantity::Amplitude => of_bands(&ends, "db-amplitude:", |value| 20.0 * value.log10()),
        };
        Some(Guess { quantity, sample: info.sample.to_string(), stretch })
    }
}

/// `value` in whole steps, rounded up, as short as it can be written.
fn round_up(value: f32, step: f32) -> f32 {
    let steps = (value / step).ceil();
    if step >= 1.0 { steps * step } else { steps / (1.0 / step).round() }
}

/// A stretch for each band, or one where they are alike, in whole decibels.
fn of_bands(ends: &[[f32; 3]], kind: &str, decibels: impl Fn(f32) -> f32) -> String {
    let stretch = |[low, _, high]: &[f32; 3]| {
        // Of no signal, linear values have no logarithm.
        let low = if kind.is_empty() { *low } else { low.max(high * 1e-4) };
        let (low, high) = (decibels(low).floor(), decibels(*high).ceil());
        format!("{kind}{low},{}", high.max(low + 1.0))
    };
    let mut stretches: Vec<String> = ends.iter().map(stretch).collect();
    stretches.dedup();
    let of_all = ends.iter().map(stretch).collect::<Vec<_>>().join("/");
    if let [one] = &stretches[..] { one.clone() } else { of_all }
}

/// What values of these 2nd, 50th and 98th percentiles a band are.
fn quantity_of(info: &RasterInfo, ends: &[[f32; 3]]) -> Quantity {
    let few = info.bands_without_alpha().count() <= 2;
    let [low, middle, high] = ends[0];
    let wide = || high > POWER_RANGE * low.max(high * 1e-4);
    match info.is_bytes() {
        true => Quantity::Bytes,
        false if middle < 0.0 => Quantity::Decibels,
        false if few && info.sample.is_float() && wide() => Quantity::Power,
        false if few => Quantity::Amplitude,
        false => Quantity::Reflectance,
    }
}

/// The 2nd, 50th and 98th percentile of sorted values; `None` of none.
fn ends(values: &[f32]) -> Option<[f32; 3]> {
    let last = values.len().checked_sub(1)?;
    Some([CLIPPED, 0.5, 1.0 - CLIPPED].map(|share| values[(share * last as f64).round() as usize]))
}

/// The values with data at some places of a file, in physical units, band by band.
fn values_of(path: &Path, how: &Preparation) -> Result<(RasterInfo, Vec<Vec<f32>>)> {
    let file = ImageFile::open(path)?;
    let info = file.info().clone();
    let numbers = how.bands_of(&info, path)?;
    let units: Vec<[f64; 2]> = numbers.iter().map(|band| info.unit(*band).unwrap_or([1.0, 0.0])).collect();
    let mut bands = vec![Vec::new(); numbers.len()];
    let zeros = how.zero_border.is_sought(&info, file.marks_gaps());
    let starts = |len: usize| (0..PLACES).map(move |i| i * len.saturating_sub(SIDE) / (PLACES - 1));
    for y in starts(info.height) {
        for x in starts(info.width) {
            let area = Area { x, y, width: SIDE.min(info.width), height: SIDE.min(info.height) };
            let window = file.read_window(area, &numbers)?;
            for (pixel, valid) in window.samples.chunks_exact(numbers.len()).zip(window.valid) {
                // Where zeros may mean nothing, they say nothing.
                if !valid || pixel.iter().any(|value| !value.is_finite()) || zeros && pixel.iter().all(|v| *v == 0.0) {
                    continue;
                }
                for ((band, value), [factor, offset]) in bands.iter_mut().zip(pixel).zip(&units) {
                    band.push((f64::from(*value) * factor + offset) as f32);
                }
            }
        }
    }
    Ok((info, bands))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::save::save_tiff;
    use crate::imaging::raster::SampleType;
    use crate::random::{Rng, Stream};

    /// Of noise of a sample type, between two values of each band, evenly in what `of` makes of it.
    fn guess(sample: SampleType, ranges: &[[f32; 2]], of: impl Fn(f32) -> f32) -> (Quantity, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.tif");
        let rng = Rng::new(3, Stream::Test, 0);
        let value = |i: u64, [low, high]: [f32; 2]| of(low + (high - low) * rng.uniform(i));
        let samples: Vec<f32> = (0..70 * 70)
            .flat_map(|pixel| ranges.iter().enumerate().map(move |(band, range)| (9 * pixel + band as u64, *range)))
            .map(|(i, range)| value(i, range))
            .collect();
        save_tiff(&path, RasterInfo::new(70, 70, ranges.len(), sample), &samples).unwrap();
        let found = Guess::of(&[path], &Preparation::default()).unwrap();
        assert_eq!(found.sample, sample.to_string());
        (found.quantity, found.stretch)
    }

    #[test]
    fn values_are_told_apart_and_get_a_stretch_that_fits() {
        let power = |decibels: f32| 10f32.powf(decibels / 10.0);
        let amplitude = |decibels: f32| 10f32.powf(decibels / 20.0);
        let same = |value: f32| value;
        // 2 % are clipped at either end of 20 and 15 dB.
        for (found, quantity, stretch) in [
            (guess(SampleType::F32, &[[-22.0, -2.0], [-28.0, -13.0]], same), Quantity::Decibels, "-22,-2/-28,-13"),
            (guess(SampleType::F32, &[[-22.0, -2.0], [-22.0, -2.0]], same), Quantity::Decibels, "-22,-2"),
            (guess(SampleType::F32, &[[-22.0, -2.0]], power), Quantity::Power, "db:-22,-2"),
            (guess(SampleType::F32, &[[-22.0, -2.0]], amplitude), Quantity::Amplitude, "db-amplitude:-22,-2"),
            (guess(SampleType::U16, &[[36.0, 56.0]], amplitude), Quantity::Amplitude, "db-amplitude:36,56"),
            (guess(SampleType::U16, &[[100.0, 2900.0]; 4], same), Quantity::Reflectance, "0,3000"),
            (guess(SampleType::F32, &[[0.01, 0.29]; 4], same), Quantity::Reflectance, "0,0.3"),
            (guess(SampleType::U8, &[[0.0, 255.0]], same), Quantity::Bytes, "none"),
        ] {
            assert_eq!((found.0, found.1.as_str()), (quantity, stretch));
        }
        assert_eq!(Guess::of(&[PathBuf::from("none.tif")], &Preparation::default()), None);
    }
}
