//! The weights of other programs: junyanz/pytorch-CycleGAN-and-pix2pix, and TensorFlow's tutorial.

use crate::engine::nn::StateTensor;
use crate::error::Result;
use crate::exchange::foreign::layout::{
    Axes, Layout, kernel, renamed, setting, torch_batch_norm, torch_batch_norm_names,
};
use crate::exchange::foreign::tensors::Foreign;
use crate::networks::pix2pix::network::{DOWN, LEAKY_SLOPE, LEAST_DEPTH, SIDE_TENSOR, SLOPE_TENSOR, down, norm, up};

/// Slope of the leaky ReLU in the authors' program.
const TORCH_SLOPE: f32 = 0.2;
/// Parts of batch norm in Keras' order.
const PARTS: [&str; 4] = ["gamma", "beta", "mean", "var"];

/// The layouts of their files.
pub(super) static LAYOUTS: [Layout; 4] = [
    Layout {
        program: "a U-Net generator of junyanz/pytorch-CycleGAN-and-pix2pix with batch norm (PyTorch)",
        anchor: "model.model.0.weight",
        needs: |file| {
            let depth = torch_depth(file);
            let mut names = Vec::new();
            for block in 1..=depth {
                let (from, inner) = (torch_block(block), block == depth);
                names.push(format!("{from}.{}.weight", if block == 1 { 0 } else { 1 }));
                names.push(format!("{from}.{}.weight", if inner || block == 1 { 3 } else { 5 }));
                match block {
                    1 => names.push(format!("{from}.3.bias")),
                    _ if inner => names.extend(torch_batch_norm_names(&format!("{from}.4"))),
                    _ => names.extend([2, 6].iter().flat_map(|k| torch_batch_norm_names(&format!("{from}.{k}")))),
                }
            }
            names
        },
        tensors: torch_generator,
    },
    Layout {
        program: "a PatchGAN of junyanz/pytorch-CycleGAN-and-pix2pix with batch norm (PyTorch)",
        anchor: "model.0.weight",
        needs: |_| {
            let convs = [0, 2, 5, 8, 11].map(|k| format!("model.{k}.weight"));
            let biases = [0, 11].map(|k| format!("model.{k}.bias"));
            let norms = [3, 6, 9].map(|k| torch_batch_norm_names(&format!("model.{k}")));
            convs.into_iter().chain(biases).chain(norms.into_iter().flatten()).collect()
        },
        tensors: |file| {
            let mut tensors = Vec::new();
            for (k, layer) in [(0, "d.conv1"), (2, "d.conv2"), (5, "d.conv3"), (8, "d.conv4"), (11, "d.out")] {
                tensors.push(kernel(file, &format!("model.{k}.weight"), Axes::Torch, layer)?);
                if k == 0 || k == 11 {
                    tensors.push(renamed(file, &format!("model.{k}.bias"), &format!("{layer}.bias"))?);
                } else {
                    tensors.extend(torch_batch_norm(file, &format!("model.{}", k + 1), &norm(layer))?);
                }
            }
            Ok(tensors)
        },
    },
    Layout {
        program: "the generator of TensorFlow's pix2pix tutorial (arrays of get_weights)",
        anchor: "arr_0",
        needs: |file| rows(10 * keras_depth(file) - 7),
        tensors: keras_generator,
    },
    Layout {
        program: "the discriminator of TensorFlow's pix2pix tutorial (arrays of get_weights)",
        anchor: "arr_0",
        needs: |_| rows(18),
        tensors: |file| {
            let mut arrays = Arrays { file, next: 0 };
            let mut tensors = vec![arrays.kernel(Axes::Keras, "d.conv1")?];
            for layer in ["d.conv2", "d.conv3", "d.conv4"] {
                tensors.push(arrays.kernel(Axes::Keras, layer)?);
                tensors.extend(arrays.norm(layer)?);
            }
            tensors.push(arrays.kernel(Axes::Keras, "d.out")?);
            tensors.push(arrays.named("d.out.bias")?);
            Ok(tensors)
        },
    },
];

/// The prefix of a block of the U-Net, from 1, the outermost: each lies within the one before.
fn torch_block(block: usize) -> String {
    let mut name = "model.model".to_owned();
    for within in 2..=block {
        name += if within == 2 { ".1.model" } else { ".3.model" };
    }
    name
}

