//! What is done to a source before a network reads it: speckle taken off, values brought to 0..1.
//!
//! A [`Preparation`] says what; it is stored with a run, so that what is coloured later is read as what was trained on. A picture in
//! memory is prepared by [`Preparation::apply`], a scene of any size, by windows, as a [`PreparedScene`].

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::imaging::pixels::Area;

use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::imaging::ops::lee::lee;
use crate::imaging::picture::{Depth, Picture, PictureInfo, Reading, Samples};
use crate::imaging::pixels::Pixels;
use crate::imaging::raster::{Backscatter, Raster, RasterInfo, SampleType, Scale, Stretch};

/// Looks of Sentinel-1's interferometric wide swath products of high resolution (ESA, Sentinel-1 Product Definition, 2016).
pub(super) const LOOKS: f32 = 4.4;

/// Percent that are cut off at either end of the values of a scene that says nothing of its range.
const PERCENT: f32 = 2.0;

/// Lee's filter; written as `lee:N` or `lee:N,LOOKS`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Despeckle {
    /// Side of the window in pixels, odd.
    pub side: usize,
    /// Equivalent number of looks of the radar picture: how many independent measurements a value is the mean of.
    pub looks: f32,
}

impl Despeckle {
    /// The squared coefficient of variation of the speckle: `1 / looks` of intensities, `(4 / pi - 1) / looks` of amplitudes
    /// (Oliver, Quegan, "Understanding Synthetic Aperture Radar Images", 2004, section 4.3).
    pub fn variation(&self, of: Backscatter) -> f32 {
        match of {
            Backscatter::Intensity => 1.0 / self.looks,
            Backscatter::Amplitude => (4.0 / std::f32::consts::PI - 1.0) / self.looks,
        }
    }
}

impl FromStr for Despeckle {
    type Err = String;

    /// Reads the text of `despeckle`; the error says what is wrong with it and what is possible.
    fn from_str(text: &str) -> Result<Self, String> {
        let read = || -> Result<Self, String> {
            let settings = text.strip_prefix("lee:").ok_or("only Lee's filter is there")?;
            let (side, looks) = settings.split_once(',').map_or((settings, None), |(side, looks)| (side, Some(looks)));
            let side: usize = side.trim().parse().map_err(|_| format!("`{side}` is no side in pixels"))?;
            let looks = match looks {
                None => LOOKS,
                Some(text) => text.trim().parse().map_err(|_| format!("`{text}` is no number of looks"))?,
            };
            match side % 2 == 1 && (3..=31).contains(&side) {
                false => Err(format!("{side} is no odd side of 3 to 31")),
                true if looks > 0.0 && looks.is_finite() => Ok(Despeckle { side, looks }),
                true => Err(format!("{looks} is no number of looks")),
            }
        };
        read().map_err(|why| format!("{why}; use lee:N or lee:N,LOOKS, e.g. lee:7 or lee:7,4.4"))
    }
}

impl fmt::Display for Despeckle {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.looks == LOOKS {
            true => write!(f, "lee:{}", self.side),
            false => write!(f, "lee:{},{}", self.side, self.looks),
        }
    }
}

/// How a source is prepared.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Preparation {
    /// How values become 0..1. `None`: integers over their type's range; a scene of 16 bits or of floats, which seldom fill
    /// theirs, from its 2nd to its 98th percentile.
    pub stretch: Option<Stretch>,
    /// What takes speckle off before, in the linear values of the file.
    pub despeckle: Option<Despeckle>,
}

impl fmt::Display for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let Some(despeckle) = self.despeckle {
            write!(f, "{despeckle} ")?;
        }
        self.stretch.map_or(Ok(()), |stretch| write!(f, "{stretch}"))
    }
}

impl Preparation {
    /// Whether a picture in memory stays what it is.
    pub fn is_none(&self) -> bool {
        self.picture_stretch().is_none() && self.despeckle.is_none()
    }

    /// The stretch of a picture in memory, which is read over its type's range anyway.
    pub(super) fn picture_stretch(&self) -> Option<Stretch> {
        self.stretch.filter(|stretch| *stretch != Stretch::None)
    }

    /// The filter's side and the variation of the speckle; values are amplitudes, unless they are to become decibels as intensities.
    fn filter(&self) -> Option<(usize, f32)> {
        let of = match self.stretch {
            Some(Stretch::Db { of, .. }) => of,
            _ => Backscatter::Amplitude,
        };
        self.despeckle.map(|despeckle| (despeckle.side, despeckle.variation(of)))
    }

