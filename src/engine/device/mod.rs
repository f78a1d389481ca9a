//! Devices: where buffers live and kernels run.
//!
//! A [`Device`] is a GPU behind wgpu or the CPU. An op never asks which: it calls [`Device::launch`], and the device
//! runs one of the kernel's WGSL bodies or its Rust twin.

mod backend;
mod bodies;
mod choice;
mod cpu;
mod element;
mod fill;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(not(feature = "gpu"))]
#[path = "no_gpu.rs"]
mod gpu;
mod handle;
mod host_work;
mod kernel;
mod launch;
mod pages;
mod pool;
mod precision;
mod profile;
mod profiler;
mod profiling;
mod read;
mod region;
#[cfg(test)]
mod tests;
#[cfg(feature = "gpu")]
mod trial;
mod tuned;
mod view;
#[cfg(feature = "gpu")]
pub mod wgsl;

pub use bodies::{BodyRuns, By, Forced};
pub use choice::{AdapterReport, DeviceChoice};
pub use element::Element;
pub(crate) use fill::FILL;
pub use gpu::adapters;
pub use handle::Device;
pub use host_work::HostWork;
pub(crate) use kernel::kernel_text;
pub use kernel::{
    Admission, AnyKernel, Args, Body, Constants, Dispatch, GpuInfo, Kernel, MAX_GROUPS, Matrices, Plan, Planner, Split,
    Text, Twin, linear_grid, texts,
};
pub use pool::{MemoryReport, human_bytes, parse_bytes};
pub use precision::Precision;
pub use profile::{LaunchTime, Profile, Roofline, Timing, Work};
pub use profiling::LayerScope;
pub use read::PendingRead;
#[cfg(feature = "gpu")]
pub use trial::{Then, Trial, Watcher};
pub use tuned::Tuned;
pub(in crate::engine) use view::check_len;
pub use view::{VIEW_ALIGN, View};
