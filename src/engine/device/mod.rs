//! Devices: where buffers live and kernels run.
//!
//! A [`Device`] is a GPU behind wgpu or the CPU. An op never asks which: it calls [`Device::launch`], and the device runs
//! the kernel's WGSL body or its Rust twin.

mod adapter;
mod cpu;
mod fill;
mod gpu;
mod kernel;
mod pool;
mod profile;
mod stderr;
pub mod wgsl;

pub use adapter::{AdapterReport, DeviceChoice, adapters};
pub(crate) use fill::FILL;
pub use kernel::{
    AnyKernel, Args, Constants, Dispatch, GpuInfo, Kernel, MAX_GROUPS, Plan, Planner, Split, Twin, linear_grid,
};
pub use pool::{MemoryReport, human_bytes, parse_bytes};
pub use profile::LaunchTime;

use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A device; clones share it.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    backend: Backend,
    poison: AtomicBool,
}

enum Backend {
    Cpu(cpu::Cpu),
    Gpu(Box<gpu::Gpu>),
}

/// A buffer of one device, given back to its pool when the last view of it goes.
struct Buffer {
    device: Device,
    class: u64,
    storage: Option<Storage>,
}

enum Storage {
    Cpu(cpu::Memory),
    Gpu(gpu::Memory),
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match (self.storage.take(), &self.device.0.backend) {
            (Some(Storage::Cpu(memory)), Backend::Cpu(cpu)) => cpu.free(self.class, memory),
            (Some(Storage::Gpu(memory)), Backend::Gpu(gpu)) => gpu.free(self.class, memory),
            _ => {}
        }
    }
}

/// A copy to the host under way; launches that come after it do not change it.
pub struct PendingRead(PendingState);

enum PendingState {
    Ready(Vec<f32>),
    Gpu(Box<gpu::GpuRead>),
}

impl PendingRead {
    /// Waits for the copy, and for nothing that was launched after it.
    ///
    /// # Errors
    /// A kernel that failed, or a lost device.
    pub fn finish(self) -> Result<Vec<f32>> {
        match self.0 {
            PendingState::Ready(data) => Ok(data),
            PendingState::Gpu(read) => read.finish(),
        }
    }
}

/// A run of f32 elements in a buffer with a shape; clones share the buffer.
#[derive(Clone)]
pub struct View {
    buffer: Arc<Buffer>,
    offset: usize,
    shape: Vec<usize>,
}

/// Offsets of views into a shared buffer are multiples of this many elements (256 bytes, WebGPU's alignment).
pub const VIEW_ALIGN: usize = 64;

/// The number of elements of a tensor of this shape; `None` where it does not fit a `usize`.
fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |len, &axis| len.checked_mul(axis))
}

fn shape_error(what: impl Into<String>, subject: String, remedy: &str) -> Error {
    Error::input(what, subject, remedy).of(ErrorKind::Shape)
}

impl View {
    /// Sizes of the axes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Never: shape rules refuse zero elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same elements under another shape of the same size.
    ///
    /// # Errors
    /// Sizes that differ.
    pub fn reshaped(&self, shape: &[usize]) -> Result<View> {
        crate::ensure!(
            elements(shape) == Some(self.len()),
            shape_error(
                "a reshape keeps the number of elements",
                format!("{:?} to {shape:?}", self.shape),
                "check the sizes"
            )
        );
        Ok(View { buffer: self.buffer.clone(), offset: self.offset, shape: shape.to_vec() })
    }

    /// A part of this view, from element `offset` (a multiple of [`VIEW_ALIGN`]) on.
    ///
    /// # Errors
    /// A part that leaves the view, has no element, or does not begin at such a multiple.
    pub fn part(&self, offset: usize, shape: &[usize]) -> Result<View> {
        let refuse =
            |what: String, remedy| shape_error(what, format!("{shape:?} from {offset} of {:?}", self.shape), remedy);
        let end = elements(shape).filter(|&len| len > 0).and_then(|len| offset.checked_add(len));
        crate::ensure!(
            end.is_some_and(|end| end <= self.len()),
            refuse("a part lies within its tensor and has an element".to_owned(), "check offset and sizes")
        );
        crate::ensure!(
            offset.is_multiple_of(VIEW_ALIGN),
            refuse(format!("a part begins at a multiple of {VIEW_ALIGN} elements"), "leave room before it")
        );
        Ok(View { buffer: self.buffer.clone(), offset: self.offset + offset, shape: shape.to_vec() })
    }

    fn same_buffer(&self, other: &View) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
    }

    fn overlaps(&self, other: &View) -> bool {
        self.same_buffer(other) && self.offset < other.offset + other.len() && other.offset < self.offset + self.len()
    }
}

