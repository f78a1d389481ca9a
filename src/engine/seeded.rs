//! Inputs of self-tests.

use crate::engine::device::Device;
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::random::{Rng, Stream};

/// Standard normal values that depend on the shape's size and `seed` alone: inputs of self-tests.
///
/// # Errors
/// No memory.
pub fn seeded(device: &Device, shape: &[usize], seed: u64) -> Result<Tensor> {
    let rng = Rng::new(seed, Stream::Test, 0);
    let data: Vec<f32> = (0..shape.iter().product::<usize>() as u64).map(|i| rng.normal(i)).collect();
    Tensor::new(device, shape, &data)
}
