//! Two scenes on one grid as training data: windows of them, each a pair of images.
//!
//! A grid of windows of the crop's size is laid over the scenes, and each that has data everywhere is a pair, visited
//! once in an epoch. For random crops it holds also what lies up to a window beyond it at the right and below, so that
//! every place of the scene is in reach of just one; where there are gaps, it is the window alone. No crop has a pixel
//! without data.

use std::path::Path;
use std::sync::Arc;

use crate::dataset::facts::in_words;
use crate::dataset::pair::Pair;
use crate::dataset::picture_file::PictureFile;
use crate::dataset::preparation::Preparations;
use crate::dataset::prepared::PreparedScene;
use crate::dataset::scene_window::SceneWindow;
use crate::engine::blocks;
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::imaging::picture::Reading;
use crate::imaging::pixels::Area;
use crate::imaging::raster::RasterInfo;

/// A source and its target.
pub(super) struct ScenePair {
    source: Arc<PreparedScene>,
    target: Arc<PreparedScene>,
}

impl ScenePair {
    /// Opens both. The filter of speckle runs on the CPU, beside the training.
    ///
    /// # Errors
    /// As [`PreparedScene::open`]; grids that differ: both files are named, and what differs.
    pub fn open(source: &Path, target: &Path, readings: (Reading, Reading), how: &Preparations) -> Result<Self> {
        let open = |path, reading, how| PreparedScene::open(path, reading, how, &Device::cpu()).map(Arc::new);
        let pair = ScenePair {
            source: open(source, readings.0, &how.source)?,
            target: open(target, readings.1, &how.target)?,
        };
        check_grid(pair.source.info(), pair.target.info(), [source, target])?;
        Ok(pair)
    }

    /// Both files.
    fn name(&self) -> String {
        format!("{} and {}", self.source.file().path().display(), self.target.file().path().display())
    }

    /// How both are prepared, the stretches that were chosen for them filled in.
    pub fn preparations(&self, asked: &Preparations) -> Preparations {
        let mut filled = asked.clone();
        filled.source.stretch = filled.source.stretch.or_else(|| self.source.chosen_stretch().cloned());
        filled.target.stretch = filled.target.stretch.or_else(|| self.target.chosen_stretch().cloned());
        filled
    }

    /// How what [`SceneWindow::open`] gives is read.
    pub fn readings(&self) -> (Reading, Reading) {
        (self.source.reading(), self.target.reading())
    }

    /// By what values of the two become 0 to 1, in words.
    pub fn stretches(&self) -> [String; 2] {
        [&self.source, &self.target].map(|scene| in_words(scene.stretches()))
    }

    /// What the user should know of the two.
    pub fn notices(&self) -> Vec<String> {
        [&self.source, &self.target].into_iter().flat_map(|scene| scene.notices()).collect()
    }

    /// The pairs for random crops of `size`.
    ///
    /// # Errors
    /// No window that has data everywhere; scenes that cannot be read.
    pub fn for_random_crops(&self, size: usize) -> Result<Vec<Pair>> {
        let pairs = self.windows(size, true)?;
        if pairs.is_empty() { Err(self.no_window(size)) } else { Ok(pairs) }
    }

    /// Fixed windows of `side` pixels, or of half as many, and so on down to `size`, where larger ones do not fit or
    /// have gaps.
    ///
    /// # Errors
    /// No window that has data everywhere; scenes that cannot be read.
    pub fn fixed_windows(&self, size: usize, mut side: usize) -> Result<Vec<Pair>> {
        loop {
            let pairs = self.windows(side.max(size), false)?;
            if !pairs.is_empty() {
                return Ok(pairs);
            }
            crate::ensure!(side > size, self.no_window(size));
            side /= 2;
        }
    }

    fn no_window(&self, size: usize) -> Error {
        let RasterInfo { width, height, .. } = self.source.info();
        Error::input(
            format!("no window of {size}x{size} pixels has data everywhere in scenes of {width}x{height}"),
            self.name(),
            "use a smaller ⟨size⟩, or fill the gaps",
        )
    }

    /// A pair for each window of the grid that has data everywhere, with room for random crops if `roam`.
    fn windows(&self, size: usize, roam: bool) -> Result<Vec<Pair>> {
        let (width, height) = (self.source.info().width, self.source.info().height);
        let across = width.div_ceil(size);
        let whole = self.whole_windows(size)?;
        let is_whole = |column: usize, row: usize| {
            // Beyond the border there is nothing that could be missing.
            column >= across || whole.get(row * across + column).copied().unwrap_or(true)
        };
        let mut pairs = Vec::new();
        for (row, y) in (0..(height + 1).saturating_sub(size)).step_by(size).enumerate() {
            for (column, x) in (0..(width + 1).saturating_sub(size)).step_by(size).enumerate() {
                if !is_whole(column, row) {
                    continue;
                }
                let beside = [(1, 0), (0, 1), (1, 1)];
                let room = roam && beside.iter().all(|(right, down)| is_whole(column + right, row + down));
                let side = if room { 2 * size - 1 } else { size };
                let area = Area { x, y, width: side.min(width - x), height: side.min(height - y) };
                pairs.push(Pair { source: window(&self.source, area), target: window(&self.target, area) });
            }
        }
        Ok(pairs)
    }

    /// Which windows of the grid, those that the border cuts too, have data everywhere in both scenes.
    fn whole_windows(&self, size: usize) -> Result<Vec<bool>> {
        let (width, height) = (self.source.info().width, self.source.info().height);
        let places: Vec<[usize; 2]> =
            (0..height).step_by(size).flat_map(|y| (0..width).step_by(size).map(move |x| [x, y])).collect();
        let mut whole = vec![true; places.len()];
        for scene in [&self.source, &self.target].into_iter().filter(|scene| scene.may_have_gaps()) {
            let has_all = |[x, y]: [usize; 2]| -> Result<bool> {
                let area = Area { x, y, width: size.min(width - x), height: size.min(height - y) };
                Ok(!scene.valid(area)?.contains(&false))
            };
            let found = blocks::collect(places.len(), |i| if whole[i] { has_all(places[i]) } else { Ok(false) });
            whole = found.into_iter().collect::<Result<_>>()?;
        }
        Ok(whole)
    }
}

/// Two rasters must lie on one grid.
///
/// # Errors
/// Grids that differ: both files are named, and what differs.
pub fn check_grid(info: &RasterInfo, other: &RasterInfo, paths: [&Path; 2]) -> Result<()> {
    match info.grid_difference(other) {
        None => Ok(()),
        Some(difference) => Err(Error::input(
            format!("the scenes lie on different grids ({difference})"),
            format!("{} and {}", paths[0].display(), paths[1].display()),
            "bring one onto the grid of the other, e.g. by gdalwarp or `huetape register`",
        )),
    }
}

fn window(scene: &Arc<PreparedScene>, area: Area) -> PictureFile {
    PictureFile::Window(SceneWindow::new(scene.clone(), area))
}

#[cfg(test)]
mod tests;
