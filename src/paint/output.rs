//! Where the colours of a scene go: a picture, or a raster in the scene's place on Earth, and beside it how unsure the
//! network is.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::imaging::codec::save::{save_png, save_png_with_gaps, to_u8};
use crate::imaging::pixels::Area;
use crate::imaging::pixels::Pixels;
use crate::imaging::raster::{Nodata, RasterInfo, RasterWriter, RawTag, SampleType};
use crate::paint::scene::{Part, Sink};
use crate::paint::units::{Store, TargetUnits, Units};

/// What an output carries over from its scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// Pixels across and down.
    pub size: [usize; 2],
    /// Whether its samples are of 8 bits.
    pub bytes: bool,
    /// Whether it may have pixels without data.
    pub gaps: bool,
    /// The value that stands for no data.
    pub nodata: Option<Nodata>,
    /// Its place on Earth, see [`RasterInfo::georeference`].
    pub georeference: Vec<RawTag>,
}

impl Origin {
    /// Of an image or a scene, which may have pixels without data or not.
    pub fn of(info: &RasterInfo, gaps: bool) -> Self {
        Origin {
            size: [info.width, info.height],
            bytes: info.is_bytes(),
            gaps,
            nodata: info.nodata.clone(),
            georeference: info.georeference.clone(),
        }
    }

    fn info(&self, bands: usize, sample: SampleType, nodata: Option<Nodata>, description: &str) -> RasterInfo {
        RasterInfo {
            nodata,
            georeference: self.georeference.clone(),
            description: Some(description.to_owned()),
            ..RasterInfo::new(self.size[0], self.size[1], bands, sample)
        }
    }
}

/// Bands of a raster as they are stored: 0..1 over the range of an integer, with one value for pixels without data.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    white: f32,
    /// What a pixel without data becomes; one with data that comes to this value is moved by one.
    hole: Option<f32>,
}

impl Scale {
    fn apply(&self, value: f32, valid: bool) -> f32 {
        let stored = (value.clamp(0.0, 1.0) * self.white).round_ties_even();
        match self.hole {
            Some(hole) if !valid => hole,
            Some(hole) if stored == hole => hole + if hole < self.white { 1.0 } else { -1.0 },
            _ => stored,
        }
    }
}

/// The file of the colours.
enum Colours {
    Raster {
        writer: Box<RasterWriter>,
        scale: Scale,
    },
    /// Values in the units of the targets.
    Physical {
        writer: Box<RasterWriter>,
        store: Store,
    },
    /// `[height, width, bands]`, in memory: PNG wants whole rows, and panels of a wide picture come one after another.
    Picture {
        path: PathBuf,
        size: [usize; 2],
        bands: usize,
        samples: Vec<u8>,
        /// Which pixels have data, once one has none.
        valid: Option<Vec<bool>>,
        description: String,
    },
}

/// The files of a scene. Until [`Output::finish`] they do not bear their names; dropped before, they leave nothing.
pub struct Output {
    colours: Colours,
    unsure: Option<RasterWriter>,
    cloud_optimised: bool,
}

impl Output {
    /// A PNG of 1 or 3 bands of 8 bits, in memory until it is finished. Pixels without data are black and transparent.
    pub fn picture(path: &Path, origin: &Origin, bands: usize, description: &str) -> Self {
        let [width, height] = origin.size;
        let (path, description) = (path.to_owned(), description.to_owned());
        let samples = vec![0; width * height * bands];
        Output {
            colours: Colours::Picture { path, size: origin.size, bands, samples, valid: None, description },
            unsure: None,
            cloud_optimised: false,
        }
    }

    /// A TIFF in the place of the scene, in tiles of `tile` pixels a side. Three bands are sRGB of 8 bits; others have
    /// 8 bits where the scene's have, else 16.
    ///
    /// Where the scene may lack data, the file has a nodata value, that of the scene if it is a number of the type,
    /// else 0: pixels without data have it in all bands, others in none.
    ///
    /// # Errors
    /// A folder that may not be written.
    pub fn raster(path: &Path, origin: &Origin, bands: usize, description: &str, tile: usize) -> Result<Self> {
        let sample = if origin.bytes || bands == 3 { SampleType::U8 } else { SampleType::U16 };
        let white = if sample == SampleType::U8 { 255.0 } else { 65_535.0 };
        let fits = |nodata: &Nodata| (0.0..=white).contains(&nodata.value) && nodata.value.fract() == 0.0;
        let nodata = origin.gaps.then(|| origin.nodata.clone().filter(fits).or_else(|| Nodata::parse("0"))).flatten();
        let scale = Scale { white: white as f32, hole: nodata.as_ref().map(|nodata| nodata.value as f32) };
        let writer = RasterWriter::create(path, origin.info(bands, sample, nodata, description), tile)?;
        Ok(Output {
            colours: Colours::Raster { writer: Box::new(writer), scale },
            unsure: None,
            cloud_optimised: false,
        })
    }

