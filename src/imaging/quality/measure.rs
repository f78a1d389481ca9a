//! What is measured, and the figures of an image.

/// Which way a measure improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The lower the better: an error.
    Lower,
    /// The higher the better: PSNR, SSIM.
    Higher,
}

impl Better {
    /// Whether `a` is better than `b`; NaN is better than nothing.
    pub fn prefers(self, a: f64, b: f64) -> bool {
        match self {
            Better::Lower => a < b,
            Better::Higher => a > b,
        }
    }

    /// An arrow the better way.
    pub fn arrow(self) -> char {
        match self {
            Better::Lower => '↓',
            Better::Higher => '↑',
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Better::Lower => "lower is better",
            Better::Higher => "higher is better",
        }
    }
}

/// Something that is measured on a predicted image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Mean squared error of the samples 0..255.
    Mse,
    /// Mean absolute error of the samples 0..255.
    Mae,
    /// Peak signal-to-noise ratio, dB.
    Psnr,
    /// Structural similarity, at most 1.
    Ssim,
    /// Mean CIE 1976 colour difference.
    DeltaE76,
    /// Mean CIEDE2000 colour difference.
    DeltaE2000,
    /// Mean distance in the ab plane of CIE Lab.
    AbError,
    /// Area under the curve of the share of pixels within an ab distance, 0..1.
    AbAuc,
    /// The same with pixels weighted against the prior of their colours.
    AbAucRebalanced,
    /// Root of the squared error over root of the squared truth.
    Nrmse,
    /// Mean angle between the spectra of pixels, degrees.
    SpectralAngle,
    /// Colourfulness of the predicted image itself.
    Colourfulness,
    /// Distance from a copy of the source over distance from the truth.
    CopyRatio,
}

impl Measure {
    /// All of them, the more telling first.
    pub const ALL: [Measure; 13] = [
        Measure::AbError,
        Measure::DeltaE2000,
        Measure::DeltaE76,
        Measure::Psnr,
        Measure::Ssim,
        Measure::Mse,
        Measure::Mae,
        Measure::Nrmse,
        Measure::SpectralAngle,
        Measure::AbAuc,
        Measure::AbAucRebalanced,
        Measure::Colourfulness,
        Measure::CopyRatio,
    ];

    /// Its name in files.
    pub fn key(self) -> &'static str {
        match self {
            Measure::Mse => "mse",
            Measure::Mae => "mae",
            Measure::Psnr => "psnr",
            Measure::Ssim => "ssim",
            Measure::DeltaE76 => "delta_e_76",
            Measure::DeltaE2000 => "delta_e_2000",
            Measure::AbError => "ab_error",
            Measure::AbAuc => "ab_auc",
            Measure::AbAucRebalanced => "ab_auc_rebalanced",
            Measure::Nrmse => "nrmse",
            Measure::SpectralAngle => "spectral_angle",
            Measure::Colourfulness => "colourfulness",
            Measure::CopyRatio => "copy_ratio",
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Mse => "MSE",
            Measure::Mae => "MAE",
            Measure::Psnr => "PSNR",
            Measure::Ssim => "SSIM",
            Measure::DeltaE76 => "ΔE 76",
            Measure::DeltaE2000 => "ΔE 2000",
            Measure::AbError => "ab error",
            Measure::AbAuc => "ab AuC",
            Measure::AbAucRebalanced => "ab AuC, rebalanced",
            Measure::Nrmse => "NRMSE",
            Measure::SpectralAngle => "spectral angle",
            Measure::Colourfulness => "colourfulness",
            Measure::CopyRatio => "copy ratio",
        }
    }

    /// Its unit; empty where it has none.
    pub fn unit(self) -> &'static str {
        match self {
            Measure::Psnr => "dB",
            Measure::SpectralAngle => "°",
            _ => "",
        }
    }

    /// Decimal places worth showing.
    pub fn decimals(self) -> usize {
        match self {
            Measure::Mse | Measure::Colourfulness => 1,
            Measure::Ssim | Measure::Nrmse | Measure::AbAuc | Measure::AbAucRebalanced => 3,
            _ => 2,
        }
    }

    /// Which way it improves. Of two it cannot be said: an image should be as colourful as the truth, and a copy ratio
    /// is well above 1 for anything that is not the source again.
    pub fn better(self) -> Option<Better> {
        match self {
            Measure::Psnr | Measure::Ssim | Measure::AbAuc | Measure::AbAucRebalanced => Some(Better::Higher),
            Measure::Colourfulness | Measure::CopyRatio => None,
            _ => Some(Better::Lower),
        }
    }
}

/// The figures of an image, or their means over several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores([f64; Measure::ALL.len()]);

impl Default for Scores {
    fn default() -> Self {
        Scores([f64::NAN; Measure::ALL.len()])
    }
}

impl Scores {
    /// A figure; none where the measure makes no sense. PSNR of equal images is infinite.
    pub fn get(&self, measure: Measure) -> Option<f64> {
        Some(self.0[measure as usize]).filter(|value| !value.is_nan())
    }

    /// Sets a figure; NaN is none.
    pub fn set(&mut self, measure: Measure, value: f64) {
        self.0[measure as usize] = value;
    }

    /// The mean of each measure over the images that have it.
    pub fn mean<'a>(of: impl IntoIterator<Item = &'a Scores> + Clone) -> Scores {
        let mut mean = Scores::default();
        for measure in Measure::ALL {
            let values = of.clone().into_iter().filter_map(|scores| scores.get(measure));
            let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
            // 0 / 0 is NaN: none.
            mean.set(measure, sum / count as f64);
        }
        mean
    }
}
