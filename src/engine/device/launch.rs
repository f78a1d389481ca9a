//! A launch: which body runs, on what, and the checks before it.

use crate::engine::device::backend::{Backend, Storage};
use crate::engine::device::bodies::{self, By};
use crate::engine::device::handle::{Device, regions};
use crate::engine::device::kernel::{AnyKernel, Args, GpuInfo, Kernel, Plan};
use crate::engine::device::profile::{LaunchTime, Work};
use crate::engine::device::profiler::Ran;
use crate::engine::device::region::describe;
#[cfg(feature = "gpu")]
use crate::engine::device::trial::{Then, Trial, Watcher};
use crate::engine::device::tuned::shape_class;
use crate::engine::device::view::View;
use crate::error::{Error, Result};
use std::time::Instant;

impl Device {
    /// Runs a kernel: reads `ins`, updates `inouts`, writes `outs` whole.
    ///
    /// On a GPU this records the launch and returns; [`Device::read`] and [`Device::sync`] wait.
    ///
    /// # Errors
    /// A view of another device ([`ErrorKind::Device`](crate::error::ErrorKind::Device)); an
    /// [`ErrorKind::Kernel`](crate::error::ErrorKind::Kernel) that names the kernel, its variant and the shapes,
    /// when the bindings do not match the WGSL text, when a written buffer is bound twice, when the grid is larger than
    /// the adapter allows, or when the driver refuses.
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
            prefers: &|body, info| kernel.prefers(body, params, info),
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
                let [ins, inouts, outs] = shapes_of([ins, inouts, outs]);
                let message = format!("a buffer is written and bound twice in {}", describe(&ins, &inouts, &outs));
                return Err(Error::kernel(launch.kernel.name(), message));
            }
        }
        #[cfg(feature = "gpu")]
        if self.is_skipped(launch, [ins, inouts, outs])? {
            return Ok(());
        }
        let body = self.gpu_info().map(|gpu| self.body(launch, gpu, [ins, inouts, outs])).transpose()?;
        self.run_body(launch, body, [ins, inouts, outs])
    }

    /// Runs a launch by one of its bodies, on the CPU by its twin.
    fn run_body(&self, launch: &Launch<'_>, body: Option<usize>, [ins, inouts, outs]: Views<'_>) -> Result<()> {
        let begun = Instant::now();
        match &self.0.backend {
            Backend::Cpu(cpu) => {
                let on_cpu = |views| regions(views, Storage::on_cpu);
                let (name, twin) = (launch.kernel.name(), launch.twin);
                let (start, seconds) = cpu.launch(name, twin, &on_cpu(ins)?, &on_cpu(inouts)?, &on_cpu(outs)?)?;
                if self.0.profiler.is_on() {
                    self.noted(launch, "twin", None, [ins, inouts, outs], &Ran { begun, start, seconds });
                }
                Ok(())
            }
            Backend::Gpu(gpu) => {
                let body = body.unwrap_or_default();
                let plan = (launch.plan)(body, gpu.info());
                let scratch: Vec<View> = plan.scratch.iter().map(|&len| self.alloc(&[len])).collect::<Result<_>>()?;
                let args: Vec<&View> = ins.iter().chain(inouts).chain(outs).copied().chain(&scratch).collect();
                let args = regions(&args, Storage::on_gpu)?;
                let text = launch.kernel.text(body);
                let replaced = self.0.bodies.replacement(launch.kernel.name(), &text);
                let text = replaced.as_deref().map_or(text, |source| text.with_source(source));
                let (start, seconds) =
                    gpu.launch(launch.kernel.name(), &text, launch.params, &plan, (&args, ins.len()))?;
                if self.0.profiler.is_on() {
                    let ran = Ran { begun, start, seconds };
                    self.noted(launch, text.body, Some(plan.flops), [ins, inouts, outs], &ran);
                }
                Ok(())
            }
        }
    }

    /// Notes a launch for the profile.
    fn noted(&self, launch: &Launch<'_>, body: &str, flops: Option<f64>, views: Views<'_>, ran: &Ran) {
        let [ins, inouts, outs] = shapes_of(views);
        let noted = LaunchTime {
            kernel: launch.kernel.name().to_owned(),
            body: body.to_owned(),
            shapes: describe(&ins, &inouts, &outs),
            work: Work { flops: flops.unwrap_or_else(|| launch.flops()), bytes: bytes_of(views) },
            live_bytes: self.memory().live_bytes,
            ..LaunchTime::default()
        };
        self.0.profiler.note(noted, ran, views[1].iter().chain(views[2]).map(|view| view.extent()));
    }

    /// The body that runs a launch, which is counted.
    fn body(&self, launch: &Launch<'_>, gpu: &GpuInfo, views: Views<'_>) -> Result<usize> {
        if launch.kernel.bodies() == 1 && !self.0.bodies.any_forced() {
            return Ok(0);
        }
        let (body, by) = self.choose(launch, gpu, views)?;
        self.0.bodies.count(launch.kernel, body, by);
        Ok(body)
    }

    /// The body that a launch takes, and why.
    fn choose(&self, launch: &Launch<'_>, gpu: &GpuInfo, views: Views<'_>) -> Result<(usize, By)> {
        let (kernel, state) = (launch.kernel, &self.0.bodies);
        let tuned = state.tuned();
        let class = || shape_class(&shapes_of(views));
        let tuned = tuned.as_ref().and_then(|tuned| tuned.body(kernel.name(), &class));
        let prefers = |body| (launch.prefers)(body, gpu);
        bodies::choose(kernel, &state.forced(), tuned, &prefers, &|body| (launch.admits)(body, gpu))
    }

    /// Shows a launch to whoever looks at launches; whether it is not to run.
    #[cfg(feature = "gpu")]
    fn is_skipped(&self, launch: &Launch<'_>, views: Views<'_>) -> Result<bool> {
        let Some(mut watcher) = self.0.watched.take() else { return Ok(false) };
        let then = watcher(&mut Tried { device: self, launch, views, copies: None });
        self.0.watched.set(Some(watcher));
        then.map(|then| then == Then::Skip)
    }

    /// Shows every launch to `watcher` from now on, before it runs; none where it is `None`.
    #[cfg(feature = "gpu")]
    pub(crate) fn watch_launches(&self, watcher: Option<Watcher>) {
        self.0.watched.set(watcher);
    }
}

