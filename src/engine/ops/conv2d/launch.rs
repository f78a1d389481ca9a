//! The launches of a convolution: what the kernels are told, how a GPU divides the work, and the twins.

use crate::engine::device::{
    AnyKernel, Body, Device, Dispatch, GpuInfo, Kernel, Plan, VIEW_ALIGN, View, kernel_text, linear_grid,
};
use crate::engine::ops::conv2d::filtering;
use crate::engine::ops::conv2d::geometry::{Activation, Geometry, Layout, Padding};
use crate::engine::ops::conv2d::params::{DEPTH_QUADS, Params};
use crate::engine::ops::conv2d::products::{FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT};
use crate::engine::ops::conv2d::twin;
use crate::engine::primitives::{accumulate, same_shape};
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&FORWARD, &INPUT_GRADIENT, &WEIGHT_GRADIENT, &RELU_GRADIENT, &BIAS_GRADIENT];

static RELU_GRADIENT: Kernel<Params> = Kernel {
    name: "conv2d_dz",
    bodies: &[
        Body::proved(kernel_text!("conv2d_dz"), &|p, _| column_sum_plan(p, "quads", 4))
            .named("quads", &["quads", "total"])
            .admitting(&|p, _| match p.geometry.o {
                o if o.is_multiple_of(4) => Ok(()),
                o => Err(format!("outputs in multiples of 4, this layer has {o}")),
            }),
        Body::proved(kernel_text!("conv2d_dz"), &|p, _| column_sum_plan(p, "main", 1))
            .named("main", &["main", "total"]),
    ],
    twin: &|p, args| {
        let ([y], [dz], [db]) = args.split()?;
        twin::relu_gradient(&p.geometry, y, dz, db);
        Ok(())
    },
};

static BIAS_GRADIENT: Kernel<Params> = Kernel {
    name: "conv2d_db",
    bodies: &[Body::proved(kernel_text!("conv2d_db"), &|p, _| {
        let (pixels, columns) = (p.geometry.output_pixels(), p.geometry.o as usize);
        let together = columns.next_power_of_two().min(16);
        // Up to 64 pixels an invocation.
        if pixels * together > 64 * 256 {
            return column_sum_plan(p, "main", 1);
        }
        let few = Dispatch::new("few", linear_grid(columns, together));
        Plan { dispatches: vec![few], scratch: Vec::new(), flops: pixels as f64 * columns as f64 }
    })],
    twin: &|p, args| {
        let ([dy], [], [db]) = args.split()?;
        twin::bias_gradient(&p.geometry, dy, db);
        Ok(())
    },
};