    /// A picture in memory, prepared: floats of 0..1. Percentiles are those of this picture. NaN stays NaN. The filter runs on the
    /// CPU, where pictures are decoded.
    ///
    /// # Errors
    /// A picture without a number in it; `path` is named.
    pub fn apply(&self, picture: Picture, path: &Path) -> Result<Picture> {
        if self.is_none() {
            return Ok(picture);
        }
        let PictureInfo { width, height, bands, depth } = picture.info;
        let (sample, values): (_, Vec<f32>) = match picture.samples {
            Samples::U8(v) => (SampleType::U8, v.into_iter().map(f32::from).collect()),
            Samples::U16(v) => (SampleType::U16, v.into_iter().map(f32::from).collect()),
            Samples::F32(v) => (SampleType::F32, v),
        };
        let stretch = self.picture_stretch();
        let Some(scales) = stretch.unwrap_or(Stretch::None).fit_values(sample, &values, bands) else {
            return Err(Error::input("no pixel has a number", path.display(), "fill them, or take the file away"));
        };
        let mut values = match self.filter() {
            Some(filter) => filtered(&Device::cpu(), [height, width, bands], values, filter)?,
            None => values,
        };
        // Without a stretch floats outside 0..1 are for the caller to refuse.
        if stretch.is_some() || depth != Depth::F32 {
            scale(&mut values, &scales);
        }
        let info = PictureInfo { depth: Depth::F32, ..picture.info };
        Ok(Picture { info, samples: Samples::F32(values) })
    }
}

/// `[height, width, bands]` through Lee's filter of a side and a variation.
fn filtered(
    device: &Device,
    [h, w, bands]: [usize; 3],
    values: Vec<f32>,
    (side, variation): (usize, f32),
) -> Result<Vec<f32>> {
    lee(&Tensor::new(device, &[1, h, w, bands], &values)?, side, variation)?.to_vec()
}

fn scale(values: &mut [f32], scales: &[Scale]) {
    for pixel in values.chunks_exact_mut(scales.len().max(1)) {
        pixel.iter_mut().zip(scales).for_each(|(value, scale)| *value = scale.apply(*value));
    }
}

/// Pixels of a part of a scene, as a network reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Values 0..1; 0 where there is no data, which is what such pixels hold in most scenes of 8 bits: a network sees the same
    /// whether a file marks them or not.
    pub pixels: Pixels,
    /// `[height, width]`: which pixels have data; `None`: all.
    pub valid: Option<Vec<bool>>,
}

/// A scene that is read by windows, prepared.
pub struct PreparedScene {
    raster: Raster,
    /// What a network reads of the bands below.
    reading: Reading,
    /// The bands that are read, from 1.
    bands: Vec<usize>,
    scales: Vec<Scale>,
    /// Bytes that nothing is done to.
    plain: bool,
    filter: Option<(usize, f32)>,
    device: Device,
    stretched: Option<Stretch>,
}

impl fmt::Debug for PreparedScene {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PreparedScene({})", self.raster.path().display())
    }
}

impl PreparedScene {
    /// Opens a scene; percentiles take one pass over it. Speckle is taken off on `device`.
    ///
    /// # Errors
    /// A file that is no raster or is damaged, bands that are not there, a scene without data.
    pub fn open(path: &Path, reading: Reading, preparation: &Preparation, device: &Device) -> Result<Self> {
        let raster = Raster::open(path)?;
        let mut bands: Vec<usize> = raster.info().bands_without_alpha().collect();
        reading.check(&info_of(raster.info().width, raster.info().height, bands.len()), path)?;
        let reading = match reading {
            Reading::Grey { band: Some(band) } => {
                bands = vec![bands[band - 1]];
                Reading::Grey { band: None }
            }
            reading => reading,
        };
        let sample = raster.info().sample;
        let bytes = matches!(sample, SampleType::U8 | SampleType::I8);
        let stretched = (preparation.stretch.is_none() && !bytes).then_some(Stretch::Percentile(PERCENT));
        let stretch = preparation.stretch.or(stretched).unwrap_or(Stretch::None);
        let scales = stretch.fit(&raster, &bands)?;
        let filter = preparation.filter();
        let plain = sample == SampleType::U8 && stretch == Stretch::None && filter.is_none();
        Ok(PreparedScene { raster, reading, bands, scales, plain, filter, device: device.clone(), stretched })
    }

