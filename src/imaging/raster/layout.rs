//! How one image of a TIFF file is laid out: size, samples, and where its chunks (strips or tiles) are.

use std::io::{Read, Seek};

use crate::imaging::fault::{Fault, Outcome, damaged, unsupported};
use crate::imaging::raster::ifd::Tiff;
use crate::imaging::raster::photometric::{self, Photometric, Stored};
use crate::imaging::raster::sample::SampleType;

/// A chunk that decodes to more than this is refused: it would have to be in memory whole.
const MAX_CHUNK_BYTES: u128 = 1 << 30;

/// Uncompressed strips above this are read in pieces of about this size.
const PIECE_BYTES: usize = 256 << 10;

/// The numbers of the tags that say how an image is stored.
mod tag {
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const SAMPLES: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_BYTES: u16 = 279;
    pub const PLANAR: u16 = 284;
    pub const PREDICTOR: u16 = 317;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTES: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
    #[cfg(feature = "formats")]
    pub const LERC_PARAMETERS: u16 = 50_674;
}

/// How the bytes of a chunk are packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Zstd,
    Jpeg {
        /// Tables that all chunks share, themselves a JPEG stream without an image.
        tables: Option<Vec<u8>>,
    },
    #[cfg(feature = "formats")]
    Webp,
    #[cfg(feature = "formats")]
    Lerc(Wrapper),
}

/// What a LERC chunk is packed in besides.
#[cfg(feature = "formats")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapper {
    None,
    Deflate,
    Zstd,
}

impl Compression {
    /// Whether chunks are files of another format.
    fn is_stream(&self) -> bool {
        match self {
            Compression::Jpeg { .. } => true,
            #[cfg(feature = "formats")]
            Compression::Webp | Compression::Lerc(_) => true,
            _ => false,
        }
    }
}

/// What was done to the samples before packing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    /// Differences between neighbours in a row.
    Horizontal,
    /// Differences of the bytes of floats, most significant bytes first.
    Float,
}

/// The layout of one image.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub width: usize,
    pub height: usize,
    /// Samples a pixel, as stored: what they become as light, and how many there are then, is for `photometric`.
    pub bands: usize,
    pub sample: SampleType,
    pub photometric: Photometric,
    /// Bits of a sample in the file; those that do not fill the type are widened to it.
    pub bits: usize,
    pub little_endian: bool,
    /// The bits of each packed byte come in reversed order.
    pub reversed: bool,
    /// The first band that says how opaque a pixel is, counted from 0.
    pub alpha: Option<usize>,
    pub compression: Compression,
    pub predictor: Predictor,
    /// One band a chunk, plane by plane.
    pub planar: bool,
    pub tiled: bool,
    pub chunk_width: usize,
    pub chunk_height: usize,
    /// Chunks across and down one plane.
    pub across: usize,
    pub down: usize,
    /// Where chunks start in the file and how many bytes they take; 0 bytes is a chunk that was never written.
    pub ranges: Vec<(u64, u64)>,
}

