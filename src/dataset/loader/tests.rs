//! Batches of seven small pairs: order, crops, mirrors, errors.

use super::*;
use crate::dataset::loader_options::Turns;
use crate::dataset::pairs::DataSource;
use crate::dataset::patches::PatchPlan;
use crate::imaging::codec::save::{save_png, save_tiff};
use crate::imaging::raster::testing::PlainTiff;
use crate::imaging::raster::{RasterInfo, SampleType};
use approx::assert_abs_diff_eq;
use std::collections::BTreeSet;
use std::path::Path;

/// Seven pairs of 12x10 images whose values name file, row and column: source = 16 file + ..., target red = source.
fn data() -> (tempfile::TempDir, Dataset) {
    let root = tempfile::tempdir().unwrap();
    for side in ["s", "t"] {
        std::fs::create_dir(root.path().join(side)).unwrap();
    }
    for file in 0..7u8 {
        let grey: Vec<u8> = (0..120u8).map(|i| i + file * 10).collect();
        let rgb: Vec<u8> = grey.iter().flat_map(|v| [*v, 255 - *v, file]).collect();
        save_png(&root.path().join(format!("s/{file}.png")), &grey, 12, 10, None).unwrap();
        save_png(&root.path().join(format!("t/{file}.png")), &rgb, 12, 10, None).unwrap();
    }
    let source = DataSource::Pairs { source: root.path().join("s"), target: root.path().join("t"), recursive: false };
    let set = source.validate(8, None).unwrap();
    (root, set)
}

fn options(shuffle: bool, augment: bool) -> LoaderOptions {
    let small = LoaderOptions { batch: 3, size: 8, seed: 5, threads: 3, ..LoaderOptions::default() };
    LoaderOptions { shuffle, augment, cache_bytes: 1 << 20, ..small }
}

