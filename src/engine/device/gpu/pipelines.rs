//! Pipelines of a GPU, each compiled once.

use crate::engine::device::gpu::fault::lock;
use crate::engine::device::gpu::pipeline_cache::PipelineCache;
use crate::engine::device::kernel::{Constants, Text};
use crate::engine::device::wgsl::{self, Binding, BindingKind, kernel_error};
use crate::error::Result;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// A pipeline and all that it follows from: text, entry point, constants, whether the driver's checks are on. Never a
/// name: two texts of one name have two pipelines.
pub(super) struct Compiled {
    source: String,
    /// Where the text lies, if it stays there for as long as the program runs.
    fixed: Option<[usize; 2]>,
    entry: String,
    constants: Vec<(&'static str, f64)>,
    checked: bool,
    pub label: String,
    pub layout: wgpu::BindGroupLayout,
    pub layout_id: u64,
    pub bindings: Vec<Binding>,
    /// Bytes of the parameter block where it goes into the commands themselves, 0 where it lies in the ring.
    pub immediate_bytes: u32,
    /// What there is to compile, until that is done.
    parsed: Mutex<Option<Parsed>>,
    /// Compiled, or why not, once it was asked for.
    pipeline: OnceLock<std::result::Result<wgpu::ComputePipeline, String>>,
}

/// A text and the values of its constants.
struct Parsed {
    module: naga::Module,
    overrides: Vec<(String, f64)>,
}

impl Compiled {
    fn is_of(&self, text: &Text<'_>, entry: &str, constants: &Constants, checked: bool) -> bool {
        let same = match text.is_fixed() {
            // No other text will ever lie there.
            true if self.fixed == Some(place(text)) => true,
            _ => self.source == text.source,
        };
        same && self.entry == entry && self.constants == constants && self.checked == checked
    }

    /// Whether the text has a parameter block.
    pub fn has_params(&self) -> bool {
        matches!(self.bindings.first(), Some(Binding { number: 0, .. }))
    }

    /// The pipeline, compiled unless it is already.
    ///
    /// # Errors
    /// What the driver refuses.
    pub fn pipeline(&self, device: &wgpu::Device, cache: Option<&PipelineCache>) -> Result<&wgpu::ComputePipeline> {
        let made = self.pipeline.get_or_init(|| match lock(&self.parsed).take() {
            Some(parsed) => self.compile(device, parsed, cache),
            None => Err("its text is gone".to_owned()),
        });
        made.as_ref().map_err(|message| kernel_error(&self.label, message))
    }

    fn compile(
        &self,
        device: &wgpu::Device,
        parsed: Parsed,
        cache: Option<&PipelineCache>,
    ) -> std::result::Result<wgpu::ComputePipeline, String> {
        let label = Some(self.label.as_str());
        // What a driver's compiler refuses is an internal error, what wgpu refuses a validation error.
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let source = wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(parsed.module));
        let descriptor = wgpu::ShaderModuleDescriptor { label, source };
        let module = match self.checked {
            true => device.create_shader_module(descriptor),
            false => trusted_module(device, descriptor),
        };
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&self.layout)],
            immediate_size: self.immediate_bytes,
        });
        let constants: Vec<(&str, f64)> = parsed.overrides.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some(&self.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // Every kernel of this crate writes its workgroup memory before it reads it; of others nobody knows.
                zero_initialize_workgroup_memory: self.checked,
            },
            cache: cache.map(PipelineCache::get),
        });
        let refused = pollster::block_on(validation.pop());
        match pollster::block_on(internal.pop()).or(refused) {
            None => Ok(pipeline),
            Some(error) => Err(error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")),
        }
    }
}

/// Compiles those that are not compiled yet, side by side on all cores.
///
/// # Errors
/// What the driver refuses.
pub(super) fn compile_all<'a>(
    device: &wgpu::Device,
    cache: Option<&PipelineCache>,
    wanted: impl Iterator<Item = &'a Arc<Compiled>>,
) -> Result<()> {
    let mut missing: Vec<&Arc<Compiled>> = wanted.filter(|compiled| compiled.pipeline.get().is_none()).collect();
    missing.sort_by_key(|compiled| Arc::as_ptr(compiled));
    missing.dedup_by_key(|compiled| Arc::as_ptr(compiled));
    if missing.is_empty() {
        // Nothing, mostly: and to ask how many cores there are takes longer than to record ten dispatches.
        return Ok(());
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(missing.len());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(compiled) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            // What was refused is told below.
            let _ = compiled.pipeline(device, cache);
        }
    };
    // Threads of their own: one of a pool that waits takes up other work, which may want the lock that is held here.
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where there is no thread more, this one does the work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    missing.iter().try_for_each(|compiled| compiled.pipeline(device, cache).map(drop))
}

