//! What a kernel is: bodies of WGSL, each with a plan of dispatches, and a Rust twin.

use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;

/// Values for the `override` and tunable `const` declarations of a kernel's WGSL, by name, and as `p.FIELD` for fields
/// of its parameter block.
pub type Constants = [(&'static str, f64)];

/// How a GPU runs a launch with these parameters.
pub type Planner<'a, P> = dyn Fn(&P, &GpuInfo) -> Plan + Sync + 'a;

/// Whether a body can run a launch with these parameters on this GPU; the error is the reason why it cannot.
pub type Admission<'a, P> = dyn Fn(&P, &GpuInfo) -> std::result::Result<(), String> + Sync + 'a;

/// Whether a body is likely to be the fastest of those that admit a launch with these parameters.
pub type Preference<'a, P> = dyn Fn(&P, &GpuInfo) -> bool + Sync + 'a;

/// What a CPU runs for a launch with these parameters.
pub type Twin<'a, P> = dyn Fn(&P, Args<'_>) -> Result<()> + Sync + 'a;

/// One kernel: a computation as a Rust function, its *twin*, for the CPU, and as one or more *bodies* of WGSL for GPUs.
///
/// `P` is the uniform parameter block: a `#[repr(C)]` struct of scalars that matches the WGSL struct bound at
/// `@group(0) @binding(0)`. Storage buffers are bound at 1, 2, ... in the order inputs, in-outs, outputs, scratch.
///
/// A kernel borrows its bodies and its twin: it may be a static, or be made for one launch from text that was
/// computed. What a device compiled for a text it finds again by the text itself.
pub struct Kernel<'a, P: 'static> {
    /// What messages and profiles call it; of the crate's own, the name of the file in `kernels/`.
    pub name: &'a str,
    /// What GPUs run, in the order in which they are asked whether they can; at least one. See [`Body`].
    pub bodies: &'a [Body<'a, P>],
    /// What the CPU runs.
    pub twin: &'a Twin<'a, P>,
}

/// One way for a GPU to run a kernel. All bodies of a kernel mean the same and may differ in rounding.
///
/// A launch takes the body that was asked for ([`Device::force_bodies`](crate::engine::device::Device::force_bodies));
/// else the first that admits it, [suits](Body::suiting) the GPU and is [preferred](Body::preferred) for such a launch;
/// else the first that admits it.
pub struct Body<'a, P: 'static> {
    /// The text, and what is known of it without parameters.
    pub text: Text<'a>,
    /// Whether it can run a launch.
    admits: Option<&'a Admission<'a, P>>,
    /// Whether it is likely to be the fastest on this GPU.
    suits: fn(&GpuInfo) -> bool,
    /// Whether it is, where it suits, for a launch of such sizes.
    preferred: Option<&'a Preference<'a, P>>,
    /// How the GPU runs a launch that it admits.
    plan: &'a Planner<'a, P>,
}

/// The text of a body.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Name of the body, `main` where a kernel has only one.
    pub body: &'a str,
    /// The WGSL text; empty for the crate's own in a build without the feature `gpu`. Its first lines may name snippets
    /// of `kernels/lib/`: `// use: linear`. Several bodies may share a text.
    pub source: &'a str,
    /// The entry points that its plans may name; none for all of the text.
    pub entries: &'a [&'a str],
    /// Every set of constants that its plans can ask for, fields of the parameter block left out; `&[&[]]` where there
    /// is only the text as it stands.
    pub variants: &'a [&'a Constants],
    /// See [`Text::is_proved`].
    trusted: bool,
    /// Whether the text is a part of the program: what lies at its address is always this text.
    #[cfg_attr(not(feature = "gpu"), allow(dead_code, reason = "a GPU alone has pipelines to find again"))]
    fixed: bool,
}

impl<'a> Text<'a> {
    /// The same body with another text.
    pub(super) fn with_source(self, source: &'a str) -> Text<'a> {
        Text { source, fixed: false, ..self }
    }

    /// Whether the text is a part of the program: what lies at its address is always this text.
    #[cfg(feature = "gpu")]
    pub(super) fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// Whether it multiplies by cooperative matrices, which not every language of drivers can express.
    pub fn has_matrices(&self) -> bool {
        self.source.lines().any(|line| line == "enable wgpu_cooperative_matrix;")
    }

    /// Whether every launch has proved its extents on the host, so that the driver's bounds checks may be off. Within
    /// the crate alone: what runs unchecked is this crate's own text.
    pub fn is_proved(&self) -> bool {
        self.trusted
    }
}

impl<'a, P: 'static> Body<'a, P> {
    /// A body whose text runs with all of the driver's checks: an index out of bounds reads or writes an element of
    /// the same buffer, or nothing at all. It admits every launch.
    pub const fn new(source: &'a str, plan: &'a Planner<'a, P>) -> Self {
        let text = Text { body: "main", source, entries: &[], variants: &[&[]], trusted: false, fixed: false };
        Body { text, admits: None, suits: |_| true, preferred: None, plan }
    }

