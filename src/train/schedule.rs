//! Learning-rate schedules: the rate as a pure function of the step, so that a resumed run needs no state for it.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// How the learning rate changes over a run; the value of `lr-schedule`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LrSchedule {
    /// `constant`: the base rate throughout.
    #[default]
    Constant,
    /// `cosine`: half a cosine from the base rate towards zero (Loshchilov and Hutter, "SGDR", ICLR 2017, eq. 5, one
    /// cycle).
    Cosine,
    /// `linear-after:N`: the base rate up to and including step N, then a straight line towards zero (the schedule of
    /// Isola et al., CVPR 2017).
    LinearAfter(u64),
}

impl LrSchedule {
    /// The learning rate of `step` (from 1) in a run of `total` steps with base rate `base`.
    ///
    /// Step 1 has the base rate (with `linear-after:0` it is the first step of the decay). The decaying schedules would
    /// reach zero one step after the last, so that no step is spent on a rate of zero; steps beyond `total` get zero.
    pub fn lr_at(self, step: u64, total: u64, base: f64) -> f64 {
        let decay = |past: u64, length: u64| (past as f64 / length as f64).min(1.0);
        match self {
            LrSchedule::Constant => base,
            LrSchedule::Cosine => base * 0.5 * (1.0 + (PI * decay(step.saturating_sub(1), total.max(1))).cos()),
            LrSchedule::LinearAfter(hold) if step <= hold => base,
            LrSchedule::LinearAfter(hold) => base * (1.0 - decay(step - hold, total.saturating_sub(hold) + 1)),
        }
    }
}

/// What the learning rate of `step` is multiplied by where it rises to its schedule over the first `steps` updates, by
/// equal amounts: 1 / steps at the first, 1 from the last of them on.
pub fn warm_up(step: u64, steps: u64) -> f64 {
    if step < steps { step as f64 / steps as f64 } else { 1.0 }
}

impl FromStr for LrSchedule {
    type Err = Error;

    /// Reads the text of `lr-schedule`.
    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text {
            "constant" => Some(LrSchedule::Constant),
            "cosine" => Some(LrSchedule::Cosine),
            _ => text.strip_prefix("linear-after:").and_then(|n| n.parse().ok()).map(LrSchedule::LinearAfter),
        };
        parsed.ok_or_else(|| {
            Error::input(
                format!("unknown learning-rate schedule `{text}`"),
                "⟨lr-schedule⟩",
                "use constant, cosine or linear-after:N, where N is the last step at the full rate",
            )
        })
    }
}

impl fmt::Display for LrSchedule {
    /// The text that [`FromStr`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LrSchedule::Constant => f.write_str("constant"),
            LrSchedule::Cosine => f.write_str("cosine"),
            LrSchedule::LinearAfter(hold) => write!(f, "linear-after:{hold}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn every_schedule_reads_back_from_its_own_text() {
        for schedule in [LrSchedule::Constant, LrSchedule::Cosine, LrSchedule::LinearAfter(300)] {
            assert_eq!(schedule.to_string().parse::<LrSchedule>().unwrap(), schedule);
        }
    }

    #[test]
    fn bad_text_is_wrong_input_that_names_the_flag_and_the_choices() {
        for text in ["", "Cosine", "linear-after", "linear-after:", "linear-after:-3", "linear-after:1.5"] {
            let error = text.parse::<LrSchedule>().unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}");
            let line = error.to_string();
            assert!(line.contains("lr-schedule") && line.contains("linear-after:N"), "{line}");
        }
    }

    #[test]
    fn schedules_start_at_the_base_rate_and_never_rise_or_reach_zero() {
        for schedule in
            [LrSchedule::Constant, LrSchedule::Cosine, LrSchedule::LinearAfter(0), LrSchedule::LinearAfter(7)]
        {
            let rates: Vec<f64> = (1..=20).map(|step| schedule.lr_at(step, 20, 1e-4)).collect();
            if schedule != LrSchedule::LinearAfter(0) {
                assert_eq!(rates[0], 1e-4, "{schedule}");
            }
            assert!(rates.windows(2).all(|pair| pair[1] <= pair[0]), "{schedule}: {rates:?}");
            assert!(rates[19] > 0.0, "{schedule}: {rates:?}");
        }
    }

    #[test]
    fn cosine_is_half_way_down_in_the_middle() {
        assert_abs_diff_eq!(LrSchedule::Cosine.lr_at(51, 100, 2.0), 1.0, epsilon = 1e-12);
        assert_abs_diff_eq!(LrSchedule::Cosine.lr_at(26, 100, 2.0), (1.0 + 0.5f64.sqrt()), epsilon = 1e-12);
        assert!(LrSchedule::Cosine.lr_at(101, 100, 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_warm_up_rises_by_equal_amounts_to_one() {
        assert_eq!([1, 2, 3, 4, 5, 90].map(|step| warm_up(step, 4)), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        assert_eq!([warm_up(1, 0), warm_up(1, 1)], [1.0, 1.0]);
    }

    #[test]
    fn linear_after_holds_and_then_falls_by_equal_amounts() {
        let rate = |step| LrSchedule::LinearAfter(6).lr_at(step, 9, 4.0);
        assert_eq!(
            [rate(1), rate(6), rate(7), rate(8), rate(9), rate(10), rate(99)],
            [4.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0]
        );
        assert_eq!(LrSchedule::LinearAfter(50).lr_at(9, 9, 4.0), 4.0);
    }
}