    /// The same scene with a cache of so many bytes, see [`Raster::with_cache`].
    pub fn with_cache(self, bytes: usize) -> Self {
        PreparedScene { raster: self.raster.with_cache(bytes), ..self }
    }

    /// What the file is.
    pub fn info(&self) -> &RasterInfo {
        self.raster.info()
    }

    /// The raster itself.
    pub fn raster(&self) -> &Raster {
        &self.raster
    }

    /// The stretch that was chosen because none was given, and values are not bytes.
    pub fn chosen_stretch(&self) -> Option<Stretch> {
        self.stretched
    }

    /// One line on [`PreparedScene::chosen_stretch`], for the user.
    pub fn notice(&self) -> Option<String> {
        let (stretch, scales) = (self.stretched?, &self.scales);
        let ranges: Vec<String> = scales.iter().map(|scale| format!("{} to {}", scale.lo, scale.hi)).collect();
        let (path, sample) = (self.raster.path().display(), self.info().sample);
        Some(format!(
            "{path}: samples of type {sample} are stretched by {stretch} ({}); ⟨stretch⟩ sets another",
            ranges.join(", ")
        ))
    }

    /// The bands that are read, from 1.
    pub fn band_numbers(&self) -> &[usize] {
        &self.bands
    }

    /// How [`PreparedScene::read`] reads what [`PreparedScene::picture`] gives.
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// The depth of what [`PreparedScene::picture`] gives.
    pub fn depth(&self) -> Depth {
        if self.plain { Depth::U8 } else { Depth::F32 }
    }

    /// Bands that are read, before [`Reading`] makes channels of them.
    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// What a network reads of an area of the scene.
    ///
    /// # Errors
    /// An area beyond the scene, chunks that are damaged, a file that has changed; no memory.
    pub fn read(&self, area: Area) -> Result<Prepared> {
        let (picture, valid) = self.picture(area)?;
        let mut pixels = Pixels::new(area.width, area.height, self.reading.channels());
        picture.read(self.reading, picture.area(), &mut pixels.values);
        Ok(Prepared { pixels, valid: valid.contains(&false).then_some(valid) })
    }

    /// An area as a picture of the bands that are read, bytes where nothing is to be done to them, and which of its pixels have data.
    ///
    /// # Errors
    /// As [`PreparedScene::read`].
    pub fn picture(&self, area: Area) -> Result<(Picture, Vec<bool>)> {
        // The filter sees what lies around, so that it leaves no seams.
        let margin = self.filter.map_or(0, |(side, _)| side / 2);
        let grow = |start: usize, len: usize, end: usize| start.saturating_sub(margin)..(start + len + margin).min(end);
        let info = self.raster.info();
        let around = Area::of(grow(area.x, area.width, info.width), grow(area.y, area.height, info.height));
        let mut window = self.raster.read_window(around, &self.bands)?;
        let bands = self.bands.len();
        if let Some(filter) = self.filter {
            for (pixel, valid) in window.samples.chunks_exact_mut(bands).zip(&window.valid) {
                if !valid {
                    pixel.fill(f32::NAN);
                }
            }
            let size = [around.height, around.width, bands];
            let values = filtered(&self.device, size, window.samples, filter)?;
            let pixels = Pixels { width: around.width, height: around.height, bands, values };
            let within = Area { x: area.x - around.x, y: area.y - around.y, ..area };
            let first = |y: usize| y * around.width + within.x;
            window.samples = pixels.part(within).values;
            window.valid = within.rows().flat_map(|y| &window.valid[first(y)..][..area.width]).copied().collect();
        }
        for (pixel, valid) in window.samples.chunks_exact_mut(bands).zip(&window.valid) {
            for (value, scale) in pixel.iter_mut().zip(&self.scales) {
                *value = match valid {
                    false => 0.0,
                    true if self.plain => *value,
                    true => scale.apply(*value),
                };
            }
        }
        let info = info_of(area.width, area.height, bands);
        let picture = match self.plain {
            true => Picture {
                info: PictureInfo { depth: Depth::U8, ..info },
                samples: Samples::U8(window.samples.iter().map(|value| *value as u8).collect()),
            },
            false => Picture { info, samples: Samples::F32(window.samples) },
        };
        Ok((picture, window.valid))
    }
}

