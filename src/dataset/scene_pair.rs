//! Two scenes on one grid as training data: windows of them, each a pair of pictures.
//!
//! A grid of windows of the crop's size is laid over the scenes, and each that has data everywhere is a pair, visited once in an
//! epoch. For random crops it holds also what lies up to a window beyond it at the right and below, so that every place of the scene is in
//! reach of just one; where there are gaps, it is the window alone. No crop has a pixel without data.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use crate::dataset::pairs::{Pair, Preparations};
use crate::dataset::picture_file::PictureFile;
use crate::dataset::prepared::PreparedScene;
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::imaging::picture::{Picture, PictureInfo, Reading};
use crate::imaging::pixels::Area;
use crate::imaging::raster::RasterInfo;

/// A part of a scene.
#[derive(Debug, Clone)]
pub struct SceneWindow {
    scene: Arc<PreparedScene>,
    area: Area,
}

impl PartialEq for SceneWindow {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.scene, &other.scene) && self.area == other.area
    }
}

impl SceneWindow {
    /// Where it lies: left, top, width, height.
    pub(super) fn place(&self) -> [usize; 4] {
        [self.area.x, self.area.y, self.area.width, self.area.height]
    }

    /// Its size and bands.
    pub(super) fn info(&self) -> PictureInfo {
        let Area { width, height, .. } = self.area;
        PictureInfo { width, height, bands: self.scene.bands(), depth: self.scene.depth() }
    }

    /// Reads it.
    pub(super) fn open(&self) -> Result<Picture> {
        self.scene.picture(self.area).map(|(picture, _)| picture)
    }
}

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
        if let Some(difference) = pair.source.info().grid_difference(pair.target.info()) {
            return Err(Error::input(
                format!("the scenes lie on different grids ({difference})"),
                pair.name(),
                "bring one onto the grid of the other, e.g. by gdalwarp or `huetape register`",
            ));
        }
        Ok(pair)
    }

    /// Both files.
    fn name(&self) -> String {
        format!("{} and {}", self.source.raster().path().display(), self.target.raster().path().display())
    }

    /// How both are prepared, the stretches that were chosen for them filled in.
    pub fn preparations(&self, asked: &Preparations) -> Preparations {
        let mut filled = *asked;
        filled.source.stretch = filled.source.stretch.or(self.source.chosen_stretch());
        filled.target.stretch = filled.target.stretch.or(self.target.chosen_stretch());
        filled
    }

    /// How what [`SceneWindow::open`] gives is read.
    pub fn readings(&self) -> (Reading, Reading) {
        (self.source.reading(), self.target.reading())
    }

    /// What the user should know of the two.
    pub fn notices(&self) -> Vec<String> {
        [&self.source, &self.target].into_iter().filter_map(|scene| scene.notice()).collect()
    }

    /// The pairs for random crops of `size`.
    ///
    /// # Errors
    /// No window that has data everywhere; scenes that cannot be read.
    pub fn for_random_crops(&self, size: usize) -> Result<Vec<Pair>> {
        let pairs = self.windows(size, true)?;
        if pairs.is_empty() { Err(self.no_window(size)) } else { Ok(pairs) }
    }

    /// Fixed windows of `side` pixels, or of half as many, and so on down to `size`, where larger ones do not fit or have gaps.
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
        for scene in [&self.source, &self.target].into_iter().filter(|scene| scene.raster().may_have_gaps()) {
            let has_all = |[x, y]: [usize; 2]| -> Result<bool> {
                let area = Area { x, y, width: size.min(width - x), height: size.min(height - y) };
                Ok(!scene.raster().read_window(area, scene.band_numbers())?.valid.contains(&false))
            };
            let found: Vec<Result<bool>> = places
                .par_iter()
                .zip(&whole)
                .map(|(place, whole)| if *whole { has_all(*place) } else { Ok(false) })
                .collect();
            whole = found.into_iter().collect::<Result<_>>()?;
        }
        Ok(whole)
    }
}

