//! An image through a network from top to bottom, in one panel or in several next to each other.

use crate::error::{Error, Result};
use crate::imaging::pixels::{Area, Pixels};
use crate::paint::painter::{Framing, Look, Painter, RowPainter};
use crate::paint::plan::Tiling;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

/// How an image is cut for a network that takes it by rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Strips {
    /// Width and height.
    size: [usize; 2],
    stride: usize,
    /// Columns and rows beyond which nothing changes a pixel, a multiple of the stride.
    overlap: usize,
    /// Columns that are painted from top to bottom before the next ones.
    panel: usize,
    /// Rows that are read at a time, a multiple of the stride.
    rows: usize,
    align: usize,
}

/// What is read at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    /// What is read of the image.
    pub source: Area,
    /// Columns that are painted of the panel.
    target: Range<usize>,
}

impl Strips {
    /// The strips of an image of a width and a height, of which neither is zero.
    pub fn new(framing: Framing, size: [usize; 2], tiling: &Tiling, rows: usize) -> Self {
        let whole = |pixels: usize| pixels.max(1).next_multiple_of(framing.stride);
        let &Tiling { overlap, panel, align, .. } = tiling;
        Strips { size, stride: framing.stride, overlap, panel: panel.min(size[0]), rows: whole(rows), align }
    }

    /// The strips in the order in which they are painted: panel by panel, each from the top.
    pub fn strips(&self) -> Vec<Strip> {
        let [width, height] = self.size;
        let panels = (0..width).step_by(self.panel).map(|left| left..width.min(left + self.panel));
        panels
            .flat_map(|target| {
                let columns = target.start.saturating_sub(self.overlap)..width.min(target.end + self.overlap);
                let rows = (0..height).step_by(self.rows).map(|top| top..height.min(top + self.rows));
                rows.map(move |rows| Strip { source: Area::of(columns.clone(), rows), target: target.clone() })
            })
            .collect()
    }

    /// Columns that go through the network over those of the image: how much work is done for each pixel.
    pub fn redundancy(&self) -> f64 {
        let read: usize = self.strips().iter().map(|strip| strip.source.width * strip.source.height).sum();
        read as f64 / (self.size[0] * self.size[1]) as f64
    }
}

/// A network on its way down a panel.
struct Descent<'a> {
    painter: Box<dyn RowPainter + 'a>,
    /// The row of the image that it has painted up to.
    painted: usize,
}

/// What paints the strips of an image, one after the other.
pub struct StripPainter<'a> {
    painter: &'a dyn Painter,
    plan: &'a Strips,
    look: Look,
    uncertainty: bool,
    /// Values a pixel.
    bands: usize,
    descent: Option<Descent<'a>>,
    /// Strips without data since the last with some, as many as are within the network's reach: with them it starts
    /// anew where there is data again.
    blank: VecDeque<Pixels>,
    /// Where the last strip with data ends.
    data_end: usize,
    /// The rows of the panel from `done` on: painted values, and which pixels have data.
    rows: Vec<f32>,
    valid: Vec<bool>,
    done: usize,
}

impl<'a> StripPainter<'a> {
    /// For an image, `bands` values a pixel out; with `uncertainty` the last of them says how unsure the network is.
    pub fn new(painter: &'a dyn Painter, plan: &'a Strips, look: Look, uncertainty: bool) -> Self {
        StripPainter {
            painter,
            plan,
            look,
            uncertainty,
            bands: painter.bands() + usize::from(uncertainty),
            descent: None,
            blank: VecDeque::new(),
            data_end: 0,
            rows: Vec::new(),
            valid: Vec::new(),
            done: 0,
        }
    }

