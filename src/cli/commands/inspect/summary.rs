//! `huetape inspect summary`: layers, their output shapes and parameters.

use crate::cli::args::help::examples;
use crate::cli::commands::inspect::network::{ChosenArgs, random_source, watched};
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{JSON, make_way_for_json, write_json};
use crate::cli::tables::{print_rows, shape_of, thousands};
use crate::engine::device::Device;
use crate::engine::nn::{ParamKind, ParamSpec, Seen, Trace};
use crate::engine::tensor::Tensor;
use crate::error::Result;
use crate::train::learner::Learner;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Args, Debug)]
#[command(after_help = examples(&[
    "inspect summary {network} ⟨width⟩ 0.5",
    "inspect summary {network} ⟨q⟩ 64",
    "inspect summary ⟨weights⟩ best.safetensors ⟨size⟩ 512",
]))]
pub struct SummaryArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    /// The layers as JSON; - for standard output
    #[arg(long, value_name = "FILE", hide = !JSON)]
    pub(super) json: Option<PathBuf>,
}

pub fn run(args: &SummaryArgs) -> Outcome {
    make_way_for_json(args.json.as_deref())?;
    let chosen = args.chosen.open(&Device::cpu())?;
    let source = random_source(chosen.learner.as_ref(), chosen.size, chosen.recipe.halo())?;
    let summaries = summarise(chosen.learner.as_ref(), &source)?;
    for (i, (role, rows)) in summaries.iter().enumerate() {
        if i > 0 {
            outln!();
        }
        if summaries.len() > 1 {
            outln!("{role}\n");
        }
        print_summary(rows);
    }
    Ok(write_json(args.json.as_deref(), || summaries.iter().map(|(role, rows)| json_of(role, rows)).collect())?)
}

fn json_of(role: &str, rows: &[Row]) -> Value {
    let row = |row: &Row| {
        let Row { name, kind, output, trainable, fixed } = row;
        json!({ "layer": name, "kind": kind, "output": output, "trainable": trainable, "fixed": fixed })
    };
    let [trainable, fixed] = totals(rows);
    json!({
        "network": role, "layers": rows.iter().map(row).collect::<Vec<_>>(), "trainable": trainable, "fixed": fixed,
    })
}

/// Parameters that learn, and those that do not.
fn totals(rows: &[Row]) -> [usize; 2] {
    rows.iter().fold([0, 0], |sum, row| [sum[0] + row.trainable, sum[1] + row.fixed])
}

/// A line of a summary.
struct Row {
    name: String,
    kind: String,
    /// Without the number of pictures; none for a parameter that belongs to no layer.
    output: Option<Vec<usize>>,
    trainable: usize,
    fixed: usize,
}

/// The rows of each network, by its role: what it reads, its layers in the order in which they run, and parameters that
/// belong to none of them.
fn summarise(learner: &dyn Learner, source: &Tensor) -> Result<Vec<(&'static str, Vec<Row>)>> {
    let traces: Vec<_> = learner.networks().iter().map(|_| Arc::new(Trace::of_shapes())).collect();
    watched(learner, source, None, &traces)?;
    let networks = learner.networks();
    let both = networks.iter().zip(&traces);
    Ok(both.map(|((role, parameters), trace)| (*role, rows(&trace.layers(), parameters.specs()))).collect())
}

