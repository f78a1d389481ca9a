//! `huetape inspect activations`: the values of layers, as pictures and for NumPy.

use crate::cli::args::device::DeviceArgs;
use crate::cli::args::help::{examples, names_of};
use crate::cli::args::network::NetworkArgs;
use crate::cli::args::trained::TrainedArgs;
use crate::cli::commands::inspect::network::{source_of, watched};
use crate::cli::outcome::Outcome;
use crate::cli::tables::{print_rows, shape_of};
use crate::engine::nn::Watch;
use crate::engine::ranks::Share;
use crate::engine::tensor::Tensor;
use crate::error::{Error, Result};
use crate::files::io_error;
use crate::imaging::codec::npy::save_npy;
use crate::imaging::codec::save::save_png;
use crate::networks::of_file;
use crate::networks::recipe::check_size;
use crate::paint::colorizer::Options;
use crate::train::learner::{Learner, Update};
use crate::train::settings::table::Settings;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Longest side of a grid in pixels; the maps of larger ones are thinned.
const MOST_SIDE: usize = 4096;
/// Smaller maps are drawn larger, so that they can be seen.
const LEAST_CELL: usize = 64;
/// Pixels between maps, and their grey.
const GAP: usize = 2;
const GAP_GREY: u8 = 96;
/// Names that are offered for one that is not there.
const OFFERED: usize = 5;

/// What the command writes.
const FILES: &str = "Writes LAYER.WHEN-MODE.png, a grid of the layer's channels from left to right and top to bottom, \
     each from its \
    least value in black to its greatest in white, and LAYER.WHEN-MODE.npy, the values [height, width, channels]. \
    `huetape inspect \
    summary` lists the layers.";

/// When a layer is looked at.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before its activation
    Pre,
    /// What it puts out
    Post,
}

/// How the network runs.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As in an update: batch norm by the picture's own statistics, dropout
    Train,
    /// As it is put to work
    Test,
}

#[derive(Args, Debug)]
#[command(after_help = format!("{}\n\n{FILES}", examples(&[
    "inspect activations sar.png ⟨run⟩ runs/first ⟨layer⟩ conv1_2",
    "inspect activations sar.png ⟨run⟩ runs/first ⟨all⟩ ⟨when⟩ pre ⟨out⟩ looks",
    "inspect activations sar.png ⟨weights⟩ best.safetensors ⟨layer⟩ g.down2 ⟨mode⟩ train",
])))]
pub struct ActivationsArgs {
    /// The picture
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    #[command(flatten)]
    trained: TrainedArgs,
    /// The layer, by its name
    #[arg(long, value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    layer: Option<String>,
    /// All layers that run
    #[arg(long)]
    all: bool,
    /// Before the activation, or after it
    #[arg(long, value_name = "WHEN", default_value = "post")]
    when: When,
    /// How the network runs
    #[arg(long, value_name = "MODE", default_value = "test")]
    mode: Mode,
    #[arg(long, value_name = "S", help = format!(
        "The centre of the picture, of so many pixels a side [default: all of it; {} one window]; the discriminator \
         of {} runs at \
         the size of its training alone",
        names_of(|recipe| recipe.paints_by_windows()),
        names_of(|recipe| recipe.judges_one_size())
    ))]
    size: Option<usize>,
    /// Band of a multi-band input, from 1 [default: the run's, else the only one, or the luma of three]
    #[arg(long, value_name = "N")]
    band: Option<usize>,
    /// Folder of the results
    #[arg(long, value_name = "DIR", default_value = "activations")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: &ActivationsArgs) -> Outcome {
    let file = args.trained.weights()?;
    let recipe = of_file(&file)?;
    let prepared = args.trained.input()?;
    let band = args.band.or(prepared.band);
    let lightness = prepared.of_colour_images && args.band.is_none();
    let options = Options { band, lightness, preparation: prepared.source(), ..Options::default() };
    if let Some(size) = args.size {
        check_size(recipe, size)?;
    }
    let device = args.device.open()?;
    // A discriminator of one size keeps it, whatever its generator is shown.
    let size = args.size.filter(|_| !recipe.judges_one_size());
    let network = NetworkArgs::of(Settings { size, ..Settings::default() });
    let learner = network.learner(recipe, &device, Some(&file), false)?;
    let source = source_of(learner.as_ref(), &args.input, &options, args.size)?;
    let seen = look(learner.as_ref(), &source, args)?;
    if let Some(wanted) = args.layer.as_ref().filter(|_| seen.is_empty()) {
        return Err(not_seen(wanted, learner.as_ref(), &source, recipe.trained_size(&file)?)?.into());
    }
    write(args, &seen)
}

