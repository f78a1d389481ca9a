//! The three matrix products of a convolution: kernels, their bodies, and how a GPU divides the work.

use crate::engine::device::{Body, Constants, Dispatch, GpuInfo, Kernel, Matrices, Plan, kernel_text, linear_grid};
use crate::engine::ops::conv2d::admission::{Admitted, TILE_BYTES, tile_fits};
#[cfg(feature = "gpu")]
use crate::engine::ops::conv2d::filtering;
use crate::engine::ops::conv2d::filtering::{filters_dw, filters_dx, filters_y};
use crate::engine::ops::conv2d::geometry::Geometry;
use crate::engine::ops::conv2d::params::Params;
use crate::engine::ops::conv2d::twin;

/// Bodies of the three matrix products, each named as its entry point, see kernels/conv2d.wgsl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// Workgroup tiles of 8 x 8 cooperative matrices of f16; channels and outputs are multiples of 4.
    Coop(Matrices),
    /// Workgroup tiles of 128 x 128, vec4 loads; channels and outputs are multiples of 4, depths of 16.
    Wide,
    /// Workgroup tiles of 256 x 4, vec4 loads; four columns at most, depths in multiples of 16.
    Narrow,
    /// Workgroup tiles of 64 x 64, vec4 loads; channels and outputs are multiples of 4.
    Quads,
    /// Workgroup tiles, scalar loads.
    Scalars,
    /// Registers alone, tiles of 16 x 64, vec4 loads; channels and outputs are multiples of 4.
    SoftwareQuads,
    /// Registers alone.
    Software,
}

/// Bytes of workgroup memory that a wide tile takes, see kernels/lib/wide_tile.wgsl.
const WIDE_TILE_BYTES: u32 = 2 * 528 * 16;
/// The same of a narrow one, see kernels/lib/narrow_tile.wgsl.
const NARROW_TILE_BYTES: u32 = (1040 + 16) * 16;
/// Sides and subgroups of the matrices that GPUs have: NVIDIA's, those of AMD under RADV, a software driver's.
const MATRICES: &[&Constants] = &[
    &[("SIDE", 16.0), ("SUBGROUP", 32.0)],
    &[("SIDE", 16.0), ("SUBGROUP", 64.0)],
    &[("SIDE", 8.0), ("SUBGROUP", 8.0)],
];

/// Bytes of workgroup memory of a tile of matrices, see kernels/lib/coop.wgsl: rows, columns, a patch for each of eight
/// subgroups.
fn coop_bytes(Matrices { side, .. }: Matrices) -> u32 {
    let (tile, slice) = (8 * side, 2 * side);
    2 * 8 * tile * (slice / 4 + 2) + 8 * 16 * side * (side / 4 + 1)
}

/// Workgroups of wide tiles below which smaller ones keep more of a card busy.
const WIDE_GROUPS: u32 = 128;

/// The bodies of a product whose text is `kernels/FILE.wgsl`, in the order in which they are asked: each that suits a
/// card is likely to be the fastest of those that are left, unless it has a word of its own (`preferred`).
macro_rules! bodies {
    (
        $file:literal, $coop:literal, $plan:ident, $in_f16:ident, $slices:ident, $wide:ident,
        [$($filtered:path),*], $filters:ident $(, $narrow:ident)?
    ) => {
        &[
            Body::proved(kernel_text!($coop), &|p, gpu| match gpu.matrices {
                Some(matrices) => $plan(p, Variant::Coop(matrices)),
                None => Plan::default(),
            })
            .named("coop", &["coop", "total"])
            .with_variants(MATRICES)
            .admitting(&|p, gpu| {
                let matrices = gpu.matrices.ok_or("f16, which the device was not opened for")?;
                tile_fits(gpu, coop_bytes(matrices))?;
                whole_quads(&p.geometry)
            })
            .suiting(|gpu| gpu.matrices.is_some())
            .preferred(&|p, _| $in_f16(p)),
            Body::proved(kernel_text!($file), &|p, _| $plan(p, Variant::Wide))
                .named("wide", &["wide", "total"])
                .admitting(&|p, gpu| {
                    tile_fits(gpu, WIDE_TILE_BYTES)?;
                    whole_quads(&p.geometry)?;
                    $slices(&p.geometry)
                })
                .suiting(GpuInfo::is_hardware)
                .preferred(&|p, _| !$filters(p) && $wide(p) && fills_a_card(&$plan(p, Variant::Wide))),
            $(Body::proved(kernel_text!($file), &|p, _| $plan(p, Variant::Narrow))
                .named("narrow", &["narrow", "total"])
                .admitting(&|p, gpu| tile_fits(gpu, NARROW_TILE_BYTES).and_then(|()| $narrow(&p.geometry)))
                .suiting(GpuInfo::is_hardware),)?
            Body::proved(kernel_text!($file), &|p, _| $plan(p, Variant::Quads))
                .named("quads", &["quads", "total"])
                .admitting(&|p, gpu| tile_fits(gpu, TILE_BYTES).and_then(|()| whole_quads(&p.geometry)))
                .suiting(GpuInfo::is_hardware)
                .preferred(&|p, _| !$filters(p)),
            Body::proved(kernel_text!($file), &|p, _| $plan(p, Variant::Scalars))
                .named("scalars", &["scalars", "total"])
                .admitting(&|_, gpu| tile_fits(gpu, TILE_BYTES))
                .suiting(GpuInfo::is_hardware)
                .preferred(&|p, _| !$filters(p)),
            $(#[cfg(feature = "gpu")]
            $filtered,)*
            Body::proved(kernel_text!($file), &|p, _| $plan(p, Variant::SoftwareQuads))
                .named("software_quads", &["software_quads", "total"])
                .admitting(&|p, _| whole_quads(&p.geometry))
                .suiting(GpuInfo::is_software),
            Body::proved(kernel_text!($file), &|p, _| $plan(p, Variant::Software))
                .named("software", &["software", "total"])
                .suiting(GpuInfo::is_software),
        ]
    };
}

