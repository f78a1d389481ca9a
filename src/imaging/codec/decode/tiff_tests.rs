//! TIFF images read whole.

use super::*;
use crate::imaging::codec::decode;
use crate::imaging::codec::save::save_tiff;
use crate::imaging::picture::Reading;
use crate::imaging::raster::RawTag;
use crate::imaging::raster::testing::PlainTiff;
use std::io::Cursor;
use std::path::PathBuf;
use tiff::encoder::{TiffEncoder, TiffValue, colortype};
use tiff::tags::ExtraSamples;

fn saved(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Writes colours and `extra` bands of 3x2 pixels whose samples count up from 1.
fn written<C: colortype::ColorType>(
    extra: &[ExtraSamples],
    sample: impl Fn(u32) -> C::Inner,
) -> (tempfile::TempDir, PathBuf)
where
    [C::Inner]: TiffValue,
{
    let samples: Vec<C::Inner> = (1..=6 * (C::BITS_PER_SAMPLE.len() + extra.len()) as u32).map(sample).collect();
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut bytes).unwrap();
    let mut image = encoder.new_image::<C>(3, 2).unwrap();
    if !extra.is_empty() {
        image.extra_samples(extra).unwrap();
    }
    image.write_data(&samples).unwrap();
    saved(&bytes.into_inner())
}

/// The image, by its header and whole.
fn opened(path: &Path) -> Picture {
    let picture = decode::open(path).unwrap();
    assert_eq!(decode::probe(path).unwrap(), picture.info);
    picture
}

#[test]
fn bytes_words_and_floats_are_read_as_they_are_and_alpha_is_dropped() {
    let (_folder, path) = written::<colortype::Gray16>(&[], |v| 10_000 * v as u16);
    let picture = opened(&path);
    assert_eq!((picture.info.bands, picture.info.depth), (1, Depth::U16));
    assert_eq!(picture.samples, Samples::U16((1..=6).map(|v| 10_000 * v).collect()));
    let (_folder, path) = written::<colortype::Gray32Float>(&[], |v| v as f32 - 2.5);
    assert_eq!(opened(&path).samples, Samples::F32(vec![-1.5, -0.5, 0.5, 1.5, 2.5, 3.5]));
    let (_folder, path) = written::<colortype::Gray64Float>(&[], |v| f64::from(v) / 2.0);
    assert_eq!(opened(&path).samples, Samples::F32(vec![0.5, 1.0, 1.5, 2.0, 2.5, 3.0]));
    let (_folder, path) = written::<colortype::RGBA8>(&[], |v| v as u8);
    let picture = opened(&path);
    assert_eq!((picture.info.bands, picture.info.depth), (3, Depth::U8));
    assert_eq!(picture.samples, Samples::U8((1..=24).filter(|v| v % 4 != 0).collect()));
}

#[test]
fn bands_beside_the_colours_are_read_and_alpha_is_not() {
    let (_folder, path) = written::<colortype::RGB8>(&[ExtraSamples::Unspecified], |v| v as u8);
    let picture = opened(&path);
    assert_eq!((picture.info.bands, picture.info.depth), (4, Depth::U8));
    assert_eq!(picture.samples, Samples::U8((1..=24).collect()));

    let both = [ExtraSamples::Unspecified, ExtraSamples::UnassociatedAlpha];
    let (_folder, path) = written::<colortype::RGB16>(&both, |v| 1000 * v as u16);
    let mut pixel = [0.0; 4];
    opened(&path).read(Reading::Bands(4), Area { x: 1, y: 0, width: 1, height: 1 }, &mut pixel);
    assert_eq!(pixel, [6.0, 7.0, 8.0, 9.0].map(|v: f32| 1000.0 * v / 65535.0));

    let (_folder, path) = written::<colortype::Gray8>(&[ExtraSamples::UnassociatedAlpha], |v| v as u8);
    assert_eq!(opened(&path).samples, Samples::U8((1..=12).step_by(2).collect()));
}

#[test]
fn an_image_larger_than_a_block_is_read_in_its_order() {
    let (width, height) = (700, 800);
    let value = |i: u32| (i % 251) as u8;
    let mut bytes = Cursor::new(Vec::new());
    let samples: Vec<u8> = (0..width * height * 3).map(value).collect();
    TiffEncoder::new(&mut bytes).unwrap().write_image::<colortype::RGB8>(width, height, &samples).unwrap();
    let (folder, path) = saved(&bytes.into_inner());
    assert_eq!(opened(&path).samples, Samples::U8(samples.clone()));
    // In tiles, several blocks across.
    let tiled = folder.path().join("tiled.tif");
    let info = crate::imaging::raster::RasterInfo::new(width as usize, height as usize, 3, SampleType::U8);
    let floats: Vec<f32> = samples.iter().map(|v| f32::from(*v)).collect();
    crate::imaging::codec::save::save_tiff(&tiled, info, &floats).unwrap();
    assert_eq!(opened(&tiled).samples, Samples::U8(samples));
}

