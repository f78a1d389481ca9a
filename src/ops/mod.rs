//! Operations: one file an op, with its shape rule, launches, twin and gradient.
//!
//! Adding one: `kernels/x.wgsl`, `src/ops/x.rs`, and its name in the list below. The list feeds the walk over all
//! kernels in the tests and the self-test of `huetape doctor`.

use crate::device::{AnyKernel, Device};
use crate::error::{Error, Result};
use crate::random::{Rng, Stream};
use crate::tensor::Tensor;

mod bilinear_tap;
#[cfg(test)]
pub(crate) mod check;
mod gemm;
pub mod self_test;
mod vector_math;

/// Lists the op modules; each has `KERNELS` and `self_test`.
macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])* pub mod $name;)*

        /// Every kernel of every op.
        pub fn kernels() -> Vec<&'static dyn AnyKernel> {
            [$($name::KERNELS),*].concat()
        }

        /// A small run of every op, by name: the same inputs on every device, so that devices can be compared.
        pub const SELF_TESTS: &[(&str, fn(&Device) -> Result<Vec<Tensor>>)] = &[$((stringify!($name), $name::self_test)),*];
    };
}

ops! {
    /// Leaky ReLU, ELU, hyperbolic tangent, sigmoid.
    activation,
    /// Adam over an arena of parameters.
    adam,
    /// Means over a given number of windows.
    adaptive_avg_pool2d,
    /// Logits over bins to colours and their entropy, bilinear enlargement included.
    annealed_mean,
    /// Batch normalisation, in training and with fixed statistics.
    batch_norm,
    /// Two tensors side by side along the channels.
    concat,
    /// Two-dimensional convolution with bias and activation.
    conv2d,
    /// Transposed convolution with bias and activation.
    conv_transpose2d,
    /// The learned mean of two tensors.
    convex_mix,
    /// The dense layer.
    dense,
    /// Sobel magnitude and Laplacian of grey pictures.
    edge_features,
    /// Fill, copy, sum of two, scaling.
    elementwise,
    /// sRGB to CIE Lab and back.
    lab,
    /// Lee's filter: speckle taken off.
    lee,
    /// The largest of each 2x2 window.
    max_pool2d,
    /// L1, squared error and binary cross-entropy, as means.
    mean_loss,
    /// Zeros around a picture, and parts of it.
    pad,
    /// Dropout, the randomised leaky ReLU, Gaussian noise.
    perturb,
    /// The leaky ReLU with learned slopes.
    prelu,
    /// Uniform and normal random numbers.
    random,
    /// Softmax, bilinear enlargement and class-rebalanced cross-entropy in one: the loss of the classification models.
    rebalanced_cross_entropy,
    /// Sum, sum of squares, mean.
    reduce,
    /// The rectifier.
    relu,
    /// Gradient descent with momentum over an arena of parameters.
    sgd,
    /// Colours to their nearest bins, with Gaussian weights.
    soft_encode,
    /// Softmax over the last axis.
    softmax,
    /// Enlargement by linear interpolation.
    upsample_bilinear,
    /// Enlargement by repetition.
    upsample_nearest,
    /// Pictures through a homography.
    warp,
}

/// One differentiable operation with its settings.
///
/// An op runs launches; it never asks which device it is on. What its gradient needs it saves, and nothing else stays
/// alive for it.
pub trait Op {
    /// Computes the output from the inputs.
    ///
    /// # Errors
    /// Shapes that do not fit together, and whatever a launch reports.
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward>;

    /// Computes the gradients of the inputs that need one from that of the output.
    ///
    /// # Errors
    /// Whatever a launch reports.
    fn backward(&self, grad: &mut Backward<'_>) -> Result<()>;
}

/// What [`Op::forward`] hands back.
pub struct Forward {
    /// The output.
    pub y: Tensor,
    /// What [`Op::backward`] will read.
    pub saved: Vec<Tensor>,
}

/// What [`Op::backward`] works with.
pub struct Backward<'a> {
    /// Gradient of the loss with respect to the output.
    pub dy: &'a Tensor,
    /// What forward saved.
    pub saved: &'a [Tensor],
    needs: &'a [bool],
    slots: Vec<Option<Tensor>>,
    grads: Vec<Option<Tensor>>,
}

