//! Launches recorded for the next submission.

use crate::engine::device::gpu::memory::Memory;
use crate::engine::device::gpu::pipelines::{Compiled, Pipelines, compile_all};
use crate::engine::device::gpu::stamps::Stamps;
use crate::engine::device::host_work::HostWork;
use crate::engine::device::region::{Region, describe};
use crate::engine::device::wgsl::{BindingKind, kernel_error};
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Parameter blocks that one submission can hold.
const RING_SLOTS: usize = 1024;
/// Bind groups that are kept before the cache starts anew.
const BIND_GROUPS_KEPT: usize = 8192;

/// Layout number and, per binding, buffer number, byte offset and size.
type BindGroupKey = (u64, Vec<(u64, u64, u64)>);

/// Everything a launch changes; one lock for all of it.
pub(super) struct Recorder {
    pub pipelines: Pipelines,
    bind_groups: HashMap<BindGroupKey, wgpu::BindGroup>,
    encoder: Option<wgpu::CommandEncoder>,
    /// Dispatches that are to be encoded: not before all of their pipelines can be compiled side by side.
    waiting: Vec<Waiting>,
    /// Numbers of the buffers that the recorded launches use.
    used: HashSet<u64>,
    /// Parameter blocks of the launches recorded since the last submission.
    params: Vec<u8>,
    ring: wgpu::Buffer,
    /// Whether a recorded launch reads its block there.
    in_ring: bool,
    /// Bytes from one parameter block to the next.
    align: usize,
    /// Estimated work of what is recorded, in floating-point operations.
    pub cost: f64,
    /// Bytes behind a buffer's elements that are bound with them.
    pub guard_bytes: u64,
    /// Bytes that a binding can have.
    most_bytes: u64,
    /// What has been recorded and submitted so far.
    pub work: HostWork,
    /// Whether each launch is waited for, to be timed by the clock.
    pub clocked: bool,
    /// While launches are timed by the GPU, its timestamps: then each dispatch has a pass of its own.
    pub stamps: Option<Stamps>,
}

impl Recorder {
    pub fn new(device: &wgpu::Device, fix_sizes: bool) -> Self {
        let align = device.limits().min_uniform_buffer_offset_alignment.max(256) as usize;
        let ring = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: (align * RING_SLOTS) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Recorder {
            pipelines: Pipelines::new(device, fix_sizes),
            bind_groups: HashMap::new(),
            encoder: None,
            waiting: Vec::new(),
            used: HashSet::new(),
            params: Vec::new(),
            ring,
            in_ring: false,
            align,
            cost: 0.0,
            guard_bytes: 0,
            most_bytes: device.limits().max_storage_buffer_binding_size,
            work: HostWork::default(),
            clocked: false,
            stamps: None,
        }
    }

    /// The encoder of what is recorded, for anything but dispatches.
    ///
    /// # Errors
    /// As [`Recorder::encode`].
    pub fn encoder(&mut self, device: &wgpu::Device) -> Result<&mut wgpu::CommandEncoder> {
        self.encode(device)?;
        Ok(self.encoder.get_or_insert_with(|| device.create_command_encoder(&Default::default())))
    }

