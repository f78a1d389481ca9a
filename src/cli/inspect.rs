//! `huetape inspect`: what a network is made of.

use super::Outcome;
use super::model::Classifier;
use crate::error::{Error, Result};
use crate::infer::Colorizer;
use crate::models::colournet;
use crate::nn::{Sequential, WeightFile};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = "Example:
  huetape inspect summary --run runs/first")]
pub struct InspectArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Layers, their output shapes and parameters
    Summary(SummaryArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape inspect summary colournet --width 0.5
  huetape inspect summary --weights best.safetensors --size 512")]
struct SummaryArgs {
    /// A network by its name, instead of one that was trained
    #[arg(required_unless_present_any = ["run", "weights"], conflicts_with_all = ["run", "weights"])]
    model: Option<Classifier>,
    /// Run folder: its best checkpoint, else its newest
    #[arg(long, value_name = "RUN", conflicts_with = "weights")]
    run: Option<PathBuf>,
    /// Weight file; width and bins are read off its tensors
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// With MODEL: multiplier of every layer's channels [default: 1.0]
    #[arg(long, value_name = "F", conflicts_with_all = ["run", "weights"])]
    width: Option<f64>,
    /// With MODEL: number of colour bins [default: 274]
    #[arg(long = "q", value_name = "Q", conflicts_with_all = ["run", "weights"])]
    bins: Option<usize>,
    /// Side of the input in pixels, a multiple of 8
    #[arg(long, value_name = "S", default_value_t = 256)]
    size: usize,
}

pub fn run(args: InspectArgs) -> Outcome {
    match args.what {
        What::Summary(args) => summary(&args),
    }
}

fn summary(args: &SummaryArgs) -> Outcome {
    let size = args.size;
    crate::ensure!(
        size > 0 && size.is_multiple_of(colournet::STRIDE),
        Error::input("the size is no multiple of 8", format!("--size {size}"), "use e.g. 256").into()
    );
    let network = match (&args.weights, &args.run) {
        (Some(path), _) => network_of(&WeightFile::read(path)?)?,
        (None, Some(run)) => network_of(&WeightFile::read(&Colorizer::weights_of_run(run)?)?)?,
        (None, None) => network_by_name(args)?,
    };
    print_summary(&network, size);
    Ok(())
}

fn network_by_name(args: &SummaryArgs) -> Result<Sequential> {
    let (width, bins) = (args.width.unwrap_or(1.0), args.bins.unwrap_or(274));
    crate::ensure!(
        width > 0.0 && width <= 16.0,
        Error::input("the width makes no network", format!("--width {width}"), "use a multiplier above 0, up to 16")
    );
    crate::ensure!(bins > 0, Error::input("must be at least 1", "--q 0", "use 1 or more"));
    Ok(colournet::network(width, bins))
}

/// The network of a weight file, every tensor of which is there, in shape and finite.
fn network_of(file: &WeightFile) -> Result<Sequential> {
    let network = colournet::network_of(file)?;
    for spec in network.param_specs() {
        file.expect(&spec.name, &spec.shape)?;
    }
    Ok(network)
}

fn print_summary(network: &Sequential, size: usize) {
    let rows: Vec<[String; 4]> = network
        .shapes(size, size)
        .into_iter()
        .map(|layer| {
            let [h, w, c] = layer.output;
            [layer.name, layer.kind, format!("{h} x {w} x {c}"), thousands(layer.trainable + layer.fixed)]
        })
        .collect();
    let heads = ["layer", "kind", "output H x W x C", "parameters"];
    let widths: [usize; 4] =
        std::array::from_fn(|i| rows.iter().map(|row| row[i].len()).max().unwrap_or(0).max(heads[i].len()));
    let line = |cells: [&str; 4]| {
        let [a, b, c, d] = widths;
        let line = format!("{:<a$}  {:<b$}  {:>c$}  {:>d$}", cells[0], cells[1], cells[2], cells[3]);
        println!("{}", line.trim_end());
    };
    line(heads);
    let channels = network.channels_in;
    line(["input", "", &format!("{size} x {size} x {channels}"), ""]);
    for row in &rows {
        line(row.each_ref().map(String::as_str));
    }
    let (trainable, fixed) =
        network.shapes(size, size).iter().fold((0, 0), |sum, layer| (sum.0 + layer.trainable, sum.1 + layer.fixed));
    println!();
    println!("parameters: {}", thousands(trainable + fixed));
    println!("trainable: {}", thousands(trainable));
    println!("non-trainable: {} (running statistics)", thousands(fixed));
}

/// `24,788,050` for people.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 24_788_050].map(thousands), ["0", "999", "1,000", "24,788,050"]);
    }
}