fn file_numbers(batch: &Batch) -> Vec<usize> {
    batch.files.iter().map(|f| f.file_stem().unwrap().to_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn the_loader_delivers_every_step_in_order_as_one_thread_makes_it() {
    let (_root, data) = data();
    let maker = BatchMaker::new(data.clone(), options(true, true));
    let loaded: Vec<Batch> = Loader::new(data, options(true, true), 1, 20).unwrap().map(|b| b.unwrap()).collect();
    assert_eq!(loaded.len(), 20);
    for (step, batch) in (1..).zip(&loaded) {
        assert_eq!(*batch, maker.batch(step).unwrap());
    }
}

#[test]
fn a_resumed_loader_goes_on_with_the_same_batches() {
    let (_root, data) = data();
    let all: Vec<Batch> = Loader::new(data.clone(), options(true, true), 1, 12).unwrap().map(|b| b.unwrap()).collect();
    let rest: Vec<Batch> = Loader::new(data, options(true, true), 8, 12).unwrap().map(|b| b.unwrap()).collect();
    assert_eq!(all[7..], rest);
}

#[test]
fn an_epoch_holds_every_file_once_and_epochs_differ() {
    let (_root, data) = data();
    let order: Vec<usize> = Loader::new(data, options(true, false), 1, 7)
        .unwrap()
        .flat_map(|batch| file_numbers(&batch.unwrap()))
        .collect();
    let epochs: Vec<&[usize]> = order.chunks(7).collect();
    for epoch in &epochs {
        assert_eq!(epoch.iter().collect::<BTreeSet<_>>().len(), 7, "{epoch:?}");
    }
    assert_ne!(epochs[0], epochs[1]);
}

#[test]
fn without_shuffling_the_files_come_in_name_order_and_wrap() {
    let (_root, data) = data();
    let maker = BatchMaker::new(data, options(false, false));
    assert_eq!(file_numbers(&maker.batch(1).unwrap()), [0, 1, 2]);
    assert_eq!(file_numbers(&maker.batch(3).unwrap()), [6, 0, 1]);
}

#[test]
fn without_augmentation_the_centre_is_cut_unmirrored() {
    let (_root, data) = data();
    let batch = BatchMaker::new(data, options(false, false)).batch(1).unwrap();
    // Origin (12 - 8) / 2, (10 - 8) / 2; second image of the batch, row 3, column 5.
    let want = ((1 + 3) * 12 + 2 + 5 + 10) as f32;
    assert_eq!(batch.source[64 + 3 * 8 + 5], want / 255.0);
    assert_eq!(batch.target[(64 + 3 * 8 + 5) * 3..][..3], [want / 255.0, (255.0 - want) / 255.0, 1.0 / 255.0]);
}

#[test]
fn source_and_target_are_cut_and_mirrored_alike_in_all_ways() {
    let (_root, data) = data();
    let maker = BatchMaker::new(data.clone(), options(true, true));
    let mut seen = BTreeSet::new();
    for step in 1..=60 {
        let batch = maker.batch(step).unwrap();
        for (sample, grey) in samples(&data.infos, &[], &maker.options, step).iter().zip(batch.source.chunks(64)) {
            seen.insert((sample.x, sample.y, sample.turn));
            let x = if sample.turn.mirror_x { sample.x + 7 } else { sample.x };
            let y = if sample.turn.mirror_y { sample.y + 7 } else { sample.y };
            assert_eq!(grey[0], (y * 12 + x + sample.file * 10) as f32 / 255.0);
        }
        for (grey, rgb) in batch.source.iter().zip(batch.target.chunks(3)) {
            assert_eq!(*grey, rgb[0]);
        }
    }
    // 5 x 3 origins, each mirrored four ways; 180 draws reach most of the 60.
    assert!(seen.len() > 50, "{}", seen.len());
    assert!(seen.iter().any(|s| s.0 == 4 && s.1 == 2));
}

#[test]
fn a_halo_is_cut_and_turned_with_the_crop_it_surrounds() {
    let (_root, data) = data();
    let plain = LoaderOptions { turns: Turns::MirrorsAndRotations, ..options(true, true) };
    let [plain, wide] = [0, 2].map(|halo| BatchMaker::new(data.clone(), LoaderOptions { halo, ..plain.clone() }));
    for step in 1..=20 {
        let (plain, wide) = (plain.batch(step).unwrap(), wide.batch(step).unwrap());
        assert_eq!(plain.target, wide.target);
        assert_eq!(wide.source_on(&Device::cpu()).unwrap().shape(), [3, 12, 12, 1]);
        for (plain, wide) in plain.source.chunks(64).zip(wide.source.chunks(144)) {
            let inner: Vec<f32> = (0..64).map(|i| wide[(i / 8 + 2) * 12 + i % 8 + 2]).collect();
            assert_eq!(plain, inner);
        }
    }
}

/// Crops and mirrors as the first version drew them: runs begun then go on, and golden runs stay.
#[test]
fn crops_and_mirrors_stay_what_they_were() {
    let (_root, data) = data();
    let drawn: Vec<_> = samples(&data.infos, &[], &options(true, true), 2)
        .into_iter()
        .map(|s| (s.file, s.x, s.y, s.turn.mirror_x, s.turn.mirror_y, s.turn.transpose))
        .collect();
    assert_eq!(drawn, [(4, 4, 2, false, true, false), (6, 2, 1, true, true, false), (0, 3, 1, true, false, false)]);
}

#[test]
fn a_file_that_breaks_is_reported_at_its_step_and_by_name() {
    let (root, data) = data();
    std::fs::write(root.path().join("t/4.png"), "gone bad").unwrap();
    let mut loader = Loader::new(data, options(false, false), 1, 9).unwrap();
    assert_eq!(loader.next().unwrap().unwrap().step, 1);
    let error = loader.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("t/4.png"), "{error}");
    assert!(loader.next().is_none());
}

#[test]
fn a_picture_replaced_by_another_size_is_reported() {
    let (root, data) = data();
    save_png(&root.path().join("s/0.png"), &[0; 81], 9, 9, None).unwrap();
    let error = BatchMaker::new(data, options(false, false)).batch(1).unwrap_err().to_string();
    assert!(error.contains("12x10 and is now 9x9") && error.contains("s/0.png"), "{error}");
}

#[test]
fn a_loader_that_is_dropped_early_ends_its_threads() {
    let (_root, data) = data();
    let mut loader = Loader::new(data, options(true, true), 1, u64::MAX - 1).unwrap();
    loader.next().unwrap().unwrap();
    // Joins the threads: a hang here fails the test by its time.
    drop(loader);
}

#[test]
fn small_pictures_are_enlarged_before_random_crops_and_only_then() {
    let (_root, data) = data();
    let enlarge = |augment| LoaderOptions { enlarge: Some(15), ..options(true, augment) };
    let maker = BatchMaker::new(data.clone(), enlarge(true));
    assert_eq!((maker.infos[0].width, maker.infos[0].height), (18, 15));
    let batch = maker.batch(1).unwrap();
    // Values of neighbours are 1 and 12 apart, and linear in between: at 2/3 of the step but at the border.
    let steps: Vec<f32> = batch.source[..8].windows(2).map(|w| 255.0 * (w[1] - w[0])).collect();
    assert!(steps.iter().all(|step| step.abs() < 0.67) && steps.iter().any(|step| step.abs() > 0.66), "{steps:?}");
    for (grey, rgb) in batch.source.iter().zip(batch.target.chunks(3)) {
        // The same mean of the same values, in another order.
        assert_abs_diff_eq!(*grey, rgb[0], epsilon = 1e-6);
    }
    assert_eq!(
        BatchMaker::new(data.clone(), enlarge(false)).batch(1).unwrap(),
        BatchMaker::new(data, options(true, false)).batch(1).unwrap()
    );
}

#[test]
fn images_give_their_lightness() {
    let (root, _) = data();
    let set = DataSource::Images { folder: root.path().join("t"), recursive: false }.validate(8, None).unwrap();
    let batch = BatchMaker::new(set, options(false, false)).batch(1).unwrap();
    let lab = crate::imaging::color::srgb_to_lab([batch.target[0], batch.target[1], batch.target[2]]);
    assert_eq!(batch.source[0], lab[0] / 100.0);
}

#[test]
fn a_wait_ends_when_it_is_asked_to_and_the_next_one_goes_on() {
    let (_root, data) = data();
    let options = LoaderOptions { batch: 1, size: 4, ..LoaderOptions::default() };
    let mut loader = Loader::new(data, options, 1, 2).unwrap();
    let stop = AtomicBool::new(true);
    assert!(loader.next_unless(&stop).unwrap().unwrap().is_none());
    stop.store(false, Ordering::Relaxed);
    assert_eq!(loader.next_unless(&stop).unwrap().unwrap().unwrap().step, 1);
    assert_eq!(loader.next().unwrap().unwrap().step, 2);
    assert!(loader.next().is_none());
}

/// An image whose values are 0.5 or more, but for the given pixels, which are NaN.
fn with_gaps(size: [usize; 2], is_gap: impl Fn(usize, usize) -> bool) -> (tempfile::TempDir, Dataset) {
    let root = tempfile::tempdir().unwrap();
    let value = |i: usize| if is_gap(i % size[0], i / size[0]) { f32::NAN } else { 0.5 + (i % 7) as f32 / 16.0 };
    let values: Vec<f32> = (0..size[0] * size[1]).map(value).collect();
    let info = RasterInfo::new(size[0], size[1], 1, SampleType::F32);
    save_tiff(&root.path().join("a.tif"), info, &values).unwrap();
    let whole = vec![0.75; values.len()];
    save_tiff(&root.path().join("b.tif"), RasterInfo::new(size[0], size[1], 1, SampleType::F32), &whole).unwrap();
    let data = DataSource::Images { folder: root.path().into(), recursive: false };
    let readings = (Reading::Grey { band: None }, Reading::Grey { band: None });
    let data = data.validate_as(8, readings).unwrap();
    (root, data)
}

#[test]
fn crops_and_patches_have_no_pixel_without_data() {
    let is_gap = |x: usize, y: usize| x < 6 || (y == 20 && x < 28) || (x, y) == (30, 5);
    let (_root, data) = with_gaps([40, 30], is_gap);
    assert_eq!((data.gaps[0].as_ref().unwrap().count(), &data.gaps[1]), (6 * 30 + 22 + 1, &None));
    let plan = PatchPlan::of(&data, 8, 60, 4, 0).unwrap();
    let of = |augment: bool| LoaderOptions { batch: 4, size: 8, augment, ..LoaderOptions::default() };
    let larger = LoaderOptions { enlarge: Some(45), ..of(true) };
    let patches = LoaderOptions { patches: Some(Arc::new(plan)), ..of(true) };
    for options in [of(true), of(false), larger, patches, LoaderOptions { halo: 3, ..of(true) }] {
        let maker = BatchMaker::new(data.clone(), options.clone());
        let mut gaps_around = 0;
        for step in 1..=40 {
            let batch = maker.batch(step).unwrap();
            assert!(batch.target.iter().all(|value| *value >= 0.5), "{options:?}");
            gaps_around += batch.source.iter().filter(|value| **value == 0.0).count();
        }
        // Around a crop there may be some, which are 0.
        assert_eq!(gaps_around > 0, options.halo > 0, "{options:?}");
    }
}

#[test]
fn the_one_place_without_gaps_is_taken_also_where_images_are_enlarged() {
    let (_root, data) = with_gaps([12, 11], |x, y| !(2..10).contains(&x) || y == 0 || y >= 9);
    for enlarge in [None, Some(12), Some(13), Some(30)] {
        let options = LoaderOptions { batch: 2, size: 8, enlarge, ..LoaderOptions::default() };
        let maker = BatchMaker::new(data.clone(), options);
        for step in 1..=20 {
            assert!(maker.batch(step).unwrap().source.iter().all(|value| *value >= 0.5), "{enlarge:?}");
        }
    }
}

#[test]
fn a_square_source_that_is_stored_turned_lies_on_its_target() {
    let side = 8;
    let upright: Vec<u8> = (0..64).map(|i| 3 * i).collect();
    // Tag 274 is 6: the first row is the right side, the first column the top.
    let stored: Vec<u8> = (0..64).map(|i| upright[i % side * side + side - 1 - i / side]).collect();
    let turned = PlainTiff::grey(8, 8, &stored).with(257, &[8]).with(274, &[6]).bytes();
    let batch = |write: &dyn Fn(&Path)| {
        let root = tempfile::tempdir().unwrap();
        let [source, target] = ["s", "t"].map(|name| root.path().join(name));
        std::fs::create_dir(&source).unwrap();
        std::fs::create_dir(&target).unwrap();
        write(&source);
        save_png(&target.join("a.png"), &upright, side, side, None).unwrap();
        let data = DataSource::Pairs { source, target, recursive: false }.validate(side, None).unwrap();
        BatchMaker::new(data, LoaderOptions { batch: 1, ..options(false, false) }).batch(1).unwrap()
    };
    let plain = batch(&|folder| save_png(&folder.join("a.png"), &upright, side, side, None).unwrap());
    let read = batch(&|folder| std::fs::write(folder.join("a.tif"), &turned).unwrap());
    assert_eq!((&read.source, &read.target), (&plain.source, &plain.target));
    // The picture is no copy of its turns: a source that stays as it is stored differs.
    let stored = batch(&|folder| save_png(&folder.join("a.png"), &stored, side, side, None).unwrap());
    assert_ne!(stored.source, plain.source);
}
