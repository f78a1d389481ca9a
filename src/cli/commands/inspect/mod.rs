//! `huetape inspect`: what a network is made of, and what passes through its layers.

mod activations;
mod file;
mod network;
mod shapes;
mod summary;

use crate::cli::args::help::examples;
use crate::cli::outcome::Outcome;
use clap::{Args, Subcommand};
use std::path::Path;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
#[command(after_help = examples(&[
    "inspect best.safetensors",
    "inspect summary ⟨run⟩ runs/first",
    "inspect shapes {network} ⟨size⟩ 512",
    "inspect activations sar.png ⟨run⟩ runs/first ⟨layer⟩ conv1_2 ⟨out⟩ looks",
]))]
pub struct InspectArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    file: file::FileArgs,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Layers, their output shapes and parameters
    Summary(summary::SummaryArgs),
    /// What each layer reads and puts out for a picture, and its work
    Shapes(shapes::ShapesArgs),
    /// The values of layers for a picture, before or after their activation, as pictures and for NumPy
    Activations(Box<activations::ActivationsArgs>),
}

impl InspectArgs {
    /// The files of figures that it writes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let json = match &self.what {
            Some(What::Summary(args)) => args.json.as_deref(),
            Some(What::Shapes(args)) => args.json.as_deref(),
            _ => None,
        };
        json.into_iter()
    }
}

pub fn run(args: InspectArgs) -> Outcome {
    match args.what {
        None => file::run(&args.file),
        Some(What::Summary(args)) => summary::run(&args),
        Some(What::Shapes(args)) => shapes::run(&args),
        Some(What::Activations(args)) => activations::run(&args),
    }
}
