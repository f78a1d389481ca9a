//! Every kernel and entry point with what can be known of it without a device.

use crate::engine::device::wgsl::{self, Binding};
use crate::engine::device::{AnyKernel, Text, texts};
use crate::engine::self_test::OpEntry;
use crate::error::{Error, ErrorKind, Result};
use crate::{engine, imaging};
use naga::{AddressSpace, Block, Function, Handle, Statement};
use serde::Serialize;

/// An entry point of a kernel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Name of the kernel and of its file in `kernels/`.
    pub kernel: String,
    /// Name of the op whose it is.
    pub op: &'static str,
    /// Name of the entry point in the text.
    pub entry: String,
    /// Names of the bodies that it is of.
    pub bodies: Vec<String>,
    /// Invocations of a workgroup along x, y, z.
    pub workgroup: [u32; 3],
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Barriers in the text, those in functions counted at each call; a barrier in a loop counts once.
    pub barriers: usize,
    /// Storage buffers that it reads only, and those that it may write.
    pub read: usize,
    /// See `read`.
    pub written: usize,
    /// Bytes of the parameter block, 0 where there is none.
    pub param_bytes: u32,
    /// Names of its `override` declarations.
    pub overrides: Vec<String>,
    /// Whether it runs without the driver's bounds checks in a release build.
    pub trusted: bool,
}

/// Every op, those on images too.
pub fn ops() -> impl Iterator<Item = &'static OpEntry> {
    engine::ops::OPS.iter().chain(imaging::ops::OPS)
}

/// The op and kernel of this name.
///
/// # Errors
/// No such kernel; the message has names that are like it.
pub fn kernel(name: &str) -> Result<(&'static OpEntry, &'static dyn AnyKernel)> {
    let all = || ops().flat_map(|op| op.kernels.iter().map(move |kernel| (op, *kernel)));
    all().find(|(_, kernel)| kernel.name() == name).ok_or_else(|| {
        let stem = name.split('_').next().unwrap_or_default();
        let like: Vec<&str> = all().map(|(_, kernel)| kernel.name()).filter(|known| known.contains(stem)).collect();
        let remedy = match like.is_empty() || stem.is_empty() {
            true => "`huetape kernels list` has all".to_owned(),
            false => format!("did you mean {}?", like.join(", ")),
        };
        Error::input("no such kernel", name, remedy).of(ErrorKind::Kernel)
    })
}

/// The text of a body of a kernel; where none is named, the first that every adapter can run.
///
/// # Errors
/// No such body; the message has those that there are.
pub fn text_of<'a>(kernel: &'a dyn AnyKernel, body: Option<&str>) -> Result<Text<'a>> {
    let found = texts(kernel).find(|text| body.map_or_else(|| !text.has_matrices(), |body| text.body == body));
    found.ok_or_else(|| {
        let known: Vec<&str> = texts(kernel).map(|text| text.body).collect();
        let subject = format!("⟨body⟩ {}", body.unwrap_or_default());
        let remedy = format!("use one of {}", known.join(", "));
        Error::input(format!("kernel {} has no such body", kernel.name()), subject, remedy).of(ErrorKind::Kernel)
    })
}

/// The entry points of all kernels, in the order of the ops.
///
/// # Errors
/// A text that does not parse.
pub fn entries() -> Result<Vec<Entry>> {
    let mut all = Vec::new();
    for op in ops() {
        for kernel in op.kernels {
            all.extend(entries_of(op, *kernel)?);
        }
    }
    Ok(all)
}

/// The entry points of a kernel, text by text.
///
/// # Errors
/// A text that does not parse.
pub fn entries_of(op: &OpEntry, kernel: &dyn AnyKernel) -> Result<Vec<Entry>> {
    let mut all = Vec::new();
    for text in sources(kernel) {
        all.extend(entries_of_text(op, kernel, &text)?);
    }
    Ok(all)
}

/// The texts of a kernel, each once: of bodies that share one the first.
pub fn sources(kernel: &dyn AnyKernel) -> Vec<Text<'_>> {
    let mut all: Vec<Text<'_>> = Vec::new();
    for text in texts(kernel) {
        if !all.iter().any(|known| known.source == text.source) {
            all.push(text);
        }
    }
    all
}

