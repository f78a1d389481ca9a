//! `huetape kernels time`.

use crate::cli::args::device;
use crate::cli::args::given::{Choice, Given};
use crate::cli::commands::kernels::pass::PassArgs;
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{make_way, write_result};
use crate::cli::tables::print_rows;
use crate::engine::device::{Device, Roofline};
use crate::error::{Error, ErrorKind};
use crate::workshop::catalogue::kernel;
use crate::workshop::roofline::roofline;
use crate::workshop::timing::{BodyTimes, LaunchTimes, Outcome as Found, Wanted, bodies_named, time, waited_for};
use clap::Args;
use std::path::PathBuf;

/// The settings of a device but for bodies: which are timed is a matter of the command's own.
#[derive(Debug, Clone, Default)]
pub struct OfTimed;

impl Choice for OfTimed {
    const KEYS: Option<&'static [&'static str]> = Some(&["device", "memory", "threads"]);
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape kernels time conv2d --shape 1x64x64x64,3x3x64x128 --body all --device gpu
  huetape kernels time conv2d_dw --shape \"[3, 3, 64, 64]\" --size 64 --width 0.25 --device gpu
  huetape kernels time adam --size 64 --width 0.25 --device cpu --json adam.json")]
pub struct TimeArgs {
    /// Name of the kernel, as `huetape kernels list` has it
    #[arg(value_name = "KERNEL")]
    kernel: String,
    /// Body that is timed, or all [default: the one that the device takes]
    #[arg(long, value_name = "NAME")]
    body: Option<String>,
    #[command(flatten)]
    pass: PassArgs,
    /// Write the figures as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    #[command(flatten)]
    device: Given<OfTimed>,
}

pub fn run(args: &TimeArgs) -> Outcome {
    make_way(args.json.iter().map(PathBuf::as_path))?;
    let (_, kernel) = kernel(&args.kernel)?;
    let bodies = bodies_named(kernel, args.body.as_deref())?;
    let shape = args.pass.filter()?.map(str::to_owned);
    let device = device::open(&args.device.settings)?;
    outln!("{}", device::line(&device));
    let roof = match roofline(&device, false) {
        Err(error) if error.kind() == ErrorKind::Memory => None,
        found => Some(found?.0),
    };
    let waited = waited_for(&device)?;
    let wanted = Wanted { kernel: args.kernel.clone(), shape, bodies };
    let launches = args.pass.run(&device, |pass| time(&device, pass, wanted))?;
    print(&launches, roof.as_ref());
    let how = match waited {
        Some(seconds) => format!("each waited for, which takes {} ms by itself", ms(seconds)),
        None => "by the device's timestamps".to_owned(),
    };
    outln!("\nwarm: among launches of the same; flushed: after more was written than caches hold, {how}");
    if let Some(roof) = &roof {
        outln!(
            "share: of the roofline, {:.1} GFLOP/s and {:.1} GB/s; off: largest difference from the twin",
            roof.gflops,
            roof.gbs
        );
    }
    if let Some(path) = &args.json {
        write_result(path, json(args, &device, &launches, roof.as_ref(), waited).as_bytes())?;
    }
    let wrong = launches.iter().flat_map(|launch| &launch.bodies).filter(|of| matches!(of.outcome, Found::Wrong(_)));
    let wrong: Vec<String> = wrong.map(|of| format!("{}/{}", args.kernel, of.body)).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let remedy = "see the lines above, and `huetape kernels check`";
    Err(Error::failed("a body does not compute what the twin does", wrong.join(", "), remedy).into())
}

fn ms(seconds: f64) -> String {
    format!("{:.3}", 1e3 * seconds)
}

/// GFLOP/s, GB/s and the share of the roofline of work that took so long.
fn rates(of: &BodyTimes, seconds: f64, roof: Option<&Roofline>) -> ([f64; 2], Option<f64>) {
    let rates = [of.work.flops, of.work.bytes as f64].map(|amount| amount / seconds / 1e9);
    (rates, roof.map(|roof| roof.share(&of.work, seconds)))
}

fn print(launches: &[LaunchTimes], roof: Option<&Roofline>) {
    let heads = ["body", "", "warm ms", "GFLOP/s", "GB/s", "share", "flushed ms", "GFLOP/s", "GB/s", "share", "off"];
    for launch in launches {
        let times = if launch.count == 1 { String::new() } else { format!(", {} times in the pass", launch.count) };
        outln!("\n{}{times}", launch.shapes);
        let row = |of: &BodyTimes| {
            let by = of.by.map_or("", |by| by.name()).to_owned();
            let figures = |seconds: Option<f64>| -> [String; 4] {
                let Some(seconds) = seconds else { return std::array::from_fn(|_| "-".to_owned()) };
                let ([gflops, gbs], share) = rates(of, seconds, roof);
                let share = share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", 100.0 * share));
                [ms(seconds), format!("{gflops:.1}"), format!("{gbs:.1}"), share]
            };
            let (seconds, off) = match &of.outcome {
                Found::Timed { difference, warm, flushed } => ([Some(*warm), *flushed], format!("{difference:.1e}")),
                Found::Wrong(difference) => ([None, None], format!("{difference:.1e} WRONG")),
                Found::Declines(_) => ([None, None], "-".to_owned()),
            };
            let [warm, flushed] = seconds.map(figures);
            let mut cells = vec![of.body.clone(), by];
            cells.extend(warm.into_iter().chain(flushed));
            cells.push(off);
            std::array::from_fn(|at| cells[at].clone())
        };
        print_rows::<11>(&heads.map(str::to_owned), launch.bodies.iter().map(row), 2);
        for of in &launch.bodies {
            if let Found::Declines(reason) = &of.outcome {
                outln!("{} declines it: {reason}", of.body);
            }
        }
    }
}

fn json(
    args: &TimeArgs,
    device: &Device,
    launches: &[LaunchTimes],
    roof: Option<&Roofline>,
    waited: Option<f64>,
) -> String {
    let body = |of: &BodyTimes| {
        let figures = |seconds: Option<f64>| {
            seconds.map(|seconds| {
                let ([gflops, gbs], share) = rates(of, seconds, roof);
                serde_json::json!({ "seconds": seconds, "gflops": gflops, "gbs": gbs, "share": share })
            })
        };
        let mut value = serde_json::json!({ "body": of.body, "by": of.by.map(|by| by.name()) });
        match &of.outcome {
            Found::Declines(reason) => value["declines"] = reason.as_str().into(),
            Found::Wrong(difference) => value["wrong"] = (*difference).into(),
            Found::Timed { difference, warm, flushed } => {
                value["difference"] = (*difference).into();
                value["flops"] = of.work.flops.into();
                value["bytes"] = of.work.bytes.into();
                value["warm"] = figures(Some(*warm)).into();
                value["flushed"] = figures(*flushed).into();
            }
        }
        value
    };
    let launch = |of: &LaunchTimes| {
        let bodies: Vec<_> = of.bodies.iter().map(body).collect();
        serde_json::json!({ "shapes": of.shapes, "count": of.count, "bodies": bodies })
    };
    let launches: Vec<_> = launches.iter().map(launch).collect();
    let value = serde_json::json!({
        "kernel": args.kernel,
        "device": device.name(),
        "roofline": roof,
        "waited_for_seconds": waited,
        "launches": launches,
    });
    format!("{value:#}\n")
}
