//! Zeros that mean nothing: the border of radar products, exact zeros that no tag marks.
//!
//! They are found once, as bits of a mask: which pixels are zero in all bands, and which of those are connected with
//! the border of the image, over sides of pixels. A scene of 20,000x20,000 pixels takes 100 MB for it while it is
//! opened, and 50 MB then.

use std::fmt;
use std::str::FromStr;

use crate::imaging::pixels::Area;
use crate::imaging::raster::RasterInfo;

/// What zeros that are connected with the border of an image mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ZeroBorder {
    /// What they say.
    Keep,
    /// No data.
    Nodata,
    /// No data where the file is a radar scene by its looks: in a place on Earth, of one or two bands of floats or
    /// 16 bits, and nothing in it says which pixels have data. A handful of zeros means what it says.
    #[default]
    Auto,
}

/// Zeros that [`ZeroBorder::Auto`] takes for a border, at least.
const LEAST: usize = 64;

impl ZeroBorder {
    /// Whether zeros of such a file are looked for; `marked`: whether something marks its pixels without data.
    pub(super) fn is_sought(self, info: &RasterInfo, marked: bool) -> bool {
        let radar = || {
            let wide = info.sample.is_float() || info.sample.bytes() == 2;
            info.is_placed() && wide && info.bands_without_alpha().count() <= 2 && !marked && info.nodata.is_none()
        };
        match self {
            ZeroBorder::Keep => false,
            ZeroBorder::Nodata => true,
            ZeroBorder::Auto => radar(),
        }
    }

    /// How many zeros must be connected with the border to count.
    pub(super) fn least(self) -> usize {
        if self == ZeroBorder::Auto { LEAST } else { 1 }
    }
}

impl FromStr for ZeroBorder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "keep" => Ok(ZeroBorder::Keep),
            "nodata" => Ok(ZeroBorder::Nodata),
            "auto" => Ok(ZeroBorder::Auto),
            _ => Err("no such meaning of zeros; use keep, nodata or auto".to_owned()),
        }
    }
}

impl fmt::Display for ZeroBorder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            ZeroBorder::Keep => "keep",
            ZeroBorder::Nodata => "nodata",
            ZeroBorder::Auto => "auto",
        })
    }
}

/// A bit for each pixel of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mask {
    width: usize,
    height: usize,
    bits: Vec<u64>,
}

#[cfg(test)]
impl Mask {
    /// A mask of this size with the bits at these places set.
    pub(super) fn of(size: [usize; 2], at: &[[usize; 2]]) -> Mask {
        let mut mask = Mask::new(size);
        at.iter().for_each(|[x, y]| mask.set(*x, *y));
        mask
    }
}

impl Mask {
    /// Of an image of this size, no bit set.
    pub fn new([width, height]: [usize; 2]) -> Self {
        Mask { width, height, bits: vec![0; (width * height).div_ceil(64)] }
    }

    /// Width and height of the image.
    pub fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// The bits that are set in either of two masks of one image.
    pub fn or(mut self, other: &Mask) -> Mask {
        self.bits.iter_mut().zip(&other.bits).for_each(|(word, other)| *word |= other);
        self
    }

    /// Whether the bit of a pixel is set.
    pub fn get(&self, x: usize, y: usize) -> bool {
        let i = y * self.width + x;
        self.bits[i / 64] >> (i % 64) & 1 == 1
    }

    /// Sets the bit of a pixel.
    pub fn set(&mut self, x: usize, y: usize) {
        let i = y * self.width + x;
        self.bits[i / 64] |= 1 << (i % 64);
    }

