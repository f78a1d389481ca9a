//! Pipelines of a GPU, each compiled once.

use crate::engine::device::kernel::{Constants, Text};
use crate::engine::device::wgsl::{self, Binding, BindingKind, kernel_error};
use crate::error::Result;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A pipeline and all that it follows from: text, entry point, constants, whether the driver's checks are on. Never a
/// name: two texts of one name have two pipelines.
pub(super) struct Compiled {
    source: String,
    entry: String,
    constants: Vec<(&'static str, f64)>,
    checked: bool,
    pub label: String,
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    pub layout_id: u64,
    pub bindings: Vec<Binding>,
}

impl Compiled {
    fn is_of(&self, text: &Text<'_>, entry: &str, constants: &Constants, checked: bool) -> bool {
        self.source == text.source && self.entry == entry && self.constants == constants && self.checked == checked
    }
}

/// The pipelines of a device.
pub(super) struct Pipelines {
    /// Whether kernels that have proved their extents run with the driver's checks all the same.
    pub check_all: bool,
    /// By the hash of what they follow from; those of one hash are told apart by the whole of it.
    compiled: HashMap<u64, Vec<Arc<Compiled>>>,
    layouts: HashMap<Vec<Binding>, (u64, wgpu::BindGroupLayout)>,
}

impl Default for Pipelines {
    fn default() -> Self {
        let asked = std::env::var_os("HUETAPE_CHECKED").is_some_and(|value| value == "1");
        Pipelines { check_all: asked || cfg!(debug_assertions), compiled: HashMap::new(), layouts: HashMap::new() }
    }
}

impl Pipelines {
    /// The pipeline of an entry point with these constants, compiled unless there is one already.
    ///
    /// # Errors
    /// A text that does not parse, has no such entry point or constant, or is refused by the driver.
    pub fn get(
        &mut self,
        device: &wgpu::Device,
        kernel: &str,
        text: &Text<'_>,
        entry: &str,
        constants: &Constants,
    ) -> Result<Arc<Compiled>> {
        let checked = self.check_all || !text.is_proved();
        let key = hash(text, entry, constants, checked);
        let known = self.compiled.get(&key).into_iter().flatten();
        if let Some(compiled) = known.into_iter().find(|known| known.is_of(text, entry, constants, checked)) {
            return Ok(compiled.clone());
        }
        let compiled = Arc::new(self.compile(device, kernel, text, entry, constants, checked)?);
        self.compiled.entry(key).or_default().push(compiled.clone());
        Ok(compiled)
    }

    fn compile(
        &mut self,
        device: &wgpu::Device,
        kernel: &str,
        text: &Text<'_>,
        entry: &str,
        constants: &Constants,
        checked: bool,
    ) -> Result<Compiled> {
        let variant: String = constants.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let label = format!("{kernel}/{entry}{variant}");
        let composed = wgsl::compose(kernel, text.source, constants)?;
        let parsed = wgsl::parse(&label, &composed)?;
        let bindings = parsed
            .entries
            .iter()
            .find(|known| known.name == entry)
            .ok_or_else(|| kernel_error(&label, "the text has no such entry point"))?
            .bindings
            .clone();
        let overrides = wgsl::overrides(&label, &parsed.module, constants)?;
        let overrides: Vec<(&str, f64)> = overrides.iter().map(|(key, value)| (key.as_str(), *value)).collect();

        // What a driver's compiler refuses is an internal error, what wgpu refuses a validation error.
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let next_layout = self.layouts.len() as u64;
        let (layout_id, layout) = self
            .layouts
            .entry(bindings.clone())
            .or_insert_with(|| (next_layout, layout_of(device, &label, &bindings)))
            .clone();
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(parsed.module)),
        };
        let module = match checked {
            true => device.create_shader_module(descriptor),
            false => trusted_module(device, descriptor),
        };
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &overrides,
                // Every kernel of this crate writes its workgroup memory before it reads it; of others nobody knows.
                zero_initialize_workgroup_memory: checked,
            },
            cache: None,
        });
        let refused = pollster::block_on(validation.pop());
        match pollster::block_on(internal.pop()).or(refused) {
            None => Ok(Compiled {
                source: text.source.to_owned(),
                entry: entry.to_owned(),
                constants: constants.to_vec(),
                checked,
                label,
                pipeline,
                layout,
                layout_id,
                bindings,
            }),
            Some(error) => {
                Err(kernel_error(&label, error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")))
            }
        }
    }
}

/// A hash of what a pipeline follows from. Of the text it takes the length alone: this runs at each launch, and the
/// whole text is compared in any case.
fn hash(text: &Text<'_>, entry: &str, constants: &Constants, checked: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    (text.source.len(), entry, checked).hash(&mut hasher);
    constants.iter().for_each(|(name, value)| (name, value.to_bits()).hash(&mut hasher));
    hasher.finish()
}

fn layout_of(device: &wgpu::Device, label: &str, bindings: &[Binding]) -> wgpu::BindGroupLayout {
    let entries: Vec<_> = bindings
        .iter()
        .map(|binding| wgpu::BindGroupLayoutEntry {
            binding: binding.number,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: match binding.kind {
                BindingKind::Uniform { bytes } => wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Uniform,
                    has_dynamic_offset: true,
                    min_binding_size: std::num::NonZero::new(u64::from(bytes)),
                },
                BindingKind::Storage { writable, .. } => wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: !writable },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
            },
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries })
}

/// A shader module without bounds checks, loop bounding and division checks.
#[allow(unsafe_code, reason = "kernels marked `trusted` have proved their extents on the host before every launch")]
fn trusted_module(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: the text is one of this crate's kernels, not a user's. Its launch code has checked that every index it
    // forms lies within the shapes bound, its loops are bounded by those shapes, and its divisors are sizes of at least
    // one. Tests run the same text with all checks on.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
