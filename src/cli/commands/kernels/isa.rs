//! `huetape kernels isa`.

use crate::cli::outcome::Outcome;
use crate::cli::stdio::{make_way, write_result};
use crate::cli::tables::{print_rows, thousands};
use crate::engine::device::AnyKernel;
use crate::error::{Error, ErrorKind, Result};
use crate::files::io_error;
use crate::workshop::catalogue::{kernel, ops};
use crate::workshop::isa::child::{compile, serve};
use crate::workshop::isa::figures::{Baseline, Figures};
use crate::workshop::isa::listing::MainLoop;
use crate::workshop::isa::unit::{Unit, bodies_of, units_in, units_of};
use crate::workshop::launches::{Convolution, on_a_card};
use clap::Args;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Args, Debug)]
#[command(
    after_help = "Needs Mesa's Vulkan drivers (on Debian: libvulkan1 and mesa-vulkan-drivers), no GPU. Kernels are
compiled as release builds run them, by the driver's own compiler.

Examples:
  huetape kernels isa conv2d --gpu navi21,gfx1100
  huetape kernels isa conv2d --body quads --gpu navi21 --asm quads.txt
  huetape kernels isa conv2d conv2d_dw --shape 1x64x64x64,3x3x64x128 --gpu navi21
  huetape kernels isa conv2d --text changed.wgsl --gpu navi21 --baseline benches/isa.json"
)]
pub struct IsaArgs {
    /// Names of kernels, as `huetape kernels list` has them [default: all]
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,
    /// GPUs by their names in Mesa: polaris10, vega10, navi10, navi21, gfx1100, ...
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', required = true)]
    gpu: Vec<String>,
    /// This body alone [default: all but those for software drivers]
    #[arg(long, value_name = "NAME")]
    body: Option<String>,
    /// What a card runs for a convolution of these sizes alone: NxHxWxC,KhxKwxCxO and perhaps ,stride2 ,dilation2
    #[arg(long, value_name = "SIZES")]
    shape: Option<String>,
    /// A changed text in place of the kernel's own; its snippets are added
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Write the machine's code
    #[arg(long, value_name = "FILE")]
    pub(super) asm: Option<PathBuf>,
    /// Write the figures as JSON; - for standard output
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Figures written before: what spills, or takes more than there, ends with exit code 1
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

/// What `huetape kernels isa-child` does.
pub fn child() -> Outcome {
    let lost = |error: io::Error| Error::failed(format!("cannot answer ({error})"), "isa-child", "run `kernels isa`");
    Ok(serve(io::stdin().lock(), io::stdout().lock()).map_err(lost)?)
}

pub fn run(args: &IsaArgs) -> Outcome {
    make_way([&args.json, &args.asm].into_iter().flatten().map(PathBuf::as_path))?;
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let units = units(args)?;
    let program = std::env::current_exe().map_err(|error| io_error("cannot find", Path::new("huetape"), &error))?;
    let (mut all, mut code) = (Vec::new(), String::new());
    for gpu in &args.gpu {
        let mut command = Command::new(&program);
        command.args(["kernels", "isa-child"]);
        let (driver, compiled) = compile(command, gpu, &units)?;
        let mut figures = Vec::with_capacity(units.len());
        for (unit, compiled) in units.iter().zip(&compiled) {
            let of = Figures::new(gpu, &driver, unit, compiled)?;
            code += &format!("; {} by {driver}\n{}\n", of.name(), compiled.assembly);
            figures.push(of);
        }
        print(&figures);
        all.extend(figures);
    }
    outln!(
        "VGPRs, SGPRs, spilled: registers; private, LDS, code: bytes; waves: subgroups that a SIMD holds at a time;"
    );
    outln!(
        "busy: cycles that a subgroup keeps its SIMD busy, as the driver estimates it; FMA: instructions of the main"
    );
    outln!("loop that multiply and add, of all in it; loads: in flight at the loop's first wait for memory");
    if let Some(path) = &args.asm {
        write_result(path, code.as_bytes())?;
    }
    if let Some(path) = &args.json {
        write_result(path, Baseline::text(&all).as_bytes())?;
    }
    let Some(path) = &args.baseline else { return Ok(()) };
    let complaints = baseline.unwrap_or_default().complaints(&all);
    complaints.iter().for_each(|complaint| outln!("worse: {complaint}"));
    if complaints.is_empty() {
        outln!("nothing spills, and nothing is worse than in {}", path.display());
        return Ok(());
    }
    let remedy = "see the lines above; to keep the new figures, write them with ⟨json⟩";
    let what = format!("{} figures are worse than before", complaints.len());
    Err(Error::failed(what, path.display(), remedy).of(ErrorKind::Kernel).into())
}

/// The entry points that are asked for.
fn units(args: &IsaArgs) -> Result<Vec<Unit>> {
    let kernels: Vec<&dyn AnyKernel> = match args.kernels.is_empty() {
        true => ops().flat_map(|op| op.kernels).copied().collect(),
        false => args.kernels.iter().map(|name| Ok(kernel(name)?.1)).collect::<Result<_>>()?,
    };
    crate::ensure!(
        args.text.is_none() || kernels.len() == 1,
        Error::input("a text takes the place of one kernel's", "⟨text⟩", "name the kernel, one alone")
    );
    let remedy = "name kernels of convolutions, such as conv2d";
    crate::ensure!(
        args.shape.is_none() || !args.kernels.is_empty(),
        Error::input("sizes are those of a convolution", "⟨shape⟩", remedy)
    );
    let text = args
        .text
        .as_deref()
        .map(|path| std::fs::read_to_string(path).map_err(|error| io_error("cannot read", path, &error)));
    let text = text.transpose()?;
    let sizes = args.shape.as_deref().map(str::parse::<Convolution>).transpose()?;
    let mut units = Vec::new();
    for kernel in kernels {
        let body = args.body.as_deref();
        match sizes {
            None => units.extend(units_of(kernel.name(), &bodies_of(kernel, body)?, text.as_deref())?),
            Some(sizes) => {
                let (body, plan) = on_a_card(sizes, kernel, body)?;
                units.extend(units_in(&plan, kernel.name(), &kernel.text(body), text.as_deref())?);
            }
        }
    }
    Ok(units)
}

/// The figures of one GPU.
fn print(figures: &[Figures]) {
    let Some(first) = figures.first() else { return };
    outln!("{} ({}), subgroups of {}", first.gpu, first.driver, first.subgroup_size);
    let heads = [
        "kernel",
        "body",
        "entry",
        "VGPRs",
        "SGPRs",
        "spilled",
        "private",
        "LDS",
        "code",
        "waves",
        "instructions",
        "latency",
        "busy",
        "FMA",
        "loads",
    ];
    let row = |of: &Figures| {
        let size = |number: u64| thousands(number as usize);
        let fma = |main: &MainLoop| format!("{} of {} ({:.0} %)", main.fma, main.instructions, 100.0 * main.share());
        let main = of.main_loop.as_ref();
        [
            of.kernel.clone(),
            of.body.clone(),
            format!("{} {}", of.entry, of.constants).trim_end().to_owned(),
            of.vgprs.to_string(),
            of.sgprs.to_string(),
            (of.spilled_vgprs + of.spilled_sgprs).to_string(),
            size(of.scratch_bytes),
            size(of.lds_bytes),
            size(of.code_bytes),
            of.subgroups_per_simd.to_string(),
            size(of.instructions),
            size(of.latency),
            size(of.inverse_throughput),
            main.map_or_else(|| "-".to_owned(), fma),
            main.map_or_else(|| "-".to_owned(), |main| main.loads_in_flight.to_string()),
        ]
    };
    print_rows(&heads.map(str::to_owned), figures.iter().map(row), 3);
    outln!();
}
