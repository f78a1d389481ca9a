//! Two-dimensional convolution with bias and activation, and its gradients: implicit matrix products over NHWC.
//!
//! On a GPU each product is tiled (`kernels/conv2d.wgsl`, `conv2d_dx.wgsl`, `conv2d_dw.wgsl`); the twins gather blocks of pixels
//! for matrix products, or use Winograd's filtering where that is faster.

mod builder;
mod correlation;
mod geometry;
mod transform;
mod twin;
mod winograd;

#[cfg(test)]
mod tests;

pub use geometry::{Geometry, Padding};

use crate::engine::device::{AnyKernel, Device, Dispatch, GpuInfo, Kernel, Plan, Planner, linear_grid};
use crate::engine::op::{Backward, Forward, Op};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&FORWARD, &INPUT_GRADIENT, &WEIGHT_GRADIENT, &RELU_GRADIENT, &BIAS_GRADIENT];

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

/// `y[n, oy, ox, o] = act(b[o] + sum over ky, kx, c of x[n, oy s + ky d - top, ox s + kx d - left, c] w[ky, kx, c, o])`.
///
/// Inputs x `[N, H, W, C]`, w `[Kh, Kw, C, O]` and, where there is a bias, b `[O]`; output y `[N, Ho, Wo, O]`. Pixels outside the picture are zero. With
/// `dz = dy act'(y)`: `db` is the sum of dz over the pixels, `dw` that of x times dz, and `dx` gathers for each input pixel the
/// dz that it took part in.
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

    fn geometry(&self, x: &[usize], w: &[usize]) -> Result<Geometry> {
        Geometry::new(x, w, self.stride, self.dilation, self.padding)
    }
}

impl Op for Conv2d {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let (x, w, b) = with_bias("conv2d", inputs)?;
        let geometry = self.geometry(x.shape(), w.shape())?;
        check_bias(b, geometry.o)?;
        let y = Tensor::empty(x.device(), &geometry.output_shape())?;
        forward(&geometry, Layout::Hwio, self.activation, x, w, b, &y)?;
        let mut saved = vec![(*x).clone(), (*w).clone()];
        if self.activation == Activation::Relu {
            saved.push(y.clone());
        }
        Ok(Forward { y, saved })
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let saved = grad.saved;
        let (x, w) = (&saved[0], &saved[1]);
        let geometry = self.geometry(x.shape(), w.shape())?;
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

/// The gradient before bias and ReLU of an op with inputs x, w and perhaps b, whose own gradient is made on the way. `y` is
/// the output where it lies behind a ReLU.
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
    let dz = Tensor::empty(dy.device(), dy.shape())?;
    let db = match db {
        Some(db) => db,
        None => Tensor::empty(dy.device(), &[channels])?,
    };
    relu_gradient(dy, y, &dz, &db)?;
    Ok(dz)
}

/// What every kernel here is told; kernels/lib/conv.wgsl has the same.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    geometry: Geometry,
    relu: u32,
    /// Pixels that one partial sum runs over, and the number of partial sums.
    chunk: u32,
    chunks: u32,
    /// Whether there is a bias.
    biased: u32,
    /// Elements from the weight of one channel, and of one output, to that of the next.
    channel_step: u32,
    output_step: u32,
}

impl Params {
    fn new(geometry: &Geometry, layout: Layout) -> Self {
        let (channel_step, output_step) = match layout {
            Layout::Hwio => (geometry.o, 1),
            Layout::Hwoi => (1, geometry.c),
        };
        Params { geometry: *geometry, relu: 0, chunk: 0, chunks: 0, biased: 0, channel_step, output_step }
    }

    /// With what follows the sums.
    fn finished(self, activation: Activation, biased: bool) -> Self {
        Params { relu: u32::from(activation == Activation::Relu), biased: u32::from(biased), ..self }
    }

    /// Cuts the output pixels into at most `chunks` parts of a multiple of `align` pixels.
    fn chunked(self, chunks: usize, align: usize) -> Self {
        let pixels = self.geometry.output_pixels();
        let chunk = pixels.div_ceil(chunks).next_multiple_of(align);
        Params { chunk: chunk as u32, chunks: pixels.div_ceil(chunk) as u32, ..self }
    }

    fn layout(&self) -> Layout {
        // With one channel or one output both orders are the same.
        if self.output_step == 1 { Layout::Hwio } else { Layout::Hwoi }
    }

    fn finish<'a>(&self, bias: &'a [f32]) -> twin::Finish<'a> {
        twin::Finish { bias: (self.biased != 0).then_some(bias), relu: self.relu != 0 }
    }
}

/// Entry points of the three matrix products, see kernels/conv2d.wgsl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// Workgroup tiles, vec4 loads; channels and outputs are multiples of 4.
    Quads,
    /// Workgroup tiles, scalar loads.
    Scalars,
    /// Registers alone.
    Software,
}

/// Bytes of workgroup memory that a tile takes, see kernels/lib/tile.wgsl.
const TILE_BYTES: u32 = 2 * 272 * 16;

