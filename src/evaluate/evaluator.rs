//! A network and the baselines, judged on images whose colours are known.

use crate::dataset::lightness::LightnessMatch;
use crate::dataset::pair::Pair;
use crate::dataset::pairs::{DataSource, Dataset};
use crate::dataset::preparation::{Preparation, Preparations};
use crate::dataset::stats::DataStats;
use crate::engine::nn::WeightFile;
use crate::error::{Error, Result};
use crate::evaluate::baselines::{Method, baselines, grey_copy};
use crate::evaluate::scoreboard::{ImageScores, Scoreboard};
use crate::imaging::codec::save::to_u8;
use crate::imaging::picture::{Picture, Reading};
use crate::imaging::pixels::{Area, Pixels};
use crate::imaging::quality::{Image8, Judge, Rebalance, colourfulness, psnr};
use crate::networks::classifier::network::bins_and_prior;
use crate::paint::colorizer::{Colorizer, Options, paint_matched};
use crate::paint::painter::{Look, Painter};
use std::path::Path;

/// What makes an image of a source of the same size, values 0..1.
pub type Paint<'a> = Box<dyn Fn(&Pixels) -> Result<Pixels> + 'a>;

/// What is judged, and what it is compared with.
pub struct Evaluator<'a> {
    /// The network.
    pub paint: Paint<'a>,
    /// The training data's means and regression; without them, the only baseline is the copy of the source.
    pub stats: Option<DataStats>,
    /// Weights of colours for the rebalanced area under the curve.
    pub rebalance: Option<Rebalance>,
    /// Judges only the centre of an image, of this many pixels a side at most; whole images without.
    pub crop: Option<usize>,
}

/// An image that has been judged.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What the network read.
    pub source: Image8,
    /// What it made of it.
    pub made: Image8,
    /// What it should have made.
    pub truth: Image8,
    /// The figures.
    pub scores: ImageScores,
}

impl<'a> Evaluator<'a> {
    /// An evaluator of a network that has just been trained, beside the baselines of its training data. Its images get
    /// another lightness, if `lightness` is given, as when it colours.
    pub fn of_painter(painter: &'a dyn Painter, lightness: Option<LightnessMatch>, stats: DataStats) -> Self {
        let paint = move |source: &Pixels| paint_matched(painter, lightness.as_ref(), source, &painter.look());
        Evaluator { paint: Box::new(paint), stats: Some(stats), rebalance: None, crop: None }
    }

    /// An evaluator of a network as `look` says, beside a copy of the source.
    pub fn of_colorizer(colorizer: &'a Colorizer, look: Look) -> Self {
        let paint = move |source: &Pixels| colorizer.paint(source, &look);
        Evaluator { paint: Box::new(paint), stats: None, rebalance: None, crop: None }
    }

    /// Judges every image of `data` in order. `seen` is told of each: its place from 0 and its figures.
    ///
    /// # Errors
    /// As [`Evaluator::judge`], and those of `seen`.
    pub fn evaluate(&self, data: &Dataset, seen: &mut dyn FnMut(usize, &Judged) -> Result<()>) -> Result<Scoreboard> {
        let mut board = Scoreboard { crop: self.crop, ..Scoreboard::default() };
        for (i, pair) in data.pairs.iter().enumerate() {
            let judged = self.judge(data, pair)?;
            seen(i, &judged)?;
            board.images.push(judged.scores);
        }
        Ok(board)
    }

    /// Compares what the network makes of a source, and what the baselines make of it, with the target. Figures are
    /// computed on values rounded to 8 bits, of the pixels that have data in both; of an image with others there is no
    /// SSIM, which needs neighbours.
    ///
    /// # Errors
    /// An image that cannot be read, statistics of other bands, and whatever a launch reports.
    pub fn judge(&self, data: &Dataset, pair: &Pair) -> Result<Judged> {
        let mut source = self.read(pair.source.path(), data.source_reading, &pair.source.open()?)?;
        let mut target = self.read(pair.target.path(), data.target_reading, &pair.target.open()?)?;
        let valid = without_gaps([&mut source, &mut target]);
        let mut made = (self.paint)(&source)?;
        let name = data.name(pair).display().to_string();
        let yardstick = Yardstick { stats: self.stats.as_ref(), rebalance: self.rebalance.as_ref() };
        let Some(valid) = valid else { return yardstick.judge(name, &source, &made, &target) };
        for (pixel, _) in made.values.chunks_exact_mut(made.bands).zip(&valid).filter(|(_, valid)| !**valid) {
            pixel.fill(0.0);
        }
        let images = yardstick.judge(name.clone(), &source, &made, &target)?;
        let places: Vec<usize> = (0..valid.len()).filter(|i| valid[*i]).collect();
        let nothing = "no pixel of the centre has data in source and target";
        let remedy = "use a larger ⟨crop⟩, or remove the image";
        crate::ensure!(!places.is_empty(), Error::input(nothing, pair.source.path().display(), remedy));
        let [source, made, target] = [&source, &made, &target].map(|pixels| in_a_row(pixels, &places));
        Ok(Judged { scores: yardstick.judge_row(name, &source, &made, &target)?.scores, ..images })
    }

    /// What a file holds as `reading` says, values 0..1; the centre where only that is judged.
    fn read(&self, path: &Path, reading: Reading, picture: &Picture) -> Result<Pixels> {
        picture.check_range(path)?;
        let (width, height) = (picture.info.width, picture.info.height);
        let side = |length: usize| self.crop.map_or(length, |crop| length.min(crop.max(1)));
        let (w, h) = (side(width), side(height));
        let area = Area { x: (width - w) / 2, y: (height - h) / 2, width: w, height: h };
        let mut pixels = Pixels::new(w, h, reading.channels());
        picture.read(reading, area, &mut pixels.values);
        pixels.values.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        Ok(pixels)
    }
}

