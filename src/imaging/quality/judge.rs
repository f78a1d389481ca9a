//! All measures of a predicted image at once.

use crate::error::Result;
use crate::imaging::quality::colour::{ColourErrors, Rebalance, colourfulness};
use crate::imaging::quality::image8::Image8;
use crate::imaging::quality::measure::{Measure, Scores};
use crate::imaging::quality::samples::{mae, mse, nrmse, psnr, spectral_angle};
use crate::imaging::quality::ssim::ssim;

/// What predicted images are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// The true image.
    pub truth: &'a Image8,
    /// The prediction of a network that only copies its source; for [`Measure::CopyRatio`].
    pub copy: Option<&'a Image8>,
    /// For [`Measure::AbAucRebalanced`].
    pub rebalance: Option<&'a Rebalance>,
}

impl Judge<'_> {
    /// Every measure that applies to a predicted image: those of colours with three bands, those of spectra with two or
    /// more, the copy ratio where there is a copy with its bands.
    ///
    /// # Errors
    /// Images of different sizes or bands.
    pub fn scores(&self, made: &Image8) -> Result<Scores> {
        let mut scores = Scores::default();
        scores.set(Measure::Mse, mse(made, self.truth)?);
        scores.set(Measure::Mae, mae(made, self.truth)?);
        scores.set(Measure::Psnr, psnr(made, self.truth)?);
        scores.set(Measure::Ssim, ssim(made, self.truth)?);
        scores.set(Measure::Nrmse, nrmse(made, self.truth)?);
        if made.bands > 1 {
            scores.set(Measure::SpectralAngle, spectral_angle(made, self.truth)?);
        }
        if let Some(copy) = self.copy.filter(|copy| copy.bands == made.bands) {
            scores.set(Measure::CopyRatio, mae(made, copy)? / mae(made, self.truth)?);
        }
        if made.bands == 3 {
            let errors = ColourErrors::of(made, self.truth, self.rebalance)?;
            scores.set(Measure::DeltaE76, errors.delta_e_76);
            scores.set(Measure::DeltaE2000, errors.delta_e_2000);
            scores.set(Measure::AbError, errors.ab);
            scores.set(Measure::AbAuc, errors.auc);
            scores.set(Measure::AbAucRebalanced, errors.auc_rebalanced);
            scores.set(Measure::Colourfulness, colourfulness(made)?);
        }
        Ok(scores)
    }
}
