//! A trained network and the baselines, judged on whole pictures.

use crate::dataset::pair::Pair;
use crate::dataset::pairs::{DataSource, Dataset};
use crate::dataset::preparation::{Preparation, Preparations};
use crate::dataset::stats::DataStats;
use crate::error::{Error, Result};
use crate::evaluate::baselines::{Method, baselines, grey_copy};
use crate::imaging::codec::save::to_u8;
use crate::imaging::picture::Reading;
use crate::imaging::quality::{Image8, Judge, Rebalance, Scores, colourfulness};
use crate::paint::colorizer::{Colorizer, Options};
use std::path::Path;

/// What is judged, and what it is held against.
pub struct Evaluator<'a> {
    /// The network.
    pub colorizer: &'a Colorizer,
    /// How it colours.
    pub options: Options,
    /// The training data's means and regression; without them, the only baseline is the copy of the source.
    pub stats: Option<DataStats>,
    /// Weights of colours for the rebalanced area under the curve.
    pub rebalance: Option<Rebalance>,
}

/// A picture, judged.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What the network read.
    pub source: Image8,
    /// What it made of it.
    pub made: Image8,
    /// What it should have made.
    pub truth: Image8,
    /// The figures of each method, the model first.
    pub scores: Vec<(Method, Scores)>,
    /// Colourfulness of the truth, where it has colours.
    pub truth_colourfulness: Option<f64>,
}

impl Evaluator<'_> {
    /// Finds the pictures, targets prepared as `target` says, and decodes each of them once: nothing is found wrong later.
    ///
    /// # Errors
    /// The first fault in name order: a source without its target or the other way round, sizes that differ, bands that the
    /// network does not read or make, a file that cannot be decoded.
    pub fn data(&self, source: &DataSource, target: Preparation) -> Result<Dataset> {
        let listing = source.list()?;
        let reading = self.colorizer.reading(folder_of(source), &self.options)?;
        let how = Preparations { source: self.options.preparation, target };
        let data = source.validate_prepared(1, (reading, self.target_reading()), &how, None)?;
        if let Some(lone) = listing.lone_targets.first() {
            return Err(Error::input("a target without its source", lone.display(), "add the source or take it away"));
        }
        data.read_through()?;
        Ok(data)
    }

    /// How targets are read: as many bands as the network makes, three as colours.
    fn target_reading(&self) -> Reading {
        match self.colorizer.bands() {
            3 => Reading::Rgb,
            bands => Reading::Bands(bands),
        }
    }

    /// Colours a source and compares it, and what the baselines make, with the target.
    ///
    /// # Errors
    /// A picture that breaks, and whatever a launch reports.
    pub fn judge(&self, pair: &Pair) -> Result<Judged> {
        let Evaluator { colorizer, .. } = self;
        // The pair prepares its pictures itself.
        let options = &Options { preparation: Preparation::default(), ..self.options };
        let source = colorizer.source(&pair.source.open()?, pair.source.path(), options)?;
        let bands = colorizer.bands();
        let image = |values: &[f32], bands: usize| Image8::new(source.width, source.height, bands, to_u8(values));
        let picture = pair.target.open()?;
        let mut truth = vec![0.0; picture.info.width * picture.info.height * bands];
        picture.read(self.target_reading(), picture.area(), &mut truth);
        let truth = image(&truth, bands)?;
        let made = image(&colorizer.paint(&source, &options.look)?.values, bands)?;
        let copy = grey_copy(&source.values, source.bands, bands).map(|values| image(&values, bands)).transpose()?;
        let judge = Judge { truth: &truth, copy: copy.as_ref(), rebalance: self.rebalance.as_ref() };
        let mut scores = vec![(Method::Model, judge.scores(&made)?)];
        if let Some(stats) = &self.stats {
            crate::ensure!(
                (stats.source_bands(), stats.target_bands()) == (source.bands, bands),
                Error::input(
                    "the statistics of the run are of other bands",
                    "statistics.json",
                    "use ⟨weights⟩ instead of ⟨run⟩"
                )
            );
            for (method, values) in baselines(&source.values, stats) {
                // What the mean ab tells, the mean colour tells by the same ab error and without the source.
                if method != Method::MeanAb {
                    scores.push((method, judge.scores(&image(&values, bands)?)?));
                }
            }
        } else if let Some(copy) = &copy {
            scores.push((Method::GreyCopy, judge.scores(copy)?));
        }
        let truth_colourfulness = if bands == 3 { Some(colourfulness(&truth)?) } else { None };
        let source = image(&source.values, source.bands)?;
        Ok(Judged { source, made, truth, scores, truth_colourfulness })
    }
}

fn folder_of(source: &DataSource) -> &Path {
    match source {
        DataSource::Pairs { source: place, .. }
        | DataSource::Scenes { source: place, .. }
        | DataSource::SideBySide { folder: place, .. }
        | DataSource::Images(place) => place,
    }
}
