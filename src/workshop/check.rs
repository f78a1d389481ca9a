//! The check of an op's kernels: their texts in every language, then the op beside its twin with each body, with and
//! without the driver's bounds checks.

use crate::engine::device::{Device, Forced, Text, texts};
use crate::engine::self_test::{OpEntry, SelfTest, self_test_of};
use crate::error::Error;
use crate::workshop::catalogue::{entries_of, kernel, ops};
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
    /// The op beside its twin, once for each name of a body where its launches have a choice.
    pub runs: Vec<Run>,
}

/// One run of an op beside its twin.
#[derive(Debug)]
pub struct Run {
    /// The body that every launch took that it admitted; `None` where there is no choice, and on the CPU.
    pub body: Option<String>,
    /// With the driver's checks; twice the twin on the CPU.
    pub with_checks: SelfTest,
    /// Without, as release builds run it; `None` on the CPU.
    pub without: Option<SelfTest>,
}

impl Run {
    /// Whether both runs gave what the twin gives.
    pub fn passed(&self) -> bool {
        self.with_checks.passed() && self.without.as_ref().is_none_or(SelfTest::passed)
    }
}

impl Checked {
    /// Whether nothing was refused and every run gave what the twin gives.
    pub fn passed(&self) -> bool {
        self.refused.is_empty() && self.runs.iter().all(Run::passed)
    }
}

/// Checks an op on a device, which runs with the driver's checks and chooses bodies itself afterwards.
pub fn check(device: &Device, op: &OpEntry) -> Checked {
    let (mut entries, mut refused) = (0, Vec::new());
    for kernel in op.kernels {
        match entries_of(op, *kernel) {
            Err(error) => refused.push(error),
            Ok(known) => {
                for entry in &known {
                    entries += 1;
                    let of = |text: &Text<'_>| entry.bodies.iter().any(|body| body == text.body);
                    let Some(text) = texts(*kernel).find(of) else { continue };
                    let ways = Target::ALL.iter().flat_map(|target| [(*target, true), (*target, false)]);
                    let written =
                        ways.map(|(target, checked)| translate(kernel.name(), &text, &entry.entry, target, checked));
                    refused.extend(written.filter_map(Result::err));
                }
            }
        }
    }
    let run = |body: Option<String>| {
        let run = |checked: bool| {
            device.check_bounds(checked);
            self_test_of(device, op)
        };
        let without = device.is_gpu().then(|| run(false));
        Run { body, with_checks: run(true), without }
    };
    let before = device.bodies_run();
    let own_choice = run(None);
    let mut taken = device.bodies_run();
    taken.retain(|now| !before.contains(now));
    if taken.is_empty() {
        return Checked { op: op.name, entries, refused, runs: vec![own_choice] };
    }
    let mut runs = Vec::new();
    for body in bodies_of(taken.iter().map(|runs| runs.kernel.as_str())) {
        device.force_bodies(first(&body));
        runs.push(run(Some(body)));
    }
    device.force_bodies(Forced::default());
    Checked { op: op.name, entries, refused, runs }
}

/// The names of all bodies of these kernels, each once.
fn bodies_of<'a>(kernels: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, kernel) in kernels.filter_map(|name| kernel(name).ok()) {
        for text in texts(kernel) {
            if !names.iter().any(|known| known == text.body) {
                names.push(text.body.to_owned());
            }
        }
    }
    names
}

/// The body of this name of every kernel that has it, then the others for launches that it does not admit.
pub fn first(body: &str) -> Forced {
    let kernels = || ops().flat_map(|op| op.kernels).copied().filter(|kernel| kernel.bodies() > 1);
    let those = |wanted: bool| {
        let pairs = kernels().flat_map(move |kernel| {
            let texts = texts(kernel).filter(move |text| (text.body == body) == wanted);
            texts.map(move |text| (kernel.name().to_owned(), text.body.to_owned()))
        });
        pairs.collect::<Forced>()
    };
    those(true).and(those(false))
}
