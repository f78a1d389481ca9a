//! Whether two rasters lie on one grid: as many pixels, in the same places on Earth.

use std::collections::BTreeMap;

use crate::imaging::raster::ifd::RawTag;
use crate::imaging::raster::info::RasterInfo;

/// The tags of places, see [`GEOREFERENCE`](crate::imaging::raster::info::GEOREFERENCE).
const PIXEL_SCALE: u16 = 33550;
const TIE_POINTS: u16 = 33922;
const MATRIX: u16 = 34264;
const GEO_KEYS: u16 = 34735;
const GEO_DOUBLES: u16 = 34736;
const RATIONAL: u16 = 50844;

/// Pixels by which places may differ: programs write them with different roundings.
const TOLERANCE: f64 = 0.01;

/// Keys that are texts for people: the same system may be described in other words.
const CITATIONS: [u16; 4] = [1026, 2049, 3073, 4097];

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
    /// Compared are the size, the places of the corners (to a hundredth of a pixel), and the coordinate system, by its
    /// number where both name one, by all its keys where neither does. Ground control points and rational polynomials,
    /// which place no grid, must be equal. That one has a place on Earth and the other none is a difference, too.
    pub fn grid_difference(&self, other: &RasterInfo) -> Option<String> {
        if (self.width, self.height) != (other.width, other.height) {
            let (a, b) = ((self.width, self.height), (other.width, other.height));
            return Some(format!("sizes of {}x{} and {}x{}", a.0, a.1, b.0, b.1));
        }
        if self.is_placed() != other.is_placed() {
            return Some("one has a place on Earth, the other none".to_owned());
        }
        match (self.coordinate_system(), other.coordinate_system()) {
            (Some(USER_DEFINED), Some(USER_DEFINED)) if self.geo_keys() != other.geo_keys() => {
                return Some("coordinate systems that differ in their keys".to_owned());
            }
            (Some(a), Some(b)) if a != b && a != USER_DEFINED && b != USER_DEFINED => {
                return Some(format!("coordinate systems EPSG:{a} and EPSG:{b}"));
            }
            _ => {}
        }
        let (to_earth, others) = match (self.to_earth(), other.to_earth()) {
            (Some(a), Some(b)) => (a, b),
            (None, None) if self.tag(TIE_POINTS) != other.tag(TIE_POINTS) => {
                return Some("ground control points".to_owned());
            }
            (None, None) if self.tag(RATIONAL) != other.tag(RATIONAL) => {
                return Some("rational polynomial coefficients".to_owned());
            }
            (None, None) => return None,
            _ => return Some("one is placed by a grid, the other by points or polynomials".to_owned()),
        };
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

    /// How many ground control points place it, where they alone do.
    pub fn control_points(&self) -> Option<usize> {
        let points = doubles(self.tag(TIE_POINTS)?).len() / 6;
        (points > 1 && self.to_earth().is_none()).then_some(points)
    }

    /// The map from columns and rows, counted from the outer corner of the first pixel, to coordinates.
    fn to_earth(&self) -> Option<[[f64; 3]; 2]> {
        let matrix = self.tag(MATRIX).map(doubles).filter(|m| m.len() == 16);
        let [x, y] = match matrix {
            Some(m) => [[m[0], m[1], m[3]], [m[4], m[5], m[7]]],
            None => {
                let (scale, tie) = (doubles(self.tag(PIXEL_SCALE)?), doubles(self.tag(TIE_POINTS)?));
                let ([sx, sy, ..], [i, j, _, x, y, ..]) = (scale.as_slice(), tie.as_slice()) else { return None };
                [[*sx, 0.0, x - i * sx], [0.0, -sy, y + j * sy]]
            }
        };
        // Places of centres: the corner lies half a pixel before.
        let half = if self.geo_key(RASTER_TYPE) == Some(2) { 0.5 } else { 0.0 };
        Some([x, y].map(|row| [row[0], row[1], row[2] - half * (row[0] + row[1])]))
    }

    /// The number of the coordinate system, or the one that says that other keys define it.
    fn coordinate_system(&self) -> Option<u16> {
        self.geo_key(PROJECTED).or(self.geo_key(GEOGRAPHIC))
    }

    /// All keys but texts for people, with the numbers that they stand for, wherever these lie.
    fn geo_keys(&self) -> BTreeMap<u16, Vec<f64>> {
        let doubles = self.tag(GEO_DOUBLES).map(doubles).unwrap_or_default();
        let value = |entry: [u16; 4]| match entry {
            [_, 0, _, value] => vec![value.into()],
            [_, GEO_DOUBLES, count, first] => doubles.iter().skip(first.into()).take(count.into()).copied().collect(),
            [.., count, first] => vec![count.into(), first.into()],
        };
        self.geo_entries()
            .filter(|[key, ..]| *key != RASTER_TYPE && !CITATIONS.contains(key))
            .map(|entry| (entry[0], value(entry)))
            .collect()
    }

    /// The entries of the key directory, behind its head of four numbers: a key, the tag that its value is in (0:
    /// here), how many there are, and the value or where it begins.
    fn geo_entries(&self) -> impl Iterator<Item = [u16; 4]> {
        let bytes = self.tag(GEO_KEYS).map_or(&[][..], |raw| &raw.bytes);
        let entry = |entry: &[u8; 8]| [0, 2, 4, 6].map(|at| u16::from_le_bytes([entry[at], entry[at + 1]]));
        bytes.as_chunks::<8>().0.iter().skip(1).map(entry)
    }

    /// The value of a key that lies in the key directory itself.
    fn geo_key(&self, key: u16) -> Option<u16> {
        self.geo_entries().find(|entry| entry[..2] == [key, 0]).map(|entry| entry[3])
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
    fn systems_of_their_own_are_compared_by_all_their_keys() {
        // A transverse Mercator whose meridian and scale lie among the doubles, with a text that does not count.
        let own = |meridian: f64, text_at: u16| {
            let mut info = placed(4e5, USER_DEFINED, 1);
            let entries = [1, 1, 0, 4, 3072, 0, 1, USER_DEFINED, 3073, 34737, 5, text_at, 3075, 0, 1, 1];
            info.georeference[2] = keys(&[&entries[..], &[3080, 34736, 1, 1]].concat());
            info.georeference.push(tag(GEO_DOUBLES, &[0.9996, meridian]));
            info
        };
        assert_eq!(own(15.0, 0).grid_difference(&own(15.0, 9)), None);
        assert!(own(15.0, 0).grid_difference(&own(16.0, 0)).unwrap().contains("differ in their keys"));
        // One by its number, the other by its keys: they may be the same.
        assert_eq!(own(15.0, 0).grid_difference(&placed(4e5, 32633, 1)), None);
    }

    #[test]
    fn what_differs_is_said() {
        let one = placed(4e5, 32633, 1);
        let difference = |other: RasterInfo| one.grid_difference(&other).unwrap();
        assert_eq!(difference(placed(4e5 + 10.0, 32633, 1)), "places on Earth, by 1.00 pixels");
        assert_eq!(difference(placed(4e5, 3395, 1)), "coordinate systems EPSG:32633 and EPSG:3395");
        assert!(difference(raster(vec![])).contains("the other none"));
        let points =
            |x: f64| raster(vec![tag(TIE_POINTS, &[0.0, 0.0, 0.0, x, 5e6, 0.0, 9.0, 9.0, 0.0, 4e5, 4e6, 0.0])]);
        assert_eq!((points(4e5).control_points(), one.control_points()), (Some(2), None));
        assert_eq!(points(4e5).grid_difference(&points(4e5)), None);
        assert_eq!(points(4e5).grid_difference(&points(3e5)).unwrap(), "ground control points");
        assert!(points(4e5).grid_difference(&one).unwrap().contains("by a grid"));
        let rational = |offset: f64| raster(vec![tag(RATIONAL, &[offset; 92])]);
        assert_eq!(rational(1.0).grid_difference(&rational(2.0)).unwrap(), "rational polynomial coefficients");
        assert_eq!(rational(1.0).grid_difference(&rational(1.0)), None);
        let larger = RasterInfo { width: 101, ..placed(4e5, 32633, 1) };
        assert_eq!(difference(larger), "sizes of 100x50 and 101x50");
    }
}
