//! Kernels that measure a device: multiplications that wait for nothing, and a copy.

use crate::engine::blocks::{self, BLOCK};
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&MULTIPLY_ADD, &COPY];

/// Turns of a loop that every driver runs to its end, see kernels/README.md.
const MOST_ROUNDS: u32 = 65_535;
/// Factor and addend of a step: they add up to 1, so that values stay where they are.
const STEP: [f32; 2] = [0.75, 0.25];

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct MultiplyAddParams {
    len: u32,
    rounds: u32,
    a: f32,
    b: f32,
}

impl MultiplyAddParams {
    fn flops(&self) -> f64 {
        multiply_add_flops(self.len as usize, self.rounds)
    }
}

static MULTIPLY_ADD: Kernel<MultiplyAddParams> = Kernel {
    name: "probe_fma",
    bodies: &[Body::proved(kernel_text!("probe_fma"), &|p, _| {
        Plan::single(linear_grid(p.len as usize, 256), p.flops())
    })],
    twin: &multiply_add_twin,
};

fn multiply_add_twin(p: &MultiplyAddParams, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    blocks::map((y, BLOCK), (x, BLOCK), |_, y, x| {
        for (y, x) in y.iter_mut().zip(x) {
            let mut chains: [f32; 16] = std::array::from_fn(|k| x + k as f32 / 16.0);
            for _ in 0..4 * p.rounds {
                chains.iter_mut().for_each(|v| *v = p.a * *v + p.b);
            }
            let quad = |lane: usize| (chains[lane] + chains[4 + lane]) + (chains[8 + lane] + chains[12 + lane]);
            *y = (quad(0) + quad(1)) + (quad(2) + quad(3));
        }
    });
    Ok(())
}

/// Floating-point operations of [`multiply_add`] on `len` elements.
pub fn multiply_add_flops(len: usize, rounds: u32) -> f64 {
    128.0 * len as f64 * f64::from(rounds)
}

/// 64 multiplications with an addition for each element of `x` and each round, in 16 chains that wait for nothing;
/// their sum in `y`. See kernels/probe_fma.wgsl.
///
/// # Errors
/// Shapes that differ, more rounds than a driver turns a loop, and whatever the launch reports.
pub fn multiply_add(x: &Tensor, rounds: u32, y: &Tensor) -> Result<()> {
    same_shape(x, y)?;
    crate::ensure!(rounds <= MOST_ROUNDS, Error::input("too many rounds", rounds, "use 65535 at most"));
    let [a, b] = STEP;
    let params = MultiplyAddParams { len: x.len() as u32, rounds, a, b };
    x.device().launch(&MULTIPLY_ADD, &params, &[x], &[], &[y])
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct CopyParams {
    quads: u32,
}

static COPY: Kernel<CopyParams> = Kernel {
    name: "probe_copy",
    bodies: &[Body::proved(kernel_text!("probe_copy"), &|p, _| Plan::linear(p.quads as usize).each(0.0))],
    twin: &copy_twin,
};

fn copy_twin(_: &CopyParams, args: Args) -> Result<()> {
    let ([x], [], [y]) = args.split()?;
    blocks::map((y, BLOCK), (x, BLOCK), |_, y, x| y.copy_from_slice(x));
    Ok(())
}

/// Copies `x` to `y`, four elements at a time.
///
/// # Errors
/// Shapes that differ, a number of elements that is not a multiple of 4, and whatever the launch reports.
pub fn copy(x: &Tensor, y: &Tensor) -> Result<()> {
    same_shape(x, y)?;
    let subject = format!("{:?}", x.shape());
    crate::ensure!(
        x.len().is_multiple_of(4),
        Error::input("not a multiple of 4 elements", subject, "use more or fewer")
    );
    x.device().launch(&COPY, &CopyParams { quads: (x.len() / 4) as u32 }, &[x], &[], &[y])
}

/// What both kernels make of a shape that fills no workgroup.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[4, 301], 1)?;
    let made = [Tensor::empty(device, x.shape())?, Tensor::empty(device, x.shape())?];
    multiply_add(&x, 3, &made[0])?;
    copy(&x, &made[1])?;
    Ok(made.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::self_test::seeded;
    use crate::engine::testing::check::devices;

    #[test]
    fn both_give_what_a_plain_loop_gives() {
        for device in devices() {
            let x = seeded(&device, &[4, 301], 7).unwrap();
            let values = x.to_vec().unwrap();
            let y = Tensor::empty(&device, x.shape()).unwrap();
            multiply_add(&x, 2, &y).unwrap();
            for (got, x) in y.to_vec().unwrap().iter().zip(&values) {
                let chain = |k: u32| (0..8).fold(f64::from(*x) + f64::from(k) / 16.0, |v, _| 0.75 * v + 0.25);
                let expected: f64 = (0..16).map(chain).sum();
                // 16 chains whose roundings shrink by a quarter a step, up to 4 units of 2^-24 each, and a sum of 16
                // whose last four additions round by up to 8 of them.
                assert!((f64::from(*got) - expected).abs() < 2e-5, "{}: {got} for {expected}", device.name());
            }
            copy(&x, &y).unwrap();
            assert_eq!(y.to_vec().unwrap(), values, "{}", device.name());
        }
    }

    #[test]
    fn what_cannot_be_launched_is_refused() {
        let device = Device::cpu();
        let [x, y] = [3, 4].map(|len| seeded(&device, &[len], 1).unwrap());
        assert!(copy(&x, &x).unwrap_err().to_string().contains("multiple of 4"));
        assert!(copy(&x, &y).is_err() && multiply_add(&x, 1, &y).is_err());
        assert!(multiply_add(&y, MOST_ROUNDS + 1, &y).is_err());
        assert_eq!(multiply_add_flops(10, 3), 3840.0);
    }
}