fn entries_of_text(op: &OpEntry, kernel: &dyn AnyKernel, text: &Text<'_>) -> Result<Vec<Entry>> {
    let parsed = wgsl::parse(kernel.name(), &wgsl::compose(kernel.name(), text.source, &[])?)?;
    let module = &parsed.module;
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|error| Error::kernel(kernel.name(), error.to_string()))?;
    let entries = parsed.entries.iter().zip(&module.entry_points).enumerate();
    Ok(entries
        .map(|(index, (reflected, entry))| {
            let uses = parsed.info.get_entry_point(index);
            let shared = module.global_variables.iter().filter(|(handle, global)| {
                global.space == AddressSpace::WorkGroup && !uses[*handle].is_empty()
            });
            let storage = |wanted: bool| {
                let is = |binding: &&Binding| {
                    matches!(binding.kind, wgsl::BindingKind::Storage { writable, .. } if writable == wanted)
                };
                reflected.bindings.iter().filter(is).count()
            };
            let block = reflected.bindings.iter().find_map(|binding| match binding.kind {
                wgsl::BindingKind::Uniform { bytes } => Some(bytes),
                wgsl::BindingKind::Storage { .. } => None,
            });
            Entry {
                kernel: kernel.name().to_owned(),
                op: op.name,
                bodies: texts(kernel)
                    .filter(|body| body.source == text.source)
                    .filter(|body| body.entries.is_empty() || body.entries.contains(&entry.name.as_str()))
                    .map(|body| body.body.to_owned())
                    .collect(),
                entry: entry.name.clone(),
                workgroup: entry.workgroup_size,
                workgroup_bytes: shared.map(|(_, global)| layouter[global.ty].size).sum(),
                barriers: barriers(module, &entry.function.body),
                read: storage(false),
                written: storage(true),
                param_bytes: block.unwrap_or(0),
                overrides: module.overrides.iter().filter_map(|(_, declared)| declared.name.clone()).collect(),
                trusted: text.is_proved(),
            }
        })
        .collect())
}

/// The barriers of a block and of the functions that it calls. WGSL has no recursion.
fn barriers(module: &naga::Module, block: &Block) -> usize {
    let of_function = |function: Handle<Function>| barriers(module, &module.functions[function].body);
    let count = |statement: &Statement| match statement {
        Statement::ControlBarrier(_) => 1,
        Statement::Call { function, .. } => of_function(*function),
        Statement::Block(inner) => barriers(module, inner),
        Statement::If { accept, reject, .. } => barriers(module, accept) + barriers(module, reject),
        Statement::Loop { body, continuing, .. } => barriers(module, body) + barriers(module, continuing),
        Statement::Switch { cases, .. } => cases.iter().map(|case| barriers(module, &case.body)).sum(),
        // workgroupUniformLoad waits for the group before and after.
        Statement::WorkGroupUniformLoad { .. } => 2,
        _ => 0,
    };
    block.iter().map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_what_their_texts_declare() {
        let (op, relu) = kernel("relu").unwrap();
        let [entry] = &entries_of(op, relu).unwrap()[..] else { panic!("one entry point") };
        assert_eq!((entry.workgroup, entry.workgroup_bytes, entry.barriers), ([256, 1, 1], 0, 0));
        assert_eq!((entry.read, entry.written, entry.param_bytes), (1, 1, 4));
        let (op, conv) = kernel("conv2d").unwrap();
        let entries = entries_of(op, conv).unwrap();
        let quads = entries.iter().find(|entry| entry.entry == "quads").unwrap();
        // Two tiles of 16 rows of 17 vec4, see kernels/lib/tile.wgsl.
        assert_eq!(quads.workgroup_bytes, 2 * 16 * 17 * 16);
        assert!(quads.barriers > 0 && quads.trusted);
        let software = entries.iter().find(|entry| entry.entry == "software").unwrap();
        assert_eq!((software.workgroup_bytes, software.barriers), (0, 0));
        assert_eq!(software.bodies, ["software"]);
        let totals: Vec<_> =
            entries.iter().filter(|entry| entry.entry == "total").map(|entry| &entry.bodies[..]).collect();
        assert_eq!(totals[0], ["coop"]);
        assert_eq!(totals[1], ["wide", "narrow", "quads", "scalars", "software_quads", "software"]);
    }

    #[test]
    fn a_wrong_name_gets_those_that_are_like_it() {
        let error = kernel("conv2d_dy").err().unwrap();
        assert!(error.exit_code() == 2 && error.to_string().contains("conv2d_dx"), "{error}");
        assert!(kernel("zzz").err().unwrap().to_string().contains("kernels list"));
    }
}
