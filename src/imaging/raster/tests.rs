//! Files of GDAL, of the tiff crate and of the writer, read back whole, by windows and broken.
//!
//! The fixtures are made by `tools/goldens/raster.py`, by the formula of [`ramp`].

use std::fs;
use std::path::{Path, PathBuf};

use tiff::encoder::{Compression, TiffEncoder, colortype};

use crate::imaging::pixels::Area;
use crate::imaging::raster::reader::CACHE_BYTES;
use crate::imaging::raster::testing::PlainTiff;
use crate::imaging::raster::*;

const WIDTH: usize = 29;
const HEIGHT: usize = 21;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/raster").join(format!("{name}.tif"))
}

fn ramp(x: usize, y: usize, band: usize) -> f32 {
    ((7 * x + 13 * y + 29 * band + x * y) % 251) as f32
}

/// All samples of a raster of `bands`, `[height, width, bands]`.
fn samples(width: usize, height: usize, bands: usize, value: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    pixels.flat_map(|(x, y)| (0..bands).map(move |band| (x, y, band))).map(|(x, y, band)| value(x, y, band)).collect()
}

fn all_bands(raster: &Raster) -> Vec<usize> {
    (1..=raster.info().bands).collect()
}

fn read_all(raster: &Raster) -> Window {
    raster.read_window(raster.area(), &all_bands(raster)).unwrap()
}