impl Layout {
    /// Reads the layout of the image of directory `index`.
    pub fn new<R: Read + Seek>(tiff: &mut Tiff<R>, index: usize) -> Outcome<Self> {
        let width = tiff.first(index, tag::WIDTH, 0)?;
        let height = tiff.first(index, tag::HEIGHT, 0)?;
        // TIFF's own limits; they keep the bytes of a row within 64 bits.
        let possible = 1..=u64::from(u32::MAX);
        if !possible.contains(&width) || !possible.contains(&height) {
            return damaged(format!("a size of {width}x{height}"));
        }
        let bands = tiff.first(index, tag::SAMPLES, 1)?;
        if !(1..=65_535).contains(&bands) {
            return damaged(format!("{bands} bands"));
        }
        let (sample, bits) = Self::sample(tiff, index)?;
        let compression = Self::compression(tiff, index)?;
        let predictor = match tiff.first(index, tag::PREDICTOR, 1)? {
            1 => Predictor::None,
            // The others know no predictor; a tag that a program left behind means nothing, as in libtiff.
            _ if !matches!(compression, Compression::Lzw | Compression::Deflate | Compression::Zstd) => Predictor::None,
            2 if bits.is_multiple_of(8) => Predictor::Horizontal,
            3 if sample.is_float() => Predictor::Float,
            other => return unsupported(format!("predictor {other} on {bits}-bit {sample} samples")),
        };
        // Streams of other formats have an order of their own, which the tag does not touch.
        let reversed = match tiff.first(index, tag::FILL_ORDER, 1)? {
            1 => false,
            2 => !compression.is_stream(),
            other => return damaged(format!("bits in the unknown order {other}")),
        };
        let planar = match tiff.first(index, tag::PLANAR, 1)? {
            1 => false,
            2 => bands > 1,
            other => return damaged(format!("bands in the unknown planar configuration {other}")),
        };
        if let Compression::Jpeg { .. } = compression {
            let together = if planar { 1 } else { bands };
            if !matches!(together, 1 | 3 | 4) || sample != SampleType::U8 {
                return unsupported(format!("JPEG of {together} interleaved bands of {sample}"));
            }
        }
        #[cfg(feature = "formats")]
        match compression {
            Compression::Webp if planar || !matches!(bands, 3 | 4) || (sample, bits) != (SampleType::U8, 8) => {
                return unsupported(format!("WebP of {bands} bands of {bits}-bit {sample}"));
            }
            Compression::Lerc(_) if bits != 8 * sample.bytes() => {
                return unsupported(format!("LERC of {bits}-bit samples"));
            }
            _ => {}
        }
        let extra = tiff.unsigned(index, tag::EXTRA_SAMPLES)?;
        let photometric = Photometric::new(
            tiff,
            index,
            &Stored {
                sample,
                bits,
                bands: bands as usize,
                extra: extra.as_ref().map_or(0, Vec::len),
                planar,
                jpeg: matches!(compression, Compression::Jpeg { .. }),
            },
        )?;
        let alpha = photometric::alpha_band(tiff, index, bands as usize, extra.as_deref())?;
        let tile = (tiff.first(index, tag::TILE_WIDTH, 0)?, tiff.first(index, tag::TILE_HEIGHT, 0)?);
        let tiled = tile != (0, 0);
        let (chunk_width, chunk_height) =
            if tiled { tile } else { (width, tiff.first(index, tag::ROWS_PER_STRIP, height)?.min(height)) };
        if !possible.contains(&chunk_width) || !possible.contains(&chunk_height) {
            return damaged(format!("chunks of {chunk_width}x{chunk_height}"));
        }
        let mut layout = Layout {
            width: width as usize,
            height: height as usize,
            bands: bands as usize,
            sample,
            photometric,
            bits,
            little_endian: tiff.little_endian,
            reversed,
            alpha,
            compression,
            predictor,
            planar,
            tiled,
            chunk_width: chunk_width as usize,
            chunk_height: chunk_height as usize,
            across: width.div_ceil(chunk_width) as usize,
            down: height.div_ceil(chunk_height) as usize,
            ranges: Vec::new(),
        };
        layout.ranges = layout.read_ranges(tiff, index)?;
        if layout.ranges.iter().any(|(offset, bytes)| offset.saturating_add(*bytes) > tiff.length) {
            return Err(Fault::Truncated);
        }
        layout.cut_strips();
        let chunk_bytes = layout.chunk_height as u128 * layout.decoded_row_bytes() as u128;
        if chunk_bytes > MAX_CHUNK_BYTES {
            let kind = if tiled { "tiles" } else { "compressed strips" };
            return unsupported(format!("{kind} of {} MiB", chunk_bytes >> 20));
        }
        Ok(layout)
    }

    fn sample<R: Read + Seek>(tiff: &mut Tiff<R>, index: usize) -> Outcome<(SampleType, usize)> {
        let bits = tiff.unsigned(index, tag::BITS)?.unwrap_or_else(|| vec![1]);
        let formats = tiff.unsigned(index, tag::SAMPLE_FORMAT)?.unwrap_or_else(|| vec![1]);
        if bits.iter().any(|b| *b != bits[0]) || formats.iter().any(|f| *f != formats[0]) {
            return unsupported("bands of different types");
        }
        // 4 is "undefined", which readers take as unsigned; 5 and 6 are complex.
        let format = if formats[0] == 4 { 1 } else { formats[0] };
        let kind = match format {
            1 => "unsigned",
            2 => "signed",
            3 => "float",
            5 | 6 => return unsupported("complex samples; take their magnitude first"),
            _ => "unknown",
        };
        let small = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        match SampleType::of(small(bits[0]), small(format)) {
            Some(sample) => Ok((sample, bits[0] as usize)),
            None => unsupported(format!("{}-bit {kind} samples", bits[0])),
        }
    }