impl<'a> Backward<'a> {
    /// `needs[i]`: whether input i wants a gradient. `slots[i]`: where it is to be written, if it matters.
    pub(crate) fn new(dy: &'a Tensor, saved: &'a [Tensor], needs: &'a [bool], slots: Vec<Option<Tensor>>) -> Self {
        Backward { dy, saved, needs, slots, grads: vec![None; needs.len()] }
    }

    /// Whether there is an input `i` and it wants a gradient.
    pub fn needs(&self, i: usize) -> bool {
        self.needs.get(i) == Some(&true)
    }

    /// The tensor to write the whole gradient of input `i` into.
    ///
    /// # Errors
    /// No memory.
    pub fn out(&mut self, i: usize, shape: &[usize]) -> Result<Tensor> {
        let grad = match self.slots[i].take() {
            Some(slot) => slot,
            None => Tensor::empty(self.dy.device(), shape)?,
        };
        assert_eq!(grad.shape(), shape, "gradient of input {i}");
        self.grads[i] = Some(grad.clone());
        Ok(grad)
    }

    /// Hands an existing tensor over as the gradient of input `i`: for ops that pass `dy` on.
    ///
    /// # Errors
    /// Whatever the copy reports, where the gradient has a place of its own.
    pub fn pass(&mut self, i: usize, grad: Tensor) -> Result<()> {
        if self.slots[i].is_some() {
            let slot = self.out(i, grad.shape())?;
            return elementwise::copy(&grad, &slot);
        }
        self.grads[i] = Some(grad);
        Ok(())
    }

    pub(crate) fn into_grads(self) -> Vec<Option<Tensor>> {
        self.grads
    }
}

/// The error for a call with another number of inputs than the op takes.
pub(crate) fn arity(op: &str, wanted: usize, inputs: &[&Tensor]) -> Error {
    Error::input(format!("{op} takes {wanted} inputs, not {}", inputs.len()), op, "pass as many as it takes")
}

/// Output and gradients of `op` for a seeded gradient of the output: what a self-test compares.
pub(crate) fn run_op(op: &dyn Op, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let forward = op.forward(inputs)?;
    let dy = seeded(forward.y.device(), forward.y.shape(), 99)?;
    let needs = vec![true; inputs.len()];
    let mut backward = Backward::new(&dy, &forward.saved, &needs, vec![None; inputs.len()]);
    op.backward(&mut backward)?;
    Ok(std::iter::once(forward.y).chain(backward.into_grads().into_iter().flatten()).collect())
}

/// Normal values that depend on the shape's size and `seed` alone: inputs of self-tests.
pub(crate) fn seeded(device: &Device, shape: &[usize], seed: u64) -> Result<Tensor> {
    let rng = Rng::new(seed, Stream::Test, 0);
    let data: Vec<f32> = (0..shape.iter().product::<usize>() as u64).map(|i| rng.normal(i)).collect();
    Tensor::new(device, shape, &data)
}

#[cfg(test)]
mod tests {
    use crate::device::wgsl;

    /// Every kernel parses, validates and specialises in every variant; all failures are reported at once.
    #[test]
    fn every_kernel_parses_in_every_variant_and_matches_its_host() {
        let mut failures = Vec::new();
        let mut known = Vec::new();
        for kernel in super::kernels() {
            known.push(kernel.name());
            for variant in kernel.variants() {
                let checked = wgsl::compose(kernel.name(), kernel.source(), variant)
                    .and_then(|text| wgsl::parse(kernel.name(), &text))
                    .map(|module| check_params(kernel.name(), kernel.param_bytes(), &module));
                match checked {
                    Ok(Ok(())) => {}
                    Ok(Err(message)) => failures.push(message),
                    Err(error) => failures.push(format!("{variant:?}: {error}")),
                }
            }
        }
        // Relative to the repository root, where cargo starts a test: so the built test runs on another machine too.
        let folder = "kernels";
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.extension().is_some_and(|e| e == "wgsl") && !known.contains(&stem.as_str()) {
                failures.push(format!("kernels/{stem}.wgsl belongs to no op"));
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    fn check_params(name: &str, host_bytes: usize, module: &wgsl::Module) -> Result<(), String> {
        for entry in &module.entries {
            for binding in &entry.bindings {
                if let wgsl::BindingKind::Uniform { bytes } = binding.kind
                    && bytes as usize != host_bytes
                {
                    return Err(format!(
                        "{name}/{}: parameters of {bytes} bytes, {host_bytes} on the host",
                        entry.name
                    ));
                }
            }
        }
        Ok(())
    }
}
