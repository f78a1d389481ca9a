//! ColourNet and its loss, in burn's own terms: NCHW, weights OIHW.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Int, Tensor, TensorData, activation, module};

const LOG_EPS: f64 = 1e-4;

/// Filters, dilation and the strides of the convolutions of each block.
const BLOCKS: [(usize, usize, &[usize]); 8] = [
    (64, 1, &[1, 2]),
    (128, 1, &[1, 2]),
    (256, 1, &[1, 1, 2]),
    (512, 1, &[1, 1, 1]),
    (512, 2, &[1, 1, 1]),
    (512, 2, &[1, 1, 1]),
    (256, 1, &[1, 1, 1]),
    (128, 1, &[1, 1, 1]),
];

/// Convolutions with ReLU, then batch norm.
#[derive(Module, Debug)]
pub struct Block {
    pub convolutions: Vec<Conv2d>,
    pub norm: BatchNorm,
}

/// [N, 1, H, W] -> probabilities [N, H/4, W/4, Q].
#[derive(Module, Debug)]
pub struct ColourNet {
    pub blocks: Vec<Block>,
    pub out: Conv2d,
}

impl ColourNet {
    /// He-normal kernels, biases of zero. On a device with autodiff batch norm takes the batch's statistics, else the
    /// running ones.
    pub fn new(width: f64, q: usize, device: &Device) -> Self {
        let mut c_in = 1;
        let blocks = BLOCKS.map(|(filters, dilation, strides)| {
            let c_out = usize::max(4, 4 * (filters as f64 * width / 4.0 + 0.5) as usize);
            let convolutions = strides.iter().map(|&stride| {
                // "same" on an even size: nothing before, one row and column after; burn's own `Same` knows no dilation
                let padding = match stride {
                    2 => PaddingConfig2d::Explicit(0, 0, 1, 1),
                    _ => PaddingConfig2d::Explicit(dilation, dilation, dilation, dilation),
                };
                let config = Conv2dConfig::new([std::mem::replace(&mut c_in, c_out), c_out], [3, 3]);
                convolution(config.with_stride([stride; 2]).with_dilation([dilation; 2]).with_padding(padding), device)
            });
            let convolutions = convolutions.collect();
            let norm = BatchNormConfig::new(c_out).with_epsilon(1e-3).with_momentum(0.01).init(device);
            Block { convolutions, norm }
        });
        Self { blocks: blocks.into(), out: convolution(Conv2dConfig::new([c_in, q], [1, 1]), device) }
    }

    pub fn forward(&self, source: Tensor<4>) -> Tensor<4> {
        let mut x = source;
        for (i, block) in self.blocks.iter().enumerate() {
            if i == 7 {
                let [_, _, h, w] = x.dims();
                let nearest = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([2 * h, 2 * w]);
                x = module::interpolate(x, nearest);
            }
            for convolution in &block.convolutions {
                x = activation::relu(convolution.forward(x));
            }
            x = block.norm.forward(x);
        }
        activation::softmax(self.out.forward(x).permute([0, 2, 3, 1]), 3)
    }
}

fn convolution(config: Conv2dConfig, device: &Device) -> Conv2d {
    let channels = config.channels[1];
    let he_normal = Initializer::KaimingNormal { gain: f64::sqrt(2.0), fan_out_only: false };
    let mut convolution = config.with_initializer(he_normal).init(device);
    convolution.bias = Some(Initializer::Zeros.init([channels], device));
    convolution
}

/// Rebalanced cross-entropy against soft targets of 5 bins a pixel. Like huetape's, it reads 5 bins x 4 low-resolution
/// neighbours and never makes Q channels at full size.
pub struct Loss {
    /// Where the bins of the neighbours lie in the flat probabilities [pixels * 4 * 5].
    index: Tensor<1, Int>,
    /// The shares of the neighbours [pixels, 4, 1].
    weight: Tensor<3>,
    /// The soft encoding times the pixel's class weight [pixels, 1, 5].
    z: Tensor<3>,
}

impl Loss {
    /// `bins` and `z` are [N, side, side, 5], row-major, of square images.
    pub fn new(bins: &[usize], z: Vec<f32>, side: usize, q: usize, device: &Device) -> Self {
        let (low, pixels) = (side / 4, bins.len() / 5);
        let near: Vec<[(usize, f32); 2]> = (0..side).map(|at| neighbours(at, low)).collect();
        let (mut index, mut weight) = (Vec::new(), Vec::new());
        for (pixel, bins) in bins.chunks(5).enumerate() {
            let (image, y, x) = (pixel / (side * side), pixel / side % side, pixel % side);
            for (row, share_of_row) in near[y] {
                for (column, share_of_column) in near[x] {
                    let place = (image * low + row) * low + column;
                    index.extend(bins.iter().map(|bin| (place * q + bin) as i32));
                    weight.push(share_of_row * share_of_column);
                }
            }
        }
        let floats = |values, shape: [usize; 3]| Tensor::from_data(TensorData::new(values, shape), device);
        let places = [index.len()];
        Self {
            index: Tensor::from_data(TensorData::new(index, places), device),
            weight: floats(weight, [pixels, 4, 1]),
            z: floats(z, [pixels, 1, 5]),
        }
    }

    /// Probabilities [N, H/4, W/4, Q] -> the loss [1].
    pub fn forward(&self, probabilities: Tensor<4>) -> Tensor<1> {
        let [pixels, _, _] = self.weight.dims();
        let count: usize = probabilities.dims().iter().product();
        let read = probabilities.reshape([count]).gather(0, self.index.clone()).reshape([pixels, 4, 5]);
        let zhat = (read * self.weight.clone()).sum_dim(1);
        -((zhat + LOG_EPS).log() * self.z.clone()).sum() / pixels as f64
    }
}

/// The two of `low` values that the value `at` of four times as many lies between, and their shares.
fn neighbours(at: usize, low: usize) -> [(usize, f32); 2] {
    let place = (at as f64 + 0.5) / 4.0 - 0.5;
    let share = place - place.floor();
    let near = |i: f64| i.clamp(0.0, low as f64 - 1.0) as usize;
    [(near(place.floor()), (1.0 - share) as f32), (near(place.floor() + 1.0), share as f32)]
}