    /// A body of this crate, all launches of which prove their extents on the host.
    pub(crate) const fn proved(source: &'static str, plan: &'a Planner<'a, P>) -> Self {
        let body = Body::new(source, plan);
        Body { text: Text { trusted: true, fixed: true, ..body.text }, ..body }
    }

    /// The same under a name of its own, with the entry points of the text that its plans name.
    #[must_use]
    pub const fn named(self, body: &'a str, entries: &'a [&'a str]) -> Self {
        Body { text: Text { body, entries, ..self.text }, ..self }
    }

    /// The same with these sets of constants, see [`Text::variants`].
    #[must_use]
    pub const fn with_variants(self, variants: &'a [&'a Constants]) -> Self {
        Body { text: Text { variants, ..self.text }, ..self }
    }

    /// The same for launches alone that `admits` has no reason against.
    #[must_use]
    pub const fn admitting(self, admits: &'a Admission<'a, P>) -> Self {
        Body { admits: Some(admits), ..self }
    }

    /// The same, preferred on some GPUs alone.
    #[must_use]
    pub const fn suiting(self, suits: fn(&GpuInfo) -> bool) -> Self {
        Body { suits, ..self }
    }

    /// The same, preferred for some launches alone.
    #[must_use]
    pub const fn preferred(self, preferred: &'a Preference<'a, P>) -> Self {
        Body { preferred: Some(preferred), ..self }
    }
}

/// The text of `kernels/NAME.wgsl`; empty in a build without GPUs, where nothing reads it.
macro_rules! kernel_text {
    ($name:literal) => {
        if cfg!(feature = "gpu") {
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/", $name, ".wgsl"))
        } else {
            ""
        }
    };
}
pub(crate) use kernel_text;

/// A kernel without its parameter type, for walking over all of them.
pub trait AnyKernel: Sync {
    /// Name of the kernel and of its file.
    fn name(&self) -> &str;
    /// Number of its bodies.
    fn bodies(&self) -> usize;
    /// The text of a body, counted from 0 and below [`AnyKernel::bodies`].
    fn text(&self, body: usize) -> Text<'_>;
    /// Whether a body is one that the GPU would rather run than another that can, too.
    fn suits(&self, body: usize, gpu: &GpuInfo) -> bool;
    /// Bytes of the parameter block on the host.
    fn param_bytes(&self) -> usize;
}

impl<P> AnyKernel for Kernel<'_, P> {
    fn name(&self) -> &str {
        self.name
    }
    fn bodies(&self) -> usize {
        self.bodies.len()
    }
    fn text(&self, body: usize) -> Text<'_> {
        self.bodies[body].text
    }
    fn suits(&self, body: usize, gpu: &GpuInfo) -> bool {
        (self.bodies[body].suits)(gpu)
    }
    fn param_bytes(&self) -> usize {
        size_of::<P>()
    }
}

impl<P> Kernel<'_, P> {
    /// Whether a body can run this launch.
    pub(super) fn admits(&self, body: usize, params: &P, gpu: &GpuInfo) -> std::result::Result<(), String> {
        self.bodies[body].admits.map_or(Ok(()), |admits| admits(params, gpu))
    }

    /// Whether a body that admits this launch is likely to be the fastest.
    pub(super) fn prefers(&self, body: usize, params: &P, gpu: &GpuInfo) -> bool {
        let body = &self.bodies[body];
        (body.suits)(gpu) && body.preferred.is_none_or(|preferred| preferred(params, gpu))
    }

    /// How a body that admits this launch runs it.
    pub(crate) fn plan(&self, body: usize, params: &P, gpu: &GpuInfo) -> Plan {
        (self.bodies[body].plan)(params, gpu)
    }
}

/// Every text of the kernel, one for each body.
pub fn texts(kernel: &dyn AnyKernel) -> impl Iterator<Item = Text<'_>> {
    (0..kernel.bodies()).map(|body| kernel.text(body))
}

/// What a plan may know of the GPU it is for.
#[derive(Debug, Clone)]
pub struct GpuInfo {
    /// A software driver: wide vectors, but no memory to share within a workgroup that would be faster than the rest.
    pub software: bool,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Matrices that its subgroups multiply together, where the device was opened for f16.
    pub matrices: Option<Matrices>,
}

/// Cooperative matrices: factors of f16, sums of f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrices {
    /// Rows, columns and depth of a product of two: 8 or 16.
    pub side: u32,
    /// Invocations of a subgroup, or more.
    pub subgroup: u32,
}

