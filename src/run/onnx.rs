//! Trained networks as ONNX files.

use crate::engine::device::Device;
use crate::engine::nn::WeightFile;
use crate::error::{Error, Result};
use crate::exchange::onnx::check::check;
use crate::exchange::onnx::graph::Graph;
use crate::exchange::onnx::layers::Layers;
use crate::networks::of_file;
use crate::paint::painter::Look;
use crate::train::metadata::Metadata;
use prost::Message;

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
    let bytes = graph.finish(recipe.name(), &image, bands, about).encode_to_vec();
    let framing = painter.framing();
    let side = framing.window.map_or(SIDE, |side| side - 2 * framing.margin);
    let made = check(file.source(), &bytes, [1, bands[0], side, side])?;
    crate::ensure!(
        made == [1, bands[1], side, side],
        Error::failed(format!("the graph makes {made:?} of a side of {side}"), file.source(), "report this as a bug")
    );
    Ok(bytes)
}
