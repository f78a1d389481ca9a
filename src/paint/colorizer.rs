//! A trained network that colours pictures and scenes of any size.

use crate::dataset::lightness::LightnessMatch;
use crate::dataset::preparation::Preparation;
use crate::dataset::prepared::PreparedScene;
use crate::engine::ranks::Ranks;
use crate::error::{Error, ErrorKind, Result};
use crate::imaging::picture::{Picture, Reading, not_finite};
use crate::imaging::pixels::Area;
use crate::imaging::pixels::Pixels;
use crate::paint::memory::best_tiling;
use crate::paint::painter::{Look, Painter, no_uncertainty};
use crate::paint::plan::Tiling;
use crate::paint::relit::Relit;
use crate::paint::scene::{self, Scene, Sink, Source};
use crate::paint::units::TargetUnits;
use crate::paint::whole;
use std::path::Path;

/// How pictures are coloured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// What the network does.
    pub look: Look,
    /// Band of a multi-band source, from 1.
    pub band: Option<usize>,
    /// Colour pictures are read by their CIE lightness instead of a band or their luma.
    pub lightness: bool,
    /// What is done to a picture before it is read.
    pub preparation: Preparation,
}

/// Decoded chunks of a scene that are kept: it is read band by band, and no more than the rows that two of them share
/// is read again.
const CACHE_BYTES: usize = 8 << 20;

impl Options {
    /// How a network of `source_bands` reads the picture at `path`.
    ///
    /// # Errors
    /// A band chosen for a network that reads several.
    pub fn reading(&self, source_bands: usize, path: &Path) -> Result<Reading> {
        // A band of which channels are made is known to the preparation.
        match (source_bands, self.band.filter(|_| self.preparation.bands.is_none())) {
            (1, _) if self.lightness => Ok(Reading::Lightness),
            (1, band) => Ok(Reading::Grey { band }),
            (bands, None) => Ok(Reading::Bands(bands)),
            (bands, Some(band)) => Err(Error::input(
                format!("the network reads {bands} bands"),
                format!("⟨band⟩ {band} with {}", path.display()),
                "leave ⟨band⟩ out",
            )),
        }
    }

    /// What a network of `source_bands` reads of a picture, values 0..1.
    ///
    /// # Errors
    /// An image without pixels or with another number of samples, a band that is not there, floats outside 0..1 or NaN.
    pub fn source(&self, source_bands: usize, picture: &Picture, path: &Path) -> Result<Pixels> {
        let reading = self.reading(source_bands, path)?;
        picture.check_size(path)?;
        let prepared;
        let picture = match self.preparation.is_none() {
            true => picture,
            false => {
                prepared = self.preparation.apply(picture.clone(), path)?;
                &prepared
            }
        };
        reading.check(&picture.info, path)?;
        picture.check_range(path)?;
        let mut pixels = Pixels::new(picture.info.width, picture.info.height, reading.channels());
        picture.read(reading, picture.area(), &mut pixels.values);
        crate::ensure!(!pixels.values.iter().any(|value| value.is_nan()), not_finite(path));
        pixels.values.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        Ok(pixels)
    }
}

/// Paints a source that lies in memory, see [`whole::paint`]; the result gets the source's lightness as `lightness`
/// matches it, where that is given.
///
/// # Errors
/// Memory, and whatever a launch reports.
pub fn paint_matched(
    painter: &dyn Painter,
    lightness: Option<&LightnessMatch>,
    source: &Pixels,
    look: &Look,
) -> Result<Pixels> {
    let Some(by) = lightness else { return whole::paint(painter, source, look) };
    let whole = Area { x: 0, y: 0, width: source.width, height: source.height };
    let relit = Relit { source, by, device: painter.device() }.read(whole)?;
    whole::paint(painter, &relit.pixels, look)
}

/// A network with its weights on a device, and how it reads what it colours. Threads may share one.
pub struct Colorizer {
    painter: Box<dyn Painter>,
    lightness: Option<LightnessMatch>,
    options: Options,
    units: Option<TargetUnits>,
    ranks: Ranks,
}

// Held by the compiler: threads share a colorizer.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Colorizer>();
};

