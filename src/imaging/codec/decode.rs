//! Image files, judged by their bytes and not by their names: TIFFs by windows, others decoded whole. What a file means
//! does not depend on whether it is one image of a folder or a scene: both are read here.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::imaging::codec::sidecar::Sidecars;
use crate::imaging::codec::still::{self, Still};
use crate::imaging::fault::{Fault, MAX_BYTES, Outcome, open_file, unsupported};
use crate::imaging::picture::{Depth, Picture, PictureInfo, Samples};
use crate::imaging::pixels::Area;
use crate::imaging::raster::{Raster, RasterInfo, SampleType, Window};

/// File name extensions (lower case) of images in a folder; others are passed over.
pub const EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp"];

/// Pixels of a TIFF decoded at a time, beside the image itself.
const BLOCK_PIXELS: usize = 1 << 18;

/// Reads the header of an image: size, bands (alpha left out) and depth of what [`open`] gives.
///
/// # Errors
/// Names the file: missing, damaged, not an image, of a kind that is not read, or larger than 4 GiB once decoded.
pub fn probe(path: &Path) -> Result<PictureInfo> {
    let info = probe_file(path)?;
    check_meaning(&info, path)?;
    picture_info(&info, path)
}

/// Reads what the header of an image and the files beside it say.
///
/// # Errors
/// Names the file: missing, damaged, not an image, of a kind that is not read.
pub fn probe_file(path: &Path) -> Result<RasterInfo> {
    probe_all(path).map(|probed| probed.info)
}

/// What can be said of an image file without decoding it.
#[derive(Debug, Clone)]
pub struct Probed {
    /// What its header and the files beside it say.
    pub info: RasterInfo,
    /// What the user should know of it, see [`ImageFile::notices`].
    pub notices: Vec<String>,
    /// See [`ImageFile::marks_gaps`].
    pub marks_gaps: bool,
}

/// As [`probe_file`], and all else that can be said.
///
/// # Errors
/// As [`probe_file`].
pub fn probe_all(path: &Path) -> Result<Probed> {
    if Raster::is_tiff(path) {
        let file = ImageFile::open(path)?;
        return Ok(Probed { marks_gaps: file.marks_gaps(), info: file.info, notices: file.notices });
    }
    let header = || -> Outcome<Probed> {
        let (mut info, turned) = still::probe(path)?;
        let beside = Sidecars::of(path, &info);
        place(&mut info, &beside, turned)?;
        let marks_gaps = info.alpha.is_some() || beside.mask.is_some();
        Ok(Probed { info, notices: beside.notices, marks_gaps })
    };
    header().map_err(|fault| fault.at(path))
}

/// Decodes an image, alpha left out: integers over the range of their type, floats as they are. Pixels without data are
/// black, but NaN stays.
///
/// # Errors
/// As [`probe`].
pub fn open(path: &Path) -> Result<Picture> {
    let file = ImageFile::open(path)?;
    check_meaning(&file.info, path)?;
    file.picture().map(|(picture, _)| picture)
}

/// An image file opened for reading: a TIFF is read by windows, another format is in memory.
#[derive(Debug)]
pub struct ImageFile {
    path: PathBuf,
    content: Content,
    info: RasterInfo,
    /// The mask in a file of its own.
    mask: Option<Box<Raster>>,
    notices: Vec<String>,
}

#[derive(Debug)]
enum Content {
    Tiff(Box<Raster>),
    Still(Samples),
}

