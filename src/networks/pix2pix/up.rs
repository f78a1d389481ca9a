//! How pix2pix's generator doubles height and width.

use crate::engine::nn::layer::{convolve, convolve_transposed, upsample_nearest};
use crate::engine::nn::{Bound, WeightFile};
use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
use crate::engine::ops::conv2d::{self, Conv2d, Padding};
use crate::engine::tape::Var;
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Side of the kernels of the published networks.
pub(super) const KERNEL: usize = 4;
/// Side of the kernels behind an enlargement, by which a weight file is known to have those.
const RESIZE_KERNEL: usize = 3;

/// The convolution that halves height and width.
pub(super) fn halving() -> Conv2d {
    Conv2d { stride: 2, dilation: 1, padding: Padding::Same, activation: conv2d::Activation::None }
}

/// How the generator doubles height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Up {
    /// A transposed convolution, 4x4/2: the published network. Which of the kernel's weights meet differs between
    /// neighbouring pixels, which leaves a grid until training has evened it out.
    Transposed,
    /// Each pixel twice along both axes, then a 3x3 convolution: all pixels are made by the same weights.
    Resize,
}

impl Up {
    /// Side of the kernels.
    pub(super) fn kernel(self) -> usize {
        match self {
            Up::Transposed => KERNEL,
            Up::Resize => RESIZE_KERNEL,
        }
    }

    /// The way whose kernels the layer `name` of a file has.
    pub(super) fn of(file: &WeightFile, name: &str) -> Result<Self> {
        let weight = file.require(&format!("{name}.weight"))?;
        match weight.shape[..] {
            [KERNEL, KERNEL, ..] => Ok(Up::Transposed),
            [RESIZE_KERNEL, RESIZE_KERNEL, ..] => Ok(Up::Resize),
            _ => Err(Error::input(
                format!("tensor {name}.weight has shape {:?}, and no known way of doubling has that", weight.shape),
                file.source(),
                "use weights that huetape wrote for this model",
            )),
        }
    }

    /// The layer `name` on x `[N, H, W, C]`: `[N, 2 H, 2 W, C']`.
    pub(super) fn run(self, bound: &Bound<'_>, name: &str, x: &Var) -> Result<Var> {
        match self {
            Up::Transposed => {
                let op = ConvTranspose2d { stride: 2, activation: conv2d::Activation::None };
                convolve_transposed(bound, name, op, x)
            }
            Up::Resize => {
                let larger = upsample_nearest(bound, &format!("{name}.resize"), 2, x)?;
                convolve(bound, name, Conv2d { stride: 1, ..halving() }, &larger)
            }
        }
    }
}

impl FromStr for Up {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "transposed" => Ok(Up::Transposed),
            "resize" => Ok(Up::Resize),
            _ => Err(Error::input("no such way of doubling", format!("⟨up⟩ {text}"), "use transposed or resize")),
        }
    }
}

impl fmt::Display for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Up::Transposed => "transposed",
            Up::Resize => "resize",
        })
    }
}
