//! A device as everything above it uses it: open, allocate, launch, read.

use crate::engine::device::backend::{Backend, GUARD, Inner, Storage, guard_value};
use crate::engine::device::bodies::{BodyRuns, Forced};
use crate::engine::device::choice::DeviceChoice;
use crate::engine::device::cpu::Cpu;
use crate::engine::device::element::Element;
use crate::engine::device::gpu::{self, Gpu};
use crate::engine::device::host_work::HostWork;
#[cfg(feature = "gpu")]
use crate::engine::device::kernel::AnyKernel;
use crate::engine::device::kernel::GpuInfo;
use crate::engine::device::pool::{self, MemoryReport, human_bytes};
use crate::engine::device::precision::Precision;
use crate::engine::device::read::{PendingRead, PendingState};
use crate::engine::device::region::Place;
use crate::engine::device::tuned::Tuned;
use crate::engine::device::view::{View, check_len, elements, shape_error};
use crate::engine::ranks::Ranks;
use crate::error::{Error, ErrorKind, Result};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// A device; clones share it.
///
/// Each call of [`Device::open`] and [`Device::cpu`] makes a device of its own, on one adapter too: tensors of two
/// devices do not go together.
#[derive(Clone)]
pub struct Device(pub(super) Arc<Inner>);

impl Device {
    /// The device that `choice` names.
    ///
    /// # Errors
    /// No such adapter, or a driver that fails; the message lists what there is.
    pub fn open(choice: &DeviceChoice) -> Result<Device> {
        Device::open_for(choice, Precision::F32)
    }

    /// The device that `choice` names, to multiply in numbers of this precision.
    ///
    /// # Errors
    /// As [`Device::open`]; f16 on the CPU, and on an adapter that cannot, with the reason.
    pub fn open_for(choice: &DeviceChoice, precision: Precision) -> Result<Device> {
        let backend = match gpu::choose(choice)? {
            None if precision == Precision::F16 => {
                let remedy = "use ⟨precision⟩ f32, or ⟨device⟩ gpu on a GPU that has f16 matrices";
                return Err(
                    Error::input("the CPU multiplies in f32 alone", "⟨precision⟩ f16", remedy).of(ErrorKind::Device)
                );
            }
            None => Backend::Cpu(Cpu::new()),
            Some(adapter) => Backend::Gpu(Box::new(Gpu::new(adapter, precision)?)),
        };
        Ok(Device(Arc::new(Inner::new(backend))))
    }

    /// The CPU, which is always there.
    pub fn cpu() -> Device {
        Device(Arc::new(Inner::new(Backend::Cpu(Cpu::new()))))
    }

    /// `cpu`, or the adapter's name with its driver.
    pub fn name(&self) -> String {
        match &self.0.backend {
            Backend::Cpu(_) => "cpu".to_owned(),
            Backend::Gpu(gpu) => gpu.name(),
        }
    }

    /// The driver and its version; nothing for the CPU.
    pub fn driver(&self) -> String {
        match &self.0.backend {
            Backend::Cpu(_) => String::new(),
            Backend::Gpu(gpu) => gpu.driver(),
        }
    }

    /// Whether kernels run as WGSL on a GPU (or a software driver of one).
    pub fn is_gpu(&self) -> bool {
        matches!(self.0.backend, Backend::Gpu(_))
    }

    /// In what numbers it was opened to multiply.
    pub fn precision(&self) -> Precision {
        match self.gpu_info() {
            Some(GpuInfo { matrices: Some(_), .. }) => Precision::F16,
            _ => Precision::F32,
        }
    }

    /// Whether it is a driver that computes on the processor, which the CPU's own kernels mostly do faster.
    pub fn is_software(&self) -> bool {
        match &self.0.backend {
            Backend::Cpu(_) => false,
            Backend::Gpu(gpu) => gpu.info().software,
        }
    }