impl Colorizer {
    /// A colorizer by a network with its weights.
    pub fn new(painter: Box<dyn Painter>) -> Self {
        Colorizer { painter, lightness: None, options: Options::default(), units: None, ranks: Ranks::ALONE }
    }

    /// How files are coloured where nothing else is said.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The same network, which colours files by these options.
    #[must_use]
    pub fn with_options(self, options: Options) -> Self {
        Colorizer { options, ..self }
    }

    /// The same network, which paints each file together with other processes: they share out its tiles, and the first
    /// one writes.
    #[must_use]
    pub fn sharing_tiles(self, ranks: Ranks) -> Self {
        Colorizer { ranks, ..self }
    }

    /// The processes that share out the tiles of a file.
    pub(crate) fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// The same network, whose targets had these units.
    #[must_use]
    pub fn with_units(self, units: Option<TargetUnits>) -> Self {
        Colorizer { units, ..self }
    }

    /// The units of its targets.
    ///
    /// # Errors
    /// A training that has not kept them, or whose targets were stretched by ranges of their own.
    pub fn target_units(&self) -> Result<&TargetUnits> {
        self.units.as_ref().ok_or_else(|| {
            Error::input(
                format!("the range of the targets of {} is not known", self.painter.name()),
                "⟨units⟩ target",
                "train with ⟨target-stretch⟩ LO,HI, or leave it out",
            )
        })
    }

    /// The network with its weights.
    pub fn painter(&self) -> &dyn Painter {
        self.painter.as_ref()
    }

    /// The same network, whose pictures get another lightness than that of their source, if `by` is given.
    ///
    /// # Errors
    /// A network that makes the lightness itself.
    pub fn with_lightness(self, by: Option<LightnessMatch>) -> Result<Self> {
        crate::ensure!(
            by.is_none() || self.painter.keeps_lightness(),
            Error::input(
                format!("{} makes the lightness of its pictures itself", self.painter.name()),
                "⟨lightness⟩ despeckle",
                "leave it out"
            )
        );
        Ok(Colorizer { lightness: by, ..self })
    }

