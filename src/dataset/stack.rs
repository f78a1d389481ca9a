//! One image, or several of one place at different dates, as values in the units of their stretch.
//!
//! Several are named as one path with commas between: `1.tif,2.tif`. Their bands are means over the dates, taken of
//! power, or stand side by side, date by date.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::dataset::bands::Ratio;
use crate::dataset::zero_border::{Mask, ZeroBorder};
use crate::error::{Error, Result};
use crate::imaging::codec::decode::{ImageFile, Probed, probe_all};
use crate::imaging::pixels::Area;
use crate::imaging::raster::{Backscatter, RasterInfo, Stretch, Stretches, Window};

/// What is made of the images of several dates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Looks {
    /// The mean of each band, of power where values are decibels or amplitudes.
    #[default]
    Mean,
    /// The bands of all dates.
    Bands,
}

impl FromStr for Looks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mean" => Ok(Looks::Mean),
            "bands" => Ok(Looks::Bands),
            _ => Err("no such use of several dates; use mean or bands".to_owned()),
        }
    }
}

impl fmt::Display for Looks {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if *self == Looks::Mean { "mean" } else { "bands" })
    }
}

/// The files or folders that a path names: one, or, where nothing bears the name, those between its commas.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    match path.to_str() {
        Some(text) if text.contains(',') && !path.exists() => text.split(',').map(PathBuf::from).collect(),
        _ => vec![path.to_owned()],
    }
}

/// The path that names several.
pub fn joined(parts: &[PathBuf]) -> PathBuf {
    let texts: Vec<String> = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if let [one] = parts { one.clone() } else { texts.join(",").into() }
}

/// What the header of the first image says, and of all what the user should know and whether something marks pixels
/// without data.
///
/// # Errors
/// As [`probe_all`].
pub(super) fn probe(path: &Path) -> Result<Probed> {
    let mut all: Option<Probed> = None;
    for part in parts(path) {
        let of_part = probe_all(&part)?;
        match &mut all {
            None => all = Some(of_part),
            Some(all) => {
                all.notices.extend(of_part.notices);
                all.marks_gaps |= of_part.marks_gaps;
            }
        }
    }
    all.ok_or_else(|| Error::input("no image is named", path.display(), "name one"))
}

/// Opens all images that a path names.
///
/// # Errors
/// As [`ImageFile::open`]; images of different grids.
pub(super) fn open(path: &Path) -> Result<Vec<ImageFile>> {
    let files = parts(path).iter().map(|part| ImageFile::open(part)).collect::<Result<Vec<_>>>()?;
    for pair in files.windows(2) {
        if let Some(difference) = pair[0].info().grid_difference(pair[1].info()) {
            return Err(Error::input(
                format!("the images of several dates lie on different grids ({difference})"),
                format!("{} and {}", pair[0].path().display(), pair[1].path().display()),
                "bring them onto one grid, e.g. by gdalwarp",
            ));
        }
    }
    Ok(files)
}

/// Sides of the places that are looked at to see what values are, and how many there are along each axis.
const SAMPLE_SIDE: usize = 64;
const SAMPLES: usize = 3;

/// An image of one date.
struct Date {
    file: ImageFile,
    /// What the values of each band are multiplied by, and what is added then; empty where nothing is to be done.
    units: Vec<[f32; 2]>,
    /// Zeros that mean nothing, with the part's own places.
    border: Option<Mask>,
}

/// What values are where means of them are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    /// Power, or anything else whose mean is its mean.
    Plain,
    /// Square roots of power.
    Amplitude,
    /// Decibels.
    Decibels,
}

/// Images of one place, and which of their bands are read.
pub(super) struct Stack {
    dates: Vec<Date>,
    /// The part of the images that is read.
    part: Area,
    /// From 1.
    bands: Vec<usize>,
    looks: Looks,
    scale: Scale,
}

impl Stack {
    /// A part of images of one grid, read by bands that they have, for a stretch. Zeros that mean nothing are looked
    /// for in one pass.
    ///
    /// # Errors
    /// Images that cannot be read; other bands at another date.
    pub fn new(
        files: Vec<ImageFile>,
        part: Area,
        bands: Vec<usize>,
        looks: Looks,
        stretches: &Stretches,
        zeros: ZeroBorder,
    ) -> Result<Self> {
        let mut dates = Vec::new();
        for file in files {
            let units = units(file.info(), &bands, stretches);
            dates.push(Date { file, units, border: None });
        }
        let mut stack = Stack { dates, part, bands, looks, scale: Scale::Plain };
        for i in 0..stack.dates.len() {
            let file = &stack.dates[i].file;
            if zeros.is_sought(file.info(), file.marks_gaps()) {
                stack.dates[i].border = stack.border(i, zeros.least())?;
            }
        }
        if stack.averages() {
            stack.scale = match stretches.of(0) {
                Stretch::Db { of: Backscatter::Amplitude, .. } => Scale::Amplitude,
                stretch if stack.ratio(stretch)? == Ratio::Difference => Scale::Decibels,
                _ => Scale::Plain,
            };
        }
        Ok(stack)
    }

