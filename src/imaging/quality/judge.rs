//! All measures of a predicted image at once.

use crate::error::Result;
use crate::imaging::quality::colour::{ColourErrors, Rebalance, colourfulness};
use crate::imaging::quality::image8::Image8;
use crate::imaging::quality::measure::{Measure, Scores};
use crate::imaging::quality::samples::{mae, mse, nrmse, psnr, spectral_angle};
use crate::imaging::quality::ssim::ssim;

/// What made pictures are held against.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// The picture as it should be.
    pub truth: &'a Image8,
    /// What the made picture would be, had the source been copied; for [`Measure::CopyRatio`].
    pub copy: Option<&'a Image8>,
    /// For [`Measure::AbAucRebalanced`].
    pub rebalance: Option<&'a Rebalance>,
}

impl Judge<'_> {
    /// Every measure that makes sense of a made picture: those of colours where it has three bands, those of spectra where it
    /// has two or more, the copy ratio where there is a copy of its bands.
    ///
    /// # Errors
    /// Pictures of different sizes or bands.
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
