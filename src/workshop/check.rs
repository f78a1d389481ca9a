//! The check of an op's kernels: their texts in every language, then the op beside its twin, with and without the
//! driver's bounds checks.

use crate::engine::device::Device;
use crate::engine::self_test::{OpEntry, SelfTest, self_test};
use crate::error::{Error, Result};
use crate::workshop::catalogue::entries_of;
use crate::workshop::translate::{Target, translate};

/// What became of an op.
#[derive(Debug)]
pub struct Checked {
    /// Name of the op.
    pub op: &'static str,
    /// Entry points that were written in every language, with and without checks.
    pub entries: usize,
    /// What a text or a language refused.
    pub refused: Vec<Error>,
    /// The op beside its twin with the driver's checks; twice the twin on the CPU.
    pub with_checks: SelfTest,
    /// The same without, as release builds run it; `None` on the CPU.
    pub without: Option<SelfTest>,
}

impl Checked {
    /// Whether nothing was refused and every run gave what the twin gives.
    pub fn passed(&self) -> bool {
        self.refused.is_empty() && self.with_checks.passed() && self.without.as_ref().is_none_or(SelfTest::passed)
    }
}

/// Checks an op on a device, which runs with the driver's checks afterwards.
///
/// # Errors
/// Nothing but a self-test that is missing; what fails is in the result.
pub fn check(device: &Device, op: &OpEntry) -> Result<Checked> {
    let (mut entries, mut refused) = (0, Vec::new());
    for kernel in op.kernels {
        match entries_of(op, *kernel) {
            Err(error) => refused.push(error),
            Ok(known) => {
                for entry in known {
                    entries += 1;
                    let ways = Target::ALL.iter().flat_map(|target| [(*target, true), (*target, false)]);
                    refused.extend(ways.filter_map(|(target, on)| translate(*kernel, &entry.entry, target, on).err()));
                }
            }
        }
    }
    let run = |on: bool| {
        device.check_bounds(on);
        self_test(device, std::slice::from_ref(op)).pop()
    };
    let without = if device.is_gpu() { run(false) } else { None };
    let with_checks = run(true).ok_or_else(|| Error::failed("an op without a self-test", op.name, "add one"))?;
    Ok(Checked { op: op.name, entries, refused, with_checks, without })
}
