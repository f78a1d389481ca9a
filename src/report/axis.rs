//! Axes of charts: where a value lies, and the round values that are marked.

use crate::report::numbers::{number, round_to};

/// The scale of the y axis that a chart opens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AxisScale {
    /// Equal distances are equal differences.
    #[default]
    Linear,
    /// Equal distances are equal ratios.
    Log,
}

/// The least and the greatest of some values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub low: f64,
    pub high: f64,
}

impl Range {
    /// That of `values`; `None` where there are none.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Range> {
        values.fold(None, |range, value| {
            let Range { low, high } = range.unwrap_or(Range { low: value, high: value });
            Some(Range { low: low.min(value), high: high.max(value) })
        })
    }
}

/// A range of values laid out from 0 to 1.
pub(super) struct Axis {
    range: Range,
    scale: AxisScale,
}

impl Axis {
    /// An axis over `range`; a range of one value is widened so that the value stands in the middle.
    pub fn new(range: Range, scale: AxisScale) -> Axis {
        let Range { low, high } = range;
        let range = match scale {
            _ if low < high => range,
            AxisScale::Linear if low == 0.0 => Range { low: -1.0, high: 1.0 },
            // As wide as the value, so that its digits can be read.
            AxisScale::Linear => Range { low: low - low.abs() * 0.5, high: high + high.abs() * 0.5 },
            AxisScale::Log => Range { low: low / 2.0, high: high * 2.0 },
        };
        Axis { range, scale }
    }

    /// Where a value lies, 0 at the low end and 1 at the high one.
    pub fn place(&self, value: f64) -> f64 {
        let Range { low, high } = self.range;
        match self.scale {
            AxisScale::Linear => (value - low) / (high - low),
            AxisScale::Log => (value / low).ln() / (high / low).ln(),
        }
    }

    /// About `count` round values within the range, with their texts.
    pub fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let Range { low, high } = self.range;
        let decades = if self.scale == AxisScale::Log { (high / low).log10() } else { 0.0 };
        let values = if decades >= 1.0 { log_ticks(low, high, decades, count) } else { linear_ticks(low, high, count) };
        values.into_iter().map(|value| (value, number(value))).collect()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let rough = (high - low) / count as f64;
    let power = 10f64.powi(rough.log10().floor() as i32);
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| m * power >= 0.999 * rough).unwrap_or(10.0) * power;
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|i| round_to(i as f64 * step, 12)).collect()
}

/// Powers of ten, with 2 and 5 times them between when there are few.
fn log_ticks(low: f64, high: f64, decades: f64, count: usize) -> Vec<f64> {
    let every = ((decades / count as f64).ceil() as i32).max(1);
    let factors: &[f64] = if decades * 2.0 > count as f64 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let exponents = (low.log10().floor() as i32..=high.log10().ceil() as i32).filter(|e| e % every == 0);
    let values = exponents.flat_map(|e| factors.iter().map(move |factor| round_to(factor * 10f64.powi(e), 12)));
    values.filter(|value| (low * 0.999..=high * 1.001).contains(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(low: f64, high: f64, scale: AxisScale) -> Vec<String> {
        Axis::new(Range { low, high }, scale).ticks(5).into_iter().map(|tick| tick.1).collect()
    }

    #[test]
    fn ticks_are_round_and_within_the_range() {
        assert_eq!(texts(0.0, 5.5, AxisScale::Linear), ["0", "2", "4"]);
        assert_eq!(texts(1.0, 600.0, AxisScale::Linear), ["200", "400", "600"]);
        assert_eq!(texts(-0.3, 0.3, AxisScale::Linear), ["−0.2", "0", "0.2"]);
        assert_eq!(texts(1.8, 6.0, AxisScale::Log), ["2", "3", "4", "5", "6"]);
        assert_eq!(texts(0.03, 2.0, AxisScale::Log), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(texts(1e-9, 1e3, AxisScale::Log), ["10⁻⁹", "10⁻⁶", "0.001", "1", "1\u{202f}000"]);
    }

    #[test]
    fn the_axis_of_one_value_marks_it() {
        let ticks = Axis::new(Range { low: 1e-4, high: 1e-4 }, AxisScale::Linear).ticks(5);
        assert_eq!(ticks.iter().map(|tick| tick.0).collect::<Vec<_>>(), [6e-5, 8e-5, 1e-4, 1.2e-4, 1.4e-4]);
        assert_eq!(texts(-3.0, -3.0, AxisScale::Linear), ["−4", "−3", "−2"]);
        assert_eq!(texts(0.0, 0.0, AxisScale::Linear), ["−1", "−0.5", "0", "0.5", "1"]);
    }

    #[test]
    fn a_single_value_stands_in_the_middle_of_its_axis() {
        for scale in [AxisScale::Linear, AxisScale::Log] {
            let axis = Axis::new(Range { low: 3.0, high: 3.0 }, scale);
            assert!((axis.place(3.0) - 0.5).abs() < 1e-12);
            assert!(!axis.ticks(5).is_empty());
        }
    }
}
