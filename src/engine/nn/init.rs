//! Initial values of parameters.

use crate::random::{Rng, Stream};

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Truncated normal of variance 2 / fan_in (He et al., "Delving Deep into Rectifiers", ICCV 2015), cut at two
    /// standard deviations and widened so that the variance holds after the cut, as Keras' `he_normal` is.
    HeNormal {
        /// Inputs that one output sums over: kh * kw * c_in for a convolution.
        fan_in: usize,
    },
    /// Normal of mean 0 and this standard deviation.
    Normal(f32),
    /// One value throughout.
    Constant(f32),
}

/// The standard deviation that a standard normal keeps when cut at +-2.
const TRUNCATED_STD: f32 = 0.879_625_6;

impl Init {
    /// `len` values for the parameter with this number in its model.
    pub fn values(&self, seed: u64, number: u32, len: usize) -> Vec<f32> {
        let rng = Rng::new(seed, Stream::Init, number);
        match *self {
            Init::Constant(value) => vec![value; len],
            Init::Normal(std) => (0..len as u64).map(|i| std * rng.normal(i)).collect(),
            Init::HeNormal { fan_in } => {
                let std = (2.0 / fan_in as f32).sqrt() / TRUNCATED_STD;
                (0..len as u64).map(|i| std * truncated(&rng, i, len as u64)).collect()
            }
        }
    }
}

/// Standard normal within +-2: draws outside are drawn again from counters beyond the parameter's own.
fn truncated(rng: &Rng, index: u64, len: u64) -> f32 {
    let mut at = index;
    loop {
        let z = rng.normal(at);
        if z.abs() <= 2.0 {
            return z;
        }
        at += len.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::abs_diff_eq;

    #[test]
    fn he_normal_has_its_variance_and_its_cut() {
        let n = 200_000;
        let values = Init::HeNormal { fan_in: 8 }.values(0, 1, n);
        let var = values.iter().map(|v| f64::from(v * v)).sum::<f64>() / n as f64;
        // Five standard errors of a variance of about 0.25.
        assert!(abs_diff_eq!(var, 0.25, epsilon = 5.0 * 0.25 * (2.0 / n as f64).sqrt()), "{var}");
        assert!(values.iter().all(|v| v.abs() <= 2.0 * 0.5 / TRUNCATED_STD + 1e-6));
    }

    #[test]
    fn two_parameters_start_differently_and_each_the_same_every_time() {
        let init = Init::Normal(1.0);
        assert_eq!(init.values(3, 1, 9), init.values(3, 1, 9));
        assert_ne!(init.values(3, 1, 9), init.values(3, 2, 9));
    }
}