fn info(width: usize, height: usize, bands: usize, sample: SampleType) -> RasterInfo {
    RasterInfo::new(width, height, bands, sample)
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn files_of_gdal_hold_what_was_written() {
    for (name, sample, bands, scale, offset) in [
        ("u8-packbits", SampleType::U8, 1, 1.0, 0.0),
        ("i8-lzw-planar", SampleType::I8, 2, 1.0, -125.0),
        ("u16-lzw-big-endian", SampleType::U16, 5, 257.0, 0.0),
        ("i16-deflate-planar-tiles", SampleType::I16, 2, 200.0, -25000.0),
        ("u32-bigtiff-big-endian", SampleType::U32, 1, 65536.0, 3.0),
        ("i32-zstd-tiles", SampleType::I32, 1, 65536.0, -8e6),
        ("u64-deflate-big-endian", SampleType::U64, 2, 2f32.powi(56), 0.0),
        ("i64-zstd-tiles", SampleType::I64, 1, 2f32.powi(33), -(2f32.powi(40))),
        ("f32-zstd-big-endian", SampleType::F32, 1, 0.25, -10.0),
        ("f64-deflate-bigtiff-tiles", SampleType::F64, 3, 0.25, -10.0),
        ("mask-overviews", SampleType::U8, 1, 1.0, 0.0),
        ("i16-lerc-tiles", SampleType::I16, 2, 200.0, -25000.0),
        ("u8-lerc-planar", SampleType::U8, 2, 1.0, 0.0),
        ("u32-lerc-zstd", SampleType::U32, 1, 65536.0, 3.0),
        ("f64-lerc-big-endian", SampleType::F64, 1, 0.25, -10.0),
        ("webp-tiles", SampleType::U8, 3, 1.0, 0.0),
    ] {
        if !cfg!(feature = "formats") && (name.contains("lerc") || name.contains("webp")) {
            continue;
        }
        let raster = Raster::open(&fixture(name)).unwrap();
        let i = raster.info();
        assert_eq!((i.width, i.height, i.bands, i.sample), (WIDTH, HEIGHT, bands, sample), "{name}");
        let tags: Vec<u16> = i.georeference.iter().map(|raw| raw.tag).collect();
        assert_eq!(tags, [33550, 33922, 34735, 34737], "{name}");
        assert_eq!(i.georeference[0].bytes, [10.0f64, 10.0, 0.0].map(f64::to_le_bytes).concat(), "{name}");
        let expected = samples(WIDTH, HEIGHT, bands, |x, y, band| ramp(x, y, band) * scale + offset);
        assert_eq!(read_all(&raster).samples, expected, "{name}");
    }
    for (name, bands, modulus) in [("bits1", 1, 2.0), ("bits4-tiles", 3, 16.0)] {
        let expected = samples(WIDTH, HEIGHT, bands, |x, y, band| ramp(x, y, band) % modulus);
        assert_eq!(read_all(&Raster::open(&fixture(name)).unwrap()).samples, expected, "{name}");
    }
}

#[test]
fn windows_are_cut_outs_of_the_whole_whatever_the_cache_holds() {
    for name in ["i8-lzw-planar", "u16-lzw-big-endian", "f64-deflate-bigtiff-tiles", "mask-overviews"] {
        for cache in [0, 1000, CACHE_BYTES] {
            let raster = Raster::open(&fixture(name)).unwrap().with_cache(cache);
            let (whole, bands) = (read_all(&raster), raster.info().bands);
            for (x, y, width, height) in [(0, 0, 1, 1), (15, 15, 2, 2), (3, 9, 26, 12), (28, 0, 1, 21), (5, 5, 0, 3)] {
                let chosen = [bands, 1];
                let window = raster.read_window(Area { x, y, width, height }, &chosen).unwrap();
                let pixels = (y..y + height).flat_map(|y| (x..x + width).map(move |x| y * WIDTH + x));
                let valid: Vec<bool> = pixels.clone().map(|pixel| whole.valid[pixel]).collect();
                let expected: Vec<f32> =
                    pixels.flat_map(|pixel| chosen.map(|band| whole.samples[pixel * bands + band - 1])).collect();
                assert_eq!(window, Window { samples: expected, valid }, "{name} at {x}, {y}, cache {cache}");
            }
        }
    }
}

#[test]
fn masks_say_what_is_valid_and_overviews_are_passed_over() {
    let raster = Raster::open(&fixture("mask-overviews")).unwrap();
    assert_eq!((raster.has_mask(), raster.overviews()), (true, 2));
    let expected: Vec<bool> =
        samples(WIDTH, HEIGHT, 1, |x, y, _| ((x + 2 * y) % 5) as f32).iter().map(|v| *v != 0.0).collect();
    assert_eq!(read_all(&raster).valid, expected);
}

#[test]
fn tiles_that_were_never_written_have_no_data() {
    let raster = Raster::open(&fixture("sparse")).unwrap();
    let window = read_all(&raster);
    let inside = |x: usize, y: usize| x < 10 && y < 10;
    assert_eq!(window.samples, samples(WIDTH, HEIGHT, 1, |x, y, _| if inside(x, y) { 9.0 } else { -5.0 }));
    assert!(window.valid.iter().enumerate().all(|(i, valid)| *valid == inside(i % WIDTH, i / WIDTH)));
}

#[test]
fn jpeg_chunks_come_in_their_colours() {
    // A smooth image at quality 95; chroma at half resolution loses more at the borders.
    for (name, tolerance) in [("jpeg-rgb-strips", 4.0), ("jpeg-ycbcr-tiles", 12.0)] {
        let window = read_all(&Raster::open(&fixture(name)).unwrap());
        let colour = |x, y| [8 * x, 10 * y, 255 - 4 * x - 4 * y];
        let expected = samples(WIDTH, HEIGHT, 3, |x, y, band| colour(x, y)[band] as f32);
        let worst = window.samples.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= tolerance, "{name}: off by {worst}");
    }
}

/// GDAL masks the one value of the three that is declared, though 64-bit floats do not tell it from the next.
#[test]
fn integers_of_64_bits_equal_their_nodata_value_exactly() {
    let raster = Raster::open(&fixture("i64-nodata")).unwrap();
    let window = read_all(&raster);
    let expected: Vec<bool> = (0..WIDTH * HEIGHT).map(|i| i % WIDTH % 3 != 1).collect();
    assert_eq!(window.valid, expected);
    let corner = Area { x: 0, y: 0, width: 1, height: 1 };
    assert_eq!(raster.read_window_exactly(corner, &[1]).unwrap().samples, [9_007_199_254_740_991.0]);
    let error = raster.read_window_exactly(raster.area(), &[1]).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("integers of 2^53 and more"), "{error}");
    // The largest value of all, and the next below it, which is the same as a float.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("largest.tif");
    let samples = [u64::MAX, u64::MAX - 1, 7].map(u64::to_le_bytes).concat();
    let file = PlainTiff::grey(3, 64, &samples).nodata("18446744073709551615");
    fs::write(&path, file.bytes()).unwrap();
    assert_eq!(read_all(&Raster::open(&path).unwrap()).valid, [false, true, true]);
    // Written in its own type a nodata value survives, or is refused.
    for (text, written) in [("18446744073709551615", true), ("9007199254740993", false)] {
        let info = RasterInfo { nodata: Nodata::parse(text), ..RasterInfo::new(1, 1, 1, SampleType::U64) };
        assert_eq!(RasterWriter::create(&path, info, 16).is_ok(), written, "{text}");
    }
}

