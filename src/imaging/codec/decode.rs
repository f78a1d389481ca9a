//! Reading PNG, JPEG and TIFF files, judged by their bytes and not by their names.

use std::fs::{self, File};
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::{ColorType, ImageDecoder, ImageError, Limits};
use tiff::TiffError;
use tiff::decoder::{Decoder as TiffDecoder, DecodingResult};
use tiff::tags::{SampleFormat, Tag};

use crate::error::{Error, Result};
use crate::imaging::codec::extra_bands;
use crate::imaging::picture::{Depth, Picture, PictureInfo, Samples};
use crate::imaging::raster::Raster;

/// File name extensions (lower case) of pictures in a folder; others are passed over.
pub const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "tif", "tiff"];

/// No picture may take more than this once decoded: a small file can claim any size.
pub const MAX_BYTES: u64 = 4 << 30;

/// Why a file could not be decoded; becomes an [`Error`] when the path is known.
enum Fault {
    /// Not one of the three formats.
    Unknown,
    /// The file ends too early.
    Truncated,
    /// Decoded, it would take this many bytes.
    TooLarge(u64),
    /// What the decoder said.
    Broken(String),
    /// A valid file of a kind that is not read.
    Unsupported(String),
    /// A TIFF file with bands beside its colours, which [`extra_bands`] reads.
    ExtraBands,
    Io(std::io::Error),
}

type Outcome<T> = std::result::Result<T, Fault>;

/// Reads the header of a picture: size, bands and depth.
pub fn probe(path: &Path) -> Result<PictureInfo> {
    let open = || -> Outcome<PictureInfo> {
        let mut file = BufReader::new(File::open(path).map_err(Fault::Io)?);
        let mut head = Vec::with_capacity(8);
        file.by_ref().take(8).read_to_end(&mut head).map_err(Fault::Io)?;
        file.rewind().map_err(Fault::Io)?;
        match Format::of(&head)? {
            Format::Png => info_of(&PngDecoder::new(file)?),
            Format::Jpeg => info_of(&JpegDecoder::new(file)?),
            Format::Tiff => Tiff::new(file).map(|tiff| tiff.info),
        }
    };
    match open() {
        Err(Fault::ExtraBands) => extra_bands::probe(path),
        other => other.map_err(|fault| fault.at(path)),
    }
}

/// Decodes a picture, alpha left out.
///
/// A file that ends too early is an error even where the decoder would fill the rest with grey.
pub fn open(path: &Path) -> Result<Picture> {
    match fs::read(path).map_err(Fault::Io).and_then(|bytes| decode(&bytes)) {
        Err(Fault::ExtraBands) => extra_bands::open(path),
        other => other.map_err(|fault| fault.at(path)),
    }
}

/// As [`probe`], TIFFs of samples of any type too.
pub fn probe_any_type(path: &Path) -> Result<PictureInfo> {
    if Raster::is_one(path) { extra_bands::probe(path) } else { probe(path) }
}

/// As [`open`], TIFFs of samples of any type too; those that are neither of 8 nor of 16 bits become floats.
pub fn open_any_type(path: &Path) -> Result<Picture> {
    if Raster::is_one(path) { extra_bands::open(path) } else { open(path) }
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
            if !jpeg_is_whole(bytes) {
                return Err(Fault::Truncated);
            }
            pixels_of(decoder)
        }
        Format::Tiff => Tiff::new(Cursor::new(bytes))?.pixels(),
    }
}

enum Format {
    Png,
    Jpeg,
    Tiff,
}

impl Format {
    /// The format by the file's first bytes.
    fn of(bytes: &[u8]) -> Outcome<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', ..] => Ok(Format::Png),
            [0xFF, 0xD8, 0xFF, ..] => Ok(Format::Jpeg),
            // Classic TIFF is version 42, BigTIFF 43, in either byte order.
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Format::Tiff),
            _ => Err(Fault::Unknown),
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

/// Whether the segments of a JPEG run up to its end-of-image marker.
///
/// The decoder fills what is missing with grey and says nothing. Looking for the marker in the last two bytes would not
/// do: cameras append data, and an embedded thumbnail has a marker of its own.
pub(crate) fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    // The next marker: 0xFF and a byte that is neither stuffing (00), fill (FF) nor a restart marker (D0..D7).
    while let Some(offset) = bytes[at.min(bytes.len())..]
        .windows(2)
        .position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF | 0xD0..=0xD7))
    {
        let marker = bytes[at + offset + 1];
        at += offset + 2;
        match marker {
            0xD9 => return true,
            0x01 | 0xD8 => {}
            _ => match bytes.get(at..at + 2) {
                Some(length) => at += usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return false,
            },
        }
    }
    false
}