fn info_of(width: usize, height: usize, bands: usize) -> PictureInfo {
    PictureInfo { width, height, bands, depth: Depth::F32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::save::save_tiff;
    use crate::imaging::raster::Nodata;
    use crate::random::{Rng, Stream};

    const SIZE: [usize; 2] = [70, 50];

    /// A scene of two bands of noise, 0..1000, without data (-1) in its first ten columns.
    fn scene(sample: SampleType) -> (tempfile::TempDir, std::path::PathBuf, Vec<f32>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.tif");
        let rng = Rng::new(2, Stream::Test, 0);
        let value = |i: usize| if i / 2 % SIZE[0] < 10 { -1.0 } else { (1000.0 * rng.uniform(i as u64)).round() };
        let samples: Vec<f32> = (0..2 * SIZE[0] * SIZE[1]).map(value).collect();
        let info = RasterInfo { nodata: Nodata::parse("-1"), ..RasterInfo::new(SIZE[0], SIZE[1], 2, sample) };
        save_tiff(&path, info, &samples).unwrap();
        (folder, path, samples)
    }

    fn stretched(stretch: &str, despeckle: Option<&str>) -> Preparation {
        Preparation { stretch: Some(stretch.parse().unwrap()), despeckle: despeckle.map(|text| text.parse().unwrap()) }
    }

    fn open(path: &Path, reading: Reading, preparation: &Preparation) -> PreparedScene {
        PreparedScene::open(path, reading, preparation, &Device::cpu()).unwrap()
    }

    #[test]
    fn values_are_stretched_and_pixels_without_data_are_black() {
        let (_folder, path, samples) = scene(SampleType::I16);
        let grey = open(&path, Reading::Grey { band: Some(2) }, &stretched("100,900", None));
        let Prepared { pixels, valid } = grey.read(Area { x: 8, y: 3, width: 20, height: 5 }).unwrap();
        let valid = valid.unwrap();
        for (i, value) in pixels.values.iter().enumerate() {
            let (x, y) = (8 + i % 20, 3 + i / 20);
            let raw = samples[(y * SIZE[0] + x) * 2 + 1];
            let want = if x < 10 { 0.0 } else { ((raw - 100.0) / 800.0).clamp(0.0, 1.0) };
            assert!((value - want).abs() < 1e-6 && valid[i] == (x >= 10), "{x} {y}: {value}, not {want}");
        }
        let both = open(&path, Reading::Bands(2), &stretched("0,1000", None));
        let part = both.read(Area { x: 30, y: 0, width: 4, height: 4 }).unwrap();
        assert_eq!((part.pixels.bands, part.valid), (2, None));
        assert!((part.pixels.values[1] - samples[61] / 1000.0).abs() < 1e-6);
    }

    #[test]
    fn a_scene_of_wide_samples_is_stretched_by_percentiles_and_says_so() {
        let (_folder, path, _) = scene(SampleType::F32);
        let scene = open(&path, Reading::Grey { band: Some(1) }, &Preparation::default());
        assert_eq!(scene.chosen_stretch(), Some(Stretch::Percentile(2.0)));
        let notice = scene.notice().unwrap();
        assert!(notice.contains("s.tif") && notice.contains("percentile:2") && notice.contains("f32"), "{notice}");
        let values = scene.read(Area { x: 10, y: 0, width: 60, height: 50 }).unwrap().pixels.values;
        let share = |at: f32| values.iter().filter(|value| **value == at).count() as f32 / values.len() as f32;
        // 2 % at each end, to one value.
        assert!((share(0.0) - 0.02).abs() < 2e-3 && (share(1.0) - 0.02).abs() < 2e-3, "{} {}", share(0.0), share(1.0));
        let plain = open(&path, Reading::Grey { band: Some(1) }, &stretched("none", None));
        assert_eq!((plain.chosen_stretch(), plain.notice()), (None, None));
    }

    #[test]
    fn the_filter_leaves_no_seams_and_no_trace_of_pixels_without_data() {
        let (_folder, path, _) = scene(SampleType::F32);
        let scene = open(&path, Reading::Bands(2), &stretched("db:10,30", Some("lee:7")));
        let area = |x, y, width, height| Area { x, y, width, height };
        let whole = scene.read(area(0, 0, SIZE[0], SIZE[1])).unwrap();
        for at in [area(0, 0, 33, 20), area(33, 7, 37, 43), area(9, 49, 5, 1)] {
            let part = scene.read(at).unwrap();
            assert_eq!(part.pixels, whole.pixels.part(at), "{at:?}");
        }
        let unfiltered =
            open(&path, Reading::Bands(2), &stretched("db:10,30", None)).read(area(0, 0, SIZE[0], SIZE[1])).unwrap();
        assert_eq!(whole.valid, unfiltered.valid);
        assert_ne!(whole.pixels, unfiltered.pixels);
        // Next to pixels of -1, which would make means of 600 smaller by half.
        let beside = (0..SIZE[1]).map(|y| whole.pixels.values[(y * SIZE[0] + 10) * 2]).sum::<f32>() / SIZE[1] as f32;
        assert!(beside > 0.7, "{beside}");
    }

    #[test]
    fn pictures_are_prepared_as_scenes_are() {
        let (_folder, path, samples) = scene(SampleType::F32);
        let values: Vec<f32> = samples.iter().map(|v| if *v < 0.0 { f32::NAN } else { *v }).collect();
        let info = PictureInfo { width: SIZE[0], height: SIZE[1], bands: 2, depth: Depth::F32 };
        for preparation in [stretched("percentile:5", None), stretched("db-amplitude:20,60", Some("lee:5,1"))] {
            let picture = Picture { info, samples: Samples::F32(values.clone()) };
            let Samples::F32(got) = preparation.apply(picture, &path).unwrap().samples else { panic!("no floats") };
            let scene = open(&path, Reading::Bands(2), &preparation);
            let all = scene.read(Area { x: 0, y: 0, width: SIZE[0], height: SIZE[1] }).unwrap();
            for (i, (got, want)) in got.iter().zip(&all.pixels.values).enumerate() {
                assert!(got == want || got.is_nan() && samples[i] < 0.0, "{i}: {got}, not {want}");
            }
        }
        let bytes = Picture {
            info: PictureInfo { width: 2, height: 1, bands: 1, depth: Depth::U8 },
            samples: Samples::U8(vec![50, 255]),
        };
        assert_eq!(Preparation::default().apply(bytes.clone(), &path).unwrap(), bytes);
        let got = stretched("0,100", None).apply(bytes, &path).unwrap();
        assert_eq!(got.samples, Samples::F32(vec![0.5, 1.0]));
    }

    #[test]
    fn bytes_stay_bytes_where_nothing_is_done_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.tif");
        save_tiff(&path, RasterInfo::new(3, 1, 1, SampleType::U8), &[0.0, 51.0, 255.0]).unwrap();
        let scene = open(&path, Reading::Rgb, &Preparation::default());
        let (picture, _) = scene.picture(scene.raster().area()).unwrap();
        assert_eq!(picture.samples, Samples::U8(vec![0, 51, 255]));
        assert_eq!(
            scene.read(scene.raster().area()).unwrap().pixels.values,
            [0.0, 0.0, 0.0, 0.2, 0.2, 0.2, 1.0, 1.0, 1.0]
        );
        assert!(scene.notice().is_none());
    }

    #[test]
    fn a_file_that_is_replaced_between_two_passes_is_one_clear_error() {
        let (_folder, path, _) = scene(SampleType::F32);
        let scene = open(&path, Reading::Bands(2), &Preparation::default());
        // In place, as programs do that write over a file.
        std::fs::write(&path, &std::fs::read(&path).unwrap()[..5000]).unwrap();
        let error = scene.read(Area { x: 0, y: 0, width: 70, height: 50 }).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(
            error.to_string().contains("changed while it was read") && error.to_string().contains("s.tif"),
            "{error}"
        );
    }

    #[test]
    fn filters_are_read_and_written_alike() {
        for text in ["lee:3", "lee:7", "lee:31,1", "lee:5,2.5"] {
            assert_eq!(text.parse::<Despeckle>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("median:3", "only Lee"),
            ("lee:4", "no odd side"),
            ("lee:1", "no odd side"),
            ("lee:3,0", "0 is no number"),
            ("lee:x", "`x`"),
        ] {
            let error = text.parse::<Despeckle>().unwrap_err();
            assert!(error.contains(why) && error.contains("lee:7"), "{error}");
        }
    }
}
