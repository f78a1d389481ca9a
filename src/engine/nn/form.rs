//! What a layer is, for whoever writes a network down in the format of another program.

use crate::engine::ops::conv_transpose2d::ConvTranspose2d;
use crate::engine::ops::conv2d::Conv2d;
use crate::engine::ops::pad::ZeroPad;

/// A layer in a row, by the names of its parameters.
#[derive(Debug, Clone)]
pub enum Form {
    /// A convolution: `NAME.weight`, and `NAME.bias` where there is one.
    Conv {
        /// Prefix of its parameters.
        name: String,
        /// How it runs.
        op: Conv2d,
    },
    /// A transposed convolution: `NAME.weight`, and `NAME.bias` where there is one.
    ConvTranspose {
        /// Prefix of its parameters.
        name: String,
        /// How it runs.
        op: ConvTranspose2d,
    },
    /// Batch norm: `NAME.gamma`, `NAME.beta`, `NAME.mean`, `NAME.var`.
    BatchNorm {
        /// Prefix of its parameters.
        name: String,
    },
    /// Each pixel repeated along both axes.
    Nearest {
        /// How often.
        factor: usize,
    },
    /// Zeros around each image.
    ZeroPad(ZeroPad),
    /// Anything else: it cannot be written down.
    Other,
}