    /// A TIFF in the place of the scene and in the units of the targets, its bands named, with a value for no data
    /// where there may be such pixels.
    ///
    /// # Errors
    /// As [`Output::raster`].
    pub fn in_units(
        path: &Path,
        origin: &Origin,
        bands: usize,
        (targets, units): (&TargetUnits, Units),
        description: &str,
        tile: usize,
    ) -> Result<Self> {
        let store = targets.store(units, origin.gaps);
        let info = store.describe(origin.info(bands, store.sample(), store.nodata(), description));
        let writer = RasterWriter::create(path, info, tile)?;
        let colours = Colours::Physical { writer: Box::new(writer), store };
        Ok(Output { colours, unsure: None, cloud_optimised: false })
    }

    /// The same output with a file of its own for how unsure the network is: a TIFF of one band of 32-bit floats, 0..1,
    /// NaN where there is no data.
    ///
    /// # Errors
    /// As [`Output::raster`].
    pub fn with_uncertainty(self, path: &Path, origin: &Origin, description: &str, tile: usize) -> Result<Self> {
        let nodata = origin.gaps.then(|| Nodata::parse("nan")).flatten();
        let writer = RasterWriter::create(path, origin.info(1, SampleType::F32, nodata, description), tile)?;
        Ok(Output { unsure: Some(writer), ..self })
    }

    /// The same output, its TIFFs in the cloud-optimised layout, see [`RasterWriter::finish_cloud_optimised`].
    pub fn cloud_optimised(self, yes: bool) -> Self {
        Output { cloud_optimised: yes, ..self }
    }

    /// Gives the files their names.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self) -> Result<()> {
        let finish = if self.cloud_optimised { RasterWriter::finish_cloud_optimised } else { RasterWriter::finish };
        match self.colours {
            Colours::Raster { writer, .. } | Colours::Physical { writer, .. } => finish(*writer)?,
            Colours::Picture { path, size: [width, height], samples, valid, description, .. } => match valid {
                None => save_png(&path, &samples, width, height, Some(&description))?,
                Some(valid) => save_png_with_gaps(&path, &samples, &valid, [width, height], Some(&description))?,
            },
        }
        self.unsure.map_or(Ok(()), finish)
    }
}

