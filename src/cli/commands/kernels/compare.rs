//! `huetape kernels compare`.

use crate::cli::args::device::{self, DeviceArgs};
use crate::cli::commands::kernels::pass::PassArgs;
use crate::cli::names::flag;
use crate::cli::outcome::Outcome;
use crate::engine::self_test::SelfTest;
use crate::error::{Error, Result};
use crate::workshop::catalogue::{kernel, text_of};
use crate::workshop::check::{check, read_text, replace};
use crate::workshop::compare::{Compared, Comparison, Ratio, Verdict, compare};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape kernels compare conv2d my_conv2d.wgsl --size 64 --width 0.25 --device gpu
  huetape kernels compare adam my_adam.wgsl --size 64 --watch --device gpu")]
pub struct CompareArgs {
    /// Name of the kernel, as `huetape kernels list` has it
    #[arg(value_name = "KERNEL")]
    kernel: String,
    /// A changed text: kernels/KERNEL.wgsl with your changes
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Body whose text it is [default: the first]; those that share the text change with it
    #[arg(long, value_name = "NAME")]
    of_body: Option<String>,
    #[command(flatten)]
    pass: PassArgs,
    /// Rounds of four passes: own text, changed, changed, own
    #[arg(long, value_name = "N", default_value_t = 10)]
    rounds: usize,
    /// Compare again whenever the file is saved
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

pub fn run(args: &CompareArgs) -> Outcome {
    crate::ensure!(args.rounds > 0, Error::input("must be at least 1", "⟨rounds⟩ 0", "use 1 or more").into());
    let device = args.device.open()?;
    let remedy = "use ⟨device⟩ gpu, or gpu:llvmpipe";
    crate::ensure!(device.is_gpu(), Error::input("the CPU runs no text", "⟨device⟩ cpu", remedy).into());
    outln!("{}", device::line(&device));
    let mut seen = saved(&args.file);
    loop {
        let ended = once(args);
        if !args.watch {
            return ended;
        }
        if let Err(stop) = ended {
            outln!("{stop:?}");
        }
        outln!("waiting for {} to change", args.file.display());
        while saved(&args.file) == seen {
            std::thread::sleep(Duration::from_millis(200));
        }
        seen = saved(&args.file);
    }
}

/// When a file was saved.
fn saved(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|facts| facts.modified()).ok()
}

fn once(args: &CompareArgs) -> Outcome {
    let (op, kernel) = kernel(&args.kernel)?;
    let body = text_of(kernel, args.of_body.as_deref())?.body;
    let text = read_text(&args.kernel, &args.file)?;
    // A device of its own: the check leaves guard bands behind.
    let checked = {
        let device = args.device.open()?;
        replace(&device, kernel, body, &text);
        check(&device, op)
    };
    if !checked.passed() {
        let of = |test: &SelfTest| match &test.difference {
            Ok(difference) => format!("{difference:.1e} off"),
            Err(error) => error.line(flag),
        };
        let found = checked.runs.iter().filter(|run| !run.passed()).map(|run| of(&run.with_checks));
        let found: Vec<String> = found.chain(checked.refused.iter().map(|error| error.line(flag))).collect();
        let remedy = "mend it before it is timed; `huetape kernels check ⟨text⟩` says more";
        let what = format!("the text does not compute what {} does", args.kernel);
        return Err(Error::failed(what, found.join("; "), remedy).into());
    }
    let compared = timed(args, body, &text)?;
    let ratio = compared.ratio();
    let [own, changed] = [0, 1].map(|which| {
        let mut seconds: Vec<f64> = compared.seconds.iter().map(|round| round[which]).collect();
        seconds.sort_by(f64::total_cmp);
        1e3 * seconds[seconds.len() / 2]
    });
    outln!(
        "{} launches a pass: {own:.3} ms, changed {changed:.3} ms (medians of {} rounds)",
        compared.launches,
        args.rounds
    );
    let percent = |ratio: Ratio| format!("{:.3}, give or take {:.3}", ratio.median, ratio.deviation);
    outln!("ratio of the launches: {}", percent(Ratio::of(&compared.seconds)));
    if compared.whole.is_some() {
        outln!("the launches are short: ratio of the whole pass, which decides: {}", percent(ratio));
    }
    outln!(
        "{}",
        match ratio.verdict() {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::NoDifference => "no difference",
        }
    );
    Ok(())
}

fn timed(args: &CompareArgs, body: &str, text: &str) -> Result<Compared> {
    let device = args.device.open()?;
    let (_, kernel) = kernel(&args.kernel)?;
    let shape = args.pass.filter()?;
    let of = Comparison { kernel, body, text, shape, rounds: args.rounds };
    args.pass.run(&device, |pass| compare(&device, pass, &of))
}