    /// What stands in the way of its speed, as [`AdapterReport::note`](crate::engine::device::AdapterReport::note).
    pub fn note(&self) -> Option<&'static str> {
        match &self.0.backend {
            Backend::Cpu(_) => None,
            Backend::Gpu(gpu) => gpu.note(),
        }
    }

    /// From now on a training on this device is one with those of the other processes: gradients, batch statistics and
    /// losses are summed over all. The first call counts.
    pub fn join(&self, ranks: &Ranks) {
        // Fails only where it has been called before.
        let _ = self.0.ranks.set(ranks.clone());
    }

    /// The processes that this device works with: no others, unless [`Device::join`] has said so.
    pub fn ranks(&self) -> &Ranks {
        static ALONE: Ranks = Ranks::ALONE;
        self.0.ranks.get().unwrap_or(&ALONE)
    }

    /// Elements that one binding, and so one tensor, may have.
    pub fn max_elements(&self) -> usize {
        match &self.0.backend {
            // Parameters of kernels count elements with 32 bits.
            Backend::Cpu(_) => u32::MAX as usize,
            Backend::Gpu(gpu) => gpu.max_binding_bytes() as usize / Element::F32.bytes(),
        }
    }

    /// Floating-point operations that a launch should have at most, by the measured pace of a GPU: an op that can cut
    /// its work into launches with the same bits does so beyond, for a launch is not interrupted, and drivers reset a
    /// GPU that seems to hang. No end on the CPU.
    pub fn launch_flops(&self) -> f64 {
        match &self.0.backend {
            Backend::Cpu(_) => f64::INFINITY,
            Backend::Gpu(gpu) => gpu.launch_flops(),
        }
    }

    /// Whether this crate's kernels run with the driver's bounds checks on a GPU from now on. Each launch of them has
    /// proved its extents, so that release builds leave the checks out, unless `HUETAPE_CHECKED=1` is set; builds
    /// with assertions have them on. Kernels from outside the crate always run with them.
    pub fn check_bounds(&self, on: bool) {
        if let Backend::Gpu(gpu) = &self.0.backend {
            gpu.check_bounds(on);
        }
    }

    /// Whether fields of parameter blocks that plans have as constants (`p.FIELD`, see
    /// [`Dispatch::with`](crate::engine::device::Dispatch::with)) are compiled into the pipelines of a GPU from now on.
    /// They are on a card; on a software driver they are not, where each layer would be compiled for itself.
    pub fn fix_sizes(&self, on: bool) {
        if let Backend::Gpu(gpu) = &self.0.backend {
            gpu.fix_sizes(on);
        }
    }

    /// Breaks a GPU off, as a driver that resets does: whatever is asked of it from now on is an
    /// [`ErrorKind::Lost`]. The CPU stays.
    #[cfg(feature = "testing")]
    pub fn lose(&self) {
        if let Backend::Gpu(gpu) = &self.0.backend {
            gpu.lose();
        }
    }

    /// Fills every new buffer with NaN from now on, so that a test sees what a kernel failed to write. On a GPU each
    /// has a guard band of NaN behind it too, which a kernel that reads too far will meet.
    pub fn poison_new_buffers(&self) {
        self.0.poison.store(true, Ordering::Relaxed);
        if let Backend::Gpu(gpu) = &self.0.backend {
            gpu.bind_guards();
        }
    }

    /// Looks at the guard band of every buffer as it goes from now on, which waits for the device each time.
    pub fn watch_overruns(&self) {
        self.0.watch.store(true, Ordering::Relaxed);
    }

    /// What has been written behind buffers that are gone, since [`Device::watch_overruns`] or the last call.
    pub fn overruns(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.overruns.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A buffer with the given shape whose content is whatever was there.
    ///
    /// # Errors
    /// Zero elements, a binding over the adapter's limit, or memory over the cap or out of what there is.
    pub fn alloc(&self, shape: &[usize]) -> Result<View> {
        let len = elements(shape).filter(|&len| len <= self.max_elements().max(1)).ok_or_else(|| {
            Error::input(
                format!(
                    "a tensor of over {}, this device's limit",
                    human_bytes((self.max_elements() * Element::F32.bytes()) as u64)
                ),
                format!("{shape:?}"),
                "take a smaller batch, tile, image or width",
            )
            .of(ErrorKind::Memory)
        })?;
        if len == 0 {
            return Err(shape_error("a tensor needs at least one element", format!("{shape:?}"), "check the sizes"));
        }
        let guards = self.0.guards();
        let guarded = len + if guards { GUARD } else { 0 };
        let class = pool::size_class((guarded * Element::F32.bytes()) as u64);
        let view = View::new(self.0.clone(), class, self.0.alloc(class)?, shape, guards);
        if self.0.poisons() {
            self.write(&view, &vec![f32::NAN; len])?;
        }
        if guards {
            self.write(&view.behind(GUARD), &[guard_value(); GUARD])?;
        }
        Ok(view)
    }

    /// Copies `data` into a view of the same size, after everything launched so far.
    ///
    /// # Errors
    /// Data of another size, a view of another device, or a lost device.
    pub fn write(&self, view: &View, data: &[f32]) -> Result<()> {
        check_len(data, view.shape())?;
        view.check_device(&self.0)?;
        match &self.0.backend {
            Backend::Cpu(cpu) => cpu.write(&view.region(Storage::on_cpu)?, data),
            Backend::Gpu(gpu) => return gpu.write(&view.region(Storage::on_gpu)?, data),
        }
        Ok(())
    }

    /// Waits for everything launched so far and copies a view to the host.
    ///
    /// # Errors
    /// A view of another device, a kernel that failed, or a lost device.
    pub fn read(&self, view: &View) -> Result<Vec<f32>> {
        self.start_read(view)?.finish()
    }

    /// Starts to copy a view to the host as it is after everything launched so far, without waiting for it.
    ///
    /// # Errors
    /// A view of another device, a kernel that failed, or a lost device.
    pub fn start_read(&self, view: &View) -> Result<PendingRead> {
        self.start_reads(&[view]).map(|mut reads| reads.remove(0))
    }

    /// As [`Device::start_read`] of several views, which a GPU copies together.
    ///
    /// # Errors
    /// As [`Device::start_read`].
    pub fn start_reads(&self, views: &[&View]) -> Result<Vec<PendingRead>> {
        views.iter().try_for_each(|view| view.check_device(&self.0))?;
        Ok(match &self.0.backend {
            Backend::Cpu(cpu) => {
                let regions = regions(views, Storage::on_cpu)?;
                regions.iter().map(|region| PendingRead(PendingState::Ready(cpu.read(region)))).collect()
            }
            Backend::Gpu(gpu) => {
                let reads = gpu.start_reads(&regions(views, Storage::on_gpu)?)?;
                reads.into_iter().map(|read| PendingRead(PendingState::Gpu(read))).collect()
            }
        })
    }

    /// Runs these bodies and no others from now on, where a kernel has one of them; without effect on the CPU, which
    /// runs twins. A launch that none of its kernel's admits is an error with the reasons.
    pub fn force_bodies(&self, forced: Forced) {
        self.0.bodies.force(forced);
    }

    /// Runs these bodies from now on where none is forced and they admit a launch; without effect on the CPU.
    pub fn use_tuned(&self, tuned: Tuned) {
        self.0.bodies.tune(tuned);
    }

    /// Takes what a driver compiled from this file, and writes it there when the device goes: the next process begins
    /// sooner. Without effect on the CPU, and where the adapter has no pipeline cache (only Vulkan has); a file that is
    /// damaged or of another driver is written anew, one that cannot be written is left.
    pub fn keep_pipelines(&self, file: &Path) {
        if let Backend::Gpu(gpu) = &self.0.backend {
            gpu.keep_pipelines(file);
        }
    }

    /// What was last given to [`Device::use_tuned`].
    pub fn tuned(&self) -> Tuned {
        self.0.bodies.tuned().map(|tuned| Tuned::clone(&tuned)).unwrap_or_default()
    }

    /// Runs `text` instead of the text of `body`, and of the bodies that share it, in every launch of `kernel` from now
    /// on; the text itself again where there is none. It runs with the checks that the body runs with: whoever calls
    /// this has seen it run with all of them.
    #[cfg(feature = "gpu")]
    pub(crate) fn replace_text(&self, kernel: &dyn AnyKernel, body: &str, text: Option<String>) {
        self.0.bodies.replace(kernel, body, text);
    }

    /// How often each body of the kernels that have several has run, by kernel and body in the order of their names.
    pub fn bodies_run(&self) -> Vec<BodyRuns> {
        self.0.bodies.runs()
    }

    /// What plans are told of the GPU; `None` of the CPU.
    pub fn gpu_info(&self) -> Option<&GpuInfo> {
        match &self.0.backend {
            Backend::Cpu(_) => None,
            Backend::Gpu(gpu) => Some(gpu.info()),
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

    /// Gives the memory of buffers that are not in use back to the system. Without this a device keeps up to about
    /// twice as much as was in use at the most, to use it again.
    ///
    /// # Errors
    /// A kernel that failed, or a lost device.
    pub fn trim(&self) -> Result<()> {
        match &self.0.backend {
            Backend::Cpu(cpu) => cpu.trim(),
            Backend::Gpu(gpu) => return gpu.trim(),
        }
        Ok(())
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

    /// What the host has done for a GPU so far; nothing for the CPU.
    pub fn host_work(&self) -> HostWork {
        match &self.0.backend {
            Backend::Cpu(_) => HostWork::default(),
            Backend::Gpu(gpu) => gpu.host_work(),
        }
    }
}

pub(super) fn regions<'a, R>(views: &[&'a View], pick: impl Fn(&'a Storage, Place<'a>) -> Option<R>) -> Result<Vec<R>> {
    views.iter().map(|view| view.region(&pick)).collect()
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({})", self.name())
    }
}
