//! Reading a TIFF by windows.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::imaging::fault::{Outcome, damaged, open_file, unsupported};
use crate::imaging::lru::Lru;
use crate::imaging::pixels::Area;
use crate::imaging::raster::ifd::{RawTag, Tiff};
use crate::imaging::raster::info::{
    GDAL_METADATA, GDAL_NODATA, GEOREFERENCE, IMAGE_DESCRIPTION, NEW_SUBFILE_TYPE, RasterInfo,
};
use crate::imaging::raster::layout::Layout;
use crate::imaging::raster::nodata::Nodata;
use crate::imaging::raster::orientation::{ORIENTATION, Orientation};
use crate::imaging::raster::photometric::Photometric;
use crate::imaging::raster::sample::EXACT;

/// Decoded chunks kept by a [`Raster`] unless [`Raster::with_cache`] says otherwise: enough for the tiles under a
/// window and its neighbour, and for the strips of a scene of bytes; little beside what a network takes.
pub(super) const CACHE_BYTES: usize = 32 << 20;

/// Samples of a rectangle of a raster.
#[derive(Debug, Clone, PartialEq)]
pub struct Window<T = f32> {
    /// `[height, width, bands]`, in the unit of the file. As `f32`, integers of 32 bits and floats of 64 are rounded to
    /// the nearest.
    pub samples: Vec<T>,
    /// `[height, width]`: whether the pixel has data.
    ///
    /// It has none where a sample is NaN or infinite, where all the bands that are read hold the nodata value, where
    /// the alpha band is 0 or where the file's mask is 0.
    pub valid: Vec<bool>,
}

/// A raster file opened for reading. Can be shared by threads.
#[derive(Debug)]
pub struct Raster {
    path: PathBuf,
    info: RasterInfo,
    pub(super) image: Layout,
    pub(super) mask: Option<Layout>,
    /// The value that stands for no data where samples are stored; `None` where none of them can have it.
    pub(super) nodata: Option<Nodata>,
    /// Which way up it is stored; what is read is upright.
    pub(super) orientation: Orientation,
    overviews: usize,
    pub(super) file: Mutex<File>,
    /// Bytes of the file when it was opened.
    length: u64,
    pub(super) cache: Mutex<Lru<ChunkId, Arc<Vec<u8>>>>,
}

/// Which image of the file, [`IMAGE`] or [`MASK`], and which of its chunks.
pub(super) type ChunkId = (usize, usize);

pub(super) const IMAGE: usize = 0;
const MASK: usize = 1;

