//! A launch: which body runs, on what, and the checks before it.

use crate::engine::device::backend::{Backend, Storage};
use crate::engine::device::bodies;
use crate::engine::device::handle::{Device, regions};
use crate::engine::device::kernel::{AnyKernel, Args, GpuInfo, Kernel, Plan};
use crate::engine::device::profile::Work;
use crate::engine::device::region::describe;
use crate::engine::device::view::View;
use crate::error::{Error, Result};

impl Device {
    /// Runs a kernel: reads `ins`, updates `inouts`, writes `outs` whole.
    ///
    /// On a GPU this records the launch and returns; [`Device::read`] and [`Device::sync`] wait.
    ///
    /// # Errors
    /// A view of another device ([`ErrorKind::Device`]); an [`ErrorKind::Kernel`] that names the kernel, its variant
    /// and the shapes, when the bindings do not match the WGSL text, when a written buffer is bound twice, when the
    /// grid is larger than the adapter allows, or when the driver refuses.
    pub fn launch<P: bytemuck::Pod>(
        &self,
        kernel: &Kernel<'_, P>,
        params: &P,
        ins: &[&View],
        inouts: &[&View],
        outs: &[&View],
    ) -> Result<()> {
        let launch = Launch {
            kernel,
            params: bytemuck::bytes_of(params),
            admits: &|body, info| kernel.admits(body, params, info),
            plan: &|body, info| kernel.plan(body, params, info),
            twin: &|args| (kernel.twin)(params, args),
        };
        self.run(&launch, ins, inouts, outs)
    }

    fn run(&self, launch: &Launch<'_>, ins: &[&View], inouts: &[&View], outs: &[&View]) -> Result<()> {
        ins.iter().chain(inouts).chain(outs).try_for_each(|view| view.check_device(&self.0))?;
        let written = || inouts.iter().chain(outs);
        for (i, w) in written().enumerate() {
            let clash = ins.iter().any(|read| w.same_buffer(read)) || written().skip(i + 1).any(|o| w.overlaps(o));
            if clash {
                let [ins, inouts, outs] =
                    [ins, inouts, outs].map(|views| views.iter().map(|view| view.shape()).collect::<Vec<_>>());
                let message = format!("a buffer is written and bound twice in {}", describe(&ins, &inouts, &outs));
                return Err(Error::kernel(launch.kernel.name(), message));
            }
        }
        let bytes = |views: &[&View]| views.iter().map(|view| view.bytes()).sum::<u64>();
        let bytes = bytes(ins) + 2 * bytes(inouts) + bytes(outs);
        match &self.0.backend {
            Backend::Cpu(cpu) => {
                let work = || Work { flops: launch.flops(), bytes };
                let [ins, inouts, outs] = [ins, inouts, outs].map(|views| regions(views, Storage::on_cpu));
                cpu.launch(launch.kernel.name(), launch.twin, &work, &ins?, &inouts?, &outs?)
            }
            Backend::Gpu(gpu) => {
                let body = self.body(launch, gpu.info())?;
                let plan = (launch.plan)(body, gpu.info());
                let scratch: Vec<View> = plan.scratch.iter().map(|&len| self.alloc(&[len])).collect::<Result<_>>()?;
                let args: Vec<&View> = ins.iter().chain(inouts).chain(outs).copied().chain(&scratch).collect();
                let args = regions(&args, Storage::on_gpu)?;
                let text = launch.kernel.text(body);
                let replaced = self.0.bodies.replacement(launch.kernel.name(), &text);
                let text = replaced.as_deref().map_or(text, |source| text.with_source(source));
                gpu.launch(launch.kernel.name(), &text, launch.params, &plan, (&args, ins.len()), bytes)
            }
        }
    }

    /// The body that runs a launch.
    fn body(&self, launch: &Launch<'_>, gpu: &GpuInfo) -> Result<usize> {
        let kernel = launch.kernel;
        let state = &self.0.bodies;
        if kernel.bodies() == 1 && !state.any_forced() {
            return Ok(0);
        }
        let body = bodies::choose(kernel, &state.forced(), gpu, &|body| (launch.admits)(body, gpu))?;
        state.count(kernel, body);
        Ok(body)
    }
}

/// A kernel with its parameters, their type forgotten.
struct Launch<'a> {
    kernel: &'a dyn AnyKernel,
    params: &'a [u8],
    admits: &'a dyn Fn(usize, &GpuInfo) -> std::result::Result<(), String>,
    plan: &'a dyn Fn(usize, &GpuInfo) -> Plan,
    twin: &'a dyn Fn(Args<'_>) -> Result<()>,
}

impl Launch<'_> {
    /// Floating-point operations, as a plan for GPUs tells them; 0 in a build that has no use for plans.
    fn flops(&self) -> f64 {
        let info = GpuInfo { software: true, workgroup_bytes: 0 };
        let bodies = 0..if cfg!(feature = "gpu") { self.kernel.bodies() } else { 0 };
        let mut admitted = bodies.filter(|&body| (self.admits)(body, &info).is_ok());
        admitted.next().map_or(0.0, |body| (self.plan)(body, &info).flops)
    }
}
