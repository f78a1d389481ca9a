//! The operation: shapes, forward pass and gradients.

use crate::engine::device::Device;
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::ops::conv2d::geometry::{Activation, Geometry, Layout, Padding};
use crate::engine::ops::conv2d::launch::{bias_gradient, forward, input_gradient, relu_gradient, weight_gradient};
use crate::engine::ops::conv2d::winograd::Winograd;
use crate::engine::primitives::expect_shape;
use crate::engine::self_test::{run_op, seeded};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// `y[n, oy, ox, o] = act(b[o] + sum over ky, kx, c of x[n, oy s + ky d - top, ox s + kx d - left, c] w[ky, kx, c,
/// o])`.
///
/// Inputs x `[N, H, W, C]`, w `[Kh, Kw, C, O]` and, where there is a bias, b `[O]`; output y `[N, Ho, Wo, O]`.
/// Pixels outside the image are zero. With `dz = dy act'(y)`: `db` is the sum of dz over the pixels, `dw` that of x
/// times dz, and `dx` gathers for each input pixel the dz that it took part in.
///
/// Each output is right to the rounding of a sum of Kh Kw C products. 3x3 and 4x4 convolutions of 64 and more channels
/// go through Winograd's filtering on the CPU, those of 3x3 with stride 1 on a GPU too where it runs such a body, with
/// roundings of up to 2e-3 of the largest value that an output reads; a NaN, an infinity or a value that is more than
/// 256 times larger than others near it changes those outputs alone that read it.
#[derive(Debug, Clone, Copy)]
pub struct Conv2d {
    /// Input pixels from one output pixel to the next.
    pub stride: usize,
    /// Input pixels from one tap to the next.
    pub dilation: usize,
    /// How the border is padded.
    pub padding: Padding,
    /// What follows the bias.
    pub activation: Activation,
}

impl Conv2d {
    /// `[N, Ho, Wo, O]` for x `[N, H, W, C]` and w `[Kh, Kw, C, O]`.
    ///
    /// # Errors
    /// Shapes that do not fit together, or a kernel that is larger than a picture padded "valid".
    pub fn output_shape(&self, x: &[usize], w: &[usize]) -> Result<[usize; 4]> {
        Ok(self.geometry(x, w)?.output_shape())
    }

    /// Rows of output that are computed together where tiles are filtered, counted from the top, for x `[N, H, W, C]`
    /// and w `[Kh, Kw, C, O]`: of an image in parts, those that begin at multiples of it, and for which it is the same,
    /// have the bits that they have in the whole; on a GPU to rounding, where a short part may be computed another way.
    /// `None` where parts may begin anywhere.
    ///
    /// # Errors
    /// Shapes that do not fit together.
    pub(crate) fn row_block(&self, x: &[usize], w: &[usize]) -> Result<Option<usize>> {
        let geometry = self.geometry(x, w)?;
        Ok(Winograd::forward(&geometry, Layout::Hwio).map(|filtering| filtering.band_rows()))
    }

    /// Writes y, of [`Conv2d::output_shape`]: the op without a tape, for who has room for what it makes.
    ///
    /// # Errors
    /// Shapes that do not fit together, and whatever a launch reports.
    pub(crate) fn write(&self, x: &Tensor, w: &Tensor, b: Option<&Tensor>, y: &Tensor) -> Result<()> {
        let geometry = self.geometry(x.shape(), w.shape())?;
        check_bias(b, geometry.o)?;
        expect_shape("an output", y, &geometry.output_shape())?;
        forward(&geometry, Layout::Hwio, self.activation, x, w, b, y)
    }

    pub(super) fn geometry(&self, x: &[usize], w: &[usize]) -> Result<Geometry> {
        Geometry::new(x, w, self.stride, self.dilation, self.padding)
    }
}

impl Op for Conv2d {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let (x, w, b) = with_bias("conv2d", inputs)?;
        let y = Tensor::empty(x.device(), &self.output_shape(x.shape(), w.shape())?)?;
        self.write(x, w, b, &y)?;
        let mut saved = vec![(*x).clone(), (*w).clone()];
        if self.activation == Activation::Relu {
            saved.push(y.clone());
        }
        Ok(Forward { y, saved })
    }

    fn saves(&self, i: usize) -> Saves {
        // x, w and, for the rectifier, y.
        if i == 1 { Saves::Exact } else { Saves::Activations }
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let saved = grad.saved;
        let (x, w) = (&saved[0], &saved[1]);
        let geometry = self.geometry(x.shape(), w.shape())?;
        expect_shape("a gradient", grad.dy, &geometry.output_shape())?;
        let dz = before_activation(grad, saved.get(2))?;
        if grad.needs(1) {
            let dw = grad.out(1, w.shape())?;
            weight_gradient(&geometry, Layout::Hwio, x, &dz, &dw)?;
        }
        if grad.needs(0) {
            let dx = grad.out(0, x.shape())?;
            input_gradient(&geometry, Layout::Hwio, Activation::None, &dz, w, None, &dx)?;
        }
        Ok(())
    }
}

