//! Values of an image on the host, rectangles of it, and how it is continued beyond its border.

use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use std::ops::Range;

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Area {
    /// Left column.
    pub x: usize,
    /// Top row.
    pub y: usize,
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
}

impl Area {
    /// Some columns of some rows.
    pub fn of(columns: Range<usize>, rows: Range<usize>) -> Self {
        Area { x: columns.start, y: rows.start, width: columns.len(), height: rows.len() }
    }

    /// Its columns.
    pub fn columns(&self) -> Range<usize> {
        self.x..self.x + self.width
    }

    /// Its rows.
    pub fn rows(&self) -> Range<usize> {
        self.y..self.y + self.height
    }
}

/// Values of an image on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Values a pixel.
    pub bands: usize,
    /// `[height, width, bands]`.
    pub values: Vec<f32>,
}

impl Pixels {
    /// Black ones.
    pub fn new(width: usize, height: usize, bands: usize) -> Self {
        Pixels { width, height, bands, values: vec![0.0; width * height * bands] }
    }

    /// Pixels across and down.
    pub fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// Those of an area.
    ///
    /// # Panics
    /// If it leaves the image.
    pub fn part(&self, area: Area) -> Pixels {
        let mut values = Vec::with_capacity(area.width * area.height * self.bands);
        for y in area.rows() {
            values.extend_from_slice(&self.values[(y * self.width + area.x) * self.bands..][..area.width * self.bands]);
        }
        Pixels { width: area.width, height: area.height, bands: self.bands, values }
    }

    /// Puts `part` with its upper left corner at (`x`, `y`).
    ///
    /// # Panics
    /// If it leaves the image or has other bands.
    pub fn put(&mut self, [x, y]: [usize; 2], part: &Pixels) {
        assert_eq!(self.bands, part.bands);
        let row = part.width * part.bands;
        for (i, line) in part.values.chunks_exact(row.max(1)).enumerate() {
            self.values[((y + i) * self.width + x) * self.bands..][..row].copy_from_slice(line);
        }
    }

    /// A batch of this one image on a device, `[1, height, width, bands]`.
    ///
    /// # Errors
    /// Memory.
    pub fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        Tensor::new(device, &[1, self.height, self.width, self.bands], &self.values)
    }
}

/// The place within 0..`len` that a place outside mirrors, the border itself not repeated: -1 is 1.
pub fn mirrored(place: isize, len: usize) -> usize {
    if len == 1 {
        return 0;
    }
    let period = 2 * (len as isize - 1);
    let place = place.rem_euclid(period);
    place.min(period - place) as usize
}
