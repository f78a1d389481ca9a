//! Tensors of random numbers: element `i` is what [`crate::random::Rng`] gives at index `i`.

use crate::engine::device::{AnyKernel, Args, Device, Kernel, Plan, linear_grid};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::random::{Stream, box_muller, philox, unit};
use rayon::prelude::*;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&RANDOM];

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    seed: [u32; 2],
    step: u32,
    stream: u32,
    normal: u32,
}

static RANDOM: Kernel<Params> = Kernel {
    name: "random",
    source: include_str!("../../../kernels/random.wgsl"),
    trusted: true,
    variants: &[&[]],
    plan: &|p, _| Plan::single(linear_grid(p.len as usize, 4 * 256), 40.0 * f64::from(p.len)),
    twin: &random_twin,
};

fn random_twin(p: &Params, args: Args) -> Result<()> {
    let ([], [], [y]) = args.split()?;
    y.par_chunks_mut(4).with_min_len(1 << 10).enumerate().for_each(|(block, y)| {
        let words = philox([block as u32, 0, p.step, p.stream], p.seed);
        let values = if p.normal == 1 {
            let ((a, b), (c, d)) = (box_muller([words[0], words[1]]), box_muller([words[2], words[3]]));
            [a, b, c, d]
        } else {
            words.map(unit)
        };
        y.copy_from_slice(&values[..y.len()]);
    });
    Ok(())
}

fn random(y: &Tensor, seed: u64, stream: Stream, step: u32, normal: bool) -> Result<()> {
    let seed = [seed as u32, (seed >> 32) as u32];
    let params = Params { len: y.len() as u32, seed, step, stream: stream as u32, normal: u32::from(normal) };
    y.device().launch(&RANDOM, &params, &[], &[], &[y])
}

/// Fills `y` with numbers uniform in [0, 1), the same bits on every device.
///
/// # Errors
/// Whatever the launch reports.
pub fn uniform(y: &Tensor, seed: u64, stream: Stream, step: u32) -> Result<()> {
    random(y, seed, stream, step, false)
}

/// Fills `y` with standard normal numbers, the same on every device up to its logarithm, sine and cosine.
///
/// # Errors
/// Whatever the launch reports.
pub fn normal(y: &Tensor, seed: u64, stream: Stream, step: u32) -> Result<()> {
    random(y, seed, stream, step, true)
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let (flat, bell) = (Tensor::empty(device, &[1025])?, Tensor::empty(device, &[1025])?);
    uniform(&flat, 3, Stream::Test, 1)?;
    normal(&bell, 3, Stream::Test, 1)?;
    Ok(vec![flat, bell])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::devices;
    use crate::random::Rng;

    const SEED: u64 = 0x1234_5678_9abc_def0;

    #[test]
    fn uniform_numbers_are_the_hosts_to_the_bit() {
        let rng = Rng::new(SEED, Stream::Noise, 17);
        for device in devices() {
            for len in [1, 6, 5003] {
                let y = Tensor::empty(&device, &[len]).unwrap();
                uniform(&y, SEED, Stream::Noise, 17).unwrap();
                let expected: Vec<f32> = (0..len as u64).map(|i| rng.uniform(i)).collect();
                assert!(y.to_vec().unwrap() == expected, "{}", device.name());
            }
        }
    }

    #[test]
    fn normal_numbers_are_the_hosts_to_a_few_roundings() {
        let rng = Rng::new(SEED, Stream::Noise, 17);
        for device in devices() {
            let y = Tensor::empty(&device, &[5003]).unwrap();
            normal(&y, SEED, Stream::Noise, 17).unwrap();
            for (i, got) in y.to_vec().unwrap().into_iter().enumerate() {
                // WGSL lets sine and cosine be off by 2^-11; drivers stay near 2^-20 of a radius below 6.
                assert!((got - rng.normal(i as u64)).abs() < 1e-4, "{}: {i}: {got}", device.name());
            }
        }
    }
}