/// Which pixels have data in both images, if some have not; those are 0 then, as everywhere.
fn without_gaps(images: [&mut Pixels; 2]) -> Option<Vec<bool>> {
    let mut valid = vec![true; images[0].width * images[0].height];
    for image in images {
        for (pixel, valid) in image.values.chunks_exact_mut(image.bands).zip(&mut valid) {
            if pixel.iter().any(|value| value.is_nan()) {
                pixel.fill(0.0);
                *valid = false;
            }
        }
    }
    valid.contains(&false).then_some(valid)
}

/// Some pixels of an image in a row: what is measured pixel by pixel does not ask where they lie.
pub(super) fn in_a_row(pixels: &Pixels, places: &[usize]) -> Pixels {
    let pixel = |i: &usize| &pixels.values[i * pixels.bands..][..pixels.bands];
    let values = places.iter().flat_map(pixel).copied().collect();
    Pixels { width: places.len(), height: 1, bands: pixels.bands, values }
}

/// What predictions are held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Yardstick<'a> {
    pub stats: Option<&'a DataStats>,
    pub rebalance: Option<&'a Rebalance>,
}

impl Yardstick<'_> {
    /// As [`Yardstick::judge`], of pixels in a row that are not beside their neighbours.
    ///
    /// # Errors
    /// As [`Yardstick::judge`].
    pub fn judge_row(&self, name: String, source: &Pixels, made: &Pixels, target: &Pixels) -> Result<Judged> {
        let mut judged = self.judge(name, source, made, target)?;
        judged.scores.forget_neighbours();
        Ok(judged)
    }

    /// Compares what a network made of a source, and what the baselines make of it, with the target; all of one size,
    /// values 0..1.
    ///
    /// # Errors
    /// Statistics of other bands.
    pub fn judge(&self, name: String, source: &Pixels, made: &Pixels, target: &Pixels) -> Result<Judged> {
        let bands = target.bands;
        let image = |values: &[f32], bands: usize| Image8::new(source.width, source.height, bands, to_u8(values));
        let truth = image(&target.values, bands)?;
        let made = image(&made.values, bands)?;
        let copy = grey_copy(&source.values, source.bands, bands).map(|values| image(&values, bands)).transpose()?;
        let judge = Judge { truth: &truth, copy: copy.as_ref(), rebalance: self.rebalance };
        let mut ways = Vec::new();
        if let Some(stats) = self.stats {
            crate::ensure!(
                (stats.source_bands(), stats.target_bands()) == (source.bands, bands),
                Error::input(
                    "the statistics of the run are of other bands",
                    "statistics.json",
                    "use ⟨weights⟩ instead of ⟨run⟩"
                )
            );
            for (method, values) in baselines(&source.values, stats) {
                ways.push((method, image(&values, bands)?));
            }
        } else if let Some(copy) = &copy {
            ways.push((Method::GreyCopy, copy.clone()));
        }
        let mut scores = ImageScores { name, ..ImageScores::default() };
        for (method, way) in [(Method::Model, &made)].into_iter().chain(ways.iter().map(|(method, way)| (*method, way)))
        {
            scores.methods.push((method, judge.scores(way)?));
            if !matches!(bands, 1 | 3) {
                let of_band = |band| psnr(&way.band(band), &truth.band(band));
                scores.band_psnr.push((0..bands).map(of_band).collect::<Result<_>>()?);
            }
        }
        scores.truth_colourfulness = if bands == 3 { Some(colourfulness(&truth)?) } else { None };
        let source = image(&source.values, source.bands)?;
        Ok(Judged { source, made, truth, scores })
    }
}

/// Finds the images that a network is to be judged on, sources prepared as `options` and targets as `target` say, and
/// decodes each of them once: nothing is found wrong later.
///
/// # Errors
/// The first fault in name order: a source without its target or the other way round, sizes that differ, bands that the
/// network does not read or make, a file that cannot be decoded.
pub fn find_images(
    colorizer: &Colorizer,
    options: &Options,
    source: &DataSource,
    target: Preparation,
) -> Result<Dataset> {
    let listing = source.list()?;
    let target_reading = match colorizer.bands() {
        3 => Reading::Rgb,
        bands => Reading::Bands(bands),
    };
    let readings = (colorizer.reading(folder_of(source), options)?, target_reading);
    let how = Preparations { source: options.preparation.clone(), target };
    let data = source.validate_prepared(1, readings, &how, None)?;
    if let Some(lone) = listing.lone_targets.first() {
        return Err(Error::input("a target without its source", lone.display(), "add the source or take it away"));
    }
    data.read_through()?;
    Ok(data)
}

/// Weights of colours against the prior of a classification network; `None` for the weights of other networks.
///
/// # Errors
/// Bins and a prior that do not belong together.
pub fn rebalance(weights: &WeightFile) -> Result<Option<Rebalance>> {
    if weights.get("bins").is_none() {
        return Ok(None);
    }
    let (bins, prior) = bins_and_prior(weights)?;
    Rebalance::new(&bins, &prior).map(Some)
}

fn folder_of(source: &DataSource) -> &Path {
    match source {
        DataSource::Pairs { source: place, .. }
        | DataSource::Scenes { source: place, .. }
        | DataSource::SideBySide { folder: place, .. }
        | DataSource::Images { folder: place, .. } => place,
    }
}
