//! Entry points as wgpu hands them to a Vulkan driver.

use crate::engine::device::wgsl::{self, BindingKind};
use crate::engine::device::{AnyKernel, Constants, Plan, Text, texts};
use crate::error::{Error, ErrorKind, Result};
use crate::workshop::launches::{CARD, F16_CARD};
use naga::ShaderStage;
use naga::back::pipeline_constants::process_overrides;
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use serde::{Deserialize, Serialize};

/// An entry point to compile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// Name of its kernel.
    pub kernel: String,
    /// Name of its body, the first where several share it.
    pub body: String,
    /// Its name in the text, and in the SPIR-V.
    pub entry: String,
    /// Values of its constants, as in `TILE=8 K=2`; empty where the text's own hold.
    pub constants: String,
    /// Words of SPIR-V.
    pub spirv: Vec<u32>,
    /// Its bindings: number, and whether it is the parameter block.
    pub bindings: Vec<(u32, bool)>,
}

/// The bodies of a kernel that are compiled: the one that is named, else all that suit a card.
///
/// # Errors
/// No such body; the message has those that there are.
pub fn bodies_of<'a>(kernel: &'a dyn AnyKernel, body: Option<&str>) -> Result<Vec<Text<'a>>> {
    let wanted = |at: &usize| body.map_or(kernel.suits(*at, &CARD), |body| kernel.text(*at).body == body);
    let found: Vec<Text<'_>> = (0..kernel.bodies()).filter(wanted).map(|at| kernel.text(at)).collect();
    crate::ensure!(!found.is_empty(), {
        let known: Vec<&str> = texts(kernel).map(|text| text.body).collect();
        let subject = format!("⟨body⟩ {}", body.unwrap_or_default());
        let remedy = format!("use one of {}", known.join(", "));
        Error::input(format!("kernel {} has no such body", kernel.name()), subject, remedy).of(ErrorKind::Kernel)
    });
    Ok(found)
}

/// The entry points of bodies of a kernel as a card would run them in a release build, with every set of constants; one
/// that several bodies share is there once. `changed` stands for the bodies' own text where it is given: one that
/// nobody has built.
///
/// # Errors
/// A text that does not parse, or that SPIR-V cannot express; a change of bodies that have different texts.
pub fn units_of(kernel: &str, bodies: &[Text<'_>], changed: Option<&str>) -> Result<Vec<Unit>> {
    crate::ensure!(changed.is_none() || bodies.iter().all(|text| text.source == bodies[0].source), {
        let remedy = "name one of them by ⟨body⟩";
        Error::input("the bodies have texts of their own", kernel, remedy).of(ErrorKind::Kernel)
    });
    let mut units: Vec<Unit> = Vec::new();
    let mut sources: Vec<&str> = Vec::new();
    for text in bodies {
        let shares = sources.contains(&text.source);
        sources.push(text.source);
        for constants in text.variants.iter().filter(|constants| !text.has_matrices() || are_radvs(constants)) {
            for unit in units_of_text(kernel, text, changed.unwrap_or(text.source), constants)? {
                let same = |known: &Unit| (&known.entry, &known.constants) == (&unit.entry, &unit.constants);
                if !(shares && units.iter().any(same)) {
                    units.push(unit);
                }
            }
        }
    }
    Ok(units)
}

fn units_of_text(kernel: &str, text: &Text<'_>, source: &str, constants: &Constants) -> Result<Vec<Unit>> {
    let fail = |error: &dyn std::fmt::Display| Error::kernel(kernel, format!("not as SPIR-V: {error}"));
    let parsed = wgsl::parse(kernel, &wgsl::compose(kernel, source, constants)?)?;
    let overrides = wgsl::overrides(kernel, &parsed.module, constants)?.into_iter().collect();
    let options = options(!text.is_proved());
    let mut units = Vec::new();
    let wanted = |name: &str| text.entries.is_empty() || text.entries.contains(&name);
    for entry in parsed.entries.iter().filter(|entry| wanted(&entry.name)) {
        let point = Some((ShaderStage::Compute, entry.name.as_str()));
        let (module, info) =
            process_overrides(&parsed.module, &parsed.info, point, &overrides).map_err(|error| fail(&error))?;
        let point = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: entry.name.clone() };
        let spirv = spv::write_vec(&module, &info, &options, Some(&point)).map_err(|error| fail(&error))?;
        let is_block = |kind| matches!(kind, BindingKind::Uniform { .. });
        units.push(Unit {
            kernel: kernel.to_owned(),
            body: text.body.to_owned(),
            entry: entry.name.clone(),
            constants: named(constants),
            spirv,
            bindings: entry.bindings.iter().map(|known| (known.number, is_block(known.kind))).collect(),
        });
    }
    Ok(units)
}

