//! Pictures seen through a homography, by inverse mapping.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&WARP];

/// Pixels along each side of a workgroup.
const GROUP_SIDE: u32 = 16;
/// No pixel lies so far away; as in the kernel.
const FAR: f32 = 1e9;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pictures: u32,
    out_height: u32,
    out_width: u32,
    channels: u32,
    height: u32,
    width: u32,
    bilinear: u32,
    fill: u32,
    anchor: [i32; 2],
    cell: [i32; 2],
    share: [f32; 2],
    derivative: [[f32; 2]; 2],
    scale_change: [f32; 2],
}

static WARP: Kernel<Params> = Kernel {
    name: "warp",
    bodies: &[Body::proved(kernel_text!("warp"), &|p, _| {
        let squares = [p.out_width.div_ceil(GROUP_SIDE), p.out_height.div_ceil(GROUP_SIDE), p.pictures];
        let groups = linear_grid(squares.map(|v| v as usize).iter().product(), 1);
        let pixels = f64::from(p.out_width) * f64::from(p.out_height) * f64::from(p.pictures);
        Plan::single(groups, pixels * (30.0 + 20.0 * f64::from(p.channels)))
    })],
    twin: &warp_twin,
};

fn warp_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let [channels, width, height] = [p.channels, p.width, p.height].map(|size| size as usize);
    let (out_width, out_height) = (p.out_width as usize, p.out_height as usize);
    let fill = f32::from_bits(p.fill);
    blocks::write((y, out_width * channels), |line, y| {
        let picture = &x[line / out_height * height * width * channels..][..height * width * channels];
        let pixel = |[column, row]: [i32; 2]| {
            let inside = column >= 0 && row >= 0 && (column as usize) < width && (row as usize) < height;
            inside.then(|| &picture[(row as usize * width + column as usize) * channels..][..channels])
        };
        for (column, y) in y.chunks_exact_mut(channels).enumerate() {
            let place = place(p, [column as i32, (line % out_height) as i32]);
            let near = place.and_then(|place| pixel([0, 1].map(|i| p.cell[i] + (place[i] + 0.5).floor() as i32)));
            let (Some(place), Some(near)) = (place, near) else {
                y.fill(fill);
                continue;
            };
            if p.bilinear == 0 {
                y.iter_mut().zip(near).for_each(|(y, x)| *y = if x.is_nan() { fill } else { *x });
                continue;
            }
            let [low_x, low_y] = [0, 1].map(|i| p.cell[i] + place[i].floor() as i32);
            let [share_x, share_y] = place.map(|place| place - place.floor());
            let taps = [
                (pixel([low_x, low_y]), (1.0 - share_x) * (1.0 - share_y)),
                (pixel([low_x + 1, low_y]), share_x * (1.0 - share_y)),
                (pixel([low_x, low_y + 1]), (1.0 - share_x) * share_y),
                (pixel([low_x + 1, low_y + 1]), share_x * share_y),
            ];
            for (c, (y, near)) in y.iter_mut().zip(near).enumerate() {
                let (mut sum, mut weights) = (0.0, 0.0);
                for (x, weight) in taps.iter().filter_map(|(tap, weight)| tap.map(|tap| (tap[c], weight))) {
                    if !x.is_nan() {
                        sum += weight * x;
                        weights += weight;
                    }
                }
                *y = if near.is_nan() { fill } else { sum / weights };
            }
        }
    });
    Ok(())
}

/// The place in x of a pixel of y, counted from `p.cell`; `None` on and beyond the horizon.
fn place(p: &Params, at: [i32; 2]) -> Option<[f32; 2]> {
    let d = [0, 1].map(|i| (at[i] - p.anchor[i]) as f32);
    let scale = 1.0 + (p.scale_change[0] * d[0] + p.scale_change[1] * d[1]);
    let moved = p.derivative.map(|by| (by[0] * d[0] + by[1] * d[1]) / scale);
    (scale > 0.0).then(|| [0, 1].map(|i| (p.share[i] + moved[i]).clamp(-FAR, FAR)))
}

/// How a value between pixels is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// That of the nearest pixel: values stay what they are, as labels must.
    Nearest,
    /// The mean of the four pixels around by their weights.
    Bilinear,
}

