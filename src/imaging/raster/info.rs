//! What a raster is besides its samples.

use crate::imaging::raster::ifd::RawTag;
use crate::imaging::raster::sample::SampleType;

/// The tags that say where on Earth a raster lies: pixel scale, tie points, transform; the keys of its coordinate
/// system and their numbers and texts (GeoTIFF 1.1).
pub const GEOREFERENCE: [u16; 6] = [33550, 33922, 34264, 34735, 34736, 34737];

/// GDAL's tag for the nodata value, as text.
pub(super) const GDAL_NODATA: u16 = 42113;
/// Which kind of image a directory holds: bit 0 an overview, bit 2 a mask.
pub(super) const NEW_SUBFILE_TYPE: u16 = 254;
pub(super) const IMAGE_DESCRIPTION: u16 = 270;

/// The value that stands for no data.
#[derive(Debug, Clone, PartialEq)]
pub struct Nodata {
    /// As the file writes it, e.g. `-9999` or `nan`.
    pub text: String,
    /// The number.
    pub value: f64,
}

impl Nodata {
    /// The nodata value of the text `text`; `None` if it is not a number.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Nodata { text: text.to_string(), value: text.trim().parse().ok()? })
    }
}

/// Size, type and tags of a raster: all that a copy needs besides the samples.
#[derive(Debug, Clone, PartialEq)]
pub struct RasterInfo {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Bands, an alpha band counted.
    pub bands: usize,
    /// The samples' type.
    pub sample: SampleType,
    /// The value that stands for no data.
    pub nodata: Option<Nodata>,
    /// The band, counted from 1, that is 0 where there is no data.
    pub alpha: Option<usize>,
    /// The tags of [`GEOREFERENCE`] that the file has, as they are.
    pub georeference: Vec<RawTag>,
    /// The text of the tag ImageDescription.
    pub description: Option<String>,
}

impl RasterInfo {
    /// A raster with samples alone: no nodata value, no alpha, no georeference.
    pub fn new(width: usize, height: usize, bands: usize, sample: SampleType) -> Self {
        RasterInfo {
            width,
            height,
            bands,
            sample,
            nodata: None,
            alpha: None,
            georeference: Vec::new(),
            description: None,
        }
    }

    /// Its bands without the alpha band, counted from 1.
    pub fn bands_without_alpha(&self) -> impl Iterator<Item = usize> {
        let alpha = self.alpha;
        (1..=self.bands).filter(move |band| alpha != Some(*band))
    }
}
