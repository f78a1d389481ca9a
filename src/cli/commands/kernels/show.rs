//! `huetape kernels show`.

use crate::cli::outcome::Outcome;
use crate::cli::stdio::{make_way, write_result};
use crate::error::Error;
use crate::workshop::catalogue::{entries_of, kernel, text_of};
use crate::workshop::launches::{Convolution, on_a_card};
use crate::workshop::translate::{Target, translate};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape kernels show relu
  huetape kernels show conv2d --body quads --target msl
  huetape kernels show conv2d --shape 1x64x64x3,3x3x3x64 --target hlsl
  huetape kernels show conv2d --entry quads --target spirv --out quads.spv")]
pub struct ShowArgs {
    /// Name of the kernel, as `huetape kernels list` has it
    #[arg(value_name = "KERNEL")]
    kernel: String,
    /// Body, as `huetape kernels list` has it [default: the first]
    #[arg(long, value_name = "NAME")]
    body: Option<String>,
    /// Entry point [default: the only one, or the first of --body]
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// Body and entry point as a card runs them for a convolution of these sizes: NxHxWxC,KhxKwxCxO and perhaps
    /// ,stride2 ,dilation2
    #[arg(long, value_name = "SIZES")]
    shape: Option<String>,
    /// Language: wgsl with snippets and constants in place, spirv (Vulkan), msl (Metal) or hlsl (DX12)
    #[arg(long, value_name = "LANGUAGE", default_value = Target::Wgsl.name(), value_parser = languages())]
    target: Target,
    /// With the driver's bounds checks, which kernels that have proved their extents run without
    #[arg(long)]
    checked: bool,
    /// Write it to a file; SPIR-V, which is no text, needs one
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

fn languages() -> impl TypedValueParser<Value = Target> {
    PossibleValuesParser::new(Target::ALL.map(Target::name)).try_map(|name| name.parse::<Target>())
}

pub fn run(args: &ShowArgs) -> Outcome {
    make_way(args.out.iter().map(PathBuf::as_path))?;
    let (op, kernel) = kernel(&args.kernel)?;
    let sizes = args.shape.as_deref().map(str::parse::<Convolution>).transpose()?;
    let shaped = sizes.map(|sizes| on_a_card(sizes, kernel, args.body.as_deref())).transpose()?;
    let body = match &shaped {
        Some((body, _)) => kernel.text(*body),
        None => text_of(kernel, args.body.as_deref())?,
    };
    let of_shape = shaped.as_ref().and_then(|(_, plan)| plan.dispatches.first());
    let shares = |name: &String| text_of(kernel, Some(name)).is_ok_and(|text| text.source == body.source);
    let entries = entries_of(op, kernel)?.into_iter().filter(|entry| entry.bodies.iter().any(shares));
    let names: Vec<String> = entries.map(|entry| entry.entry).collect();
    let entry = match (&args.entry, &names[..]) {
        (Some(entry), _) => entry.as_str(),
        (None, _) if of_shape.is_some() => of_shape.map_or("", |dispatch| &dispatch.entry),
        (None, _) if args.body.is_some() && !body.entries.is_empty() => body.entries[0],
        (None, [only]) => only,
        // The whole text has all of them.
        (None, [first, ..]) if args.target == Target::Wgsl => first,
        (None, names) => {
            let remedy = format!("use one of {}", names.join(", "));
            return Err(Error::input("the kernel has several entry points", "⟨entry⟩", remedy).into());
        }
    };
    let text = translate(kernel.name(), &body, entry, args.target, args.checked || !body.is_proved())?;
    match &args.out {
        Some(path) => write_result(path, &text)?,
        None if args.target == Target::Spirv => {
            let remedy = "add ⟨out⟩ FILE, and look at it with spirv-dis";
            return Err(Error::input("SPIR-V is no text", "⟨target⟩ spirv", remedy).into());
        }
        None => out!("{}", String::from_utf8_lossy(&text)),
    }
    Ok(())
}