    /// Bits that are set.
    pub fn count(&self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Takes from `valid`, the pixels of an area, those whose bit is set.
    pub fn hide(&self, area: Area, valid: &mut [bool]) {
        for (row, y) in valid.chunks_exact_mut(area.width.max(1)).zip(area.rows()) {
            row.iter_mut().zip(area.columns()).for_each(|(valid, x)| *valid &= !self.get(x, y));
        }
    }

    /// Those of the bits that are set which are connected with the border, over the sides of pixels.
    pub fn connected_with_border(&self) -> Mask {
        let mut found = Mask::new([self.width, self.height]);
        let (right, bottom) = (self.width.saturating_sub(1), self.height.saturating_sub(1));
        // Runs of a row, each from one pixel of it.
        let mut seeds: Vec<[usize; 2]> = Vec::new();
        let rows = (0..self.height).flat_map(|y| [[0, y], [right, y]]);
        for seed in (0..self.width).flat_map(|x| [[x, 0], [x, bottom]]).chain(rows) {
            if self.bits.is_empty() || !self.get(seed[0], seed[1]) {
                continue;
            }
            seeds.push(seed);
            while let Some([x, y]) = seeds.pop() {
                if found.get(x, y) {
                    continue;
                }
                let first = (0..x).rev().take_while(|x| self.get(*x, y)).last().unwrap_or(x);
                let last = (x..self.width).take_while(|x| self.get(*x, y)).last().unwrap_or(x);
                (first..=last).for_each(|x| found.set(x, y));
                let above = y.checked_sub(1);
                let below = Some(y + 1).filter(|below| *below < self.height);
                for y in above.into_iter().chain(below) {
                    let mut within = false;
                    for x in first..=last {
                        let wanted = self.get(x, y) && !found.get(x, y);
                        if wanted && !within {
                            seeds.push([x, y]);
                        }
                        within = wanted;
                    }
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Rng, Stream};

    fn mask(rows: &[&str]) -> Mask {
        let mut mask = Mask::new([rows[0].len(), rows.len()]);
        for (y, row) in rows.iter().enumerate() {
            (0..row.len()).filter(|x| &row[*x..=*x] == "0").for_each(|x| mask.set(x, y));
        }
        mask
    }

    #[test]
    fn zeros_within_the_image_stay() {
        let zeros = mask(&["0..0...", "00.....", "....0..", ".0.....", "...0000", "...0.00", "...00.0"]);
        let found = zeros.connected_with_border();
        assert_eq!(found, mask(&["0..0...", "00.....", ".......", ".......", "...0000", "...0.00", "...00.0"]));
        assert_eq!(found.count(), 4 + 4 + 3 + 3);
        let spiral = mask(&["000000", ".....0", "0000.0", "0.00.0", "0....0", "000000"]);
        assert_eq!(spiral.connected_with_border(), spiral);
        assert_eq!(mask(&[".....", ".000.", ".0.0.", ".000.", "....."]).connected_with_border().count(), 0);
    }

    #[test]
    fn runs_find_what_a_flood_pixel_by_pixel_finds() {
        for seed in 0..20 {
            let rng = Rng::new(seed, Stream::Test, 0);
            let (width, height) = (1 + rng.below(0, 40), 1 + rng.below(1, 40));
            let mut zeros = Mask::new([width, height]);
            for i in (0..width * height).filter(|i| rng.uniform(*i as u64 + 2) < 0.6) {
                zeros.set(i % width, i / width);
            }
            let mut flood = Mask::new([width, height]);
            let mut changed = true;
            while changed {
                changed = false;
                for (x, y) in (0..width * height).map(|i| (i % width, i / width)) {
                    let border = x == 0 || y == 0 || x + 1 == width || y + 1 == height;
                    let beside = || {
                        x > 0 && flood.get(x - 1, y)
                            || y > 0 && flood.get(x, y - 1)
                            || x + 1 < width && flood.get(x + 1, y)
                            || y + 1 < height && flood.get(x, y + 1)
                    };
                    if zeros.get(x, y) && !flood.get(x, y) && (border || beside()) {
                        flood.set(x, y);
                        changed = true;
                    }
                }
            }
            assert_eq!(zeros.connected_with_border(), flood, "{width}x{height}");
        }
    }

    #[test]
    fn an_area_loses_what_is_hidden() {
        let hidden = mask(&["0...", "00..", "...."]);
        let mut valid = vec![true; 4];
        hidden.hide(Area { x: 1, y: 0, width: 2, height: 2 }, &mut valid);
        assert_eq!(valid, [true, true, false, true]);
    }
}
