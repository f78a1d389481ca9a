//! The values of an image, of a part of one or of a scene as networks read them: bands that are chosen, without
//! speckle, stretched to 0..1.

use std::path::Path;

use crate::dataset::bands::Ratio;
use crate::dataset::preparation::{Preparation, filtered};
use crate::dataset::stack::Stack;
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::imaging::codec::decode::ImageFile;
use crate::imaging::picture::{Depth, Picture, PictureInfo, Samples, check_unit};
use crate::imaging::pixels::{Area, Pixels};
use crate::imaging::raster::{Histogram, SampleType, Scale, Stretch, Stretches, Window};

/// What samples are once they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Bytes over the range of their type.
    Bytes,
    /// Floats that are 0..1 by themselves.
    Unit,
    /// Values to be stretched.
    Stretched,
}

/// The largest value of samples that are said to leave most of their 16 bits empty: that of 12.
const UNFILLED: f32 = 4095.0;

/// Values of an image file, or of several of one place, prepared.
pub(super) struct PreparedValues {
    stack: Stack,
    /// A channel beside the bands.
    ratio: Option<Ratio>,
    /// One a channel.
    scales: Vec<Scale>,
    meaning: Meaning,
    /// See [`Preparation::filters`].
    filters: Vec<Option<(usize, f32)>>,
    device: Device,
    stretches: Stretches,
    /// Whether the stretch was chosen by the file, since none was given.
    chosen: bool,
}

impl PreparedValues {
    /// Prepares a part of files of one grid, or, with `band` (from 1), one band of them; percentiles take a pass over
    /// the part. Speckle is filtered on `device`.
    ///
    /// # Errors
    /// Samples of no meaning ([`Preparation::stretch_for`]), bands that do not exist, decibels where linear values are
    /// said to be, no pixel with data.
    pub fn new(
        files: Vec<ImageFile>,
        part: Area,
        band: Option<usize>,
        preparation: &Preparation,
        device: &Device,
    ) -> Result<Self> {
        let (info, path, dates) = (files[0].info().clone(), files[0].path().to_owned(), files.len());
        let stretches = preparation.stretch_for(&info, &path)?;
        let mut bands = preparation.bands_of(&info, &path)?;
        if let Some(band) = band {
            bands = vec![bands[band - 1]];
        }
        let ratio = preparation.ratio && band.is_none();
        check_count(&stretches, bands.len(), ratio, &path)?;
        let filters = preparation.filters();
        let meaning = match stretches.is_none() {
            true if info.sample.is_float() => Meaning::Unit,
            true if info.is_bytes() && filters.is_empty() && !ratio && dates == 1 => Meaning::Bytes,
            _ => Meaning::Stretched,
        };
        let chosen = preparation.stretch.is_none() && !stretches.is_none();
        let stack = Stack::new(files, part, bands, preparation.looks, &stretches, preparation.zero_border)?;
        let takes_linear = stretches.iter().any(|stretch| matches!(stretch, Stretch::Db { .. }));
        crate::ensure!(
            !(takes_linear && info.sample.is_float() && stack.is_mostly_negative()?),
            Error::input(
                "most values are below zero: they are in dB already, and this stretch takes linear ones",
                path.display(),
                "use ⟨stretch⟩ LO,HI, in dB, e.g. -25,0"
            )
        );
        let (scales, device) = (Vec::new(), device.clone());
        let mut values = PreparedValues { stack, ratio: None, scales, meaning, filters, device, stretches, chosen };
        values.fit(ratio)?;
        Ok(values)
    }

    /// Finds the scale of each channel.
    fn fit(&mut self, ratio: bool) -> Result<()> {
        let stretches = &self.stretches;
        let info = self.file().info().clone();
        let (bands, channels) = (self.stack.bands(), self.stack.channels());
        let share = |stretch| if let Stretch::Percentile(p) = stretch { Some(f64::from(p) / 100.0) } else { None };
        // Means over dates are no integers.
        let sample = if self.stack.averages() { SampleType::F32 } else { info.sample };
        let of = |channel: usize| stretches.of(channel % bands);
        let mut histograms: Vec<Option<Histogram>> =
            (0..channels).map(|channel| share(of(channel)).map(|_| Histogram::new(sample))).collect();
        if histograms.iter().any(Option::is_some) {
            self.each_pixel(&mut |pixel| {
                for (value, histogram) in pixel.iter().zip(&mut histograms) {
                    if let Some(histogram) = histogram {
                        histogram.add(*value);
                    }
                }
            })?;
        }
        let scale = |(channel, histogram): (usize, &Option<Histogram>)| match (share(of(channel)), histogram) {
            (Some(share), Some(histogram)) => by_shares(histogram, share),
            _ => Some(of(channel).scale(&info)),
        };
        let scales: Option<Vec<Scale>> = histograms.iter().enumerate().map(scale).collect();
        // Each filter's channels are stretched alike.
        self.scales = scales.ok_or_else(|| no_data(self.file().path()))?.repeat(self.filters.len().max(1));
        if ratio {
            let kind = self.stack.ratio(stretches.of(0))?;
            let stretch = Ratio::stretch(stretches, bands);
            let scale = match share(stretch) {
                None => Some(Ratio::scale(stretch)),
                Some(share) => {
                    let mut histogram = Histogram::new(SampleType::F32);
                    self.each_pixel(&mut |pixel| histogram.add(kind.apply(pixel[0], pixel[1])))?;
                    by_shares(&histogram, share)
                }
            };
            self.scales.push(scale.ok_or_else(|| no_data(self.file().path()))?);
            self.ratio = Some(kind);
        }
        Ok(())
    }

