//! Scenes and images prepared alike; no seams, no trace of pixels without data.

use super::*;
use crate::imaging::codec::save::save_tiff;
use crate::imaging::raster::Nodata;
use crate::random::{Rng, Stream};
use approx::{abs_diff_eq, assert_abs_diff_eq};

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
        assert!(abs_diff_eq!(*value, want, epsilon = 1e-6) && valid[i] == (x >= 10), "{x} {y}: {value}, not {want}");
    }
    let both = open(&path, Reading::Bands(2), &stretched("0,1000", None));
    let part = both.read(Area { x: 30, y: 0, width: 4, height: 4 }).unwrap();
    assert_eq!((part.pixels.bands, part.valid), (2, None));
    assert_abs_diff_eq!(part.pixels.values[1], samples[61] / 1000.0, epsilon = 1e-6);
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
    assert!(
        abs_diff_eq!(share(0.0), 0.02, epsilon = 2e-3) && abs_diff_eq!(share(1.0), 0.02, epsilon = 2e-3),
        "{} {}",
        share(0.0),
        share(1.0)
    );
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
    assert_eq!(scene.read(scene.raster().area()).unwrap().pixels.values, [0.0, 0.0, 0.0, 0.2, 0.2, 0.2, 1.0, 1.0, 1.0]);
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
    assert!(error.to_string().contains("changed while it was read") && error.to_string().contains("s.tif"), "{error}");
}
