//! Lee's filter: speckle taken off radar pictures, edges kept.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&LEE];

/// Pixels along each side of a workgroup.
const GROUP_SIDE: u32 = 16;
/// Pixels on each side of a window's middle: more would be too long a loop for one invocation.
const MOST_RADIUS: usize = 80;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pictures: u32,
    height: u32,
    width: u32,
    channels: u32,
    radius: u32,
    speckle: f32,
}

static LEE: Kernel<Params> = Kernel {
    name: "lee",
    bodies: &[Body::proved(kernel_text!("lee"), &|p, _| {
        let squares = [p.width.div_ceil(GROUP_SIDE), p.height.div_ceil(GROUP_SIDE), p.pictures, p.channels];
        let values = [p.width, p.height, p.pictures, p.channels].map(f64::from).iter().product::<f64>();
        Plan::single(
            linear_grid(squares.map(|v| v as usize).iter().product(), 1),
            values * 6.0 * f64::from(2 * p.radius + 1).powi(2),
        )
    })],
    twin: &lee_twin,
};

fn lee_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let [height, width, channels, radius] = [p.height, p.width, p.channels, p.radius].map(|size| size as usize);
    let row_len = width * channels;
    blocks::write((y, row_len), |line, y| {
        let (picture, row) = (line / height * height, line % height);
        let rows = row.saturating_sub(radius)..(row + radius + 1).min(height);
        for (place, y) in y.iter_mut().enumerate() {
            let (column, c) = (place / channels, place % channels);
            let value = x[(picture + row) * row_len + place];
            if value.is_nan() {
                *y = value;
                continue;
            }
            let columns = column.saturating_sub(radius)..(column + radius + 1).min(width);
            let near = || {
                let line =
                    |row: usize| &x[(picture + row) * row_len..][columns.start * channels..columns.end * channels];
                let values = rows.clone().flat_map(move |row| line(row)[c..].iter().step_by(channels));
                values.filter(|value| !value.is_nan())
            };
            let (sum, count) = near().fold((0.0f32, 0.0f32), |(sum, count), value| (sum + value, count + 1.0));
            let mean = sum / count;
            let variance = near().fold(0.0f32, |sum, value| sum + (value - mean) * (value - mean)) / count;
            let signal = (variance - mean * mean * p.speckle) / (variance * (1.0 + p.speckle));
            let k = if variance > 0.0 { signal.clamp(0.0, 1.0) } else { 0.0 };
            *y = mean + k * (value - mean);
        }
    });
    Ok(())
}

/// The pictures x `[N, H, W, C]` of linear values, each channel by itself, without their speckle:
/// `m + k (x - m)`, where m and v are the mean and the variance of the `side` x `side` pixels around (at a border of
/// those that exist), `speckle` is the squared coefficient of variation of the speckle, and
/// `k = (v - m^2 speckle) / (v (1 + speckle))` within 0..1. Multiples of a picture have multiples of its result.
///
/// NaN stands for no data, stays, and is left out of its neighbours' means. It is made for data, and has no gradient.
///
/// Source: Lee, "Digital Image Enhancement and Noise Filtering by Use of Local Statistics", IEEE Transactions on
/// Pattern Analysis and Machine Intelligence 2(2), 1980; the weight as in Lopes, Touzi, Nezry, "Adaptive Speckle
/// Filters and Scene Heterogeneity", IEEE Transactions on Geoscience and Remote Sensing 28(6), 1990.
///
/// # Errors
/// A side that is even or above 161, a speckle that is no positive number, and whatever the launch reports.
pub fn lee(x: &Tensor, side: usize, speckle: f32) -> Result<Tensor> {
    let [n, height, width, channels] = x.nhwc()?;
    crate::ensure!(
        side % 2 == 1 && speckle > 0.0 && speckle.is_finite(),
        Error::input(
            "a Lee filter needs an odd side and some speckle",
            format!("{side}, {speckle}"),
            "use e.g. 7, 0.06"
        )
    );
    // A wider window holds no more pixels.
    let radius = (side / 2).min(height.max(width));
    crate::ensure!(
        radius <= MOST_RADIUS,
        Error::input(
            format!("a Lee filter looks over at most {0}x{0} pixels", 2 * MOST_RADIUS + 1),
            format!("{side}"),
            "use a smaller side, e.g. 7"
        )
    );
    let y = Tensor::empty(x.device(), x.shape())?;
    let params = Params {
        pictures: n as u32,
        height: height as u32,
        width: width as u32,
        channels: channels as u32,
        radius: radius as u32,
        speckle,
    };
    x.device().launch(&LEE, &params, &[x], &[], &[&y])?;
    Ok(y)
}

