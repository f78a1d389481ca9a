//! An image of any size on another grid, block by block.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::files::{Unfinished, io_error};
use crate::imaging::codec::decode::ImageFile;
use crate::imaging::ops::warp::{Interpolation, warp};
use crate::imaging::pixels::Area;
use crate::imaging::raster::{Nodata, RasterInfo, RasterWriter, RawTag, SampleType};
use crate::imaging::registration::homography::Homography;

/// Columns and rows of the grid that one launch computes: places within are exact to 1.5e-4 pixels.
const TILE: [usize; 2] = [512, 256];
/// Samples that a launch may read, 64 MiB, and a block of rows hold. No more: as floats, their numbers are exact.
const MOST_SAMPLES: usize = 1 << 24;
/// Decoded chunks kept of a raster, since neighbouring tiles read them again.
const CACHE_BYTES: usize = 128 << 20;
/// Pixels of a side of the tiles written.
const WRITTEN_TILE: usize = 256;

/// Opens an image to be warped, or on whose grid another is.
///
/// # Errors
/// As [`ImageFile::open`].
pub fn open(path: &Path) -> Result<ImageFile> {
    Ok(ImageFile::open(path)?.with_cache(CACHE_BYTES))
}

/// An image resampled onto a grid.
pub struct Resampler<'a> {
    device: &'a Device,
    source: &'a ImageFile,
    homography: Homography,
    to_source: Homography,
    grid: [usize; 2],
    interpolation: Interpolation,
}

impl<'a> Resampler<'a> {
    /// The image `source` on a grid of `[width, height]` pixels to which `homography` maps it.
    pub fn new(
        device: &'a Device,
        source: &'a ImageFile,
        homography: &Homography,
        grid: [usize; 2],
        interpolation: Interpolation,
    ) -> Self {
        Resampler { device, source, homography: *homography, to_source: homography.inverse(), grid, interpolation }
    }

    /// Writes a tiled GeoTIFF with the bands and the sample type of the source, and `georeference`. Pixels without a
    /// value get the source's nodata value or, where it has none that a sample can hold, NaN in floats and 0 in
    /// integers, and that is noted in the file if there may be any. Where the source has an alpha band they are 0 in
    /// all.
    ///
    /// The nearest pixel's samples are carried over exactly; means of four are computed in 32-bit floats.
    ///
    /// `each` is called with the number of rows that are done and may stop the work.
    ///
    /// # Errors
    /// What `each` returns, a source that is damaged, a file that cannot be written: nothing is left of it.
    pub fn write_tiff(
        &self,
        path: &Path,
        georeference: &[RawTag],
        mut each: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let source = self.source.info();
        let [width, height] = self.grid;
        let text = if source.sample.is_float() { "nan" } else { "0" };
        let assumed = (source.alpha.is_none() && self.leaves_gaps()).then(|| Nodata::parse(text)).flatten();
        let nodata = source.holdable_nodata().cloned().or(assumed).or_else(|| source.nodata.clone());
        let info = RasterInfo { width, height, nodata, georeference: georeference.to_vec(), ..source.clone() };
        let hole = info.nodata.as_ref().map_or(0.0, |nodata| nodata.value);
        let mut writer = RasterWriter::create(path, info, WRITTEN_TILE)?;
        self.rows(hole, |done, samples| {
            writer.write_rows(samples)?;
            each(done)
        })?;
        writer.finish()
    }

    /// Writes a PNG of 8 or 16 bits as the source; pixels without a value are 0 and, if there may be any, transparent.
    /// `each` as in [`Resampler::write_tiff`].
    ///
    /// # Errors
    /// Samples or bands that a PNG cannot hold, and as [`Resampler::write_tiff`].
    pub fn write_png(&self, path: &Path, mut each: impl FnMut(usize) -> Result<()>) -> Result<()> {
        let source = self.source.info();
        let (colour, depth) = png_kind(source).ok_or_else(|| no_png(source, path))?;
        let gaps = source.alpha.is_none() && self.leaves_gaps();
        let colour = match colour {
            png::ColorType::Grayscale if gaps => png::ColorType::GrayscaleAlpha,
            png::ColorType::Rgb if gaps => png::ColorType::Rgba,
            colour => colour,
        };
        let failed = |error: png::EncodingError| match error {
            png::EncodingError::IoError(error) => io_error("cannot write", path, &error),
            other => Error::input(format!("cannot write ({other})"), path.display(), "write a .tif"),
        };
        let mut file = Unfinished::create(path)?;
        let mut encoder = png::Encoder::new(BufWriter::new(file.file()), self.grid[0] as u32, self.grid[1] as u32);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().map_err(failed)?;
        let mut stream = writer.stream_writer().map_err(failed)?;
        let opaque = if depth == png::BitDepth::Eight { 255.0 } else { 65_535.0 };
        self.rows(f64::NAN, |done, samples| {
            // `as` clamps, NaN to 0; PNG has the most significant byte first.
            let mut bytes = Vec::with_capacity(samples.len() * 2);
            let mut put = |value: f64| match depth {
                png::BitDepth::Eight => bytes.push(value.round_ties_even() as u8),
                _ => bytes.extend_from_slice(&(value.round_ties_even() as u16).to_be_bytes()),
            };
            for pixel in samples.chunks_exact(source.bands) {
                pixel.iter().for_each(|value| put(*value));
                if gaps {
                    put(if pixel[0].is_nan() { 0.0 } else { opaque });
                }
            }
            stream.write_all(&bytes).map_err(|error| io_error("cannot write", path, &error))?;
            each(done)
        })?;
        stream.finish().map_err(failed)?;
        writer.finish().map_err(failed)?;
        file.finish()
    }

