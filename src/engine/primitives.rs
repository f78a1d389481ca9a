//! Launches on whole tensors that everything else stands on: fill, copy, weighted sums.

use crate::engine::blocks::{self, BLOCK};
use crate::engine::device::{AnyKernel, Args, Body, Device, FILL, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&FILL, &AXPBY, &ACCUMULATE, &ACCUMULATE_FOUR, &DECAY_TOWARDS];

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AxpbyParams {
    len: u32,
    alpha: f32,
    beta: f32,
    /// Whether z is 1 throughout.
    shift: u32,
}

static AXPBY: Kernel<AxpbyParams> = Kernel {
    name: "axpby",
    bodies: &[Body::proved(kernel_text!("axpby"), &|p, _| Plan::linear(p.len as usize).each(3.0))],
    twin: &axpby_twin,
};

fn axpby_twin(p: &AxpbyParams, args: Args) -> Result<()> {
    let ([x, z], [], [y]) = args.split()?;
    blocks::zip((y, BLOCK), (x, BLOCK), (z, BLOCK), |_, y, x, z| {
        if p.beta == 0.0 {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = p.alpha * x);
        } else if p.shift != 0 {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = p.alpha * x + p.beta);
        } else {
            y.iter_mut().zip(x).zip(z).for_each(|((y, x), z)| *y = p.alpha * x + p.beta * z);
        }
    });
    Ok(())
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AccumulateParams {
    len: u32,
}

static ACCUMULATE: Kernel<AccumulateParams> = Kernel {
    name: "accumulate",
    bodies: &[Body::proved(kernel_text!("accumulate"), &|p, _| Plan::linear(p.len as usize))],
    twin: &accumulate_twin,
};

fn accumulate_twin(_: &AccumulateParams, args: Args) -> Result<()> {
    let ([x], [y], []) = args.split()?;
    add(y, x);
    Ok(())
}

fn add(y: &mut [f32], x: &[f32]) {
    blocks::map((y, BLOCK), (x, BLOCK), |_, y, x| y.iter_mut().zip(x).for_each(|(y, x)| *y += x));
}

/// Sums that one launch of [`accumulate_all`] makes.
pub(super) const SUMS_A_LAUNCH: usize = 4;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AccumulateFourParams {
    lens: [u32; SUMS_A_LAUNCH],
}

static ACCUMULATE_FOUR: Kernel<AccumulateFourParams> = Kernel {
    name: "accumulate_four",
    bodies: &[Body::proved(kernel_text!("accumulate_four"), &|p: &AccumulateFourParams, _| {
        let groups: usize = p.lens.iter().map(|len| len.div_ceil(256) as usize).sum();
        Plan::single(linear_grid(groups, 1), p.lens.iter().map(|&len| f64::from(len)).sum())
    })],
    twin: &|_, args| {
        let (x, y, []) = args.split::<SUMS_A_LAUNCH, SUMS_A_LAUNCH, 0>()?;
        y.into_iter().zip(x).for_each(|(y, x)| add(y, x));
        Ok(())
    },
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct DecayParams {
    len: u32,
    share: f32,
    rest: f32,
    pad: u32,
}

static DECAY_TOWARDS: Kernel<DecayParams> = Kernel {
    name: "decay_towards",
    bodies: &[Body::proved(kernel_text!("decay_towards"), &|p, _| Plan::linear(p.len as usize).each(3.0))],
    twin: &decay_towards_twin,
};

fn decay_towards_twin(p: &DecayParams, args: Args) -> Result<()> {
    let ([x], [y], []) = args.split()?;
    blocks::map((y, BLOCK), (x, BLOCK), |_, y, x| {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = p.share * *y + p.rest * x);
    });
    Ok(())
}

/// Sets every element of `y`.
///
/// # Errors
/// Whatever the launch reports.
pub fn fill(y: &Tensor, value: f32) -> Result<()> {
    y.device().fill(y, value)
}

/// Copies `x` into `y` of the same shape.
///
/// # Errors
/// Shapes that differ, and whatever the launch reports.
pub fn copy(x: &Tensor, y: &Tensor) -> Result<()> {
    axpby(1.0, x, 0.0, x, y)
}

/// `y += x` of the same shape.
///
/// # Errors
/// Shapes that differ, and whatever the launch reports.
pub fn accumulate(x: &Tensor, y: &Tensor) -> Result<()> {
    same_shape(x, y)?;
    y.device().launch(&ACCUMULATE, &AccumulateParams { len: y.len() as u32 }, &[x], &[y], &[])
}

/// `y += x` of each pair (x, y), both of one shape, several pairs a launch.
///
/// # Errors
/// Shapes that differ, a y that is given twice, and whatever the launches report.
pub(super) fn accumulate_all(pairs: &[(&Tensor, &Tensor)]) -> Result<()> {
    let (fours, rest) = pairs.as_chunks::<SUMS_A_LAUNCH>();
    for four in fours {
        four.iter().try_for_each(|(x, y)| same_shape(x, y))?;
        let params = AccumulateFourParams { lens: four.map(|(_, y)| y.len() as u32) };
        let (x, y) = (four.map(|(x, _)| &**x), four.map(|(_, y)| &**y));
        four[0].1.device().launch(&ACCUMULATE_FOUR, &params, &x, &y, &[])?;
    }
    rest.iter().try_for_each(|(x, y)| accumulate(x, y))
}