/// x, w and, where it is given, b: the inputs of an op that may go without a bias.
pub(crate) fn with_bias<'a>(op: &str, inputs: &[&'a Tensor]) -> Result<(&'a Tensor, &'a Tensor, Option<&'a Tensor>)> {
    match *inputs {
        [x, w] => Ok((x, w, None)),
        [x, w, b] => Ok((x, w, Some(b))),
        _ => Err(crate::engine::op::arity(op, 3, inputs)),
    }
}

/// Refuses a bias of another shape than `[outputs]`.
pub(crate) fn check_bias(b: Option<&Tensor>, outputs: u32) -> Result<()> {
    match b {
        Some(b) if b.shape() != [outputs as usize] => Err(Error::input(
            format!("a bias of shape [{outputs}] is needed"),
            format!("{:?}", b.shape()),
            "give each output channel one",
        )),
        _ => Ok(()),
    }
}

/// The gradient before bias and ReLU of an op with inputs x, w and perhaps b, whose own gradient is made on the way.
/// `y` is the output where it lies behind a ReLU.
pub(crate) fn before_activation(grad: &mut Backward<'_>, y: Option<&Tensor>) -> Result<Tensor> {
    let dy = grad.dy;
    let channels = dy.nhwc()?[3];
    let db = if grad.needs(2) { Some(grad.out(2, &[channels])?) } else { None };
    let Some(y) = y else {
        if let Some(db) = db {
            bias_gradient(dy, &db)?;
        }
        return Ok(dy.clone());
    };
    let db = match db {
        Some(db) => db,
        None => Tensor::empty(dy.device(), &[channels])?,
    };
    let dz = grad.dy_to_change()?;
    relu_gradient(y, &dz, &db)?;
    Ok(dz)
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let plain = Conv2d { stride: 1, dilation: 1, padding: Padding::Same, activation: Activation::None };
    let mut results = Vec::new();
    // A tile of a GPU's bodies has up to 64 pixels, rows of weights and outputs, a wide one 128: the second and third
    // case have several of each and parts of them, the fourth of wide ones, and sums over pixels that are cut, the
    // fifth and sixth few outputs and few channels, then come two sums over channels that are cut, many pixels of a
    // bias, and what is filtered.
    for (conv, x, w) in [
        (Conv2d { stride: 2, ..plain }, [2, 9, 7, 4], [3, 3, 4, 8]),
        (plain, [1, 17, 19, 20], [3, 3, 20, 72]),
        (Conv2d { dilation: 2, ..plain }, [1, 17, 16, 7], [3, 3, 7, 67]),
        (plain, [1, 12, 13, 32], [3, 3, 32, 144]),
        (plain, [1, 17, 18, 32], [3, 3, 32, 3]),
        (Conv2d { stride: 2, ..plain }, [1, 35, 34, 3], [4, 4, 3, 32]),
        (plain, [1, 2, 2, 3644], [3, 3, 3644, 4]),
        (plain, [1, 2, 2, 4], [3, 3, 4, 3644]),
        (Conv2d { padding: Padding::Around(1), ..plain }, [1, 66, 65, 1], [2, 2, 1, 5]),
        (plain, [1, 14, 15, 64], [3, 3, 64, 80]),
    ] {
        let (x, w, b) = (seeded(device, &x, 1)?, seeded(device, &w, 2)?, seeded(device, &w[3..], 3)?);
        // Far from the kink, so that no rounding of x or w, to f16, puts a sum on its other side.
        let far = 6.0 * (w.shape()[..3].iter().product::<usize>() as f32).sqrt();
        let signs: Vec<f32> = (0..w.shape()[3]).map(|o| if o % 2 == 0 { far } else { -far }).collect();
        let far = Tensor::new(device, &w.shape()[3..], &signs)?;
        for (activation, b) in [(Activation::Relu, &far), (Activation::None, &b)] {
            results.extend(run_op(&Conv2d { activation, ..conv }, &[&x, &w, b])?);
        }
    }
    Ok(results)
}
