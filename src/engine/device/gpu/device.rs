//! One GPU: its memory, its recorder, its queue.

use crate::engine::device::backend::GUARD;
use crate::engine::device::element::Element;
use crate::engine::device::gpu::adapter::{asked_for, note};
use crate::engine::device::gpu::fault::{Complaint, lock, lost, wait_for};
use crate::engine::device::gpu::matrices;
use crate::engine::device::gpu::memory::Memory;
use crate::engine::device::gpu::pace::Pace;
use crate::engine::device::gpu::pipeline_cache::PipelineCache;
use crate::engine::device::gpu::read::{Copy, GpuRead, Staging};
use crate::engine::device::gpu::recorder::{Launch, Recorder};
use crate::engine::device::gpu::stamps::{Stamped, Stamps};
use crate::engine::device::host_work::HostWork;
use crate::engine::device::kernel::{GpuInfo, Plan, Text};
use crate::engine::device::pool::{Held, Pool, Reuse};
use crate::engine::device::precision::Precision;
use crate::engine::device::profile::Timing;
use crate::engine::device::region::Region;
use crate::error::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// Floating-point operations that take as long as the copy of a byte, on most GPUs more: so much does a launch cost at
/// least for each byte that it is bound to.
const COST_OF_A_BYTE: f64 = 10.0;

/// An adapter on which nothing is multiplied in f16, for a reason.
fn no_f16(info: &wgpu::AdapterInfo, reason: &str) -> Error {
    let what = format!("{} does not multiply in f16: {reason}", info.name);
    Error::input(what, "⟨precision⟩ f16", "use ⟨precision⟩ f32, or another ⟨device⟩").of(ErrorKind::Device)
}

pub(in crate::engine::device) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    adapter_info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    info: GpuInfo,
    complaint: Complaint,
    pool: Mutex<Pool<Memory>>,
    recorder: Mutex<Recorder>,
    pace: Pace,
    staging: Staging,
}

impl Gpu {
    pub fn new(adapter: wgpu::Adapter, precision: Precision) -> Result<Self> {
        let adapter_info = adapter.get_info();
        let matrices = match precision {
            Precision::F32 => None,
            Precision::F16 => Some(matrices::matrices(&adapter).map_err(|reason| no_f16(&adapter_info, reason))?),
        };
        let limits = adapter.limits();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("huetape"),
            required_limits: limits.clone(),
            required_features: match matrices {
                None => asked_for(&adapter),
                Some(_) => asked_for(&adapter) | matrices::FEATURES,
            },
            experimental_features: matrices.map_or_else(Default::default, |_| matrices::experimental()),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(lost)?;
        let complaint = Complaint::default();
        complaint.listen(&device);
        let info = GpuInfo {
            software: adapter_info.device_type == wgpu::DeviceType::Cpu,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            matrices,
        };
        let recorder = Mutex::new(Recorder::new(&device, !info.software));
        let pool = Mutex::new(Pool::new(Reuse::Oldest, None));
        let (pace, staging) = (Pace::default(), Staging::default());
        Ok(Gpu { device, queue, adapter_info, limits, info, complaint, pool, recorder, pace, staging })
    }

    pub fn name(&self) -> String {
        format!("{} ({})", self.adapter_info.name, self.adapter_info.backend)
    }

