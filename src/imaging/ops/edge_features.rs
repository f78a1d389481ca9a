//! Where a grey picture has edges: features that a network reads beside the picture.

use crate::engine::blocks;
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&EDGE_FEATURES];

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    pixels: u32,
    height: u32,
    width: u32,
}

static EDGE_FEATURES: Kernel<Params> = Kernel {
    name: "edge_features",
    bodies: &[Body::proved(kernel_text!("edge_features"), &|p, _| Plan {
        flops: 20.0 * f64::from(p.pixels),
        ..Plan::linear(p.pixels as usize)
    })],
    twin: &edge_features_twin,
};

/// The places before and after `i` of `0..size`, reflected at the ends without repeating them.
fn neighbours(i: usize, size: usize) -> [usize; 2] {
    let last = size - 1;
    [if i == 0 { last.min(1) } else { i - 1 }, if i == last { last.saturating_sub(1) } else { i + 1 }]
}

fn edge_features_twin(p: &Params, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    let (height, width) = (p.height as usize, p.width as usize);
    blocks::write((y, 2 * width), |line, y| {
        let (picture, row) = (line / height * height, line % height);
        let [above, below] = neighbours(row, height);
        let [above, here, below] = [above, row, below].map(|row| &x[(picture + row) * width..][..width]);
        for (column, y) in y.chunks_exact_mut(2).enumerate() {
            let [left, right] = neighbours(column, width);
            let gx = (above[right] - above[left]) + 2.0 * (here[right] - here[left]) + (below[right] - below[left]);
            let gy =
                (below[left] - above[left]) + 2.0 * (below[column] - above[column]) + (below[right] - above[right]);
            y[0] = (gx * gx + gy * gy).sqrt();
            y[1] = (above[column] + below[column]) + (here[left] + here[right]) - 4.0 * here[column];
        }
    });
    Ok(())
}

/// `[N, H, W, 1]` to `[N, H, W, 2]`: the Sobel magnitude `sqrt(gx^2 + gy^2)` with weights 1, 2, 1, not normalised, and
/// the Laplacian, the sum of the four neighbours less four times the pixel. Pictures are reflected at their borders,
/// without repeating the border pixel. It is made of data, and has no gradient.
///
/// # Errors
/// Other channels than one, and whatever the launch reports.
pub fn edge_features(x: &Tensor) -> Result<Tensor> {
    let [n, height, width, channels] = x.nhwc()?;
    crate::ensure!(
        channels == 1,
        Error::input("edges are taken of grey pictures [N, H, W, 1]", format!("{:?}", x.shape()), "pass one channel")
    );
    let y = Tensor::empty(x.device(), &[n, height, width, 2])?;
    let params = Params { pixels: x.len() as u32, height: height as u32, width: width as u32 };
    y.device().launch(&EDGE_FEATURES, &params, &[x], &[], &[&y])?;
    Ok(y)
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    Ok(vec![edge_features(&crate::engine::self_test::seeded(device, &[2, 7, 9, 1], 1)?)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::self_test::seeded;
    use crate::engine::testing::check::{cases, devices};
    use proptest::prelude::*;

    /// Correlation with 3x3 `weights` in f64.
    fn correlate(x: &[f32], [h, w]: [usize; 2], at: [usize; 2], weights: [[f64; 3]; 3]) -> f64 {
        let reflect = |i: i64, size: usize| {
            let last = size as i64 - 1;
            (if i < 0 {
                -i
            } else if i > last {
                2 * last - i
            } else {
                i
            })
            .clamp(0, last) as usize
        };
        let mut sum = 0.0;
        for (di, line) in weights.iter().enumerate() {
            for (dj, weight) in line.iter().enumerate() {
                let (i, j) = (reflect((at[0] + di) as i64 - 1, h), reflect((at[1] + dj) as i64 - 1, w));
                sum += weight * f64::from(x[i * w + j]);
            }
        }
        sum
    }

    const SOBEL_X: [[f64; 3]; 3] = [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]];
    const SOBEL_Y: [[f64; 3]; 3] = [[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]];
    const LAPLACIAN: [[f64; 3]; 3] = [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]];

    proptest! {
        #![proptest_config(cases(8))]
        #[test]
        fn edges_match_their_reference_on_odd_shapes(n in 1usize..3, h in 1usize..8, w in 1usize..9) {
            for device in devices() {
                let x = seeded(&device, &[n, h, w, 1], 4).unwrap();
                let (y, x) = (edge_features(&x).unwrap().to_vec().unwrap(), x.to_vec().unwrap());
                for (pixel, got) in y.chunks(2).enumerate() {
                    let picture = &x[pixel / (h * w) * h * w..][..h * w];
                    let at = [pixel / w % h, pixel % w];
                    let [gx, gy, laplacian] =
                        [SOBEL_X, SOBEL_Y, LAPLACIAN].map(|weights| correlate(picture, [h, w], at, weights));
                    // A dozen roundings of values up to 8 times those of a picture below 5.
                    for (got, expected) in got.iter().zip([gx.hypot(gy), laplacian]) {
                        let off = (f64::from(*got) - expected).abs();
                        prop_assert!(off < 3e-5, "{}: {pixel}: {got}, not {expected}", device.name());
                    }
                }
            }
        }
    }

    #[test]
    fn colours_are_refused() {
        let x = Tensor::full(&Device::cpu(), &[1, 2, 2, 3], 1.0).unwrap();
        assert_eq!(edge_features(&x).err().unwrap().exit_code(), 2);
    }
}