/// How many blocks there are.
fn torch_depth(file: &Foreign) -> usize {
    let there = |block: &usize| file.get(&format!("{}.1.weight", torch_block(*block))).is_some();
    1 + (2..=DOWN.len()).take_while(there).count()
}

fn torch_generator(file: &Foreign) -> Result<Vec<StateTensor>> {
    let depth = torch_depth(file);
    let mut tensors = vec![kernel(file, "model.model.0.weight", Axes::Torch, &down(1))?];
    for block in 2..=depth {
        let (from, layer) = (torch_block(block), down(block));
        tensors.push(kernel(file, &format!("{from}.1.weight"), Axes::Torch, &layer)?);
        if block < depth {
            tensors.extend(torch_batch_norm(file, &format!("{from}.2"), &norm(&layer))?);
        }
    }
    // The innermost block ends in the first doubling.
    for (block, k) in (2..=depth).rev().zip(1..) {
        let (from, layer) = (torch_block(block), up(k));
        let (conv, of_norm) = if block == depth { (3, 4) } else { (5, 6) };
        let weight = kernel(file, &format!("{from}.{conv}.weight"), Axes::TorchTransposed, &layer)?;
        tensors.push(if block == depth { weight } else { skips_last(weight) });
        tensors.extend(torch_batch_norm(file, &format!("{from}.{of_norm}"), &norm(&layer))?);
    }
    tensors.push(skips_last(kernel(file, "model.model.3.weight", Axes::TorchTransposed, "g.out")?));
    tensors.push(renamed(file, "model.model.3.bias", "g.out.bias")?);
    tensors.extend([setting(SLOPE_TENSOR, TORCH_SLOPE), setting(SIDE_TENSOR, (1 << depth) as f32)]);
    Ok(tensors)
}

/// A kernel whose input begins with the half that skips, as one whose input ends with it.
fn skips_last(mut kernel: StateTensor) -> StateTensor {
    let [.., c_in, c_out] = kernel.shape[..] else { return kernel };
    for tap in kernel.data.chunks_exact_mut((c_in * c_out).max(1)) {
        tap.rotate_left(c_in / 2 * c_out);
    }
    kernel
}

/// The names of arrays that were saved without any.
fn rows(count: usize) -> Vec<String> {
    (0..count).map(|k| format!("arr_{k}")).collect()
}

/// Halvings of the tutorial's generator, of whose tensors each halving and each doubling but the outermost have five,
/// and the outermost three.
fn keras_depth(file: &Foreign) -> usize {
    let count = file.tensors.iter().filter(|tensor| tensor.name.starts_with("arr_")).count();
    ((count + 7) / 10).clamp(LEAST_DEPTH, DOWN.len())
}

/// Arrays in the order of their numbers.
struct Arrays<'a> {
    file: &'a Foreign,
    next: usize,
}

impl Arrays<'_> {
    fn next(&mut self) -> String {
        self.next += 1;
        format!("arr_{}", self.next - 1)
    }

    fn kernel(&mut self, axes: Axes, layer: &str) -> Result<StateTensor> {
        let name = self.next();
        kernel(self.file, &name, axes, layer)
    }

    fn named(&mut self, name: &str) -> Result<StateTensor> {
        let from = self.next();
        renamed(self.file, &from, name)
    }

    fn norm(&mut self, layer: &str) -> Result<Vec<StateTensor>> {
        PARTS.iter().map(|part| self.named(&format!("{}.{part}", norm(layer)))).collect()
    }
}

fn keras_generator(file: &Foreign) -> Result<Vec<StateTensor>> {
    let depth = keras_depth(file);
    let mut arrays = Arrays { file, next: 0 };
    let mut tensors = Vec::new();
    for k in 1..=depth {
        tensors.push(arrays.kernel(Axes::Keras, &down(k))?);
        if k > 1 {
            tensors.extend(arrays.norm(&down(k))?);
        }
    }
    for k in 1..depth {
        tensors.push(arrays.kernel(Axes::KerasTransposed, &up(k))?);
        tensors.extend(arrays.norm(&up(k))?);
    }
    tensors.push(arrays.kernel(Axes::KerasTransposed, "g.out")?);
    tensors.push(arrays.named("g.out.bias")?);
    tensors.extend([setting(SLOPE_TENSOR, LEAKY_SLOPE), setting(SIDE_TENSOR, (1 << depth) as f32)]);
    Ok(tensors)
}
