//! What the samples of a file mean as light (tag PhotometricInterpretation): here, and nowhere else, palettes, inverted
//! grey, YCbCr and CMYK become RGB or grey whose zero is black.
//!
//! Sources: TIFF 6.0 (Adobe, 1992), sections 4, 5, 8, 16 and 21; libjpeg's jdcolor.c; libtiff's tif_getimage.c.

use std::io::{Read, Seek};

use crate::imaging::fault::{Outcome, damaged, unsupported};
use crate::imaging::raster::ifd::Tiff;
use crate::imaging::raster::nodata::Nodata;
use crate::imaging::raster::sample::SampleType;

const PHOTOMETRIC: u16 = 262;
const COLOR_MAP: u16 = 320;
const INK_SET: u16 = 332;
const YCBCR_SUBSAMPLING: u16 = 530;

/// How the samples of a pixel become light.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Photometric {
    /// They are light as they stand: grey, RGB, or bands of any meaning.
    Light,
    /// Grey whose zero is white.
    WhiteIsZero {
        /// The value of black: the largest of an integer type, 1 of floats.
        black: f64,
        /// Bands of which this holds; extra ones are light as they stand.
        bands: usize,
    },
    /// Luma and chroma of 8 bits, chunk by chunk.
    Ycbcr,
    /// Cyan, magenta, yellow and black ink of 8 bits, chunk by chunk: the first three become RGB. Extra bands follow.
    Cmyk,
    /// Indices into a table of sRGB colours of 8 bits; extra bands follow.
    Palette(Vec<[u8; 3]>),
}

/// How the samples are stored.
pub(super) struct Stored {
    pub sample: SampleType,
    pub bits: usize,
    /// Samples a pixel, the extra ones counted.
    pub bands: usize,
    /// Samples beside the colours.
    pub extra: usize,
    pub planar: bool,
    pub jpeg: bool,
}

impl Photometric {
    /// What the image of directory `index` says of its samples.
    pub fn new<R: Read + Seek>(tiff: &mut Tiff<R>, index: usize, stored: &Stored) -> Outcome<Self> {
        let &Stored { sample, bits, bands, extra, planar, jpeg } = stored;
        match tiff.first(index, PHOTOMETRIC, 1)? {
            0 if sample.is_signed() => unsupported(format!("{sample} samples whose zero is white")),
            0 => {
                let black = if sample.is_float() { 1.0 } else { 2f64.powi(bits as i32) - 1.0 };
                Ok(Photometric::WhiteIsZero { black, bands: bands.saturating_sub(extra).max(1) })
            }
            3 => Self::palette(tiff, index, stored),
            5 if tiff.first(index, INK_SET, 1)? != 1 => unsupported("inks other than CMYK"),
            5 if (bands, sample, bits, planar) != (extra + 4, SampleType::U8, 8, false) => {
                let place = if planar { "separate planes" } else { "one plane" };
                unsupported(format!("CMYK inks in {bands} bands of {bits}-bit {sample}, in {place}"))
            }
            5 => Ok(Photometric::Cmyk),
            6 if (bands, sample, bits, planar) != (3, SampleType::U8, 8, false) => {
                unsupported(format!("YCbCr colours in {bands} bands of {bits}-bit {sample}"))
            }
            // A JPEG stream knows its own; without one, chroma at half resolution is the default.
            6 if !jpeg && tiff.unsigned(index, YCBCR_SUBSAMPLING)?.is_none_or(|factors| factors != [1, 1]) => {
                unsupported("YCbCr colours at half resolution without JPEG compression")
            }
            6 => Ok(Photometric::Ycbcr),
            8..=10 => unsupported("Lab colours"),
            _ => Ok(Photometric::Light),
        }
    }

    /// All reds, then all greens, then all blues, of 16 bits.
    fn palette<R: Read + Seek>(tiff: &mut Tiff<R>, index: usize, stored: &Stored) -> Outcome<Self> {
        let &Stored { sample, bits, bands, extra, .. } = stored;
        if !matches!(sample, SampleType::U8 | SampleType::U16) || bands != extra + 1 || bits > 8 && extra > 0 {
            return unsupported(format!("a palette for {bands} bands of {bits}-bit {sample}"));
        }
        let entries = tiff.unsigned(index, COLOR_MAP)?.unwrap_or_default();
        let count = 1 << bits;
        if entries.len() != 3 * count {
            return damaged(format!("a palette of {} numbers where {} are due", entries.len(), 3 * count));
        }
        // Some writers put 8 bits there; libtiff knows them by the same sign.
        let shift = if entries.iter().all(|entry| *entry < 256) { 0 } else { 8 };
        let colour = |i: usize| [0, 1, 2].map(|band| (entries[band * count + i] >> shift) as u8);
        Ok(Photometric::Palette((0..count).map(colour).collect()))
    }