/// A TIFF by the tiff crate itself: image has no single-band floats and no pictures of many bands.
struct Tiff<R: Read + Seek> {
    decoder: TiffDecoder<R>,
    info: PictureInfo,
    /// Bands in the file, alpha included.
    stored: usize,
    /// JPEG inside TIFF comes as YCbCr.
    ycbcr: bool,
}

impl<R: Read + Seek> Tiff<R> {
    fn new(reader: R) -> Outcome<Self> {
        let mut limits = tiff::decoder::Limits::default();
        limits.decoding_buffer_size = MAX_BYTES as usize;
        limits.intermediate_buffer_size = MAX_BYTES as usize;
        let mut decoder = TiffDecoder::new(reader)?.with_limits(limits);
        let (width, height) = decoder.dimensions()?;
        let color = decoder.colortype()?;
        let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples)?.unwrap_or_default();
        let is_alpha = |kind: &u16| matches!(kind, 1 | 2);
        let (bits, bands, stored) = match color {
            tiff::ColorType::Gray(bits) => (bits, 1, 1),
            tiff::ColorType::GrayA(bits) => (bits, 1, 2),
            tiff::ColorType::RGB(bits) | tiff::ColorType::YCbCr(bits) => (bits, 3, 3),
            tiff::ColorType::RGBA(bits) => (bits, 3, 4),
            tiff::ColorType::Multiband { bit_depth, num_samples } => {
                let alpha = usize::from(num_samples > 1 && extra.last().is_some_and(is_alpha));
                (bit_depth, usize::from(num_samples) - alpha, usize::from(num_samples))
            }
            other => return Err(Fault::Unsupported(format!("TIFF colours {other:?}"))),
        };
        // Of three colours, the decoder passes on four samples at most, and the fourth only as alpha.
        if matches!(color, tiff::ColorType::RGB(_) | tiff::ColorType::RGBA(_)) && extra.len() > usize::from(stored == 4)
        {
            return Err(Fault::ExtraBands);
        }
        let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat)?.unwrap_or_default();
        let format = formats.first().map_or(SampleFormat::Uint, |code| SampleFormat::from_u16_exhaustive(*code));
        let depth = match (format, bits) {
            (SampleFormat::Uint, 8) => Depth::U8,
            (SampleFormat::Uint, 16) => Depth::U16,
            (SampleFormat::IEEEFP, 16 | 32 | 64) => Depth::F32,
            _ => return Err(Fault::Unsupported(format!("TIFF samples of {bits} bits, {format:?}"))),
        };
        let ycbcr = matches!(color, tiff::ColorType::YCbCr(_));
        if ycbcr && depth != Depth::U8 {
            return Err(Fault::Unsupported(format!("YCbCr of {bits} bits")));
        }
        let (width, height) = (width as usize, height as usize);
        check_bytes((width as u64 * height as u64).saturating_mul(stored as u64 * u64::from(bits / 8)))?;
        Ok(Tiff { decoder, info: PictureInfo { width, height, bands, depth }, stored, ycbcr })
    }

    fn pixels(mut self) -> Outcome<Picture> {
        let mut result = DecodingResult::U8(Vec::new());
        let layout = self.decoder.read_image_to_buffer(&mut result)?;
        let (planes, stored, bands) = (layout.planes, self.stored, self.info.bands);
        let samples = match result {
            DecodingResult::U8(v) => Samples::U8(without_alpha(interleaved(v, planes), stored, bands)),
            DecodingResult::U16(v) => Samples::U16(without_alpha(interleaved(v, planes), stored, bands)),
            DecodingResult::F32(v) => Samples::F32(without_alpha(interleaved(v, planes), stored, bands)),
            DecodingResult::F16(v) => {
                let wide = v.iter().map(|value| value.to_f32()).collect();
                Samples::F32(without_alpha(interleaved(wide, planes), stored, bands))
            }
            DecodingResult::F64(v) => {
                let narrow = v.iter().map(|value| *value as f32).collect();
                Samples::F32(without_alpha(interleaved(narrow, planes), stored, bands))
            }
            _ => return Err(Fault::Unsupported("TIFF samples of this type".into())),
        };
        let mut picture = Picture { info: self.info, samples };
        if picture.info.width * picture.info.height * bands != len_of(&picture.samples) {
            return Err(Fault::Broken("the samples do not fill the picture".into()));
        }
        if let (true, Samples::U8(samples)) = (self.ycbcr, &mut picture.samples) {
            samples.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| *pixel = rgb_of_ycbcr(*pixel));
        }
        Ok(picture)
    }
}

fn len_of(samples: &Samples) -> usize {
    match samples {
        Samples::U8(v) => v.len(),
        Samples::U16(v) => v.len(),
        Samples::F32(v) => v.len(),
    }
}

