//! Devices: where buffers live and kernels run.
//!
//! A [`Device`] is a GPU behind wgpu or the CPU. An op never asks which: it calls [`Device::launch`], and the device runs
//! the kernel's WGSL body or its Rust twin.

mod adapter;
mod backend;
mod cpu;
mod fill;
mod gpu;
mod handle;
mod kernel;
mod pool;
mod profile;
mod read;
mod region;
mod stderr;
#[cfg(test)]
mod tests;
mod view;
pub mod wgsl;

pub use adapter::{AdapterReport, DeviceChoice, adapters};
pub(crate) use fill::FILL;
pub use handle::Device;
pub use kernel::{
    AnyKernel, Args, Constants, Dispatch, GpuInfo, Kernel, MAX_GROUPS, Plan, Planner, Split, Twin, linear_grid,
};
pub use pool::{MemoryReport, human_bytes, parse_bytes};
pub use profile::LaunchTime;
pub use read::PendingRead;
pub(in crate::engine) use view::check_len;
pub use view::{VIEW_ALIGN, View};