#[test]
fn kinds_that_are_not_read_and_files_that_are_none_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.tif");
    fs::write(&path, PlainTiff::grey(2, 8, &[1, 2]).with(259, &[34_925]).bytes()).unwrap();
    let error = Raster::open(&path).unwrap_err();
    assert!(error.to_string().starts_with("this kind of image is not supported (LZMA compression 34925): "), "{error}");
    fs::write(&path, "not a raster at all").unwrap();
    for (path, what) in [(path, "not a TIFF: "), (folder.path().join("none.tif"), "no such file")] {
        let error = Raster::open(&path).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(what) && error.to_string().contains(".tif: "), "{error}");
    }
}

#[test]
fn a_window_outside_and_a_band_too_many_are_errors_that_name_the_file() {
    let raster = Raster::open(&fixture("u8-packbits")).unwrap();
    let beyond = Area { x: 20, y: 0, width: 10, height: 1 };
    let far = Area { x: usize::MAX, y: 0, width: 2, height: 1 };
    for (area, bands) in [(beyond, [1]), (far, [1]), (raster.area(), [0]), (raster.area(), [2])] {
        let error = raster.read_window(area, &bands).unwrap_err();
        assert!(error.to_string().contains("u8-packbits.tif"), "{error}");
    }
}

/// A file that was changed anywhere gives an error or other values, never a panic or an enormous allocation.
#[test]
fn broken_files_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.tif");
    let corner = Area { x: 0, y: 0, width: 1, height: 1 };
    let try_read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Raster::open(&path).and_then(|raster| raster.read_window(corner, &[1]))
    };
    for name in ["u8-packbits", "u16-lzw-big-endian", "i32-zstd-tiles", "u32-bigtiff-big-endian", "jpeg-ycbcr-tiles"] {
        let bytes = fs::read(fixture(name)).unwrap();
        assert!(try_read(&bytes).is_ok(), "{name}");
        for end in (0..bytes.len() - 1).step_by(41) {
            if let Err(error) = try_read(&bytes[..end]) {
                let text = error.to_string();
                assert!(error.exit_code() == 2 && text.contains("broken.tif") && !text.contains('\n'), "{text}");
            }
        }
        // The header and the directory of all these are within the first 600 bytes.
        for at in 4..600.min(bytes.len()) {
            let mut broken = bytes.clone();
            broken[at] ^= [0x01, 0x80, 0xFF][at % 3];
            if let Err(error) = try_read(&broken) {
                assert!(error.to_string().contains("broken.tif"), "{name}, byte {at}: {error}");
            }
        }
    }
}

#[test]
fn a_chunk_that_ends_early_is_an_error_that_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.tif");
    // The last of 16 tiles is the last thing in the file.
    let mut writer = RasterWriter::create(&path, info(64, 64, 1, SampleType::U8), 16).unwrap();
    writer.write_rows(&samples(64, 64, 1, ramp)).unwrap();
    writer.finish().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let image = Raster::open(&path).unwrap().image;
    let (offset, count) = image.ranges[15];
    bytes[offset as usize + 20..(offset + count) as usize].fill(0);
    fs::write(&path, bytes).unwrap();
    let raster = Raster::open(&path).unwrap();
    assert!(raster.read_window(Area { x: 0, y: 0, width: 48, height: 48 }, &[1]).is_ok());
    let error = raster.read_window(raster.area(), &[1]).unwrap_err();
    assert!(error.to_string().contains("at column 48, row 48") && error.exit_code() == 2, "{error}");
}

