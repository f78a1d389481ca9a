//! What a kernel is: a WGSL body, a Rust twin, and a plan of dispatches.

/// Values for the `override` and tunable `const` declarations of a kernel's WGSL, by name.
pub type Constants = [(&'static str, f64)];

/// One kernel: the same computation as WGSL text for a GPU and as a Rust function, its *twin*, for the CPU.
///
/// `P` is the uniform parameter block: a `#[repr(C)]` struct of scalars that matches the WGSL struct bound at
/// `@group(0) @binding(0)`. Storage buffers are bound at 1, 2, ... in the order inputs, in-outs, outputs, scratch.
pub struct Kernel<P: 'static> {
    /// Name of the kernel and of its file in `kernels/`.
    pub name: &'static str,
    /// The WGSL text.
    pub source: &'static str,
    /// Whether every launch has proved its extents on the host, so that the driver's bounds checks may be off.
    ///
    /// Within the crate alone: what runs unchecked is this crate's own text.
    pub(crate) trusted: bool,
    /// Every set of constants that `plan` can ask for; `&[&[]]` where there is only the text as it stands.
    pub variants: &'static [&'static Constants],
    /// How the GPU runs a launch.
    pub plan: fn(&P, &GpuInfo) -> Plan,
    /// The body that the CPU runs.
    pub twin: fn(&P, Args<'_>),
}

/// A kernel without its parameter type, for walking over all of them.
pub trait AnyKernel: Sync {
    /// Name of the kernel and of its file.
    fn name(&self) -> &'static str;
    /// The WGSL text.
    fn source(&self) -> &'static str;
    /// Whether bounds checks may be off.
    fn trusted(&self) -> bool;
    /// Every set of constants that the host can ask for.
    fn variants(&self) -> &'static [&'static Constants];
    /// Bytes of the parameter block on the host.
    fn param_bytes(&self) -> usize;
}

impl<P> AnyKernel for Kernel<P> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn source(&self) -> &'static str {
        self.source
    }
    fn trusted(&self) -> bool {
        self.trusted
    }
    fn variants(&self) -> &'static [&'static Constants] {
        self.variants
    }
    fn param_bytes(&self) -> usize {
        size_of::<P>()
    }
}

/// What a plan may know of the GPU it is for.
#[derive(Debug, Clone)]
pub struct GpuInfo {
    /// A software driver: wide vectors, but no memory to share within a workgroup that would be faster than the rest.
    pub software: bool,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
}

/// The dispatches of one launch, run in order; each sees what the earlier ones wrote.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In order.
    pub dispatches: Vec<Dispatch>,
    /// Sizes, in f32 elements, of buffers that live for this launch only, bound after the outputs.
    pub scratch: Vec<usize>,
    /// Floating-point operations of the whole launch, roughly: submissions are cut by it.
    pub flops: f64,
}

/// One dispatch: an entry point, its constants and its grid.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// Name of the WGSL entry point.
    pub entry: &'static str,
    /// Number of workgroups in x, y, z.
    pub groups: [u32; 3],
    /// Constants of this variant; one of [`Kernel::variants`].
    pub constants: &'static Constants,
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
    /// One dispatch of entry `main` over `items` elements with 256 invocations in a group, one element each.
    pub fn linear(items: usize) -> Self {
        Plan::single(linear_grid(items, 256), items as f64)
    }

    /// One dispatch of entry `main` with the text's own constants.
    pub fn single(groups: [u32; 3], flops: f64) -> Self {
        Plan { dispatches: vec![Dispatch { entry: "main", groups, constants: &[] }], scratch: Vec::new(), flops }
    }
}

/// The buffers of a launch as a twin sees them.
pub struct Args<'a> {
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
    /// # Panics
    /// When a launch passed another number of buffers than the twin takes: a mistake in the op, not in its input.
    pub fn split<const I: usize, const M: usize, const O: usize>(self) -> Split<'a, I, M, O> {
        let arity = (self.ins.len(), self.inouts.len(), self.outs.len());
        match (self.ins.try_into(), self.inouts.try_into(), self.outs.try_into()) {
            (Ok(ins), Ok(inouts), Ok(outs)) => (ins, inouts, outs),
            _ => panic!("a twin takes {:?} buffers (in, in-out, out), its launch passed {arity:?}", (I, M, O)),
        }
    }
}
