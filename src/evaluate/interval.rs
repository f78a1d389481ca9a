//! How sure a mean is: the bootstrap.

use crate::random::{Rng, Stream};

/// Samples that are drawn. The ends of the interval are the 51st of each side.
const DRAWN: usize = 2000;

/// The 95 % interval of the mean of `values` by the percentile bootstrap (Efron, 1979): means of samples as large as
/// they are, drawn from them with replacement, the same ones every time. `None` of fewer than two values, and where one
/// is not finite.
pub fn interval_of_mean(values: &[f64]) -> Option<[f64; 2]> {
    let count = values.len();
    if count < 2 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mean = |sample: usize| {
        let rng = Rng::new(0, Stream::Bootstrap, sample as u32);
        (0..count as u64).map(|i| values[rng.below(i, count)]).sum::<f64>() / count as f64
    };
    let mut means: Vec<f64> = (0..DRAWN).map(mean).collect();
    means.sort_by(f64::total_cmp);
    let outside = DRAWN / 40;
    Some([means[outside], means[DRAWN - 1 - outside]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn the_interval_is_that_of_the_normal_distribution_where_there_are_many_values() {
        let rng = Rng::new(3, Stream::Test, 0);
        let values: Vec<f64> = (0..400).map(|i| 5.0 + f64::from(rng.uniform(i))).collect();
        let mean = values.iter().sum::<f64>() / 400.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 400.0;
        let half = 1.96 * (variance / 400.0).sqrt();
        let [low, high] = interval_of_mean(&values).unwrap();
        // A percentile of 2000 samples is off by some 3 % of the interval.
        assert_abs_diff_eq!(low, mean - half, epsilon = 0.15 * half);
        assert_abs_diff_eq!(high, mean + half, epsilon = 0.15 * half);
        assert_eq!(interval_of_mean(&values), Some([low, high]));
    }

    #[test]
    fn equal_values_leave_no_doubt_and_one_value_tells_nothing() {
        assert_eq!(interval_of_mean(&[0.5; 7]), Some([0.5; 2]));
        assert_eq!(interval_of_mean(&[0.5]), None);
        assert_eq!(interval_of_mean(&[0.5, f64::NAN]), None);
        let [low, high] = interval_of_mean(&[-1.0, 1.0, -1.0, 1.0]).unwrap();
        assert!(low < 0.0 && high > 0.0);
    }
}