/// Inputs, in-outs, outputs of a launch.
type Views<'a> = [&'a [&'a View]; 3];

fn shapes_of(views: Views<'_>) -> [Vec<&[usize]>; 3] {
    views.map(|views| views.iter().map(|view| view.shape()).collect())
}

/// Bytes that a launch reads and writes at least.
fn bytes_of([ins, inouts, outs]: Views<'_>) -> u64 {
    let bytes = |views: &[&View]| views.iter().map(|view| view.bytes()).sum::<u64>();
    bytes(ins) + 2 * bytes(inouts) + bytes(outs)
}

/// A kernel with its parameters, their type forgotten.
struct Launch<'a> {
    kernel: &'a dyn AnyKernel,
    params: &'a [u8],
    admits: &'a dyn Fn(usize, &GpuInfo) -> std::result::Result<(), String>,
    prefers: &'a dyn Fn(usize, &GpuInfo) -> bool,
    plan: &'a dyn Fn(usize, &GpuInfo) -> Plan,
    twin: &'a dyn Fn(Args<'_>) -> Result<()>,
}

impl Launch<'_> {
    /// Floating-point operations, as a plan for GPUs tells them; 0 in a build that has no use for plans.
    fn flops(&self) -> f64 {
        let info = GpuInfo { software: true, workgroup_bytes: 0, matrices: None };
        let bodies = 0..if cfg!(feature = "gpu") { self.kernel.bodies() } else { 0 };
        let mut admitted = bodies.filter(|&body| (self.admits)(body, &info).is_ok());
        admitted.next().map_or(0.0, |body| (self.plan)(body, &info).flops)
    }
}

