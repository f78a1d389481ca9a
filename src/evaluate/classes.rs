//! Figures by class, of scenes whose pixels have labels.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::dataset::scene_pair::check_grid;
use crate::error::{Error, Result};
use crate::imaging::codec::decode::ImageFile;
use crate::imaging::color::{delta_e_2000, srgb8_to_lab_f64};
use crate::imaging::pixels::Area;
use crate::imaging::raster::RasterInfo;

/// Classes at most: a raster of more is no raster of labels.
const MOST: usize = 1024;

/// The figures of the pixels of a class, of samples 0..255.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassScores {
    /// The label.
    pub label: i64,
    /// Pixels of it that have data.
    pub pixels: u64,
    /// dB, over all its pixels; infinite where all are equal.
    pub psnr: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Mean distance in the ab plane of CIE Lab, where there are colours.
    pub ab_error: Option<f64>,
    /// Mean CIEDE2000, where there are colours.
    pub delta_e_2000: Option<f64>,
}

impl ClassScores {
    /// As JSON, by the names that the measures have in files.
    pub fn to_json(&self) -> Value {
        let number = |value: f64| if value.is_finite() { Value::from(value) } else { Value::Null };
        json!({
            "pixels": self.pixels,
            "psnr": number(self.psnr),
            "mae": number(self.mae),
            "ab_error": self.ab_error.map(number),
            "delta_e_2000": self.delta_e_2000.map(number),
        })
    }
}

/// Sums over the pixels of a class.
#[derive(Debug, Clone, Default)]
struct Sums {
    pixels: u64,
    bands: u64,
    squares: f64,
    distances: f64,
    ab: f64,
    delta_e_2000: f64,
}

/// A raster of labels, and what was found by them.
pub(super) struct Classes {
    file: ImageFile,
    path: PathBuf,
    sums: BTreeMap<i64, Sums>,
}

impl Classes {
    /// Opens the labels, the first band of a raster on the grid of `of`, the scene at `scene`.
    ///
    /// # Errors
    /// As [`ImageFile::open`]; another grid; samples that are no integers.
    pub fn open(path: &Path, of: &RasterInfo, scene: &Path) -> Result<Self> {
        let file = ImageFile::open(path)?;
        check_grid(of, file.info(), [scene, path])?;
        let float = file.info().sample.is_float();
        let what = "labels are integers, and these samples are floats";
        crate::ensure!(!float, Error::input(what, path.display(), "give a raster of class numbers"));
        Ok(Classes { file, path: path.to_owned(), sums: BTreeMap::new() })
    }

    /// Counts an area: samples `[height, width, bands]`, made and true, of which the pixels `valid` count, and have a
    /// label.
    ///
    /// # Errors
    /// As [`ImageFile::read_window`]; too many labels.
    pub fn add(&mut self, area: Area, made: &[u8], truth: &[u8], valid: &[bool]) -> Result<()> {
        let labels = self.file.read_window_exactly(area, &[1])?;
        let bands = made.len() / valid.len().max(1);
        let pixels = made.chunks_exact(bands).zip(truth.chunks_exact(bands));
        for (i, (made, truth)) in pixels.enumerate().filter(|(i, _)| valid[*i] && labels.valid[*i]) {
            let sums = self.sums.entry(labels.samples[i] as i64).or_default();
            sums.pixels += 1;
            sums.bands = bands as u64;
            for (a, b) in made.iter().zip(truth) {
                let distance = f64::from(a.abs_diff(*b));
                sums.distances += distance;
                sums.squares += distance * distance;
            }
            if let (&[r, g, b], &[s, t, u]) = (made, truth) {
                let [made, truth] = [[r, g, b], [s, t, u]].map(srgb8_to_lab_f64);
                sums.ab += (made[1] - truth[1]).hypot(made[2] - truth[2]);
                sums.delta_e_2000 += delta_e_2000(made, truth);
            }
        }
        crate::ensure!(
            self.sums.len() <= MOST,
            Error::input(
                format!("more than {MOST} different labels"),
                self.path.display(),
                "give a raster of class numbers"
            )
        );
        Ok(())
    }

    /// The figures, by rising label.
    pub fn finish(self) -> Vec<ClassScores> {
        let scores = |(label, sums): (i64, Sums)| {
            let (pixels, samples) = (sums.pixels as f64, (sums.pixels * sums.bands) as f64);
            let colours = sums.bands == 3;
            ClassScores {
                label,
                pixels: sums.pixels,
                psnr: 10.0 * (255.0 * 255.0 * samples / sums.squares).log10(),
                mae: sums.distances / samples,
                ab_error: colours.then(|| sums.ab / pixels),
                delta_e_2000: colours.then(|| sums.delta_e_2000 / pixels),
            }
        };
        self.sums.into_iter().map(scores).collect()
    }
}