    /// The samples that are read of `stored` samples a pixel.
    pub fn bands(&self, stored: usize) -> usize {
        match self {
            Photometric::Palette(_) => stored + 2,
            Photometric::Cmyk => stored - 1,
            _ => stored,
        }
    }

    /// The type of the samples that are read of samples of type `stored`, and their bits.
    pub fn sample(&self, stored: SampleType, bits: usize) -> (SampleType, usize) {
        match self {
            Photometric::Palette(_) => (SampleType::U8, 8),
            _ if stored.is_float() => (stored, 8 * stored.bytes()),
            _ => (stored, bits),
        }
    }

    /// The stored band that band `band` is read from, both counted from 0.
    pub fn stored_band(&self, band: usize) -> usize {
        match self {
            Photometric::Palette(_) => band.saturating_sub(2),
            Photometric::Cmyk if band >= 3 => band + 1,
            _ => band,
        }
    }

    /// The nodata value of what is read, where `stored` is that of the samples as they are stored, of a type that can
    /// have it. Of a palette, it is a grey that no other index has; `None` where there is none.
    pub fn nodata(&self, stored: &Nodata) -> Option<Nodata> {
        match self {
            Photometric::WhiteIsZero { black, .. } if stored.value.is_finite() => {
                Some(Nodata::of(black - stored.value))
            }
            Photometric::Palette(colours) => {
                let hole = stored.value as usize;
                let others = || colours.iter().enumerate().filter(|(i, _)| *i != hole).map(|(_, colour)| *colour);
                let own = colours.get(hole).filter(|[r, g, b]| r == g && g == b).map(|colour| colour[0]);
                let free = own.into_iter().chain(0..=255).find(|grey| !others().any(|colour| colour == [*grey; 3]));
                free.map(|grey| Nodata::of(grey.into()))
            }
            _ => Some(stored.clone()),
        }
    }

    /// Turns stored values into those of band `band` (from 0). Nodata values are looked for before.
    pub fn light(&self, band: usize, values: &mut [f64]) {
        match self {
            Photometric::WhiteIsZero { black, bands } if band < *bands => {
                values.iter_mut().for_each(|value| *value = black - *value);
            }
            Photometric::Palette(colours) if band < 3 => {
                values.iter_mut().for_each(|value| *value = f64::from(colours[*value as usize][band]));
            }
            _ => {}
        }
    }

    /// What a decoded chunk of `bands` samples a pixel needs as a whole: YCbCr and CMYK become RGB, in place.
    pub fn convert(&self, bytes: &mut [u8], bands: usize) {
        match self {
            Photometric::Ycbcr => {
                bytes.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| *pixel = rgb_of_ycbcr(*pixel));
            }
            Photometric::Cmyk => {
                for pixel in bytes.chunks_exact_mut(bands) {
                    let white = 255 - pixel[3];
                    pixel[..3].iter_mut().for_each(|ink| *ink = through_ink(255 - *ink, white));
                }
            }
            _ => {}
        }
    }
}

/// The stored band (from 0) that says how opaque a pixel is: the first of the `extra` samples that is alpha; and the
/// fourth of RGB where the file does not say what it is, as libtiff and GDAL take it.
pub(super) fn alpha_band<R: Read + Seek>(
    tiff: &mut Tiff<R>,
    index: usize,
    bands: usize,
    extra: Option<&[u64]>,
) -> Outcome<Option<usize>> {
    let Some(extra) = extra else {
        return Ok((bands == 4 && tiff.first(index, PHOTOMETRIC, 1)? == 2).then_some(3));
    };
    let at = extra.iter().position(|kind| matches!(kind, 1 | 2));
    Ok(at.and_then(|at| bands.checked_sub(extra.len()).map(|first| first + at)))
}

/// The light that two inks leave, of what each leaves, 0..255, rounded to nearest.
pub(in crate::imaging) fn through_ink(a: u8, b: u8) -> u8 {
    ((u32::from(a) * u32::from(b) + 127) / 255) as u8
}