/// By invocations of `entry`, each of which sums `wide` columns of a chunk.
fn column_sum_plan(p: &Params, entry: &'static str, wide: u32) -> Plan {
    let g = &p.geometry;
    let sums = g.o.div_ceil(wide) as usize * p.chunks as usize;
    Plan {
        dispatches: vec![
            Dispatch::new(entry, linear_grid(sums, 64)),
            Dispatch::new("total", linear_grid(g.o as usize, 16)),
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
    let params = Params::new(geometry, layout).finished(activation, b.is_some()).cut(
        geometry.c,
        DEPTH_QUADS,
        [geometry.output_pixels(), geometry.o as usize],
    );
    let most = most_flops(y.device(), |gpu| filtering::most_flops_of_y(&params, gpu));
    by_images(geometry, most, x, y, |geometry, x, y| {
        // Something must be bound as the bias, even where it is not read.
        w.device().launch(&FORWARD, &params.on(geometry), &[x, w, b.unwrap_or(w)], &[], &[y])
    })
}

/// Floating-point operations that one launch may have on a device: what it computes in one go, and what can be
/// `filtered` there.
fn most_flops(device: &Device, filtered: impl Fn(&GpuInfo) -> f64) -> f64 {
    let most = device.launch_flops();
    device.gpu_info().map_or(most, |gpu| most.min(filtered(gpu)))
}

/// Calls `launch` with all images of `from` and `to`, or, where those take more than `most` floating-point operations,
/// with some of them at a time, in order. No element of y or dx depends on which images it is computed with.
///
/// # Errors
/// Those of `launch`.
pub(super) fn by_images(
    geometry: &Geometry,
    most: f64,
    from: &View,
    to: &View,
    mut launch: impl FnMut(Geometry, &View, &View) -> Result<()>,
) -> Result<()> {
    let images = geometry.n as usize;
    let [from_len, to_len] = [from, to].map(|view| view.len() / images);
    let aligned = from_len.is_multiple_of(VIEW_ALIGN) && to_len.is_multiple_of(VIEW_ALIGN);
    let step = images as f64 * most / geometry.flops();
    if images == 1 || step >= images as f64 || !aligned {
        return launch(*geometry, from, to);
    }
    // Of about the same size.
    let step = images.div_ceil(images.div_ceil((step as usize).max(1)));
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
    let params = Params::new(geometry, layout).finished(activation, b.is_some()).cut(
        geometry.o,
        DEPTH_QUADS,
        [geometry.input_pixels(), geometry.c as usize],
    );
    let most = most_flops(dx.device(), |gpu| filtering::most_flops_of_dx(&params, gpu));
    by_images(geometry, most, dz, dx, |geometry, dz, dx| {
        w.device().launch(&INPUT_GRADIENT, &params.on(geometry), &[dz, w, b.unwrap_or(w)], &[], &[dx])
    })
}

/// dw in `layout` from x `[N, H, W, C]` and dz `[N, Ho, Wo, O]`.
///
/// # Errors
/// Whatever the launch reports.
pub(crate) fn weight_gradient(geometry: &Geometry, layout: Layout, x: &Tensor, dz: &Tensor, dw: &Tensor) -> Result<()> {
    let on_gpu = dw.device().launch_flops().is_finite();
    let most = if on_gpu { filtering::most_flops_of_dw(geometry, layout).min(MOST_DW_FLOPS) } else { f64::INFINITY };
    weight_gradient_by(geometry, layout, [x, dz], dw, most)
}

/// Floating-point operations of a launch of dw on a GPU: more images go by parts, whose sums are added in order. The
/// same for all GPUs, whatever their pace, lest the bits change with it.
const MOST_DW_FLOPS: f64 = 1e11;

/// As [`weight_gradient`], by launches of at most `most` floating-point operations, if an image has no more.
pub(super) fn weight_gradient_by(
    geometry: &Geometry,
    layout: Layout,
    [x, dz]: [&Tensor; 2],
    dw: &Tensor,
    most: f64,
) -> Result<()> {
    let mut written = false;
    by_images(geometry, most, x, dz, |geometry, x, dz| {
        let params = Params::of_dw(&geometry, layout);
        if !written {
            written = true;
            return dw.device().launch(&WEIGHT_GRADIENT, &params, &[x, dz], &[], &[dw]);
        }
        let part = Tensor::empty(dw.device(), dw.shape())?;
        dw.device().launch(&WEIGHT_GRADIENT, &params, &[x, dz], &[], &[&part])?;
        accumulate(&part, dw)
    })
}

/// Makes dy dz `[N, Ho, Wo, O]`, and db `[O]`, by y `[N, Ho, Wo, O]` behind a ReLU.
pub(super) fn relu_gradient(y: &Tensor, dz: &Tensor, db: &Tensor) -> Result<()> {
    same_shape(dz, y)?;
    dz.device().launch(&RELU_GRADIENT, &column_sum_params(dz)?, &[y], &[dz], &[db])
}

/// db `[O]` is the sum of dy `[N, Ho, Wo, O]` over the pixels.
///
/// # Errors
/// Another number of axes, and whatever the launch reports.
pub(crate) fn bias_gradient(dy: &Tensor, db: &Tensor) -> Result<()> {
    dy.device().launch(&BIAS_GRADIENT, &column_sum_params(dy)?, &[dy], &[], &[db])
}

fn column_sum_params(dy: &Tensor) -> Result<Params> {
    let [n, h, w, o] = dy.nhwc()?;
    // Only the output side matters: that of a 1x1 convolution.
    let geometry = Geometry::new(&[n, h, w, 1], &[1, 1, 1, o], 1, 1, Padding::Same)?;
    Ok(Params::of_column_sums(&geometry))
}