    /// Whether a file of this name can hold the result.
    ///
    /// # Errors
    /// A name that ends neither in .tif, .tiff nor .png; samples or bands that a PNG cannot hold.
    pub fn check_name(source: &RasterInfo, path: &Path) -> Result<()> {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        match extension.to_str() {
            Some("tif" | "tiff") => Ok(()),
            Some("png") => png_kind(source).map(|_| ()).ok_or_else(|| no_png(source, path)),
            _ => Err(Error::input("not a name of a TIFF or a PNG", path.display(), "end it in .tif or .png")),
        }
    }

    /// Whether the source lies on the grid at all, judged by 65x65 places of either: an overlap of less than a
    /// hundredth may be missed.
    pub fn meets_grid(&self) -> bool {
        let RasterInfo { width, height, .. } = *self.source.info();
        let places = |[width, height]: [usize; 2]| {
            let along = |i: usize, size: usize| i as f64 / 64.0 * (size - 1) as f64;
            (0..=64).flat_map(move |i| (0..=64).map(move |k| [along(i, width), along(k, height)]))
        };
        places(self.grid).any(|pixel| self.sees(pixel))
            || places([width, height])
                .any(|place| self.homography.map(place).is_some_and(|pixel| within(pixel, self.grid)))
    }

    /// Whether pixels of the grid may get no value. Floats alone leave none: what is NaN stays so.
    fn leaves_gaps(&self) -> bool {
        !self.is_covered() || self.source.marks_gaps()
    }

    /// Whether every pixel of the grid gets a value from a pixel of the source.
    fn is_covered(&self) -> bool {
        let [right, bottom] = self.grid.map(|size| size as f64 - 1.0);
        // The source is convex, and so is the part of the grid that it covers.
        [[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]].into_iter().all(|corner| self.sees(corner))
    }

    fn sees(&self, pixel: [f64; 2]) -> bool {
        let RasterInfo { width, height, .. } = *self.source.info();
        self.to_source.map(pixel).is_some_and(|place| within(place, [width, height]))
    }