/// The constants of a text for matrices.
fn constants_of(Matrices { side, subgroup }: Matrices) -> [(&'static str, f64); 2] {
    [("SIDE", f64::from(side)), ("SUBGROUP", f64::from(subgroup))]
}

fn whole_quads(g: &Geometry) -> Admitted {
    let whole = g.c.is_multiple_of(4) && g.o.is_multiple_of(4);
    if whole { Ok(()) } else { Err(format!("channels in multiples of 4, this layer has {} to {}", g.c, g.o)) }
}

/// No slice of y's depth may lie in two taps.
fn whole_slices_of_y(g: &Geometry) -> Admitted {
    whole_slices(g.c, "channels")
}

fn whole_slices_of_dx(g: &Geometry) -> Admitted {
    whole_slices(g.o, "outputs")
}

/// The depth of dw are pixels.
fn whole_slices_of_dw(_: &Geometry) -> Admitted {
    Ok(())
}

fn whole_slices(depth: u32, what: &str) -> Admitted {
    if depth.is_multiple_of(16) { Ok(()) } else { Err(format!("{what} in multiples of 16, this layer has {depth}")) }
}

fn few_outputs(g: &Geometry) -> Admitted {
    few_columns(g.o, "outputs", g.c, "channels")
}

fn few_channels(g: &Geometry) -> Admitted {
    few_columns(g.c, "channels", g.o, "outputs")
}

fn few_columns(columns: u32, of: &str, depth: u32, along: &str) -> Admitted {
    match columns <= 4 && depth.is_multiple_of(16) {
        true => Ok(()),
        false => Err(format!("4 {of} at most and {along} in multiples of 16, this layer has {columns} and {depth}")),
    }
}

/// Whether there are so many workgroups that most of a card has one.
fn fills_a_card(plan: &Plan) -> bool {
    plan.dispatches[0].groups.iter().product::<u32>() >= WIDE_GROUPS
}

// Which of the large tiles is the faster is what one card said (benches/results/on-gpu-h200.md); `tune` asks the one at
// hand.

/// Of y matrices, but for few outputs.
fn matrices_for_y(p: &Params) -> bool {
    p.geometry.o > 4
}

/// Of dx the same.
fn matrices_for_dx(p: &Params) -> bool {
    p.geometry.c > 4
}

/// Of dw the same, but where filtering in f32 is the faster.
fn matrices_for_dw(p: &Params) -> bool {
    p.geometry.o > 4 && !filters_dw(p)
}

/// Of y wide ones where the depth is cut and the outputs fill them: with many pixels small ones are as fast.
fn wide_for_y(p: &Params) -> bool {
    p.chunks > 1 && p.geometry.o > 64
}

/// Of dx wide ones where the channels fill them, and the depth is whole or the pixels are of one phase.
fn wide_for_dx(p: &Params) -> bool {
    (p.chunks == 1 || p.geometry.stride == 1) && p.geometry.c > 64
}

/// Of dw wide ones where the outputs fill them.
fn wide_for_dw(p: &Params) -> bool {
    p.geometry.o > 64
}

impl Variant {
    /// The dispatch of `count` products of `rows` x `columns`, with these fields of the parameters as constants.
    fn dispatch(self, fields: Vec<(&'static str, f64)>, rows: usize, columns: usize, count: usize) -> Dispatch {
        let (entry, tile) = match self {
            Variant::Coop(Matrices { side, .. }) => ("coop", [8 * side as usize; 2]),
            Variant::Wide => ("wide", [128, 128]),
            Variant::Narrow => ("narrow", [256, 4]),
            Variant::Quads => ("quads", [64, 64]),
            Variant::Scalars => ("scalars", [64, 64]),
            Variant::SoftwareQuads => ("software_quads", [16, 64]),
            Variant::Software => ("software", [8, 32]),
        };
        let tiles = rows.div_ceil(tile[0]) * columns.div_ceil(tile[1]);
        let mut constants = fields;
        if let Variant::Coop(matrices) = self {
            constants.extend(constants_of(matrices));
        }
        Dispatch::new(entry, linear_grid(count * tiles, 1)).with(constants)
    }
}

pub(super) static FORWARD: Kernel<Params> = Kernel {
    name: "conv2d",
    bodies: bodies!(
        "conv2d",
        "conv2d_coop",
        forward_plan,
        matrices_for_y,
        whole_slices_of_y,
        wide_for_y,
        [filtering::FORWARD, filtering::FORWARD_IN_SOFTWARE],
        filters_y,
        few_outputs
    ),
    twin: &|p, args| {
        let ([x, w, b], [], [y]) = args.split()?;
        twin::forward(&p.geometry, p.layout(), p.finish(b), x, w, y);
        Ok(())
    },
};

fn forward_plan(p: &Params, variant: Variant) -> Plan {
    let g = &p.geometry;
    let product = variant.dispatch(p.of_layer(), g.output_pixels(), g.o as usize, p.chunks as usize);
    product_plan(p, product, g.output_pixels() * g.o as usize)
}

/// A product, and, where the depth is cut, the sum of its parts, each of `len` elements.
fn product_plan(p: &Params, product: Dispatch, len: usize) -> Plan {
    let flops = p.geometry.flops();
    match p.chunks {
        // Something must be bound for the partial sums, a quad at least.
        1 => Plan { dispatches: vec![product], scratch: vec![4], flops },
        chunks => {
            // Of the same text.
            let total = Dispatch::new("total", linear_grid(len, 256)).with(product.constants.clone());
            Plan { dispatches: vec![product, total], scratch: vec![chunks as usize * len], flops }
        }
    }
}

pub(super) static INPUT_GRADIENT: Kernel<Params> = Kernel {
    name: "conv2d_dx",
    bodies: bodies!(
        "conv2d_dx",
        "conv2d_dx_coop",
        input_gradient_plan,
        matrices_for_dx,
        whole_slices_of_dx,
        wide_for_dx,
        [filtering::INPUT_GRADIENT, filtering::INPUT_GRADIENT_IN_SOFTWARE],
        filters_dx,
        few_channels
    ),
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
    let product = variant.dispatch(p.of_layer_and_size(), rows, g.c as usize, phases * p.chunks as usize);
    product_plan(p, product, g.input_shape().iter().product())
}

pub(super) static WEIGHT_GRADIENT: Kernel<Params> = Kernel {
    name: "conv2d_dw",
    bodies: bodies!(
        "conv2d_dw",
        "conv2d_dw_coop",
        weight_gradient_plan,
        matrices_for_dw,
        whole_slices_of_dw,
        wide_for_dw,
        [filtering::WEIGHT_GRADIENT],
        filters_dw
    ),
    twin: &|p, args| {
        let ([x, dz], [], [dw]) = args.split()?;
        twin::weight_gradient(&p.geometry, p.layout(), x, dz, dw);
        Ok(())
    },
};

fn weight_gradient_plan(p: &Params, variant: Variant) -> Plan {
    let g = &p.geometry;
    let channels = if variant == Variant::Software { g.c } else { g.c.next_multiple_of(4) };
    let product =
        variant.dispatch(p.of_layer_and_size(), (g.kh * g.kw * channels) as usize, g.o as usize, p.chunks as usize);
    product_plan(p, product, g.weights())
}
