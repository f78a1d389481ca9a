//! Winograd's filtering on a GPU, see kernels/conv2d_winograd.wgsl and kernels/conv2d_dw_winograd.wgsl: bodies of y, dx
//! and dw, and how the work is divided. They filter what the twin filters, by the same tiles, if the kernel is one of
//! 3x3.

use crate::engine::device::{Body, Constants, Dispatch, GpuInfo, Plan, kernel_text, linear_grid};
use crate::engine::ops::conv2d::admission::{Admitted, TILE_BYTES, tile_fits};
use crate::engine::ops::conv2d::geometry::{Geometry, Layout};
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

/// Of y through workgroup memory.
pub(super) const FORWARD: Body<'_, Params> =
    Body::proved(kernel_text!("conv2d_winograd"), &|p, _| plan(p, of_y(p), Product::Tiled))
        .named("winograd", entries!("product"))
        .admitting(&|p, gpu| tile_fits(gpu, TILE_BYTES).and_then(|()| admits(of_y(p))))
        .suiting(GpuInfo::is_hardware)
        .preferred(&|p, _| filters_y(p));

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
        .preferred(&|p, _| filters_dx(p));

/// Of dx from registers alone.
pub(super) const INPUT_GRADIENT_IN_SOFTWARE: Body<'_, Params> =
    Body::proved(kernel_text!("conv2d_winograd"), &|p, _| plan(p, of_dx(p), Product::Software))
        .named("winograd_software", entries!("software"))
        .with_variants(&[OF_GRADIENT])
        .admitting(&|p, _| admits(of_dx(p)))
        .suiting(GpuInfo::is_software);

/// Of dw through workgroup memory.
pub(super) const WEIGHT_GRADIENT: Body<'_, Params> =
    Body::proved(kernel_text!("conv2d_dw_winograd"), &|p, _| weight_gradient_plan(p))
        .named("winograd", &["tiles", "gradients", "product", "kernel"])
        .admitting(&|p, gpu| tile_fits(gpu, TILE_BYTES).and_then(|()| admits_dw(p)))
        .suiting(GpuInfo::is_hardware)
        .preferred(&|p, _| filters_dw(p));

fn admits_dw(p: &Params) -> Admitted {
    of_y(p).ok_or(WHAT)?;
    most_of(weight_gradient_scratch(p))
}

/// Whether a card makes y by filtering, if it makes it in f32.
pub(super) fn filters_y(p: &Params) -> bool {
    saves_time(p) && admits(of_y(p)).is_ok()
}

/// The same of dx.
pub(super) fn filters_dx(p: &Params) -> bool {
    saves_time(p) && admits(of_dx(p)).is_ok()
}

/// Whether it makes dw by filtering, in f16 too: matrices of f16 took an H200 1.27 ms where this takes 0.65, of 512 to
/// 512 channels, 32x32 pixels, 16 images.
pub(super) fn filters_dw(p: &Params) -> bool {
    saves_time(p) && admits_dw(p).is_ok()
}

/// Pixels of an image below which launches and transformed weights cost more than products are saved.
const LEAST_PIXELS: u32 = 1024;
/// The same of floating-point operations, with at least so many pairs of channels, or with any.
const LEAST_FLOPS: [(u32, f64); 2] = [(1 << 15, 1e9), (0, 2e9)];

/// Whether it is likely to be the fastest body on a card, by what one card said (benches/results/on-gpu-h200.md). By
/// one image, so that the choice does not depend on how many it is computed with.
fn saves_time(p: &Params) -> bool {
    let g = &p.geometry;
    let flops = g.flops() / f64::from(g.n);
    let worth = |(pairs, least): (u32, f64)| g.c * g.o >= pairs && flops >= least;
    g.ho * g.wo >= LEAST_PIXELS && LEAST_FLOPS.into_iter().any(worth)
}

fn of_y(p: &Params) -> Option<Winograd> {
    Winograd::forward(&p.geometry, p.layout()).filter(|filtering| filtering.taps == 3)
}

fn of_dx(p: &Params) -> Option<Winograd> {
    Winograd::input_gradient(&p.geometry, p.layout()).filter(|filtering| filtering.taps == 3)
}

/// What is filtered.
const WHAT: &str = "3x3 kernels of stride 1, 64 channels or more on both sides in multiples of 16, images of 4x4 tiles";

fn admits(filtering: Option<Winograd>) -> Admitted {
    let filtering = filtering.ok_or(WHAT)?;
    let channels = filtering.input.channels;
    if channels > MOST_CHANNELS {
        return Err(format!("at most {MOST_CHANNELS} channels to sum over, this layer has {channels}"));
    }
    most_of(scratch(&filtering))
}