    fn compression<R: Read + Seek>(tiff: &mut Tiff<R>, index: usize) -> Outcome<Compression> {
        Ok(match tiff.first(index, tag::COMPRESSION, 1)? {
            1 => Compression::None,
            5 => Compression::Lzw,
            7 => Compression::Jpeg { tables: tiff.find(index, tag::JPEG_TABLES)?.map(|raw| raw.bytes) },
            8 | 32_946 => Compression::Deflate,
            32_773 => Compression::PackBits,
            #[cfg(feature = "formats")]
            34_887 => Compression::Lerc(match tiff.unsigned(index, tag::LERC_PARAMETERS)?.as_deref() {
                None | Some([] | [_] | [_, 0, ..]) => Wrapper::None,
                Some([_, 1, ..]) => Wrapper::Deflate,
                Some([_, 2, ..]) => Wrapper::Zstd,
                Some([_, other, ..]) => return unsupported(format!("LERC within compression {other}")),
            }),
            50_000 => Compression::Zstd,
            #[cfg(feature = "formats")]
            50_001 => Compression::Webp,
            other => {
                let name = match other {
                    2..=4 => "fax ",
                    6 => "old-style JPEG ",
                    34_887 => "LERC (without the feature formats) ",
                    34_925 => "LZMA ",
                    50_001 => "WebP (without the feature formats) ",
                    50_002 | 52_546 => "JPEG XL ",
                    _ => "",
                };
                return unsupported(format!("{name}compression {other}"));
            }
        })
    }

    /// Reads where the chunks are and checks that there are as many as the image needs.
    fn read_ranges<R: Read + Seek>(&self, tiff: &mut Tiff<R>, index: usize) -> Outcome<Vec<(u64, u64)>> {
        // Some writers put tiles under the tags of strips.
        let (offsets, counts) = match tiff.unsigned(index, tag::TILE_OFFSETS)? {
            Some(offsets) => (offsets, tiff.unsigned(index, tag::TILE_BYTES)?),
            None => match tiff.unsigned(index, tag::STRIP_OFFSETS)? {
                Some(offsets) => (offsets, tiff.unsigned(index, tag::STRIP_BYTES)?),
                None => return damaged("it does not say where its strips or tiles are"),
            },
        };
        let chunks = (self.across as u128 * self.down as u128) * self.planes() as u128;
        if (offsets.len() as u128) < chunks {
            return damaged(format!("{} strips or tiles where {chunks} are needed", offsets.len()));
        }
        let chunks = chunks as usize;
        let counts = match counts {
            Some(counts) if counts.len() >= chunks => counts,
            // Old writers left the sizes out, which without compression are plain.
            None if self.compression == Compression::None => (0..chunks)
                .map(|chunk| (self.rows_of(chunk) as u64).saturating_mul(self.packed_row_bytes() as u64))
                .collect(),
            _ => return damaged("it does not say how long its strips or tiles are"),
        };
        Ok(offsets.into_iter().zip(counts).take(chunks).collect())
    }

    /// Cuts the one large strip of an uncompressed plane into pieces, so that a window needs not the whole of it.
    fn cut_strips(&mut self) {
        let row_bytes = self.packed_row_bytes();
        let piece = (PIECE_BYTES / row_bytes).max(1);
        let whole = row_bytes as u128 * self.height as u128;
        if self.tiled
            || self.compression != Compression::None
            || self.down > 1
            || self.height <= piece
            || self.ranges.iter().any(|(_, bytes)| u128::from(*bytes) < whole)
        {
            return;
        }
        let pieces = self.height.div_ceil(piece);
        let cut = |(offset, bytes): (u64, u64)| {
            let length = (piece * row_bytes) as u64;
            (0..pieces as u64).map(move |i| (offset + i * length, length.min(bytes - i * length)))
        };
        self.ranges = std::mem::take(&mut self.ranges).into_iter().flat_map(cut).collect();
        (self.chunk_height, self.down) = (piece, pieces);
    }

    /// Planes that chunks are repeated for: one with all bands, or one for each band.
    pub fn planes(&self) -> usize {
        if self.planar { self.bands } else { 1 }
    }

    /// Samples of a pixel within a chunk.
    pub fn chunk_bands(&self) -> usize {
        if self.planar { 1 } else { self.bands }
    }

    /// Rows that chunk `chunk` has in the file: tiles are whole, the last strip is not.
    pub fn rows_of(&self, chunk: usize) -> usize {
        let top = chunk / self.across % self.down * self.chunk_height;
        if self.tiled { self.chunk_height } else { self.chunk_height.min(self.height - top) }
    }

    /// Bytes of a row of a chunk once decoded.
    pub fn decoded_row_bytes(&self) -> usize {
        self.chunk_width * self.chunk_bands() * self.sample.bytes()
    }

    /// Bytes of a row of a chunk as packed in the file: sub-byte samples fill up their last byte.
    pub fn packed_row_bytes(&self) -> usize {
        (self.chunk_width * self.chunk_bands() * self.bits).div_ceil(8)
    }
}