#[test]
fn files_of_the_tiff_crate_read_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.tif");
    let expected = samples(40, 30, 3, ramp);
    let words: Vec<u16> = expected.iter().map(|v| *v as u16).collect();
    for packing in
        [Compression::Uncompressed, Compression::Lzw, Compression::Deflate(Default::default()), Compression::Packbits]
    {
        let mut file = fs::File::create(&path).unwrap();
        let mut encoder = TiffEncoder::new_big(&mut file).unwrap().with_compression(packing);
        encoder.write_image::<colortype::RGB16>(40, 30, &words).unwrap();
        assert_eq!(read_all(&Raster::open(&path).unwrap()).samples, expected);
    }
}

#[test]
fn a_large_uncompressed_strip_is_read_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("strip.tif");
    let floats = samples(700, 500, 1, ramp);
    let mut file = fs::File::create(&path).unwrap();
    let mut encoder = TiffEncoder::new(&mut file).unwrap();
    let mut image = encoder.new_image::<colortype::Gray32Float>(700, 500).unwrap();
    image.rows_per_strip(500).unwrap();
    image.write_data(&floats).unwrap();
    let raster = Raster::open(&path).unwrap();
    assert_eq!(raster.image.chunk_height, PIECE_ROWS);
    assert_eq!(read_all(&raster).samples, floats);
}

/// Rows of 700 floats in 256 KiB.
const PIECE_ROWS: usize = (256 << 10) / 2800;

#[test]
fn what_is_written_reads_back_in_every_type() {
    let folder = tempfile::tempdir().unwrap();
    for sample in SampleType::ALL {
        for (bands, alpha, big) in [(1, None, false), (4, Some(4), true), (5, None, false)] {
            let path = folder.path().join("out.tif");
            let mut written = info(75, 50, bands, sample);
            written.alpha = alpha;
            let scale = if sample.is_float() { 0.3 } else { 0.5 };
            let expected: Vec<f32> = samples(75, 50, bands, |x, y, band| ramp(x, y, band) * scale)
                .iter()
                .map(|v| if sample.is_float() { *v } else { v.round_ties_even() })
                .collect();
            let mut writer = RasterWriter::create(&path, written.clone(), 32).unwrap();
            if big {
                writer.classic_limit = 0;
            }
            // Rows in pieces that are not multiples of the tile.
            expected.chunks(75 * bands * 7).for_each(|rows| writer.write_rows(rows).unwrap());
            writer.finish().unwrap();
            assert_eq!(fs::read(&path).unwrap()[2], if big { 43 } else { 42 });
            let raster = Raster::open(&path).unwrap();
            assert_eq!(raster.info(), &written);
            assert_eq!(read_all(&raster).samples, expected, "{sample}, {bands} bands");
        }
    }
    assert_eq!(names(folder.path()), ["out.tif"]);
}

#[test]
fn other_readers_agree_about_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.tif");
    let expected = samples(75, 50, 3, ramp);
    for (sample, big) in [(SampleType::U8, false), (SampleType::F32, true)] {
        let mut writer = RasterWriter::create(&path, info(75, 50, 3, sample), 16).unwrap();
        writer.classic_limit = if big { 0 } else { writer.classic_limit };
        writer.write_rows(&expected).unwrap();
        writer.finish().unwrap();
        let mut decoder = tiff::decoder::Decoder::new(fs::File::open(&path).unwrap()).unwrap();
        let read: Vec<f32> = match decoder.read_image().unwrap() {
            tiff::decoder::DecodingResult::U8(bytes) => bytes.into_iter().map(f32::from).collect(),
            tiff::decoder::DecodingResult::F32(floats) => floats,
            other => panic!("{other:?}"),
        };
        assert_eq!(read, expected, "{sample}");
    }
}

#[test]
fn tiles_in_any_order_make_the_same_raster() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiles.tif");
    let expected = samples(75, 50, 2, ramp);
    let mut writer = RasterWriter::create(&path, info(75, 50, 2, SampleType::U16), 32).unwrap();
    for (x, y, width, height) in [(64, 32, 11, 18), (0, 0, 32, 32), (0, 32, 64, 18), (32, 0, 43, 32), (0, 0, 32, 32)] {
        let tiles = samples(width, height, 2, |dx, dy, band| ramp(x + dx, y + dy, band));
        writer.write_window(Area { x, y, width, height }, &tiles).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(read_all(&Raster::open(&path).unwrap()).samples, expected);
}

