//! Images that are decoded whole, judged by their bytes and not by their names: PNG, JPEG, BMP and, with the feature
//! `formats`, WebP.

use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use image::codecs::bmp::BmpDecoder;
use image::codecs::png::PngDecoder;
#[cfg(feature = "formats")]
use image::codecs::webp::WebPDecoder;
use image::{ColorType, ImageDecoder, ImageError, Limits};

use crate::imaging::fault::{Fault, MAX_BYTES, Outcome, open_file};
use crate::imaging::jpeg;
use crate::imaging::picture::Samples;
use crate::imaging::raster::orientation::Orientation;
use crate::imaging::raster::{RasterInfo, SampleType};

/// Bytes of a JPEG in which its header mostly lies, a thumbnail and colour profiles among it.
const JPEG_HEADER_BYTES: u64 = 128 << 10;

/// An image, upright.
#[derive(Debug)]
pub(super) struct Still {
    pub info: RasterInfo,
    /// `[height, width, bands]` of 8 or 16 bits, an alpha band among them.
    pub samples: Samples,
}

/// Size, bands and samples by the header, and whether the image was turned upright for that.
pub(super) fn probe(path: &Path) -> Outcome<(RasterInfo, bool)> {
    let mut file = BufReader::new(open_file(path)?);
    match Format::of(file.fill_buf()?)? {
        Format::Png => Header::of(&mut PngDecoder::new(file)?),
        Format::Bmp => Header::of(&mut BmpDecoder::new(file)?),
        #[cfg(feature = "formats")]
        Format::Webp => Header::of(&mut WebPDecoder::new(file)?),
        Format::Jpeg => {
            let mut bytes = Vec::new();
            file.by_ref().take(JPEG_HEADER_BYTES).read_to_end(&mut bytes)?;
            let header = match jpeg::header(&bytes) {
                Err(Fault::Truncated) => {
                    file.read_to_end(&mut bytes)?;
                    jpeg::header(&bytes)?
                }
                header => header?,
            };
            Header::of_jpeg(&header)
        }
    }
    .map(|header| (header.info(), !header.orientation.is_upright()))
}

/// Decodes an image.
///
/// A file that ends too early is an error even where the decoder would fill the rest with grey.
pub(super) fn decode(bytes: &[u8]) -> Outcome<Still> {
    let file = Cursor::new(bytes);
    match Format::of(bytes)? {
        Format::Png if !png_is_whole(bytes) => Err(PngDecoder::new(file).err().map_or(Fault::Truncated, Fault::from)),
        Format::Png => by(PngDecoder::with_limits(file, limits())?),
        Format::Bmp => by(BmpDecoder::new(file)?),
        #[cfg(feature = "formats")]
        Format::Webp => by(WebPDecoder::new(file)?),
        Format::Jpeg => {
            let header = Header::of_jpeg(&jpeg::header(bytes)?)?;
            let (_, samples) = jpeg::decode(bytes)?;
            Ok(header.upright(Samples::U8(samples)))
        }
    }
}

/// The formats beside TIFF.
enum Format {
    Png,
    Jpeg,
    Bmp,
    #[cfg(feature = "formats")]
    Webp,
}

impl Format {
    /// The format by the file's first bytes.
    fn of(bytes: &[u8]) -> Outcome<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', ..] => Ok(Format::Png),
            [0xFF, 0xD8, 0xFF, ..] => Ok(Format::Jpeg),
            [b'B', b'M', ..] => Ok(Format::Bmp),
            #[cfg(feature = "formats")]
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Format::Webp),
            _ => Err(Fault::NotAnImage),
        }
    }
}

/// What a file says of its image, as stored.
struct Header {
    size: [usize; 2],
    bands: usize,
    sample: SampleType,
    alpha: bool,
    orientation: Orientation,
}

impl Header {
    fn of(decoder: &mut impl ImageDecoder) -> Outcome<Self> {
        let colour = decoder.color_type();
        let sample = match colour {
            ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => SampleType::U8,
            ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => SampleType::U16,
            other => return Err(Fault::Unsupported(format!("{other:?} samples"))),
        };
        check_bytes(decoder.total_bytes())?;
        let (width, height) = decoder.dimensions();
        // A damaged block says nothing, as in other programs.
        let exif = decoder.exif_metadata().ok().flatten();
        Ok(Header {
            size: [width as usize, height as usize],
            bands: colour.channel_count().into(),
            sample,
            alpha: colour.has_alpha(),
            orientation: exif.map(|block| Orientation::of_exif(&block)).unwrap_or_default(),
        })
    }

    fn of_jpeg(jpeg: &jpeg::Header) -> Outcome<Self> {
        let &jpeg::Header { width, height, orientation, .. } = jpeg;
        check_bytes((width * height * jpeg.bands()) as u64)?;
        Ok(Header { size: [width, height], bands: jpeg.bands(), sample: SampleType::U8, alpha: false, orientation })
    }

    /// Of the upright image.
    fn info(&self) -> RasterInfo {
        let [width, height] = self.orientation.size(self.size);
        let alpha = self.alpha.then_some(self.bands);
        RasterInfo { alpha, ..RasterInfo::new(width, height, self.bands, self.sample) }
    }

    fn upright(&self, samples: Samples) -> Still {
        let samples = match samples {
            Samples::U8(v) => Samples::U8(self.orientation.turn(v, self.size, self.bands)),
            Samples::U16(v) => Samples::U16(self.orientation.turn(v, self.size, self.bands)),
            Samples::F32(v) => Samples::F32(self.orientation.turn(v, self.size, self.bands)),
        };
        Still { info: self.info(), samples }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    limits
}

/// Refuses an image that would decode to more than [`MAX_BYTES`].
fn check_bytes(bytes: u64) -> Outcome<()> {
    if bytes > MAX_BYTES { Err(Fault::TooLarge(bytes)) } else { Ok(()) }
}

fn by(mut decoder: impl ImageDecoder) -> Outcome<Still> {
    let header = Header::of(&mut decoder)?;
    let mut bytes = Vec::new();
    let total = decoder.total_bytes() as usize;
    bytes.try_reserve_exact(total).map_err(|_| Fault::TooLarge(total as u64))?;
    bytes.resize(total, 0);
    decoder.read_image(&mut bytes)?;
    Ok(header.upright(match header.sample {
        SampleType::U8 => Samples::U8(bytes),
        // image hands out 16-bit samples in the machine's byte order.
        _ => Samples::U16(bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_ne_bytes(*pair)).collect()),
    }))
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
