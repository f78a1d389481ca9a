//! The process that compiles for one GPU.
//!
//! RADV reads from the environment which GPU it stands for, and ends the process where it does not know the name. So
//! each GPU gets a process of its own: the program itself, told to call [`serve`](child::serve).

use crate::error::{Error, ErrorKind, Result};
use crate::workshop::isa::reply::{Compiled, Reply};
use crate::workshop::isa::unit::Unit;
use std::io::{self, Read, Write};
use std::process::{Command, Output, Stdio};

/// GPUs that RADV knows in Mesa 22.3, by its names; later versions know more.
pub const KNOWN: &[&str] = &[
    "tahiti",
    "pitcairn",
    "verde",
    "oland",
    "hainan",
    "bonaire",
    "kaveri",
    "kabini",
    "hawaii",
    "tonga",
    "iceland",
    "carrizo",
    "fiji",
    "stoney",
    "polaris10",
    "polaris11",
    "polaris12",
    "vegam",
    "vega10",
    "vega12",
    "vega20",
    "raven",
    "raven2",
    "renoir",
    "arcturus",
    "aldebaran",
    "navi10",
    "navi12",
    "navi14",
    "navi21",
    "navi22",
    "navi23",
    "navi24",
    "vangogh",
    "rembrandt",
    "gfx1036",
    "gfx1100",
    "gfx1101",
    "gfx1102",
    "gfx1103_r1",
];

/// What to install where something is missing.
const INSTALL: &str = "install Mesa's Vulkan drivers (on Debian: apt-get install libvulkan1 mesa-vulkan-drivers)";

/// What the child does: reads units, compiles them for the GPU that the environment names, writes a [`Reply`].
///
/// # Errors
/// A parent that has gone.
pub fn serve(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut request = Vec::new();
    from.read_to_end(&mut request)?;
    let units: Vec<Unit> = serde_json::from_slice(&request)?;
    let reply = compile_here(&units);
    to.write_all(&serde_json::to_vec(&reply)?)?;
    to.flush()
}

#[cfg(target_os = "linux")]
fn compile_here(units: &[Unit]) -> Reply {
    crate::workshop::isa::vulkan::compile(units)
}

#[cfg(not(target_os = "linux"))]
fn compile_here(_: &[Unit]) -> Reply {
    Reply::NoLoader("Mesa's driver for AMD GPUs runs on Linux alone".to_owned())
}

/// Compiles units for a GPU by its name in Mesa (`navi21`). `program` is a command that calls [`serve`] with its
/// standard input and output. The driver's version, and what it told of each unit, in their order.
///
/// # Errors
/// No Vulkan loader or no RADV on this system, a GPU that RADV does not know, and whatever else the driver refuses.
pub fn compile(mut program: Command, gpu: &str, units: &[Unit]) -> Result<(String, Vec<Compiled>)> {
    program.env("RADV_FORCE_FAMILY", gpu);
    // Mesa's layer that sorts devices would look for a display, and say so.
    program.env("NODEVICE_SELECT", "1");
    let child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let cannot = |error: io::Error| {
        let what = format!("the process that compiles cannot be run ({error})");
        Error::failed(what, gpu, "try again").of(ErrorKind::Io).caused_by(error)
    };
    let mut child = child.map_err(cannot)?;
    let request = serde_json::to_vec(units).map_err(|error| cannot(error.into()))?;
    // A child that has ended takes nothing; what it ended with tells why.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(&request));
    let output = child.wait_with_output().map_err(cannot)?;
    match serde_json::from_slice(&output.stdout) {
        Ok(Reply::Compiled { driver, compiled }) => {
            let one = |(unit, compiled): (&Unit, Result<Compiled, String>)| {
                compiled.map_err(|said| {
                    let name = format!("{}/{}/{}", unit.kernel, unit.body, unit.entry);
                    Error::kernel(&name, format!("refused for {gpu}: {said}"))
                })
            };
            Ok((driver, units.iter().zip(compiled).map(one).collect::<Result<_>>()?))
        }
        Ok(Reply::NoLoader(why)) => Err(Error::input("no Vulkan loader", why, INSTALL).of(ErrorKind::Device)),
        Ok(Reply::NoDriver(others)) => {
            let found = if others.is_empty() { "no driver".to_owned() } else { others.join(", ") };
            let what = "Mesa's driver for AMD GPUs (RADV) is missing";
            Err(Error::input(what, format!("found {found}"), INSTALL).of(ErrorKind::Device))
        }
        Ok(Reply::Failed(what)) => Err(Error::failed(what, gpu, INSTALL).of(ErrorKind::Device)),
        Err(_) => Err(ended(gpu, &output)),
    }
}

/// The error of a child that ended without an answer.
fn ended(gpu: &str, output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("Unknown family") {
        let remedy = format!("use one of {}, or a newer Mesa", KNOWN.join(", "));
        return Error::input("Mesa's driver does not know this GPU", format!("⟨gpu⟩ {gpu}"), remedy)
            .of(ErrorKind::Device);
    }
    let last = said.lines().last().unwrap_or("without a word").to_owned();
    Error::failed(
        format!("the driver's compiler ended ({})", output.status),
        format!("{gpu}: {last}"),
        "try another GPU",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command that prints `reply` is told as.
    fn told(reply: &str) -> Error {
        let mut program = Command::new("sh");
        program.args(["-c", &format!("cat > /dev/null; {reply}")]);
        compile(program, "navi21", &[]).unwrap_err()
    }

    #[cfg(unix)]
    #[test]
    fn what_is_missing_is_wrong_input_and_says_what_to_install() {
        for reply in ["echo '{\"NoLoader\":\"libvulkan.so.1: not found\"}'", "echo '{\"NoDriver\":[\"llvmpipe\"]}'"] {
            let error = told(reply);
            assert_eq!((error.exit_code(), error.kind()), (2, ErrorKind::Device));
            assert!(error.to_string().contains("apt-get install libvulkan1 mesa-vulkan-drivers"), "{error}");
        }
        assert!(told("echo '{\"NoDriver\":[\"llvmpipe\"]}'").to_string().contains("found llvmpipe"));
    }

    #[cfg(unix)]
    #[test]
    fn a_driver_that_ends_the_process_is_an_error_of_its_own() {
        let unknown = told("echo 'radv: Unknown family: navi21' >&2; kill -ABRT $$");
        assert!(unknown.exit_code() == 2 && unknown.to_string().contains("polaris10"), "{unknown}");
        let crashed = told("echo 'LLVM ERROR: out of registers' >&2; kill -SEGV $$");
        assert!(crashed.exit_code() == 1 && crashed.to_string().contains("out of registers"), "{crashed}");
    }
}