#[test]
fn georeference_nodata_and_description_are_carried_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carried.tif");
    let source = Raster::open(&fixture("u32-bigtiff-big-endian")).unwrap();
    // Rational polynomial coefficients besides, which only a raster without a place by other tags would need.
    let rational =
        RawTag { tag: 50844, field_type: 12, bytes: (0..92).flat_map(|i| f64::from(i).to_le_bytes()).collect() };
    let georeference = source.info().georeference.iter().cloned().chain([rational]).collect();
    let written = RasterInfo {
        sample: SampleType::I16,
        bits: 16,
        georeference,
        nodata: Nodata::parse("-9999.0"),
        description: Some("colours are predicted, by a network".into()),
        ..source.info().clone()
    };
    let mut writer = RasterWriter::create(&path, written.clone(), 256).unwrap();
    let values = samples(WIDTH, HEIGHT, 1, |x, y, _| if x < 5 { f32::NAN } else { ramp(x, y, 0) });
    writer.write_rows(&values).unwrap();
    writer.finish().unwrap();
    let raster = Raster::open(&path).unwrap();
    assert_eq!(raster.info(), &written);
    assert!(raster.info().georeference.starts_with(&source.info().georeference) && written.georeference.len() > 1);
    let window = read_all(&raster);
    assert!(window.valid.iter().enumerate().all(|(i, valid)| *valid == (i % WIDTH >= 5)));
    assert_eq!(window.samples[0], -9999.0);
}

#[test]
fn nodata_hides_a_pixel_only_where_all_its_bands_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holes.tif");
    let mut written = info(4, 1, 2, SampleType::F32);
    written.nodata = Nodata::parse("-3.4e+38");
    let hole = -3.4e38f32;
    let mut writer = RasterWriter::create(&path, written, 16).unwrap();
    writer.write_rows(&[1.0, 2.0, hole, 2.0, hole, hole, 1.0, f32::NAN]).unwrap();
    writer.finish().unwrap();
    let raster = Raster::open(&path).unwrap();
    assert_eq!(read_all(&raster).valid, [true, true, false, false]);
    assert_eq!(raster.read_window(raster.area(), &[1]).unwrap().valid, [true, false, false, true]);
}

#[test]
fn a_raster_that_is_not_finished_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("half.tif");
    let mut writer = RasterWriter::create(&path, info(40, 40, 1, SampleType::U8), 16).unwrap();
    writer.write_rows(&[1.0; 40 * 20]).unwrap();
    drop(writer);
    assert!(names(folder.path()).is_empty());
    let mut writer = RasterWriter::create(&path, info(40, 40, 1, SampleType::U8), 16).unwrap();
    let square = |x, size| Area { x, y: 0, width: size, height: size };
    writer.write_window(square(0, 16), &[1.0; 256]).unwrap();
    assert!(writer.write_window(square(48, 16), &[1.0; 256]).is_err(), "outside");
    assert!(writer.write_window(square(16, 16), &[1.0; 255]).is_err(), "a sample too few");
    assert!(writer.write_window(square(8, 16), &[1.0; 256]).is_err(), "not at a tile's corner");
    assert!(writer.write_window(square(16, 8), &[1.0; 64]).is_err(), "half a tile");
    let error = writer.finish().unwrap_err();
    assert!(error.to_string().contains("8 of 9 tiles were not written"), "{error}");
    assert!(names(folder.path()).is_empty());
    let nowhere = folder.path().join("nowhere/out.tif");
    assert_eq!(RasterWriter::create(&nowhere, info(1, 1, 1, SampleType::U8), 256).unwrap_err().exit_code(), 2);
    assert!(RasterWriter::create(&path, info(1, 1, 1, SampleType::U8), 100).is_err(), "a tile of 100 pixels");
}

#[test]
fn blocks_cover_every_pixel_once() {
    for name in ["u8-packbits", "i16-deflate-planar-tiles"] {
        let raster = Raster::open(&fixture(name)).unwrap();
        for pixels in [1, 100, 300, 1 << 20] {
            let mut seen = vec![0; WIDTH * HEIGHT];
            for area in raster.blocks(pixels) {
                for y in area.y..area.y + area.height {
                    (area.x..area.x + area.width).for_each(|x| seen[y * WIDTH + x] += 1);
                }
            }
            assert!(seen.iter().all(|times| *times == 1), "{name}, blocks of {pixels}");
        }
    }
}