/// A launch that is looked at.
#[cfg(feature = "gpu")]
struct Tried<'a> {
    device: &'a Device,
    launch: &'a Launch<'a>,
    views: Views<'a>,
    /// Of its inputs, in-outs and outputs.
    copies: Option<[Vec<View>; 3]>,
}

#[cfg(feature = "gpu")]
impl Trial for Tried<'_> {
    fn kernel(&self) -> &dyn AnyKernel {
        self.launch.kernel
    }

    fn params(&self) -> &[u8] {
        self.launch.params
    }

    fn shapes(&self) -> String {
        let [ins, inouts, outs] = shapes_of(self.views);
        describe(&ins, &inouts, &outs)
    }

    fn class(&self) -> String {
        shape_class(&shapes_of(self.views))
    }

    fn chosen(&self) -> Result<Option<(usize, By)>> {
        self.device.gpu_info().map(|gpu| self.device.choose(self.launch, gpu, self.views)).transpose()
    }

    fn admits(&self, body: usize, gpu: &GpuInfo) -> std::result::Result<(), String> {
        (self.launch.admits)(body, gpu)
    }

    fn prefers(&self, body: usize, gpu: &GpuInfo) -> bool {
        (self.launch.prefers)(body, gpu)
    }

    fn plan(&self, body: usize, gpu: &GpuInfo) -> Plan {
        (self.launch.plan)(body, gpu)
    }

    fn work(&self, body: Option<usize>) -> Work {
        let of = |body| self.device.gpu_info().map(|gpu| (self.launch.plan)(body, gpu).flops);
        let flops = body.and_then(of).unwrap_or_else(|| self.launch.flops());
        Work { flops, bytes: bytes_of(self.views) }
    }

    fn copy(&mut self) -> Result<()> {
        let device = self.device;
        let alloc = |view: &&View| device.alloc(view.shape());
        if self.copies.is_none() {
            let [ins, inouts, outs] = self.views.map(|views| views.iter().map(alloc).collect::<Result<Vec<_>>>());
            self.copies = Some([ins?, inouts?, outs?]);
        }
        let Some(copies) = &self.copies else { return Ok(()) };
        let read = |at: usize| self.views[at].iter().zip(&copies[at]);
        read(0).chain(read(1)).try_for_each(|(view, copy)| device.write(copy, &device.read(view)?))?;
        copies[2].iter().try_for_each(|copy| device.fill(copy, f32::NAN))
    }

    fn run(&self, body: Option<usize>) -> Result<()> {
        let Some(copies) = &self.copies else { return Ok(()) };
        let [ins, inouts, outs] = [0, 1, 2].map(|at| copies[at].iter().collect::<Vec<_>>());
        self.device.run_body(self.launch, body, [&ins, &inouts, &outs])
    }

    fn results(&self) -> Result<Vec<Vec<f32>>> {
        self.copies
            .iter()
            .flat_map(|[_, inouts, outs]| inouts.iter().chain(outs))
            .map(|v| self.device.read(v))
            .collect()
    }

    fn expected(&self) -> Result<Vec<Vec<f32>>> {
        let values = |views: &[&View]| views.iter().map(|view| self.device.read(view)).collect::<Result<Vec<_>>>();
        let [ins, inouts] = [values(self.views[0])?, values(self.views[1])?];
        let outs = self.views[2].iter().map(|view| vec![f32::NAN; view.len()]);
        let mut written: Vec<Vec<f32>> = inouts.into_iter().chain(outs).collect();
        let (first, rest) = written.split_at_mut(self.views[1].len());
        let [inouts, outs] = [first, rest].map(|values| values.iter_mut().map(Vec::as_mut_slice).collect());
        let ins = ins.iter().map(Vec::as_slice).collect();
        (self.launch.twin)(Args { kernel: self.launch.kernel.name(), ins, inouts, outs })?;
        Ok(written)
    }
}
