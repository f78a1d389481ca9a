//! What a raster is besides its samples.

use crate::imaging::raster::ifd::RawTag;
use crate::imaging::raster::nodata::Nodata;
use crate::imaging::raster::sample::SampleType;

/// The tags that say where on Earth a raster lies: pixel scale, tie points, transform; the keys of its coordinate
/// system and their numbers and texts (GeoTIFF 1.1); rational polynomial coefficients (RPCs in GeoTIFF).
pub const GEOREFERENCE: [u16; 7] = [33550, 33922, 34264, 34735, 34736, 34737, 50844];

/// GDAL's tag for what it knows of a raster besides, as XML.
pub(super) const GDAL_METADATA: u16 = 42112;
/// GDAL's tag for the nodata value, as text.
pub(super) const GDAL_NODATA: u16 = 42113;
/// Which kind of image a directory holds: bit 0 an overview, bit 2 a mask.
pub(super) const NEW_SUBFILE_TYPE: u16 = 254;
pub(super) const IMAGE_DESCRIPTION: u16 = 270;

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
    /// Bits of a sample: those of the type, or fewer where an unsigned integer of 8 or 16 bits is not filled.
    pub bits: usize,
    /// The value that stands for no data.
    pub nodata: Option<Nodata>,
    /// The band, counted from 1, that is 0 where there is no data.
    pub alpha: Option<usize>,
    /// The tags of [`GEOREFERENCE`] that the file has, as they are.
    pub georeference: Vec<RawTag>,
    /// The text of the tag ImageDescription.
    pub description: Option<String>,
    /// What GDAL says of the raster besides, its own XML: see [`RasterInfo::unit`].
    pub metadata: Option<String>,
}

impl RasterInfo {
    /// A raster with samples alone: no nodata value, no alpha, no georeference.
    pub fn new(width: usize, height: usize, bands: usize, sample: SampleType) -> Self {
        RasterInfo {
            width,
            height,
            bands,
            sample,
            bits: 8 * sample.bytes(),
            nodata: None,
            alpha: None,
            georeference: Vec::new(),
            description: None,
            metadata: None,
        }
    }

    /// Its bands without the alpha band, counted from 1.
    pub fn bands_without_alpha(&self) -> impl Iterator<Item = usize> {
        let alpha = self.alpha;
        (1..=self.bands).filter(move |band| alpha != Some(*band))
    }

    /// Whether the file says anything of a place on Earth: a scene does, an image does not.
    pub fn is_placed(&self) -> bool {
        !self.georeference.is_empty()
    }

    /// The value that is white where nothing else is said, and the one that is black: the range of an integer's type, 0
    /// and 1 of floats.
    pub fn range(&self) -> [f64; 2] {
        match self.sample {
            sample if sample.is_float() => [0.0, 1.0],
            sample if sample.is_signed() => {
                let half = 2f64.powi(self.bits as i32 - 1);
                [-half, half - 1.0]
            }
            _ => [0.0, 2f64.powi(self.bits as i32) - 1.0],
        }
    }

    /// The map from samples of an integer type to bytes, from its range to 0..255.
    pub fn byte_of(&self) -> impl Fn(f32) -> u8 + use<> {
        let [black, white] = self.range().map(|end| end as f32);
        let bytes = 255.0 / (white - black);
        // Not `round`, which is a call where processors of any age are compiled for; no sample is below black.
        move |value| ((value - black) * bytes + 0.5) as u8
    }

    /// Whether samples are integers of up to 8 bits, which fill their type's range: bytes, when read over that.
    pub fn is_bytes(&self) -> bool {
        self.sample.bytes() == 1
    }

    /// The nodata value, if a sample can have it.
    pub fn holdable_nodata(&self) -> Option<&Nodata> {
        self.nodata.as_ref().filter(|nodata| nodata.fits(self.sample))
    }

    /// What a band's values (from 1) are multiplied by, and what is added then, to become physical ones; `None` where
    /// they are as they stand.
    ///
    /// Source: GDAL's GTiff driver, which writes them as items of the roles `scale` and `offset`.
    pub fn unit(&self, band: usize) -> Option<[f64; 2]> {
        let number = |role: &str| self.item(band, role)?.parse::<f64>().ok();
        let (scale, offset) = (number("scale"), number("offset"));
        let unit = [scale.unwrap_or(1.0), offset.unwrap_or(0.0)];
        (unit != [1.0, 0.0]).then_some(unit)
    }

