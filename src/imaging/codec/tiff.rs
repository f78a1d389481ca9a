//! TIFF images read whole, by the reader of rasters: what a file means does not depend on whether it is one image of a
//! folder or a scene.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::imaging::fault::{Fault, MAX_BYTES};
use crate::imaging::picture::{Depth, Picture, PictureInfo, Samples};
use crate::imaging::pixels::Area;
use crate::imaging::raster::{Raster, SampleType};

/// Pixels decoded at a time, beside the image itself.
const BLOCK_PIXELS: usize = 1 << 18;

/// Which types of samples are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Types {
    /// Those that mean 0..1 by themselves: integers of 8 and 16 bits without a sign, and floats.
    Plain,
    /// All; those that are neither of 8 nor of 16 bits without a sign become floats in the unit of the file.
    Any,
}

/// Size, bands (alpha left out) and depth.
pub(super) fn probe(path: &Path, types: Types) -> Result<PictureInfo> {
    info_of(&Raster::open(path)?, types)
}

/// The whole image, alpha left out; pixels without data hold what the file holds there.
pub(super) fn open(path: &Path, types: Types) -> Result<Picture> {
    // The blocks are such that each chunk is decoded once.
    let raster = Raster::open(path)?.with_cache(0);
    let info = info_of(&raster, types)?;
    let bands: Vec<usize> = raster.info().bands_without_alpha().collect();
    let samples = match info.depth {
        // The values are whole and within the type already.
        Depth::U8 => Samples::U8(read(&raster, &bands, |value| value as u8)?),
        Depth::U16 => Samples::U16(read(&raster, &bands, |value| value as u16)?),
        Depth::F32 => Samples::F32(read(&raster, &bands, |value| value)?),
    };
    Ok(Picture { info, samples })
}

/// `[height, width, bands]`.
fn read<T: Copy + Default>(raster: &Raster, bands: &[usize], sample: impl Fn(f32) -> T) -> Result<Vec<T>> {
    let Area { width, height, .. } = raster.area();
    let row = width * bands.len();
    let mut samples = Vec::new();
    let bytes = (row * height * size_of::<T>()) as u64;
    samples.try_reserve_exact(row * height).map_err(|_| Fault::TooLarge(bytes).at(raster.path()))?;
    samples.resize(row * height, T::default());
    for area in raster.blocks(BLOCK_PIXELS) {
        let window = raster.read_window(area, bands)?;
        for (y, line) in area.rows().zip(window.samples.chunks_exact(area.width * bands.len())) {
            let to = &mut samples[y * row + area.x * bands.len()..][..line.len()];
            to.iter_mut().zip(line).for_each(|(to, value)| *to = sample(*value));
        }
    }
    Ok(samples)
}

fn info_of(raster: &Raster, types: Types) -> Result<PictureInfo> {
    let (info, bits) = (raster.info(), raster.bits());
    let depth = match info.sample {
        SampleType::U8 if bits == 8 || types == Types::Any => Depth::U8,
        SampleType::U16 => Depth::U16,
        SampleType::F32 | SampleType::F64 => Depth::F32,
        _ if types == Types::Any => Depth::F32,
        sample => {
            let kind = if sample.is_signed() { "signed" } else { "unsigned" };
            return Err(Error::input(
                format!("TIFF samples of {bits} bits, {kind}, do not say which values are 0 and 1"),
                raster.path().display(),
                "say it by ⟨stretch⟩, or convert the file to 8 or 16 bits, unsigned, or to floats",
            )
            .of(ErrorKind::File));
        }
    };
    let pixels = info.width as u64 * info.height as u64;
    let bytes = pixels.saturating_mul((info.bands * bits.div_ceil(8)) as u64);
    crate::ensure!(bytes <= MAX_BYTES, Fault::TooLarge(bytes).at(raster.path()));
    let bands = info.bands - usize::from(info.alpha.is_some());
    Ok(PictureInfo { width: info.width, height: info.height, bands, depth })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::decode;
    use crate::imaging::picture::Reading;
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
            (PlainTiff::grey(1, 32, &[5, 0, 0, 0]), "32 bits, unsigned", Samples::F32(vec![5.0])),
            (PlainTiff::grey(1, 16, &[0xFE, 0xFF]).with(339, &[2]), "16 bits, signed", Samples::F32(vec![-2.0])),
            (PlainTiff::grey(2, 4, &[0x3A]), "4 bits, unsigned", Samples::U8(vec![3, 10])),
        ] {
            let (_folder, path) = saved(&file.bytes());
            for error in [decode::open(&path).unwrap_err(), decode::probe(&path).unwrap_err()] {
                let text = error.to_string();
                assert!(text.starts_with(&format!("TIFF samples of {what}")) && text.contains("stretch"), "{text}");
                assert!(error.exit_code() == 2 && text.contains("a.tif"), "{text}");
            }
            let picture = decode::open_any_type(&path).unwrap();
            assert_eq!(picture.samples, want);
            assert_eq!(decode::probe_any_type(&path).unwrap(), picture.info);
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
}