/// The pictures x `[N, H, W, C]` as seen from a grid of `height` x `width` pixels: y `[N, height, width, C]`.
///
/// `to_x` maps a pixel of the grid to its place in x: (column, row, 1) to (column, row, 1) times a weight that is
/// positive on this side of the horizon, rows first. Whole numbers are the centres of pixels, (0, 0) that of the first
/// one.
///
/// A pixel of y has a value where the nearest pixel of x exists and is no NaN, which stands for no data, and is `fill`
/// (NaN, if that is wanted) elsewhere; [`Interpolation::Bilinear`] takes those of the four pixels around that exist and
/// are no NaN. Nothing is averaged where y is much coarser than x. It is made of data, and has no gradient.
///
/// Places are right to about `4 * 2^-24` of their distance from that corner of the grid where the weight is largest,
/// times the scale: 1.5e-4 pixels for a grid of 512x256, wherever in a large scene it lies, and 5e-3 for one of
/// 16384x16384.
///
/// # Errors
/// A matrix with an element that is not finite, whatever the launch reports.
pub fn warp(
    x: &Tensor,
    to_x: &[[f64; 3]; 3],
    [height, width]: [usize; 2],
    interpolation: Interpolation,
    fill: f32,
) -> Result<Tensor> {
    let [n, x_height, x_width, channels] = x.nhwc()?;
    crate::ensure!(
        to_x.iter().flatten().all(|v| v.is_finite()),
        Error::input("a homography needs finite elements", format!("{to_x:?}"), "check the points it comes from")
    );
    // One invocation goes through the channels, and places are whole numbers with a sign.
    crate::ensure!(
        channels <= 1 << 13 && [height, width, x_height, x_width].iter().all(|&side| side < 1 << 30),
        Error::input(
            "a picture is too large to be warped",
            format!("{:?} to {height}x{width}", x.shape()),
            "use at most 8192 channels, and smaller sides"
        )
    );
    let y = Tensor::empty(x.device(), &[n, height, width, channels])?;
    let anchor = Anchor::new(to_x, [width, height]);
    let params = Params {
        pictures: n as u32,
        out_height: height as u32,
        out_width: width as u32,
        channels: channels as u32,
        height: x_height as u32,
        width: x_width as u32,
        bilinear: u32::from(interpolation == Interpolation::Bilinear),
        fill: fill.to_bits(),
        anchor: anchor.pixel,
        cell: anchor.place.map(|place| place.floor() as i32),
        share: anchor.place.map(|place| (place - place.floor()) as f32),
        derivative: anchor.derivative.map(|by| by.map(|v| v as f32)),
        scale_change: anchor.scale_change.map(|v| v as f32),
    };
    x.device().launch(&WARP, &params, &[x], &[], &[&y])?;
    Ok(y)
}

/// A homography written around one pixel: `P(pixel + d) = place + derivative d / (1 + scale_change d)`.
struct Anchor {
    pixel: [i32; 2],
    place: [f64; 2],
    derivative: [[f64; 2]; 2],
    scale_change: [f64; 2],
}

impl Anchor {
    /// The places of a grid of `[width, height]` pixels, from the corner where the weight is largest: if any pixel lies
    /// on this side of the horizon, this one does.
    fn new(to_x: &[[f64; 3]; 3], size: [usize; 2]) -> Self {
        let [across, down] = size.map(|size| size as f64 - 1.0);
        let along = |row: &[f64; 3], [x, y]: [f64; 2]| row[0] * x + row[1] * y + row[2];
        let corners = [[0.0, 0.0], [across, 0.0], [0.0, down], [across, down]];
        let weigh = |corner: &[f64; 2]| along(&to_x[2], *corner);
        let corner = corners.into_iter().max_by(|a, b| weigh(a).total_cmp(&weigh(b))).unwrap_or_default();
        let (pixel, weight) = (corner.map(|v| v as i32), weigh(&corner));
        let place = [0, 1].map(|i| along(&to_x[i], corner) / weight);
        // Beyond the horizon, or so far off that a step to the next pixel cannot be told: nothing is seen.
        if weight <= 0.0 || !place.iter().all(|v| v.abs() < f64::from(FAR)) {
            let nowhere = [-f64::from(FAR); 2];
            return Anchor { pixel, place: nowhere, derivative: [[0.0; 2]; 2], scale_change: [0.0; 2] };
        }
        let derivative = [0, 1].map(|i| [0, 1].map(|k| (to_x[i][k] - place[i] * to_x[2][k]) / weight));
        Anchor { pixel, place, derivative, scale_change: [0, 1].map(|k| to_x[2][k] / weight) }
    }
}