/// `y = share * y + (1 - share) * x` of the same shape: one step of a moving average.
///
/// # Errors
/// Shapes that differ, and whatever the launch reports.
pub fn decay_towards(share: f64, x: &Tensor, y: &Tensor) -> Result<()> {
    same_shape(x, y)?;
    let params = DecayParams { len: y.len() as u32, share: share as f32, rest: (1.0 - share) as f32, pad: 0 };
    y.device().launch(&DECAY_TOWARDS, &params, &[x], &[y], &[])
}

/// `y = alpha * x + beta * z`, all of one shape.
///
/// # Errors
/// Shapes that differ, and whatever the launch reports.
pub fn axpby(alpha: f32, x: &Tensor, beta: f32, z: &Tensor, y: &Tensor) -> Result<()> {
    same_shape(x, y)?;
    same_shape(z, y)?;
    let params = AxpbyParams { len: y.len() as u32, alpha, beta, shift: 0 };
    y.device().launch(&AXPBY, &params, &[x, z], &[], &[y])
}

/// `scale * x + shift`.
///
/// # Errors
/// No memory, and whatever the launch reports.
pub fn affine(x: &Tensor, scale: f32, shift: f32) -> Result<Tensor> {
    let y = Tensor::empty(x.device(), x.shape())?;
    let params = AxpbyParams { len: y.len() as u32, alpha: scale, beta: shift, shift: 1 };
    // Something must be bound as z, even where it is not read.
    y.device().launch(&AXPBY, &params, &[x, x], &[], &[&y])?;
    Ok(y)
}

/// Refuses two tensors of different shapes, equal sizes or not: `[2, 3]` beside `[3, 2]` is a mistake that would go
/// unseen.
pub(crate) fn same_shape(x: &Tensor, y: &Tensor) -> Result<()> {
    crate::ensure!(
        x.shape() == y.shape(),
        Error::input(
            "tensors of one shape are needed",
            format!("{:?} and {:?}", x.shape(), y.shape()),
            "reshape or transpose one of them"
        )
    );
    Ok(())
}

/// Refuses a tensor of another shape than `shape`, which is what kernels will index. `name` says which tensor it is.
pub(crate) fn expect_shape(name: &str, x: &Tensor, shape: &[usize]) -> Result<()> {
    crate::ensure!(
        x.shape() == shape,
        Error::input(format!("{name} of shape {shape:?} is needed"), format!("{:?}", x.shape()), "check the shapes")
    );
    Ok(())
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::seeded::seeded(device, &[3, 301], 1)?;
    let z = crate::engine::seeded::seeded(device, &[3, 301], 2)?;
    let y = Tensor::empty(device, &[3, 301])?;
    axpby(0.5, &x, -2.0, &z, &y)?;
    accumulate(&x, &y)?;
    decay_towards(0.75, &z, &y)?;
    let sums = [[301, 2], [7, 1], [1, 256], [3, 100]].map(|shape| crate::engine::seeded::seeded(device, &shape, 3));
    let [a, b, c, d] = sums;
    let sums = [a?, b?, c?, d?];
    let more =
        sums.iter().map(|sum| crate::engine::seeded::seeded(device, sum.shape(), 4)).collect::<Result<Vec<_>>>()?;
    accumulate_all(&more.iter().zip(&sums).collect::<Vec<_>>())?;
    let filled = Tensor::empty(device, &[77])?;
    fill(&filled, 1.25)?;
    Ok([vec![affine(&x, 2.0, -1.0)?, y, filled], sums.into()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::devices;

    #[test]
    fn fill_reaches_every_element_of_a_folded_grid() {
        // More workgroups than one grid dimension holds.
        let len = 256 * (crate::engine::device::MAX_GROUPS as usize) + 300;
        for device in devices() {
            let y = Tensor::empty(&device, &[len]).unwrap();
            fill(&y, 3.0).unwrap();
            assert!(y.to_vec().unwrap().iter().all(|&v| v == 3.0), "{}", device.name());
        }
    }

    #[test]
    fn a_step_of_a_moving_average_is_its_formula_in_f64() {
        for device in devices() {
            let [x, y] = [1, 2].map(|seed| crate::engine::seeded::seeded(&device, &[7, 301], seed).unwrap());
            let before = y.to_vec().unwrap();
            decay_towards(0.999, &x, &y).unwrap();
            for ((y, before), x) in y.to_vec().unwrap().into_iter().zip(before).zip(x.to_vec().unwrap()) {
                let expected = 0.999 * f64::from(before) + 0.001 * f64::from(x);
                // The factors, the products and their sum are rounded to f32.
                let allowed = 4.0 * f64::from(f32::EPSILON) * (before.abs() + x.abs()) as f64;
                assert!((f64::from(y) - expected).abs() <= allowed, "{}: {y} {expected}", device.name());
            }
        }
    }

    #[test]
    fn equal_sizes_of_different_shapes_are_refused_with_both_shapes() {
        for device in devices() {
            let [x, z] = [[2, 3], [3, 2]].map(|shape| Tensor::full(&device, &shape, 1.0).unwrap());
            let y = Tensor::full(&device, &[2, 3], 0.0).unwrap();
            for error in [accumulate(&z, &y), copy(&z, &y), decay_towards(0.5, &z, &y), axpby(1.0, &x, 1.0, &z, &y)]
                .map(Result::unwrap_err)
            {
                let message = error.to_string();
                assert!(message.contains("[2, 3]") && message.contains("[3, 2]"), "{message}");
            }
        }
    }

    #[test]
    fn a_buffer_that_is_read_and_written_is_refused() {
        for device in devices() {
            let y = Tensor::full(&device, &[8], 1.0).unwrap();
            let error = accumulate(&y, &y).unwrap_err().to_string();
            assert!(error.contains("accumulate"), "{error}");
        }
    }
}
