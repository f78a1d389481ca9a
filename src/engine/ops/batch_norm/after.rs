//! What may follow a batch norm in the same launch.

use crate::engine::ops::perturb::Dropout;
use crate::error::{Error, Result};

/// What follows the normalised values: first dropout, then a rectifier.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct After {
    /// Dropout in training, if there is one.
    pub dropout: Option<Dropout>,
    /// The activation.
    pub rectifier: Rectifier,
}

/// Activations whose gradient follows from the sign of what they read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Rectifier {
    /// The value itself.
    #[default]
    None,
    /// `max(v, 0)`.
    Relu,
    /// v where v >= 0, else `slope * v`.
    LeakyRelu {
        /// Slope of the negative side, above 0.
        slope: f32,
    },
}

impl Rectifier {
    /// The kernels' number of this function, and its parameter.
    pub(super) fn code(self) -> (u32, f32) {
        match self {
            Rectifier::None => (0, 0.0),
            Rectifier::Relu => (1, 0.0),
            Rectifier::LeakyRelu { slope } => (2, slope),
        }
    }
}

impl After {
    pub(super) fn check(&self) -> Result<()> {
        if let Rectifier::LeakyRelu { slope } = self.rectifier {
            crate::ensure!(
                slope > 0.0 && slope.is_finite(),
                Error::input("the negative side of an activation needs a parameter above 0", slope, "use 0.01 to 1")
            );
        }
        let Some(dropout) = self.dropout else { return Ok(()) };
        crate::ensure!(
            dropout.draw.first == 0,
            Error::input(
                "dropout behind a batch norm draws for a whole batch",
                dropout.draw.first,
                "apply it by itself"
            )
        );
        dropout.check()
    }
}
