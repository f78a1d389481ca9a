//! ReLU, leaky ReLU, PReLU, ELU and RReLU, each with and without batch norm, on a small task that the program makes
//! itself.
//!
//! Ten networks are trained from several seeds. It prints a table with the spread over the seeds and what can be
//! concluded from it, and writes a page with the curves. After the comparison of Xu, Wang, Chen and Li, "Empirical
//! Evaluation of Rectified Activations in Convolutional Network", 2015.
//!
//! ```text
//! cargo run --release --example activations
//! cargo run --release --example activations -- --seeds 10 --steps 1024 --out long.html
//! ```

mod figures;
mod findings;
mod network;
mod training;

use clap::Parser;
use findings::{Cell, Findings, MOST_SEEDS};
use huetape::Result;
use huetape::engine::device::{Device, DeviceChoice};
use huetape::files::io_error;
use network::{Activation, Network};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use training::{Data, train};

/// Compares five activations with and without batch norm
#[derive(Parser)]
#[command(name = "activations", max_term_width = 110)]
struct Args {
    /// Updates of each training
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps: u32,
    /// Trainings of each network
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_SEEDS)))]
    seeds: u32,
    /// The page with the curves
    #[arg(long, value_name = "FILE", default_value = "activations.html")]
    out: PathBuf,
    /// Where to compute: auto, cpu, gpu or gpu:NAME [default: HUETAPE_DEVICE, else auto]
    #[arg(long)]
    device: Option<String>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            // The first line says what is wrong; the others are the usage.
            eprintln!("{}: see --help", error.to_string().lines().next().unwrap_or_default());
            return ExitCode::from(2);
        }
        Err(help) => {
            // A closed pipe is no failure of help.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    check_place(&args.out)?;
    let device = Device::open(&DeviceChoice::from_flag_or_env(args.device.as_deref())?)?;
    let halves = [false, true].into_iter();
    let networks = halves.flat_map(|batch_norm| Activation::ALL.map(|activation| Network { activation, batch_norm }));
    let mut cells: Vec<Cell> = networks.map(|network| Cell { network, outcomes: Vec::new() }).collect();
    for seed in 0..args.seeds {
        let data = Data::new(u64::from(seed));
        for cell in &mut cells {
            cell.outcomes.push(train(&device, cell.network, &data, u64::from(seed), args.steps)?);
        }
        eprintln!("seed {} of {} done, {:.0} s", seed + 1, args.seeds, start.elapsed().as_secs_f64());
    }
    let findings = Findings { cells, steps: args.steps };
    let text = format!("five activations on {}\n\n{}", device.name(), findings.text());
    // The table comes first: it is not lost when the page cannot be written.
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| io_error("cannot print", "stdout".as_ref(), &error))?;
    findings.page().write(&args.out)?;
    eprintln!("curves: {}, {:.0} s in all", args.out.display(), start.elapsed().as_secs_f64());
    Ok(())
}

/// A misspelt path must not come out after all the work.
fn check_place(out: &Path) -> Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let problem = match (out.is_dir(), folder.is_dir()) {
        (true, _) => ErrorKind::IsADirectory,
        (_, false) => ErrorKind::NotFound,
        _ => return Ok(()),
    };
    Err(io_error("cannot write", out, &problem.into()))
}
