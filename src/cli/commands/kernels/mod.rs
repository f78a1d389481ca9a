//! `huetape kernels`: the workshop of those who write kernels.

mod check;
mod compare;
mod list;
mod show;

use crate::cli::outcome::Outcome;
use clap::{Args, Subcommand};
use std::path::Path;

#[derive(Args, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  huetape kernels list
  huetape kernels show conv2d --entry quads --target spirv --out quads.spv
  huetape kernels check conv2d --device gpu:llvmpipe"
)]
pub struct KernelsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Every kernel and entry point: workgroup, memory, barriers, bindings
    List(list::ListArgs),
    /// The text that a driver would get, in its language
    Show(show::ShowArgs),
    /// Writes kernels in every language, then runs each op beside its twin, the driver's checks on and off
    Check(Box<check::CheckArgs>),
    /// Times a changed text beside the kernel's own, in turns, and says whether it is faster
    Compare(Box<compare::CompareArgs>),
}

impl KernelsArgs {
    /// The files that it writes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let file = match &self.what {
            What::List(args) => args.json.as_deref(),
            What::Show(args) => args.out.as_deref(),
            What::Check(_) | What::Compare(_) => None,
        };
        file.into_iter()
    }
}

pub fn run(args: KernelsArgs) -> Outcome {
    match args.what {
        What::List(args) => list::run(&args),
        What::Show(args) => show::run(&args),
        What::Check(args) => check::run(&args),
        What::Compare(args) => compare::run(&args),
    }
}
