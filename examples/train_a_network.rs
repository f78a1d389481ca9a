//! A network of two layers learns to tell a disc from the ring around it, on data made here.
//!
//! ```text
//! cargo run --release --example train_a_network
//! ```

use huetape::Result;
use huetape::engine::device::{Device, DeviceChoice};
use huetape::engine::nn::{DenseLayer, Norm, OpLayer, Optimizer, OptimizerKind, Parameters, Sequential};
use huetape::engine::ops::cross_entropy::{CrossEntropy, class_tensor};
use huetape::engine::ops::relu::Relu;
use huetape::engine::tape::Tape;
use huetape::engine::tensor::Tensor;
use huetape::random::{Rng, Stream};

const POINTS: usize = 512;

fn main() -> Result<()> {
    // A GPU where there is one, else the CPU; HUETAPE_DEVICE=cpu decides.
    let device = Device::open(&DeviceChoice::from_flag_or_env(None)?)?;

    // The data: points (x, y) in the square -1..1, of class 1 outside a circle of radius 0.8, else of class 0.
    let random = Rng::new(7, Stream::Test, 0);
    let coordinates: Vec<f32> = (0..2 * POINTS as u64).map(|i| 2.0 * random.uniform(i) - 1.0).collect();
    let classes: Vec<usize> = coordinates.chunks(2).map(|p| usize::from(p[0].hypot(p[1]) > 0.8)).collect();
    let x = Tensor::new(&device, &[POINTS, 2], &coordinates)?;
    let target = class_tensor(&device, &[POINTS], &classes, 2)?;

    // The network: 2 coordinates -> 32 values -> ReLU -> 2 logits. Its parameters start from a seed.
    let network = Sequential::new(2)
        .then(DenseLayer::new("hidden", 32))
        .then(OpLayer::new("relu", Relu))
        .then(DenseLayer::new("classes", 2));
    let parameters = Parameters::new(&device, network.param_specs(), 1, true)?;
    let adam = OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
    let optimizer = Optimizer::new(adam, 0.0, 0.0, &parameters)?;

    // The training: forward on a tape, backward over it, one step of the optimiser.
    let mut losses = Vec::new();
    for step in 1..=300 {
        let tape = Tape::new();
        let logits = network.forward(&parameters.bind(&tape, true), tape.constant(x.clone()), Norm::Training)?;
        let loss = tape.apply(CrossEntropy::Classes, &[&logits, &tape.constant(target.clone())])?;
        losses.push(loss.value().item()?);
        tape.backward(loss)?;
        optimizer.step(&parameters, step, 0.01)?;
    }

    let (first, last) = (losses[0], losses[losses.len() - 1]);
    println!("{}: the loss fell from {first:.3} to {last:.3}", device.name());
    assert!(last < 0.2 * first, "the network did not learn: {first} to {last}");
    Ok(())
}
