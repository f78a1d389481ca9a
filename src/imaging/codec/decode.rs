//! Reading PNG, JPEG and TIFF files, judged by their bytes and not by their names.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Cursor};
use std::path::Path;

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::{ColorType, ImageDecoder, ImageError, Limits};

use crate::error::Result;
use crate::imaging::codec::tiff::{self, Types};
use crate::imaging::fault::{Fault, MAX_BYTES, Outcome};
use crate::imaging::jpeg;
use crate::imaging::picture::{Depth, Picture, PictureInfo, Samples};
use crate::imaging::raster::Raster;

/// File name extensions (lower case) of images in a folder; others are passed over.
pub const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "tif", "tiff"];

/// Reads the header of an image: size, bands (alpha left out) and depth.
///
/// # Errors
/// Names the file: missing, damaged, not an image, of a kind that is not read, or larger than 4 GiB once decoded.
pub fn probe(path: &Path) -> Result<PictureInfo> {
    probe_types(path, Types::Plain)
}

/// As [`probe`], for TIFF samples of any type, which a stretch is to bring to 0..1.
///
/// # Errors
/// As [`probe`].
pub fn probe_any_type(path: &Path) -> Result<PictureInfo> {
    probe_types(path, Types::Any)
}

/// Decodes an image, alpha left out.
///
/// A file that ends too early is an error even where the decoder would fill the rest with grey.
///
/// # Errors
/// As [`probe`].
pub fn open(path: &Path) -> Result<Picture> {
    open_types(path, Types::Plain)
}

/// As [`open`], for TIFF samples of any type, which a stretch is to bring to 0..1; those that are neither of 8 nor of
/// 16 bits without a sign become floats in the unit of the file.
///
/// # Errors
/// As [`probe`].
pub fn open_any_type(path: &Path) -> Result<Picture> {
    open_types(path, Types::Any)
}

fn probe_types(path: &Path, types: Types) -> Result<PictureInfo> {
    let header = || -> Outcome<PictureInfo> {
        let mut file = BufReader::new(File::open(path)?);
        match Format::of(file.fill_buf()?)? {
            Format::Png => info_of(&PngDecoder::new(file)?),
            Format::Jpeg => info_of(&JpegDecoder::new(file)?),
        }
    };
    if Raster::is_tiff(path) { tiff::probe(path, types) } else { header().map_err(|fault| fault.at(path)) }
}

fn open_types(path: &Path, types: Types) -> Result<Picture> {
    if Raster::is_tiff(path) {
        return tiff::open(path, types);
    }
    fs::read(path).map_err(Fault::from).and_then(|bytes| decode(&bytes)).map_err(|fault| fault.at(path))
}

fn decode(bytes: &[u8]) -> Outcome<Picture> {
    match Format::of(bytes)? {
        Format::Png => {
            let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits())?;
            if !png_is_whole(bytes) {
                return Err(Fault::Truncated);
            }
            pixels_of(decoder)
        }
        Format::Jpeg => {
            let decoder = JpegDecoder::new(Cursor::new(bytes))?;
            if !jpeg::is_whole(bytes) {
                return Err(Fault::Truncated);
            }
            pixels_of(decoder)
        }
    }
}

/// The formats beside TIFF.
enum Format {
    Png,
    Jpeg,
}

impl Format {
    /// The format by the file's first bytes.
    fn of(bytes: &[u8]) -> Outcome<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', ..] => Ok(Format::Png),
            [0xFF, 0xD8, 0xFF, ..] => Ok(Format::Jpeg),
            _ => Err(Fault::NotAnImage),
        }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

/// Size, bands and depth of a PNG or JPEG; refuses those that would decode to more than [`MAX_BYTES`].
fn info_of(decoder: &impl ImageDecoder) -> Outcome<PictureInfo> {
    let depth = match decoder.color_type() {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => Depth::U8,
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => Depth::U16,
        other => return Err(Fault::Unsupported(format!("{other:?} samples"))),
    };
    let bands = if decoder.color_type().has_color() { 3 } else { 1 };
    let (width, height) = decoder.dimensions();
    check_bytes(decoder.total_bytes())?;
    Ok(PictureInfo { width: width as usize, height: height as usize, bands, depth })
}

fn check_bytes(bytes: u64) -> Outcome<()> {
    if bytes > MAX_BYTES { Err(Fault::TooLarge(bytes)) } else { Ok(()) }
}

fn pixels_of(decoder: impl ImageDecoder) -> Outcome<Picture> {
    let info = info_of(&decoder)?;
    let stored = usize::from(decoder.color_type().channel_count());
    let mut bytes = Vec::new();
    let total = decoder.total_bytes() as usize;
    bytes.try_reserve_exact(total).map_err(|_| Fault::TooLarge(total as u64))?;
    bytes.resize(total, 0);
    decoder.read_image(&mut bytes)?;
    let samples = match info.depth {
        Depth::U8 => Samples::U8(without_alpha(bytes, stored, info.bands)),
        // image hands out 16-bit samples in the machine's byte order.
        _ => {
            let wide = bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect();
            Samples::U16(without_alpha(wide, stored, info.bands))
        }
    };
    Ok(Picture { info, samples })
}

/// Keeps the first `bands` of each pixel's `stored` samples.
fn without_alpha<T: Copy>(samples: Vec<T>, stored: usize, bands: usize) -> Vec<T> {
    if stored == bands {
        return samples;
    }
    samples.chunks_exact(stored).flat_map(|pixel| &pixel[..bands]).copied().collect()
}

/// Whether the chunks of a PNG run up to its IEND.
fn png_is_whole(bytes: &[u8]) -> bool {
    let mut rest = &bytes[8.min(bytes.len())..];
    while let [l0, l1, l2, l3, kind @ ..] = rest {
        // Length, kind, data, checksum.
        let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
        if rest.len() < length.saturating_add(12) {
            return false;
        }
        if kind.starts_with(b"IEND") {
            return true;
        }
        rest = &rest[length + 12..];
    }
    false
}

impl From<ImageError> for Fault {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::IoError(io) => io.into(),
            ImageError::Unsupported(inner) => Fault::Unsupported(inner.to_string()),
            other => Fault::Damaged(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::save::encode_png;
    use ::tiff::encoder::{TiffEncoder, TiffValue, colortype};
    use image::{ExtendedColorType, ImageEncoder};
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
        assert_eq!((p.info.bands, p.samples), (1, Samples::U8(vec![10, 20, 30, 40])));
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
            assert!(text.starts_with("not a PNG, JPEG or TIFF image: ") && text.contains("notes.png"), "{text}");
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
}
