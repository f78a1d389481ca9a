//! Which way up an image is stored (TIFF tag 274, EXIF orientation), and how it is turned upright.
//!
//! Sources: TIFF 6.0 (Adobe, 1992), page 36; EXIF 2.32, section 4.6.4.

use std::io::Cursor;

use crate::imaging::pixels::Area;
use crate::imaging::raster::ifd::Tiff;

/// The number of the tag.
pub(in crate::imaging) const ORIENTATION: u16 = 274;

/// Which way up an image is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::imaging) struct Orientation {
    /// Rows are stored as columns.
    transposed: bool,
    /// Of what is stored, the last column comes first.
    from_right: bool,
    /// Of what is stored, the last row comes first.
    from_bottom: bool,
}

impl Orientation {
    /// The orientation of a tag's value; one that does not exist is upright, as in libtiff.
    pub fn of(tag: u64) -> Self {
        Orientation {
            transposed: (5..=8).contains(&tag),
            from_right: matches!(tag, 2 | 3 | 7 | 8),
            from_bottom: matches!(tag, 3 | 4 | 6 | 7),
        }
    }

    /// The orientation that an EXIF block says, which is a small TIFF file; upright where it says none or is damaged.
    pub fn of_exif(block: &[u8]) -> Self {
        let tag = Tiff::new(Cursor::new(block)).and_then(|mut tiff| match tiff.directories.is_empty() {
            true => Ok(1),
            false => tiff.first(0, ORIENTATION, 1),
        });
        Self::of(tag.unwrap_or(1))
    }

    /// Whether nothing is to be turned.
    pub fn is_upright(self) -> bool {
        self == Self::default()
    }

    /// Width and height once upright of those stored, and the other way round.
    pub fn size(self, [width, height]: [usize; 2]) -> [usize; 2] {
        if self.transposed { [height, width] } else { [width, height] }
    }

    /// Where an area of the upright image is stored, in an image of `[width, height]` as stored.
    pub fn stored(self, area: Area, [width, height]: [usize; 2]) -> Area {
        let Area { x, y, width: across, height: down } = area;
        let (x, y, across, down) = if self.transposed { (y, x, down, across) } else { (x, y, across, down) };
        Area {
            x: if self.from_right { width - x - across } else { x },
            y: if self.from_bottom { height - y - down } else { y },
            width: across,
            height: down,
        }
    }

    /// Where a stored area lies in the upright image: the other way round of [`Orientation::stored`].
    pub fn upright(self, stored: Area, [width, height]: [usize; 2]) -> Area {
        let Area { x, y, width: across, height: down } = stored;
        let x = if self.from_right { width - x - across } else { x };
        let y = if self.from_bottom { height - y - down } else { y };
        let (x, y, across, down) = if self.transposed { (y, x, down, across) } else { (x, y, across, down) };
        Area { x, y, width: across, height: down }
    }

    /// `[height, width, bands]` as stored, turned upright.
    pub fn turn<T: Copy>(self, stored: Vec<T>, [width, height]: [usize; 2], bands: usize) -> Vec<T> {
        if self.is_upright() {
            return stored;
        }
        let [across, down] = self.size([width, height]);
        let mut upright = Vec::with_capacity(stored.len());
        for y in 0..down {
            for x in 0..across {
                let at = self.stored(Area { x, y, width: 1, height: 1 }, [width, height]);
                upright.extend_from_slice(&stored[(at.y * width + at.x) * bands..][..bands]);
            }
        }
        upright
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `PIL.ImageOps.exif_transpose` makes of a 3x2 image with the samples 1 to 6.
    #[test]
    fn all_eight_ways_are_turned_upright() {
        for (tag, size, upright) in [
            (1, [3, 2], [1, 2, 3, 4, 5, 6]),
            (2, [3, 2], [3, 2, 1, 6, 5, 4]),
            (3, [3, 2], [6, 5, 4, 3, 2, 1]),
            (4, [3, 2], [4, 5, 6, 1, 2, 3]),
            (5, [2, 3], [1, 4, 2, 5, 3, 6]),
            (6, [2, 3], [4, 1, 5, 2, 6, 3]),
            (7, [2, 3], [6, 3, 5, 2, 4, 1]),
            (8, [2, 3], [3, 6, 2, 5, 1, 4]),
            (0, [3, 2], [1, 2, 3, 4, 5, 6]),
            (9, [3, 2], [1, 2, 3, 4, 5, 6]),
        ] {
            let way = Orientation::of(tag);
            assert_eq!(way.turn(vec![1, 2, 3, 4, 5, 6], [3, 2], 1), upright, "{tag}");
            assert_eq!(way.size([3, 2]), size, "{tag}");
            let area = Area { x: 1, y: 0, width: 1, height: 2 };
            assert_eq!(way.upright(way.stored(area, [3, 2]), [3, 2]), area, "{tag}");
        }
        assert_eq!(Orientation::of(6).turn(vec![1, 2, 3, 4], [2, 1], 2), [1, 2, 3, 4]);
    }

    #[test]
    fn exif_is_read_and_what_is_damaged_says_nothing() {
        let block = |way: u8| {
            let mut bytes = b"MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
            bytes[19] = way;
            bytes
        };
        assert_eq!(Orientation::of_exif(&block(6)), Orientation::of(6));
        assert!(Orientation::of_exif(&block(1)).is_upright());
        assert!((0..20).all(|end| Orientation::of_exif(&block(6)[..end]).is_upright()));
    }
}
