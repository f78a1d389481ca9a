//! One value throughout a tensor.

use crate::engine::device::{Args, Body, Device, Kernel, Plan, View, kernel_text};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Params {
    len: u32,
    value: f32,
}

/// The kernel behind [`Device::fill`].
pub(crate) static FILL: Kernel<Params> = Kernel {
    name: "fill",
    bodies: &[Body::proved(kernel_text!("fill"), &|p, _| Plan::linear(p.len as usize).each(0.0))],
    twin: &fill_twin,
};

fn fill_twin(p: &Params, args: Args) -> Result<()> {
    let ([], [], [y]) = args.split()?;
    y.fill(p.value);
    Ok(())
}

impl Device {
    /// Sets every element of a view. The value never lies in the host's memory as often as the view has elements.
    ///
    /// # Errors
    /// A view of another device, and whatever the launch reports.
    pub fn fill(&self, view: &View, value: f32) -> Result<()> {
        self.launch(&FILL, &Params { len: view.len() as u32, value }, &[], &[], &[view])
    }
}