impl Variant {
    fn of(geometry: &Geometry, gpu: &GpuInfo) -> Variant {
        if gpu.software || gpu.workgroup_bytes < TILE_BYTES {
            Variant::Software
        } else if geometry.c.is_multiple_of(4) && geometry.o.is_multiple_of(4) {
            Variant::Quads
        } else {
            Variant::Scalars
        }
    }

    /// The dispatch of a product of `rows` x `columns`, `depth` times in z.
    fn dispatch(self, rows: usize, columns: usize, depth: u32) -> Dispatch {
        let (entry, tile) = match self {
            Variant::Quads => ("quads", [64, 64]),
            Variant::Scalars => ("scalars", [64, 64]),
            Variant::Software => ("software", [8, 32]),
        };
        let [x, y, _] = linear_grid(rows.div_ceil(tile[0]) * columns.div_ceil(tile[1]), 1);
        Dispatch::new(entry, [x, y, depth])
    }
}

static FORWARD: Kernel<Params> = forward_kernel(&|p, gpu| forward_plan(p, Variant::of(&p.geometry, gpu)));

const fn forward_kernel(plan: &'static Planner<'static, Params>) -> Kernel<'static, Params> {
    Kernel {
        name: "conv2d",
        source: include_str!("../../../../kernels/conv2d.wgsl"),
        trusted: true,
        variants: &[&[]],
        plan,
        twin: &|p, args| {
            let ([x, w, b], [], [y]) = args.split()?;
            twin::forward(&p.geometry, p.layout(), p.finish(b), x, w, y);
            Ok(())
        },
    }
}

fn forward_plan(p: &Params, variant: Variant) -> Plan {
    let g = &p.geometry;
    let dispatch = variant.dispatch(g.output_pixels(), g.o as usize, 1);
    Plan { dispatches: vec![dispatch], scratch: Vec::new(), flops: g.flops() }
}

static INPUT_GRADIENT: Kernel<Params> =
    input_gradient_kernel(&|p, gpu| input_gradient_plan(p, Variant::of(&p.geometry, gpu)));

const fn input_gradient_kernel(plan: &'static Planner<'static, Params>) -> Kernel<'static, Params> {
    Kernel {
        name: "conv2d_dx",
        source: include_str!("../../../../kernels/conv2d_dx.wgsl"),
        trusted: true,
        variants: &[&[]],
        plan,
        twin: &|p, args| {
            let ([dz, w, b], [], [dx]) = args.split()?;
            twin::input_gradient(&p.geometry, p.layout(), p.finish(b), dz, w, dx);
            Ok(())
        },
    }
}

fn input_gradient_plan(p: &Params, variant: Variant) -> Plan {
    let g = &p.geometry;
    // The largest phase has this many pixels.
    let rows = g.n as usize * g.h.div_ceil(g.stride) as usize * g.w.div_ceil(g.stride) as usize;
    let dispatch = variant.dispatch(rows, g.c as usize, g.stride * g.stride);
    Plan { dispatches: vec![dispatch], scratch: Vec::new(), flops: g.flops() }
}

static WEIGHT_GRADIENT: Kernel<Params> =
    weight_gradient_kernel(&|p, gpu| weight_gradient_plan(p, Variant::of(&p.geometry, gpu)));

const fn weight_gradient_kernel(plan: &'static Planner<'static, Params>) -> Kernel<'static, Params> {
    Kernel {
        name: "conv2d_dw",
        source: include_str!("../../../../kernels/conv2d_dw.wgsl"),
        trusted: true,
        variants: &[&[]],
        plan,
        twin: &|p, args| {
            let ([x, dz], [], [dw]) = args.split()?;
            twin::weight_gradient(&p.geometry, p.layout(), x, dz, dw);
            Ok(())
        },
    }
}

fn weight_gradient_plan(p: &Params, variant: Variant) -> Plan {
    let g = &p.geometry;
    let channels = if variant == Variant::Software { g.c } else { g.c.next_multiple_of(4) };
    let product = variant.dispatch((g.kh * g.kw * channels) as usize, g.o as usize, p.chunks);
    let total = Dispatch::new("total", linear_grid(g.weights(), 256));
    Plan { dispatches: vec![product, total], scratch: vec![p.chunks as usize * g.weights()], flops: g.flops() }
}

static RELU_GRADIENT: Kernel<Params> = Kernel {
    name: "conv2d_dz",
    source: include_str!("../../../../kernels/conv2d_dz.wgsl"),
    trusted: true,
    variants: &[&[]],
    plan: &|p, _| column_sum_plan(p),
    twin: &|p, args| {
        let ([dy, y], [], [dz, db]) = args.split()?;
        twin::relu_gradient(&p.geometry, dy, y, dz, db);
        Ok(())
    },
};

static BIAS_GRADIENT: Kernel<Params> = Kernel {
    name: "conv2d_db",
    source: include_str!("../../../../kernels/conv2d_db.wgsl"),
    trusted: true,
    variants: &[&[]],
    plan: &|p, _| column_sum_plan(p),
    twin: &|p, args| {
        let ([dy], [], [db]) = args.split()?;
        twin::bias_gradient(&p.geometry, dy, db);
        Ok(())
    },
};

