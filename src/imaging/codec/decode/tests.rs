//! Images of all kinds, read whole, cut and broken.

use super::*;
use crate::imaging::codec::save::encode_png;
use ::tiff::encoder::{TiffEncoder, TiffValue, colortype};
use image::{ExtendedColorType, ImageEncoder};
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

/// Writes bytes under a name and keeps the folder alive.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn open_bytes(bytes: &[u8]) -> Result<Picture> {
    let (_folder, path) = file("picture", bytes);
    let picture = open(&path)?;
    assert_eq!(probe(&path)?, picture.info, "the header says something else than the image");
    Ok(picture)
}

fn png(samples: &[u8], width: u32, height: u32, colour: ExtendedColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes).write_image(samples, width, height, colour).unwrap();
    bytes
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let samples: Vec<u8> = (0..width * height * 3).map(|i| (i * 7919 % 251) as u8).collect();
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new(&mut bytes)
        .write_image(&samples, width, height, ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

fn tiff<C: colortype::ColorType>(width: u32, height: u32, samples: &[C::Inner]) -> Vec<u8>
where
    [C::Inner]: TiffValue,
{
    let mut bytes = Cursor::new(Vec::new());
    TiffEncoder::new(&mut bytes).unwrap().write_image::<C>(width, height, samples).unwrap();
    bytes.into_inner()
}

#[test]
fn png_keeps_its_samples_and_drops_alpha() {
    let p = open_bytes(&png(&[10, 0, 20, 128, 30, 255, 40, 7], 2, 2, ExtendedColorType::La8)).unwrap();
    assert_eq!((p.info.bands, p.samples), (1, Samples::U8(vec![0, 20, 30, 40])), "transparent is black");
    let p = open_bytes(&png(&[1, 2, 3, 9, 4, 5, 6, 9], 2, 1, ExtendedColorType::Rgba8)).unwrap();
    assert_eq!((p.info.bands, p.samples), (3, Samples::U8(vec![1, 2, 3, 4, 5, 6])));
    let wide: Vec<u8> = [300u16, 65535, 7].iter().flat_map(|v| v.to_ne_bytes()).collect();
    let p = open_bytes(&png(&wide, 1, 1, ExtendedColorType::Rgb16)).unwrap();
    assert_eq!((p.info.depth, p.samples), (Depth::U16, Samples::U16(vec![300, 65535, 7])));
}

#[test]
fn a_jpeg_reads_in_colour() {
    let p = open_bytes(&jpeg(17, 9)).unwrap();
    assert_eq!((p.info.width, p.info.height, p.info.bands, p.info.depth), (17, 9, 3, Depth::U8));
}

/// The decoders stop early or fill with grey without a word, depending on where the end is.
#[test]
fn a_file_cut_anywhere_is_an_error_that_names_it() {
    let noise: Vec<u8> = (0..64 * 64 * 3u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let floats: Vec<f32> = noise.iter().map(|v| f32::from(*v)).collect();
    for (kind, bytes) in [
        ("png", encode_png(&noise, 64, 64, None)),
        ("jpeg", jpeg(64, 64)),
        ("tiff", tiff::<colortype::RGB32Float>(64, 64, &floats)),
    ] {
        for end in [0, 1, 5, 9, 30, bytes.len() / 4, bytes.len() / 2, bytes.len() - 12, bytes.len() - 1] {
            let (_folder, path) = file("cut.png", &bytes[..end]);
            let error = open(&path).err().unwrap_or_else(|| panic!("{kind} cut at {end} of {}", bytes.len()));
            let text = error.to_string();
            assert_eq!(error.exit_code(), 2, "{text}");
            assert!(text.contains("cut.png") && !text.contains('\n'), "{text}");
        }
        assert!(open_bytes(&bytes).is_ok(), "the whole {kind}");
    }
}

#[test]
fn bytes_after_the_end_do_no_harm() {
    for mut bytes in [jpeg(8, 8), encode_png(&[1; 12], 2, 2, None)] {
        bytes.extend_from_slice(b"appended by a camera");
        assert!(open_bytes(&bytes).is_ok());
    }
}

#[test]
fn text_under_a_picture_name_is_refused() {
    let (_folder, path) = file("notes.png", b"not an image at all");
    for result in [open(&path).map(|p| p.info), probe(&path)] {
        let text = result.unwrap_err().to_string();
        assert!(text.starts_with("not a PNG, JPEG, TIFF or BMP image: ") && text.contains("notes.png"), "{text}");
    }
}

#[test]
fn a_small_file_that_claims_an_enormous_size_is_refused() {
    let mut bytes = jpeg(8, 8);
    // Height and width stand five bytes after the start-of-frame marker.
    let frame = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    bytes[frame + 5..frame + 9].fill(0xF0);
    let (_folder, path) = file("bomb.jpg", &bytes);
    for result in [open(&path).map(|p| p.info), probe(&path)] {
        let text = result.unwrap_err().to_string();
        assert!(text.contains("GiB decoded, more than 4 GiB"), "{text}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = open(Path::new("/nonesuch/a.png")).unwrap_err();
    assert!(error.to_string().contains("/nonesuch/a.png"), "{error}");
}

#[test]
fn kinds_of_jpeg_that_are_not_decoded_are_named() {
    let whole = jpeg(16, 16);
    for (segment, what) in [(0xC3, "lossless JPEG"), (0xC9, "arithmetic coding")] {
        let mut other = whole.clone();
        let frame = other.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        other[frame + 1] = segment;
        let (_folder, path) = file("other.jpg", &other);
        assert!(open(&path).unwrap_err().to_string().contains(what));
    }
}
