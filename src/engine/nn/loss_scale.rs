//! The factor of a loss whose gradients pass through f16.
//!
//! Gradients of later layers are small: as f16 many are zero. The loss is multiplied by a power of two before its
//! gradients are taken, and they are divided by it after, exactly (Micikevicius et al., "Mixed Precision Training",
//! ICLR 2018). The factor follows what it meets: where a gradient is infinite or NaN the update is left out and the
//! factor halved, and after many updates without one it is doubled.

use crate::error::{Error, Result};

/// The factor at the start.
const FIRST: f32 = 65_536.0;
/// Where gradients are not finite with this one they are not for want of range.
const LEAST: f32 = 1.0 / 1024.0;
/// Beyond this one nothing is gained.
const MOST: f32 = 16_777_216.0;
/// Updates without a gradient that is not finite after which the factor is doubled.
const DOUBLES_AFTER: u32 = 1000;

/// The factor of a loss, and what it has met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LossScale {
    /// A power of two.
    pub factor: f32,
    /// Updates since the factor changed.
    pub good: u32,
}

impl LossScale {
    pub fn new() -> Self {
        LossScale { factor: FIRST, good: 0 }
    }

    /// What a checkpoint keeps.
    pub fn state(self) -> Vec<f32> {
        // A count below 2^24: exact.
        vec![self.factor, self.good as f32]
    }

    /// From what a checkpoint has kept; the start where that makes no sense.
    pub fn of(state: &[f32]) -> Self {
        match *state {
            [factor, good] if (LEAST..=MOST).contains(&factor) && (0.0..=DOUBLES_AFTER as f32).contains(&good) => {
                LossScale { factor, good: good as u32 }
            }
            _ => LossScale::new(),
        }
    }

    /// After gradients that were all finite, or were not.
    ///
    /// # Errors
    /// Gradients that are not finite with the least factor.
    pub fn after(self, finite: bool) -> Result<Self> {
        if !finite {
            let remedy = "lower ⟨lr⟩, check the data, or use ⟨precision⟩ f32";
            let can_halve = self.factor > LEAST;
            crate::ensure!(
                can_halve,
                Error::failed("gradients are not finite", format!("loss scale {}", self.factor), remedy)
            );
            return Ok(LossScale { factor: self.factor / 2.0, good: 0 });
        }
        Ok(match self.good + 1 {
            DOUBLES_AFTER => LossScale { factor: (2.0 * self.factor).min(MOST), good: 0 },
            good => LossScale { good, ..self },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_halves_doubles_and_ends_a_training_that_cannot_go_on() {
        let start = LossScale::new();
        let halved = start.after(true).unwrap().after(false).unwrap();
        assert_eq!(halved, LossScale { factor: FIRST / 2.0, good: 0 });
        let good = (1..DOUBLES_AFTER).fold(halved, |scale, _| scale.after(true).unwrap());
        assert_eq!(good, LossScale { factor: FIRST / 2.0, good: DOUBLES_AFTER - 1 });
        assert_eq!(good.after(true).unwrap(), start);
        assert_eq!(LossScale { factor: MOST, good: DOUBLES_AFTER - 1 }.after(true).unwrap().factor, MOST);
        let mut scale = start;
        let error = loop {
            match scale.after(false) {
                Ok(next) => scale = next,
                Err(error) => break error,
            }
        };
        assert!(scale.factor == LEAST && error.exit_code() == 1, "{error}");
    }

    #[test]
    fn a_checkpoint_keeps_it() {
        let scale = LossScale { factor: 1024.0, good: 17 };
        assert_eq!(LossScale::of(&scale.state()), scale);
        for nonsense in [&[][..], &[1024.0], &[f32::NAN, 0.0], &[0.0, 0.0], &[1024.0, -1.0]] {
            assert_eq!(LossScale::of(nonsense), LossScale::new(), "{nonsense:?}");
        }
    }
}
