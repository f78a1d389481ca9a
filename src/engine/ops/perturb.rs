//! Randomness in a network: dropout, the randomised leaky ReLU, Gaussian noise.
//!
//! Every element draws a number of its own, a pure function of a [`Draw`](crate::engine::ops::perturb::Draw): the
//! gradient draws it again, and a step that is run again is the same step.

use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text, linear_grid};
use crate::engine::op::{Backward, Forward, Op, Saves};
use crate::engine::ops::activation::Activation;
use crate::engine::primitives::same_shape;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::random::{Stream, box_muller, philox, unit};
use rayon::prelude::*;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&PERTURB];

/// Which random numbers an op draws. Element `i` takes what [`Rng`](crate::random::Rng) of seed, stream and step gives
/// at index `2^34 layer + first + i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Of the run.
    pub seed: u64,
    /// The training step.
    pub step: u32,
    /// Tells several draws of one kind within a step apart.
    pub layer: u32,
    /// Elements of the whole batch before the first one here; 0 where the whole batch is here.
    pub first: u64,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
    kind: u32,
    a: f32,
    b: f32,
    seed: [u32; 2],
    stream: u32,
    step: u32,
    layer: u32,
    /// Blocks of four numbers before those that are drawn here, and numbers of the first block that are passed over.
    first_block: u32,
    shift: u32,
}

/// What is done to an element, see kernels/perturb.wgsl.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Dropout { rate: f32 },
    RRelu { low: f32, high: f32 },
    Noise { sigma: f32 },
}

impl Kind {
    /// The kernel's number, its parameters, and the stream that it draws from.
    fn code(self) -> (u32, f32, f32, Stream) {
        match self {
            Kind::Dropout { rate } => (0, rate, 0.0, Stream::Dropout),
            Kind::RRelu { low, high } => (1, low, high, Stream::Slope),
            Kind::Noise { sigma } => (2, sigma, 0.0, Stream::Noise),
        }
    }
}

static PERTURB: Kernel<Params> = Kernel {
    name: "perturb",
    bodies: &[Body::proved(kernel_text!("perturb"), &|p, _| {
        Plan::single(linear_grid(p.len as usize, 4 * 256), 40.0 * f64::from(p.len))
    })],
    twin: &perturb_twin,
};

fn perturb_twin(p: &Params, args: Args) -> Result<()> {
    let ([x, sign], [], [y]) = args.split()?;
    let (a, b) = (p.a, p.b);
    match p.kind {
        0 => by_blocks(
            p,
            x,
            sign,
            y,
            |words| words,
            |x, _, words| std::array::from_fn(|k| if unit(words[k]) < a { 0.0 } else { x[k] / (1.0 - a) }),
        ),
        1 => by_blocks(
            p,
            x,
            sign,
            y,
            |words| words,
            |x, sign, words| {
                std::array::from_fn(|k| if sign[k] < 0.0 { x[k] / (a + (b - a) * unit(words[k])) } else { x[k] })
            },
        ),
        _ => by_blocks(p, x, sign, y, normals, |x, _, normals| std::array::from_fn(|k| x[k] + a * normals[k])),
    }
    Ok(())
}

/// Four standard normal numbers.
fn normals(words: [u32; 4]) -> [f32; 4] {
    let (first, second) = (box_muller([words[0], words[1]]), box_muller([words[2], words[3]]));
    [first.0, first.1, second.0, second.1]
}

/// Runs `f` on each four elements and what `draw` makes of their random words.
#[inline(always)]
fn by_blocks<T: Copy>(
    p: &Params,
    x: &[f32],
    sign: &[f32],
    y: &mut [f32],
    draw: impl Fn([u32; 4]) -> [T; 4] + Sync,
    f: impl Fn([f32; 4], [f32; 4], [T; 4]) -> [f32; 4] + Sync,
) {
    let drawn = |block: u32| draw(philox([block, p.layer, p.step, p.stream], p.seed));
    let shift = p.shift as usize;
    let four = |v: &[f32]| -> [f32; 4] { std::array::from_fn(|k| v.get(k).copied().unwrap_or(0.0)) };
    let blocks = y.par_chunks_mut(4).zip(x.par_chunks(4)).zip(sign.par_chunks(4));
    blocks.with_min_len(1 << 10).enumerate().for_each(|(block, ((y, x), sign))| {
        let block = p.first_block.wrapping_add(block as u32);
        let mut numbers = drawn(block);
        if shift > 0 {
            let next = drawn(block.wrapping_add(1));
            numbers = std::array::from_fn(|k| if k + shift < 4 { numbers[k + shift] } else { next[k + shift - 4] });
        }
        y.copy_from_slice(&f(four(x), four(sign), numbers)[..y.len()]);
    });
}