impl ImageFile {
    /// Opens an image: reads the header of a TIFF, or decodes another format.
    ///
    /// # Errors
    /// Names the file: missing, damaged, not an image, of a kind that is not read.
    pub fn open(path: &Path) -> Result<Self> {
        let (content, mut info, turned) = if Raster::is_tiff(path) {
            let raster = Raster::open(path)?;
            let (info, turned) = (raster.info().clone(), raster.is_turned());
            (Content::Tiff(Box::new(raster)), info, turned)
        } else {
            let decode = || -> Outcome<(Still, bool)> {
                let (_, turned) = still::probe(path)?;
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut open_file(path)?, &mut bytes)?;
                Ok((still::decode(&bytes)?, turned))
            };
            let (still, turned) = decode().map_err(|fault| fault.at(path))?;
            (Content::Still(still.samples), still.info, turned)
        };
        let beside = Sidecars::of(path, &info);
        place(&mut info, &beside, turned).map_err(|fault| fault.at(path))?;
        let mut notices = beside.notices;
        notices.extend(notices_of(&info, path));
        Ok(ImageFile { path: path.to_path_buf(), content, info, mask: beside.mask.map(Box::new), notices })
    }

    /// An image that is in memory already; `path` is its name in messages.
    ///
    /// # Errors
    /// As [`Picture::check_size`].
    pub fn in_memory(picture: Picture, path: &Path) -> Result<Self> {
        picture.check_size(path)?;
        let PictureInfo { width, height, bands, depth } = picture.info;
        let sample = match depth {
            Depth::U8 => SampleType::U8,
            Depth::U16 => SampleType::U16,
            Depth::F32 => SampleType::F32,
        };
        let info = RasterInfo::new(width, height, bands, sample);
        let content = Content::Still(picture.samples);
        Ok(ImageFile { path: path.to_path_buf(), content, info, mask: None, notices: Vec::new() })
    }

    /// The same file with a cache of at most so many bytes of decoded chunks, see [`Raster::with_cache`].
    pub fn with_cache(mut self, bytes: usize) -> Self {
        if let Content::Tiff(raster) = self.content {
            self.content = Content::Tiff(Box::new(raster.with_cache(bytes)));
        }
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size, samples, nodata value and place on Earth.
    pub fn info(&self) -> &RasterInfo {
        &self.info
    }

    /// What the user should know of the file, one line each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The whole image as an area.
    pub fn area(&self) -> Area {
        Area { x: 0, y: 0, width: self.info.width, height: self.info.height }
    }

    /// Whether something in it or beside it marks pixels without data: a nodata value, alpha, a mask.
    pub fn marks_gaps(&self) -> bool {
        let within = match &self.content {
            Content::Tiff(raster) => raster.has_mask(),
            Content::Still(_) => false,
        };
        within || self.mask.is_some() || self.info.alpha.is_some() || self.info.holdable_nodata().is_some()
    }

    /// Whether it may have pixels without data: they are marked, or samples are floats, which can be NaN.
    pub fn may_have_gaps(&self) -> bool {
        self.marks_gaps() || self.info.sample.is_float()
    }

    /// Areas that cover the image once, see [`Raster::blocks`].
    pub fn blocks(&self, pixels: usize) -> Vec<Area> {
        match &self.content {
            Content::Tiff(raster) => raster.blocks(pixels),
            Content::Still(_) => {
                let Area { width, height, .. } = self.area();
                let rows = (pixels / width).clamp(1, height);
                (0..height).step_by(rows).map(|y| Area { x: 0, y, width, height: rows.min(height - y) }).collect()
            }
        }
    }

    /// Reads bands (from 1) of a rectangle, see [`Raster::read_window`].
    ///
    /// # Errors
    /// As [`Raster::read_window`].
    pub fn read_window(&self, area: Area, bands: &[usize]) -> Result<Window> {
        self.read_as(area, bands, |value| value as f32)
    }

    /// As [`ImageFile::read_window`], every sample exactly.
    ///
    /// # Errors
    /// As [`Raster::read_window`].
    pub fn read_window_exactly(&self, area: Area, bands: &[usize]) -> Result<Window<f64>> {
        self.read_as(area, bands, |value| value)
    }

    fn read_as<T: Copy + Default + Into<f64>>(
        &self,
        area: Area,
        bands: &[usize],
        sample: impl Fn(f64) -> T,
    ) -> Result<Window<T>> {
        let window = match &self.content {
            Content::Tiff(raster) => raster.read_as(area, bands, sample)?,
            Content::Still(samples) => self.cut(samples, area, bands, sample)?,
        };
        self.masked(window, area)
    }

    /// A window of an image in memory.
    fn cut<T>(&self, samples: &Samples, area: Area, bands: &[usize], sample: impl Fn(f64) -> T) -> Result<Window<T>> {
        let all = self.info.bands;
        let inside = self.info.width >= area.columns().end && self.info.height >= area.rows().end;
        crate::ensure!(
            inside && bands.iter().all(|band| (1..=all).contains(band)),
            Error::input("no such window or band", self.path.display(), "give an area and bands of the image")
        );
        let value = |i: usize| match samples {
            Samples::U8(v) => f64::from(v[i]),
            Samples::U16(v) => f64::from(v[i]),
            Samples::F32(v) => f64::from(v[i]),
        };
        let mut window = Window { samples: Vec::new(), valid: Vec::with_capacity(area.width * area.height) };
        window.samples.reserve_exact(area.width * area.height * bands.len());
        for y in area.rows() {
            for first in area.columns().map(|x| (y * self.info.width + x) * all) {
                let values = || bands.iter().map(|band| value(first + band - 1));
                window.samples.extend(values().map(&sample));
                let shown = self.info.alpha.is_none_or(|alpha| value(first + alpha - 1) != 0.0);
                window.valid.push(shown && values().all(f64::is_finite));
            }
        }
        Ok(window)
    }

    /// What the mask in a file of its own leaves of a window.
    fn masked<T>(&self, mut window: Window<T>, area: Area) -> Result<Window<T>> {
        if let Some(mask) = &self.mask {
            let shown = mask.read_window(area, &[1])?.samples;
            window.valid.iter_mut().zip(shown).for_each(|(valid, shown)| *valid &= shown != 0.0);
        }
        Ok(window)
    }

    /// The whole image, alpha left out, as [`open`] gives it, and which pixels have data, if some have none. Integers
    /// of any type are read over its range.
    ///
    /// # Errors
    /// An image of more than 4 GiB, and as [`ImageFile::read_window`].
    pub fn picture(self) -> Result<(Picture, Option<Vec<bool>>)> {
        let info = picture_info(&self.info, &self.path)?;
        let file = match self.content {
            Content::Still(samples) if self.mask.is_none() && self.info.alpha.is_none() => {
                return Ok((Picture { info, samples }, None));
            }
            Content::Tiff(raster) if self.mask.is_none() && raster.is_plain_bytes() => {
                check_bytes(&self.info, &self.path)?;
                let samples = Samples::U8(raster.with_cache(0).read_bytes()?);
                return Ok((Picture { info, samples }, None));
            }
            content => ImageFile { content, ..self },
        };
        let [black, white] = file.info.range().map(|end| end as f32);
        Ok(match info.depth {
            Depth::U8 => {
                let byte = file.info.byte_of();
                let (mut samples, valid) = file.whole(|value| byte(value as f32))?;
                blacken(&mut samples, valid.as_deref(), info.bands, |_| true);
                (Picture { info, samples: Samples::U8(samples) }, valid)
            }
            Depth::U16 => {
                // The values are whole and within the type already.
                let (mut samples, valid) = file.whole(|value| value as u16)?;
                blacken(&mut samples, valid.as_deref(), info.bands, |_| true);
                (Picture { info, samples: Samples::U16(samples) }, valid)
            }
            Depth::F32 => {
                let plain = file.info.sample.is_float();
                let unit = |value: f32| if plain { value } else { (value - black) / (white - black) };
                let (mut samples, valid) = file.whole(|value| unit(value as f32))?;
                blacken(&mut samples, valid.as_deref(), info.bands, |value| value.is_finite());
                (Picture { info, samples: Samples::F32(samples) }, valid)
            }
        })
    }

    /// The whole image, alpha left out, in the unit of the file, and which pixels have data, if some have none.
    ///
    /// # Errors
    /// An image of more than 4 GiB, and as [`ImageFile::read_window`].
    pub fn values(&self) -> Result<(Vec<f32>, Option<Vec<bool>>)> {
        self.whole(|value| value as f32)
    }

    /// `[height, width, bands]`, as the file has them.
    fn whole<T>(&self, sample: impl Fn(f64) -> T) -> Result<(Vec<T>, Option<Vec<bool>>)>
    where
        T: Copy + Default + Into<f64>,
    {
        check_bytes(&self.info, &self.path)?;
        let bands: Vec<usize> = self.info.bands_without_alpha().collect();
        let Area { width, height, .. } = self.area();
        let row = width * bands.len();
        let mut samples = Vec::new();
        let bytes = (row * height * size_of::<T>()) as u64;
        samples.try_reserve_exact(row * height).map_err(|_| Fault::TooLarge(bytes).at(&self.path))?;
        samples.resize(row * height, T::default());
        let mut all_valid: Option<Vec<bool>> = None;
        for area in self.blocks(BLOCK_PIXELS) {
            let window = self.read_as(area, &bands, &sample)?;
            let gaps = window.valid.contains(&false);
            for (i, y) in area.rows().enumerate() {
                let line = &window.samples[i * area.width * bands.len()..][..area.width * bands.len()];
                let to = &mut samples[y * row + area.x * bands.len()..][..line.len()];
                to.copy_from_slice(line);
                if gaps {
                    let valid = &window.valid[i * area.width..][..area.width];
                    let kept = all_valid.get_or_insert_with(|| vec![true; width * height]);
                    kept[y * width + area.x..][..area.width].copy_from_slice(valid);
                }
            }
        }
        Ok((samples, all_valid))
    }
}