fn rows(layers: &[Seen<Vec<usize>>], specs: &[ParamSpec]) -> Vec<Row> {
    let row = |name: &str, kind: &str, output: Option<&Vec<usize>>| Row {
        name: name.to_owned(),
        kind: kind.to_owned(),
        output: output.map(|shape| shape[1..].to_vec()),
        trainable: 0,
        fixed: 0,
    };
    let input = layers.first().map(|layer| row("input", "", Some(&layer.input)));
    let mut rows: Vec<Row> =
        input.into_iter().chain(layers.iter().map(|layer| row(&layer.name, &layer.kind, Some(&layer.post)))).collect();
    for spec in specs {
        let belongs =
            |row: &Row| spec.name.strip_prefix(&row.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        // Of a layer within a layer, the inner one.
        let place = (0..rows.len()).filter(|&i| belongs(&rows[i])).max_by_key(|&i| rows[i].name.len());
        let place = place.unwrap_or_else(|| {
            rows.push(row(&spec.name, "parameter", None));
            rows.len() - 1
        });
        match spec.kind {
            ParamKind::Statistic | ParamKind::Frozen => rows[place].fixed += spec.len(),
            ParamKind::Kernel | ParamKind::Vector => rows[place].trainable += spec.len(),
        }
    }
    rows
}

fn print_summary(rows: &[Row]) {
    let heads = ["layer", "kind", "output H x W x C", "parameters"].map(str::to_owned);
    let cells = |row: &Row| {
        let shape = row.output.as_deref().map(shape_of).unwrap_or_default();
        let parameters = if row.name == "input" { String::new() } else { thousands(row.trainable + row.fixed) };
        [row.name.clone(), row.kind.clone(), shape, parameters]
    };
    print_rows(&heads, rows.iter().map(cells), 2);
    let [trainable, fixed] = totals(rows);
    outln!();
    outln!("parameters: {}", thousands(trainable + fixed));
    outln!("trainable: {}", thousands(trainable));
    outln!("non-trainable: {} (running statistics)", thousands(fixed));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::network::NetworkArgs;
    use crate::networks::NETWORKS;
    use crate::networks::recipe::Recipe;
    use crate::train::settings::table::Settings;

    fn narrow(recipe: &dyn Recipe) -> NetworkArgs {
        let width = recipe.own_settings().contains(&"width").then_some(0.05);
        NetworkArgs::of(Settings { width, ..Settings::default() })
    }

    /// Every parameter belongs to a layer that was seen to run: no network forgets to show one.
    #[test]
    fn every_layer_of_every_network_is_seen_with_its_parameters() {
        for recipe in NETWORKS {
            let flags = narrow(*recipe);
            let learner = flags.learner(*recipe, &Device::cpu(), None, false).unwrap();
            let source = random_source(learner.as_ref(), flags.size(*recipe).unwrap(), recipe.halo()).unwrap();
            for (role, rows) in summarise(learner.as_ref(), &source).unwrap() {
                let lost: Vec<&str> =
                    rows.iter().filter(|row| row.output.is_none()).map(|row| row.name.as_str()).collect();
                assert!(rows.len() > 3 && lost.is_empty(), "{} {role}: {lost:?}", recipe.name());
            }
        }
    }

    #[test]
    fn a_watch_sees_what_comes_before_an_activation_and_changes_nothing() {
        let has_a_slope = |recipe: &&&dyn Recipe| recipe.own_settings().contains(&"leaky-slope");
        let recipe = *NETWORKS.iter().find(has_a_slope).unwrap();
        let learner = narrow(recipe).learner(recipe, &Device::cpu(), None, false).unwrap();
        let source = random_source(learner.as_ref(), 256, 0).unwrap();
        let look = crate::paint::painter::Look::default();
        let unwatched = learner.painter().paint(&source, &look).unwrap().to_vec().unwrap();
        let trace = Arc::new(Trace::new(|value| value.to_vec()));
        learner.networks()[0].1.watch(Some(trace.clone()));
        let watched = learner.painter().paint(&source, &look).unwrap().to_vec().unwrap();
        assert!(unwatched == watched);
        let layers = trace.layers();
        let of = |name: &str| layers.iter().find(|layer| layer.name == name).unwrap();
        assert_eq!(of("g.down2").kind, "conv 4x4/2, leaky relu 0.3");
        assert_eq!(of("g.up7").kind, "transposed conv 4x4/2, relu");
        let bent: Vec<f32> = of("g.down2").pre.iter().map(|&v| if v < 0.0 { 0.3 * v } else { v }).collect();
        assert!(of("g.down2").post == bent && of("g.down2").pre == of("g.down2.bn").post);
        // The picture 0..1 is what the last layer puts out in -1..1.
        let picture = of("g.out").post.iter().map(|v| 0.5 * v + 0.5);
        assert!(picture.zip(&watched).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
