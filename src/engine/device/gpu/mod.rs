//! A GPU: wgpu buffers, cached pipelines and bind groups, launches recorded and submitted in batches.

mod device;
mod fault;
mod memory;
mod pipelines;
mod read;
mod recorder;

pub(super) use device::Gpu;
pub(super) use memory::Memory;
pub(super) use read::GpuRead;