/// Makes pixels without data black, those of their samples that `which` says.
fn blacken<T: Copy + Default>(samples: &mut [T], valid: Option<&[bool]>, bands: usize, which: impl Fn(T) -> bool) {
    let Some(valid) = valid else { return };
    for (pixel, _) in samples.chunks_exact_mut(bands).zip(valid).filter(|(_, valid)| !**valid) {
        pixel.iter_mut().filter(|sample| which(**sample)).for_each(|sample| *sample = T::default());
    }
}

/// The place that the files beside an image give it.
fn place(info: &mut RasterInfo, beside: &Sidecars, turned: bool) -> Outcome<()> {
    if turned && !beside.georeference.is_empty() {
        return unsupported("an image that is to be turned upright, in a place on Earth by a file beside it");
    }
    if !info.is_placed() {
        info.georeference.clone_from(&beside.georeference);
    }
    Ok(())
}

/// What is worth a word in the file itself.
fn notices_of(info: &RasterInfo, path: &Path) -> Vec<String> {
    let path = path.display();
    let points = info.control_points().map(|points| format!("{path}: placed by {points} ground control points only"));
    let nodata = info.nodata.as_ref().filter(|nodata| !nodata.fits(info.sample)).map(|nodata| {
        format!("{path}: no sample of type {} can be the nodata value {}, so none is masked", info.sample, nodata.text)
    });
    points.into_iter().chain(nodata).collect()
}

