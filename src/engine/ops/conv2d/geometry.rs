//! Where a convolution reads: sizes, strides and padding.

use crate::error::{Error, Result};

/// How the border of a picture is padded with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// `out = ceil(in / stride)`; the smaller half of the padding lies before, the larger after (as in TensorFlow).
    Same,
    /// No padding: only windows that lie within the picture.
    Valid,
}

/// Sizes of a convolution: output pixel (oy, ox) reads input pixel (oy s + ky d - top, ox s + kx d - left) under tap
/// (ky, kx), where that lies within the picture.
///
/// It says nothing of which side is known: a transposed convolution is the input gradient of the same geometry.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Geometry {
    /// Pictures N.
    pub n: u32,
    /// Input height H.
    pub h: u32,
    /// Input width W.
    pub w: u32,
    /// Input channels C.
    pub c: u32,
    /// Kernel height Kh.
    pub kh: u32,
    /// Kernel width Kw.
    pub kw: u32,
    /// Output channels O.
    pub o: u32,
    /// Output height Ho.
    pub ho: u32,
    /// Output width Wo.
    pub wo: u32,
    /// Input pixels from one output pixel to the next, s.
    pub stride: u32,
    /// Input pixels from one tap to the next, d.
    pub dilation: u32,
    /// Rows of zeros above the picture.
    pub pad_top: u32,
    /// Columns of zeros left of the picture.
    pub pad_left: u32,
}

impl Geometry {
    /// The geometry of x `[N, H, W, C]` under w `[Kh, Kw, C, O]`.
    ///
    /// # Errors
    /// Shapes of another number of axes, channels that differ, sizes of zero, and a picture that is smaller than the
    /// kernel under [`Padding::Valid`].
    pub fn new(x: &[usize], w: &[usize], stride: usize, dilation: usize, padding: Padding) -> Result<Geometry> {
        let (&[n, h, width, c], &[kh, kw, channels, o]) = (x, w) else {
            return Err(Error::input(
                "a convolution takes pictures [N, H, W, C] and weights [Kh, Kw, C, O]",
                format!("{x:?} and {w:?}"),
                "reshape them",
            ));
        };
        crate::ensure!(
            c == channels,
            Error::input(
                format!("the weights read {channels} channels, the pictures have {c}"),
                format!("{x:?} and {w:?}"),
                "give both the same number"
            )
        );
        crate::ensure!(
            [n, h, width, c, kh, kw, o, stride, dilation].iter().all(|&size| size > 0),
            Error::input(
                "a convolution of size zero",
                format!("{x:?} and {w:?}, stride {stride}, dilation {dilation}"),
                "every size, the stride and the dilation must be at least 1"
            )
        );
        let reach = [(kh - 1) * dilation + 1, (kw - 1) * dilation + 1];
        crate::ensure!(
            padding == Padding::Same || (reach[0] <= h && reach[1] <= width),
            Error::input(
                format!("the kernel reaches over {}x{} pixels, the picture has {h}x{width}", reach[0], reach[1]),
                format!("{x:?} and {w:?}, dilation {dilation}"),
                "take larger pictures, or padding \"same\""
            )
        );
        let axis = |size: usize, reach: usize| match padding {
            Padding::Valid => ((size - reach) / stride + 1, 0),
            Padding::Same => {
                let out = size.div_ceil(stride);
                (out, ((out - 1) * stride + reach).saturating_sub(size) / 2)
            }
        };
        let ((ho, pad_top), (wo, pad_left)) = (axis(h, reach[0]), axis(width, reach[1]));
        Ok(Geometry {
            n: n as u32,
            h: h as u32,
            w: width as u32,
            c: c as u32,
            kh: kh as u32,
            kw: kw as u32,
            o: o as u32,
            ho: ho as u32,
            wo: wo as u32,
            stride: stride as u32,
            dilation: dilation as u32,
            pad_top: pad_top as u32,
            pad_left: pad_left as u32,
        })
    }

    /// `[N, H, W, C]`.
    pub fn input_shape(&self) -> [usize; 4] {
        [self.n as usize, self.h as usize, self.w as usize, self.c as usize]
    }

    /// `[N, Ho, Wo, O]`.
    pub fn output_shape(&self) -> [usize; 4] {
        [self.n as usize, self.ho as usize, self.wo as usize, self.o as usize]
    }

    /// `N * Ho * Wo`.
    pub fn output_pixels(&self) -> usize {
        self.n as usize * self.ho as usize * self.wo as usize
    }

    /// `Kh * Kw * C * O`.
    pub fn weights(&self) -> usize {
        self.kh as usize * self.kw as usize * self.c as usize * self.o as usize
    }

    /// Floating-point operations of the forward pass, or of either product of the backward pass.
    pub fn flops(&self) -> f64 {
        2.0 * self.output_pixels() as f64 * self.weights() as f64
    }
}
