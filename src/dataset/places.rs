//! Where crops can lie in an image of which some pixels have no data.

use crate::dataset::zero_border::Mask;

/// The places of crops without a gap, by their upper left corners, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    runs: Vec<Run>,
    count: usize,
}

/// Neighbouring places of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    y: usize,
    x: usize,
    len: usize,
    /// Places before it.
    before: usize,
}

impl Places {
    /// Those of crops of `size` in an image whose pixels without data are the bits of `gaps`.
    pub(super) fn new(gaps: &Mask, size: usize) -> Self {
        let [width, height] = gaps.size();
        let (mut runs, mut count): (Vec<Run>, usize) = (Vec::new(), 0);
        // Of each column, how many rows up to the one at hand have data without a break.
        let mut whole = vec![0; width];
        for y in 0..height {
            let mut columns = 0;
            for (x, rows) in whole.iter_mut().enumerate() {
                *rows = if gaps.get(x, y) { 0 } else { *rows + 1 };
                columns = if *rows >= size { columns + 1 } else { 0 };
                if columns < size {
                    continue;
                }
                let (x, y) = (x + 1 - size, y + 1 - size);
                match runs.last_mut().filter(|run| (run.y, run.x + run.len) == (y, x)) {
                    Some(run) => run.len += 1,
                    None => runs.push(Run { y, x, len: 1, before: count }),
                }
                count += 1;
            }
        }
        Places { runs, count }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The place of a number below [`Places::count`]: its column and row.
    pub fn at(&self, number: usize) -> [usize; 2] {
        let run = &self.runs[self.runs.partition_point(|run| run.before <= number) - 1];
        [run.x + number - run.before, run.y]
    }

    /// The place that lies nearest to another, of those equally near the first; that itself where there is none.
    pub fn nearest(&self, [x, y]: [usize; 2]) -> [usize; 2] {
        let of_run = |run: &Run| [x.clamp(run.x, run.x + run.len - 1), run.y];
        let distance = |[a, b]: &[usize; 2]| a.abs_diff(x).pow(2) + b.abs_diff(y).pow(2);
        self.runs.iter().map(of_run).min_by_key(distance).unwrap_or([x, y])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::pixels::Area;

    #[test]
    fn places_are_those_of_crops_without_a_gap() {
        let (size, holes) = ([17, 13], [[3, 4], [9, 9], [16, 0], [0, 12]]);
        let mask = Mask::of(size, &holes);
        for side in [1, 2, 4, 5, 8] {
            let places = Places::new(&mask, side);
            let mut want = Vec::new();
            for y in 0..=size[1] - side {
                for x in 0..=size[0] - side {
                    let area = Area { x, y, width: side, height: side };
                    let within = |[h, v]: &[usize; 2]| area.columns().contains(h) && area.rows().contains(v);
                    if !holes.iter().any(within) {
                        want.push([x, y]);
                    }
                }
            }
            let found: Vec<[usize; 2]> = (0..places.count()).map(|i| places.at(i)).collect();
            assert_eq!(found, want, "{side}");
            for from in [[0, 0], [8, 6], [12, 8], [3, 4]] {
                let far = |[x, y]: [usize; 2]| x.abs_diff(from[0]).pow(2) + y.abs_diff(from[1]).pow(2);
                let near = places.nearest(from);
                assert!(want.contains(&near), "{side}");
                assert_eq!(far(near), want.iter().map(|place| far(*place)).min().unwrap(), "{side}");
            }
        }
        let none = Places::new(&mask, 12);
        assert_eq!((none.count(), none.nearest([2, 1])), (0, [2, 1]));
    }
}
