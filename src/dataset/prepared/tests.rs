//! Scenes and images prepared alike; no seams, no trace of pixels without data.

use super::*;
use crate::dataset::picture_file::PictureFile;
use crate::imaging::codec::save::{save_png, save_tiff};
use crate::imaging::picture::Samples;
use crate::imaging::raster::testing::PlainTiff;
use crate::imaging::raster::{Nodata, RawTag, SampleType, Stretch};
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
    let scale = RawTag { tag: 33550, field_type: 12, bytes: [10.0f64, 10.0, 0.0].map(f64::to_le_bytes).concat() };
    let georeference = vec![scale];
    let nodata = Nodata::parse("-1");
    let info = RasterInfo { nodata, georeference, ..RasterInfo::new(SIZE[0], SIZE[1], 2, sample) };
    save_tiff(&path, info, &samples).unwrap();
    (folder, path, samples)
}

fn stretched(stretch: &str, despeckle: Option<&str>) -> Preparation {
    let despeckle = despeckle.map(|text| text.parse().unwrap());
    Preparation { stretch: Some(stretch.parse().unwrap()), despeckle, ..Preparation::default() }
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
    assert_eq!(scene.chosen_stretch(), Some(&Stretch::Percentile(2.0).into()));
    let notice = scene.notices().join(" ");
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
    assert_eq!(plain.chosen_stretch(), None);
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
    let (picture, _) = scene.picture(scene.file().area()).unwrap();
    assert_eq!(picture.samples, Samples::U8(vec![0, 51, 255]));
    assert_eq!(scene.read(scene.file().area()).unwrap().pixels.values, [0.0, 0.0, 0.0, 0.2, 0.2, 0.2, 1.0, 1.0, 1.0]);
    assert!(scene.notices().is_empty());
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

/// Reads the file as a member of a folder and as a scene, which must not differ; what both give, and which pixels have
/// data.
fn both_roads(path: &Path, preparation: &Preparation) -> (Samples, Vec<bool>) {
    let member = PictureFile::from(path.to_path_buf()).prepared(preparation).open().unwrap();
    let bands = member.info.bands;
    let scene = open(path, Reading::Bands(bands), preparation);
    let (picture, valid) = scene.picture(scene.file().area()).unwrap();
    let floats = |picture: &Picture| {
        let mut values = vec![0.0; picture.info.width * picture.info.height * bands];
        picture.read(Reading::Bands(bands), picture.area(), &mut values);
        values
    };
    let values = floats(&member);
    let has_data: Vec<bool> =
        values.chunks_exact(bands).map(|pixel| pixel.iter().all(|value| !value.is_nan())).collect();
    assert_eq!(has_data, valid, "{}", path.display());
    let member = member.filled();
    assert_eq!(floats(&picture), floats(&member), "{}", path.display());
    (member.samples, valid)
}

#[test]
fn an_image_is_read_alike_in_a_folder_and_as_a_scene_whatever_contains_it() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Preparation::default();
    let tiff = |file: PlainTiff, preparation: &Preparation| {
        let path = folder.path().join("a.tif");
        std::fs::write(&path, file.bytes()).unwrap();
        both_roads(&path, preparation)
    };
    let greys = [0, 51, 102, 255];
    let (want, _) = {
        let path = folder.path().join("a.png");
        save_png(&path, &greys, 4, 1, None).unwrap();
        both_roads(&path, &plain)
    };
    let inverted = greys.map(|v| 255 - v);
    let map: Vec<u64> = (0..3).flat_map(|_| (0..256).map(|i| 257 * i)).collect();
    for file in [
        PlainTiff::grey(4, 8, &greys),
        PlainTiff::grey(4, 8, &inverted).with(262, &[0]),
        PlainTiff::grey(4, 8, &greys.map(u8::reverse_bits)).with(266, &[2]),
        PlainTiff::grey(4, 4, &[0x03, 0x6F]),
        PlainTiff::grey(4, 8, &greys.map(|v| v ^ 0x80)).with(339, &[2]),
    ] {
        assert_eq!(tiff(file, &plain).0, want);
    }
    let (Samples::U8(colours), Samples::U8(greys)) =
        (tiff(PlainTiff::grey(4, 8, &greys).with(262, &[3]).with(320, &map), &plain).0, want)
    else {
        panic!("bytes")
    };
    assert_eq!(colours, greys.iter().flat_map(|v| [*v; 3]).collect::<Vec<_>>());

    // 16 bits without a place on Earth are read over their range, by percentiles in one.
    let words: Vec<u8> = [300u16, 0, 9000, 65535].iter().flat_map(|v| v.to_le_bytes()).collect();
    let wide = PlainTiff::grey(4, 16, &words);
    assert_eq!(tiff(wide.clone(), &plain).0, Samples::U16(vec![300, 0, 9000, 65535]));
    let placed = wide.with(33922, &[0; 6]);
    assert_eq!(tiff(placed.clone(), &plain), tiff(placed, &stretched("percentile:2", None)));
    // A hole counts nowhere.
    let holed = PlainTiff::grey(4, 16, &words).with(33922, &[0; 6]).nodata("65535");
    let (samples, valid) = tiff(holed, &plain);
    assert_eq!((samples, valid), (Samples::F32(vec![300.0 / 9000.0, 0.0, 1.0, 0.0]), vec![true, true, true, false]));
    tiff(PlainTiff::grey(4, 16, &words).nodata("0"), &stretched("db:20,40", Some("lee:3")));
    tiff(PlainTiff::grey(4, 16, &words).with(339, &[2]), &stretched("none", None));
}

#[test]
fn physical_stretches_take_the_scale_and_the_offset_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let item = |name: &str, value: &str| {
        format!("<Item name=\"{}\" sample=\"0\" role=\"{name}\">{value}</Item>", name.to_uppercase())
    };
    let metadata = format!("<GDALMetadata>{}{}</GDALMetadata>", item("scale", "0.0001"), item("offset", "-0.1"));
    let info = RasterInfo { metadata: Some(metadata), ..RasterInfo::new(4, 1, 1, SampleType::U16) };
    save_tiff(&path, info, &[1000.0, 2000.0, 6000.0, 11000.0]).unwrap();
    let Samples::F32(values) = both_roads(&path, &stretched("0,1", None)).0 else { panic!("floats") };
    for (got, want) in values.iter().zip([0.0, 0.1, 0.5, 1.0]) {
        assert_abs_diff_eq!(*got, want, epsilon = 1e-6);
    }
    let raw = both_roads(&path, &stretched("percentile:0", None)).0;
    assert_eq!(raw, Samples::F32(vec![0.0, 0.1, 0.5, 1.0]));
}