/// The pipelines of a device.
pub(super) struct Pipelines {
    /// Whether kernels that have proved their extents run with the driver's checks all the same.
    pub check_all: bool,
    /// See [`Device::fix_sizes`](crate::engine::device::Device::fix_sizes).
    pub fix_sizes: bool,
    /// What is kept of them for the next process.
    pub cache: Option<PipelineCache>,
    /// The largest parameter block that a command can hold.
    most_immediate_bytes: u32,
    /// By the hash of what they follow from; those of one hash are told apart by the whole of it.
    compiled: HashMap<u64, Vec<Arc<Compiled>>>,
    layouts: HashMap<Vec<Binding>, (u64, wgpu::BindGroupLayout)>,
}

impl Pipelines {
    pub fn new(device: &wgpu::Device, fix_sizes: bool) -> Self {
        let asked = std::env::var_os("HUETAPE_CHECKED").is_some_and(|value| value == "1");
        Pipelines {
            check_all: asked || cfg!(debug_assertions),
            fix_sizes,
            cache: None,
            most_immediate_bytes: device.limits().max_immediate_size,
            compiled: HashMap::new(),
            layouts: HashMap::new(),
        }
    }

    /// What an entry point with these constants compiles to, see [`Compiled::pipeline`].
    ///
    /// # Errors
    /// A text that does not parse, or has no such entry point or constant.
    pub fn get(
        &mut self,
        device: &wgpu::Device,
        kernel: &str,
        text: &Text<'_>,
        entry: &str,
        constants: &Constants,
    ) -> Result<Arc<Compiled>> {
        let checked = self.check_all || !text.is_proved();
        let left: Vec<(&'static str, f64)>;
        let constants = match self.fix_sizes {
            true => constants,
            false => {
                left = constants.iter().filter(|(name, _)| !wgsl::is_field(name)).copied().collect();
                &left
            }
        };
        let key = hash(text, entry, constants, checked);
        let known = self.compiled.get(&key).into_iter().flatten();
        if let Some(compiled) = known.into_iter().find(|known| known.is_of(text, entry, constants, checked)) {
            return Ok(compiled.clone());
        }
        let compiled = Arc::new(self.parse(device, kernel, text, entry, constants, checked)?);
        self.compiled.entry(key).or_default().push(compiled.clone());
        Ok(compiled)
    }

    fn parse(
        &mut self,
        device: &wgpu::Device,
        kernel: &str,
        text: &Text<'_>,
        entry: &str,
        constants: &Constants,
        checked: bool,
    ) -> Result<Compiled> {
        let own = constants.iter().filter(|(name, _)| !wgsl::is_field(name));
        let variant: String = own.map(|(name, value)| format!(" {name}={value}")).collect();
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
        let mut module = parsed.module;
        let most = if device.features().contains(wgpu::Features::IMMEDIATES) { self.most_immediate_bytes } else { 0 };
        let immediate_bytes = match bindings.first() {
            Some(Binding { kind: BindingKind::Uniform { bytes }, .. }) if *bytes <= most => {
                as_immediate(&mut module);
                *bytes
            }
            _ => 0,
        };
        let bound = bindings[usize::from(immediate_bytes > 0)..].to_vec();
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let next_layout = self.layouts.len() as u64;
        let of_bound = |bound: &Vec<Binding>| (next_layout, layout_of(device, &label, bound));
        let (layout_id, layout) = self.layouts.entry(bound).or_insert_with_key(of_bound).clone();
        if let Some(error) = pollster::block_on(validation.pop()) {
            let message = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            return Err(kernel_error(&label, message));
        }
        Ok(Compiled {
            source: text.source.to_owned(),
            fixed: text.is_fixed().then(|| place(text)),
            entry: entry.to_owned(),
            constants: constants.to_vec(),
            checked,
            label,
            layout,
            layout_id,
            bindings,
            immediate_bytes,
            parsed: Mutex::new(Some(Parsed { module, overrides })),
            pipeline: OnceLock::new(),
        })
    }
}

/// Makes the parameter block one that goes into the commands themselves.
fn as_immediate(module: &mut naga::Module) {
    let blocks = module.global_variables.iter_mut().map(|(_, global)| global);
    for block in blocks.filter(|global| global.space == naga::AddressSpace::Uniform) {
        (block.space, block.binding) = (naga::AddressSpace::Immediate, None);
    }
}

fn place(text: &Text<'_>) -> [usize; 2] {
    [text.source.as_ptr().addr(), text.source.len()]
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