#[test]
fn types_without_a_range_of_their_own_need_a_stretch() {
    for (file, what, want) in [
        (PlainTiff::grey(1, 32, &[5, 0, 0, 0]), "32 bits, unsigned", vec![5.0]),
        (PlainTiff::grey(1, 16, &[0xFE, 0xFF]).with(339, &[2]), "16 bits, signed", vec![-2.0]),
    ] {
        let (_folder, path) = saved(&file.bytes());
        for error in [decode::open(&path).unwrap_err(), decode::probe(&path).unwrap_err()] {
            let text = error.to_string();
            assert!(text.starts_with(&format!("TIFF samples of {what}")) && text.contains("stretch"), "{text}");
            assert!(error.exit_code() == 2 && text.contains("a.tif"), "{text}");
        }
        assert_eq!(ImageFile::open(&path).unwrap().values().unwrap(), (want, None));
    }
}

#[test]
fn a_small_file_that_claims_an_enormous_size_is_refused() {
    // Tiles that were never written take no room.
    let tiles = [0; 16];
    let file = PlainTiff::grey(1, 16, &[0, 0]).with(256, &[65_535]).with(257, &[65_535]);
    let file = file.with(322, &[16_384]).with(323, &[16_384]).with(324, &tiles).with(325, &tiles);
    let (_folder, path) = saved(&file.bytes());
    for error in [decode::open(&path).map(|p| p.info).unwrap_err(), decode::probe(&path).unwrap_err()] {
        let text = error.to_string();
        assert!(text.contains("8.0 GiB decoded, more than 4 GiB") && error.exit_code() == 2, "{text}");
    }
}

/// As a PNG of as few bits is read: over the range of its type.
#[test]
fn few_bits_and_signed_bytes_are_read_over_their_range() {
    for (file, want) in [
        (PlainTiff::grey(3, 1, &[0b1010_0000]), vec![255, 0, 255]),
        (PlainTiff::grey(4, 2, &[0b00_01_10_11]), vec![0, 85, 170, 255]),
        (PlainTiff::grey(2, 4, &[0x3A]), vec![51, 170]),
        (PlainTiff::grey(3, 8, &[0x80, 0x00, 0x7F]).with(339, &[2]), vec![0, 128, 255]),
    ] {
        let (_folder, path) = saved(&file.bytes());
        assert_eq!(opened(&path).samples, Samples::U8(want));
    }
    let (_folder, path) = saved(&PlainTiff::grey(2, 12, &[0xFF, 0xF0, 0x00]).bytes());
    assert_eq!(opened(&path).samples, Samples::F32(vec![1.0, 0.0]));
}

#[test]
fn a_turned_image_is_read_upright_whole_and_by_windows() {
    // PIL.ImageOps.exif_transpose of 3x2 pixels, 1 to 6.
    let stored = PlainTiff::grey(3, 8, &[1, 2, 3, 4, 5, 6]).with(257, &[2]);
    for (way, size, upright) in [(1, [3, 2], [1, 2, 3, 4, 5, 6]), (6, [2, 3], [4, 1, 5, 2, 6, 3])] {
        let (_folder, path) = saved(&stored.clone().with(274, &[way]).bytes());
        let picture = opened(&path);
        assert_eq!(([picture.info.width, picture.info.height], picture.samples), (size, Samples::U8(upright.to_vec())));
        let file = ImageFile::open(&path).unwrap();
        for (i, value) in upright.into_iter().enumerate() {
            let pixel = Area { x: i % size[0], y: i / size[0], width: 1, height: 1 };
            assert_eq!(file.read_window(pixel, &[1]).unwrap().samples, [f32::from(value)]);
        }
    }
    let placed = stored.with(274, &[6]).with(33922, &[0; 6]);
    let (_folder, path) = saved(&placed.bytes());
    assert!(decode::open(&path).unwrap_err().to_string().contains("orientation 6 in a place on Earth"));
}

#[cfg(unix)]
#[test]
fn what_is_not_a_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.tif");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (path, what) in [(pipe.as_path(), "a pipe or a device"), (folder.path(), "a folder")] {
        for error in
            [decode::open(path).unwrap_err(), decode::probe(path).unwrap_err(), Raster::open(path).unwrap_err()]
        {
            assert!(error.to_string().contains(&format!("this is {what}")) && error.exit_code() == 2, "{error}");
        }
    }
}

#[test]
fn what_a_nodata_value_and_points_do_not_do_is_said_once() {
    let said = |path: &Path| {
        let file = ImageFile::open(path).unwrap();
        let (_, valid) = file.values().unwrap();
        assert_eq!((valid, file.notices().len()), (None, 1));
        file.notices()[0].split_once(": ").unwrap().1.to_owned()
    };
    let words: Vec<u8> = [0u16, 3, 9999, 55537].iter().flat_map(|v| v.to_le_bytes()).collect();
    for text in ["nan", "3.5", "-9999"] {
        let wanted = format!("no sample of type u16 can be the nodata value {text}, so none is masked");
        let (_folder, path) = saved(&PlainTiff::grey(4, 16, &words).nodata(text).bytes());
        assert_eq!(said(&path), wanted);
        assert_eq!(ImageFile::open(&path).unwrap().info().nodata.as_ref().unwrap().text, text);
    }
    let (_folder, path) = saved(&[]);
    let place = |i: u32| [f64::from(i), 0.0, 0.0, 4e5 + f64::from(i * i), 5e6, 0.0];
    let bytes = (0..16).flat_map(place).flat_map(f64::to_le_bytes).collect();
    let georeference = vec![RawTag { tag: 33922, field_type: 12, bytes }];
    let info = RasterInfo { georeference, ..RasterInfo::new(4, 1, 1, SampleType::U16) };
    save_tiff(&path, info, &[1.0, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!(said(&path), "placed by 16 ground control points only");
}
