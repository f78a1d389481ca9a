//! What a convolution is: sizes, strides and padding, the order of its weights, and what follows.

use crate::error::{Error, Result};

/// How the border of a picture is padded with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// `out = ceil(in / stride)`; the smaller half of the padding lies before, the larger after (as in TensorFlow).
    Same,
    /// No padding: only windows that lie within the picture.
    Valid,
    /// As [`Padding::Same`] along a row, and as many rows of zeros as given above and below: what some rows of a
    /// picture need to become the same rows of the whole one's output.
    Rows {
        /// Rows of zeros above.
        top: usize,
        /// Rows of zeros below.
        bottom: usize,
    },
    /// So many rows and columns of zeros on all four sides, fewer than the kernel reaches over.
    Around(usize),
}

/// What is applied to each output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(0, y)`.
    Relu,
}

/// In which order the weights of one tap lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[Kh, Kw, C, O]`.
    Hwio,
    /// `[Kh, Kw, O, C]`: the weights of a transposed convolution, which reads O and makes C.
    Hwoi,
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
    /// kernel under [`Padding::Valid`] and [`Padding::Around`], more zeros than the kernel reaches over, and sizes
    /// beyond what kernels count.
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
        let too_large = || {
            Error::input(
                "a convolution that is too large",
                format!("{x:?} and {w:?}, stride {stride}, dilation {dilation}"),
                "use smaller sizes, a stride below 65536 or a smaller dilation",
            )
        };
        // Kernels count pixels and elements with 32 bits, and places along an axis with a sign.
        let limit = 1usize << 30;
        let reach =
            |taps: usize| (taps - 1).checked_mul(dilation).map(|reach| reach + 1).filter(|&reach| reach < limit);
        let (Some(tall), Some(wide)) = (reach(kh), reach(kw)) else { return Err(too_large()) };
        let reach = [tall, wide];
        let product = |sizes: &[usize]| sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let countable = |sizes: &[usize]| product(sizes).is_some_and(|product| product <= u32::MAX as usize);
        let depth = |channels: usize| [kh, kw, channels.next_multiple_of(64)];
        crate::ensure!(
            [n, h, width, c, kh, kw, o, dilation].iter().all(|&size| size < limit)
                && stride < 1 << 16
                && countable(x)
                && countable(w)
                && countable(&depth(c))
                && countable(&depth(o)),
            too_large()
        );
        let zeros = if let Padding::Around(zeros) = padding { zeros } else { 0 };
        crate::ensure!(
            zeros == 0 || zeros < reach[0].min(reach[1]),
            Error::input(
                format!(
                    "{zeros} rows of zeros around a picture, and a kernel that reaches over {}x{}",
                    reach[0], reach[1]
                ),
                format!("{x:?} and {w:?}, dilation {dilation}"),
                "pad by fewer, or by an operation of its own"
            )
        );
        let fits = match padding {
            Padding::Same => true,
            Padding::Valid | Padding::Around(_) => reach[0] <= h + 2 * zeros && reach[1] <= width + 2 * zeros,
            Padding::Rows { top, bottom } => {
                top < limit && bottom < limit && (reach[0]..limit).contains(&(top + h + bottom))
            }
        };
        crate::ensure!(
            fits,
            Error::input(
                format!("the kernel reaches over {}x{} pixels, the picture has {h}x{width}", reach[0], reach[1]),
                format!("{x:?} and {w:?}, dilation {dilation}"),
                "take larger pictures, or padding \"same\""
            )
        );
        let valid = |size: usize, reach: usize| ((size + 2 * zeros - reach) / stride + 1, zeros);
        let same = |size: usize, reach: usize| {
            let out = size.div_ceil(stride);
            (out, ((out - 1) * stride + reach).saturating_sub(size) / 2)
        };
        let ((ho, pad_top), (wo, pad_left)) = match padding {
            Padding::Valid | Padding::Around(_) => (valid(h, reach[0]), valid(width, reach[1])),
            Padding::Same => (same(h, reach[0]), same(width, reach[1])),
            Padding::Rows { top, bottom } => ((valid(top + h + bottom, reach[0]).0, top), same(width, reach[1])),
        };
        crate::ensure!(countable(&[n, ho, wo, o]), too_large());
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

    /// `N * H * W`.
    pub fn input_pixels(&self) -> usize {
        self.n as usize * self.h as usize * self.w as usize
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
