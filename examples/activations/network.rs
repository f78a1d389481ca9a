//! The network: five convolutions, each with or without batch norm, all with one of five activations.

use crate::figures::NAMES;
use huetape::Result;
use huetape::engine::nn::layer::{batch_norm_specs, bias_spec, kernel_spec};
use huetape::engine::nn::{Bound, Init, ParamKind, ParamSpec};
use huetape::engine::ops::activation;
use huetape::engine::ops::adaptive_avg_pool2d::AdaptiveAvgPool2d;
use huetape::engine::ops::batch_norm::{BatchNormInference, BatchNormTrain};
use huetape::engine::ops::conv2d::{self, Conv2d, Padding};
use huetape::engine::ops::max_pool2d::MaxPool2d;
use huetape::engine::ops::perturb::{Draw, RRelu};
use huetape::engine::ops::prelu::PRelu;
use huetape::engine::ops::relu::Relu;
use huetape::engine::tape::Var;

/// Channels of the convolutions.
const CHANNELS: [usize; 5] = [8, 16, 16, 32, 32];
/// The convolutions that a 2x2 max pooling follows.
const POOLED: [usize; 2] = [0, 2];
/// The leaky ReLU's a in `x / a`: what RReLU has outside training, so that these two differ by randomness alone.
pub const LEAK: f32 = 5.5;
/// A running statistic keeps so much of itself in an update: few, so that it follows a short training.
const MOMENTUM: f32 = 0.9;
const EPS: f32 = 1e-3;

/// What follows each convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// x, or `x / 5.5` below 0.
    LeakyRelu,
    /// x, or `a x` below 0, with an a per channel that is learned from 0.25.
    PRelu,
    /// x, or `e^x - 1` below 0.
    Elu,
    /// x, or `x / a` below 0; in training a is uniform in 3..8 for each element, otherwise it is 5.5.
    RRelu,
}

impl Activation {
    /// All of them, in the order of the table.
    pub const ALL: [Activation; 5] =
        [Activation::Relu, Activation::LeakyRelu, Activation::PRelu, Activation::Elu, Activation::RRelu];

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu => "ReLU",
            Activation::LeakyRelu => "leaky ReLU",
            Activation::PRelu => "PReLU",
            Activation::Elu => "ELU",
            Activation::RRelu => "RReLU",
        }
    }
}

/// What a pass is for.
#[derive(Debug, Clone, Copy)]
pub enum Pass {
    /// Training: the batch's statistics, random slopes of this seed and step.
    Training {
        /// Of the run.
        seed: u64,
        /// The training step.
        step: u32,
    },
    /// Evaluation: running statistics, fixed slopes.
    Evaluation,
}

/// One of the networks that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// After each convolution (and its batch norm).
    pub activation: Activation,
    /// Whether there is batch norm.
    pub batch_norm: bool,
}

impl Network {
    /// What it learns. Kernels come first, so that all networks of one seed start with the same.
    pub fn param_specs(&self) -> Vec<ParamSpec> {
        let mut specs = Vec::new();
        let mut c_in = 1;
        for (i, c_out) in CHANNELS.into_iter().enumerate() {
            specs.push(kernel_spec(&format!("conv{i}"), 3, c_in, c_out, Init::HeNormal { fan_in: 9 * c_in }));
            c_in = c_out;
        }
        specs.push(kernel_spec("classes", 1, c_in, NAMES.len(), Init::HeNormal { fan_in: c_in }));
        specs.push(bias_spec("classes", NAMES.len()));
        for (i, channels) in CHANNELS.into_iter().enumerate() {
            specs.push(bias_spec(&format!("conv{i}"), channels));
            if self.batch_norm {
                specs.extend(batch_norm_specs(&format!("norm{i}"), channels));
            }
            if self.activation == Activation::PRelu {
                let (name, init) = (format!("slope{i}"), Init::Constant(0.25));
                specs.push(ParamSpec { name, shape: vec![channels], kind: ParamKind::Vector, init });
            }
        }
        specs
    }

    /// Logits `[N, 1, 1, classes]` of pictures `[N, H, W, 1]`.
    ///
    /// # Errors
    /// Whatever a launch reports.
    pub fn forward(&self, bound: &Bound<'_>, pictures: &Var, pass: Pass) -> Result<Var> {
        let tape = bound.tape();
        let mut x = pictures.clone();
        for i in 0..CHANNELS.len() {
            x = convolution(bound, &format!("conv{i}"), &x)?;
            if self.batch_norm {
                x = batch_norm(bound, &format!("norm{i}"), &x, pass)?;
            }
            x = self.activate(bound, i, &x, pass)?;
            if POOLED.contains(&i) {
                x = tape.apply(MaxPool2d, &[&x])?;
            }
        }
        let mean = tape.apply(AdaptiveAvgPool2d { output: [1, 1] }, &[&x])?;
        convolution(bound, "classes", &mean)
    }

