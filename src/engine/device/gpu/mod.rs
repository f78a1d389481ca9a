//! A GPU: wgpu buffers, cached pipelines and bind groups, launches recorded and submitted in batches.

mod adapter;
mod device;
mod fault;
mod matrices;
mod memory;
mod pace;
mod pipeline_cache;
mod pipelines;
mod read;
mod recorder;
mod stamps;
mod stderr;

pub use adapter::adapters;
pub(super) use adapter::choose;
pub(super) use device::Gpu;
pub(super) use memory::Memory;
pub(super) use read::GpuRead;