/// Refuses an image that would decode to more than [`MAX_BYTES`].
fn check_bytes(info: &RasterInfo, path: &Path) -> Result<()> {
    let pixels = info.width as u64 * info.height as u64;
    let bytes = pixels.saturating_mul((info.bands * info.bits.div_ceil(8)) as u64);
    crate::ensure!(bytes <= MAX_BYTES, Fault::TooLarge(bytes).at(path));
    Ok(())
}

/// Size, bands and depth of an image that is read whole, its integers over the range of their type.
///
/// # Errors
/// An image of more than 4 GiB once decoded; `path` is named.
pub fn picture_info(info: &RasterInfo, path: &Path) -> Result<PictureInfo> {
    check_bytes(info, path)?;
    let depth = match info.sample {
        _ if info.is_bytes() => Depth::U8,
        SampleType::U16 if info.bits == 16 => Depth::U16,
        _ => Depth::F32,
    };
    Ok(PictureInfo { width: info.width, height: info.height, bands: info.bands_without_alpha().count(), depth })
}

/// Whether the type of the samples alone says which values are 0 and 1: integers of up to 8 bits and unsigned ones of
/// up to 16 do, by their range, and floats, which hold 0..1.
///
/// # Errors
/// Another type; `path` is named.
pub fn check_meaning(info: &RasterInfo, path: &Path) -> Result<()> {
    if info.is_bytes() || info.sample == SampleType::U16 || info.sample.is_float() {
        return Ok(());
    }
    let kind = if info.sample.is_signed() { "signed" } else { "unsigned" };
    Err(Error::input(
        format!("TIFF samples of {} bits, {kind}, do not say which values are 0 and 1", info.bits),
        path.display(),
        "say it by ⟨stretch⟩, or convert the file to 8 or 16 bits, unsigned, or to floats",
    )
    .of(ErrorKind::File))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tiff_tests;