/// A small run of the kernel.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[2, 13, 11, 3], 1)?;
    Ok(vec![lee(&x, 5, 0.06)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{cases, devices};
    use crate::random::{Rng, Stream};
    use proptest::prelude::*;

    /// One value in f64.
    fn reference(
        x: &[f32],
        [h, w, c]: [usize; 3],
        [row, column, band]: [usize; 3],
        radius: usize,
        speckle: f64,
    ) -> f64 {
        let value = |row: usize, column: usize| f64::from(x[(row * w + column) * c + band]);
        let mut near = Vec::new();
        for y in row.saturating_sub(radius)..=(row + radius).min(h - 1) {
            for x in column.saturating_sub(radius)..=(column + radius).min(w - 1) {
                near.push(value(y, x));
            }
        }
        near.retain(|v| !v.is_nan());
        let n = near.len() as f64;
        let mean = near.iter().sum::<f64>() / n;
        let variance = near.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let k = ((variance - mean * mean * speckle) / (variance * (1.0 + speckle))).clamp(0.0, 1.0);
        let k = if variance > 0.0 { k } else { 0.0 };
        mean + k * (value(row, column) - mean)
    }

    /// Positive values of some spread, as speckle makes them, with `holes` of them NaN.
    fn speckled(len: usize, holes: usize) -> Vec<f32> {
        let rng = Rng::new(3, Stream::Test, 0);
        let mut x: Vec<f32> = (0..len as u64).map(|i| (0.3 * rng.normal(i)).exp()).collect();
        (0..holes as u64).for_each(|i| x[Rng::new(4, Stream::Test, 0).below(i, len)] = f32::NAN);
        x
    }

    proptest! {
        #![proptest_config(cases(10))]
        #[test]
        fn the_filter_matches_its_reference_on_odd_shapes_with_holes(
            n in 1usize..3, h in 1usize..20, w in 1usize..20, c in 1usize..4, radius in 1usize..5,
            speckle in 0.01f32..1.0,
        ) {
            let x = speckled(n * h * w * c, h * w * c / 9);
            for device in devices() {
                let tensor = Tensor::new(&device, &[n, h, w, c], &x).unwrap();
                let y = lee(&tensor, 2 * radius + 1, speckle).unwrap().to_vec().unwrap();
                for (i, got) in y.iter().enumerate() {
                    prop_assert_eq!(got.is_nan(), x[i].is_nan());
                    if got.is_nan() {
                        continue;
                    }
                    let at = [i / (w * c) % h, i / c % w, i % c];
                    let picture = &x[i / (h * w * c) * h * w * c..][..h * w * c];
                    let expected = reference(picture, [h, w, c], at, radius, f64::from(speckle));
                    // k is a difference over v: roundings of 1e-7 over a v of 0.01 of values below 4.
                    let off = (f64::from(*got) - expected).abs();
                    prop_assert!(off < 1e-4, "{}: {i}: {got}, not {expected}", device.name());
                }
            }
        }
    }

    #[test]
    fn speckle_goes_and_an_edge_stays() {
        // Two fields of 1 and 4 under speckle of a variation of 0.25.
        let rng = Rng::new(9, Stream::Test, 0);
        let (h, w) = (40usize, 40usize);
        let x: Vec<f32> =
            (0..h * w).map(|i| if i % w < w / 2 { 1.0 } else { 4.0 } * (1.0 + 0.25 * rng.normal(i as u64))).collect();
        let y = lee(&Tensor::new(&Device::cpu(), &[1, h, w, 1], &x).unwrap(), 7, 0.0625).unwrap().to_vec().unwrap();
        let within = |values: &[f32]| -> Vec<f32> { (0..h * w).filter(|i| i % w < 15).map(|i| values[i]).collect() };
        let spread = |values: Vec<f32>| {
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt()
        };
        assert!(spread(within(&y)) < 0.5 * spread(within(&x)), "{} of {}", spread(within(&y)), spread(within(&x)));
        let column = |at: usize| (0..h).map(|row| y[row * w + at]).sum::<f32>() / h as f32;
        // A plain mean over 7 columns would make 2.3 and 2.7 of the two columns at the edge.
        assert!(column(w / 2 - 1) < 1.5 && column(w / 2) > 3.5, "{} {}", column(w / 2 - 1), column(w / 2));
    }

    /// A GPU may miss a quotient, here the mean, by 2.5 units in the last place; the CPU may not.
    fn assert_near(device: &Device, got: &[f32], expected: &[f32]) {
        let allowed = if device.is_gpu() { 4e-7 } else { 0.0 };
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() <= allowed * expected.abs(), "{}: {got}, not {expected}", device.name());
        }
    }

    #[test]
    fn a_flat_picture_stays_and_an_even_side_is_refused() {
        for device in devices() {
            let x = Tensor::full(&device, &[1, 5, 4, 1], 0.75).unwrap();
            assert_near(&device, &lee(&x, 3, 0.06).unwrap().to_vec().unwrap(), &[0.75; 20]);
            assert_eq!(lee(&x, 4, 0.06).err().unwrap().exit_code(), 2);
        }
    }

    #[test]
    fn more_pictures_than_a_grid_has_workgroups_are_filtered_and_a_window_that_is_too_wide_is_refused() {
        for device in devices() {
            let count = crate::engine::device::MAX_GROUPS as usize + 99;
            let x = crate::engine::self_test::seeded(&device, &[count, 1, 1, 1], 1).unwrap();
            // A window of one pixel changes nothing.
            assert_near(&device, &lee(&x, 3, 0.06).unwrap().to_vec().unwrap(), &x.to_vec().unwrap());
            let wide = Tensor::full(&device, &[1, 1, 200, 1], 1.0).unwrap();
            assert!(lee(&wide, 161, 0.06).is_ok());
            assert_eq!(lee(&wide, 163, 0.06).err().map(|error| error.exit_code()), Some(2));
        }
    }
}
