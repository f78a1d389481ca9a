//! Adam (Kingma, Ba, "Adam", 2015, algorithm 1) with decoupled weight decay (Loshchilov, Hutter, "Decoupled Weight
//! Decay Regularization", 2019): one launch for all parameters of an arena, or for one parameter.

use crate::engine::blocks::{self, BLOCK};
use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::Result;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&ADAM];

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    decay_len: u32,
    /// lr / (1 - beta1^step)
    rate: f32,
    beta1: f32,
    /// 1 - beta1
    rest1: f32,
    beta2: f32,
    /// 1 - beta2
    rest2: f32,
    /// 1 / (1 - beta2^step)
    correction2: f32,
    eps: f32,
    /// lr times the decoupled weight decay
    decay: f32,
    l2: f32,
}

static ADAM: Kernel<Params> = Kernel {
    name: "adam",
    bodies: &[Body::proved(kernel_text!("adam"), &|p, _| Plan {
        flops: 14.0 * f64::from(p.len),
        ..Plan::linear(p.len as usize)
    })],
    twin: &adam_twin,
};

fn adam_twin(p: &Params, args: Args) -> Result<()> {
    let ([g], [w, m, v], []) = args.split()?;
    let plain = Params { decay: 0.0, l2: 0.0, ..*p };
    let blocks = w.chunks_mut(BLOCK).zip(m.chunks_mut(BLOCK)).zip(v.chunks_mut(BLOCK)).zip(g.chunks(BLOCK));
    blocks::share(blocks, |block, (((w, m), v), g)| {
        // No branch within a loop: the part that decays, then the rest.
        let split = (p.decay_len as usize).saturating_sub(block * BLOCK).min(w.len());
        let (w, m, v, g) = (w.split_at_mut(split), m.split_at_mut(split), v.split_at_mut(split), g.split_at(split));
        update(p, w.0, m.0, v.0, g.0);
        update(&plain, w.1, m.1, v.1, g.1);
    });
    Ok(())
}

/// Not inlined: as arguments the slices are known to be disjoint, which the compiler needs to make vector code.
#[inline(never)]
fn update(p: &Params, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
    for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
        let slope = g + 2.0 * p.l2 * *w;
        *m = p.beta1 * *m + p.rest1 * slope;
        *v = p.beta2 * *v + p.rest2 * slope * slope;
        *w = *w - p.decay * *w - p.rate * *m / ((p.correction2 * *v).sqrt() + p.eps);
    }
}

/// The settings of Adam. They are f64: `1 - beta2` and the bias corrections lose digits in f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment, 0..1.
    pub beta1: f64,
    /// Decay of the second moment, 0..1.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay: a step also takes `lr * weight_decay * w` off a weight.
    pub weight_decay: f64,
    /// Factor of the penalty `l2 * sum w^2`, whose gradient `2 * l2 * w` is added to `g`.
    pub l2: f64,
}

