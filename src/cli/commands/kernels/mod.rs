//! `huetape kernels`: the workshop of those who write kernels.

mod check;
mod compare;
mod isa;
mod list;
pub mod pass;
mod show;
mod time;

use crate::cli::outcome::Outcome;
use clap::{Args, Subcommand};
use std::path::Path;

#[derive(Args, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:
  huetape kernels list
  huetape kernels show conv2d --entry quads --target spirv --out quads.spv
  huetape kernels check conv2d --device gpu:llvmpipe
  huetape kernels time conv2d --shape 1x64x64x64,3x3x64x128 --body all --device gpu
  huetape kernels isa conv2d --gpu navi21,gfx1100"
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
    /// Times a kernel's launches by each body, caches warm and flushed, checked first
    Time(Box<time::TimeArgs>),
    /// Times a changed text beside the kernel's own, in turns, and says whether it is faster
    Compare(Box<compare::CompareArgs>),
    /// What Mesa's compiler makes of kernels for AMD GPUs that are not there: registers, spills, subgroups, main loop
    Isa(isa::IsaArgs),
    /// The part of `isa` that compiles for one GPU, a process of its own
    #[command(hide = true)]
    IsaChild,
}

impl KernelsArgs {
    /// The files that it writes.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let files = match &self.what {
            What::List(args) => [args.json.as_deref(), None],
            What::Show(args) => [args.out.as_deref(), None],
            What::Time(args) => [args.json.as_deref(), None],
            What::Isa(args) => [args.json.as_deref(), args.asm.as_deref()],
            What::Check(args) => [args.json.as_deref(), None],
            What::Compare(_) | What::IsaChild => [None, None],
        };
        files.into_iter().flatten()
    }
}

pub fn run(args: KernelsArgs) -> Outcome {
    match args.what {
        What::List(args) => list::run(&args),
        What::Show(args) => show::run(&args),
        What::Check(args) => check::run(&args),
        What::Time(args) => time::run(&args),
        What::Compare(args) => compare::run(&args),
        What::Isa(args) => isa::run(&args),
        What::IsaChild => isa::child(),
    }
}