fn column_sum_plan(p: &Params) -> Plan {
    let g = &p.geometry;
    let columns = g.o.div_ceil(64);
    Plan {
        dispatches: vec![Dispatch::new("main", [columns, p.chunks, 1]), Dispatch::new("total", [columns, 1, 1])],
        scratch: vec![(p.chunks * g.o) as usize],
        flops: g.output_pixels() as f64 * f64::from(g.o),
    }
}

/// `y = act(conv(x, w) + b)`; x `[N, H, W, C]`, w in `layout`, b `[O]`, y `[N, Ho, Wo, O]`.
///
/// # Errors
/// Whatever the launch reports.
pub(crate) fn forward(
    geometry: &Geometry,
    layout: Layout,
    activation: Activation,
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    y: &Tensor,
) -> Result<()> {
    let params = Params::new(geometry, layout).finished(activation, b.is_some());
    // Something must be bound as the bias, even where it is not read.
    y.device().launch(&FORWARD, &params, &[x, w, b.unwrap_or(w)], &[], &[y])
}

/// dx `[N, H, W, C]` from dz `[N, Ho, Wo, O]` and w in `layout`. With a bias `[C]` and an activation it is the forward
/// pass of a transposed convolution.
///
/// # Errors
/// Whatever the launch reports.
pub(crate) fn input_gradient(
    geometry: &Geometry,
    layout: Layout,
    activation: Activation,
    dz: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    dx: &Tensor,
) -> Result<()> {
    let params = Params::new(geometry, layout).finished(activation, b.is_some());
    dx.device().launch(&INPUT_GRADIENT, &params, &[dz, w, b.unwrap_or(w)], &[], &[dx])
}

/// dw in `layout` from x `[N, H, W, C]` and dz `[N, Ho, Wo, O]`.
///
/// # Errors
/// Whatever the launch reports.
pub(crate) fn weight_gradient(geometry: &Geometry, layout: Layout, x: &Tensor, dz: &Tensor, dw: &Tensor) -> Result<()> {
    dw.device().launch(&WEIGHT_GRADIENT, &weight_gradient_params(geometry, layout), &[x, dz], &[], &[dw])
}

/// Splits the pixels so that some 512 workgroups have work, within 64 MiB of partial sums, of 256 pixels or more each.
fn weight_gradient_params(geometry: &Geometry, layout: Layout) -> Params {
    let tiles = (geometry.weights() / geometry.o as usize).div_ceil(64) * (geometry.o as usize).div_ceil(64);
    let wanted = 512usize.div_ceil(tiles);
    let fit = (1usize << 24) / geometry.weights();
    let useful = geometry.output_pixels().div_ceil(256);
    Params::new(geometry, layout).chunked(wanted.min(fit).min(useful).max(1), 16)
}

/// dz `[N, Ho, Wo, O]` and db `[O]` from dy and y `[N, Ho, Wo, O]`, where y is behind a ReLU.
fn relu_gradient(dy: &Tensor, y: &Tensor, dz: &Tensor, db: &Tensor) -> Result<()> {
    dy.device().launch(&RELU_GRADIENT, &column_sum_params(dy)?, &[dy, y], &[], &[dz, db])
}

/// db `[O]` is the sum of dy `[N, Ho, Wo, O]` over the pixels.
///
/// # Errors
/// Another number of axes, and whatever the launch reports.
pub(crate) fn bias_gradient(dy: &Tensor, db: &Tensor) -> Result<()> {
    dy.device().launch(&BIAS_GRADIENT, &column_sum_params(dy)?, &[dy], &[], &[db])
}

/// 256 pixels or more each, at most 1024 partial sums.
fn column_sum_params(dy: &Tensor) -> Result<Params> {
    let [n, h, w, o] = dy.nhwc()?;
    // Only the output side matters: that of a 1x1 convolution.
    let geometry = Geometry::new(&[n, h, w, 1], &[1, 1, 1, o], 1, 1, Padding::Same)?;
    Ok(Params::new(&geometry, Layout::Hwio).chunked((n * h * w).div_ceil(256).min(1024), 1))
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[2, 9, 7, 4], 1)?;
    let w = crate::engine::self_test::seeded(device, &[3, 3, 4, 8], 2)?;
    let b = crate::engine::self_test::seeded(device, &[8], 3)?;
    let conv = Conv2d { stride: 2, dilation: 1, padding: Padding::Same, activation: Activation::Relu };
    let forward = conv.forward(&[&x, &w, &b])?;
    let dy = crate::engine::self_test::seeded(device, forward.y.shape(), 4)?;
    let mut results = vec![forward.y.clone()];
    for activation in [Activation::Relu, Activation::None] {
        let mut backward = Backward::new(&dy, &forward.saved, &[true; 3], vec![None; 3]);
        Conv2d { activation, ..conv }.backward(&mut backward)?;
        results.extend(backward.into_grads().into_iter().flatten());
    }
    Ok(results)
}
