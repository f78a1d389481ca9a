//! The check of an op's kernels: their texts in every language, then the op beside its twin with each body, with and
//! without the driver's bounds checks.

use crate::engine::device::{AnyKernel, Device, Forced, Precision, Text, texts, wgsl};
use crate::engine::self_test::{OpEntry, SelfTest, self_test_of};
use crate::error::{Error, ErrorKind, Result};
use crate::workshop::catalogue::{entries_of, kernel, ops};
use crate::workshop::translate::{Target, translate};
use std::path::Path;

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
    /// What was written behind the end of buffers.
    pub overruns: Vec<String>,
}

impl Run {
    /// Whether both runs gave what the twin gives.
    pub fn passed(&self) -> bool {
        let right = self.with_checks.passed() && self.without.as_ref().is_none_or(SelfTest::passed);
        right && self.overruns.is_empty()
    }
}

impl Checked {
    /// Whether nothing was refused and every run gave what the twin gives.
    pub fn passed(&self) -> bool {
        self.refused.is_empty() && self.runs.iter().all(Run::passed)
    }
}

/// Checks an op on a device, whose new buffers have guard bands from then on, and which runs with the driver's checks
/// and chooses bodies itself.
pub fn check(device: &Device, op: &OpEntry) -> Checked {
    device.poison_new_buffers();
    device.watch_overruns();
    let (mut entries, mut refused) = (0, Vec::new());
    for kernel in op.kernels {
        match entries_of(op, *kernel) {
            Err(error) => refused.push(error),
            Ok(known) => {
                for entry in &known {
                    entries += 1;
                    let of = |text: &Text<'_>| entry.bodies.iter().any(|body| body == text.body);
                    let Some(text) = texts(*kernel).find(of) else { continue };
                    let targets = Target::ALL.iter().filter(|target| target.expresses(&text));
                    let ways = targets.flat_map(|target| [(*target, true), (*target, false)]);
                    let written =
                        ways.map(|(target, checked)| translate(kernel.name(), &text, &entry.entry, target, checked));
                    refused.extend(written.filter_map(Result::err));
                }
            }
        }
    }
    let before = device.bodies_run();
    let own_choice = run(device, op, None);
    let mut taken = device.bodies_run();
    taken.retain(|now| !before.contains(now));
    if taken.is_empty() {
        return Checked { op: op.name, entries, refused, runs: vec![own_choice] };
    }
    let mut runs = Vec::new();
    for body in bodies_of(device, taken.iter().map(|runs| runs.kernel.as_str())) {
        runs.push(run(device, op, Some(body)));
    }
    device.force_bodies(Forced::default());
    Checked { op: op.name, entries, refused, runs }
}

/// An op beside its twin, by the body of this name where there is one.
fn run(device: &Device, op: &OpEntry, body: Option<String>) -> Run {
    device.force_bodies(body.as_deref().map_or_else(Forced::default, first));
    let run = |checked: bool| {
        device.check_bounds(checked);
        self_test_of(device, op)
    };
    let without = device.is_gpu().then(|| run(false));
    Run { body, with_checks: run(true), without, overruns: device.overruns() }
}

/// Runs another text in place of that of a body of a kernel, and of the bodies that share it.
pub fn replace(device: &Device, kernel: &dyn AnyKernel, body: &str, text: &str) {
    device.replace_text(kernel, body, Some(text.to_owned()));
}

/// A changed text of a kernel.
///
/// # Errors
/// A file that cannot be read, or whose text does not parse.
pub fn read_text(name: &str, path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let what = format!("cannot be read ({error})");
        Error::input(what, path.display(), "name a WGSL file").of(ErrorKind::File)
    })?;
    wgsl::compose(name, &text, &[]).and_then(|text| wgsl::parse(name, &text)).map_err(|error| {
        Error::input(format!("no kernel ({})", error.subject()), path.display(), "mend the text").of(ErrorKind::Kernel)
    })?;
    Ok(text)
}

/// The names of all bodies of these kernels that a device might run, each once.
fn bodies_of<'a>(device: &Device, kernels: impl Iterator<Item = &'a str>) -> Vec<String> {
    let runs = |text: &Text<'_>| device.precision() == Precision::F16 || !text.has_matrices();
    let mut names: Vec<String> = Vec::new();
    for (_, kernel) in kernels.filter_map(|name| kernel(name).ok()) {
        for text in texts(kernel).filter(runs) {
            if !names.iter().any(|known| known == text.body) {
                names.push(text.body.to_owned());
            }
        }
    }
    names
}