/// Full-range BT.601 as JFIF has it, in the 16-bit fixed point of libjpeg (jdcolor.c), so that values agree with it.
pub(in crate::imaging) fn rgb_of_ycbcr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    // 65536 times 1.402, 0.344136, 0.714136 and 1.772.
    let red = y + ((91_881 * cr + HALF) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let blue = y + ((116_130 * cb + HALF) >> 16);
    [red, green, blue].map(|v| v.clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::decode::{self, ImageFile};
    use crate::imaging::raster::Raster;
    use crate::imaging::raster::testing::PlainTiff;

    /// Samples and validity as a scene, and the samples as an image of a folder, which must not differ.
    fn read(file: &PlainTiff) -> (Vec<f32>, Vec<bool>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        std::fs::write(&path, file.bytes()).unwrap();
        let raster = Raster::open(&path).unwrap();
        let bands: Vec<usize> = raster.info().bands_without_alpha().collect();
        let window = raster.read_window(raster.area(), &bands).unwrap();
        let file = ImageFile::open(&path).unwrap();
        assert_eq!(file.info(), &decode::probe_file(&path).unwrap());
        assert_eq!(file.values().unwrap().0, window.samples, "read whole and by windows");
        (window.samples, window.valid)
    }

    fn error(file: &PlainTiff) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        std::fs::write(&path, file.bytes()).unwrap();
        let (scene, image) = (Raster::open(&path).unwrap_err(), decode::open(&path).unwrap_err());
        assert_eq!(scene.to_string(), image.to_string());
        scene.to_string()
    }

    #[test]
    fn inverted_grey_is_turned_round_after_nodata_is_found() {
        let u8s = PlainTiff::grey(3, 8, &[0, 55, 255]).with(PHOTOMETRIC, &[0]).nodata("255");
        assert_eq!(read(&u8s), (vec![255.0, 200.0, 0.0], vec![true, true, false]));
        let u16s = PlainTiff::grey(2, 16, &[1, 0, 0xFF, 0xFF]).with(PHOTOMETRIC, &[0]);
        assert_eq!(read(&u16s).0, [65_534.0, 0.0]);
        let bits = PlainTiff::grey(4, 1, &[0b1010_0000]).with(PHOTOMETRIC, &[0]);
        assert_eq!(read(&bits).0, [0.0, 1.0, 0.0, 1.0]);
        let floats = PlainTiff::grey(1, 32, &0.25f32.to_le_bytes()).with(PHOTOMETRIC, &[0]).with(339, &[3]);
        assert_eq!(read(&floats).0, [0.75]);
        let signed = PlainTiff::grey(1, 8, &[5]).with(PHOTOMETRIC, &[0]).with(339, &[2]);
        assert!(error(&signed).contains("i8 samples whose zero is white"), "{}", error(&signed));
    }

    #[test]
    fn colours_of_a_palette_are_looked_up() {
        let reds: Vec<u64> = (0..4).map(|i| 0x1000 * i + 0x80).collect();
        let map = [reds, vec![0xFFFF; 4], vec![0, 0, 0x0200, 0]].concat();
        let packed = PlainTiff::grey(4, 2, &[0b00_01_10_11]).with(PHOTOMETRIC, &[3]).with(COLOR_MAP, &map);
        let want = [0, 255, 0, 16, 255, 0, 32, 255, 2, 48, 255, 0].map(|v: u8| f32::from(v));
        assert_eq!(read(&packed).0, want);
        assert_eq!(read(&packed.clone().nodata("2")).1, [true, true, false, true]);
        // A palette of 8 bits in numbers of 16, and one that is too short.
        let small = PlainTiff::grey(1, 1, &[0x80]).with(PHOTOMETRIC, &[3]).with(COLOR_MAP, &[0, 9, 0, 8, 0, 255]);
        assert_eq!(read(&small).0, [9.0, 8.0, 255.0]);
        assert!(error(&small.with(COLOR_MAP, &[0, 9, 0])).contains("a palette of 3 numbers where 6 are due"));
    }

    #[test]
    fn ycbcr_is_converted_with_and_without_compression_and_other_inks_are_refused() {
        assert_eq!(rgb_of_ycbcr([77, 128, 128]), [77; 3]);
        assert_eq!(rgb_of_ycbcr([76, 85, 255]), [254, 0, 0]);
        let plain = PlainTiff::chunky(1, 3, &[76, 85, 255]).with(PHOTOMETRIC, &[6]);
        assert_eq!(read(&plain.clone().with(YCBCR_SUBSAMPLING, &[1, 1])).0, [254.0, 0.0, 0.0]);
        assert!(error(&plain).contains("half resolution"), "{}", error(&plain));
        assert!(error(&PlainTiff::chunky(1, 3, &[1, 2, 3]).with(PHOTOMETRIC, &[8])).contains("Lab"));
    }

    /// The values of libtiff's `TIFFReadRGBAImage`, which rounds down where this rounds to nearest.
    #[test]
    fn inks_become_light_and_extra_bands_stay() {
        let inks = [0, 0, 0, 0, 255, 0, 0, 0, 10, 20, 30, 40, 0, 255, 255, 128];
        let cmyk = PlainTiff::chunky(4, 4, &inks).with(PHOTOMETRIC, &[5]);
        let light = [255, 255, 255, 0, 255, 255, 207, 198, 190, 127, 0, 0].map(|v: u8| f32::from(v));
        assert_eq!(read(&cmyk).0, light);
        assert!(error(&cmyk.clone().nodata("0")).contains("CMYK inks with a nodata value"));
        assert!(error(&cmyk.clone().with(INK_SET, &[2])).contains("inks other than CMYK"));
        assert!(error(&cmyk.with(284, &[2])).contains("CMYK inks in 4 bands of 8-bit u8, in separate planes"));
        let five = PlainTiff::chunky(1, 6, &[0, 0, 0, 128, 77, 0]).with(PHOTOMETRIC, &[5]).with(338, &[0, 2]);
        assert_eq!(read(&five), (vec![127.0, 127.0, 127.0, 77.0], vec![false]));
    }

    #[test]
    fn the_nodata_value_is_one_of_what_is_read() {
        let nodata = |file: &PlainTiff| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.tif");
            std::fs::write(&path, file.bytes()).unwrap();
            Raster::open(&path).unwrap().info().nodata.as_ref().map(|nodata| nodata.text.clone()).unwrap()
        };
        let white = PlainTiff::grey(1, 8, &[0]).with(PHOTOMETRIC, &[0]);
        assert_eq!(nodata(&white.clone().nodata("255")), "0");
        assert_eq!(nodata(&white.nodata("-9999")), "-9999");
        // Index 1 has the grey 9, which no other has; index 0 shares its colour with index 2.
        let map = [[0u64, 9, 0, 1], [0, 9, 0, 1], [0, 9, 0, 1]].concat();
        let palette = PlainTiff::grey(4, 2, &[0b00_01_10_11]).with(PHOTOMETRIC, &[3]).with(COLOR_MAP, &map);
        assert_eq!(nodata(&palette.clone().nodata("1")), "9");
        assert_eq!(nodata(&palette.nodata("0")), "2");
    }

    #[test]
    fn reversed_bits_are_turned_round_at_every_depth() {
        let reversed = |file: PlainTiff| file.with(266, &[2]);
        assert_eq!(read(&reversed(PlainTiff::grey(4, 1, &[0b0000_0101]))).0, [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(read(&reversed(PlainTiff::grey(2, 8, &[0x01, 0xF0]))).0, [128.0, 15.0]);
        assert_eq!(read(&reversed(PlainTiff::grey(1, 16, &[0x80, 0x40]))).0, [513.0]);
        assert!(error(&PlainTiff::grey(1, 8, &[1]).with(266, &[3])).contains("unknown order 3"));
    }

    #[test]
    fn bands_lie_together_unless_the_file_says_planes() {
        let three = PlainTiff::chunky(2, 3, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(read(&three).0, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(read(&three.clone().with(284, &[1])).0, read(&three).0);
        for other in [0, 3] {
            assert!(error(&three.clone().with(284, &[other])).contains(&format!("planar configuration {other}")));
        }
    }

    #[test]
    fn the_fourth_sample_of_rgb_is_alpha_unless_the_file_says_otherwise() {
        let four = PlainTiff::chunky(2, 4, &[1, 2, 3, 0, 4, 5, 6, 9]).with(PHOTOMETRIC, &[2]);
        assert_eq!(read(&four), (vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![false, true]));
        assert_eq!(read(&four.clone().with(338, &[0])).0.len(), 8);
        assert_eq!(read(&four.clone().with(338, &[2])), read(&four));
        assert_eq!(read(&four.with(PHOTOMETRIC, &[1])).0.len(), 8);
    }

    #[test]
    fn floats_of_16_bits_are_read() {
        let halves = [0x0000u16, 0x3C00, 0xC000, 0x3555, 0x7BFF, 0x0001, 0x8000, 0xFC00];
        let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        let file = PlainTiff::grey(8, 16, &bytes).with(339, &[3]);
        let (samples, valid) = read(&file);
        let third = 0.333_251_95;
        assert_eq!(samples, [0.0, 1.0, -2.0, third, 65_504.0, 2f32.powi(-24), 0.0, f32::NEG_INFINITY]);
        assert!(valid[..7].iter().all(|valid| *valid) && !valid[7]);
    }
}