impl Raster {
    /// Opens a raster and reads its header.
    ///
    /// # Errors
    ///
    /// Names `path`: not a TIFF, of an unsupported kind, damaged, or cut short.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read_header(path).map_err(|fault| fault.at(path))
    }

    /// Whether a file begins as TIFF files do, whatever its name; false where it cannot be read.
    pub fn is_tiff(path: &Path) -> bool {
        let mut head = [0; 4];
        let read = open_file(path).and_then(|mut file| Ok(file.read_exact(&mut head)?));
        // Classic TIFF is version 42, BigTIFF 43, in either byte order.
        read.is_ok() && matches!(head, [b'I', b'I', 42 | 43, 0] | [b'M', b'M', 0, 42 | 43])
    }

    fn read_header(path: &Path) -> Outcome<Self> {
        let mut tiff = Tiff::new(std::io::BufReader::new(open_file(path)?))?;
        // Bit 0: an overview; bit 2: a mask.
        let kinds: Vec<u64> =
            (0..tiff.directories.len()).map(|i| tiff.first(i, NEW_SUBFILE_TYPE, 0)).collect::<Outcome<_>>()?;
        let Some(main) = kinds.iter().position(|kind| kind & 0b101 == 0) else {
            return damaged("it holds no image at full resolution");
        };
        let image = Layout::new(&mut tiff, main)?;
        let mut mask = None;
        for index in (0..kinds.len()).filter(|i| kinds[*i] & 0b101 == 0b100) {
            let layout = Layout::new(&mut tiff, index)?;
            if (layout.width, layout.height, layout.bands) == (image.width, image.height, 1) {
                mask = Some(layout);
            }
        }
        let text = |raw: Option<RawTag>| raw.map(|raw| raw.text());
        let georeference: Vec<RawTag> =
            GEOREFERENCE.iter().filter_map(|tag| tiff.find(main, *tag).transpose()).collect::<Outcome<_>>()?;
        let way = tiff.first(main, ORIENTATION, 1)?;
        let orientation = Orientation::of(way);
        if !orientation.is_upright() && !georeference.is_empty() {
            return unsupported(format!("orientation {way} in a place on Earth, which says where its upper left is"));
        }
        let declared = text(tiff.find(main, GDAL_NODATA)?).and_then(|text| Nodata::parse(&text));
        let nodata = declared.clone().filter(|nodata| nodata.fits(image.sample));
        if image.photometric == Photometric::Cmyk && nodata.is_some() {
            return unsupported("CMYK inks with a nodata value");
        }
        let [width, height] = orientation.size([image.width, image.height]);
        let (sample, bits) = image.photometric.sample(image.sample, image.bits);
        let info = RasterInfo {
            width,
            height,
            bands: image.photometric.bands(image.bands),
            sample,
            bits,
            nodata: match &nodata {
                Some(nodata) => image.photometric.nodata(nodata),
                None => declared,
            },
            alpha: image.alpha.map(|band| image.photometric.bands(band) + 1),
            georeference,
            description: text(tiff.find(main, IMAGE_DESCRIPTION)?),
            // Of inks and indices it says what light has not.
            metadata: text(tiff.find(main, GDAL_METADATA)?).filter(|_| image.photometric == Photometric::Light),
        };
        Ok(Raster {
            path: path.to_path_buf(),
            info,
            image,
            mask,
            nodata,
            orientation,
            overviews: kinds.iter().filter(|kind| *kind & 0b101 == 0b001).count(),
            length: tiff.length,
            file: Mutex::new(tiff.into_file().into_inner()),
            cache: Mutex::new(Lru::new(CACHE_BYTES)),
        })
    }

    /// The same raster with a cache of at most `bytes` bytes of decoded chunks; 0 keeps nothing.
    ///
    /// Reading windows row by row decodes each chunk once if the cache holds those that a row of windows touches: for
    /// strips, the scene's width times the windows' height, in bytes of samples.
    pub fn with_cache(mut self, bytes: usize) -> Self {
        self.cache = Mutex::new(Lru::new(bytes));
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size, samples, nodata value and georeference.
    pub fn info(&self) -> &RasterInfo {
        &self.info
    }

    /// Whether it is stored another way up than it is read.
    pub fn is_turned(&self) -> bool {
        !self.orientation.is_upright()
    }

    /// Whether a mask within the file says which pixels have data.
    pub fn has_mask(&self) -> bool {
        self.mask.is_some()
    }

    /// How many images of reduced resolution the file has besides; they are not read.
    pub fn overviews(&self) -> usize {
        self.overviews
    }

    /// The whole raster as an area.
    pub fn area(&self) -> Area {
        Area { x: 0, y: 0, width: self.info.width, height: self.info.height }
    }

    /// Areas that cover the raster once, in the order in which reading them decodes each chunk once; each holds about
    /// `pixels` pixels, or a single chunk if that is larger.
    pub fn blocks(&self, pixels: usize) -> Vec<Area> {
        let Layout { width, height, chunk_width, chunk_height, .. } = self.image;
        let step_x = (pixels / chunk_height / chunk_width).max(1).saturating_mul(chunk_width).min(width);
        // Strips, and tiles of narrow rasters, leave room for several rows of chunks.
        let step_y = (pixels / step_x / chunk_height).max(1).saturating_mul(chunk_height).min(height);
        let block = |x: usize, y: usize| {
            let stored = Area { x, y, width: step_x.min(width - x), height: step_y.min(height - y) };
            self.orientation.upright(stored, [width, height])
        };
        (0..height).step_by(step_y).flat_map(|y| (0..width).step_by(step_x).map(move |x| block(x, y))).collect()
    }

    /// Reads bands of a rectangle; `bands` are counted from 1, as GDAL does, and come in the order asked for.
    ///
    /// # Errors
    ///
    /// An area that reaches beyond the raster or a band that does not exist; chunks that are damaged or missing.
    pub fn read_window(&self, area: Area, bands: &[usize]) -> Result<Window> {
        self.read_as(area, bands, |value| value as f32)
    }

    /// As [`Raster::read_window`], every sample exactly.
    ///
    /// # Errors
    ///
    /// As [`Raster::read_window`]; integers from 2^53 on, of which 64-bit floats hold some only.
    pub fn read_window_exactly(&self, area: Area, bands: &[usize]) -> Result<Window<f64>> {
        let window = self.read_as(area, bands, |value| value)?;
        if self.info.sample.is_wide() {
            let pixels = window.samples.chunks(bands.len().max(1)).zip(&window.valid);
            let large = |pixel: &[f64]| pixel.iter().any(|value| value.abs() >= EXACT);
            crate::ensure!(
                !pixels.into_iter().any(|(pixel, valid)| *valid && large(pixel)),
                Error::input(
                    "has integers of 2^53 and more, which cannot be copied exactly",
                    self.path.display(),
                    "convert it to 32-bit integers or to 64-bit floats, or interpolate bilinearly"
                )
            );
        }
        Ok(window)
    }

    /// As [`Raster::read_window`], with `sample` of every sample. Whether a sample is a number is asked of the result.
    ///
    /// # Errors
    ///
    /// As [`Raster::read_window`].
    pub(crate) fn read_as<T: Copy + Default + Into<f64>>(
        &self,
        area: Area,
        bands: &[usize],
        sample: impl Fn(f64) -> T,
    ) -> Result<Window<T>> {
        let Area { x, y, width, height } = area;
        let inside = |at: usize, size: usize, limit: usize| at.checked_add(size).is_some_and(|end| end <= limit);
        crate::ensure!(
            inside(x, width, self.info.width) && inside(y, height, self.info.height),
            Error::input(
                format!(
                    "no window of {width}x{height} at ({x}, {y}) in a raster of {}x{}",
                    self.info.width, self.info.height
                ),
                self.path.display(),
                "give an area within the raster"
            )
        );
        if let Some(band) = bands.iter().find(|band| !(1..=self.info.bands).contains(band)) {
            let what = format!("no band {band} in a raster of {}", self.info.bands);
            return Err(Error::input(what, self.path.display(), format!("use bands 1 to {}", self.info.bands)));
        }
        self.whole_or_changed(self.read(area, bands, sample))
    }

    /// What was read, unless the file has changed meanwhile.
    pub(super) fn whole_or_changed<T>(&self, read: Outcome<T>) -> Result<T> {
        crate::ensure!(
            self.is_unchanged(),
            Error::input(
                "the raster has changed while it was read",
                self.path.display(),
                "leave it alone while it is in use"
            )
        );
        read.map_err(|fault| fault.at(&self.path))
    }

    /// Whether the file has as many bytes as when it was opened: one that is written over holds chunks elsewhere.
    fn is_unchanged(&self) -> bool {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.metadata().is_ok_and(|metadata| metadata.len() == self.length)
    }

    fn read<T: Copy + Default + Into<f64>>(
        &self,
        area: Area,
        bands: &[usize],
        sample: impl Fn(f64) -> T,
    ) -> Outcome<Window<T>> {
        let area = self.orientation.stored(area, [self.image.width, self.image.height]);
        let pixels = area.width * area.height;
        let mut samples = vec![T::default(); pixels * bands.len()];
        // A pixel has data once one of its bands has, unless the alpha band, a mask or an infinite sample says
        // otherwise.
        let (nodata, stored) = (self.nodata.as_ref(), self.image.sample);
        let mut filled = vec![nodata.is_none() || bands.is_empty(); pixels];
        let mut hidden = vec![false; pixels];
        let photometric = &self.image.photometric;
        let mut wanted: Vec<usize> = bands.iter().map(|band| photometric.stored_band(band - 1)).collect();
        wanted.extend(self.image.alpha);
        self.visit(IMAGE, &self.image, area, &wanted, |position, first, values| {
            let pixels = first..first + values.len();
            if position == bands.len() {
                hide_zeros(&mut hidden[pixels], values);
                return;
            }
            if let Some(nodata) = nodata {
                let filled = filled[pixels.clone()].iter_mut().zip(&*values);
                filled.for_each(|(filled, value)| *filled |= !nodata.is(stored, *value));
                if stored.is_wide() {
                    values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = nodata.value);
                }
            }
            photometric.light(bands[position] - 1, values);
            let to = samples[first * bands.len() + position..].iter_mut().step_by(bands.len());
            to.zip(&*values).for_each(|(to, value)| *to = sample(*value));
            if stored.is_float() {
                // Asked of the sample: a large f64 is infinite as f32.
                let hidden = hidden[pixels].iter_mut().zip(values);
                hidden.for_each(|(hidden, value)| *hidden |= !sample(*value).into().is_finite());
            }
        })?;
        if let Some(mask) = &self.mask {
            self.visit(MASK, mask, area, &[0], |_, first, values| {
                hide_zeros(&mut hidden[first..first + values.len()], values);
            })?;
        }
        let valid = filled.iter().zip(&hidden).map(|(filled, hidden)| *filled && !hidden).collect();
        let size = [area.width, area.height];
        Ok(Window {
            samples: self.orientation.turn(samples, size, bands.len()),
            valid: self.orientation.turn(valid, size, 1),
        })
    }

    /// Calls `each(position in bands, pixel of the area, values)` for all samples of `bands` (counted from 0) in
    /// `area`, as many as stand side by side in a chunk at a time; the values are its to change.
    fn visit(
        &self,
        which: usize,
        image: &Layout,
        area: Area,
        bands: &[usize],
        mut each: impl FnMut(usize, usize, &mut [f64]),
    ) -> Outcome<()> {
        let chunk_bands = image.chunk_bands();
        let mut values = vec![0.0; image.chunk_width.min(area.width)];
        let hole = self.nodata.as_ref().filter(|_| image.sample.is_wide()).and_then(Nodata::integer);
        self.visit_chunks(which, image, area, bands, |bytes, part| {
            let values = &mut values[..part.width];
            for (position, band) in bands.iter().enumerate().filter(|(_, band)| part.holds(image, **band)) {
                let within = if image.planar { 0 } else { *band };
                for row in 0..part.height {
                    let first = (part.first + row * image.chunk_width) * chunk_bands + within;
                    image.sample.read(bytes, first, chunk_bands, values);
                    if let Some(hole) = hole.filter(|_| image.alpha != Some(*band)) {
                        image.sample.mark(hole, bytes, first, chunk_bands, values);
                    }
                    each(position, part.pixel + row * area.width, values);
                }
            }
        })
    }
}

/// Marks the pixels whose value is 0, as masks and alpha bands hide them.
fn hide_zeros(hidden: &mut [bool], values: &[f64]) {
    hidden.iter_mut().zip(values).for_each(|(hidden, value)| *hidden |= *value == 0.0);
}