impl Adam {
    /// One update, `step` counted from 1, of weights `w` and their moments `m` and `v` (zero before the first step) by
    /// the gradient `g`, all of one shape: `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g^2`,
    /// `w -= lr * m̂ / (sqrt(v̂) + eps)`. Weight decay and l2 reach the first `decay_len` elements.
    ///
    /// # Errors
    /// Shapes that differ, `g` in one buffer with another argument, and whatever the launch reports.
    pub fn update(&self, step: u64, w: &Tensor, m: &Tensor, v: &Tensor, g: &Tensor, decay_len: usize) -> Result<()> {
        for other in [m, v, g] {
            same_shape(other, w)?;
        }
        // Beyond 2^31 steps both corrections are 1 to the last bit.
        let exponent = step.clamp(1, i32::MAX as u64) as i32;
        let params = Params {
            len: w.len() as u32,
            decay_len: decay_len.min(w.len()) as u32,
            rate: (self.lr / (1.0 - self.beta1.powi(exponent))) as f32,
            beta1: self.beta1 as f32,
            rest1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            rest2: (1.0 - self.beta2) as f32,
            correction2: (1.0 / (1.0 - self.beta2.powi(exponent))) as f32,
            eps: self.eps as f32,
            decay: (self.lr * self.weight_decay) as f32,
            l2: self.l2 as f32,
        };
        w.device().launch(&ADAM, &params, &[g], &[w, m, v], &[])
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let adam = Adam { lr: 0.01, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, l2: 0.01 };
    let w = crate::engine::self_test::seeded(device, &[1001], 1)?;
    let (m, v) = (Tensor::full(device, &[1001], 0.0)?, Tensor::full(device, &[1001], 0.0)?);
    for step in 1..=2 {
        adam.update(step, &w, &m, &v, &crate::engine::self_test::seeded(device, &[1001], 1 + step)?, 500)?;
    }
    Ok(vec![w, m, v])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::self_test::seeded;
    use crate::engine::testing::check::devices;

    const ADAM: Adam = Adam { lr: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1, l2: 0.05 };

    /// The algorithm as its authors write it, one weight.
    fn reference(a: &Adam, step: i32, [w, m, v]: [f64; 3], g: f64, decays: bool) -> [f64; 3] {
        let (decay, l2) = if decays { (a.weight_decay, a.l2) } else { (0.0, 0.0) };
        let g = g + 2.0 * l2 * w;
        let m = a.beta1 * m + (1.0 - a.beta1) * g;
        let v = a.beta2 * v + (1.0 - a.beta2) * g * g;
        let (m_hat, v_hat) = (m / (1.0 - a.beta1.powi(step)), v / (1.0 - a.beta2.powi(step)));
        [w - a.lr * decay * w - a.lr * m_hat / (v_hat.sqrt() + a.eps), m, v]
    }

    #[test]
    fn five_steps_match_the_reference_on_both_sides_of_the_decay_border() {
        // The border lies within the second block.
        let (len, decay_len) = (2 * BLOCK + 77, BLOCK + 33);
        for device in devices() {
            let w = seeded(&device, &[len], 1).unwrap();
            let [m, v] = [0, 0].map(|_| Tensor::full(&device, &[len], 0.0).unwrap());
            let mut expected: Vec<[f64; 3]> = w.to_vec().unwrap().iter().map(|&w| [f64::from(w), 0.0, 0.0]).collect();
            for step in 1..=5 {
                let g = seeded(&device, &[len], 10 + step).unwrap();
                ADAM.update(step, &w, &m, &v, &g, decay_len).unwrap();
                for (i, (state, g)) in expected.iter_mut().zip(g.to_vec().unwrap()).enumerate() {
                    *state = reference(&ADAM, step as i32, *state, f64::from(g), i < decay_len);
                }
            }
            let (w, m, v) = (w.to_vec().unwrap(), m.to_vec().unwrap(), v.to_vec().unwrap());
            for (i, expected) in expected.iter().enumerate() {
                for (got, expected) in [w[i], m[i], v[i]].into_iter().zip(expected) {
                    // Five steps of a few roundings of values up to 5.
                    let allowed = 2e-6 * expected.abs().max(1.0);
                    let off = (f64::from(got) - expected).abs();
                    assert!(off <= allowed, "{}: {i}: {got}, not {expected}", device.name());
                }
            }
        }
    }

    #[test]
    fn the_first_step_is_the_learning_rate_whatever_the_gradients_size() {
        let adam = Adam { weight_decay: 0.0, l2: 0.0, ..ADAM };
        for device in devices() {
            let [w, m, v] = [0, 0, 0].map(|_| Tensor::full(&device, &[3], 0.0).unwrap());
            let g = Tensor::new(&device, &[3], &[1e-3, -1.0, 1e3]).unwrap();
            adam.update(1, &w, &m, &v, &g, 3).unwrap();
            for (w, sign) in w.to_vec().unwrap().into_iter().zip([-1.0, 1.0, -1.0]) {
                // eps is 1e-5 of the smallest gradient.
                assert!((w - sign * 0.01).abs() < 1.1e-5 * 0.01, "{}: {w}", device.name());
            }
        }
    }
}
