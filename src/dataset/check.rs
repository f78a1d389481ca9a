//! What `check-data` reports: everything worth knowing about a data set before training on it.

use std::path::PathBuf;

use crate::dataset::grey::is_grey;
use crate::dataset::guess::Guess;
use crate::dataset::matching::Listing;
use crate::dataset::pair::{Crop, Pair};
use crate::dataset::pairs::DataSource;
use crate::dataset::picture_file::PictureFile;
use crate::dataset::preparation::Preparations;
use crate::dataset::shift::{Shift, likely_shift};
use crate::engine::blocks;
use crate::error::{Error, Result};
use crate::imaging::picture::{Picture, PictureInfo, Reading};
use crate::imaging::pixels::Area;

/// Values that the percentiles are taken from, over all images of a side.
const SAMPLE_VALUES: usize = 4 << 20;

/// What two folders (or one) hold.
#[derive(Debug, Clone)]
pub struct DataReport {
    /// The pairs that can be used, in name order, with their size and their shift.
    pub pairs: Vec<PairReport>,
    /// Sources without a target.
    pub lone_sources: Vec<PathBuf>,
    /// Targets without a source.
    pub lone_targets: Vec<PathBuf>,
    /// Pairs that cannot be used, and why: one line each, naming the file.
    pub faults: Vec<Error>,
    /// What the sources' values are; `None` where no pair can be used.
    pub source_values: Option<ValueRange>,
    /// What the targets' values are, over all bands.
    pub target_values: Option<ValueRange>,
    /// What the sources' files seem to hold, where it can be told.
    pub source_guess: Option<Guess>,
    /// The same of the targets; of a folder of images alone, `None`.
    pub target_guess: Option<Guess>,
}

/// A usable pair.
#[derive(Debug, Clone)]
pub struct PairReport {
    /// The files.
    pub pair: Pair,
    /// Whether the target has no colour, where colours are wanted.
    pub grey: bool,
    /// The source's header; the target has the same width and height.
    pub info: PictureInfo,
    /// Where the target lies beside the source, if that is clear.
    pub shift: Option<Shift>,
}

/// Values as a network reads them: 0..1 for 8 and 16 bits, floats as they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueRange {
    /// The smallest value.
    pub min: f32,
    /// What 1 % of the values do not exceed.
    pub percentile_1: f32,
    /// The median.
    pub median: f32,
    /// What 99 % of the values do not exceed.
    pub percentile_99: f32,
    /// The largest value.
    pub max: f32,
    /// The share of values without data, 0..1; the other figures leave them out.
    pub not_finite: f32,
}

impl DataReport {
    /// Smallest and largest width and height, as `([w, h], [w, h])`; `None` without pairs.
    pub fn size_range(&self) -> Option<([usize; 2], [usize; 2])> {
        let sizes = || self.pairs.iter().map(|p| [p.info.width, p.info.height]);
        let least = sizes().reduce(|x, y| [x[0].min(y[0]), x[1].min(y[1])])?;
        let most = sizes().reduce(|x, y| [x[0].max(y[0]), x[1].max(y[1])])?;
        Some((least, most))
    }

    /// Everything for which training on such crops would refuse `data`, of which this is the report:
    /// sources without a target, files that cannot be used, images too small, floats outside 0..1.
    pub fn refusals(&self, data: &DataSource, crop: Crop) -> Vec<Error> {
        let mut refusals: Vec<Error> = self.lone_sources.iter().map(|lone| data.lone_source(lone)).collect();
        refusals.extend(self.faults.iter().cloned());
        refusals.extend(self.pairs.iter().filter_map(|found| found.pair.check_crop(&found.info, crop).err()));
        refusals
    }
}

/// One decoded pair's share of the report.
struct Examined {
    report: PairReport,
    source_values: Vec<f32>,
    target_values: Vec<f32>,
}

