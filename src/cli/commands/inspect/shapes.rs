//! `huetape inspect shapes`: what each layer reads and puts out, and its work.

use crate::cli::args::help::{examples, names_of};
use crate::cli::commands::inspect::network::{Chosen, ChosenArgs, random_source, source_of, watched};
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{JSON, make_way_for_json, write_json};
use crate::cli::tables::{print_rows, shape_of, thousands};
use crate::engine::device::Device;
use crate::engine::nn::{ParamSpec, Parameters, Seen, Trace};
use crate::paint::colorizer::Options;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Args, Debug)]
#[command(after_help = examples(&[
    "inspect shapes {network} ⟨size⟩ 512",
    "inspect shapes ⟨run⟩ runs/first ⟨input⟩ sar.png",
]))]
pub struct ShapesArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    #[arg(long, value_name = "FILE", conflicts_with = "size", help = format!(
        "A picture of the size to show; {} read a window of it [default: a square of --size]",
        names_of(|recipe| recipe.paints_by_windows())
    ))]
    input: Option<PathBuf>,
    /// Band of a multi-band input, from 1 [default: the only one, or the luma of three]
    #[arg(long, value_name = "N", requires = "input")]
    band: Option<usize>,
    /// The layers as JSON; - for standard output
    #[arg(long, value_name = "FILE", hide = !JSON)]
    pub(super) json: Option<PathBuf>,
}

pub fn run(args: &ShapesArgs) -> Outcome {
    make_way_for_json(args.json.as_deref())?;
    let Chosen { recipe, learner, size } = args.chosen.open(&Device::cpu())?;
    let learner = learner.as_ref();
    let source = match &args.input {
        Some(path) => source_of(learner, path, &Options { band: args.band, ..Options::default() }, None)?,
        None => random_source(learner, size, recipe.halo())?,
    };
    let networks = learner.networks();
    let traces: Vec<_> = networks.iter().map(|_| Arc::new(Trace::of_shapes())).collect();
    watched(learner, &source, None, &traces)?;
    for (i, ((role, parameters), trace)) in networks.iter().zip(&traces).enumerate() {
        if i > 0 {
            outln!();
        }
        if networks.len() > 1 {
            outln!("{role}\n");
        }
        let layers = trace.layers();
        if layers.is_empty() {
            outln!("did not run: it is bound to pictures of the size of its training");
            continue;
        }
        print_layers(&layers, parameters.specs());
    }
    let both = networks.iter().zip(&traces);
    let json = |((role, parameters), trace): (&(&str, &Parameters), &Arc<Trace<_>>)| {
        json_of(role, &trace.layers(), parameters.specs())
    };
    Ok(write_json(args.json.as_deref(), || both.map(json).collect())?)
}

fn json_of(role: &str, layers: &[Seen<Vec<usize>>], specs: &[ParamSpec]) -> Value {
    let layer = |layer: &Seen<Vec<usize>>| {
        json!({
            "layer": layer.name, "kind": layer.kind, "input": layer.input[1..], "output": layer.post[1..],
            "multiplications": multiplications(layer, specs),
        })
    };
    json!({ "network": role, "layers": layers.iter().map(layer).collect::<Vec<_>>() })
}

fn print_layers(layers: &[Seen<Vec<usize>>], specs: &[ParamSpec]) {
    let heads = ["layer", "kind", "input", "output", "multiplications"].map(str::to_owned);
    let work: Vec<usize> = layers.iter().map(|layer| multiplications(layer, specs)).collect();
    let cells = |(layer, work): (&Seen<Vec<usize>>, &usize)| {
        let (input, output) = (shape_of(&layer.input[1..]), shape_of(&layer.post[1..]));
        let work = if *work == 0 { String::new() } else { thousands(*work) };
        [layer.name.clone(), layer.kind.clone(), input, output, work]
    };
    print_rows(&heads, layers.iter().zip(&work).map(cells), 2);
    outln!(
        "\nmultiplications: {}, of convolutions and dense layers by their plain formula",
        thousands(work.iter().sum())
    );
}

/// Multiplications of a layer that has a kernel: each of its weights once for each pixel that it puts out, or,
/// transposed, that it reads.
fn multiplications(layer: &Seen<Vec<usize>>, specs: &[ParamSpec]) -> usize {
    let kernel = format!("{}.weight", layer.name);
    let Some(kernel) = specs.iter().find(|spec| spec.name == kernel) else { return 0 };
    let pixels = |shape: &[usize]| if shape.len() == 4 { shape[1] * shape[2] } else { 1 };
    match kernel.shape.len() {
        4 if layer.kind.starts_with("transposed") => kernel.len() * pixels(&layer.input),
        4 => kernel.len() * pixels(&layer.post),
        _ => kernel.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nn::{Init, ParamKind};

    #[test]
    fn work_is_weights_times_pixels() {
        let spec = |shape: &[usize]| ParamSpec {
            name: "a.weight".into(),
            shape: shape.to_vec(),
            kind: ParamKind::Kernel,
            init: Init::Constant(0.0),
        };
        let layer = |kind: &str, input: &[usize], output: &[usize]| Seen {
            name: "a".into(),
            kind: kind.into(),
            input: input.to_vec(),
            pre: output.to_vec(),
            post: output.to_vec(),
        };
        let conv = layer("conv 3x3/2, relu", &[1, 8, 6, 5], &[1, 4, 3, 7]);
        assert_eq!(multiplications(&conv, &[spec(&[3, 3, 5, 7])]), 9 * 5 * 7 * 12);
        let up = layer("transposed conv 4x4/2", &[1, 4, 3, 7], &[1, 8, 6, 5]);
        assert_eq!(multiplications(&up, &[spec(&[4, 4, 7, 5])]), 16 * 7 * 5 * 12);
        assert_eq!(multiplications(&layer("dense", &[1, 2, 2, 3], &[1, 4]), &[spec(&[12, 4])]), 48);
        assert_eq!(multiplications(&layer("max pooling 2x2", &[1, 4, 4, 3], &[1, 2, 2, 3]), &[]), 0);
    }
}
