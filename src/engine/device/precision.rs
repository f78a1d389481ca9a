//! In what numbers a device multiplies.

use crate::error::{Error, Result};
use std::str::FromStr;

/// The numbers that matrix products multiply in. Whatever is stored, weights, activations and gradients, is f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// f16 where a body can, with sums in f32: a product is right to about 2^-10 of itself, and a factor beyond 65504
    /// is infinite.
    F16,
}

impl Precision {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
        }
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Precision::F32),
            "f16" => Ok(Precision::F16),
            _ => Err(Error::input("no such precision", format!("⟨precision⟩ {text}"), "use f32 or f16")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_precision_is_read_by_its_name_and_others_refused() {
        for precision in [Precision::F32, Precision::F16] {
            assert_eq!(precision.name().parse::<Precision>().unwrap(), precision);
        }
        for bad in ["", "F16", "bf16", "16"] {
            assert_eq!(bad.parse::<Precision>().unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
