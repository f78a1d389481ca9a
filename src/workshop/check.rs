//! The check of an op's kernels: their texts in every language, then the op beside its twin, with and without the
//! driver's bounds checks.

use crate::engine::device::Device;
use crate::engine::self_test::{OpEntry, SelfTest, self_test_of};
use crate::error::Error;
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
pub fn check(device: &Device, op: &OpEntry) -> Checked {
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
        self_test_of(device, op)
    };
    let without = device.is_gpu().then(|| run(false));
    Checked { op: op.name, entries, refused, with_checks: run(true), without }
}
