//! Windows of two scenes: what they reach, and what they leave out.

use super::*;
use crate::dataset::loader::BatchMaker;
use crate::dataset::loader_options::LoaderOptions;
use crate::dataset::pairs::{DataSource, Dataset};
use crate::dataset::preparation::Preparation;
use crate::imaging::codec::save::save_tiff;
use crate::imaging::raster::{Nodata, SampleType};
use approx::{abs_diff_eq, assert_abs_diff_eq};
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
    let source = Preparation { stretch: Some("0,500".parse().unwrap()), ..Preparation::default() };
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
            assert_abs_diff_eq!(*source, (100 + x + y) as f32 / 500.0, epsilon = 1e-6);
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
    assert!(
        abs_diff_eq!(stats.mean[0], 74.5 / 255.0, epsilon = 1e-6)
            && abs_diff_eq!(stats.mean[2], 7.0 / 255.0, epsilon = 1e-6),
        "{stats:?}"
    );
}
