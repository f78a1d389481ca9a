//! A GPU as a device: wgpu buffers, cached pipelines and bind groups, launches recorded and submitted in batches.

use crate::engine::device::kernel::{AnyKernel, Constants, GpuInfo, Plan};
use crate::engine::device::pool::Pool;
use crate::engine::device::profile::LaunchTime;
use crate::engine::device::wgsl::{self, Binding, BindingKind, kernel_error};
use crate::engine::device::{Storage, View, describe, foreign};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Parameter blocks that one submission can hold.
const RING_SLOTS: usize = 256;
/// A submission is cut after this much estimated work, so that none runs into a driver's watchdog.
const SUBMIT_FLOPS: f64 = 2e10;
/// Bind groups that are kept before the cache starts anew.
const BIND_GROUPS_KEPT: usize = 8192;

/// A GPU buffer with a number that no other buffer of the process has.
pub(super) struct Memory {
    buffer: wgpu::Buffer,
    id: u64,
}

pub(super) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    adapter_info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    info: GpuInfo,
    /// A driver's complaint that no call was waiting for.
    complaint: Arc<Mutex<Option<String>>>,
    pool: Mutex<Pool<Memory>>,
    next_id: AtomicU64,
    recorder: Mutex<Recorder>,
}

/// A copy to the host under way.
pub(super) struct GpuRead {
    device: wgpu::Device,
    complaint: Arc<Mutex<Option<String>>>,
    staging: wgpu::Buffer,
    submission: Option<wgpu::SubmissionIndex>,
    mapped: std::sync::mpsc::Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl GpuRead {
    /// Waits for the copy, and for nothing that was recorded after it.
    pub fn finish(self) -> Result<Vec<f32>> {
        let wait = wgpu::PollType::Wait { submission_index: self.submission, timeout: None };
        self.device.poll(wait).map_err(lost)?;
        check(&self.complaint)?;
        self.mapped.recv().map_err(lost)?.map_err(lost)?;
        let data = bytemuck::pod_collect_to_vec(&self.staging.get_mapped_range(..).map_err(lost)?);
        self.staging.unmap();
        Ok(data)
    }
}

/// Reports what a driver complained about since the last check.
fn check(complaint: &Mutex<Option<String>>) -> Result<()> {
    match lock(complaint).take() {
        Some(message) => Err(lost(message)),
        None => Ok(()),
    }
}

/// Everything a launch changes; one lock for all of it.
struct Recorder {
    /// By the hash of what makes a pipeline; those of one hash are told apart by the whole of it.
    pipelines: HashMap<u64, Vec<Arc<Compiled>>>,
    bind_groups: HashMap<BindGroupKey, wgpu::BindGroup>,
    layouts: HashMap<Vec<Binding>, (u64, wgpu::BindGroupLayout)>,
    encoder: Option<wgpu::CommandEncoder>,
    /// Parameter blocks of the launches recorded since the last submission.
    params: Vec<u8>,
    ring: wgpu::Buffer,
    flops: f64,
    profile: Option<Profile>,
}

/// Layout number and, per binding, buffer number, byte offset and size.
type BindGroupKey = (u64, Vec<(u64, u64, u64)>);

/// A pipeline and all that it follows from: text, entry point, constants, whether the driver's checks are on. Never a name: two texts of
/// one name have two pipelines.
struct Compiled {
    source: String,
    entry: String,
    constants: Vec<(&'static str, f64)>,
    trusted: bool,
    label: String,
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    layout_id: u64,
    bindings: Vec<Binding>,
}

/// Launch times by waiting for each launch, which is right on every adapter. The cost of a submission and a wait, some
/// tens of microseconds, is in every figure.
struct Profile {
    times: Vec<LaunchTime>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lost(message: impl std::fmt::Display) -> Error {
    let text = message.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::failed("the GPU stopped working", text, "run `huetape doctor`, lower ⟨batch⟩, or use ⟨device⟩ cpu")
}

impl Gpu {
    pub fn new(adapter: wgpu::Adapter) -> Result<Self> {
        let adapter_info = adapter.get_info();
        let limits = adapter.limits();
        let descriptor =
            wgpu::DeviceDescriptor { label: Some("huetape"), required_limits: limits.clone(), ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(lost)?;
        let complaint = Arc::new(Mutex::new(None));
        let sink = complaint.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&sink).get_or_insert_with(|| error.to_string());
        }));
        let sink = complaint.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lock(&sink).get_or_insert_with(|| format!("device lost: {message}"));
            }
        });
        let align = limits.min_uniform_buffer_offset_alignment.max(256) as u64;
        let ring = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: align * RING_SLOTS as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let info = GpuInfo {
            software: adapter_info.device_type == wgpu::DeviceType::Cpu,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
        };
        Ok(Gpu {
            device,
            queue,
            adapter_info,
            limits,
            info,
            complaint,
            pool: Mutex::new(Pool::new(None)),
            next_id: AtomicU64::new(1),
            recorder: Mutex::new(Recorder {
                pipelines: HashMap::new(),
                bind_groups: HashMap::new(),
                layouts: HashMap::new(),
                encoder: None,
                params: Vec::new(),
                ring,
                flops: 0.0,
                profile: None,
            }),
        })
    }

    pub fn name(&self) -> String {
        format!("{} ({})", self.adapter_info.name, self.adapter_info.backend)
    }

    pub fn info(&self) -> &GpuInfo {
        &self.info
    }

    pub fn max_binding_bytes(&self) -> u64 {
        // Indices in kernels have 32 bits, whatever the adapter can bind.
        let most = u64::from(u32::MAX) & !3;
        self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size).min(most)
    }

    pub fn pool(&self) -> MutexGuard<'_, Pool<Memory>> {
        lock(&self.pool)
    }

    pub fn alloc(&self, class: u64) -> Result<Memory> {
        // A size class may pass the limit that the request itself keeps.
        let bytes = class.min(self.limits.max_buffer_size);
        let create = || {
            let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: bytes,
                usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            match pollster::block_on(scope.pop()) {
                None => Ok(Memory { buffer, id: self.next_id.fetch_add(1, Ordering::Relaxed) }),
                Some(_) => Err(Error::failed(
                    format!("the GPU has no {} more", crate::engine::device::human_bytes(bytes)),
                    &self.adapter_info.name,
                    "take a smaller batch, tile, picture or width",
                )),
            }
        };
        let taken = self.pool().take(class, create);
        match taken {
            Err(_) if self.pool().trim() => {
                // Bind groups hold their buffers, and so do submissions that have not ended.
                let mut recorder = lock(&self.recorder);
                recorder.bind_groups.clear();
                self.flush(&mut recorder)?;
                drop(recorder);
                self.wait()?;
                self.pool().take(class, create)
            }
            taken => taken,
        }
    }

    pub fn free(&self, class: u64, memory: Memory) {
        self.pool().give_back(class, memory);
    }

    /// Submits what is recorded; the number of the submission, if there was anything to submit.
    fn flush(&self, recorder: &mut Recorder) -> Result<Option<wgpu::SubmissionIndex>> {
        let mut submission = None;
        if let Some(encoder) = recorder.encoder.take() {
            if !recorder.params.is_empty() {
                self.queue.write_buffer(&recorder.ring, 0, &recorder.params);
                recorder.params.clear();
            }
            submission = Some(self.queue.submit([encoder.finish()]));
            recorder.flops = 0.0;
        }
        check(&self.complaint)?;
        Ok(submission)
    }

    fn wait(&self) -> Result<()> {
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(lost)?;
        check(&self.complaint)
    }

    pub fn sync(&self) -> Result<()> {
        self.flush(&mut lock(&self.recorder))?;
        self.wait()
    }

    pub fn write(&self, memory: &Memory, offset: usize, data: &[f32]) -> Result<()> {
        // A write of the queue runs before the next submission: what is recorded must go first.
        self.flush(&mut lock(&self.recorder))?;
        self.queue.write_buffer(&memory.buffer, offset as u64 * 4, bytemuck::cast_slice(data));
        Ok(())
    }

    /// Starts a copy to the host of what a buffer holds at this point of the recording.
    pub fn start_read(&self, memory: &Memory, offset: usize, len: usize) -> Result<GpuRead> {
        let bytes = len as u64 * 4;
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read-back"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut recorder = lock(&self.recorder);
        let encoder = self.encoder(&mut recorder);
        encoder.copy_buffer_to_buffer(&memory.buffer, offset as u64 * 4, &staging, 0, bytes);
        let submission = self.flush(&mut recorder)?;
        let (sender, mapped) = std::sync::mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The reader may have gone; then nobody wants the answer.
            let _ = sender.send(result);
        });
        Ok(GpuRead { device: self.device.clone(), complaint: self.complaint.clone(), staging, submission, mapped })
    }

    fn encoder<'a>(&self, recorder: &'a mut Recorder) -> &'a mut wgpu::CommandEncoder {
        recorder.encoder.get_or_insert_with(|| self.device.create_command_encoder(&Default::default()))
    }

    pub fn launch(&self, kernel: &dyn AnyKernel, params: &[u8], plan: &Plan, args: &[&View], ins: usize) -> Result<()> {
        let mut recorder = lock(&self.recorder);
        let recorder = &mut *recorder;
        let align = self.limits.min_uniform_buffer_offset_alignment.max(256) as usize;
        if recorder.params.len() + align > align * RING_SLOTS
            || (recorder.flops > 0.0 && recorder.flops + plan.flops > SUBMIT_FLOPS)
        {
            self.flush(recorder)?;
        }
        if recorder.profile.is_some() {
            self.flush(recorder)?;
            self.wait()?;
        }
        let start = Instant::now();
        let param_offset = recorder.params.len() as u32;
        recorder.params.extend_from_slice(params);
        recorder.params.resize(recorder.params.len().next_multiple_of(align), 0);
        recorder.flops += plan.flops;
        for dispatch in &plan.dispatches {
            let compiled = self.compiled(recorder, kernel, &dispatch.entry, &dispatch.constants)?;
            let group = self.bind_group(recorder, &compiled, params.len(), args, ins)?;
            let encoder = self.encoder(recorder);
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(&compiled.label),
                timestamp_writes: None,
            });
            pass.set_pipeline(&compiled.pipeline);
            let dynamic = [param_offset];
            let has_params = matches!(compiled.bindings.first(), Some(Binding { number: 0, .. }));
            pass.set_bind_group(0, &group, if has_params { &dynamic } else { &[] });
            let [x, y, z] = dispatch.groups;
            pass.dispatch_workgroups(x, y, z);
        }
        if recorder.profile.is_some() {
            self.flush(recorder)?;
            self.wait()?;
            if let Some(profile) = &mut recorder.profile {
                let (ins, outs) = args.split_at(ins);
                profile.times.push(LaunchTime {
                    kernel: kernel.name().to_owned(),
                    shapes: describe(ins, &[], outs),
                    seconds: start.elapsed().as_secs_f64(),
                });
            }
        }
        Ok(())
    }

    fn bind_group(
        &self,
        recorder: &mut Recorder,
        compiled: &Compiled,
        param_bytes: usize,
        args: &[&View],
        ins: usize,
    ) -> Result<wgpu::BindGroup> {
        let fail = |message: String| {
            let (read, written) = args.split_at(ins);
            kernel_error(&compiled.label, format!("{message} in {}", describe(read, &[], written)))
        };
        let mut places = Vec::with_capacity(compiled.bindings.len());
        for binding in &compiled.bindings {
            match binding.kind {
                BindingKind::Uniform { bytes } => {
                    if binding.number != 0 || bytes as usize != param_bytes {
                        return Err(fail(format!(
                            "the text's parameters take {bytes} bytes, the host's {param_bytes}"
                        )));
                    }
                }
                BindingKind::Storage { writable } => {
                    let index = (binding.number as usize).wrapping_sub(1);
                    let Some(view) = args.get(index) else {
                        return Err(fail(format!(
                            "the text has a binding {}, the launch {}",
                            binding.number,
                            args.len()
                        )));
                    };
                    if writable != (index >= ins) {
                        return Err(fail(format!(
                            "text and launch differ on whether binding {} is written",
                            binding.number
                        )));
                    }
                    let Some(Storage::Gpu(memory)) = &view.buffer.storage else { return Err(foreign(view)) };
                    places.push((memory.id, view.offset as u64 * 4, view.len() as u64 * 4));
                }
            }
        }
        let key = (compiled.layout_id, places);
        if let Some(group) = recorder.bind_groups.get(&key) {
            return Ok(group.clone());
        }
        let mut entries = Vec::with_capacity(compiled.bindings.len());
        for binding in &compiled.bindings {
            let (buffer, offset, bytes) = if binding.number == 0 {
                (&recorder.ring, 0, param_bytes as u64)
            } else {
                let view = args[binding.number as usize - 1];
                let Some(Storage::Gpu(memory)) = &view.buffer.storage else { return Err(foreign(view)) };
                (&memory.buffer, view.offset as u64 * 4, view.len() as u64 * 4)
            };
            entries.push(wgpu::BindGroupEntry {
                binding: binding.number,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset,
                    size: std::num::NonZero::new(bytes),
                }),
            });
        }
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&compiled.label),
            layout: &compiled.layout,
            entries: &entries,
        });
        if recorder.bind_groups.len() >= BIND_GROUPS_KEPT {
            recorder.bind_groups.clear();
        }
        recorder.bind_groups.insert(key, group.clone());
        Ok(group)
    }

    fn compiled(
        &self,
        recorder: &mut Recorder,
        kernel: &dyn AnyKernel,
        entry: &str,
        constants: &Constants,
    ) -> Result<Arc<Compiled>> {
        let key = hash(kernel, entry, constants);
        let same = |known: &&Arc<Compiled>| {
            known.source == kernel.source()
                && known.entry == entry
                && known.constants == constants
                && known.trusted == kernel.trusted()
        };
        if let Some(compiled) = recorder.pipelines.get(&key).and_then(|known| known.iter().find(same)) {
            return Ok(compiled.clone());
        }
        let compiled = Arc::new(self.compile(recorder, kernel, entry, constants)?);
        recorder.pipelines.entry(key).or_default().push(compiled.clone());
        Ok(compiled)
    }

    fn compile(
        &self,
        recorder: &mut Recorder,
        kernel: &dyn AnyKernel,
        entry: &str,
        constants: &Constants,
    ) -> Result<Compiled> {
        let variant: String = constants.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let label = format!("{}/{entry}{variant}", kernel.name());
        let text = wgsl::compose(kernel.name(), kernel.source(), constants)?;
        let parsed = wgsl::parse(&label, &text)?;
        let bindings = parsed
            .entries
            .iter()
            .find(|known| known.name == entry)
            .ok_or_else(|| kernel_error(&label, "the text has no such entry point"))?
            .bindings
            .clone();
        let overrides: Vec<(&str, f64)> = constants
            .iter()
            .filter(|(name, _)| parsed.module.overrides.iter().any(|(_, o)| o.name.as_deref() == Some(*name)))
            .copied()
            .collect();

        // What a driver's compiler refuses is an internal error, what wgpu refuses a validation error.
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let next_layout = recorder.layouts.len() as u64;
        let (layout_id, layout) = recorder
            .layouts
            .entry(bindings.clone())
            .or_insert_with(|| (next_layout, self.layout(&label, &bindings)))
            .clone();
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Naga(std::borrow::Cow::Owned(parsed.module)),
        };
        let module = if kernel.trusted() && !cfg!(debug_assertions) {
            trusted_module(&self.device, descriptor)
        } else {
            self.device.create_shader_module(descriptor)
        };
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &overrides,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        let refused = pollster::block_on(validation.pop());
        match pollster::block_on(internal.pop()).or(refused) {
            None => Ok(Compiled {
                source: kernel.source().to_owned(),
                entry: entry.to_owned(),
                constants: constants.to_vec(),
                trusted: kernel.trusted(),
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

    fn layout(&self, label: &str, bindings: &[Binding]) -> wgpu::BindGroupLayout {
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
                    BindingKind::Storage { writable } => wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Storage { read_only: !writable },
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                },
                count: None,
            })
            .collect();
        self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries })
    }

    pub fn start_profile(&self) -> Result<()> {
        self.sync()?;
        lock(&self.recorder).profile = Some(Profile { times: Vec::new() });
        Ok(())
    }

    pub fn stop_profile(&self) -> Result<Vec<LaunchTime>> {
        self.sync()?;
        Ok(lock(&self.recorder).profile.take().map(|profile| profile.times).unwrap_or_default())
    }
}

/// The hash of what a pipeline follows from.
fn hash(kernel: &dyn AnyKernel, entry: &str, constants: &Constants) -> u64 {
    let mut hasher = DefaultHasher::new();
    kernel.source().hash(&mut hasher);
    entry.hash(&mut hasher);
    for (name, value) in constants {
        name.hash(&mut hasher);
        value.to_bits().hash(&mut hasher);
    }
    kernel.trusted().hash(&mut hasher);
    hasher.finish()
}

/// A shader module without bounds checks, loop bounding and division checks.
#[allow(unsafe_code, reason = "kernels marked `trusted` have proved their extents on the host before every launch")]
fn trusted_module(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: the text is one of this crate's kernels, not a user's. Its launch code has checked that every index it
    // forms lies within the shapes bound, its loops are bounded by those shapes, and its divisors are sizes of at least
    // one. Tests run the same text with all checks on.
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