    /// Paints a strip and hands out to `finished` what is finished with it, whole blocks of rows, and which of it has
    /// data. `source` are the pixels of the strip's source, and `valid` says which of them have data. Where a panel has
    /// none over more rows than the network reaches, it is not painted: zeros.
    ///
    /// # Errors
    /// Those of the network and of `finished`.
    pub fn paint(
        &mut self,
        strip: &Strip,
        source: Pixels,
        valid: Option<&[bool]>,
        mut finished: impl FnMut(Area, Pixels, Option<Vec<bool>>) -> Result<()>,
    ) -> Result<()> {
        let (area, height) = (strip.source, self.plan.size[1]);
        if area.y == 0 {
            (self.descent, self.data_end, self.done) = (None, 0, 0);
            self.blank.clear();
        }
        let end = area.rows().end;
        if let Some(valid) = valid {
            let inner = strip.target.start - area.x..strip.target.end - area.x;
            self.valid.extend(valid.chunks_exact(area.width).flat_map(|row| &row[inner.clone()]));
        }
        self.rows.resize((end - self.done) * strip.target.len() * self.bands, 0.0);
        let empty = valid.is_some_and(|valid| !valid.contains(&true));
        if empty && self.descent.as_ref().is_none_or(|descent| descent.painted >= self.data_end) {
            // What has data is painted.
            self.descent = None;
        } else if empty {
            self.descend(strip, area.y, &source)?;
        } else {
            let blank = std::mem::take(&mut self.blank);
            if self.descent.is_none() {
                let mut top = area.y - blank.iter().map(|pixels| pixels.height).sum::<usize>();
                for pixels in &blank {
                    self.descend(strip, top, pixels)?;
                    top += pixels.height;
                }
            }
            self.descend(strip, area.y, &source)?;
            self.data_end = end;
        }
        if empty {
            self.blank.push_back(source);
            if self.blank.len() > self.plan.overlap.div_ceil(self.plan.rows) {
                self.blank.pop_front();
            }
        }
        let painted = match &self.descent {
            _ if end == height => end,
            Some(descent) => descent.painted.min(end),
            // Rows that a descent from here on may still need stay blank anyway.
            None => end,
        };
        let end = if painted == height { height } else { painted / self.plan.align * self.plan.align };
        if end <= self.done {
            return Ok(());
        }
        let (rows, width) = (end - self.done, strip.target.len());
        let rest = self.rows.split_off(rows * width * self.bands);
        let values = std::mem::replace(&mut self.rows, rest);
        let mask = valid.is_some().then(|| {
            let rest = self.valid.split_off(rows * width);
            std::mem::replace(&mut self.valid, rest)
        });
        let area = Area::of(strip.target.clone(), self.done..end);
        self.done = end;
        finished(area, Pixels { width, height: rows, bands: self.bands, values }, mask)
    }

    /// Lets the network see the next rows, from row `top` of the image on.
    fn descend(&mut self, strip: &Strip, top: usize, pixels: &Pixels) -> Result<()> {
        let (height, full) = (self.plan.size[1], self.plan.size[1].next_multiple_of(self.plan.stride));
        let end = top + pixels.height;
        if self.descent.is_none() {
            let size = [full - top, pixels.width.next_multiple_of(self.plan.stride)];
            let rows = self.painter.by_rows(size, self.plan.rows, &self.look, self.uncertainty)?;
            let none = || Error::failed("the network does not go by rows", self.painter.name(), "report this as a bug");
            self.descent = Some(Descent { painter: rows.ok_or_else(none)?, painted: top });
        }
        let Some(descent) = &mut self.descent else { return Ok(()) };
        let missing = if end == height { full - height } else { 0 };
        let source = continued(pixels, self.plan.stride, missing).to_tensor(self.painter.device())?;
        let (width, left) = (strip.target.len(), strip.target.start - strip.source.x);
        for painted in descent.painter.push(&source)? {
            let [_, rows, columns, _] = painted.nhwc()?;
            for (i, row) in painted.to_vec()?.chunks_exact(columns * self.bands).enumerate() {
                let y = descent.painted + i;
                // Rows that have been handed out were blank, rows behind the image are none.
                if y >= self.done && y < height {
                    let to = &mut self.rows[(y - self.done) * width * self.bands..][..width * self.bands];
                    to.copy_from_slice(&row[left * self.bands..][..width * self.bands]);
                }
            }
            descent.painted += rows;
        }
        Ok(())
    }
}

/// Rows of an image, continued by its edge at the right to a multiple of the stride, and below by some rows.
pub(super) fn continued(pixels: &Pixels, stride: usize, below: usize) -> Cow<'_, Pixels> {
    let &Pixels { width, height, bands, ref values } = pixels;
    let wide = width.next_multiple_of(stride);
    if (wide, below) == (width, 0) {
        return Cow::Borrowed(pixels);
    }
    let mut all = Vec::with_capacity(wide * (height + below) * bands);
    for row in values.chunks_exact(width * bands) {
        all.extend_from_slice(row);
        (width..wide).for_each(|_| all.extend_from_slice(&row[(width - 1) * bands..]));
    }
    let last = all.len() - wide * bands;
    (0..below).for_each(|_| all.extend_from_within(last..last + wide * bands));
    Cow::Owned(Pixels { width: wide, height: height + below, bands, values: all })
}