/// Planes one after the other to samples pixel by pixel.
fn interleaved<T: Copy>(samples: Vec<T>, planes: usize) -> Vec<T> {
    if planes <= 1 {
        return samples;
    }
    let pixels = samples.len() / planes;
    (0..pixels).flat_map(|pixel| (0..planes).map(move |plane| plane * pixels + pixel)).map(|i| samples[i]).collect()
}

/// Full-range BT.601, as JFIF has it.
fn rgb_of_ycbcr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|v| (v + 0.5).clamp(0.0, 255.0) as u8)
}

impl From<ImageError> for Fault {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::IoError(io) => io.into(),
            ImageError::Unsupported(inner) => Fault::Unsupported(inner.to_string()),
            other => Fault::Broken(other.to_string()),
        }
    }
}

impl From<TiffError> for Fault {
    fn from(error: TiffError) -> Self {
        match error {
            TiffError::IoError(io) => io.into(),
            TiffError::UnsupportedError(inner) => Fault::Unsupported(inner.to_string()),
            other => Fault::Broken(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::UnexpectedEof { Fault::Truncated } else { Fault::Io(error) }
    }
}

impl Fault {
    fn at(self, path: &Path) -> Error {
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        // Decoders' messages may hold line breaks; errors are one line.
        let line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (what, remedy) = match self {
            Fault::Unknown => ("not a PNG, JPEG or TIFF picture".into(), "convert the file, or take it away"),
            Fault::Truncated => ("the picture ends too early".into(), "copy or export the file again"),
            Fault::TooLarge(bytes) => (
                format!("the picture takes {:.1} GiB decoded, more than {} GiB", gib(bytes), MAX_BYTES >> 30),
                "cut it into smaller pictures",
            ),
            Fault::Broken(message) => {
                (format!("the picture is damaged ({})", line(message)), "copy or export the file again")
            }
            Fault::ExtraBands => ("this kind of picture is not read".into(), "convert it to a plain TIFF"),
            Fault::Unsupported(message) => (
                format!("this kind of picture is not read ({})", line(message)),
                "convert it to 8 or 16-bit PNG, or to TIFF of 8 or 16 bits or floats",
            ),
            Fault::Io(error) => (format!("cannot read the file ({error})"), "check the path and its permissions"),
        };
        Error::input(what, path.display(), remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::save::encode_png;
    use image::{ExtendedColorType, ImageEncoder};
    use std::path::PathBuf;
    use tiff::encoder::{TiffEncoder, colortype};

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
        assert_eq!(probe(&path)?, picture.info, "the header says something else than the picture");
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
        [C::Inner]: tiff::encoder::TiffValue,
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
    fn tiff_reads_bytes_words_floats_and_drops_alpha() {
        let p = open_bytes(&tiff::<colortype::Gray16>(2, 1, &[1, 60000])).unwrap();
        assert_eq!((p.info.bands, p.samples), (1, Samples::U16(vec![1, 60000])));
        let p = open_bytes(&tiff::<colortype::Gray32Float>(2, 2, &[-1.5, 0.0, 2.5, f32::MAX])).unwrap();
        assert_eq!((p.info.depth, p.samples), (Depth::F32, Samples::F32(vec![-1.5, 0.0, 2.5, f32::MAX])));
        let p = open_bytes(&tiff::<colortype::Gray64Float>(1, 1, &[0.5])).unwrap();
        assert_eq!(p.samples, Samples::F32(vec![0.5]));
        let p = open_bytes(&tiff::<colortype::RGBA8>(1, 2, &[1, 2, 3, 255, 4, 5, 6, 0])).unwrap();
        assert_eq!((p.info.bands, p.samples), (3, Samples::U8(vec![1, 2, 3, 4, 5, 6])));
    }

    #[test]
    fn a_tiff_of_a_type_that_is_not_read_says_so() {
        let error = open_bytes(&tiff::<colortype::Gray32>(1, 1, &[5])).unwrap_err();
        assert!(error.to_string().contains("TIFF samples of 32 bits"), "{error}");
    }

    #[test]
    fn planes_become_pixels() {
        assert_eq!(interleaved(vec![1, 2, 3, 4, 5, 6], 3), [1, 3, 5, 2, 4, 6]);
    }

    #[test]
    fn ycbcr_of_grey_and_red_is_grey_and_red() {
        assert_eq!(rgb_of_ycbcr([77, 128, 128]), [77; 3]);
        assert_eq!(rgb_of_ycbcr([76, 85, 255]), [254, 0, 0]);
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
        let (_folder, path) = file("notes.png", b"not a picture at all");
        for result in [open(&path).map(|p| p.info), probe(&path)] {
            let text = result.unwrap_err().to_string();
            assert!(text.starts_with("not a PNG, JPEG or TIFF picture: ") && text.contains("notes.png"), "{text}");
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