/// The error for a layer that did not run.
fn not_seen(wanted: &str, learner: &dyn Learner, source: &Tensor, trained_size: Option<usize>) -> Result<Error> {
    let subject = format!("--layer {wanted}");
    let its_weight = format!("{wanted}.weight");
    let networks = learner.networks();
    let mut specs = networks.iter().flat_map(|(_, parameters)| parameters.specs());
    if let Some(size) = trained_size.filter(|_| specs.any(|spec| spec.name == its_weight)) {
        let what = "the layer does not run on a picture of this size";
        return Ok(Error::input(what, subject, format!("add --size {size}")));
    }
    let names = names(learner, source)?;
    Ok(Error::input("no such layer", subject, format!("use one of {}", nearest(wanted, &names).join(", "))))
}

/// A layer and its values.
struct Kept {
    name: String,
    kind: String,
    value: Tensor,
}

/// Keeps the values of one layer, or of all, before or after their activation.
struct Keeper {
    only: Option<String>,
    when: When,
    layers: Mutex<Vec<Kept>>,
}

impl Watch for Keeper {
    fn layer(&self, name: &str, kind: &str, _: &Tensor, y: &Tensor) -> Result<()> {
        if self.only.as_deref().is_none_or(|only| only == name) {
            let kept = Kept { name: name.to_owned(), kind: kind.to_owned(), value: y.clone() };
            let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
            match layers.iter_mut().find(|layer| layer.name == name) {
                Some(layer) => *layer = kept,
                None => layers.push(kept),
            }
        }
        Ok(())
    }

    fn activation(&self, name: &str, kind: &str, pre: &Tensor, post: &Tensor) -> Result<()> {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = layers.iter_mut().find(|layer| layer.name == name) {
            layer.kind = format!("{}, {kind}", layer.kind);
            layer.value = if self.when == When::Pre { pre.clone() } else { post.clone() };
        }
        Ok(())
    }
}