impl GpuInfo {
    /// Whether it is a driver that computes on the processor.
    pub fn is_software(&self) -> bool {
        self.software
    }

    /// Whether it is a real card.
    pub fn is_hardware(&self) -> bool {
        !self.software
    }
}

/// The dispatches of one launch, run in order; each sees what the earlier ones wrote.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In order.
    pub dispatches: Vec<Dispatch>,
    /// Sizes, in f32 elements, of buffers that live for this launch only, bound after the outputs.
    pub scratch: Vec<usize>,
    /// Floating-point operations of the whole launch, those that the formula has; an exponential, a root or a
    /// comparison is one. Submissions are cut by it.
    pub flops: f64,
}

/// One dispatch: an entry point, its constants and its grid.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// Name of the WGSL entry point.
    pub entry: Cow<'static, str>,
    /// Number of workgroups in x, y, z.
    pub groups: [u32; 3],
    /// Constants of this variant.
    pub constants: Cow<'static, Constants>,
}

impl Dispatch {
    /// `groups` workgroups of `entry` with the text's own constants.
    pub fn new(entry: impl Into<Cow<'static, str>>, groups: [u32; 3]) -> Self {
        Dispatch { entry: entry.into(), groups, constants: Cow::Borrowed(&[]) }
    }

    /// The same with these constants: values of the text's `override` and `const` declarations, by name. `p.FIELD`
    /// stands for a field of the parameter block, `u32` and the same as the launch's: a pipeline of its own for each
    /// value, so for what few launches differ in.
    #[must_use]
    pub fn with(self, constants: impl Into<Cow<'static, Constants>>) -> Self {
        Dispatch { constants: constants.into(), ..self }
    }
}

/// Workgroups along x and y at which a linear grid is folded; WebGPU's limit for one dimension.
pub const MAX_GROUPS: u32 = 65_535;

/// A grid of `items / per_group` workgroups, folded into y where it passes [`MAX_GROUPS`].
///
/// The kernel gets its linear index back as `group.y * MAX_GROUPS + group.x`, see `kernels/lib/linear.wgsl`.
pub fn linear_grid(items: usize, per_group: usize) -> [u32; 3] {
    let groups = items.div_ceil(per_group).max(1) as u64;
    if groups <= u64::from(MAX_GROUPS) {
        [groups as u32, 1, 1]
    } else {
        [MAX_GROUPS, groups.div_ceil(u64::from(MAX_GROUPS)) as u32, 1]
    }
}

impl Plan {
    /// One dispatch of entry `main` over `items` elements with 256 invocations in a group, one element each, for which
    /// an operation is counted.
    pub fn linear(items: usize) -> Self {
        Plan::single(linear_grid(items, 256), items as f64)
    }

    /// The same with so many operations for each that was counted: of [`Plan::linear`], for each element.
    #[must_use]
    pub fn each(self, flops: f64) -> Self {
        Plan { flops: self.flops * flops, ..self }
    }

    /// One dispatch of entry `main` with the text's own constants.
    pub fn single(groups: [u32; 3], flops: f64) -> Self {
        Plan { dispatches: vec![Dispatch::new("main", groups)], scratch: Vec::new(), flops }
    }
}

/// The buffers of a launch as a twin sees them.
pub struct Args<'a> {
    pub(super) kernel: &'a str,
    pub(super) ins: Vec<&'a [f32]>,
    pub(super) inouts: Vec<&'a mut [f32]>,
    pub(super) outs: Vec<&'a mut [f32]>,
}

/// What [`Args::split`] hands out: inputs, in-outs, outputs.
pub type Split<'a, const I: usize, const M: usize, const O: usize> =
    ([&'a [f32]; I], [&'a mut [f32]; M], [&'a mut [f32]; O]);

impl<'a> Args<'a> {
    /// Inputs, in-outs and outputs, as many of each as the kernel has.
    ///
    /// # Errors
    /// A launch that passed another number of buffers than the twin takes.
    pub fn split<const I: usize, const M: usize, const O: usize>(self) -> Result<Split<'a, I, M, O>> {
        let arity = (self.ins.len(), self.inouts.len(), self.outs.len());
        match (self.ins.try_into(), self.inouts.try_into(), self.outs.try_into()) {
            (Ok(ins), Ok(inouts), Ok(outs)) => Ok((ins, inouts, outs)),
            _ => Err(Error::input(
                format!("its twin takes {:?} buffers (in, in-out, out), the launch has {arity:?}", (I, M, O)),
                self.kernel,
                "pass as many as it takes",
            )
            .of(ErrorKind::Kernel)),
        }
    }
}