    /// Shows the channels of every pixel that has data, in the units of the stretch.
    fn each_pixel(&self, seen: &mut dyn FnMut(&[f32])) -> Result<()> {
        for block in self.stack.blocks() {
            let window = self.stack.window(block)?;
            for (pixel, valid) in window.samples.chunks_exact(self.stack.channels()).zip(window.valid) {
                if valid && pixel.iter().all(|value| value.is_finite()) {
                    seen(pixel);
                }
            }
        }
        Ok(())
    }

    /// The same values with a cache of so many bytes, see
    /// [`Raster::with_cache`](crate::imaging::raster::Raster::with_cache).
    pub fn with_cache(self, bytes: usize) -> Self {
        PreparedValues { stack: self.stack.with_cache(bytes), ..self }
    }

    /// The file, or the first of them.
    pub fn file(&self) -> &ImageFile {
        self.stack.file()
    }

    /// What the user should know of the files.
    pub fn notices(&self) -> Vec<String> {
        self.stack.notices()
    }

    /// What to tell of samples of 16 bits that are read over their whole range and hold far fewer bits, as those of
    /// cameras and sensors do.
    pub fn unfilled(&self) -> Option<String> {
        let info = self.file().info();
        if !self.stretches.is_none() || self.chosen || (info.sample, info.bits) != (SampleType::U16, 16) {
            return None;
        }
        let mut most = 0.0f32;
        self.stack.look_at_some(&mut |pixel| most = pixel.iter().fold(most, |most, value| most.max(*value))).ok()?;
        let range = (most + 1.0).log2().ceil().exp2() - 1.0;
        (most > 0.0 && range <= UNFILLED).then(|| {
            format!(
                "{}: samples of 16 bits that seem to hold no more than {most}: they come out nearly black; ⟨stretch⟩ \
                 0,{range} reads them over their own range",
                self.file().path().display()
            )
        })
    }

    /// Zeros that count as no data.
    pub fn border_zeros(&self) -> usize {
        self.stack.border_zeros()
    }

    /// The stretch that was chosen because none was given, and values are not bytes.
    pub fn chosen(&self) -> Option<&Stretches> {
        self.chosen.then_some(&self.stretches)
    }

    /// How values become 0..1.
    pub fn stretches(&self) -> &Stretches {
        &self.stretches
    }

    /// The scale of each channel.
    pub fn scales(&self) -> &[Scale] {
        &self.scales
    }

    /// How many values a pixel has.
    pub fn channels(&self) -> usize {
        self.scales.len()
    }

    /// The depth of what [`PreparedValues::picture`] gives.
    pub fn depth(&self) -> Depth {
        if self.meaning == Meaning::Bytes { Depth::U8 } else { Depth::F32 }
    }

    /// Whether some pixel may have no data.
    pub fn may_have_gaps(&self) -> bool {
        self.stack.may_have_gaps()
    }

    /// Which pixels of an area of the part have data.
    ///
    /// # Errors
    /// As [`PreparedValues::picture`].
    pub fn valid(&self, area: Area) -> Result<Vec<bool>> {
        Ok(self.stack.window(area)?.valid)
    }

    /// All of the part, NaN where there is no data.
    ///
    /// # Errors
    /// As [`PreparedValues::picture`].
    pub fn whole(&self) -> Result<Picture> {
        let all = Area { x: 0, y: 0, ..self.stack.part() };
        self.picture(all).map(|(picture, valid)| picture.with_gaps(&valid))
    }