/// A small run of the kernel.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[2, 13, 11, 3], 1)?;
    let to_x = [[0.9, -0.3, 1.7], [0.25, 1.1, -2.3], [1e-3, -2e-3, 1.0]];
    [Interpolation::Nearest, Interpolation::Bilinear].iter().map(|how| warp(&x, &to_x, [17, 19], *how, -7.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::self_test::seeded;
    use crate::engine::testing::check::{cases, devices};
    use crate::random::{Rng, Stream};
    use proptest::prelude::*;

    /// The place of a pixel in f64; `None` beyond the horizon.
    fn place(to_x: &[[f64; 3]; 3], column: usize, row: usize) -> Option<[f64; 2]> {
        let [x, y, w] = to_x.map(|line| line[0] * column as f64 + line[1] * row as f64 + line[2]);
        (w > 0.0).then(|| [x / w, y / w])
    }

    /// One sample in f64; `None` where there is nothing to see.
    fn sample(x: &[f32], [h, w, c]: [usize; 3], at: [f64; 2], band: usize, how: Interpolation) -> Option<f64> {
        let pixel = |column: f64, row: f64| {
            let inside = column >= 0.0 && row >= 0.0 && column < w as f64 && row < h as f64;
            let value = inside.then(|| f64::from(x[(row as usize * w + column as usize) * c + band]))?;
            (!value.is_nan()).then_some(value)
        };
        let near = pixel((at[0] + 0.5).floor(), (at[1] + 0.5).floor())?;
        if how == Interpolation::Nearest {
            return Some(near);
        }
        let (mut sum, mut weights) = (0.0, 0.0);
        for (dx, dy) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
            let tap = [at[0].floor() + dx, at[1].floor() + dy];
            let weight = (1.0 - (tap[0] - at[0]).abs()) * (1.0 - (tap[1] - at[1]).abs());
            if let Some(value) = pixel(tap[0], tap[1]) {
                sum += weight * value;
                weights += weight;
            }
        }
        Some(sum / weights)
    }

    /// Whether rounding may choose another nearest pixel than f64 does.
    fn is_tie(at: [f64; 2], within: f64) -> bool {
        at.iter().any(|v| (v - v.floor() - 0.5).abs() < within)
    }

    /// Compares `warp` with the reference on all devices; places may be off by `off` pixels.
    fn check(shape: [usize; 4], to_x: &[[f64; 3]; 3], size: [usize; 2], holes: usize, off: f64) {
        let [n, h, w, c] = shape;
        let mut x = seeded(&Device::cpu(), &shape, 6).unwrap().to_vec().unwrap();
        let rng = Rng::new(8, Stream::Test, 0);
        (0..holes as u64).for_each(|i| x[rng.below(i, n * h * w * c)] = f32::NAN);
        for (device, how) in devices().iter().flat_map(|d| [(d, Interpolation::Nearest), (d, Interpolation::Bilinear)])
        {
            let tensor = Tensor::new(device, &shape, &x).unwrap();
            let y = warp(&tensor, to_x, size, how, -99.0).unwrap().to_vec().unwrap();
            for (i, got) in y.iter().enumerate() {
                let (band, column, row, picture) =
                    (i % c, i / c % size[1], i / c / size[1] % size[0], i / c / size[1] / size[0]);
                let at = place(to_x, column, row);
                if at.is_some_and(|at| is_tie(at, 10.0 * off)) {
                    continue;
                }
                let picture = &x[picture * h * w * c..][..h * w * c];
                let expected = at.and_then(|at| sample(picture, [h, w, c], at, band, how)).unwrap_or(-99.0);
                // Neighbours of a standard normal picture differ by up to 8, in both directions; and the weights' own
                // rounding.
                let allowed = if how == Interpolation::Nearest { 0.0 } else { 16.0 * off + 3e-6 };
                let error = (f64::from(*got) - expected).abs();
                let name = device.name();
                assert!(error <= allowed, "{name}, {how:?}, {row} {column} {band} at {at:?}: {got}, not {expected}");
            }
        }
    }

    proptest! {
        #![proptest_config(cases(12))]
        #[test]
        fn a_warp_matches_its_reference_on_odd_shapes_with_holes(
            n in 1usize..3, h in 1usize..9, w in 1usize..9, c in 1usize..5, height in 1usize..20, width in 1usize..20,
            turn in -3.0f64..3.0, scale in 0.4f64..2.5, tilt in -0.01f64..0.01, shift in -3.0f64..6.0,
        ) {
            let (sin, cos) = turn.sin_cos();
            let turned = [[scale * cos, -scale * sin, shift], [scale * sin, scale * cos, 2.0 - shift]];
            let to_x = [turned[0], turned[1], [tilt, -tilt, 1.0]];
            // Some 4 roundings of places within 60 pixels.
            check([n, h, w, c], &to_x, [height, width], h * w * c / 6, 2e-5);
        }
    }

    #[test]
    fn places_far_into_a_large_scene_stay_exact() {
        // A window at (12000, 15000) of the scene, a tile at (16000, 9000) of the grid: f32 places of the scene itself
        // would be off by a thousandth of a pixel each time they are rounded.
        let whole = [[0.97, 0.11, 800.3], [-0.12, 1.02, 7000.7], [1.5e-6, -2.5e-6, 1.0]];
        let moved = |m: &[[f64; 3]; 3], [x, y]: [f64; 2]| m.map(|l| [l[0], l[1], l[0] * x + l[1] * y + l[2]]);
        let mut to_window = moved(&whole, [16000.0, 9000.0]);
        let [x, y] = place(&to_window, 4, 4).unwrap().map(f64::floor);
        let weights = to_window[2];
        for (line, origin) in to_window.iter_mut().zip([x, y]) {
            line.iter_mut().zip(weights).for_each(|(v, weight)| *v -= origin * weight);
        }
        check([1, 9, 9, 2], &to_window, [9, 9], 0, 2e-6);
    }

    #[test]
    fn the_identity_changes_no_bit_and_a_shift_fills_what_it_uncovers() {
        for device in devices() {
            let x = Tensor::new(&device, &[1, 2, 3, 1], &[1.1, 2.2, 3.3, 4.4, 5.5, 6.6]).unwrap();
            for how in [Interpolation::Nearest, Interpolation::Bilinear] {
                let y = |shift| warp(&x, &[[1.0, 0.0, shift], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [2, 3], how, f32::NAN);
                assert_eq!(y(0.0).unwrap().to_vec().unwrap(), [1.1, 2.2, 3.3, 4.4, 5.5, 6.6]);
                let moved = y(1.0).unwrap().to_vec().unwrap();
                assert_eq!([moved[0], moved[1], moved[3], moved[4]], [2.2, 3.3, 5.5, 6.6]);
                assert!(moved[2].is_nan() && moved[5].is_nan(), "{}: {moved:?}", device.name());
            }
        }
    }

    #[test]
    fn nothing_is_seen_beyond_the_horizon() {
        // The weight is 1 - column / 4: the horizon at column 4, and from 5 on the picture would appear once more,
        // upside down.
        let to_x = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-0.25, 0.0, 1.0]];
        check([1, 40, 40, 1], &to_x, [12, 12], 0, 2e-5);
        let flipped = to_x.map(|line| line.map(|v| -v));
        check([1, 40, 40, 1], &flipped, [3, 3], 0, 2e-5);
    }

    #[test]
    fn a_matrix_that_is_not_finite_is_refused() {
        let x = Tensor::full(&Device::cpu(), &[1, 2, 2, 1], 1.0).unwrap();
        let bad = [[f64::NAN, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        assert_eq!(warp(&x, &bad, [2, 2], Interpolation::Nearest, 0.0).err().unwrap().exit_code(), 2);
    }

    #[test]
    fn more_pictures_than_a_grid_has_workgroups_are_warped() {
        for device in devices() {
            let count = crate::engine::device::MAX_GROUPS as usize + 99;
            let x = crate::engine::self_test::seeded(&device, &[count, 1, 1, 1], 1).unwrap();
            let same = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
            let y = warp(&x, &same, [1, 1], Interpolation::Nearest, 0.0).unwrap();
            assert_eq!(y.to_vec().unwrap(), x.to_vec().unwrap(), "{}", device.name());
        }
    }
}