    pub fn note(&self) -> Option<&'static str> {
        note(&self.adapter_info)
    }

    /// The driver and its version.
    pub fn driver(&self) -> String {
        format!("{} {}", self.adapter_info.driver, self.adapter_info.driver_info).trim().to_owned()
    }

    pub fn info(&self) -> &GpuInfo {
        &self.info
    }

    /// See [`Device::check_bounds`](crate::engine::device::Device::check_bounds).
    pub fn check_bounds(&self, on: bool) {
        lock(&self.recorder).pipelines.check_all = on;
    }

    /// See [`Device::fix_sizes`](crate::engine::device::Device::fix_sizes).
    pub fn fix_sizes(&self, on: bool) {
        lock(&self.recorder).pipelines.fix_sizes = on;
    }

    /// See [`Device::keep_pipelines`](crate::engine::device::Device::keep_pipelines).
    pub fn keep_pipelines(&self, file: &Path) {
        if self.device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            lock(&self.recorder).pipelines.cache = Some(PipelineCache::load(&self.device, file));
        }
    }

    /// See [`Device::lose`](crate::engine::device::Device::lose).
    #[cfg(feature = "testing")]
    pub fn lose(&self) {
        self.complaint.lose();
        self.device.destroy();
    }

    /// Binds each buffer with the guard band behind it from now on.
    pub fn bind_guards(&self) {
        lock(&self.recorder).guard_bytes = (GUARD * Element::F32.bytes()) as u64;
    }

    /// See [`Device::launch_flops`](crate::engine::device::Device::launch_flops).
    pub fn launch_flops(&self) -> f64 {
        2.0 * self.pace.most()
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
        let create = || Memory::create(&self.device, &self.adapter_info.name, class, bytes);
        let (taken, let_go) = {
            let mut pool = self.pool();
            (pool.take(class, create), pool.let_go())
        };
        if !let_go.is_empty() {
            lock(&self.recorder).forget(&let_go);
            drop(let_go);
        }
        match taken {
            Ok(held) => Ok(held.buffer),
            Err(error) => {
                if self.let_idle_go()? == 0 {
                    return Err(error);
                }
                Ok(self.pool().take(class, create)?.buffer)
            }
        }
    }

    pub fn free(&self, class: u64, memory: Memory) {
        let held = Held { class: memory.class, number: memory.id, buffer: memory };
        self.pool().give_back(class, held);
    }

    /// Lets the buffers that are not in use go; how many there were.
    fn let_idle_go(&self) -> Result<usize> {
        let idle = self.pool().trim();
        let count = idle.len();
        if count > 0 {
            // Bind groups hold their buffers, and so do submissions that have not ended.
            let mut recorder = lock(&self.recorder);
            recorder.forget(&idle);
            drop(idle);
            self.flush(&mut recorder)?;
            drop(recorder);
            self.wait()?;
        }
        Ok(count)
    }

    pub fn trim(&self) -> Result<()> {
        self.let_idle_go().map(|_| ())
    }

    /// Submits what is recorded; the number of the submission, if there was anything to submit.
    fn flush(&self, recorder: &mut Recorder) -> Result<Option<wgpu::SubmissionIndex>> {
        self.pace.submitted(recorder.cost);
        let submission = recorder.submit(&self.device, &self.queue)?;
        self.complaint.check()?;
        Ok(submission)
    }

    fn wait(&self) -> Result<()> {
        let all = self.pace.mark();
        wait_for(&self.device, None, self.pace.patience(all))?;
        self.pace.reached(all);
        self.complaint.check()
    }

    pub fn sync(&self) -> Result<()> {
        self.flush(&mut lock(&self.recorder))?;
        self.wait()
    }

    /// Writes the elements of a region, as many as it has.
    pub fn write(&self, to: &Region<'_, Memory>, data: &[f32]) -> Result<()> {
        // A write of the queue runs before the next submission: what is recorded and uses the buffer must go first.
        // The lock is held until the write stands: nothing can be recorded between.
        let mut recorder = lock(&self.recorder);
        if recorder.uses(to.memory) {
            self.flush(&mut recorder)?;
        }
        recorder.work.uploaded_bytes += to.bytes();
        self.queue.write_buffer(&to.memory.buffer, to.byte_offset(), bytemuck::cast_slice(data));
        Ok(())
    }

    /// Starts one copy to the host of what regions hold at this point of the recording.
    pub fn start_reads(&self, from: &[Region<'_, Memory>]) -> Result<Vec<GpuRead>> {
        let elements: usize = from.iter().map(Region::len).sum();
        let staging = self.staging.take(&self.device, from.iter().map(Region::bytes).sum());
        let mut recorder = lock(&self.recorder);
        let encoder = recorder.encoder(&self.device)?;
        let (mut at, mut byte, mut places) = (0, 0, Vec::new());
        for region in from {
            let (offset, bytes) = (region.byte_offset(), region.bytes());
            encoder.copy_buffer_to_buffer(&region.memory.buffer, offset, &staging, byte, bytes);
            places.push(at..at + region.len());
            (at, byte) = (at + region.len(), byte + bytes);
        }
        recorder.work.reads += 1;
        let submission = self.flush(&mut recorder)?;
        drop(recorder);
        let (device, complaint) = (self.device.clone(), self.complaint.clone());
        let copy = Copy::start(device, complaint, staging, elements, submission, &self.pace, &self.staging);
        let copy = Arc::new(copy);
        Ok(places.into_iter().map(|place| GpuRead { copy: copy.clone(), place }).collect())
    }

    /// Records a launch: `args` are its buffers in the order of their bindings, the first `ins` of which are only read.
    /// Where launches are timed by the clock, it runs now: when it began, and the seconds that it took.
    pub fn launch(
        &self,
        kernel: &str,
        text: &Text<'_>,
        params: &[u8],
        plan: &Plan,
        (args, ins): (&[Region<'_, Memory>], usize),
    ) -> Result<(Instant, f64)> {
        let mut launch = Launch { kernel, param_bytes: params.len(), param_offset: 0, args, ins };
        self.check_grids(plan, &launch)?;
        let mut recorder = lock(&self.recorder);
        let recorder = &mut *recorder;
        let bytes: u64 = args.iter().map(Region::bytes).sum();
        let cost = plan.flops.max(COST_OF_A_BYTE * bytes as f64);
        let full = recorder.cost > 0.0 && recorder.cost + cost > self.pace.most();
        if full || recorder.clocked || !recorder.has_room(params, plan.dispatches.len()) {
            self.flush(recorder)?;
        }
        if recorder.clocked {
            self.wait()?;
        }
        if let Some(stamps) = &mut recorder.stamps {
            stamps.launch(plan.dispatches.len());
        }
        let start = Instant::now();
        recorder.work.launches += 1;
        launch.param_offset = recorder.push_params(kernel, params)?;
        recorder.cost += cost;
        for dispatch in &plan.dispatches {
            let compiled = recorder.pipelines.get(&self.device, kernel, text, &dispatch.entry, &dispatch.constants)?;
            recorder.dispatch(&self.device, compiled, &launch, dispatch.groups)?;
        }
        recorder.work.seconds += start.elapsed().as_secs_f64();
        if recorder.clocked {
            recorder.encode(&self.device)?;
        }
        let start = Instant::now();
        if recorder.clocked {
            self.flush(recorder)?;
            self.wait()?;
            return Ok((start, start.elapsed().as_secs_f64()));
        }
        Ok((start, 0.0))
    }

    /// Refuses a grid that is larger than the adapter allows, before anything of the launch is recorded.
    fn check_grids(&self, plan: &Plan, launch: &Launch<'_>) -> Result<()> {
        let most = self.limits.max_compute_workgroups_per_dimension;
        match plan.dispatches.iter().find(|dispatch| dispatch.groups.iter().any(|&groups| groups > most)) {
            None => Ok(()),
            Some(dispatch) => {
                let what = format!(
                    "kernel {}/{} needs a grid of {:?} workgroups, this adapter has {most} an axis at most",
                    launch.kernel, dispatch.entry, dispatch.groups
                );
                let remedy = "take a smaller batch, tile or image, or use ⟨device⟩ cpu";
                Err(Error::failed(what, launch.shapes(), remedy).of(ErrorKind::Kernel))
            }
        }
    }

    pub fn host_work(&self) -> HostWork {
        lock(&self.recorder).work
    }

    /// How launches are timed from now on: as is wished, or by the clock where there are no timestamps.
    pub fn start_profile(&self, wished: Timing) -> Result<Timing> {
        self.sync()?;
        let stamped = wished == Timing::Timestamps && self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let mut recorder = lock(&self.recorder);
        recorder.clocked = !stamped;
        recorder.stamps = stamped.then(|| Stamps::new(&self.device));
        Ok(if stamped { Timing::Timestamps } else { Timing::Clock })
    }

    /// What timestamps say of the launches since the profile began.
    pub fn stop_profile(&self) -> Result<Option<Stamped>> {
        self.sync()?;
        let mut recorder = lock(&self.recorder);
        recorder.clocked = false;
        let stamps = recorder.stamps.take();
        stamps.map(|stamps| stamps.finish(self.queue.get_timestamp_period())).transpose()
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if let Some(cache) = &lock(&self.recorder).pipelines.cache {
            cache.save();
        }
    }
}
