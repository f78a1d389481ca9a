//! The launches of a convolution: what the kernels are told, how a GPU divides the work, and the twins.

use crate::engine::device::{
    AnyKernel, Body, Dispatch, GpuInfo, Kernel, Plan, VIEW_ALIGN, View, kernel_text, linear_grid,
};
use crate::engine::ops::conv2d::geometry::{Activation, Geometry, Layout, Padding};
use crate::engine::ops::conv2d::twin;
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&FORWARD, &INPUT_GRADIENT, &WEIGHT_GRADIENT, &RELU_GRADIENT, &BIAS_GRADIENT];

/// What every kernel here is told; kernels/lib/conv.wgsl has the same.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    geometry: Geometry,
    relu: u32,
    /// What one partial sum runs over (quads of the depth of y and dx, pixels of dw and db), and the number of partial
    /// sums.
    chunk: u32,
    chunks: u32,
    /// Whether there is a bias.
    biased: u32,
    /// Elements from the weight of one channel, and of one output, to that of the next.
    channel_step: u32,
    output_step: u32,
    /// Which taps reach an input pixel, see kernels/lib/conv.wgsl.
    tap_step: u32,
    phase_step: u32,
    inverse: u32,
}

/// Quads of the depth (taps and channels) that one invocation of y or dx runs over: with the loops around them below
/// the 65,535 turns that some drivers allow an invocation in all.
pub(super) const DEPTH_QUADS: usize = 1 << 13;
/// Pixels that one invocation of dw or db runs over.
const CHUNK_PIXELS: usize = 1 << 14;

impl Params {
    pub(super) fn new(geometry: &Geometry, layout: Layout) -> Self {
        let (channel_step, output_step) = match layout {
            Layout::Hwio => (geometry.o, 1),
            Layout::Hwoi => (1, geometry.c),
        };
        let (stride, dilation) = (u64::from(geometry.stride), u64::from(geometry.dilation));
        let phase_step = greatest_common_divisor(stride, dilation);
        let tap_step = stride / phase_step;
        let inverse = (0..tap_step).find(|k| k * (dilation / phase_step) % tap_step == 1 % tap_step).unwrap_or(0);
        let [tap_step, phase_step, inverse] = [tap_step, phase_step, inverse].map(|v| v as u32);
        Params {
            geometry: *geometry,
            relu: 0,
            chunk: 0,
            chunks: 1,
            biased: 0,
            channel_step,
            output_step,
            tap_step,
            phase_step,
            inverse,
        }
    }

    /// With what follows the sums.
    pub(super) fn finished(self, activation: Activation, biased: bool) -> Self {
        Params { relu: u32::from(activation == Activation::Relu), biased: u32::from(biased), ..self }
    }

    /// Cuts the depth, Kh Kw taps of `channels` each, into parts of at most `most` quads.
    pub(super) fn cut(self, channels: u32, most: usize) -> Self {
        let taps = self.geometry.kh as usize * self.geometry.kw as usize;
        let depth = taps * channels.div_ceil(4) as usize;
        // Whole slices of the workgroup's tiles.
        let chunk = depth.div_ceil(depth.div_ceil(most)).next_multiple_of(4);
        Params { chunk: chunk as u32, chunks: depth.div_ceil(chunk) as u32, ..self }
    }

