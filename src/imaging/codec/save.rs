//! Writing files whole or not at all: 8-bit PNGs, and TIFFs of any bands.

use std::io::{self, Write};
use std::path::Path;

use crate::error::Result;
use crate::files::write_whole_with;
use crate::imaging::raster::{RasterInfo, RasterWriter};

/// Encodes an 8-bit image `[height, width, channels]` as PNG, with an optional `Description` in its text.
///
/// # Panics
/// If `channels` (the length divided by `width * height`) is neither 1 (grey) nor 3 (RGB), or the image is empty.
pub fn encode_png(samples: &[u8], width: usize, height: usize, description: Option<&str>) -> Vec<u8> {
    let colour = if samples.len() == width * height {
        png::ColorType::Grayscale
    } else {
        assert_eq!(samples.len(), 3 * width * height, "a PNG is grey or RGB");
        png::ColorType::Rgb
    };
    let mut bytes = Vec::new();
    let rows = samples.chunks_exact(samples.len() / height);
    encode(&mut bytes, [width, height], colour, description, rows, |row, to| to.write_all(row))
        .expect("a Vec takes any bytes, and size and colour have been checked");
    bytes
}

/// Writes a PNG row by row: a large image is not in memory a second time.
fn encode<R>(
    to: &mut dyn Write,
    [width, height]: [usize; 2],
    colour: png::ColorType,
    description: Option<&str>,
    rows: impl Iterator<Item = R>,
    mut put: impl FnMut(R, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut encoder = png::Encoder::new(to, width as u32, height as u32);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    // A fifth to a third of the default level's time; files are 1.4 % larger (a real scene), or a third (a flat one).
    encoder.set_deflate_compression(png::DeflateCompression::Level(2));
    encoder.set_filter(png::Filter::Adaptive);
    if let Some(text) = description {
        encoder.add_itxt_chunk("Description".into(), text.into())?;
    }
    let mut writer = encoder.write_header()?;
    let mut stream = writer.stream_writer()?;
    for row in rows {
        put(row, &mut stream)?;
    }
    stream.finish()?;
    Ok(writer.finish()?)
}

/// Writes an 8-bit grey or RGB image `[height, width, 1 | 3]` as PNG, whole or not at all.
pub fn save_png(path: &Path, samples: &[u8], width: usize, height: usize, description: Option<&str>) -> Result<()> {
    let colour = if samples.len() == width * height { png::ColorType::Grayscale } else { png::ColorType::Rgb };
    assert_eq!(samples.len() % (width * height), 0, "a PNG is grey or RGB");
    let rows = samples.chunks_exact(samples.len() / height);
    write_whole_with(path, |to| encode(to, [width, height], colour, description, rows, |row, to| to.write_all(row)))
}

/// As [`save_png`], pixels that are not `valid` transparent, which says that they have no data.
///
/// # Errors
/// A folder that may not be written, a full disk.
///
/// # Panics
/// If `valid` has other pixels than the image, which is empty or neither grey nor RGB.
pub fn save_png_with_gaps(
    path: &Path,
    samples: &[u8],
    valid: &[bool],
    [width, height]: [usize; 2],
    description: Option<&str>,
) -> Result<()> {
    let bands = samples.len() / (width * height);
    assert!(valid.len() == width * height && matches!(bands, 1 | 3), "a PNG is grey or RGB");
    let colour = if bands == 1 { png::ColorType::GrayscaleAlpha } else { png::ColorType::Rgba };
    let rows = samples.chunks_exact(width * bands).zip(valid.chunks_exact(width));
    let mut line = Vec::with_capacity(width * (bands + 1));
    let put = |(row, valid): (&[u8], &[bool]), to: &mut dyn Write| {
        line.clear();
        for (pixel, valid) in row.chunks_exact(bands).zip(valid) {
            line.extend_from_slice(pixel);
            line.push(if *valid { 255 } else { 0 });
        }
        to.write_all(&line)
    };
    write_whole_with(path, |to| encode(to, [width, height], colour, description, rows, put))
}

/// What an image that a network made says of itself, in a PNG's `Description` or a TIFF's `ImageDescription`: viewers
/// must be able to tell that its colours are predicted, and by which `model`.
pub fn predicted_by(model: &str) -> String {
    format!("colours predicted by huetape {} ({model})", env!("CARGO_PKG_VERSION"))
}

/// Pixels of a side of the tiles of a TIFF file.
const TILE: usize = 256;

/// Writes an image `[height, width, bands]` as TIFF, whole or not at all; `samples` are in the unit of the file.
///
/// # Errors
/// Samples of another number than `info` says, a folder that may not be written, a full disk.
pub fn save_tiff(path: &Path, info: RasterInfo, samples: &[f32]) -> Result<()> {
    let mut writer = RasterWriter::create(path, info, TILE)?;
    writer.write_rows(samples)?;
    writer.finish()
}

/// Values 0..1 to 8 bits, rounded to nearest; values outside are clamped.
pub fn to_u8(values: &[f32]) -> Vec<u8> {
    values.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::decode;
    use crate::imaging::picture::Samples;
    use crate::imaging::raster::SampleType;
    use std::fs;

    #[test]
    fn a_saved_picture_reads_back_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        save_png(&path, &[9; 6], 2, 1, None).unwrap();
        let rgb: Vec<u8> = (0..30).collect();
        save_png(&path, &rgb, 5, 2, Some("Gemarkung Äcker")).unwrap();
        let picture = decode::open(&path).unwrap();
        assert_eq!((picture.info.width, picture.info.height, picture.info.bands), (5, 2, 3));
        assert_eq!(picture.samples, Samples::U8(rgb));
        let file = std::io::BufReader::new(fs::File::open(&path).unwrap());
        let reader = png::Decoder::new(file).read_info().unwrap();
        let text = &reader.info().utf8_text[0];
        assert_eq!((text.keyword.as_str(), text.get_text().unwrap().as_str()), ("Description", "Gemarkung Äcker"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn four_bands_read_back_from_a_tiff() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let info = RasterInfo::new(3, 2, 4, SampleType::U8);
        save_tiff(&path, info.clone(), &(0..24).map(|v| v as f32).collect::<Vec<_>>()).unwrap();
        let picture = decode::open(&path).unwrap();
        assert_eq!((picture.info.width, picture.info.height, picture.info.bands), (3, 2, 4));
        assert_eq!(picture.samples, Samples::U8((0..24).collect()));
        assert!(save_tiff(&path, info, &[0.0; 12]).is_err());
        assert_eq!(decode::open(&path).unwrap(), picture);
    }

    #[test]
    fn values_round_to_the_nearest_byte() {
        assert_eq!(to_u8(&[-1.0, 0.0, 0.5, 0.999, 2.0]), [0, 0, 128, 255, 255]);
    }
}
