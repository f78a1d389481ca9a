//! The golden training run (tests/goldens) in burn: whether what is timed is ColourNet.

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Param, RunningState};
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

use crate::network::{ColourNet, Loss};
use crate::{Result, adam, step};

/// Shape and values.
type Stored = (Vec<usize>, Vec<f32>);
type File = HashMap<String, Stored>;

/// `device` has autodiff.
pub fn check(device: &Device) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/goldens");
    let golden: Value = serde_json::from_slice(&std::fs::read(folder.join("colournet_steps.json"))?)?;
    let init = read_safetensors(&folder.join("colournet_init.safetensors"))?;
    let batch = read_safetensors(&folder.join("colournet_batch.safetensors"))?;
    let (bins, prior) = (&init["bins"].1, &init["prior"].1);
    let q = prior.len();

    let width = golden["settings"]["width"].as_f64().ok_or("no width")?;
    let mut model = ColourNet::new(width, q, device);
    for (b, block) in model.blocks.iter_mut().enumerate() {
        for (i, convolution) in block.convolutions.iter_mut().enumerate() {
            load(convolution, &init, &format!("conv{}_{}", b + 1, i + 1), device);
        }
        let part = |name: &str| tensor(&init[&format!("bn{}.{name}", b + 1)], device);
        block.norm.gamma = Param::from_tensor(part("gamma"));
        block.norm.beta = Param::from_tensor(part("beta"));
        block.norm.running_mean = RunningState::new(part("mean"));
        block.norm.running_var = RunningState::new(part("var"));
    }
    load(&mut model.out, &init, "out", device);

    let class_weights = class_weights(prior);
    let mut batches = Vec::new();
    for i in 0..2 {
        let (shape, target) = &batch[&format!("target{i}")];
        let (mut nearest, mut z) = (Vec::new(), Vec::new());
        for rgb in target.chunks(3) {
            let encoded = soft_encode(srgb_to_ab(rgb), bins);
            z.extend(encoded.map(|(_, share)| (share * class_weights[encoded[0].0]) as f32));
            nearest.extend(encoded.map(|(bin, _)| bin));
        }
        let source: Tensor<4> = tensor(&batch[&format!("source{i}")], device);
        batches.push(((source - 0.5).permute([0, 3, 1, 2]), Loss::new(&nearest, z, shape[1], q, device)));
    }

    let mut optimizer = adam();
    let mut agrees = true;
    let (losses, tolerances) = (numbers(&golden["loss"]), numbers(&golden["loss_tolerance"]));
    for (i, (expected, tolerance)) in losses.into_iter().zip(tolerances).enumerate() {
        let (source, loss_of) = &batches[i % 2];
        let loss = f64::from(step(&mut model, &mut optimizer, source.clone(), loss_of));
        let difference = (loss - expected).abs();
        agrees &= difference <= tolerance;
        println!(
            "step {:2}  burn {loss:.7}  golden {expected:.7}  difference {difference:.1e} of {tolerance:.1e}",
            i + 1
        );
    }
    if !agrees {
        return Err("DIFFERS".into());
    }
    println!("agrees");
    Ok(())
}

fn load(convolution: &mut Conv2d, file: &File, name: &str, device: &Device) {
    let kernel: Tensor<4> = tensor(&file[&format!("{name}.weight")], device);
    convolution.weight = Param::from_tensor(kernel.permute([3, 2, 0, 1]));
    convolution.bias = Some(Param::from_tensor(tensor(&file[&format!("{name}.bias")], device)));
}

fn tensor<const D: usize>((shape, values): &Stored, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.clone(), shape.clone()), device)
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// f32 alone.
fn read_safetensors(path: &Path) -> Result<File> {
    let data = std::fs::read(path)?;
    let begin = 8 + u64::from_le_bytes(data[..8].try_into()?) as usize;
    let header: HashMap<String, Value> = serde_json::from_slice(&data[8..begin])?;
    let mut tensors = File::new();
    for (name, entry) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let whole = |list: &Value| -> Vec<usize> { numbers(list).into_iter().map(|number| number as usize).collect() };
        let offsets = whole(&entry["data_offsets"]);
        let bytes = data[begin + offsets[0]..begin + offsets[1]].chunks_exact(4);
        let values = bytes.map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
        tensors.insert(name, (whole(&entry["shape"]), values));
    }
    Ok(tensors)
}

/// The weights by which rare bins count more, 1 on average (lambda 0.5).
fn class_weights(prior: &[f32]) -> Vec<f64> {
    let prior = prior.iter().map(|&share| f64::from(share));
    let weights: Vec<f64> = prior.clone().map(|share| 1.0 / (0.5 * share + 0.5 / prior.len() as f64)).collect();
    let mean: f64 = prior.zip(&weights).map(|(share, weight)| share * weight).sum();
    weights.iter().map(|weight| weight / mean).collect()
}

/// The five nearest of `bins` [Q, 2], the nearest first, with shares by a Gaussian of sigma 5.
fn soft_encode(ab: [f64; 2], bins: &[f32]) -> [(usize, f64); 5] {
    let square = |bin: &[f32]| (ab[0] - f64::from(bin[0])).powi(2) + (ab[1] - f64::from(bin[1])).powi(2);
    let mut distances: Vec<(usize, f64)> = bins.chunks(2).map(square).enumerate().collect();
    distances.sort_by(|a, b| a.1.total_cmp(&b.1));
    let near: [(usize, f64); 5] = std::array::from_fn(|i| distances[i]);
    let shares = near.map(|(_, distance)| (-distance / (2.0 * 5.0 * 5.0)).exp());
    std::array::from_fn(|i| (near[i].0, shares[i] / shares.iter().sum::<f64>()))
}

/// sRGB 0..1 -> a and b of CIE Lab.
fn srgb_to_ab(rgb: &[f32]) -> [f64; 2] {
    const XYZ: [[f64; 3]; 3] =
        [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]];
    const WHITE: [f64; 3] = [0.95047, 1.0, 1.08883];
    let linear = [0, 1, 2].map(|i| match f64::from(rgb[i]) {
        value if value > 0.04045 => ((value + 0.055) / 1.055).powf(2.4),
        value => value / 12.92,
    });
    let f = [0, 1, 2].map(|i| {
        let t = (0..3).map(|j| XYZ[i][j] * linear[j]).sum::<f64>() / WHITE[i];
        if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 }
    });
    [500.0 * (f[0] - f[1]), 200.0 * (f[1] - f[2])]
}