/// `y` is `x` perturbed; `sign` has the size of both, and only the leaky ReLU reads it.
fn perturb(kind: Kind, draw: Draw, x: &Tensor, sign: &Tensor, y: &Tensor) -> Result<()> {
    let (kind, a, b, stream) = kind.code();
    let seed = [draw.seed as u32, (draw.seed >> 32) as u32];
    let (stream, step, layer) = (stream as u32, draw.step, draw.layer);
    let (first_block, shift) = ((draw.first / 4) as u32, (draw.first % 4) as u32);
    let params = Params { len: y.len() as u32, kind, a, b, seed, stream, step, layer, first_block, shift };
    y.device().launch(&PERTURB, &params, &[x, sign], &[], &[y])
}

/// The output of `kind`, with nothing saved.
fn perturbed(op: &str, kind: Kind, draw: Draw, inputs: &[&Tensor]) -> Result<Forward> {
    let [x] = inputs else { return Err(crate::engine::op::arity(op, 1, inputs)) };
    let y = Tensor::empty(x.device(), x.shape())?;
    perturb(kind, draw, x, x, &y)?;
    Ok(Forward { y, saved: vec![] })
}

/// Dropout in training (Srivastava et al., 2014): `y = 0` with probability `rate`, else `x / (1 - rate)`; any shape.
/// `dx` is dy under the same mask. Outside training there is none: leave the op out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Share of elements that become zero, 0 up to but not including 1.
    pub rate: f32,
    /// Which elements.
    pub draw: Draw,
}

impl Dropout {
    pub(super) fn check(&self) -> Result<()> {
        crate::ensure!(
            (0.0..1.0).contains(&self.rate),
            Error::input("a dropout rate lies in 0..1, without 1", self.rate, "use 0.5, or 0 for none")
        );
        Ok(())
    }
}

impl Op for Dropout {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        self.check()?;
        perturbed("dropout", Kind::Dropout { rate: self.rate }, self.draw, inputs)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if !grad.needs(0) {
            return Ok(());
        }
        let (dy, dx) = (grad.dy, grad.out(0, grad.dy.shape())?);
        perturb(Kind::Dropout { rate: self.rate }, self.draw, dy, dy, &dx)
    }
}

/// The randomised leaky ReLU (Xu, Wang, Chen, Li, 2015): x where x >= 0, else `x / a`; any shape. In training a is
/// uniform in 3..8 for each element, otherwise it is 5.5, the mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RRelu {
    /// Which numbers in training; `None` outside it.
    pub draw: Option<Draw>,
}

impl RRelu {
    const SLOPES: Kind = Kind::RRelu { low: 3.0, high: 8.0 };

    fn fixed() -> Activation {
        Activation::leaky_relu_over(5.5)
    }
}

impl Op for RRelu {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let Some(draw) = self.draw else { return RRelu::fixed().forward(inputs) };
        let forward = perturbed("rrelu", RRelu::SLOPES, draw, inputs)?;
        // The output has the sign of the input, and the next layer keeps it anyway.
        Ok(Forward { saved: vec![forward.y.clone()], ..forward })
    }

    fn saves(&self, _i: usize) -> Saves {
        Saves::Activations
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let Some(draw) = self.draw else { return RRelu::fixed().backward(grad) };
        if !grad.needs(0) {
            return Ok(());
        }
        same_shape(grad.dy, &grad.saved[0])?;
        let (y, dx) = (&grad.saved[0], grad.out(0, grad.dy.shape())?);
        perturb(RRelu::SLOPES, draw, grad.dy, y, &dx)
    }
}

/// `y = x + e` with e normal of mean 0; any shape. `dx = dy`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaussianNoise {
    /// Standard deviation of e, 0 or more.
    pub sigma: f32,
    /// Which numbers.
    pub draw: Draw,
}