    /// The name of a band (from 1), as GDAL writes it: an item of the role `description`.
    pub fn band_name(&self, band: usize) -> Option<String> {
        let text = self.item(band, "description").filter(|text| !text.is_empty())?;
        Some(ESCAPES.iter().rev().fold(text.to_owned(), |text, (plain, escape)| text.replace(escape, plain)))
    }

    /// The same raster, its bands named.
    #[must_use]
    pub fn with_band_names(self, names: &[String]) -> Self {
        self.with_bands_described(names, &[])
    }

    /// The same raster, its bands named and with units, see [`RasterInfo::unit`].
    #[must_use]
    pub fn with_bands_described(self, names: &[String], units: &[[f64; 2]]) -> Self {
        let escaped =
            |name: &String| ESCAPES.iter().fold(name.clone(), |text, (plain, with)| text.replace(plain, with));
        let items = names.iter().enumerate().map(|(i, name)| (i, "description", escaped(name)));
        let numbers = |(i, [scale, offset]): (usize, &[f64; 2])| {
            [(i, "offset", offset.to_string()), (i, "scale", scale.to_string())]
        };
        let mut xml = "<GDALMetadata>\n".to_owned();
        for (i, role, text) in items.chain(units.iter().enumerate().flat_map(numbers)) {
            let name = role.to_uppercase();
            xml.push_str(&format!("  <Item name=\"{name}\" sample=\"{i}\" role=\"{role}\">{text}</Item>\n"));
        }
        xml.push_str("</GDALMetadata>\n");
        let described = !names.is_empty() || !units.is_empty();
        RasterInfo { metadata: Some(xml).filter(|_| described), ..self }
    }

    /// The text of the item of a role that GDAL's XML has of a band (from 1).
    fn item(&self, band: usize, role: &str) -> Option<&str> {
        let sample = (band - 1).to_string();
        let of_band = |item: &&str| attribute(item, "sample") == Some(&sample) && attribute(item, "role") == Some(role);
        let mut items = self.metadata.as_deref()?.split("<Item ").skip(1);
        let (_, text) = items.find(of_band)?.split_once('>')?;
        Some(text.split('<').next()?.trim())
    }
}

/// Characters that XML writes otherwise; the first stands in the others.
const ESCAPES: [(&str, &str); 3] = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")];

/// The value of an attribute in the head of an XML element.
fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let head = element.split('>').next()?;
    let (_, rest) = head.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_and_offset_are_those_of_the_band() {
        let xml = "<GDALMetadata>\n  <Item name=\"OFFSET\" sample=\"0\" role=\"offset\">-1000</Item>\n  \
                   <Item name=\"SCALE\" sample=\"0\" role=\"scale\">0.0001</Item>\n  \
                   <Item name=\"SCALE\" sample=\"1\" role=\"scale\">2</Item>\n  <Item name=\"X\">3</Item>\n\
                   </GDALMetadata>";
        let info = RasterInfo { metadata: Some(xml.into()), ..RasterInfo::new(1, 1, 3, SampleType::U16) };
        assert_eq!([1, 2, 3].map(|band| info.unit(band)), [Some([0.0001, -1000.0]), Some([2.0, 0.0]), None]);
        assert_eq!(RasterInfo::new(1, 1, 1, SampleType::U16).unit(1), None);
    }

    #[test]
    fn bands_have_the_names_that_they_were_given() {
        let names = ["B04".to_owned(), "near <infrared> & more".to_owned()];
        let info = RasterInfo::new(1, 1, 3, SampleType::F32).with_band_names(&names);
        assert_eq!([1, 2, 3].map(|band| info.band_name(band)), [Some(names[0].clone()), Some(names[1].clone()), None]);
        assert_eq!(RasterInfo::new(1, 1, 1, SampleType::U8).with_band_names(&[]).metadata, None);
    }

    #[test]
    fn the_range_is_that_of_the_bits() {
        let range = |sample, bits| RasterInfo { bits, ..RasterInfo::new(1, 1, 1, sample) }.range();
        assert_eq!(range(SampleType::U8, 4), [0.0, 15.0]);
        assert_eq!(range(SampleType::U16, 12), [0.0, 4095.0]);
        assert_eq!(range(SampleType::I8, 8), [-128.0, 127.0]);
        assert_eq!(range(SampleType::F32, 32), [0.0, 1.0]);
    }
}