    /// Cuts the output pixels into at most `chunks` parts of a multiple of `align` pixels.
    pub(super) fn chunked(self, chunks: usize, align: usize) -> Self {
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

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Bodies of the three matrix products, each named as its entry point, see kernels/conv2d.wgsl.
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

/// The bodies of a product whose text is `kernels/FILE.wgsl`, the fastest first.
macro_rules! bodies {
    ($file:literal, $plan:ident) => {
        &[
            Body::proved(kernel_text!($file), &|p, _| $plan(p, Variant::Quads))
                .named("quads", &["quads", "total"])
                .admitting(&|p, gpu| tile_fits(gpu).and_then(|()| whole_quads(&p.geometry)))
                .suiting(GpuInfo::is_hardware),
            Body::proved(kernel_text!($file), &|p, _| $plan(p, Variant::Scalars))
                .named("scalars", &["scalars", "total"])
                .admitting(&|_, gpu| tile_fits(gpu))
                .suiting(GpuInfo::is_hardware),
            Body::proved(kernel_text!($file), &|p, _| $plan(p, Variant::Software))
                .named("software", &["software", "total"])
                .suiting(GpuInfo::is_software),
        ]
    };
}

fn tile_fits(gpu: &GpuInfo) -> std::result::Result<(), String> {
    let have = gpu.workgroup_bytes;
    if have >= TILE_BYTES { Ok(()) } else { Err(format!("{TILE_BYTES} bytes of workgroup memory, there are {have}")) }
}

fn whole_quads(g: &Geometry) -> std::result::Result<(), String> {
    let whole = g.c.is_multiple_of(4) && g.o.is_multiple_of(4);
    if whole { Ok(()) } else { Err(format!("channels in multiples of 4, this layer has {} to {}", g.c, g.o)) }
}

impl Variant {
    /// The dispatch of `count` products of `rows` x `columns`.
    fn dispatch(self, rows: usize, columns: usize, count: usize) -> Dispatch {
        let (entry, tile) = match self {
            Variant::Quads => ("quads", [64, 64]),
            Variant::Scalars => ("scalars", [64, 64]),
            Variant::Software => ("software", [8, 32]),
        };
        let tiles = rows.div_ceil(tile[0]) * columns.div_ceil(tile[1]);
        Dispatch::new(entry, linear_grid(count * tiles, 1))
    }
}

pub(super) static FORWARD: Kernel<Params> = Kernel {
    name: "conv2d",
    bodies: bodies!("conv2d", forward_plan),
    twin: &|p, args| {
        let ([x, w, b], [], [y]) = args.split()?;
        twin::forward(&p.geometry, p.layout(), p.finish(b), x, w, y);
        Ok(())
    },
};

fn forward_plan(p: &Params, variant: Variant) -> Plan {
    let g = &p.geometry;
    let product = variant.dispatch(g.output_pixels(), g.o as usize, p.chunks as usize);
    product_plan(p, product, g.output_pixels() * g.o as usize)
}

/// A product, and, where the depth is cut, the sum of its parts, each of `len` elements.
fn product_plan(p: &Params, product: Dispatch, len: usize) -> Plan {
    let flops = p.geometry.flops();
    match p.chunks {
        // Something must be bound for the partial sums.
        1 => Plan { dispatches: vec![product], scratch: vec![1], flops },
        chunks => {
            let total = Dispatch::new("total", linear_grid(len, 256));
            Plan { dispatches: vec![product, total], scratch: vec![chunks as usize * len], flops }
        }
    }
}

pub(super) static INPUT_GRADIENT: Kernel<Params> = Kernel {
    name: "conv2d_dx",
    bodies: bodies!("conv2d_dx", input_gradient_plan),
    twin: &|p, args| {
        let ([dz, w, b], [], [dx]) = args.split()?;
        twin::input_gradient(&p.geometry, p.layout(), p.finish(b), dz, w, dx);
        Ok(())
    },
};

fn input_gradient_plan(p: &Params, variant: Variant) -> Plan {
    let g = &p.geometry;
    // The largest phase has this many pixels.
    let rows = g.n as usize * g.h.div_ceil(g.stride) as usize * g.w.div_ceil(g.stride) as usize;
    let phases = g.h.min(g.stride) as usize * g.w.min(g.stride) as usize;
    let product = variant.dispatch(rows, g.c as usize, phases * p.chunks as usize);
    product_plan(p, product, g.input_shape().iter().product())
}

pub(super) static WEIGHT_GRADIENT: Kernel<Params> = Kernel {
    name: "conv2d_dw",
    bodies: bodies!("conv2d_dw", weight_gradient_plan),
    twin: &|p, args| {
        let ([x, dz], [], [dw]) = args.split()?;
        twin::weight_gradient(&p.geometry, p.layout(), x, dz, dw);
        Ok(())
    },
};

fn weight_gradient_plan(p: &Params, variant: Variant) -> Plan {
    let g = &p.geometry;
    let channels = if variant == Variant::Software { g.c } else { g.c.next_multiple_of(4) };
    let product = variant.dispatch((g.kh * g.kw * channels) as usize, g.o as usize, p.chunks as usize);
    let total = Dispatch::new("total", linear_grid(g.weights(), 256));
    Plan { dispatches: vec![product, total], scratch: vec![p.chunks as usize * g.weights()], flops: g.flops() }
}

static RELU_GRADIENT: Kernel<Params> = Kernel {
    name: "conv2d_dz",
    bodies: &[
        Body::proved(kernel_text!("conv2d_dz"), &|p, _| quad_sum_plan(p))
            .named("quads", &["quads", "total"])
            .admitting(&|p, _| match p.geometry.o {
                o if o.is_multiple_of(4) => Ok(()),
                o => Err(format!("outputs in multiples of 4, this layer has {o}")),
            }),
        Body::proved(kernel_text!("conv2d_dz"), &|p, _| column_sum_plan(p)).named("main", &["main", "total"]),
    ],
    twin: &|p, args| {
        let ([dy, y], [], [dz, db]) = args.split()?;
        twin::relu_gradient(&p.geometry, dy, y, dz, db);
        Ok(())
    },
};

static BIAS_GRADIENT: Kernel<Params> = Kernel {
    name: "conv2d_db",
    bodies: &[Body::proved(kernel_text!("conv2d_db"), &|p, _| column_sum_plan(p))],
    twin: &|p, args| {
        let ([dy], [], [db]) = args.split()?;
        twin::bias_gradient(&p.geometry, dy, db);
        Ok(())
    },
};

fn quad_sum_plan(p: &Params) -> Plan {
    let quads = p.geometry.o as usize / 4 * p.chunks as usize;
    let mut plan = column_sum_plan(p);
    plan.dispatches[0] = Dispatch::new("quads", linear_grid(quads, 64));
    plan
}

fn column_sum_plan(p: &Params) -> Plan {
    let g = &p.geometry;
    let columns = g.o.div_ceil(64) as usize;
    Plan {
        dispatches: vec![
            Dispatch::new("main", linear_grid(columns * p.chunks as usize, 1)),
            Dispatch::new("total", linear_grid(columns, 1)),
        ],
        scratch: vec![p.chunks as usize * g.o as usize],
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
    let params = Params::new(geometry, layout).finished(activation, b.is_some()).cut(geometry.c, DEPTH_QUADS);
    let most = y.device().launch_flops();
    by_images(geometry, most, x, y, |geometry, x, y| {
        // Something must be bound as the bias, even where it is not read.
        w.device().launch(&FORWARD, &Params { geometry, ..params }, &[x, w, b.unwrap_or(w)], &[], &[y])
    })
}

/// Calls `launch` with all images of `from` and `to`, or, where those take more than `most` floating-point operations,
/// with some of them at a time: no element of y or dx depends on which images it is computed with.
///
/// # Errors
/// Those of `launch`.
pub(super) fn by_images(
    geometry: &Geometry,
    most: f64,
    from: &View,
    to: &View,
    launch: impl Fn(Geometry, &View, &View) -> Result<()>,
) -> Result<()> {
    let images = geometry.n as usize;
    let [from_len, to_len] = [from, to].map(|view| view.len() / images);
    let aligned = from_len.is_multiple_of(VIEW_ALIGN) && to_len.is_multiple_of(VIEW_ALIGN);
    let step = images as f64 * most / geometry.flops();
    if images == 1 || step >= images as f64 || !aligned {
        return launch(*geometry, from, to);
    }
    let step = (step as usize).max(1);
    for first in (0..images).step_by(step) {
        let count = step.min(images - first);
        let [from, to] = [(from, from_len), (to, to_len)].map(|(view, len)| {
            let shape = [&[count], &view.shape()[1..]].concat();
            view.part(first * len, &shape)
        });
        launch(Geometry { n: count as u32, ..*geometry }, &from?, &to?)?;
    }
    Ok(())
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
    let params = Params::new(geometry, layout).finished(activation, b.is_some()).cut(geometry.o, DEPTH_QUADS);
    let most = dx.device().launch_flops();
    by_images(geometry, most, dz, dx, |geometry, dz, dx| {
        w.device().launch(&INPUT_GRADIENT, &Params { geometry, ..params }, &[dz, w, b.unwrap_or(w)], &[], &[dx])
    })
}

/// dw in `layout` from x `[N, H, W, C]` and dz `[N, Ho, Wo, O]`.
///
/// # Errors
/// Whatever the launch reports.
pub(crate) fn weight_gradient(geometry: &Geometry, layout: Layout, x: &Tensor, dz: &Tensor, dw: &Tensor) -> Result<()> {
    dw.device().launch(&WEIGHT_GRADIENT, &weight_gradient_params(geometry, layout), &[x, dz], &[], &[dw])
}

/// Splits the pixels so that some 512 workgroups have work, within 64 MiB of partial sums, of 256 pixels or more each,
/// but no invocation more than it may loop over.
fn weight_gradient_params(geometry: &Geometry, layout: Layout) -> Params {
    let tiles = (geometry.weights() / geometry.o as usize).div_ceil(64) * (geometry.o as usize).div_ceil(64);
    let wanted = 512usize.div_ceil(tiles);
    let fit = (1usize << 24) / geometry.weights();
    let useful = geometry.output_pixels().div_ceil(256);
    let needed = geometry.output_pixels().div_ceil(CHUNK_PIXELS);
    Params::new(geometry, layout).chunked(wanted.min(fit).min(useful).max(needed), 16)
}

/// dz `[N, Ho, Wo, O]` and db `[O]` from dy and y `[N, Ho, Wo, O]`, where y is behind a ReLU.
pub(super) fn relu_gradient(dy: &Tensor, y: &Tensor, dz: &Tensor, db: &Tensor) -> Result<()> {
    same_shape(dy, y)?;
    dy.device().launch(&RELU_GRADIENT, &column_sum_params(dy)?, &[dy, y], &[], &[dz, db])
}

/// db `[O]` is the sum of dy `[N, Ho, Wo, O]` over the pixels.
///
/// # Errors
/// Another number of axes, and whatever the launch reports.
pub(crate) fn bias_gradient(dy: &Tensor, db: &Tensor) -> Result<()> {
    dy.device().launch(&BIAS_GRADIENT, &column_sum_params(dy)?, &[dy], &[], &[db])
}

/// 256 pixels or more each, at most 1024 partial sums unless an invocation had to loop over too many pixels.
fn column_sum_params(dy: &Tensor) -> Result<Params> {
    let [n, h, w, o] = dy.nhwc()?;
    // Only the output side matters: that of a 1x1 convolution.
    let geometry = Geometry::new(&[n, h, w, 1], &[1, 1, 1, o], 1, 1, Padding::Same)?;
    let pixels = n * h * w;
    let chunks = pixels.div_ceil(256).min(1024).max(pixels.div_ceil(CHUNK_PIXELS));
    Ok(Params::new(&geometry, Layout::Hwio).chunked(chunks, 1))
}