impl Device {
    /// The device that `choice` names.
    ///
    /// # Errors
    /// No such adapter, or a driver that fails; the message lists what there is.
    pub fn open(choice: &DeviceChoice) -> Result<Device> {
        let backend = match adapter::choose(choice)? {
            None => Backend::Cpu(cpu::Cpu::new()),
            Some(adapter) => Backend::Gpu(Box::new(gpu::Gpu::new(adapter)?)),
        };
        Ok(Device(Arc::new(Inner { backend, poison: AtomicBool::new(false) })))
    }

    /// The CPU, which is always there.
    pub fn cpu() -> Device {
        Device(Arc::new(Inner { backend: Backend::Cpu(cpu::Cpu::new()), poison: AtomicBool::new(false) }))
    }

    /// `cpu`, or the adapter's name with its driver.
    pub fn name(&self) -> String {
        match &self.0.backend {
            Backend::Cpu(_) => "cpu".to_owned(),
            Backend::Gpu(gpu) => gpu.name(),
        }
    }

    /// Whether kernels run as WGSL on a GPU (or a software driver of one).
    pub fn is_gpu(&self) -> bool {
        matches!(self.0.backend, Backend::Gpu(_))
    }

    /// Elements that one binding, and so one tensor, may have.
    pub fn max_elements(&self) -> usize {
        match &self.0.backend {
            // Parameters of kernels count elements with 32 bits.
            Backend::Cpu(_) => u32::MAX as usize,
            Backend::Gpu(gpu) => gpu.max_binding_bytes() as usize / 4,
        }
    }

    /// Fills every new buffer with NaN from now on, so that a test sees what a kernel failed to write.
    pub fn poison_new_buffers(&self) {
        self.0.poison.store(true, Ordering::Relaxed);
    }

    /// A buffer with the given shape whose content is whatever was there.
    ///
    /// # Errors
    /// Zero elements, a binding over the adapter's limit, or memory over the cap or out of what there is.
    pub fn alloc(&self, shape: &[usize]) -> Result<View> {
        let len = elements(shape).filter(|&len| len <= self.max_elements().max(1)).ok_or_else(|| {
            Error::input(
                format!("a tensor of over {}, this device's limit", human_bytes(self.max_elements() as u64 * 4)),
                format!("{shape:?}"),
                "take a smaller batch, tile, picture or width",
            )
            .of(ErrorKind::Memory)
        })?;
        if len == 0 {
            return Err(shape_error("a tensor needs at least one element", format!("{shape:?}"), "check the sizes"));
        }
        let bytes = len as u64 * 4;
        let class = pool::size_class(bytes);
        let storage = match &self.0.backend {
            Backend::Cpu(cpu) => Storage::Cpu(cpu.alloc(class)?),
            Backend::Gpu(gpu) => Storage::Gpu(gpu.alloc(class)?),
        };
        let buffer = Buffer { device: self.clone(), class, storage: Some(storage) };
        let view = View { buffer: Arc::new(buffer), offset: 0, shape: shape.to_vec() };
        if self.0.poison.load(Ordering::Relaxed) {
            self.write(&view, &vec![f32::NAN; len])?;
        }
        Ok(view)
    }

    /// Copies `data` into a view of the same size, after everything launched so far.
    ///
    /// # Errors
    /// Data of another size, a view of another device, or a lost device.
    pub fn write(&self, view: &View, data: &[f32]) -> Result<()> {
        check_len(data, &view.shape)?;
        match (&self.0.backend, &view.buffer.storage) {
            (Backend::Cpu(_), Some(Storage::Cpu(memory))) => {
                memory.write()[view.offset..view.offset + data.len()].copy_from_slice(data);
                Ok(())
            }
            (Backend::Gpu(gpu), Some(Storage::Gpu(memory))) => gpu.write(memory, view.offset, data),
            _ => Err(foreign(view)),
        }
    }

    /// Waits for everything launched so far and copies a view to the host.
    ///
    /// # Errors
    /// A kernel that failed, or a lost device.
    pub fn read(&self, view: &View) -> Result<Vec<f32>> {
        self.start_read(view)?.finish()
    }

    /// Starts to copy a view to the host as it is after everything launched so far, without waiting for it.
    ///
    /// # Errors
    /// A kernel that failed, or a lost device.
    pub fn start_read(&self, view: &View) -> Result<PendingRead> {
        let state = match (&self.0.backend, &view.buffer.storage) {
            (Backend::Cpu(_), Some(Storage::Cpu(memory))) => {
                PendingState::Ready(memory.read()[view.offset..view.offset + view.len()].to_vec())
            }
            (Backend::Gpu(gpu), Some(Storage::Gpu(memory))) => {
                PendingState::Gpu(Box::new(gpu.start_read(memory, view.offset, view.len())?))
            }
            _ => return Err(foreign(view)),
        };
        Ok(PendingRead(state))
    }

