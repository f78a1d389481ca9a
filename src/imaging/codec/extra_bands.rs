//! TIFF pictures read as rasters: those with bands beside their colours, such as near infrared, which the decoder of
//! [`decode`](crate::imaging::codec::decode) leaves out, and those that are to be stretched, whose samples may be of any type.

use std::path::Path;

use crate::error::{Error, Result};
use crate::imaging::codec::decode::MAX_BYTES;
use crate::imaging::picture::{Depth, Picture, PictureInfo, Samples};
use crate::imaging::pixels::Area;
use crate::imaging::raster::{Raster, SampleType};

/// As [`decode::probe`](crate::imaging::codec::decode::probe), for samples of any type.
pub(crate) fn probe(path: &Path) -> Result<PictureInfo> {
    info_of(&Raster::open(path)?)
}

/// As [`decode::open`](crate::imaging::codec::decode::open), for samples of any type; those that are neither of 8 nor of 16 bits become floats.
pub(crate) fn open(path: &Path) -> Result<Picture> {
    let raster = Raster::open(path)?;
    let info = info_of(&raster)?;
    let bands: Vec<usize> = raster.info().bands_without_alpha().collect();
    let area = Area { x: 0, y: 0, width: info.width, height: info.height };
    let values = raster.read_window(area, &bands)?.samples;
    let samples = match info.depth {
        // The values are whole and within the type already.
        Depth::U8 => Samples::U8(values.iter().map(|v| *v as u8).collect()),
        Depth::U16 => Samples::U16(values.iter().map(|v| *v as u16).collect()),
        Depth::F32 => Samples::F32(values),
    };
    Ok(Picture { info, samples })
}

fn info_of(raster: &Raster) -> Result<PictureInfo> {
    let info = raster.info();
    let refuse = |what: String, remedy: &str| Error::input(what, raster.path().display(), remedy);
    let depth = match info.sample {
        SampleType::U8 => Depth::U8,
        SampleType::U16 => Depth::U16,
        _ => Depth::F32,
    };
    // A window is read as floats.
    let bytes = (info.width as u64 * info.height as u64).saturating_mul(4 * info.bands as u64);
    if bytes > MAX_BYTES {
        let what = format!("the picture takes {} MiB decoded, more than {}", bytes >> 20, MAX_BYTES >> 20);
        return Err(refuse(what, "cut it into smaller pictures"));
    }
    let bands = info.bands - usize::from(info.alpha.is_some());
    Ok(PictureInfo { width: info.width, height: info.height, bands, depth })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::decode;
    use crate::imaging::picture::Reading;
    use std::io::Cursor;
    use std::path::PathBuf;
    use tiff::encoder::{TiffEncoder, TiffValue, colortype};
    use tiff::tags::ExtraSamples;

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
        image.extra_samples(extra).unwrap();
        image.write_data(&samples).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bands.tif");
        std::fs::write(&path, bytes.into_inner()).unwrap();
        (folder, path)
    }

    #[test]
    fn bands_beside_the_colours_are_read_and_alpha_is_not() {
        let (_folder, path) = written::<colortype::RGB8>(&[ExtraSamples::Unspecified], |v| v as u8);
        let picture = decode::open(&path).unwrap();
        assert_eq!(decode::probe(&path).unwrap(), picture.info);
        assert_eq!((picture.info.bands, picture.info.depth), (4, Depth::U8));
        assert_eq!(picture.samples, Samples::U8((1..=24).collect()));

        let both = [ExtraSamples::Unspecified, ExtraSamples::UnassociatedAlpha];
        let (_folder, path) = written::<colortype::RGB16>(&both, |v| 1000 * v as u16);
        let picture = decode::open(&path).unwrap();
        assert_eq!(decode::probe(&path).unwrap(), picture.info);
        let mut pixel = [0.0; 4];
        picture.read(Reading::Bands(4), Area { x: 1, y: 0, width: 1, height: 1 }, &mut pixel);
        assert_eq!(pixel, [6.0, 7.0, 8.0, 9.0].map(|v: f32| 1000.0 * v / 65535.0));
    }

    #[test]
    fn alpha_alone_is_left_out_of_colours_and_of_grey() {
        let (_folder, path) = written::<colortype::Gray8>(&[ExtraSamples::UnassociatedAlpha], |v| v as u8);
        assert_eq!(decode::probe(&path).unwrap().bands, 1);
        assert_eq!(decode::open(&path).unwrap().samples, Samples::U8((1..=12).step_by(2).collect()));
        let (_folder, path) = written::<colortype::RGB8>(&[ExtraSamples::UnassociatedAlpha], |v| v as u8);
        assert_eq!(decode::probe(&path).unwrap().bands, 3);
        assert_eq!(decode::open(&path).unwrap().samples, Samples::U8((1..=24).filter(|v| v % 4 != 0).collect()));
    }
}
