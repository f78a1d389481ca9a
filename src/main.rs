//! The `huetape` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    huetape::cli::main()
}