    /// The network's name on the command line.
    pub fn model(&self) -> &'static str {
        self.painter.name()
    }

    /// Bands that it reads.
    pub fn source_bands(&self) -> usize {
        self.painter.source_bands()
    }

    /// Bands of the pictures that it makes; three are sRGB.
    pub fn bands(&self) -> usize {
        self.painter.bands()
    }

    /// Whether the network can say how unsure it is, as an error where it cannot.
    ///
    /// # Errors
    /// A network that is no classifier.
    pub fn check_uncertainty(&self) -> Result<()> {
        crate::ensure!(self.painter.knows_uncertainty(), no_uncertainty(self.painter.name()));
        Ok(())
    }

    /// Colours a picture; the result, values 0..1, has its size. See [`whole::paint`] for how.
    ///
    /// # Errors
    /// A band that is not there, floats outside 0..1 or without a number, memory.
    pub fn colorize(&self, picture: &Picture, path: &Path, options: &Options) -> Result<Pixels> {
        self.paint(&self.source(picture, path, options)?, &options.look)
    }

    /// A scene that is read by windows, as the network reads it.
    ///
    /// # Errors
    /// As [`PreparedScene::open`]; a band that is asked of a network that reads several.
    pub fn open_scene(&self, path: &Path, options: &Options) -> Result<PreparedScene> {
        let scene =
            PreparedScene::open(path, self.reading(path, options)?, &options.preparation, self.painter.device())?;
        Ok(scene.with_cache(CACHE_BYTES))
    }

    /// What the network reads of a picture, values 0..1.
    ///
    /// # Errors
    /// As [`Options::source`].
    pub fn source(&self, picture: &Picture, path: &Path, options: &Options) -> Result<Pixels> {
        options.source(self.painter.source_bands(), picture, path)
    }

    /// Colours a source of values 0..1 in memory, such as [`Colorizer::source`] has read, see [`whole::paint`].
    ///
    /// # Errors
    /// A source without pixels, of other bands than the network reads or with another number of values; memory, and
    /// whatever a launch reports.
    pub fn paint(&self, source: &Pixels, look: &Look) -> Result<Pixels> {
        self.check_source(source)?;
        paint_matched(self.painter.as_ref(), self.lightness.as_ref(), source, look)
    }

    fn check_source(&self, source: &Pixels) -> Result<()> {
        let Pixels { width, height, bands, ref values } = *source;
        let refuse = |what: String| {
            let remedy = "give width x height x bands values, row by row";
            Err(Error::input(what, format!("{width}x{height}x{bands}"), remedy).of(ErrorKind::Shape))
        };
        let reads = self.source_bands();
        if bands != reads {
            return refuse(format!("an image of {bands} bands, and the network reads {reads}"));
        }
        match width.checked_mul(height).and_then(|pixels| pixels.checked_mul(bands)) {
            Some(0) => refuse("an image without pixels".to_owned()),
            Some(needed) if needed == values.len() => Ok(()),
            _ => refuse(format!("an image of {} values", values.len())),
        }
    }

    /// How a scene is cut to be painted, see [`best_tiling`]: by tiles of `tile` pixels a side, where that is given;
    /// tiles overlap by `overlap` pixels, and windows share as many, or else the network's reach.
    ///
    /// # Errors
    /// Whatever the network reports where it is tried.
    pub fn tiling(&self, size: [usize; 2], tile: Option<usize>, overlap: Option<usize>, look: &Look) -> Result<Tiling> {
        let painter = self.painter.as_ref();
        if self.ranks.alone() {
            return best_tiling(painter, size, tile, overlap, look);
        }
        // What fits one process's memory need not fit another's: as the first one has it.
        let Tiling { tile, overlap, panel, align, rows } = best_tiling(painter, size, tile, overlap, look)?;
        let rows = rows.map_or(0.0, |rows| rows as f64);
        let told = self.ranks.gather(&[tile as f64, overlap as f64, panel as f64, align as f64, rows])?;
        let [tile, overlap, panel, align, rows] = [0, 1, 2, 3, 4].map(|i| told[i] as usize);
        Ok(Tiling { tile, overlap, panel, align, rows: (rows > 0).then_some(rows) })
    }

    /// Colours a scene of any size, see [`scene::paint`].
    ///
    /// # Errors
    /// As [`scene::paint`].
    pub fn paint_scene(
        &self,
        source: &dyn Source,
        sink: &mut dyn Sink,
        scene: &Scene,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<()> {
        match &self.lightness {
            None => scene::paint(self.painter.as_ref(), source, sink, scene, &self.ranks, progress),
            Some(by) => {
                let relit = Relit { source, by, device: self.painter.device() };
                scene::paint(self.painter.as_ref(), &relit, sink, scene, &self.ranks, progress)
            }
        }
    }

    /// How the network reads the picture at `path`.
    ///
    /// # Errors
    /// As [`Options::reading`].
    pub fn reading(&self, path: &Path, options: &Options) -> Result<Reading> {
        options.reading(self.painter.source_bands(), path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::picture::{Depth, PictureInfo, Samples};

    #[test]
    fn several_filters_make_channels_of_one_band_in_memory() {
        let info = PictureInfo { width: 4, height: 3, bands: 1, depth: Depth::U8 };
        let picture = Picture { info, samples: Samples::U8((0..12).map(|i| i * 20).collect()) };
        let preparation = Preparation {
            bands: Some("1".parse().unwrap()),
            despeckle: Some("none/lee:3".parse().unwrap()),
            ..Preparation::default()
        };
        let options = Options { preparation, band: Some(1), ..Options::default() };
        let read = options.source(2, &picture, Path::new("a.png")).unwrap();
        let channel = |c: usize| read.values.iter().skip(c).step_by(2).copied().collect::<Vec<f32>>();
        let plain: Vec<f32> = (0..12).map(|i| (i * 20) as f32 / 255.0).collect();
        assert!(read.bands == 2 && channel(0) == plain && channel(1) != plain, "{read:?}");
        assert!(options.source(3, &picture, Path::new("a.png")).unwrap_err().to_string().contains("is 2, not 3"));
    }
}