    fn activate(&self, bound: &Bound<'_>, layer: usize, x: &Var, pass: Pass) -> Result<Var> {
        let tape = bound.tape();
        match self.activation {
            Activation::Relu => tape.apply(Relu, &[x]),
            Activation::LeakyRelu => tape.apply(activation::Activation::leaky_relu_over(LEAK), &[x]),
            Activation::PRelu => tape.apply(PRelu, &[x, &bound.var(&format!("slope{layer}"))?]),
            Activation::Elu => tape.apply(activation::Activation::Elu { alpha: 1.0 }, &[x]),
            Activation::RRelu => {
                let draw = match pass {
                    Pass::Training { seed, step } => Some(Draw { seed, step, layer: layer as u32, first: 0 }),
                    Pass::Evaluation => None,
                };
                tape.apply(RRelu { draw }, &[x])
            }
        }
    }
}

fn convolution(bound: &Bound<'_>, name: &str, x: &Var) -> Result<Var> {
    let (weight, bias) = (bound.var(&format!("{name}.weight"))?, bound.var(&format!("{name}.bias"))?);
    let op = Conv2d { stride: 1, dilation: 1, padding: Padding::Same, activation: conv2d::Activation::None };
    bound.tape().apply(op, &[x, &weight, &bias])
}

fn batch_norm(bound: &Bound<'_>, name: &str, x: &Var, pass: Pass) -> Result<Var> {
    let [gamma, beta] = ["gamma", "beta"].map(|part| bound.var(&format!("{name}.{part}")));
    let [mean, var] = ["mean", "var"].map(|part| bound.tensor(&format!("{name}.{part}")));
    let inputs = [x, &gamma?, &beta?];
    match pass {
        Pass::Training { .. } => {
            let op =
                BatchNormTrain { running_mean: mean?, running_var: var?, pooled: false, momentum: MOMENTUM, eps: EPS };
            bound.tape().apply(op, &inputs)
        }
        Pass::Evaluation => bound.tape().apply(BatchNormInference { mean: mean?, var: var?, eps: EPS }, &inputs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Figures, SIZE};
    use huetape::engine::device::Device;
    use huetape::engine::nn::Parameters;
    use huetape::engine::tape::Tape;
    use huetape::engine::tensor::Tensor;

    fn logits(network: Network, pass: Pass) -> Vec<f32> {
        let device = Device::cpu();
        let parameters = Parameters::new(&device, network.param_specs(), 1, false).unwrap();
        let tape = Tape::inference();
        let pictures = Tensor::new(&device, &[4, SIZE, SIZE, 1], &Figures::new(1, 0, 4).pixels).unwrap();
        let y = network.forward(&parameters.bind(&tape, false), &tape.constant(pictures), pass).unwrap();
        y.value().to_vec().unwrap()
    }

    /// They start with the same kernels, and a leaky ReLU has the slope that the randomised one has outside training.
    #[test]
    fn rrelu_is_the_leaky_relu_outside_training_and_draws_new_slopes_at_each_step() {
        let network = |activation| Network { activation, batch_norm: false };
        let rrelu = |pass| logits(network(Activation::RRelu), pass);
        assert_eq!(rrelu(Pass::Evaluation), logits(network(Activation::LeakyRelu), Pass::Evaluation));
        let at = |step| rrelu(Pass::Training { seed: 1, step });
        assert_eq!(at(1), at(1));
        assert_ne!(at(1), at(2));
        assert_ne!(at(1), rrelu(Pass::Evaluation));
    }

    #[test]
    fn batch_norm_takes_the_batch_in_training_and_running_statistics_outside() {
        let network = Network { activation: Activation::Elu, batch_norm: true };
        assert_ne!(logits(network, Pass::Training { seed: 1, step: 1 }), logits(network, Pass::Evaluation));
        // The running statistics start as the identity but for eps: as without batch norm, nearly.
        let plain = logits(Network { batch_norm: false, ..network }, Pass::Evaluation);
        let normed = logits(network, Pass::Evaluation);
        // Five layers each shrink by sqrt(1 + 1e-3); ELU passes that on at most.
        assert!(plain.iter().zip(&normed).all(|(a, b)| (a - b).abs() < 0.02 * (1.0 + a.abs())));
    }
}