impl Sink for Output {
    fn put(&mut self, [x, y]: [usize; 2], part: Part) -> Result<()> {
        let Part { pixels: Pixels { width, height, bands, mut values }, valid } = part;
        let area = Area { x, y, width, height };
        let gaps = valid.as_ref().filter(|valid| valid.contains(&false));
        if let (Some(gaps), Colours::Picture { size, valid, .. }) = (gaps, &mut self.colours) {
            let all = valid.get_or_insert_with(|| vec![true; size[0] * size[1]]);
            for (row, line) in gaps.chunks_exact(width).enumerate() {
                all[(y + row) * size[0] + x..][..width].copy_from_slice(line);
            }
        }
        let valid = |pixel: usize| valid.as_ref().is_none_or(|valid| valid[pixel]);
        let colours = bands - usize::from(self.unsure.is_some());
        if let Some(writer) = &mut self.unsure {
            // Sums of rounded numbers may lie beyond by a rounding.
            let unsure = |i: usize| if valid(i) { values[i * bands + colours].clamp(0.0, 1.0) } else { f32::NAN };
            writer.write_window(area, &(0..width * height).map(unsure).collect::<Vec<_>>())?;
        }
        // In place, to the front: a band's values are most of the memory that a scene takes beside the network's.
        for pixel in 0..width * height {
            let has_data = valid(pixel);
            for band in 0..colours {
                let value = values[pixel * bands + band];
                values[pixel * colours + band] = match &self.colours {
                    Colours::Raster { scale, .. } => scale.apply(value, has_data),
                    Colours::Physical { store, .. } => store.value(band, value, has_data),
                    Colours::Picture { .. } if has_data => value,
                    Colours::Picture { .. } => 0.0,
                };
            }
        }
        values.truncate(width * height * colours);
        match &mut self.colours {
            Colours::Raster { writer, .. } | Colours::Physical { writer, .. } => writer.write_window(area, &values)?,
            Colours::Picture { size, bands, samples, .. } => {
                let row = width * *bands;
                for (from, to) in to_u8(&values).chunks_exact(row).zip(y..) {
                    samples[(to * size[0] + x) * *bands..][..row].copy_from_slice(from);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::codec::decode::ImageFile;
    use crate::imaging::raster::Raster;

    fn part(values: &[f32], bands: usize, valid: &[bool]) -> Part {
        let pixels = Pixels { width: valid.len(), height: 1, bands, values: values.to_vec() };
        Part { pixels, valid: Some(valid.to_vec()) }
    }

    fn origin(size: [usize; 2], nodata: &str, sample: SampleType) -> Origin {
        Origin::of(&RasterInfo { nodata: Nodata::parse(nodata), ..RasterInfo::new(size[0], size[1], 1, sample) }, true)
    }

    #[test]
    fn pixels_without_data_have_the_nodata_value_and_others_never_come_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        for (nodata, sample, hole, moved, bands, stored) in [
            ("0", SampleType::U8, 0.0, 1.0, 3, SampleType::U8),
            ("255", SampleType::U16, 255.0, 254.0, 3, SampleType::U8),
            ("-9999", SampleType::F32, 0.0, 1.0, 3, SampleType::U8),
            ("nan", SampleType::F32, 0.0, 1.0, 1, SampleType::U16),
            ("65535", SampleType::U16, 65_535.0, 65_534.0, 1, SampleType::U16),
        ] {
            let origin = origin([3, 1], nodata, sample);
            let mut output = Output::raster(&path, &origin, bands, "made", 16).unwrap();
            let near = hole / if stored == SampleType::U8 { 255.0 } else { 65_535.0 };
            let values = [vec![0.4; bands], vec![near; bands], vec![0.5; bands]].concat();
            output.put([0, 0], part(&values, bands, &[false, true, true])).unwrap();
            output.finish().unwrap();
            let raster = Raster::open(&path).unwrap();
            let window = raster.read_window(raster.area(), &(1..=bands).collect::<Vec<_>>()).unwrap();
            assert_eq!((raster.info().sample, window.valid), (stored, vec![false, true, true]), "{nodata}");
            let ends = [window.samples[0], window.samples[bands], window.samples[2 * bands]];
            assert_eq!(ends[..2], [hole, moved], "{nodata}");
            assert!(ends[2] > 100.0 && ends[2] < 40_000.0, "{nodata}");
        }
    }

    #[test]
    fn a_png_is_transparent_where_there_is_no_data_and_opaque_throughout_without_gaps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        for (valid, bands, colour) in [
            ([false, true], 3, png::ColorType::Rgba),
            ([true, true], 3, png::ColorType::Rgb),
            ([true, false], 1, png::ColorType::GrayscaleAlpha),
        ] {
            let mut output = Output::picture(&path, &origin([2, 1], "0", SampleType::U8), bands, "made");
            output.put([0, 0], part(&vec![0.4; 2 * bands], bands, &valid)).unwrap();
            output.finish().unwrap();
            let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
            assert_eq!(png::Decoder::new(file).read_info().unwrap().info().color_type, colour);
            let all: Vec<usize> = (1..=bands).collect();
            let file = ImageFile::open(&path).unwrap();
            let window = file.read_window(file.area(), &all).unwrap();
            assert_eq!(window.valid, valid);
            let want = valid.iter().flat_map(|valid| vec![if *valid { 102.0 } else { 0.0 }; bands]);
            assert_eq!(window.samples, want.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_scene_that_lacks_no_data_uses_all_values_and_names_none_for_gaps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tif");
        let origin = Origin::of(&RasterInfo::new(2, 1, 1, SampleType::U8), false);
        let mut output = Output::raster(&path, &origin, 3, "made", 16).unwrap();
        output.put([0, 0], part(&[0.0, 1.0, 0.5, 0.0, 0.0, 0.0], 3, &[true; 2])).unwrap();
        output.finish().unwrap();
        let raster = Raster::open(&path).unwrap();
        assert_eq!(raster.info().nodata, None);
        assert_eq!(raster.info().description.as_deref(), Some("made"));
        assert_eq!(raster.read_window(raster.area(), &[1, 2, 3]).unwrap().samples, [0.0, 255.0, 128.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn how_unsure_it_is_goes_to_a_band_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let [path, unsure] = ["a.tif", "u.tif"].map(|name| folder.path().join(name));
        let origin = origin([2, 1], "0", SampleType::U8);
        let output = Output::raster(&path, &origin, 3, "made", 16).unwrap();
        let mut output = output.with_uncertainty(&unsure, &origin, "unsure", 16).unwrap();
        output.put([0, 0], part(&[0.2, 0.4, 0.6, 0.75, 0.2, 0.4, 0.6, 0.5], 4, &[true, false])).unwrap();
        output.finish().unwrap();
        let raster = Raster::open(&unsure).unwrap();
        let window = raster.read_window(raster.area(), &[1]).unwrap();
        assert_eq!((raster.info().sample, window.samples[0], window.valid), (SampleType::F32, 0.75, vec![true, false]));
        assert!(window.samples[1].is_nan());
        let raster = Raster::open(&path).unwrap();
        assert_eq!(raster.read_window(raster.area(), &[1, 2, 3]).unwrap().samples, [51.0, 102.0, 153.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn an_output_that_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let origin = origin([2, 1], "0", SampleType::U8);
        let path = |name: &str| folder.path().join(name);
        let output = Output::raster(&path("a.tif"), &origin, 3, "made", 16).unwrap();
        drop(output.with_uncertainty(&path("u.tif"), &origin, "unsure", 16).unwrap());
        drop(Output::picture(&path("a.png"), &origin, 3, "made"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
