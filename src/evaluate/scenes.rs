//! A network judged on a scene whose colours are known by another, window by window: memory does not grow with them.
//!
//! Pixels without data in either scene are left out. The figures of a window with such pixels are those of the others;
//! it has no SSIM, which needs neighbours. A window of which less than a quarter has data counts for nothing.

use std::path::Path;

use crate::dataset::facts::in_words;
use crate::dataset::preparation::Preparation;
use crate::dataset::prepared::PreparedScene;
use crate::dataset::scene_pair::check_grid;
use crate::dataset::stats::DataStats;
use crate::error::{Error, Result};
use crate::evaluate::classes::{ClassScores, Classes};
use crate::evaluate::evaluator::{Judged, Yardstick, in_a_row};
use crate::evaluate::scoreboard::Scoreboard;
use crate::imaging::codec::save::to_u8;
use crate::imaging::color::{delta_e_2000, srgb8_to_lab_f64};
use crate::imaging::picture::Reading;
use crate::imaging::pixels::{Area, Pixels};
use crate::imaging::quality::Rebalance;
use crate::imaging::raster::{Nodata, RasterInfo, RasterWriter, SampleType};
use crate::paint::colorizer::{Colorizer, Options};
use crate::paint::scene::{Part, Scene, Sink};

/// How two scenes are judged.
pub struct SceneEvaluator<'a> {
    /// The network.
    pub colorizer: &'a Colorizer,
    /// How it reads the source, and how it paints.
    pub options: &'a Options,
    /// What is done to the target.
    pub target: &'a Preparation,
    /// The training data's means and regression; without them, the only baseline is the copy of the source.
    pub stats: Option<&'a DataStats>,
    /// Weights of colours for the rebalanced area under the curve.
    pub rebalance: Option<&'a Rebalance>,
    /// A raster of labels on the scenes' grid, for figures by class.
    pub classes: Option<&'a Path>,
    /// Where to write how far each pixel is from the truth, a TIFF of floats: CIEDE2000 of colours, else the mean
    /// absolute difference of samples 0..255; NaN without data.
    pub difference: Option<&'a Path>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct SceneScores {
    /// The figures of the windows.
    pub board: Scoreboard,
    /// The figures by class, by rising label; none without labels.
    pub classes: Vec<ClassScores>,
    /// Windows that have too little data.
    pub left_out: usize,
    /// What the user should know of the scenes.
    pub notices: Vec<String>,
    /// By what values of source and target became 0 to 1.
    pub stretches: [String; 2],
}

impl SceneEvaluator<'_> {
    /// Paints the scene at `source` and compares it with the one at `target`. `seen` is told of each window, `progress`
    /// of tiles that are painted of all.
    ///
    /// # Errors
    /// Scenes that cannot be read or lie on different grids; no window with data; a full disk; memory; errors of `seen`
    /// and `progress`.
    pub fn evaluate(
        &self,
        source: &Path,
        target: &Path,
        seen: &mut (dyn FnMut(&Judged) -> Result<()> + Send),
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<SceneScores> {
        let reading = match self.colorizer.bands() {
            3 => Reading::Rgb,
            bands => Reading::Bands(bands),
        };
        let device = self.colorizer.painter().device();
        let from = self.colorizer.open_scene(source, self.options)?;
        let truth = PreparedScene::open(target, reading, self.target, device)?;
        check_grid(from.info(), truth.info(), [source, target])?;
        let (look, size) = (self.options.look, [from.info().width, from.info().height]);
        let tiling = self.colorizer.tiling(size, None, None, &look)?;
        let side = tiling.align;
        let difference = self.difference.map(|path| self.difference_writer(path, from.info(), side)).transpose()?;
        let classes = self.classes.map(|path| Classes::open(path, from.info(), target)).transpose()?;
        let notices = [&from, &truth].into_iter().flat_map(PreparedScene::notices).collect();
        let stretches = [&from, &truth].map(|scene| in_words(scene.stretches()));
        let mut sink = ScoreSink {
            source: &from,
            truth: &truth,
            yardstick: Yardstick { stats: self.stats, rebalance: self.rebalance },
            side,
            least: size.map(|length| length.min(side)).iter().product::<usize>() / 4,
            board: Scoreboard { windows: Some(side), ..Scoreboard::default() },
            left_out: 0,
            difference,
            classes,
            seen,
        };
        self.colorizer.paint_scene(&from, &mut sink, &Scene { look, tiling, uncertainty: false }, progress)?;
        let ScoreSink { board, left_out, difference, classes, .. } = sink;
        crate::ensure!(
            !board.images.is_empty(),
            Error::input(
                "no window of the scenes has data in both",
                format!("{} and {}", source.display(), target.display()),
                "check their nodata values and their masks"
            )
        );
        difference.map_or(Ok(()), RasterWriter::finish)?;
        let classes = classes.map_or_else(Vec::new, Classes::finish);
        Ok(SceneScores { board, classes, left_out, notices, stretches })
    }

    fn difference_writer(&self, path: &Path, info: &RasterInfo, tile: usize) -> Result<RasterWriter> {
        let measure = if self.colorizer.bands() == 3 { "CIEDE2000" } else { "mean absolute difference of 0..255" };
        let info = RasterInfo {
            nodata: Nodata::parse("nan"),
            georeference: info.georeference.clone(),
            description: Some(format!("{measure} between a prediction by {} and the truth", self.colorizer.model())),
            ..RasterInfo::new(info.width, info.height, 1, SampleType::F32)
        };
        RasterWriter::create(path, info, tile)
    }
}

