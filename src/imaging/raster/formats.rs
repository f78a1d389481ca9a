//! Chunks of a TIFF that are WebP or LERC files.
//!
//! Sources: libtiff's tif_webp.c and tif_lerc.c, which define how they lie in a TIFF.

use std::io::{Cursor, Read};

use image::ImageDecoder;
use image::codecs::webp::WebPDecoder;
use lerc_core::PixelData;
use lerc_reader::Decoded;

use crate::imaging::fault::{Fault, Outcome, damaged, unsupported};
use crate::imaging::raster::layout::{Layout, Wrapper};
use crate::imaging::raster::sample::SampleType;
use crate::imaging::raster::stream::check_size;

/// The samples of a WebP chunk: RGB, with or without alpha.
pub(super) fn unpack_webp(layout: &Layout, rows: usize, packed: &[u8]) -> Outcome<Vec<u8>> {
    let decoder = WebPDecoder::new(Cursor::new(packed))?;
    let (width, height) = decoder.dimensions();
    let components = usize::from(decoder.color_type().channel_count());
    check_size(layout, rows, "WebP", [width as usize, height as usize, components], components)?;
    let mut samples = vec![0; width as usize * height as usize * components];
    decoder.read_image(&mut samples)?;
    // libwebp writes no alpha where all of it is opaque.
    Ok(match (components, layout.chunk_bands()) {
        (3, 4) => samples.as_chunks::<3>().0.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]).collect(),
        (4, 3) => samples.as_chunks::<4>().0.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]).collect(),
        _ => samples,
    })
}

/// The samples of a LERC chunk, in the byte order of the file, as libtiff has it: it swaps them before they are packed.
/// Floats without data are NaN; a mask stands for an alpha
/// band of bytes that is not stored.
pub(super) fn unpack_lerc(layout: &Layout, rows: usize, wrapper: Wrapper, packed: &[u8]) -> Outcome<Vec<u8>> {
    let broken = |error: lerc_core::Error| Fault::Damaged(format!("LERC: {error}"));
    // No chunk grows by much: what is there besides samples are masks and headers.
    let most = (rows * layout.decoded_row_bytes()) as u64 * 2 + (1 << 16);
    let mut blob = Vec::new();
    let unwrapped = match wrapper {
        Wrapper::None => Ok(0),
        Wrapper::Deflate => flate2::read::ZlibDecoder::new(packed).take(most).read_to_end(&mut blob),
        Wrapper::Zstd => match ruzstd::decoding::StreamingDecoder::new(packed) {
            Ok(decoder) => decoder.take(most).read_to_end(&mut blob),
            Err(error) => return damaged(error.to_string()),
        },
    };
    unwrapped.map_err(|error| Fault::Damaged(error.to_string()))?;
    let blob = if wrapper == Wrapper::None { packed } else { &blob };
    let info = lerc_reader::inspect_first(blob).map_err(broken)?;
    let (bands, depth) = (layout.chunk_bands(), info.depth as usize);
    let alpha_left_out =
        depth > 0 && depth + 1 == bands && layout.sample == SampleType::U8 && layout.alpha == Some(depth);
    let due = if alpha_left_out { depth } else { bands };
    check_size(layout, rows, "LERC", [info.width as usize, info.height as usize, depth], due)?;
    let Decoded { pixels, mask, .. } = lerc_reader::decode_first(blob).map_err(broken)?;
    let hidden = |sample: usize| mask.as_ref().is_some_and(|mask| mask[sample / depth] == 0);
    let other = || unsupported(format!("LERC samples of another type than {}", layout.sample));
    macro_rules! bytes {
        ($values:expr) => {
            $values.iter().flat_map(|value| value.to_ne_bytes()).collect()
        };
        ($values:expr, $nan:expr) => {{
            let nan = if layout.little_endian { $nan.to_le_bytes() } else { $nan.to_be_bytes() };
            let or_nan = |(i, value)| if hidden(i) { nan } else { value };
            $values.iter().map(|value| value.to_ne_bytes()).enumerate().flat_map(or_nan).collect()
        }};
    }
    let samples: Vec<u8> = match (pixels, layout.sample) {
        (PixelData::U8(values), SampleType::U8) => values,
        (PixelData::I8(values), SampleType::I8) => bytes!(values),
        (PixelData::U16(values), SampleType::U16) => bytes!(values),
        (PixelData::I16(values), SampleType::I16) => bytes!(values),
        (PixelData::U32(values), SampleType::U32) => bytes!(values),
        (PixelData::I32(values), SampleType::I32) => bytes!(values),
        (PixelData::F32(values), SampleType::F32) => bytes!(values, f32::NAN),
        (PixelData::F64(values), SampleType::F64) => bytes!(values, f64::NAN),
        _ => return other(),
    };
    if !alpha_left_out {
        return Ok(samples);
    }
    let pixel = |(i, colours): (usize, &[u8])| {
        colours.iter().copied().chain([if hidden(i * depth) { 0 } else { 255 }]).collect::<Vec<u8>>()
    };
    Ok(samples.chunks(depth).enumerate().flat_map(pixel).collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::imaging::raster::{Raster, Window};

    /// A file of `tools/goldens/raster.py`, all of its bands but alpha, and its size.
    fn read(name: &str) -> (Window, [usize; 2]) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/raster/{name}.tif"));
        let raster = Raster::open(&path).unwrap();
        let bands: Vec<usize> = raster.info().bands_without_alpha().collect();
        (raster.read_window(raster.area(), &bands).unwrap(), [raster.info().width, raster.info().height])
    }

    fn hole(x: usize, y: usize) -> bool {
        (x + 2 * y).is_multiple_of(5)
    }

    #[test]
    fn masks_in_a_lerc_chunk_hide_floats_and_stand_for_alpha() {
        for (name, scale, offset) in [("f32-lerc-holes", 0.25, -10.0), ("u8-lerc-alpha", 1.0, 0.0)] {
            let (window, [width, _]) = read(name);
            let bands = window.samples.len() / window.valid.len();
            for (i, valid) in window.valid.iter().enumerate() {
                let (x, y) = (i % width, i / width);
                assert_eq!(*valid, !hole(x, y), "{name} at {x}, {y}");
                for band in 0..bands {
                    let ramp = ((7 * x + 13 * y + 29 * band + x * y) % 251) as f32 * scale + offset;
                    assert!(!valid || window.samples[i * bands + band] == ramp, "{name} at {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn a_webp_chunk_without_alpha_is_opaque() {
        // The first tile is opaque, so its stream has no alpha; the others have.
        let (window, [width, _]) = read("webp-alpha");
        for (i, valid) in window.valid.iter().enumerate() {
            let (x, y) = (i % width, i / width);
            assert_eq!(*valid, !hole(x, y) || x < 16 && y < 16, "at {x}, {y}");
            assert!(!valid || window.samples[3 * i + 1] == ((7 * x + 13 * y + 29 + x * y) % 251) as f32);
        }
    }

    #[test]
    fn cut_and_changed_streams_are_errors_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        for name in ["i16-lerc-tiles", "f32-lerc-holes", "u8-lerc-alpha", "u32-lerc-zstd", "webp-tiles", "webp-alpha"] {
            let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/raster/{name}.tif"));
            let bytes = std::fs::read(file).unwrap();
            for at in (0..bytes.len()).step_by(7) {
                let mut changed = bytes.clone();
                changed[at] ^= 0x5A;
                std::fs::write(&path, changed).unwrap();
                let Ok(raster) = Raster::open(&path) else { continue };
                // Whatever comes of it: samples or an error.
                let _ = raster.read_window(raster.area(), &[1]);
            }
        }
    }
}
