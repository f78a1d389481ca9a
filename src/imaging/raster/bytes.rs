//! Images of bytes that are read as they stand, row by row: most images of a folder are such.

use crate::error::Result;
use crate::imaging::fault::Fault;
use crate::imaging::raster::photometric::Photometric;
use crate::imaging::raster::reader::{IMAGE, Raster};
use crate::imaging::raster::sample::SampleType;

impl Raster {
    /// Whether each sample is a stored byte, upright, and each pixel has data, so that [`Raster::read_bytes`] reads it.
    pub(in crate::imaging) fn is_plain_bytes(&self) -> bool {
        let image = &self.image;
        // YCbCr has become RGB when a chunk was decoded.
        matches!(image.photometric, Photometric::Light | Photometric::Ycbcr)
            && (image.sample, image.bits, image.planar) == (SampleType::U8, 8, false)
            && self.orientation.is_upright()
            && image.alpha.is_none()
            && self.mask.is_none()
            && self.nodata.is_none()
    }

    /// The whole image, `[height, width, bands]`; for one that [`Raster::is_plain_bytes`]. A cache is of no use to it.
    ///
    /// # Errors
    ///
    /// As [`Raster::read_window`], and an image that finds no room.
    pub(in crate::imaging) fn read_bytes(&self) -> Result<Vec<u8>> {
        let (area, image) = (self.area(), &self.image);
        let bands = image.bands;
        let room = area.width * area.height * bands;
        let mut samples = Vec::new();
        samples.try_reserve_exact(room).map_err(|_| Fault::TooLarge(room as u64).at(self.path()))?;
        samples.resize(room, 0);
        let read = self.visit_chunks(IMAGE, image, area, &[0], |bytes, part| {
            for row in 0..part.height {
                let from = &bytes[(part.first + row * image.chunk_width) * bands..][..part.width * bands];
                samples[(part.pixel + row * area.width) * bands..][..from.len()].copy_from_slice(from);
            }
        });
        self.whole_or_changed(read.map(|()| samples))
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use crate::imaging::raster::RasterWriter;
    use crate::imaging::raster::info::RasterInfo;
    use crate::imaging::raster::nodata::Nodata;
    use crate::imaging::raster::reader::Raster;
    use crate::imaging::raster::sample::SampleType;
    use crate::imaging::raster::testing::PlainTiff;

    fn by_windows(raster: &Raster) -> Vec<u8> {
        let bands: Vec<usize> = (1..=raster.info().bands).collect();
        let window = raster.read_window_exactly(raster.area(), &bands).unwrap();
        window.samples.iter().map(|value| *value as u8).collect()
    }

    fn written(path: &Path, info: RasterInfo, tile: usize) -> Raster {
        let mut writer = RasterWriter::create(path, info, tile).unwrap();
        let samples: Vec<u8> = (0..70 * 41 * 3).map(|i| (i * i % 253) as u8).collect();
        writer.write_rows(&samples).unwrap();
        writer.finish().unwrap();
        Raster::open(path).unwrap()
    }

    #[test]
    fn bytes_are_those_of_the_windows() {
        let folder = tempfile::tempdir().unwrap();
        let info = RasterInfo::new(70, 41, 3, SampleType::U8);
        // Tiles that stand out to the right and below, and more of them than are decoded at a time.
        let raster = written(&folder.path().join("tiles.tif"), info, 16);
        assert_eq!(raster.read_bytes().unwrap(), by_windows(&raster));
        for name in ["u8-packbits", "jpeg-ycbcr-tiles", "jpeg-rgb-strips"] {
            let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/raster/{name}.tif"));
            let raster = Raster::open(&path).unwrap();
            assert_eq!(raster.read_bytes().unwrap(), by_windows(&raster), "{name}");
        }
    }

    #[test]
    fn images_that_are_to_be_converted_are_left_to_the_windows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let grey = || PlainTiff::grey(2, 8, &[1, 2]);
        for (what, tiff) in [
            ("inverted", grey().with(262, &[0])),
            ("turned", grey().with(274, &[6])),
            ("nodata", grey().nodata("1")),
            ("4 bits", PlainTiff::grey(2, 4, &[0x12])),
            ("signed", grey().with(339, &[2])),
            ("alpha", PlainTiff::chunky(1, 2, &[1, 2]).with(338, &[2])),
            ("extra band", PlainTiff::chunky(1, 2, &[1, 2]).with(338, &[0])),
        ] {
            std::fs::write(&path, tiff.bytes()).unwrap();
            assert_eq!(Raster::open(&path).unwrap().is_plain_bytes(), what == "extra band", "{what}");
        }
        let mut info = RasterInfo::new(70, 41, 3, SampleType::U8);
        info.nodata = Nodata::parse("7");
        assert!(!written(&path, info, 16).is_plain_bytes());
    }
}