    /// Encodes the dispatches that wait, and compiles the pipelines that they lack.
    ///
    /// # Errors
    /// A text that the driver refuses; nothing of what was recorded is left then.
    pub fn encode(&mut self, device: &wgpu::Device) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let cache = self.pipelines.cache.as_ref();
        if let Err(error) = compile_all(device, cache, waiting.iter().map(|dispatch| &dispatch.compiled)) {
            (self.encoder, self.cost, self.in_ring) = (None, 0.0, false);
            self.params.clear();
            self.used.clear();
            return Err(error);
        }
        let encoder = self.encoder.get_or_insert_with(|| device.create_command_encoder(&Default::default()));
        let mut open = None;
        for Waiting { compiled, group, params, groups: [x, y, z] } in &waiting {
            let pass = open.get_or_insert_with(|| {
                self.work.passes += 1;
                let timestamp_writes = self.stamps.as_mut().map(Stamps::next);
                let descriptor = wgpu::ComputePassDescriptor { label: Some("launches"), timestamp_writes };
                encoder.begin_compute_pass(&descriptor).forget_lifetime()
            });
            pass.set_pipeline(compiled.pipeline(device, cache)?);
            if compiled.immediate_bytes > 0 {
                pass.set_immediates(0, &self.params[params.clone()]);
            }
            let in_ring = compiled.has_params() && compiled.immediate_bytes == 0;
            let dynamic = [params.start as u32];
            pass.set_bind_group(0, group, if in_ring { &dynamic } else { &[] });
            pass.dispatch_workgroups(*x, *y, *z);
            if self.stamps.is_some() {
                open = None;
            }
        }
        self.work.seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Submits what is recorded; the number of the submission, if there was anything to submit.
    ///
    /// # Errors
    /// As [`Recorder::encode`].
    pub fn submit(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Option<wgpu::SubmissionIndex>> {
        self.encode(device)?;
        self.used.clear();
        let Some(encoder) = self.encoder.take() else { return Ok(None) };
        let start = Instant::now();
        self.work.submissions += 1;
        if std::mem::take(&mut self.in_ring) {
            queue.write_buffer(&self.ring, 0, &self.params);
        }
        self.params.clear();
        self.cost = 0.0;
        let commands = encoder.finish();
        self.work.seconds += start.elapsed().as_secs_f64();
        // Some drivers let a submission wait for the one before it: that is no work of the host.
        let submission = queue.submit([commands]);
        if let Some(stamps) = &mut self.stamps {
            stamps.submitted(queue);
        }
        Ok(Some(submission))
    }

    /// Whether a recorded launch uses this buffer.
    pub fn uses(&self, memory: &Memory) -> bool {
        self.used.contains(&memory.id)
    }

    /// Whether one more launch with this block and so many dispatches fits the submission that is recorded.
    pub fn has_room(&self, params: &[u8], dispatches: usize) -> bool {
        let stamped = self.stamps.as_ref().is_none_or(|stamps| stamps.has_room(self.waiting.len() + dispatches));
        stamped
            && self.params.len() + params.len().next_multiple_of(self.align).max(self.align) <= self.align * RING_SLOTS
    }

    /// Places a parameter block; its offset in the ring.
    ///
    /// # Errors
    /// A block that is larger than the ring.
    pub fn push_params(&mut self, kernel: &str, params: &[u8]) -> Result<u32> {
        if !self.has_room(params, 0) {
            let most = self.align * RING_SLOTS;
            return Err(kernel_error(kernel, format!("{} bytes of parameters, {most} at most", params.len())));
        }
        let offset = self.params.len() as u32;
        self.params.extend_from_slice(params);
        self.params.resize(self.params.len().next_multiple_of(self.align), 0);
        Ok(offset)
    }

    /// Forgets the bind groups that hold one of these buffers, so that the buffers can go.
    pub fn forget(&mut self, buffers: &[Memory]) {
        if !buffers.is_empty() {
            let gone = |id: &u64| buffers.iter().any(|memory| memory.id == *id);
            self.bind_groups.retain(|(_, places), _| !places.iter().any(|(id, _, _)| gone(id)));
        }
    }

    /// Records one dispatch.
    ///
    /// # Errors
    /// Buffers that do not match the bindings of the text.
    pub fn dispatch(
        &mut self,
        device: &wgpu::Device,
        compiled: Arc<Compiled>,
        launch: &Launch<'_>,
        groups: [u32; 3],
    ) -> Result<()> {
        let group = self.bind_group(device, &compiled, launch)?;
        self.work.dispatches += 1;
        self.used.extend(launch.args.iter().map(|region| region.memory.id));
        self.in_ring |= compiled.has_params() && compiled.immediate_bytes == 0;
        let first = launch.param_offset as usize;
        self.waiting.push(Waiting { compiled, group, params: first..first + launch.param_bytes, groups });
        Ok(())
    }

    /// Offset and number of the bytes that are bound for a region.
    fn bound(&self, region: &Region<'_, Memory>) -> (u64, u64) {
        let offset = region.byte_offset();
        let (bytes, rest) = (region.bytes(), region.memory.buffer.size() - offset);
        (offset, (bytes + self.guard_bytes).min(rest).min(self.most_bytes.max(bytes)))
    }

    fn bind_group(
        &mut self,
        device: &wgpu::Device,
        compiled: &Compiled,
        launch: &Launch<'_>,
    ) -> Result<wgpu::BindGroup> {
        let fail = |message: String| launch.error(&format!("{message} in {}", launch.shapes()));
        let mut places = Vec::with_capacity(compiled.bindings.len());
        for binding in &compiled.bindings {
            match binding.kind {
                BindingKind::Uniform { bytes } => {
                    if binding.number != 0 || bytes as usize != launch.param_bytes {
                        let host = launch.param_bytes;
                        return Err(fail(format!("the text's parameters take {bytes} bytes, the host's {host}")));
                    }
                }
                BindingKind::Storage { writable, least_bytes } => {
                    let index = (binding.number as usize).wrapping_sub(1);
                    let Some(region) = launch.args.get(index) else {
                        let (number, buffers) = (binding.number, launch.args.len());
                        return Err(fail(format!("the text has a binding {number}, the launch {buffers} buffers")));
                    };
                    if writable != (index >= launch.ins) {
                        let number = binding.number;
                        return Err(fail(format!("text and launch differ on whether binding {number} is written")));
                    }
                    if region.bytes() < u64::from(least_bytes) {
                        let number = binding.number;
                        return Err(fail(format!("binding {number} takes {least_bytes} bytes or more")));
                    }
                    let (offset, bytes) = self.bound(region);
                    places.push((region.memory.id, offset, bytes));
                }
            }
        }
        let key = (compiled.layout_id, places);
        if let Some(group) = self.bind_groups.get(&key) {
            return Ok(group.clone());
        }
        let bound = &compiled.bindings[usize::from(compiled.immediate_bytes > 0)..];
        let mut entries = Vec::with_capacity(bound.len());
        for binding in bound {
            let (buffer, offset, bytes) = if binding.number == 0 {
                (&self.ring, 0, launch.param_bytes as u64)
            } else {
                let region = &launch.args[binding.number as usize - 1];
                let (offset, bytes) = self.bound(region);
                (&region.memory.buffer, offset, bytes)
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
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&compiled.label),
            layout: &compiled.layout,
            entries: &entries,
        });
        if self.bind_groups.len() >= BIND_GROUPS_KEPT {
            self.bind_groups.clear();
        }
        self.bind_groups.insert(key, group.clone());
        Ok(group)
    }
}

/// A dispatch that is recorded and not encoded yet.
struct Waiting {
    compiled: Arc<Compiled>,
    group: wgpu::BindGroup,
    /// Of its parameter block among those of the submission.
    params: Range<usize>,
    groups: [u32; 3],
}

/// What the dispatches of one launch share.
pub(super) struct Launch<'a> {
    /// Name of the kernel.
    pub kernel: &'a str,
    pub param_bytes: usize,
    /// Of the parameter block in the ring.
    pub param_offset: u32,
    /// Buffers in the order of their bindings, the `ins` first of which are only read.
    pub args: &'a [Region<'a, Memory>],
    pub ins: usize,
}

impl Launch<'_> {
    /// The shapes of its buffers.
    pub fn shapes(&self) -> String {
        let shapes: Vec<&[usize]> = self.args.iter().map(|region| region.shape).collect();
        let (read, written) = shapes.split_at(self.ins);
        describe(read, &[], written)
    }

    pub fn error(&self, message: &str) -> Error {
        kernel_error(self.kernel, message)
    }
}