    /// Runs a kernel: reads `ins`, updates `inouts`, writes `outs` whole.
    ///
    /// On a GPU this records the launch and returns; [`Device::read`] and [`Device::sync`] wait.
    ///
    /// # Errors
    /// [`Error::Kernel`] that names the kernel, its variant and the shapes, when the bindings do not match the WGSL text,
    /// when a written buffer is bound twice, or when the driver refuses.
    pub fn launch<P: bytemuck::Pod>(
        &self,
        kernel: &Kernel<'_, P>,
        params: &P,
        ins: &[&View],
        inouts: &[&View],
        outs: &[&View],
    ) -> Result<()> {
        let written = || inouts.iter().chain(outs);
        for (i, w) in written().enumerate() {
            let clash = ins.iter().any(|read| w.same_buffer(read)) || written().skip(i + 1).any(|o| w.overlaps(o));
            if clash {
                let message = format!("a buffer is written and bound twice in {}", describe(ins, inouts, outs));
                return Err(Error::kernel(kernel.name, message));
            }
        }
        match &self.0.backend {
            Backend::Cpu(cpu) => cpu.launch(kernel, params, ins, inouts, outs),
            Backend::Gpu(gpu) => {
                let plan = (kernel.plan)(params, gpu.info());
                let scratch: Vec<View> = plan.scratch.iter().map(|&len| self.alloc(&[len])).collect::<Result<_>>()?;
                let args: Vec<&View> = ins.iter().chain(inouts).chain(outs).copied().chain(&scratch).collect();
                gpu.launch(kernel, bytemuck::bytes_of(params), &plan, &args, ins.len())
            }
        }
    }

    /// Waits until everything launched so far has run.
    ///
    /// # Errors
    /// A kernel that failed, or a lost device.
    pub fn sync(&self) -> Result<()> {
        match &self.0.backend {
            Backend::Cpu(_) => Ok(()),
            Backend::Gpu(gpu) => gpu.sync(),
        }
    }

    /// Live, peak and reserved bytes.
    pub fn memory(&self) -> MemoryReport {
        match &self.0.backend {
            Backend::Cpu(cpu) => cpu.pool().report(),
            Backend::Gpu(gpu) => gpu.pool().report(),
        }
    }

    /// Starts the peak afresh from what is live now, and the largest buffer from none.
    pub fn reset_peak(&self) {
        match &self.0.backend {
            Backend::Cpu(cpu) => cpu.pool().reset_peak(),
            Backend::Gpu(gpu) => gpu.pool().reset_peak(),
        }
    }

    /// Caps the bytes that buffers may take in all; `None` for no cap.
    pub fn set_memory_cap(&self, cap_bytes: Option<u64>) {
        match &self.0.backend {
            Backend::Cpu(cpu) => cpu.pool().set_cap(cap_bytes),
            Backend::Gpu(gpu) => gpu.pool().set_cap(cap_bytes),
        }
    }

    /// Starts to time every launch.
    ///
    /// # Errors
    /// A lost device.
    pub fn start_profile(&self) -> Result<()> {
        match &self.0.backend {
            Backend::Cpu(cpu) => cpu.start_profile(),
            Backend::Gpu(gpu) => return gpu.start_profile(),
        }
        Ok(())
    }

    /// Ends the timing and hands out every launch since [`Device::start_profile`], in order.
    ///
    /// # Errors
    /// A kernel that failed, or a lost device.
    pub fn stop_profile(&self) -> Result<Vec<LaunchTime>> {
        match &self.0.backend {
            Backend::Cpu(cpu) => Ok(cpu.stop_profile()),
            Backend::Gpu(gpu) => gpu.stop_profile(),
        }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({})", self.name())
    }
}

/// Refuses data that do not fill `shape`.
pub(super) fn check_len(data: &[f32], shape: &[usize]) -> Result<()> {
    crate::ensure!(
        elements(shape) == Some(data.len()),
        shape_error(
            format!("{} values do not fill a tensor", data.len()),
            format!("{shape:?}"),
            "pass as many values as it has elements"
        )
    );
    Ok(())
}

fn foreign(view: &View) -> Error {
    Error::failed("a tensor belongs to another device", format!("{:?}", view.shape), "keep a model on one device")
}

/// `[1, 8, 8, 4] [3, 3, 4, 8] -> [1, 8, 8, 8]`: the shapes of a launch, for messages and the profile.
fn describe(ins: &[&View], inouts: &[&View], outs: &[&View]) -> String {
    let list = |views: &[&View]| views.iter().map(|v| format!("{:?}", v.shape)).collect::<Vec<_>>().join(" ");
    let mut text = list(ins);
    if !inouts.is_empty() {
        text = format!("{text} <> {}", list(inouts));
    }
    if !outs.is_empty() {
        text = format!("{text} -> {}", list(outs));
    }
    text
}