    /// How a ratio of values for such a stretch is taken.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn ratio(&self, stretch: Stretch) -> Result<Ratio> {
        let unknown = matches!(stretch, Stretch::Percentile(_));
        let negative = unknown && self.is_mostly_negative()?;
        Ok(Ratio::of(stretch, || negative))
    }

    /// The zeros of an image that are connected with the border of the part, where they are at least so many.
    fn border(&self, date: usize, least: usize) -> Result<Option<Mask>> {
        let mut zeros = Mask::new([self.part.width, self.part.height]);
        let file = &self.dates[date].file;
        for area in self.blocks() {
            let window = file.read_window(self.place(area), &self.bands)?;
            for (i, pixel) in window.samples.chunks_exact(self.bands.len()).enumerate() {
                if pixel.iter().all(|value| *value == 0.0) {
                    zeros.set(area.x + i % area.width, area.y + i / area.width);
                }
            }
        }
        Ok(Some(zeros.connected_with_border()).filter(|found| found.count() >= least))
    }

    /// Where an area of the part lies in the image.
    fn place(&self, area: Area) -> Area {
        Area { x: self.part.x + area.x, y: self.part.y + area.y, ..area }
    }

    /// Areas that cover the part once, as reading them decodes each chunk of the first image once.
    pub fn blocks(&self) -> Vec<Area> {
        let Area { x, y, width, height } = self.part;
        let within = |block: Area| {
            let columns = block.x.max(x)..block.columns().end.min(x + width);
            let rows = block.y.max(y)..block.rows().end.min(y + height);
            (columns.start < columns.end && rows.start < rows.end).then(|| Area {
                x: columns.start - x,
                y: rows.start - y,
                width: columns.len(),
                height: rows.len(),
            })
        };
        self.file().blocks(BLOCK_PIXELS).into_iter().filter_map(within).collect()
    }

    /// The image of the first date.
    pub fn file(&self) -> &ImageFile {
        &self.dates[0].file
    }

    /// The part that is read.
    pub fn part(&self) -> Area {
        self.part
    }

    /// Bands that are read of an image.
    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// Values that a pixel has.
    pub fn channels(&self) -> usize {
        self.bands.len() * if self.looks == Looks::Bands { self.dates.len() } else { 1 }
    }

    /// Whether its values are means over dates.
    pub fn averages(&self) -> bool {
        self.looks == Looks::Mean && self.dates.len() > 1
    }

    /// The same with a cache of so many bytes for all images, see
    /// [`Raster::with_cache`](crate::imaging::raster::Raster::with_cache).
    pub fn with_cache(self, bytes: usize) -> Self {
        let each = bytes / self.dates.len().max(1);
        let cached = |date: Date| Date { file: date.file.with_cache(each), ..date };
        Stack { dates: self.dates.into_iter().map(cached).collect(), ..self }
    }

    /// Whether some pixel may have no data.
    pub fn may_have_gaps(&self) -> bool {
        self.dates.iter().any(|date| date.file.may_have_gaps() || date.border.is_some())
    }

    /// Zeros that count as no data, over all dates.
    pub fn border_zeros(&self) -> usize {
        self.dates.iter().filter_map(|date| date.border.as_ref()).map(Mask::count).sum()
    }

    /// What the user should know of the images, and that zeros count as no data.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        for Date { file, border, .. } in &self.dates {
            notices.extend_from_slice(file.notices());
            if let Some(zeros) = border.as_ref().map(Mask::count) {
                let share = 100.0 * zeros as f64 / (self.part.width * self.part.height) as f64;
                notices.push(format!(
                    "{}: {zeros} zeros at its border ({share:.1} %) count as no data; ⟨zero-border⟩ keep reads them",
                    file.path().display()
                ));
            }
        }
        notices
    }

    /// An area of the part, in the units of the stretch.
    ///
    /// # Errors
    /// An area beyond the part, chunks that are damaged, a file that has changed.
    pub fn window(&self, area: Area) -> Result<Window> {
        let mut windows = Vec::new();
        for date in &self.dates {
            let mut window = date.file.read_window(self.place(area), &self.bands)?;
            if let Some(border) = &date.border {
                border.hide(area, &mut window.valid);
            }
            for pixel in window.samples.chunks_exact_mut(date.units.len().max(1)) {
                let units = pixel.iter_mut().zip(&date.units);
                units.for_each(|(value, [factor, offset])| *value = *value * factor + offset);
            }
            windows.push(window);
        }
        Ok(match (windows.len(), self.looks) {
            (1, _) => windows.remove(0),
            (_, Looks::Mean) => mean(&windows, self.bands.len(), self.scale),
            (_, Looks::Bands) => side_by_side(&windows, self.bands.len()),
        })
    }

    /// Whether most values of the first band are below zero, as decibels are: by some of them.
    ///
    /// # Errors
    /// As [`Stack::window`].
    pub fn is_mostly_negative(&self) -> Result<bool> {
        let (mut negative, mut all) = (0u64, 0u64);
        self.look_at_some(&mut |pixel| {
            all += 1;
            negative += u64::from(pixel[0] < 0.0);
        })?;
        Ok(negative * 2 > all)
    }

    /// Shows the pixels with data of some places.
    ///
    /// # Errors
    /// As [`Stack::window`].
    pub fn look_at_some(&self, seen: &mut dyn FnMut(&[f32])) -> Result<()> {
        let starts = |len: usize| (0..SAMPLES).map(move |i| i * len.saturating_sub(SAMPLE_SIDE) / (SAMPLES - 1));
        for y in starts(self.part.height) {
            for x in starts(self.part.width) {
                let area =
                    Area { x, y, width: SAMPLE_SIDE.min(self.part.width), height: SAMPLE_SIDE.min(self.part.height) };
                let window = self.window(area)?;
                let pixels = window.samples.chunks_exact(self.channels()).zip(window.valid);
                pixels.filter(|(_, valid)| *valid).for_each(|(pixel, _)| seen(pixel));
            }
        }
        Ok(())
    }
}

