//! A kernel in the languages of drivers, as naga writes it for wgpu.

use crate::engine::device::Text;
use crate::engine::device::wgsl;
use crate::error::{Error, ErrorKind, Result};
use naga::ShaderStage;
use naga::back::{hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use std::fmt;
use std::str::FromStr;

/// A language that a driver takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The text with its snippets and constants, as wgpu gets it.
    Wgsl,
    /// Vulkan's: words of 32 bits, in the machine's order.
    Spirv,
    /// Metal's.
    Msl,
    /// DX12's, for shader model 6.0.
    Hlsl,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 4] = [Target::Wgsl, Target::Spirv, Target::Msl, Target::Hlsl];

    /// Whether it can express what a text is made of.
    pub fn expresses(self, text: &Text<'_>) -> bool {
        self != Target::Hlsl || !text.has_matrices()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Target::Wgsl => "wgsl",
            Target::Spirv => "spirv",
            Target::Msl => "msl",
            Target::Hlsl => "hlsl",
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Target::ALL.into_iter().find(|target| target.name() == text);
        found.ok_or_else(|| Error::input("no such language", text, "use wgsl, spirv, msl or hlsl"))
    }
}

/// Entry point `entry` of a kernel's text in a driver's language, with or without the driver's bounds checks. A GPU's
/// driver is given the same but for numbers of bindings, which wgpu assigns by the layout.
///
/// # Errors
/// No such entry point; a text that the language cannot express, with naga's reason.
pub fn translate(kernel: &str, text: &Text<'_>, entry: &str, target: Target, checked: bool) -> Result<Vec<u8>> {
    let fail = |error: &dyn fmt::Display| {
        Error::kernel(&format!("{kernel}/{entry}"), format!("not as {}: {error}", target.name()))
    };
    let has_matrices = text.has_matrices();
    let text = wgsl::compose(kernel, text.source, &[])?;
    let parsed = wgsl::parse(kernel, &text)?;
    if !parsed.entries.iter().any(|known| known.name == entry) {
        let names: Vec<&str> = parsed.entries.iter().map(|known| known.name.as_str()).collect();
        let remedy = format!("use one of {}", names.join(", "));
        return Err(Error::input("no such entry point", entry, remedy).of(ErrorKind::Kernel));
    }
    let stage = ShaderStage::Compute;
    let constants = Default::default();
    let (module, info) = process_overrides(&parsed.module, &parsed.info, Some((stage, entry)), &constants)
        .map_err(|error| fail(&error))?;
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    let policies = BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, ..Default::default() };
    let point = Some((stage, entry.to_owned()));
    match target {
        Target::Wgsl => Ok(text.into_bytes()),
        Target::Spirv => {
            let plain = spv::Options::default();
            let options = spv::Options {
                // The least that knows the memory model of matrices, else the least that there is.
                lang_version: if has_matrices { (1, 3) } else { plain.lang_version },
                bounds_check_policies: policies,
                force_loop_bounding: checked,
                zero_initialize_workgroup_memory: match checked {
                    true => spv::ZeroInitializeWorkgroupMemoryMode::Polyfill,
                    false => spv::ZeroInitializeWorkgroupMemoryMode::None,
                },
                emit_int_div_checks: checked,
                ..plain
            };
            let point = spv::PipelineOptions { shader_stage: stage, entry_point: entry.to_owned() };
            let words = spv::write_vec(&module, &info, &options, Some(&point)).map_err(|error| fail(&error))?;
            Ok(bytemuck::cast_slice(&words).to_vec())
        }
        Target::Msl => {
            let options = msl::Options {
                lang_version: (2, 4),
                bounds_check_policies: policies,
                force_loop_bounding: checked,
                zero_initialize_workgroup_memory: checked,
                emit_int_div_checks: checked,
                ..msl::Options::default()
            };
            let point = msl::PipelineOptions { entry_point: point, ..msl::PipelineOptions::default() };
            let (text, _) = msl::write_string(&module, &info, &options, &point).map_err(|error| fail(&error))?;
            Ok(text.into_bytes())
        }
        Target::Hlsl => {
            if has_matrices {
                // naga's writer may not return from these.
                return Err(fail(&"cooperative matrices"));
            }
            let options = hlsl::Options {
                shader_model: hlsl::ShaderModel::V6_0,
                restrict_indexing: checked,
                force_loop_bounding: checked,
                zero_initialize_workgroup_memory: checked,
                ..hlsl::Options::default()
            };
            let point = hlsl::PipelineOptions { entry_point: point };
            let mut text = String::new();
            let mut writer = hlsl::Writer::new(&mut text, &options, &point);
            writer.write(&module, &info, None).map_err(|error| fail(&error))?;
            Ok(text.into_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workshop::catalogue::{kernel, ops, sources, text_of};

    #[test]
    fn every_entry_point_can_be_written_in_every_language_with_checks_and_without() {
        let mut failures = Vec::new();
        for kernel in ops().flat_map(|op| op.kernels) {
            for (text, entry) in sources(*kernel).into_iter().flat_map(|text| entries_in(kernel.name(), text)) {
                for target in Target::ALL.into_iter().filter(|target| target.expresses(&text)) {
                    for checked in [true, false] {
                        match translate(kernel.name(), &text, &entry, target, checked) {
                            Ok(text) => assert!(!text.is_empty()),
                            Err(error) => failures.push(error.to_string()),
                        }
                    }
                }
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    fn entries_in<'a>(kernel: &str, text: Text<'a>) -> Vec<(Text<'a>, String)> {
        let parsed = wgsl::parse(kernel, &wgsl::compose(kernel, text.source, &[]).unwrap()).unwrap();
        parsed.entries.into_iter().map(|entry| (text, entry.name)).collect()
    }

    #[test]
    fn a_wrong_entry_point_or_language_names_those_that_there_are() {
        let (_, conv) = kernel("conv2d").unwrap();
        let error = translate("conv2d", &text_of(conv, None).unwrap(), "quad", Target::Spirv, true).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("quads"), "{error}");
        assert!("glsl".parse::<Target>().unwrap_err().to_string().contains("hlsl"));
    }
}
