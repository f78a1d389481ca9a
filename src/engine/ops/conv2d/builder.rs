//! Convolutions by their names: `Conv2d::same().stride(2).relu()`.

use crate::engine::ops::conv2d::geometry::{Activation, Padding};
use crate::engine::ops::conv2d::op::Conv2d;

impl Conv2d {
    /// A convolution whose output is as large as its input: stride 1, dilation 1, zeros around the image, no
    /// activation.
    ///
    /// ```
    /// use huetape::engine::ops::conv2d::Conv2d;
    ///
    /// // Two images of 9x6 pixels with 3 channels, and a kernel of 3x3 pixels with 8 channels out.
    /// let (x, w) = ([2, 9, 6, 3], [3, 3, 3, 8]);
    /// assert_eq!(Conv2d::same().output_shape(&x, &w)?, [2, 9, 6, 8]);
    /// assert_eq!(Conv2d::same().stride(2).output_shape(&x, &w)?, [2, 5, 3, 8]);
    /// assert_eq!(Conv2d::valid().output_shape(&x, &w)?, [2, 7, 4, 8]);
    /// # Ok::<(), huetape::Error>(())
    /// ```
    pub const fn same() -> Self {
        Conv2d { stride: 1, dilation: 1, padding: Padding::Same, activation: Activation::None }
    }

    /// As [`Conv2d::same`], without zeros around the image: the output is smaller by the kernel's size less 1.
    pub const fn valid() -> Self {
        Conv2d { padding: Padding::Valid, ..Conv2d::same() }
    }

    /// The same with `stride` input pixels, at least 1, from one output pixel to the next.
    #[must_use]
    pub const fn stride(self, stride: usize) -> Self {
        Conv2d { stride, ..self }
    }

    /// The same with `dilation` input pixels, at least 1, from one tap of the kernel to the next.
    #[must_use]
    pub const fn dilation(self, dilation: usize) -> Self {
        Conv2d { dilation, ..self }
    }

    /// The same with a ReLU after the bias.
    #[must_use]
    pub const fn relu(self) -> Self {
        Conv2d { activation: Activation::Relu, ..self }
    }
}