/// Pixels read at a time in a pass over a scene.
const BLOCK_PIXELS: usize = 1 << 20;

/// What the values of bands are multiplied by, and what is added then, to become those that their stretches are given
/// in; empty where nothing is to be done.
fn units(info: &RasterInfo, bands: &[usize], stretches: &Stretches) -> Vec<[f32; 2]> {
    let unit = |(i, band): (usize, &usize)| info.unit(*band).filter(|_| stretches.of(i).is_physical());
    let units: Vec<Option<[f64; 2]>> = bands.iter().enumerate().map(unit).collect();
    if units.iter().all(Option::is_none) {
        return Vec::new();
    }
    units.into_iter().map(|unit| unit.unwrap_or([1.0, 0.0]).map(|v| v as f32)).collect()
}

/// The mean of each band over the dates that have data at a pixel; a pixel has data where one of them has.
fn mean(windows: &[Window], bands: usize, scale: Scale) -> Window {
    let power = |value: f32| match scale {
        Scale::Plain => f64::from(value),
        Scale::Amplitude => f64::from(value).powi(2),
        Scale::Decibels => 10f64.powf(f64::from(value) / 10.0),
    };
    let back = |mean: f64| match scale {
        Scale::Plain => mean as f32,
        Scale::Amplitude => mean.sqrt() as f32,
        Scale::Decibels => (10.0 * mean.log10()) as f32,
    };
    let pixels = windows[0].valid.len();
    let mut whole = Window { samples: vec![0.0; pixels * bands], valid: vec![false; pixels] };
    for pixel in 0..pixels {
        let dates = || windows.iter().filter(|window| window.valid[pixel]);
        let count = dates().count();
        whole.valid[pixel] = count > 0;
        for i in pixel * bands..(pixel + 1) * bands {
            whole.samples[i] = match count {
                0 => windows[0].samples[i],
                _ => back(dates().map(|window| power(window.samples[i])).sum::<f64>() / count as f64),
            };
        }
    }
    whole
}

/// The bands of all dates; a pixel has data where all of them have.
fn side_by_side(windows: &[Window], bands: usize) -> Window {
    let pixels = windows[0].valid.len();
    let mut samples = Vec::with_capacity(pixels * bands * windows.len());
    for pixel in 0..pixels {
        windows.iter().for_each(|window| samples.extend_from_slice(&window.samples[pixel * bands..][..bands]));
    }
    let valid = (0..pixels).map(|pixel| windows.iter().all(|window| window.valid[pixel])).collect();
    Window { samples, valid }
}

#[cfg(test)]
mod tests;