    /// An area of the part as an image of all channels, bytes if they need no preparation, and which of its pixels have
    /// data.
    ///
    /// # Errors
    /// An area beyond the part, chunks that are damaged, a file that has changed; floats outside 0..1 that are not
    /// stretched; no memory.
    pub fn picture(&self, area: Area) -> Result<(Picture, Vec<bool>)> {
        let part = self.stack.part();
        // The filter sees what lies around, so that it leaves no seams.
        let margin = self.filters.iter().flatten().map(|(side, _)| side / 2).max().unwrap_or(0);
        let grow = |start: usize, len: usize, end: usize| start.saturating_sub(margin)..(start + len + margin).min(end);
        let around = Area::of(grow(area.x, area.width, part.width), grow(area.y, area.height, part.height));
        let mut window = self.stack.window(around)?;
        let mut bands = self.stack.channels();
        if !self.filters.is_empty() {
            for (pixel, valid) in window.samples.chunks_exact_mut(bands).zip(&window.valid) {
                if !valid {
                    pixel.fill(f32::NAN);
                }
            }
            let within = Area { x: area.x - around.x, y: area.y - around.y, ..area };
            let first = |y: usize| y * around.width + within.x;
            window.samples = self.through_filters(window.samples, around, within)?;
            bands *= self.filters.len();
            window.valid = within.rows().flat_map(|y| &window.valid[first(y)..][..area.width]).copied().collect();
        }
        let Window { mut samples, valid } = window;
        if let Some(ratio) = self.ratio {
            let with =
                |pixel: &[f32]| pixel.iter().copied().chain([ratio.apply(pixel[0], pixel[1])]).collect::<Vec<_>>();
            samples = samples.chunks_exact(bands).flat_map(with).collect();
        }
        let channels = self.channels();
        for (pixel, valid) in samples.chunks_exact_mut(channels).zip(&valid) {
            let plain = if self.meaning == Meaning::Unit { bands } else { 0 };
            match (valid, self.meaning) {
                (false, _) => pixel.fill(0.0),
                (true, Meaning::Bytes) => continue,
                (true, Meaning::Unit) => check_unit(pixel[..plain].iter(), self.file().path())?,
                (true, Meaning::Stretched) => {}
            }
            if *valid {
                let stretched = pixel.iter_mut().zip(&self.scales).skip(plain);
                stretched.for_each(|(value, scale)| *value = scale.apply(*value));
            }
        }
        let info = PictureInfo { width: area.width, height: area.height, bands: channels, depth: self.depth() };
        let samples = match self.meaning {
            Meaning::Bytes => {
                let byte = self.file().info().byte_of();
                let bytes = samples.iter().enumerate();
                Samples::U8(bytes.map(|(i, value)| if valid[i / channels] { byte(*value) } else { 0 }).collect())
            }
            _ => Samples::F32(samples),
        };
        Ok((Picture { info, samples }, valid))
    }
}

impl PreparedValues {
    /// What the filters make of the values of an area, of a part within it: `[height, width, filters, channels]`.
    fn through_filters(&self, samples: Vec<f32>, Area { width, height, .. }: Area, within: Area) -> Result<Vec<f32>> {
        let bands = self.stack.channels();
        let of = |filter: &Option<(usize, f32)>| {
            let values = match *filter {
                Some(filter) => filtered(&self.device, [height, width, bands], &samples, filter)?,
                None => samples.clone(),
            };
            Ok(Pixels { width, height, bands, values }.part(within).values)
        };
        let mut all = self.filters.iter().map(of).collect::<Result<Vec<_>>>()?;
        if all.len() == 1 {
            return Ok(all.remove(0));
        }
        let pixels = 0..within.width * within.height;
        Ok(pixels.flat_map(|pixel| all.iter().flat_map(move |of| &of[pixel * bands..][..bands])).copied().collect())
    }
}

impl Preparation {
    /// An image in memory, prepared: floats of 0..1. Percentiles are those of this image. A pixel with NaN or infinity
    /// in a band becomes NaN in all. The filter runs on the CPU, where images are decoded.
    ///
    /// # Errors
    /// Bands that are not there; an image whose pixels are all NaN or infinite; `path` is named.
    pub fn apply(&self, picture: Picture, path: &Path) -> Result<Picture> {
        if self.is_none() {
            return Ok(picture);
        }
        let stretch = self.stretch.clone().or_else(|| Some(Stretch::None.into()));
        let file = ImageFile::in_memory(picture, path)?;
        let part = file.area();
        PreparedValues::new(vec![file], part, None, &Preparation { stretch, ..self.clone() }, &Device::cpu())?.whole()
    }
}

/// Stretches must be one for all bands, or one for each, that of the ratio with them or not.
fn check_count(stretches: &Stretches, bands: usize, ratio: bool, path: &Path) -> Result<()> {
    let (count, most) = (stretches.len(), bands + usize::from(ratio));
    crate::ensure!(
        count == 1 || count == bands || count == most,
        Error::input(
            format!("{count} stretches for {most} bands"),
            path.display(),
            "give one ⟨stretch⟩ for all bands, or one for each"
        )
    );
    Ok(())
}

fn by_shares(histogram: &Histogram, share: f64) -> Option<Scale> {
    Some(Scale { lo: histogram.quantile(share)?, hi: histogram.quantile(1.0 - share)?, db: None })
}

fn no_data(path: &Path) -> Error {
    Error::input(
        "no pixel has data: all are NaN, infinite or nodata",
        path.display(),
        "check its nodata value and its mask, or remove the file",
    )
}
