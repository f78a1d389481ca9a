//! `huetape kernels list`.

use crate::cli::outcome::Outcome;
use crate::cli::stdio::{make_way, write_result};
use crate::cli::tables::{print_rows, thousands};
use crate::workshop::catalogue::{Entry, entries};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  huetape kernels list
  huetape kernels list --json kernels.json")]
pub struct ListArgs {
    /// Write the list as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

pub fn run(args: &ListArgs) -> Outcome {
    make_way(args.json.iter().map(PathBuf::as_path))?;
    let entries = entries()?;
    let heads = ["kernel", "entry", "bodies", "op", "workgroup", "memory", "barriers", "reads", "writes", "checks"];
    let row = |entry: &Entry| {
        let [x, y, z] = entry.workgroup;
        [
            entry.kernel.clone(),
            entry.entry.clone(),
            entry.bodies.join(","),
            entry.op.to_owned(),
            if y * z == 1 { x.to_string() } else { format!("{x}x{y}x{z}") },
            if entry.workgroup_bytes == 0 { "-".to_owned() } else { thousands(entry.workgroup_bytes as usize) },
            entry.barriers.to_string(),
            entry.read.to_string(),
            entry.written.to_string(),
            if entry.trusted { "proved".to_owned() } else { "on".to_owned() },
        ]
    };
    print_rows(&heads.map(str::to_owned), entries.iter().map(row), 4);
    let kernels = entries.iter().map(|entry| &entry.kernel).collect::<std::collections::BTreeSet<_>>().len();
    outln!(
        "{} entry points of {kernels} kernels; memory: bytes of a workgroup; checks proved: left out in release builds",
        entries.len()
    );
    if let Some(path) = &args.json {
        write_result(path, format!("{:#}\n", serde_json::json!(entries)).as_bytes())?;
    }
    Ok(())
}
