//! An op of your own, y = x / (1 + |x|): kernels in WGSL, twins in Rust, a gradient; checked, then trained with.
//! Run it by `cargo run --release --features testing --example custom_op`.

use huetape::Result;
use huetape::engine::device::{Args, Body, Device, Kernel, Plan};
use huetape::engine::nn::{DenseLayer, Norm, OpLayer, Optimizer, OptimizerKind, Parameters, Sequential};
use huetape::engine::op::{Backward, Forward, Op};
use huetape::engine::ops::mean_loss::MeanLoss;
use huetape::engine::tape::Tape;
use huetape::engine::tensor::Tensor;
use huetape::engine::testing::{Check, devices};

/// What a GPU runs. Binding 0 holds the parameters, here the number of elements; then come the buffers of the launch.
/// `linear` is a snippet that comes with the crate: the number of an invocation.
const FORWARD: &str = "// y = x / (1 + |x|)
// use: linear
@group(0) @binding(0) var<uniform> len: u32;
@group(0) @binding(1) var<storage, read> x: array<f32>; // (len)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (len)
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < len) { y[i] = x[i] / (1.0 + abs(x[i])); }
}";
const GRADIENT: &str = "// dx = dy (1 - |y|)^2
// use: linear
@group(0) @binding(0) var<uniform> len: u32;
@group(0) @binding(1) var<storage, read> y: array<f32>; // (len)
@group(0) @binding(2) var<storage, read> dy: array<f32>; // (len)
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // (len)
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, local);
    if (i < len) { dx[i] = dy[i] * (1.0 - abs(y[i])) * (1.0 - abs(y[i])); }
}";

/// What the CPU runs: the same, over slices.
fn forward_twin(_: &u32, args: Args<'_>) -> Result<()> {
    let ([x], [], [y]) = args.split()?; // inputs, what is updated in place, outputs
    y.iter_mut().zip(x).for_each(|(y, x)| *y = x / (1.0 + x.abs()));
    Ok(())
}
fn gradient_twin(_: &u32, args: Args<'_>) -> Result<()> {
    let ([y, dy], [], [dx]) = args.split()?;
    dx.iter_mut().zip(y).zip(dy).for_each(|((dx, y), dy)| *dx = dy * (1.0 - y.abs()) * (1.0 - y.abs()));
    Ok(())
}

struct Softsign;
impl Op for Softsign {
    fn forward(&self, inputs: &[&Tensor]) -> Result<Forward> {
        let x = inputs[0];
        let y = Tensor::empty(x.device(), x.shape())?;
        let kernel = Kernel {
            name: "softsign",
            bodies: &[Body::new(FORWARD, &|len, _| Plan::linear(*len as usize))],
            twin: &forward_twin,
        };
        x.device().launch(&kernel, &(x.len() as u32), &[x], &[], &[&y])?;
        Ok(Forward { saved: vec![y.clone()], y }) // the gradient needs y alone
    }

    fn backward(&self, grad: &mut Backward<'_>) -> Result<()> {
        let (y, dy) = (&grad.saved[0], grad.dy);
        let dx = grad.out(0, dy.shape())?; // where the gradient of input 0 belongs
        let kernel = Kernel {
            name: "softsign_grad",
            bodies: &[Body::new(GRADIENT, &|len, _| Plan::linear(*len as usize))],
            twin: &gradient_twin,
        };
        dx.device().launch(&kernel, &(dx.len() as u32), &[y, dy], &[], &[&dx])
    }
}

fn main() -> Result<()> {
    // On the CPU and on a GPU, if there is one: the output against f64, the gradient against finite differences.
    Check::new(&[&[3, 257]]).reference(|x| x[0].iter().map(|x| x / (1.0 + x.abs())).collect()).run(&Softsign);
    for device in devices() {
        let (first, last) = train(&device)?;
        println!("{}: the op is right; the loss fell from {first:.4} to {last:.4}", device.name());
        assert!(last < 0.1 * first, "the network did not learn");
    }
    Ok(())
}

/// Fits sin(3 x) on -1..1 with two dense layers and the op between them; the losses at the start and at the end.
fn train(device: &Device) -> Result<(f32, f32)> {
    let points: Vec<f32> = (0..128).map(|i| i as f32 / 64.0 - 1.0).collect();
    let x = Tensor::new(device, &[128, 1], &points)?;
    let wanted = Tensor::new(device, &[128, 1], &points.iter().map(|x| (3.0 * x).sin()).collect::<Vec<_>>())?;
    let network = Sequential::new(1)
        .then(DenseLayer::new("a", 32))
        .then(OpLayer::new("softsign", Softsign))
        .then(DenseLayer::new("b", 1));
    let parameters = Parameters::new(device, network.param_specs(), 1, true)?;
    let optimizer = Optimizer::new(OptimizerKind::Sgd { momentum: 0.9 }, 0.0, 0.0, &parameters)?;
    let mut losses = Vec::new();
    for step in 1..=200 {
        let tape = Tape::new();
        let y = network.forward(&parameters.bind(&tape, true), tape.constant(x.clone()), Norm::Training)?;
        let loss = tape.apply(MeanLoss::SquaredError, &[&y, &tape.constant(wanted.clone())])?;
        losses.push(loss.value().item()?);
        tape.backward(loss)?;
        optimizer.step(&parameters, step, 0.05)?;
    }
    Ok((losses[0], losses[losses.len() - 1]))
}
