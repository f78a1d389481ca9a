//! Gradient descent with momentum, in PyTorch's convention (no dampening, the learning rate outside the velocity): one
//! launch for all parameters of an arena, or for one parameter.

use crate::engine::blocks::{self, BLOCK};
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&SGD];

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    decay_len: u32,
    lr: f32,
    momentum: f32,
    /// lr times the decoupled weight decay
    decay: f32,
    l2: f32,
}

static SGD: Kernel<Params> = Kernel {
    name: "sgd",
    bodies: &[Body::proved(kernel_text!("sgd"), &|p, _| Plan {
        flops: 6.0 * f64::from(p.len),
        ..Plan::linear(p.len as usize)
    })],
    twin: &sgd_twin,
};

fn sgd_twin(p: &Params, args: Args) -> Result<()> {
    let ([g], [w, v], []) = args.split()?;
    let plain = Params { decay: 0.0, l2: 0.0, ..*p };
    let blocks = w.chunks_mut(BLOCK).zip(v.chunks_mut(BLOCK)).zip(g.chunks(BLOCK));
    blocks::share(blocks, |block, ((w, v), g)| {
        // No branch within a loop: the part that decays, then the rest.
        let split = (p.decay_len as usize).saturating_sub(block * BLOCK).min(w.len());
        let (w, v, g) = (w.split_at_mut(split), v.split_at_mut(split), g.split_at(split));
        update(p, w.0, v.0, g.0);
        update(&plain, w.1, v.1, g.1);
    });
    Ok(())
}

/// Not inlined: as arguments the slices are known to be disjoint, which the compiler needs to make vector code.
#[inline(never)]
fn update(p: &Params, w: &mut [f32], v: &mut [f32], g: &[f32]) {
    for ((w, v), g) in w.iter_mut().zip(v).zip(g) {
        *v = p.momentum * *v + (g + 2.0 * p.l2 * *w);
        *w = *w - p.decay * *w - p.lr * *v;
    }
}

/// The settings of gradient descent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Share of the velocity that stays from step to step, 0..1; 0 for plain descent.
    pub momentum: f64,
    /// Decoupled decay: a step also takes `lr * weight_decay * w` off a weight.
    pub weight_decay: f64,
    /// Factor of the penalty `l2 * sum w^2`, whose gradient `2 * l2 * w` is added to `g`.
    pub l2: f64,
}

impl Sgd {
    /// One update of weights `w` and their velocity `v` (zero before the first step) by the gradient `g`, all of one
    /// shape: `v = momentum * v + g`, `w -= lr * v`. Weight decay and l2 reach the first `decay_len` elements.
    ///
    /// # Errors
    /// Shapes that differ, `g` in one buffer with another argument, and whatever the launch reports.
    pub fn update(&self, w: &Tensor, v: &Tensor, g: &Tensor, decay_len: usize) -> Result<()> {
        for other in [v, g] {
            same_shape(other, w)?;
        }
        let params = Params {
            len: w.len() as u32,
            decay_len: decay_len.min(w.len()) as u32,
            lr: self.lr as f32,
            momentum: self.momentum as f32,
            decay: (self.lr * self.weight_decay) as f32,
            l2: self.l2 as f32,
        };
        w.device().launch(&SGD, &params, &[g], &[w, v], &[])
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let sgd = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.1, l2: 0.01 };
    let w = crate::engine::self_test::seeded(device, &[1001], 1)?;
    let v = Tensor::full(device, &[1001], 0.0)?;
    for seed in 2..4 {
        sgd.update(&w, &v, &crate::engine::self_test::seeded(device, &[1001], seed)?, 500)?;
    }
    Ok(vec![w, v])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::self_test::seeded;
    use crate::engine::testing::check::devices;

    #[test]
    fn four_steps_match_the_reference_on_both_sides_of_the_decay_border() {
        let sgd = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.02, l2: 0.05 };
        // The border lies within the second block.
        let (len, decay_len) = (2 * BLOCK + 77, BLOCK + 33);
        for device in devices() {
            let w = seeded(&device, &[len], 1).unwrap();
            let v = Tensor::full(&device, &[len], 0.0).unwrap();
            let mut expected: Vec<[f64; 2]> = w.to_vec().unwrap().iter().map(|&w| [f64::from(w), 0.0]).collect();
            for step in 1..=4 {
                let g = seeded(&device, &[len], 10 + step).unwrap();
                sgd.update(&w, &v, &g, decay_len).unwrap();
                for (i, ([w, v], g)) in expected.iter_mut().zip(g.to_vec().unwrap()).enumerate() {
                    let (decay, l2) = if i < decay_len { (sgd.weight_decay, sgd.l2) } else { (0.0, 0.0) };
                    *v = sgd.momentum * *v + f64::from(g) + 2.0 * l2 * *w;
                    *w = *w - sgd.lr * decay * *w - sgd.lr * *v;
                }
            }
            let (w, v) = (w.to_vec().unwrap(), v.to_vec().unwrap());
            for (i, expected) in expected.iter().enumerate() {
                for (got, expected) in [w[i], v[i]].into_iter().zip(expected) {
                    // Four steps of a few roundings of values up to 10.
                    let allowed = 2e-6 * expected.abs().max(1.0);
                    let off = (f64::from(got) - expected).abs();
                    assert!(off <= allowed, "{}: {i}: {got}, not {expected}", device.name());
                }
            }
        }
    }

    #[test]
    fn another_size_is_refused() {
        let sgd = Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.0, l2: 0.0 };
        let [w, v, g] = [3, 3, 4].map(|len| Tensor::full(&Device::cpu(), &[len], 0.0).unwrap());
        assert_eq!(sgd.update(&w, &v, &g, 0).unwrap_err().exit_code(), 2);
    }
}