fn window(scene: &Arc<PreparedScene>, area: Area) -> PictureFile {
    let path = scene.raster().path().to_owned();
    PictureFile { window: Some(SceneWindow { scene: scene.clone(), area }), ..PictureFile::from(path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::loader::BatchMaker;
    use crate::dataset::loader_options::LoaderOptions;
    use crate::dataset::pairs::{DataSource, Dataset};
    use crate::dataset::prepared::Preparation;
    use crate::imaging::codec::save::save_tiff;
    use crate::imaging::raster::{Nodata, SampleType};
    use std::collections::BTreeSet;

    const SIZE: [usize; 2] = [150, 100];

    /// A source of u16, 0 where `gap`, and a target of three bands that holds column, row and the source's value.
    fn scenes(gap: impl Fn(usize, usize) -> bool) -> (tempfile::TempDir, DataSource) {
        let root = tempfile::tempdir().unwrap();
        let [source, target] = ["s.tif", "t.tif"].map(|name| root.path().join(name));
        let [w, h] = SIZE;
        let pixels = || (0..h).flat_map(|y| (0..w).map(move |x| (x, y)));
        let value = |x, y| if gap(x, y) { 0.0 } else { 100.0 + (x + y) as f32 };
        let grey: Vec<f32> = pixels().map(|(x, y)| value(x, y)).collect();
        let colours: Vec<f32> = pixels().flat_map(|(x, y)| [x as f32, y as f32, 7.0]).collect();
        let info = RasterInfo { nodata: Nodata::parse("0"), ..RasterInfo::new(w, h, 1, SampleType::U16) };
        save_tiff(&source, info, &grey).unwrap();
        save_tiff(&target, RasterInfo::new(w, h, 3, SampleType::U8), &colours).unwrap();
        (root, DataSource::Scenes { source, target })
    }

    fn dataset(data: &DataSource, size: usize, grid: Option<usize>) -> Result<Dataset> {
        let source = Preparation { stretch: Some("0,500".parse().unwrap()), despeckle: None };
        let how = Preparations { source, ..Preparations::default() };
        data.validate_prepared(size, data.readings(None), &how, grid)
    }

    #[test]
    fn random_crops_reach_every_place_belong_together_and_have_data() {
        let gap = |x: usize, y: usize| x < 3 && y < 40 || x == 90 && y == 50;
        let (_root, data) = scenes(gap);
        let set = dataset(&data, 16, None).unwrap();
        let steps = 4 * set.pairs.len() as u64;
        let maker = BatchMaker::new(set, LoaderOptions { batch: 8, size: 16, ..LoaderOptions::default() });
        let mut seen = BTreeSet::new();
        for step in 1..=steps {
            let batch = maker.batch(step).unwrap();
            for (source, target) in batch.source.iter().zip(batch.target.chunks_exact(3)) {
                let [x, y] = [target[0], target[1]].map(|v| (255.0 * v).round() as usize);
                assert!(!gap(x, y), "{x} {y}");
                assert!((source - (100 + x + y) as f32 / 500.0).abs() < 1e-6);
                seen.insert([x, y]);
            }
        }
        // The last row and column are reached, and places that no window of the grid begins with.
        assert!(seen.contains(&[5, 60]) && seen.contains(&[144, 4]));
        assert!(seen.iter().any(|[x, _]| *x == 149) && seen.iter().any(|[_, y]| *y == 99));
        assert_eq!(maker.batch(3).unwrap(), maker.batch(3).unwrap());
    }

    #[test]
    fn an_epoch_has_a_window_for_each_of_the_grid_that_has_data() {
        let (_root, data) = scenes(|_, _| false);
        assert_eq!(dataset(&data, 16, None).unwrap().pairs.len(), 9 * 6);
        let (_root, data) = scenes(|x, y| x == 20 && y == 20);
        assert_eq!(dataset(&data, 16, None).unwrap().pairs.len(), 9 * 6 - 1);
        let fixed = dataset(&data, 16, Some(50)).unwrap();
        assert_eq!(fixed.pairs.len(), 3 * 2 - 1);
        assert!(fixed.infos.iter().all(|info| (info.width, info.height) == (50, 50)));
    }

    #[test]
    fn scenes_that_do_not_go_together_or_have_hardly_any_data_are_one_clear_error() {
        let (root, data) = scenes(|x, y| (x + y) % 10 == 0);
        let error = dataset(&data, 16, None).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("no window of 16x16") && error.to_string().contains("t.tif"), "{error}");
        let other = RasterInfo::new(151, 100, 3, SampleType::U8);
        save_tiff(&root.path().join("t.tif"), other, &vec![0.0; 3 * 15_100]).unwrap();
        let error = dataset(&data, 16, None).unwrap_err().to_string();
        assert!(error.contains("150x100 and 151x100") && error.contains("s.tif") && error.contains("t.tif"), "{error}");
        assert!(dataset(&data, 160, None).is_err());
    }

    #[test]
    fn the_survey_reads_all_windows() {
        let (_root, data) = scenes(|_, _| false);
        let stats = crate::dataset::stats::survey(&dataset(&data, 25, Some(25)).unwrap()).unwrap().stats;
        assert_eq!((stats.pictures, stats.pixels), (24, 15_000));
        assert!((stats.mean[0] - 74.5 / 255.0).abs() < 1e-6 && (stats.mean[2] - 7.0 / 255.0).abs() < 1e-6, "{stats:?}");
    }
}
