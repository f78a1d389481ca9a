//! Whether two rasters lie on one grid: as many pixels, in the same places on Earth.

use crate::imaging::raster::ifd::RawTag;
use crate::imaging::raster::info::RasterInfo;

/// Pixels by which places may differ: programs write them with different roundings.
const TOLERANCE: f64 = 0.01;

/// The GeoTIFF keys that name a coordinate system, and the one that says whether a tie point is a pixel's corner or its
/// centre.
const GEOGRAPHIC: u16 = 2048;
const PROJECTED: u16 = 3072;
const RASTER_TYPE: u16 = 1025;
/// The number of a coordinate system that stands in other keys.
const USER_DEFINED: u16 = 32_767;

impl RasterInfo {
    /// What differs between the grids of two rasters, in words; `None` where they are one.
    ///
    /// Compared are the size, the places of the corners (to a hundredth of a pixel), and the coordinate system where
    /// both name one by its number. That one has a place on Earth and the other none is a difference, too.
    pub fn grid_difference(&self, other: &RasterInfo) -> Option<String> {
        if (self.width, self.height) != (other.width, other.height) {
            let (a, b) = ((self.width, self.height), (other.width, other.height));
            return Some(format!("sizes of {}x{} and {}x{}", a.0, a.1, b.0, b.1));
        }
        let (to_earth, others) = match (self.to_earth(), other.to_earth()) {
            (None, None) => return None,
            (Some(a), Some(b)) => (a, b),
            _ => return Some("one has a place on Earth, the other none".to_owned()),
        };
        if let (Some(a), Some(b)) = (self.coordinate_system(), other.coordinate_system())
            && a != b
        {
            return Some(format!("coordinate systems EPSG:{a} and EPSG:{b}"));
        }
        let place = |by: &[[f64; 3]; 2], [x, y]: [f64; 2]| by.map(|row| row[0] * x + row[1] * y + row[2]);
        let pixel = to_earth.map(|row| row[0].hypot(row[1])).into_iter().fold(0.0, f64::max);
        let (right, bottom) = (self.width as f64, self.height as f64);
        let off = [[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]].map(|corner| {
            let (a, b) = (place(&to_earth, corner), place(&others, corner));
            (a[0] - b[0]).hypot(a[1] - b[1]) / pixel
        });
        let most = off.into_iter().fold(0.0, f64::max);
        (most > TOLERANCE || most.is_nan()).then(|| format!("places on Earth, by {most:.2} pixels"))
    }

    /// The map from columns and rows, counted from the outer corner of the first pixel, to coordinates.
    fn to_earth(&self) -> Option<[[f64; 3]; 2]> {
        let matrix = self.tag(34264).map(doubles).filter(|m| m.len() == 16);
        let [x, y] = match matrix {
            Some(m) => [[m[0], m[1], m[3]], [m[4], m[5], m[7]]],
            None => {
                let (scale, tie) = (doubles(self.tag(33550)?), doubles(self.tag(33922)?));
                let ([sx, sy, ..], [i, j, _, x, y, ..]) = (scale.as_slice(), tie.as_slice()) else { return None };
                [[*sx, 0.0, x - i * sx], [0.0, -sy, y + j * sy]]
            }
        };
        // Places of centres: the corner lies half a pixel before.
        let half = if self.geo_key(RASTER_TYPE) == Some(2) { 0.5 } else { 0.0 };
        Some([x, y].map(|row| [row[0], row[1], row[2] - half * (row[0] + row[1])]))
    }

    /// The number of the coordinate system, where it is named by one.
    fn coordinate_system(&self) -> Option<u16> {
        self.geo_key(PROJECTED).or(self.geo_key(GEOGRAPHIC)).filter(|code| *code != USER_DEFINED)
    }

    /// The value of a key that lies in the key directory itself: after four numbers, four for each key: its number,
    /// where its value is (0: here), how many there are, the value.
    fn geo_key(&self, key: u16) -> Option<u16> {
        let numbers: Vec<u16> =
            self.tag(34735)?.bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        numbers.chunks_exact(4).skip(1).find(|entry| entry[0] == key && entry[1] == 0).map(|entry| entry[3])
    }

    fn tag(&self, number: u16) -> Option<&RawTag> {
        self.georeference.iter().find(|raw| raw.tag == number)
    }
}

/// The values of a tag of DOUBLEs; none of another type.
fn doubles(raw: &RawTag) -> Vec<f64> {
    let bytes = if raw.field_type == 12 { raw.bytes.as_slice() } else { &[] };
    bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::raster::sample::SampleType;

    fn tag(tag: u16, values: &[f64]) -> RawTag {
        RawTag { tag, field_type: 12, bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect() }
    }

    fn keys(values: &[u16]) -> RawTag {
        RawTag { tag: 34735, field_type: 3, bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect() }
    }

    fn raster(georeference: Vec<RawTag>) -> RasterInfo {
        RasterInfo { georeference, ..RasterInfo::new(100, 50, 1, SampleType::U8) }
    }

    fn placed(x: f64, system: u16, raster_type: u16) -> RasterInfo {
        let keys = keys(&[1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, raster_type, 3072, 0, 1, system]);
        raster(vec![tag(33550, &[10.0, 10.0, 0.0]), tag(33922, &[0.0, 0.0, 0.0, x, 5e6, 0.0]), keys])
    }

    #[test]
    fn grids_are_equal_however_they_are_written() {
        let one = placed(4e5, 32633, 1);
        assert_eq!(one.grid_difference(&one), None);
        // The same tie point at another pixel, a matrix, and places of centres.
        let other_tie = tag(33922, &[3.0, 2.0, 0.0, 4e5 + 30.0, 5e6 - 20.0, 0.0]);
        assert_eq!(one.grid_difference(&raster(vec![tag(33550, &[10.0, 10.0, 0.0]), other_tie])), None);
        let mut matrix = [0.0; 16];
        (matrix[0], matrix[3], matrix[5], matrix[7]) = (10.0, 4e5, -10.0, 5e6);
        assert_eq!(one.grid_difference(&raster(vec![tag(34264, &matrix)])), None);
        let mut centres = placed(4e5 + 5.0, 32633, 2);
        centres.georeference[1] = tag(33922, &[0.0, 0.0, 0.0, 4e5 + 5.0, 5e6 - 5.0, 0.0]);
        assert_eq!(one.grid_difference(&centres), None);
        assert_eq!(raster(vec![]).grid_difference(&raster(vec![])), None);
    }

    #[test]
    fn what_differs_is_said() {
        let one = placed(4e5, 32633, 1);
        let difference = |other: RasterInfo| one.grid_difference(&other).unwrap();
        assert_eq!(difference(placed(4e5 + 10.0, 32633, 1)), "places on Earth, by 1.00 pixels");
        assert_eq!(difference(placed(4e5, 3395, 1)), "coordinate systems EPSG:32633 and EPSG:3395");
        assert!(difference(raster(vec![])).contains("the other none"));
        let larger = RasterInfo { width: 101, ..placed(4e5, 32633, 1) };
        assert_eq!(difference(larger), "sizes of 100x50 and 101x50");
    }
}