fn most_of<const N: usize>(scratch: [usize; N]) -> Admitted {
    match scratch.into_iter().max() {
        Some(most) if most > MOST_SCRATCH => {
            Err(format!("at most {MOST_SCRATCH} elements of scratch, this layer takes {most}"))
        }
        _ => Ok(()),
    }
}

/// Floating-point operations of a launch of y that a GPU filters: more images than the scratch has room for go by
/// parts.
pub(super) fn most_flops_of_y(p: &Params, gpu: &GpuInfo) -> f64 {
    most_flops(p, gpu, [filters_y, |p| of_y(p).is_some()])
}

/// The same of dx.
pub(super) fn most_flops_of_dx(p: &Params, gpu: &GpuInfo) -> f64 {
    most_flops(p, gpu, [filters_dx, |p| of_dx(p).is_some()])
}

/// The same of dw, on any GPU.
pub(super) fn most_flops_of_dw(geometry: &Geometry, layout: Layout) -> f64 {
    let of_image = Geometry { n: 1, ..*geometry };
    if filters_dw(&Params::new(&of_image, layout)) { room(&of_image) } else { f64::INFINITY }
}

fn most_flops(p: &Params, gpu: &GpuInfo, [on_card, in_software]: [fn(&Params) -> bool; 2]) -> f64 {
    let of_image = p.on(Geometry { n: 1, ..p.geometry });
    let filters = if gpu.software { in_software(&of_image) } else { gpu.matrices.is_none() && on_card(&of_image) };
    if filters { room(&of_image.geometry) } else { f64::INFINITY }
}

/// Floating-point operations of as many images as the scratch has room for.
fn room(of_image: &Geometry) -> f64 {
    let forward = Winograd::forward(of_image, Layout::Hwio);
    let filterings = [forward, Winograd::input_gradient(of_image, Layout::Hwio)].into_iter().flatten();
    let most = filterings.map(|filtering| {
        // Of x and of dx; tiles may differ by a row or two.
        let channels = filtering.input.channels.max(filtering.output.channels);
        POINTS * counts(&filtering)[1] * channels
    });
    of_image.flops() * (MOST_SCRATCH / most.max().unwrap_or(1)).max(1) as f64
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
    // Not the sizes: these would be seven pipelines a layer, of kernels that wait for memory or do not divide within.
    let constants = if filtering.turned { OF_GRADIENT } else { &[] };
    Plan {
        dispatches: dispatches.into_iter().map(|dispatch| dispatch.with(constants)).collect(),
        scratch: scratch(&filtering).to_vec(),
        flops: p.geometry.flops(),
    }
}

/// Workgroups of a product of V and Z: sixteen for each of 128 multiprocessors.
const GROUPS: usize = 2048;
/// Tiles below which a part of a sum costs more than it gains.
const LEAST_TILES: usize = 64;

/// Into how many parts the tiles are cut.
fn chunks_of_tiles(filtering: &Winograd) -> usize {
    let [rows, columns] = [&filtering.input, &filtering.output].map(|side| side.channels);
    let [_, tiles] = counts(filtering);
    let wanted = GROUPS.div_ceil(POINTS * rows.div_ceil(64) * columns.div_ceil(64));
    wanted.min(MOST_SCRATCH / (POINTS * rows * columns)).min(tiles / LEAST_TILES).max(1)
}

/// V, Z and M.
fn weight_gradient_scratch(p: &Params) -> [usize; 3] {
    let Some(filtering) = of_y(p) else { return [0; 3] };
    let [depth, columns] = [filtering.input.channels, filtering.output.channels];
    let [_, tiles] = counts(&filtering);
    let [v, z] = [depth, columns].map(|channels| POINTS * tiles * channels);
    [v, z, chunks_of_tiles(&filtering) * POINTS * depth * columns]
}

fn weight_gradient_plan(p: &Params) -> Plan {
    let Some(filtering) = of_y(p) else { return Plan::default() };
    let [_, tiles] = counts(&filtering);
    let [rows, columns] = [filtering.input.channels, filtering.output.channels];
    let chunks = chunks_of_tiles(&filtering);
    let constants = vec![("CHUNKS", chunks as f64)];
    let dispatches = [
        Dispatch::new("tiles", linear_grid(tiles * rows / 2, 64)),
        Dispatch::new("gradients", linear_grid(tiles * columns / 2, 64)),
        Dispatch::new("product", linear_grid(chunks * POINTS * rows.div_ceil(64) * columns.div_ceil(64), 1))
            .with(constants.clone()),
        Dispatch::new("kernel", linear_grid(rows * columns / 4, 64)).with(constants),
    ];
    Plan { dispatches: dispatches.to_vec(), scratch: weight_gradient_scratch(p).to_vec(), flops: p.geometry.flops() }
}