/// Compares what is painted with the truth, as it comes.
struct ScoreSink<'a> {
    source: &'a PreparedScene,
    truth: &'a PreparedScene,
    yardstick: Yardstick<'a>,
    /// Of the windows.
    side: usize,
    /// Pixels with data that a window needs.
    least: usize,
    board: Scoreboard,
    left_out: usize,
    difference: Option<RasterWriter>,
    classes: Option<Classes>,
    seen: &'a mut (dyn FnMut(&Judged) -> Result<()> + Send),
}

impl Sink for ScoreSink<'_> {
    fn put(&mut self, [x, y]: [usize; 2], part: Part) -> Result<()> {
        let area = Area { x, y, width: part.pixels.width, height: part.pixels.height };
        let (source, truth) = (self.source.read(area)?, self.truth.read(area)?);
        let has_data = |of: &Part, i: usize| of.valid.as_ref().is_none_or(|valid| valid[i]);
        let valid: Vec<bool> = (0..area.width * area.height)
            .map(|i| has_data(&part, i) && has_data(&truth, i) && has_data(&source, i))
            .collect();
        let bands = part.pixels.bands;
        let (made8, truth8) = (to_u8(&part.pixels.values), to_u8(&truth.pixels.values));
        if let Some(writer) = &mut self.difference {
            let pixels = made8.chunks_exact(bands).zip(truth8.chunks_exact(bands)).zip(&valid);
            let values: Vec<f32> =
                pixels.map(|((made, truth), valid)| if *valid { apart(made, truth) } else { f32::NAN }).collect();
            writer.write_window(area, &values)?;
        }
        if let Some(classes) = &mut self.classes {
            classes.add(area, &made8, &truth8, &valid)?;
        }
        for top in (0..area.height).step_by(self.side) {
            for left in (0..area.width).step_by(self.side) {
                let window = Area {
                    x: left,
                    y: top,
                    width: self.side.min(area.width - left),
                    height: self.side.min(area.height - top),
                };
                self.window([x + left, y + top], window, [&source.pixels, &part.pixels, &truth.pixels], &valid)?;
            }
        }
        Ok(())
    }
}

impl ScoreSink<'_> {
    /// Judges a window of source, made and truth, of whose pixels those `valid` have data; `at` is its place in the
    /// scene.
    fn window(&mut self, at: [usize; 2], window: Area, pixels: [&Pixels; 3], valid: &[bool]) -> Result<()> {
        let width = pixels[0].width;
        let places: Vec<usize> =
            window.rows().flat_map(|y| window.columns().map(move |x| y * width + x)).filter(|i| valid[*i]).collect();
        if places.len() < self.least.max(1) {
            self.left_out += 1;
            return Ok(());
        }
        let whole = places.len() == window.width * window.height;
        let cut = |pixels: &Pixels| match whole {
            true => pixels.part(window),
            false => in_a_row(pixels, &places),
        };
        let [source, made, truth] = pixels.map(cut);
        let name = format!("x {}, y {}", at[0], at[1]);
        let judged = if whole {
            let judged = self.yardstick.judge(name, &source, &made, &truth)?;
            (self.seen)(&judged)?;
            judged
        } else {
            self.yardstick.judge_row(name, &source, &made, &truth)?
        };
        self.board.images.push(judged.scores);
        Ok(())
    }
}

/// How far a pixel is from the truth, of samples 0..255.
fn apart(made: &[u8], truth: &[u8]) -> f32 {
    match (made, truth) {
        (&[r, g, b], &[s, t, u]) => delta_e_2000(srgb8_to_lab_f64([r, g, b]), srgb8_to_lab_f64([s, t, u])) as f32,
        _ => {
            let sum: u32 = made.iter().zip(truth).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
            sum as f32 / made.len() as f32
        }
    }
}