impl Op for GaussianNoise {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        perturbed("gaussian_noise", Kind::Noise { sigma: self.sigma }, self.draw, inputs)
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        if grad.needs(0) {
            grad.pass(0, grad.dy.clone())?;
        }
        Ok(())
    }
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    let x = crate::engine::self_test::seeded(device, &[3, 301], 1)?;
    let draw = Draw { seed: 3, step: 4, layer: 5, first: 0 };
    let mut outputs = crate::engine::self_test::run_op(&Dropout { rate: 0.5, draw }, &[&x])?;
    outputs.extend(crate::engine::self_test::run_op(&RRelu { draw: Some(draw) }, &[&x])?);
    let part = Draw { first: 301, ..draw };
    outputs.extend(crate::engine::self_test::run_op(&GaussianNoise { sigma: 0.1, draw: part }, &[&x])?);
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::check::{Check, Tolerance, devices};
    use crate::random::Rng;

    const DRAW: Draw = Draw { seed: 0x1234_5678_9abc_def0, step: 7, layer: 3, first: 0 };

    /// Where element `i` finds its number.
    fn index(i: usize) -> u64 {
        (3 << 34) + i as u64
    }

    #[test]
    fn dropout_matches_its_reference() {
        let rng = Rng::new(DRAW.seed, Stream::Dropout, DRAW.step);
        for shape in [[1usize, 1], [7, 5], [3, 1001]] {
            Check::new(&[&shape])
                .reference(move |x| {
                    let kept = |i: usize| rng.uniform(index(i)) >= 0.3;
                    x[0].iter().enumerate().map(|(i, x)| if kept(i) { x / 0.7 } else { 0.0 }).collect()
                })
                .run(&Dropout { rate: 0.3, draw: DRAW });
        }
    }

    #[test]
    fn the_randomised_leaky_relu_matches_its_reference_in_training_and_outside() {
        let rng = Rng::new(DRAW.seed, Stream::Slope, DRAW.step);
        for draw in [Some(DRAW), None] {
            for shape in [[1usize, 1], [7, 5], [3, 1001]] {
                Check::new(&[&shape])
                    // Away from the kink at 0.
                    .map(0, |x| if x.abs() < 0.01 { x + 0.1 } else { x })
                    .reference(move |x| {
                        let a = |i: usize| match draw {
                            Some(_) => 3.0 + 5.0 * f64::from(rng.uniform(index(i))),
                            None => 5.5,
                        };
                        x[0].iter().enumerate().map(|(i, &x)| if x < 0.0 { x / a(i) } else { x }).collect()
                    })
                    .run(&RRelu { draw });
            }
        }
    }

    #[test]
    fn noise_matches_its_reference() {
        let rng = Rng::new(DRAW.seed, Stream::Noise, DRAW.step);
        Check::new(&[&[5, 333]])
            .reference(move |x| {
                x[0].iter().enumerate().map(|(i, x)| x + 0.1 * f64::from(rng.normal(index(i)))).collect()
            })
            // WGSL lets sine and cosine be off by 2^-11, here of 0.1 times a radius below 6; drivers stay far below.
            .tolerance(Tolerance::OfLargest(1e-4))
            .run(&GaussianNoise { sigma: 0.1, draw: DRAW });
    }

    #[test]
    fn a_part_draws_what_the_whole_draws_there() {
        let rows = 3;
        for device in devices() {
            // Parts that begin at any place within a block of four numbers.
            for columns in [8, 6, 5, 7] {
                let x = Tensor::full(&device, &[rows, columns], -1.0).unwrap();
                let row = Tensor::full(&device, &[1, columns], -1.0).unwrap();
                for kind in 0..3 {
                    let run = |draw: Draw, x: &Tensor| {
                        let forward = match kind {
                            0 => Dropout { rate: 0.5, draw }.forward(&[x]),
                            1 => RRelu { draw: Some(draw) }.forward(&[x]),
                            _ => GaussianNoise { sigma: 1.0, draw }.forward(&[x]),
                        };
                        forward.unwrap().y.to_vec().unwrap()
                    };
                    let part = |k| run(Draw { first: (k * columns) as u64, ..DRAW }, &row);
                    let parts: Vec<f32> = (0..rows).flat_map(part).collect();
                    assert_eq!(run(DRAW, &x), parts, "{} {kind} {columns}", device.name());
                }
            }
        }
    }

    #[test]
    fn steps_layers_and_seeds_have_masks_of_their_own_and_the_rate_holds() {
        let rest = |draw: Draw| {
            let x = Tensor::full(&Device::cpu(), &[10_000], 1.0).unwrap();
            Dropout { rate: 0.25, draw }.forward(&[&x]).unwrap().y.to_vec().unwrap()
        };
        let first = rest(DRAW);
        let zeros = first.iter().filter(|&&v| v == 0.0).count();
        // Five standard deviations of a binomial count: 5 * sqrt(10,000 * 0.25 * 0.75).
        assert!(zeros.abs_diff(2500) < 217, "{zeros}");
        assert_eq!(first, rest(DRAW));
        for other in [Draw { step: 8, ..DRAW }, Draw { layer: 4, ..DRAW }, Draw { seed: 1, ..DRAW }] {
            assert_ne!(first, rest(other), "{other:?}");
        }
    }

    #[test]
    fn rates_that_leave_nothing_are_refused() {
        for device in devices() {
            let x = Tensor::full(&device, &[3], 1.0).unwrap();
            for rate in [1.0, -0.1, f32::NAN] {
                assert_eq!(Dropout { rate, draw: DRAW }.forward(&[&x]).err().unwrap().exit_code(), 2);
            }
            assert_eq!(Dropout { rate: 0.0, draw: DRAW }.forward(&[&x]).unwrap().y.to_vec().unwrap(), [1.0; 3]);
        }
    }
}