/// Decodes every image and reports all that is found, faulty files too. Fails only when a folder is missing or holds no
/// image. `readings` say how sources and targets are read, `how` what is done to them before; of scenes, windows of
/// `side` pixels are looked at.
pub fn check(data: &DataSource, readings: (Reading, Reading), how: &Preparations, side: usize) -> Result<DataReport> {
    let (listing, (source_reading, target_reading)) = match data {
        DataSource::Scenes { .. } => {
            let windows = data.validate_prepared(side, readings, how, Some(side))?;
            let readings = (windows.source_reading, windows.target_reading);
            (Listing { pairs: windows.pairs, ..Listing::default() }, readings)
        }
        _ => (data.list_prepared(how)?, readings),
    };
    let files = |of: fn(&Pair) -> &PictureFile| -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = listing.pairs.iter().map(|pair| of(pair).path().to_owned()).collect();
        paths.dedup();
        paths
    };
    let alone = matches!(data, DataSource::Images { .. } | DataSource::SideBySide { .. });
    let source_guess = Guess::of(&files(|pair| &pair.source), &how.source);
    let target_guess = if alone { None } else { Guess::of(&files(|pair| &pair.target), &how.target) };
    let most = SAMPLE_VALUES / listing.pairs.len().max(1);
    let examine = |i: usize| examine(&listing.pairs[i], source_reading, target_reading, most);
    let examined: Vec<Result<Examined>> = blocks::collect(listing.pairs.len(), examine);
    let mut report = DataReport {
        pairs: Vec::new(),
        lone_sources: listing.lone_sources,
        lone_targets: listing.lone_targets,
        faults: Vec::new(),
        source_values: None,
        target_values: None,
        source_guess,
        target_guess,
    };
    let (mut source_values, mut target_values) = (Vec::new(), Vec::new());
    for result in examined {
        match result {
            Ok(found) => {
                report.pairs.push(found.report);
                source_values.extend(found.source_values);
                target_values.extend(found.target_values);
            }
            Err(error) => report.faults.push(error),
        }
    }
    report.source_values = ValueRange::of(source_values);
    report.target_values = ValueRange::of(target_values);
    Ok(report)
}

fn examine(pair: &Pair, source_reading: Reading, target_reading: Reading, most: usize) -> Result<Examined> {
    let open = |file: &PictureFile, reading: Reading| -> Result<Picture> {
        let picture = file.open()?;
        reading.check(&picture.info, file.path())?;
        picture.check_range(file.path())?;
        Ok(picture)
    };
    let target = open(&pair.target, target_reading)?;
    let (source, shift) = if pair.source == pair.target {
        (None, None)
    } else {
        let source = open(&pair.source, source_reading)?;
        pair.check_sizes(&source.info, &target.info)?;
        let shift = likely_shift(&source, source_reading, &target);
        (Some(source), shift)
    };
    let source = source.as_ref().unwrap_or(&target);
    Ok(Examined {
        report: PairReport {
            grey: target_reading.is_colour() && is_grey(&target),
            pair: pair.clone(),
            info: source.info,
            shift,
        },
        source_values: sample_values(source, source_reading, most),
        target_values: sample_values(&target, target_reading, most),
    })
}

/// A regular sample of at most about `most` values of an image.
fn sample_values(picture: &Picture, reading: Reading, most: usize) -> Vec<f32> {
    let (width, height) = (picture.info.width, picture.info.height);
    let step = (1..).find(|k| width * height * reading.channels() / (k * k) <= most.max(1)).unwrap_or(1);
    let mut values = Vec::new();
    let mut pixel = vec![0.0; reading.channels()];
    for y in (0..height).step_by(step) {
        for x in (0..width).step_by(step) {
            picture.read(reading, Area { x, y, width: 1, height: 1 }, &mut pixel);
            values.extend_from_slice(&pixel);
        }
    }
    values
}