/// The bodies that a device takes for some launches because they were measured to be the fastest, and the ops that have
/// their kernels.
pub fn bodies_beside(device: &Device) -> Vec<(String, Vec<&'static OpEntry>)> {
    let mut all: Vec<(String, Vec<&'static OpEntry>)> = Vec::new();
    for (name, _, body) in device.tuned().iter() {
        let Ok((op, _)) = kernel(name) else { continue };
        match all.iter_mut().find(|(known, _)| known == body) {
            Some((_, ops)) if ops.iter().any(|known| known.name == op.name) => {}
            Some((_, ops)) => ops.push(op),
            None => all.push((body.to_owned(), vec![op])),
        }
    }
    all
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::DeviceChoice;
    use crate::engine::testing::check::devices;

    /// A GPU of its own, on which a body of a kernel has a fault: `right` is `wrong`.
    fn with_fault(name: &str, body: &str, right: &str, wrong: &str) -> Option<Device> {
        devices().iter().find(|device| device.is_gpu())?;
        let device = Device::open(&DeviceChoice::Gpu).unwrap();
        let (_, kernel) = kernel(name).unwrap();
        let text = texts(kernel).find(|text| text.body == body).unwrap().source;
        assert!(text.contains(right), "{name} has no more {right}");
        device.replace_text(kernel, body, Some(text.replace(right, wrong)));
        Some(device)
    }

    /// Takes the fault away again: what is refused after that was not refused for it.
    fn mend(device: &Device, name: &str, body: &str) {
        device.replace_text(kernel(name).unwrap().1, body, None);
    }

    fn conv2d() -> &'static OpEntry {
        ops().find(|known| known.name == "conv2d").unwrap()
    }

    /// Whether conv2d passes by a body, with checks and without.
    fn passes(device: &Device, body: &str) -> bool {
        device.poison_new_buffers();
        device.watch_overruns();
        run(device, conv2d(), Some(body.to_owned())).passed()
    }

    #[test]
    fn a_fault_in_the_second_tile_is_found() {
        // Outputs from 64 on get the weights of the first ones.
        let step = "o * p.output_step) / 4u";
        if let Some(device) = with_fault("conv2d", "quads", step, "(o % 64u) * p.output_step) / 4u") {
            assert!(!passes(&device, "quads") && passes(&device, "scalars"));
        }
        // The same of the wide tile, whose second one begins at 128.
        let step = "select(0u, o, inside) * p.output_step) / 4u";
        let wrong = "select(0u, o % 128u, inside) * p.output_step) / 4u";
        if let Some(device) = with_fault("conv2d", "wide", step, wrong) {
            assert!(!passes(&device, "wide") && passes(&device, "quads"));
        }
        // Sums over pixels from the second chunk on begin one too late.
        let begin = "var i = chunk * p.chunk * p.o";
        let wrong = "var i = (chunk * p.chunk + min(chunk, 1u)) * p.o";
        if let Some(device) = with_fault("conv2d_db", "main", begin, wrong) {
            assert!(!passes(&device, "software"));
            mend(&device, "conv2d_db", "main");
            assert!(passes(&device, "software"));
        }
    }

    #[test]
    fn a_fault_in_the_second_chunk_of_one_body_is_found_where_that_body_runs() {
        // Sums from the second chunk on begin one pixel too late.
        let index = "across + (at - chunk * across);";
        if let Some(device) = with_fault("conv2d_dz", "quads", index, "across + at;") {
            // `main` is the other body.
            assert!(!passes(&device, "software") && passes(&device, "main"));
        }
    }

    #[test]
    fn one_element_read_too_far_meets_the_guard_band() {
        // The weight of that channel is zero: without the band nothing shows.
        let guard = "if (c < p.c) {";
        let wrong = "if (c <= p.c) {";
        let Some(device) = with_fault("conv2d", "scalars", guard, wrong) else { return };
        device.check_bounds(false);
        device.force_bodies(first("scalars"));
        let unseen = self_test_of(&device, conv2d());
        assert!(unseen.passed(), "{unseen:?}");
        assert!(!passes(&device, "scalars"));
        mend(&device, "conv2d", "scalars");
        assert!(passes(&device, "scalars"));
    }

    #[test]
    fn one_element_written_too_far_is_found_in_the_guard_band() {
        let Some(device) = with_fault("fill", "main", "i < p.len", "i <= p.len") else { return };
        let op = ops().find(|known| known.name == "primitives").unwrap();
        let checked = check(&device, op);
        assert!(!checked.passed());
        let overruns = &checked.runs[0].overruns;
        assert!(overruns[0].contains("was written at"), "{overruns:?}");
        mend(&device, "fill", "main");
        assert!(check(&device, op).passed());
    }
}