/// Runs the networks on a source and keeps what is asked for.
fn look(learner: &dyn Learner, source: &Tensor, args: &ActivationsArgs) -> Result<Vec<Kept>> {
    let keeper = || Arc::new(Keeper { only: args.layer.clone(), when: args.when, layers: Mutex::default() });
    let keepers: Vec<Arc<Keeper>> = learner.networks().iter().map(|_| keeper()).collect();
    let update = Update { step: 1, steps: 1, lr: 0.0, share: Share::default() };
    watched(learner, source, (args.mode == Mode::Train).then_some(&update), &keepers)?;
    let kept =
        |keeper: &Arc<Keeper>| std::mem::take(&mut *keeper.layers.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(keepers.iter().flat_map(kept).collect())
}

/// The names of all layers that run on a source.
fn names(learner: &dyn Learner, source: &Tensor) -> Result<Vec<String>> {
    let traces: Vec<_> = learner.networks().iter().map(|_| Arc::new(crate::engine::nn::Trace::of_shapes())).collect();
    watched(learner, source, None, &traces)?;
    Ok(traces.iter().flat_map(|trace| trace.layers()).map(|layer| layer.name).collect())
}

/// Writes the values and the grid of each layer, and a line about it.
fn write(args: &ActivationsArgs, layers: &[Kept]) -> Outcome {
    std::fs::create_dir_all(&args.out).map_err(|error| io_error("cannot create the folder", &args.out, &error))?;
    let (when, mode) = match (args.when, args.mode) {
        (When::Pre, Mode::Test) => ("pre", "test"),
        (When::Pre, Mode::Train) => ("pre", "train"),
        (When::Post, Mode::Test) => ("post", "test"),
        (When::Post, Mode::Train) => ("post", "train"),
    };
    let heads = ["layer", "kind", "values", "least", "mean", "greatest", "zeros"].map(str::to_owned);
    let mut rows = Vec::new();
    for Kept { name, kind, value } in layers {
        let (shape, values) = (&value.shape()[1..], value.to_vec()?);
        let path = |ending: &str| args.out.join(format!("{name}.{when}-{mode}.{ending}"));
        save_npy(&path("npy"), shape, &values)?;
        let Grid { width, height, samples } = grid(shape, &values);
        save_png(&path("png"), &samples, width, height, None)?;
        let (least, greatest) = extremes(values.iter().copied());
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
        let zeros = values.iter().filter(|v| **v == 0.0).count() as f64 / values.len() as f64;
        let zeros = format!("{:.0} %", 100.0 * zeros);
        rows.push([
            name.clone(),
            kind.clone(),
            shape_of(shape),
            format!("{least:.4}"),
            format!("{mean:.4}"),
            format!("{greatest:.4}"),
            zeros,
        ]);
    }
    print_rows(&heads, rows.into_iter(), 2);
    outln!("{}", args.out.display());
    Ok(())
}

fn extremes(values: impl Iterator<Item = f32>) -> (f32, f32) {
    values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

/// A grey picture.
struct Grid {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

/// The maps of a layer's channels in rows, nearly a square of them. Each map runs from its least value in black to its
/// greatest in white, one of a single value is grey; of maps of a single pixel, all together do.
fn grid(shape: &[usize], values: &[f32]) -> Grid {
    let (rows, columns, channels) = match *shape {
        [h, w, c] => (h, w, c),
        _ => (1, 1, values.len()),
    };
    let across = ((channels as f64 * rows as f64 / columns as f64).sqrt().ceil() as usize).clamp(1, channels);
    let down = channels.div_ceil(across);
    // Every so many-th value of large maps, each value so many times of small ones.
    let thin = (across * columns).max(down * rows).div_ceil(MOST_SIDE);
    let (w, h) = (columns.div_ceil(thin), rows.div_ceil(thin));
    let zoom = LEAST_CELL.div_ceil(w.min(h)).min(MOST_SIDE / (across * w).max(down * h)).max(1);
    let (cell_w, cell_h) = (w * zoom + GAP, h * zoom + GAP);
    let (width, height) = (across * cell_w - GAP, down * cell_h - GAP);
    let mut samples = vec![GAP_GREY; width * height];
    let all = extremes(values.iter().copied());
    for channel in 0..channels {
        let (low, high) = match rows * columns {
            1 => all,
            _ => extremes(values.iter().skip(channel).step_by(channels).copied()),
        };
        let grey = |v: f32| if high > low { (255.0 * ((v - low) / (high - low)) + 0.5) as u8 } else { 128 };
        let (left, top) = (channel % across * cell_w, channel / across * cell_h);
        for y in 0..h * zoom {
            for x in 0..w * zoom {
                let value = values[(y / zoom * thin * columns + x / zoom * thin) * channels + channel];
                samples[(top + y) * width + left + x] = grey(value);
            }
        }
    }
    Grid { width, height, samples }
}

/// The names most like `wanted`, the nearest first.
fn nearest<'a>(wanted: &str, names: &'a [String]) -> Vec<&'a str> {
    let mut by_distance: Vec<(usize, &str)> = names.iter().map(|name| (edits(wanted, name), name.as_str())).collect();
    by_distance.sort_by_key(|(distance, _)| *distance);
    by_distance.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}

/// Letters to insert, remove or replace to make `b` of `a` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_and_the_nearest_names_come_first() {
        assert_eq!((edits("conv1", "conv1"), edits("kitten", "sitting"), edits("", "abc")), (0, 3, 3));
        let names = ["conv8_3", "conv1_1", "conv1_2.bn", "out"].map(str::to_owned);
        assert_eq!(nearest("conv1-1", &names)[0], "conv1_1");
    }

    #[test]
    fn a_grid_shows_each_map_over_its_own_range() {
        // Two maps of 40 x 20 pixels: a ramp, and one value.
        let values: Vec<f32> = (0..40 * 20).flat_map(|i| [i as f32, 7.0]).collect();
        let Grid { width, height, samples } = grid(&[20, 40, 2], &values);
        // As near to a square as it gets: one above the other.
        assert_eq!((width, height), (40 * 4, 2 * 20 * 4 + GAP));
        let at = |x: usize, y: usize| samples[y * width + x];
        assert_eq!((at(0, 0), at(width - 1, 79), at(0, 80), at(5, 90)), (0, 255, GAP_GREY, 128));
    }

    #[test]
    fn single_pixels_share_a_range_and_large_maps_are_thinned() {
        let Grid { width, height, samples } = grid(&[1, 1, 4], &[0.0, 1.0, 2.0, 4.0]);
        assert_eq!((width, height), (2 * LEAST_CELL + GAP, 2 * LEAST_CELL + GAP));
        assert_eq!((samples[0], samples[width - 1], samples[width * height - 1]), (0, 64, 255));
        let large = grid(&[1500, 1500, 9], &vec![0.0; 9 * 1500 * 1500]);
        assert!(large.width <= MOST_SIDE + 3 * GAP && large.width > MOST_SIDE / 2, "{}", large.width);
        assert_eq!(grid(&[5], &[1.0; 5]).samples[0], 128);
    }
}
