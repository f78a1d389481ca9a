//! The rows of one image that a layer still needs, where they come some at a time.

use crate::engine::device::{Device, VIEW_ALIGN};
use crate::engine::ops::concat::below;
use crate::engine::ops::pad::{Slice, place};
use crate::engine::tape::Tape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// Rows of one image that come some at a time, as far as they are still needed.
#[derive(Debug, Default)]
pub struct Window {
    kept: Option<Tensor>,
    first: usize,
    end: usize,
}

impl Window {
    /// How many rows have come.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Takes the next rows `[1, h, W, C]`.
    ///
    /// # Errors
    /// Rows of another size, and whatever a launch reports.
    pub fn push(&mut self, rows: Tensor) -> Result<()> {
        self.end += rows.nhwc()?[1];
        self.kept = Some(match self.kept.take() {
            Some(kept) => below(&kept, &rows)?,
            None => rows,
        });
        Ok(())
    }

    /// Takes the next rows `[1, h, W, C]` as `write` writes them: without a copy where those that are kept end at a
    /// place at which a part may begin. Rows are as wide and as deep as those before them.
    ///
    /// # Errors
    /// Those of `write`, and whatever a launch reports.
    pub fn push_written(
        &mut self,
        device: &Device,
        shape: [usize; 4],
        write: impl FnOnce(&Tensor) -> Result<()>,
    ) -> Result<()> {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.len());
        if !kept.is_multiple_of(VIEW_ALIGN) {
            let rows = Tensor::empty(device, &shape)?;
            write(&rows)?;
            return self.push(rows);
        }
        let [one, rows, width, channels] = shape;
        let all = Tensor::empty(device, &[one, self.end - self.first + rows, width, channels])?;
        if let Some(kept) = self.kept.take() {
            place(&kept, [0; 3], &all.part(0, kept.shape())?)?;
        }
        write(&all.part(kept, &shape)?)?;
        self.kept = Some(all);
        self.end += rows;
        Ok(())
    }

    /// Rows `first` to `end`, counted from the top of the image.
    ///
    /// # Errors
    /// Rows that are gone or have not come, and whatever a launch reports.
    pub fn rows(&self, first: usize, end: usize) -> Result<Tensor> {
        let kept = self.kept.as_ref().filter(|_| self.first <= first && first < end && end <= self.end);
        let gone = || Error::failed("rows of an image are asked for that are gone", "a window", "report this as a bug");
        some_rows(kept.ok_or_else(gone)?, first - self.first, end - first)
    }

    /// Lets go of the rows before `first`.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn forget(&mut self, first: usize) -> Result<()> {
        if first >= self.end {
            self.kept = None;
        } else if first > self.first && self.kept.is_some() {
            // A copy: a part would hold the memory of all.
            let kept = self.rows(first, self.end)?;
            let [_, _, width, channels] = kept.nhwc()?;
            let tape = Tape::inference();
            let size = [self.end - first, width, channels];
            self.kept = Some(tape.apply(Slice { first: [0; 3], size }, &[&tape.constant(kept)])?.value().clone());
        }
        // What has not come is not kept yet.
        self.first = self.first.max(first.min(self.end));
        Ok(())
    }
}

/// Some rows of each image `[N, H, W, C]`.
///
/// # Errors
/// Rows beyond its last, and whatever a launch reports.
pub fn some_rows(image: &Tensor, first: usize, count: usize) -> Result<Tensor> {
    let [n, height, width, channels] = image.nhwc()?;
    if (first, count) == (0, height) {
        return Ok(image.clone());
    }
    let (offset, shape) = (first * width * channels, [1, count, width, channels]);
    if n == 1 && offset.is_multiple_of(VIEW_ALIGN) {
        return image.part(offset, &shape);
    }
    let tape = Tape::inference();
    let slice = Slice { first: [first, 0, 0], size: [count, width, channels] };
    Ok(tape.apply(slice, &[&tape.constant(image.clone())])?.value().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::seeded::seeded;

    #[test]
    fn rows_that_are_gone_or_have_not_come_are_an_error() {
        let mut window = Window::default();
        window.push(seeded(&Device::cpu(), &[1, 5, 3, 2], 1).unwrap()).unwrap();
        window.forget(2).unwrap();
        assert_eq!(window.rows(2, 5).unwrap().shape(), [1, 3, 3, 2]);
        for (first, end) in [(1, 4), (2, 6), (3, 3)] {
            assert!(window.rows(first, end).is_err(), "{first} to {end}");
        }
    }
}
