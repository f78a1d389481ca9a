//! Trained networks as ONNX files, and their weights by PyTorch's names and axes.

use crate::engine::device::Device;
use crate::engine::nn::layer::EPS;
use crate::engine::nn::{StateTensor, WeightFile};
use crate::error::{Error, Result};
use crate::exchange::foreign::layout::TORCH_EPS;
use crate::exchange::onnx::check::check;
use crate::exchange::onnx::graph::Graph;
use crate::exchange::onnx::layers::Layers;
use crate::exchange::onnx::proto::{ModelProto, TensorProto};
use crate::networks::{of_file, serves_training};
use crate::paint::painter::Look;
use crate::train::metadata::Metadata;
use prost::Message;
use std::collections::BTreeSet;

/// Side of the images that a graph is checked with, where it takes any.
const SIDE: usize = 64;

/// The network of a weight file as an ONNX file (operators of version 17): of `source` `[N, bands, H, W]`, values 0..1
/// as the network reads them, the `image` `[N, bands, H, W]` 0..1, decoded. N, H and W may be any; a network that works
/// by windows paints the whole image in one go, and one that knows places within a patch takes no image larger than
/// that. Batch norm goes by its running statistics, and nothing is dropped.
///
/// `temperature`: that of a classifier's annealed mean, else what the weights say, else 0.38. Under the metadata key
/// `huetape` the file says what the weights said of themselves.
///
/// # Errors
/// Weights of no network, or that lack a tensor; a network that has no such form; a temperature out of range.
pub fn to_onnx(file: &WeightFile, temperature: Option<f32>) -> Result<Vec<u8>> {
    let (model, bands, side) = graph_of(file, temperature)?;
    let bytes = model.encode_to_vec();
    let made = check(file.source(), &bytes, [1, bands[0], side, side])?;
    crate::ensure!(
        made == [1, bands[1], side, side],
        Error::failed(format!("the graph makes {made:?} of a side of {side}"), file.source(), "report this as a bug")
    );
    Ok(bytes)
}

/// The tensors of a weight file that inference needs by PyTorch's names and axes: kernels `[c_out, c_in, kh, kw]`, of
/// transposed convolutions `[c_in, c_out, kh, kw]`; batch norm's `weight`, `bias`, `running_mean`, `running_var`, its
/// `weight` for an eps of 1e-5; a classifier's colours as the kernel `bins.weight` `[2, Q, 1, 1]`.
///
/// # Errors
/// As [`to_onnx`].
pub fn to_pytorch(file: &WeightFile) -> Result<Vec<StateTensor>> {
    // The graph has its constants in the same order of axes.
    let (model, ..) = graph_of(file, None)?;
    let constants = model.graph.unwrap_or_default().initializer;
    let named = constants.into_iter().filter(|tensor| file.get(&tensor.name).is_some());
    let floats = |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    let tensor = |tensor: TensorProto| StateTensor {
        shape: tensor.dims.iter().map(|size| *size as usize).collect(),
        data: floats(&tensor.raw_data),
        name: tensor.name,
    };
    let mut tensors: Vec<StateTensor> = named.map(tensor).collect();
    let there: BTreeSet<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
    for tensor in &mut tensors {
        let Some((layer, part)) = tensor.name.rsplit_once('.') else {
            tensor.name += ".weight";
            continue;
        };
        let part = match part {
            "gamma" => {
                let var = file.require(&format!("{layer}.var"))?;
                for (gamma, var) in tensor.data.iter_mut().zip(&var.data) {
                    *gamma *= ((var + TORCH_EPS) / (var + EPS)).sqrt();
                }
                "weight"
            }
            "beta" => "bias",
            "mean" => "running_mean",
            "var" => "running_var",
            other => other,
        };
        tensor.name = format!("{layer}.{part}");
    }
    // What no layer's kernel or norm is: settings, the prior, single factors.
    let others = file.tensors().filter(|tensor| !there.contains(&tensor.name) && !serves_training(&tensor.name));
    tensors.extend(others.cloned());
    Ok(tensors)
}

/// The graph, the bands of source and image, and a side that it takes.
fn graph_of(file: &WeightFile, temperature: Option<f32>) -> Result<(ModelProto, [usize; 2], usize)> {
    if let Some(temperature) = temperature.filter(|value| !(1e-4..=5.0).contains(value)) {
        let subject = format!("⟨temperature⟩ {temperature}");
        return Err(Error::input("out of range", subject, "use a number from 0.0001 to 5"));
    }
    let recipe = of_file(file)?;
    // That the weights are whole is known before the graph is made.
    let painter = recipe.painter(&Device::cpu(), file)?;
    let usual = painter.look();
    let look = Look { temperature: temperature.unwrap_or(usual.temperature), ..usual };
    let (mut graph, source) = Graph::new();
    let image = recipe.onnx(&mut Layers { graph: &mut graph, weights: file }, &source, &look)?;
    let mut about = vec![("network".to_owned(), recipe.name().to_owned())];
    if let Some(metadata) = Metadata::of(file)? {
        about.push(("huetape".to_owned(), metadata.to_json()?));
    }
    let bands = [painter.source_bands(), painter.bands()];
    let model = graph.finish(recipe.name(), &image, bands, about);
    let framing = painter.framing();
    let side = framing.window.map_or(SIDE, |side| side - 2 * framing.margin);
    Ok((model, bands, side))
}