impl ValueRange {
    /// The range of some values; `None` when none is finite.
    pub fn of(mut values: Vec<f32>) -> Option<Self> {
        let all = values.len();
        values.retain(|v| v.is_finite());
        let last = values.len().checked_sub(1)?;
        let mut percentile = |p: f64| {
            let at = (p / 100.0 * last as f64).round() as usize;
            *values.select_nth_unstable_by(at, f32::total_cmp).1
        };
        Some(ValueRange {
            min: percentile(0.0),
            percentile_1: percentile(1.0),
            median: percentile(50.0),
            percentile_99: percentile(99.0),
            max: percentile(100.0),
            not_finite: (all - values.len()) as f32 / all as f32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::save::save_png;
    use crate::imaging::synth::Scene;
    use crate::random::{Rng, Stream};
    use approx::abs_diff_eq;
    use std::fs;

    /// Saves synthetic pairs of 192 pixels whose target is moved by (dx, dy) against the source.
    fn shifted_pairs(shifts: &[(usize, usize)]) -> (tempfile::TempDir, DataSource) {
        let root = tempfile::tempdir().unwrap();
        for side in ["s", "t"] {
            fs::create_dir(root.path().join(side)).unwrap();
        }
        for (index, (dx, dy)) in shifts.iter().enumerate() {
            let scene = Scene::new(3, index as u32, 200);
            let (sar, optical) = (scene.sar(4), scene.optical());
            let grey: Vec<u8> = (0..192 * 192).map(|i| sar[(i / 192 + 4) * 200 + i % 192 + 4]).collect();
            let rgb: Vec<u8> = (0..192 * 192)
                .flat_map(|i| {
                    let at = ((i / 192 + 4 - dy) * 200 + i % 192 + 4 - dx) * 3;
                    [optical[at], optical[at + 1], optical[at + 2]]
                })
                .collect();
            save_png(&root.path().join(format!("s/{index}.png")), &grey, 192, 192, None).unwrap();
            save_png(&root.path().join(format!("t/{index}.png")), &rgb, 192, 192, None).unwrap();
        }
        let data = DataSource::Pairs { source: root.path().join("s"), target: root.path().join("t"), recursive: false };
        (root, data)
    }

    #[test]
    fn shifts_between_radar_and_optics_are_found() {
        let wanted = [(0, 0), (3, 1), (0, 4)];
        let (_root, data) = shifted_pairs(&wanted);
        let report = check(&data, data.readings(None), &Preparations::default(), 64).unwrap();
        for (found, (dx, dy)) in report.pairs.iter().zip(wanted) {
            let shift = found.shift.unwrap_or_else(|| panic!("nothing found for ({dx}, {dy})"));
            // Shadows and bright edges of woods move the borders of the radar image by up to a pixel.
            assert!(
                abs_diff_eq!(shift.dx, dx as f32, epsilon = 1.0) && abs_diff_eq!(shift.dy, dy as f32, epsilon = 1.0),
                "{shift:?}, ({dx}, {dy})"
            );
        }
    }

    #[test]
    fn unrelated_pictures_have_no_shift() {
        let root = tempfile::tempdir().unwrap();
        for (step, side) in ["s", "t"].into_iter().enumerate() {
            fs::create_dir(root.path().join(side)).unwrap();
            for file in 0..4 {
                let rng = Rng::new(file, Stream::Test, step as u32);
                let noise: Vec<u8> = (0..128 * 128u64).map(|i| (rng.word(i) >> 24) as u8).collect();
                save_png(&root.path().join(side).join(format!("{file}.png")), &noise, 128, 128, None).unwrap();
            }
        }
        let data = DataSource::Pairs { source: root.path().join("s"), target: root.path().join("t"), recursive: false };
        for pair in check(&data, data.readings(None), &Preparations::default(), 64).unwrap().pairs {
            assert_eq!(pair.shift, None);
        }
    }

    #[test]
    fn every_fault_is_listed_and_the_rest_is_still_reported() {
        let (root, data) = shifted_pairs(&[(0, 0), (0, 0), (0, 0), (0, 0)]);
        fs::write(root.path().join("s/1.png"), "no image").unwrap();
        save_png(&root.path().join("t/2.png"), &[0; 64], 8, 8, None).unwrap();
        fs::remove_file(root.path().join("t/3.png")).unwrap();
        save_png(&root.path().join("t/9.png"), &[0; 64], 8, 8, None).unwrap();
        let report = check(&data, data.readings(None), &Preparations::default(), 64).unwrap();
        assert_eq!(report.pairs.len(), 1);
        assert_eq!(report.faults.len(), 2, "{:?}", report.faults);
        assert!(report.faults[0].to_string().contains("s/1.png"), "{}", report.faults[0]);
        assert!(report.faults[1].to_string().contains("192x192 and 8x8"), "{}", report.faults[1]);
        assert!(report.lone_sources[0].ends_with("s/3.png") && report.lone_targets[0].ends_with("t/9.png"));
        assert_eq!(report.size_range(), Some(([192, 192], [192, 192])));
    }

    #[test]
    fn value_ranges_are_those_of_the_values() {
        let values = (0..=1000).rev().map(|v| v as f32 / 1000.0).chain([f32::NAN; 1001]).collect();
        let range = ValueRange::of(values).unwrap();
        let want =
            ValueRange { min: 0.0, percentile_1: 0.01, median: 0.5, percentile_99: 0.99, max: 1.0, not_finite: 0.5 };
        assert_eq!(range, want);
        assert_eq!(ValueRange::of(vec![f32::NAN]), None);
    }

    #[test]
    fn images_have_values_and_no_shift() {
        let (root, _) = shifted_pairs(&[(0, 0)]);
        let data = DataSource::Images { folder: root.path().join("t"), recursive: false };
        let report = check(&data, data.readings(None), &Preparations::default(), 64).unwrap();
        assert_eq!(report.pairs[0].shift, None);
        let (source, target) = (report.source_values.unwrap(), report.target_values.unwrap());
        assert!(source.min >= 0.0 && source.max <= 1.0 && target.median > 0.1 && target.not_finite == 0.0);
    }
}
