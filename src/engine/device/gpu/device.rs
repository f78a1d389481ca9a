//! One GPU: its memory, its recorder, its queue.

use crate::engine::device::backend::GUARD;
use crate::engine::device::gpu::fault::{Complaint, lock, lost};
use crate::engine::device::gpu::memory::Memory;
use crate::engine::device::gpu::read::GpuRead;
use crate::engine::device::gpu::recorder::{Launch, Recorder};
use crate::engine::device::kernel::{GpuInfo, Plan, Text};
use crate::engine::device::pool::{Held, Pool};
use crate::engine::device::profile::LaunchTime;
use crate::engine::device::region::Region;
use crate::error::{Error, ErrorKind, Result};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// A submission is cut after this much estimated work, so that none runs into a driver's watchdog.
const SUBMIT_FLOPS: f64 = 2e10;

pub(in crate::engine::device) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    adapter_info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    info: GpuInfo,
    complaint: Complaint,
    pool: Mutex<Pool<Memory>>,
    recorder: Mutex<Recorder>,
}

impl Gpu {
    pub fn new(adapter: wgpu::Adapter) -> Result<Self> {
        let adapter_info = adapter.get_info();
        let limits = adapter.limits();
        let descriptor =
            wgpu::DeviceDescriptor { label: Some("huetape"), required_limits: limits.clone(), ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(lost)?;
        let complaint = Complaint::default();
        complaint.listen(&device);
        let info = GpuInfo {
            software: adapter_info.device_type == wgpu::DeviceType::Cpu,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
        };
        let recorder = Mutex::new(Recorder::new(&device));
        Ok(Gpu { device, queue, adapter_info, limits, info, complaint, pool: Mutex::new(Pool::new(None)), recorder })
    }

    pub fn name(&self) -> String {
        format!("{} ({})", self.adapter_info.name, self.adapter_info.backend)
    }

    pub fn info(&self) -> &GpuInfo {
        &self.info
    }

    /// See [`Device::check_bounds`](crate::engine::device::Device::check_bounds).
    pub fn check_bounds(&self, on: bool) {
        lock(&self.recorder).pipelines.check_all = on;
    }

    /// Binds each buffer with the guard band behind it from now on.
    pub fn bind_guards(&self) {
        lock(&self.recorder).guard_bytes = 4 * GUARD as u64;
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
        let held = Held { class: memory.class, buffer: memory };
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
        let submission = recorder.submit(&self.queue);
        self.complaint.check()?;
        Ok(submission)
    }

    fn wait(&self) -> Result<()> {
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(lost)?;
        self.complaint.check()
    }

    pub fn sync(&self) -> Result<()> {
        self.flush(&mut lock(&self.recorder))?;
        self.wait()
    }

    /// Writes the elements of a region, as many as it has.
    pub fn write(&self, to: &Region<'_, Memory>, data: &[f32]) -> Result<()> {
        // A write of the queue runs before the next submission: what is recorded must go first.
        self.flush(&mut lock(&self.recorder))?;
        self.queue.write_buffer(&to.memory.buffer, to.offset as u64 * 4, bytemuck::cast_slice(data));
        Ok(())
    }

    /// Starts a copy to the host of what a region holds at this point of the recording.
    pub fn start_read(&self, from: &Region<'_, Memory>) -> Result<GpuRead> {
        let bytes = from.len() as u64 * 4;
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read-back"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut recorder = lock(&self.recorder);
        let encoder = recorder.encoder(&self.device);
        encoder.copy_buffer_to_buffer(&from.memory.buffer, from.offset as u64 * 4, &staging, 0, bytes);
        let submission = self.flush(&mut recorder)?;
        let (sender, mapped) = std::sync::mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The reader may have gone; then nobody wants the answer.
            let _ = sender.send(result);
        });
        Ok(GpuRead { device: self.device.clone(), complaint: self.complaint.clone(), staging, submission, mapped })
    }

    /// Records a launch: `args` are its buffers in the order of their bindings, the first `ins` of which are only read.
    pub fn launch(
        &self,
        kernel: &str,
        text: &Text<'_>,
        params: &[u8],
        plan: &Plan,
        args: &[Region<'_, Memory>],
        ins: usize,
    ) -> Result<()> {
        let mut launch = Launch { kernel, param_bytes: params.len(), param_offset: 0, args, ins };
        self.check_grids(plan, &launch)?;
        let mut recorder = lock(&self.recorder);
        let recorder = &mut *recorder;
        let full = recorder.flops > 0.0 && recorder.flops + plan.flops > SUBMIT_FLOPS;
        if full || !recorder.has_room(params) {
            self.flush(recorder)?;
        }
        let timed = recorder.times.is_some();
        if timed {
            self.flush(recorder)?;
            self.wait()?;
        }
        let start = Instant::now();
        launch.param_offset = recorder.push_params(kernel, params)?;
        recorder.flops += plan.flops;
        for dispatch in &plan.dispatches {
            let compiled = recorder.pipelines.get(&self.device, kernel, text, &dispatch.entry, &dispatch.constants)?;
            recorder.dispatch(&self.device, &compiled, &launch, dispatch.groups)?;
        }
        if timed {
            self.flush(recorder)?;
            self.wait()?;
            if let Some(times) = &mut recorder.times {
                let (kernel, body, shapes) = (kernel.to_owned(), text.body.to_owned(), launch.shapes());
                times.push(LaunchTime { kernel, body, shapes, seconds: start.elapsed().as_secs_f64() });
            }
        }
        Ok(())
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

    pub fn start_profile(&self) -> Result<()> {
        self.sync()?;
        lock(&self.recorder).times = Some(Vec::new());
        Ok(())
    }

    pub fn stop_profile(&self) -> Result<Vec<LaunchTime>> {
        self.sync()?;
        Ok(lock(&self.recorder).times.take().unwrap_or_default())
    }
}