/// Whether constants of a text for matrices are those that RADV has.
fn are_radvs(constants: &Constants) -> bool {
    F16_CARD.matrices.is_some_and(|matrices| {
        let known = [("SIDE", f64::from(matrices.side)), ("SUBGROUP", f64::from(matrices.subgroup))];
        constants == known
    })
}

/// `TILE=8 K=2`. Fields of the parameter block are left out: an entry point is known by the same name whatever the
/// sizes, and no code for sizes that are known should be worse than that for any.
fn named(constants: &Constants) -> String {
    let own = constants.iter().filter(|(name, _)| !wgsl::is_field(name));
    own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// The entry points that a plan dispatches, with the constants that it has for them, in its order; `changed` as for
/// [`units_of`].
///
/// # Errors
/// As [`units_of`].
pub fn units_in(plan: &Plan, kernel: &str, text: &Text<'_>, changed: Option<&str>) -> Result<Vec<Unit>> {
    let mut units: Vec<Unit> = Vec::new();
    for dispatch in &plan.dispatches {
        let all = units_of_text(kernel, text, changed.unwrap_or(text.source), &dispatch.constants)?;
        units.extend(all.into_iter().filter(|unit| unit.entry == dispatch.entry));
    }
    Ok(units)
}

/// What wgpu asks of naga for RADV, which has Vulkan 1.3, robust access to buffers and zeroed workgroup memory.
fn options(checked: bool) -> spv::Options<'static> {
    let index = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        bounds_check_policies: BoundsCheckPolicies { index, ..unchecked() },
        zero_initialize_workgroup_memory: match checked {
            true => spv::ZeroInitializeWorkgroupMemoryMode::Native,
            false => spv::ZeroInitializeWorkgroupMemoryMode::None,
        },
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        ..spv::Options::default()
    }
}

fn unchecked() -> BoundsCheckPolicies {
    let policy = BoundsCheckPolicy::Unchecked;
    BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array: policy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workshop::catalogue::kernel;

    #[test]
    fn bodies_for_software_drivers_are_left_out_and_shared_entry_points_are_there_once() {
        let (_, conv) = kernel("conv2d").unwrap();
        let names = |body: Option<&str>| {
            let units = units_of("conv2d", &bodies_of(conv, body).unwrap(), None).unwrap();
            units.iter().map(|unit| format!("{}/{}", unit.body, unit.entry)).collect::<Vec<_>>()
        };
        let filtering = ["tiles", "weights", "peaks", "uneven", "product", "outputs", "direct"];
        let tiled = ["wide/wide", "wide/total", "narrow/narrow", "quads/quads", "scalars/scalars"].map(str::to_owned);
        let expected = tiled.into_iter().chain(filtering.map(|entry| format!("winograd/{entry}")));
        assert_eq!(names(None), expected.collect::<Vec<_>>());
        assert_eq!(names(Some("software")), ["software/software", "software/total"]);
        assert!(bodies_of(conv, Some("quad")).unwrap_err().to_string().contains("narrow, quads, scalars, winograd, "));
    }

    #[test]
    fn constants_are_applied_and_named() {
        let text = "override SCALE: f32 = 1.0;\n@group(0) @binding(1) var<storage, read_write> y: array<f32>;\n\
             @compute @workgroup_size(1) fn main() { y[0] = SCALE; }\n";
        let body = crate::engine::device::Body::<()>::new(text, &|_, _| Default::default());
        let own = units_of("t", &[body.text], None).unwrap();
        let doubled = units_of("t", &[body.with_variants(&[&[("SCALE", 2.0)]]).text], None).unwrap();
        assert_eq!((own[0].constants.as_str(), doubled[0].constants.as_str()), ("", "SCALE=2"));
        assert!(own[0].spirv != doubled[0].spirv && own[0].bindings == [(1, false)]);
    }
}
