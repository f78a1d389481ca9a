//! Winograd's filtering on a GPU, see kernels/conv2d_winograd.wgsl: bodies of y and of dx, and how the work is divided.
//! They filter what the twin filters, by the same tiles, if the kernel is one of 3x3.

use crate::engine::device::{Body, Constants, Dispatch, GpuInfo, Plan, kernel_text, linear_grid};
use crate::engine::ops::conv2d::admission::{Admitted, TILE_BYTES, tile_fits};
use crate::engine::ops::conv2d::params::Params;
use crate::engine::ops::conv2d::winograd::{POINTS, Winograd};

/// Elements of a scratch buffer: 128 MiB, which every adapter can bind.
const MOST_SCRATCH: usize = 1 << 25;
/// Channels that an invocation may loop over together with the loops within, see kernels/README.md.
const MOST_CHANNELS: usize = 4096;

/// The constant by which the text makes dx of dz, not y of x.
const OF_GRADIENT: &Constants = &[("GRADIENT", 1.0)];

/// The entry points of a body whose products are made by `$product`.
macro_rules! entries {
    ($product:literal) => {
        &["weights", "peaks", "uneven", "tiles", $product, "outputs", "direct"]
    };
}

/// Of y through workgroup memory. Whether it is the faster on a card is for `tune` to say.
pub(super) const FORWARD: Body<'_, Params> =
    Body::proved(kernel_text!("conv2d_winograd"), &|p, _| plan(p, of_y(p), Product::Tiled))
        .named("winograd", entries!("product"))
        .admitting(&|p, gpu| tile_fits(gpu, TILE_BYTES).and_then(|()| admits(of_y(p))))
        .suiting(GpuInfo::is_hardware)
        .preferred(&|_, _| false);

/// Of y from registers alone.
pub(super) const FORWARD_IN_SOFTWARE: Body<'_, Params> =
    Body::proved(kernel_text!("conv2d_winograd"), &|p, _| plan(p, of_y(p), Product::Software))
        .named("winograd_software", entries!("software"))
        .admitting(&|p, _| admits(of_y(p)))
        .suiting(GpuInfo::is_software);

/// Of dx through workgroup memory.
pub(super) const INPUT_GRADIENT: Body<'_, Params> =
    Body::proved(kernel_text!("conv2d_winograd"), &|p, _| plan(p, of_dx(p), Product::Tiled))
        .named("winograd", entries!("product"))
        .with_variants(&[OF_GRADIENT])
        .admitting(&|p, gpu| tile_fits(gpu, TILE_BYTES).and_then(|()| admits(of_dx(p))))
        .suiting(GpuInfo::is_hardware)
        .preferred(&|_, _| false);

/// Of dx from registers alone.
pub(super) const INPUT_GRADIENT_IN_SOFTWARE: Body<'_, Params> =
    Body::proved(kernel_text!("conv2d_winograd"), &|p, _| plan(p, of_dx(p), Product::Software))
        .named("winograd_software", entries!("software"))
        .with_variants(&[OF_GRADIENT])
        .admitting(&|p, _| admits(of_dx(p)))
        .suiting(GpuInfo::is_software);

fn of_y(p: &Params) -> Option<Winograd> {
    Winograd::forward(&p.geometry, p.layout()).filter(|filtering| filtering.taps == 3)
}

fn of_dx(p: &Params) -> Option<Winograd> {
    Winograd::input_gradient(&p.geometry, p.layout()).filter(|filtering| filtering.taps == 3)
}

fn admits(filtering: Option<Winograd>) -> Admitted {
    let what = "3x3 kernels of stride 1, 64 channels or more on both sides in multiples of 16, images of 4x4 tiles";
    let filtering = filtering.ok_or(what)?;
    let channels = filtering.input.channels;
    if channels > MOST_CHANNELS {
        return Err(format!("at most {MOST_CHANNELS} channels to sum over, this layer has {channels}"));
    }
    match scratch(&filtering).into_iter().max() {
        Some(most) if most > MOST_SCRATCH => {
            Err(format!("at most {MOST_SCRATCH} elements of scratch, this layer takes {most}"))
        }
        _ => Ok(()),
    }
}

/// Pixels that are read, of all images, and tiles.
fn counts(filtering: &Winograd) -> [usize; 2] {
    let [height, width] = filtering.input.size;
    [filtering.pictures * height * width, filtering.bands() * filtering.band_tiles()]
}

/// U, V, M, the peaks of pixels, and which tiles are uneven.
fn scratch(filtering: &Winograd) -> [usize; 5] {
    let [depth, columns] = [filtering.input.channels, filtering.output.channels];
    let [pixels, tiles] = counts(filtering);
    [POINTS * depth * columns, POINTS * tiles * depth, POINTS * tiles * columns, 4 * pixels, tiles]
}

/// How the products at the points are made.
#[derive(Clone, Copy)]
enum Product {
    /// Tiles of 64 x 64 in workgroup memory.
    Tiled,
    /// 16 x 64 by a workgroup, from registers.
    Software,
}

fn plan(p: &Params, filtering: Option<Winograd>, product: Product) -> Plan {
    let Some(filtering) = filtering else { return Plan::default() };
    let [pixels, tiles] = counts(&filtering);
    let [depth, columns] = [filtering.input.channels, filtering.output.channels];
    let products = |rows: usize| linear_grid(POINTS * tiles.div_ceil(rows) * columns.div_ceil(64), 1);
    let dispatches = [
        Dispatch::new("weights", linear_grid(depth * columns / 4, 64)),
        Dispatch::new("peaks", linear_grid(4 * pixels, 64)),
        Dispatch::new("uneven", linear_grid(tiles, 64)),
        Dispatch::new("tiles", linear_grid(tiles * depth / 2, 64)),
        match product {
            Product::Tiled => Dispatch::new("product", products(64)),
            Product::Software => Dispatch::new("software", products(16)),
        },
        Dispatch::new("outputs", linear_grid(tiles * columns / 4, 64)),
        Dispatch::new("direct", linear_grid(tiles * columns.div_ceil(16), 1)),
    ];
    let constants = match filtering.turned {
        true => [OF_GRADIENT, &p.of_layer_and_size()].concat(),
        false => p.of_layer(),
    };
    Plan {
        dispatches: dispatches.into_iter().map(|dispatch| dispatch.with(constants.clone())).collect(),
        scratch: scratch(&filtering).to_vec(),
        flops: p.geometry.flops(),
    }
}