    /// Calls `each(rows done, samples)` for blocks of rows `[rows, width, bands]` from the top, `hole` where there is
    /// no data.
    fn rows(&self, hole: f64, mut each: impl FnMut(usize, &[f64]) -> Result<()>) -> Result<()> {
        let ([width, height], bands) = (self.grid, self.source.info().bands);
        let most = (MOST_SAMPLES / width / bands).clamp(1, TILE[1]);
        for y in (0..height).step_by(most) {
            let rows = most.min(height - y);
            let mut samples = vec![f64::NAN; rows * width * bands];
            for x in (0..width).step_by(TILE[0]) {
                let area = Area { x, y, width: TILE[0].min(width - x), height: rows };
                self.compute(area, Area { x: 0, y, width, height: rows }, &mut samples)?;
            }
            samples.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = hole);
            each(y + rows, &samples)?;
        }
        Ok(())
    }

    /// Computes `area` of the grid into `samples`, which hold `block`; NaN stays where there is no data.
    fn compute(&self, area: Area, block: Area, samples: &mut [f64]) -> Result<()> {
        let bands = self.source.info().bands;
        let Some(window) = self.window(area) else { return Ok(()) };
        if window.width * window.height * bands > MOST_SAMPLES && area.width * area.height > 1 {
            // Much of the source falls on few pixels here.
            let (left, right) = halves(area);
            self.compute(left, block, samples)?;
            return self.compute(right, block, samples);
        }
        let corner = |area: Area| [area.x as f64, area.y as f64];
        let to_window = self.to_source.between(corner(area), corner(window));
        let warped = |values: &[f32], bands: usize| -> Result<Vec<f32>> {
            let x = Tensor::new(self.device, &[1, window.height, window.width, bands], values)?;
            warp(&x, &to_window, [area.height, area.width], self.interpolation, f32::NAN)?.to_vec()
        };
        let all: Vec<usize> = (1..=bands).collect();
        let first = |pixel: usize| {
            let (x, y) = (area.x + pixel % area.width - block.x, area.y + pixel / area.width - block.y);
            (y * block.width + x) * bands
        };
        match self.interpolation {
            Interpolation::Bilinear => {
                let mut read = self.source.read_window(window, &all)?;
                let gaps = read.samples.chunks_exact_mut(bands).zip(&read.valid).filter(|(_, valid)| !**valid);
                gaps.for_each(|(pixel, _)| pixel.fill(f32::NAN));
                for (pixel, values) in warped(&read.samples, bands)?.chunks_exact(bands).enumerate() {
                    samples[first(pixel)..][..bands].iter_mut().zip(values).for_each(|(to, v)| *to = f64::from(*v));
                }
            }
            // The pixels' numbers are warped: no sample passes through a float of 32 bits.
            Interpolation::Nearest => {
                let read = self.source.read_window_exactly(window, &all)?;
                let numbers: Vec<f32> = (0..window.width * window.height).map(|i| i as f32).collect();
                for (pixel, number) in warped(&numbers, 1)?.into_iter().enumerate() {
                    let from = number as usize;
                    if !number.is_nan() && read.valid[from] {
                        samples[first(pixel)..][..bands].copy_from_slice(&read.samples[from * bands..][..bands]);
                    }
                }
            }
        }
        Ok(())
    }

    /// The part of the source that an area of the grid sees; `None` if that is nothing.
    fn window(&self, area: Area) -> Option<Area> {
        let info = self.source.info();
        let (left, top) = (area.x as f64, area.y as f64);
        let (right, bottom) = (left + area.width as f64 - 1.0, top + area.height as f64 - 1.0);
        let corners = [[left, top], [right, top], [left, bottom], [right, bottom]].map(|at| self.to_source.map(at));
        if corners.iter().all(Option::is_none) {
            return None;
        }
        if corners.iter().any(Option::is_none) {
            // The horizon crosses the area: it may see everything.
            return Some(Area { x: 0, y: 0, width: info.width, height: info.height });
        }
        let range = |axis: usize, size: usize| {
            let along = corners.iter().flatten().map(|place| place[axis]);
            let low = along.clone().fold(f64::INFINITY, f64::min).floor() - 1.0;
            // The neighbour of the last pixel, and one more for places that are rounded.
            let past = along.fold(f64::NEG_INFINITY, f64::max).floor() + 3.0;
            let (low, past) = (low.clamp(0.0, size as f64) as usize, past.clamp(0.0, size as f64) as usize);
            (low < past).then_some((low, past - low))
        };
        let ((x, width), (y, height)) = (range(0, info.width)?, range(1, info.height)?);
        Some(Area { x, y, width, height })
    }
}

/// Whether a place lies on a pixel of an image.
fn within(place: [f64; 2], size: [usize; 2]) -> bool {
    (0..2).all(|i| (-0.5..size[i] as f64 - 0.5).contains(&place[i]))
}

/// An area cut in two across its longer side.
fn halves(area: Area) -> (Area, Area) {
    let Area { x, y, width, height } = area;
    if width >= height {
        let first = width / 2;
        (Area { width: first, ..area }, Area { x: x + first, width: width - first, ..area })
    } else {
        let first = height / 2;
        (Area { height: first, ..area }, Area { y: y + first, height: height - first, ..area })
    }
}

/// The PNG that can hold such samples.
fn png_kind(info: &RasterInfo) -> Option<(png::ColorType, png::BitDepth)> {
    let depth = match info.sample {
        SampleType::U8 => png::BitDepth::Eight,
        SampleType::U16 => png::BitDepth::Sixteen,
        _ => return None,
    };
    let colour = match (info.bands, info.alpha) {
        (1, None) => png::ColorType::Grayscale,
        (2, Some(2)) => png::ColorType::GrayscaleAlpha,
        (3, None) => png::ColorType::Rgb,
        (4, Some(4)) => png::ColorType::Rgba,
        _ => return None,
    };
    Some((colour, depth))
}

fn no_png(info: &RasterInfo, path: &Path) -> Error {
    let what = format!("a PNG cannot hold {} bands of {}", info.bands, info.sample);
    Error::input(what, path.display(), "end the name in .tif")
}
