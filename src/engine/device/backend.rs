//! What a device is made of: the CPU or a GPU, and the buffers of either.

use crate::engine::device::bodies::Bodies;
use crate::engine::device::cpu::{self, Cpu};
use crate::engine::device::gpu::{self, Gpu};
use crate::engine::device::region::Region;
use crate::error::Result;
use std::sync::atomic::{AtomicBool, Ordering};

/// Everything behind a device; views keep it alive.
pub(super) struct Inner {
    pub backend: Backend,
    /// Whether new buffers are filled with NaN.
    pub poison: AtomicBool,
    /// Which bodies launches take.
    pub bodies: Bodies,
}

pub(super) enum Backend {
    Cpu(Cpu),
    Gpu(Box<Gpu>),
}

/// A buffer of a pool.
pub(super) enum Storage {
    Cpu(cpu::Memory),
    Gpu(gpu::Memory),
}

impl Inner {
    pub fn new(backend: Backend) -> Self {
        Inner { backend, poison: AtomicBool::new(false), bodies: Bodies::default() }
    }

    pub fn poisons(&self) -> bool {
        self.poison.load(Ordering::Relaxed)
    }

    /// A buffer of size class `class`.
    pub fn alloc(&self, class: u64) -> Result<Storage> {
        Ok(match &self.backend {
            Backend::Cpu(cpu) => Storage::Cpu(cpu.alloc(class)?),
            Backend::Gpu(gpu) => Storage::Gpu(gpu.alloc(class)?),
        })
    }

    /// Gives a buffer that [`Inner::alloc`] of this device made back to its pool.
    pub fn free(&self, class: u64, storage: Storage) {
        match (storage, &self.backend) {
            (Storage::Cpu(memory), Backend::Cpu(cpu)) => cpu.free(class, memory),
            (Storage::Gpu(memory), Backend::Gpu(gpu)) => gpu.free(class, memory),
            // A buffer keeps its own device: there is no other pairing.
            (Storage::Cpu(_), Backend::Gpu(_)) | (Storage::Gpu(_), Backend::Cpu(_)) => {}
        }
    }
}

impl Storage {
    /// A run of elements of this buffer, where it is one of the CPU.
    pub fn on_cpu<'a>(&'a self, offset: usize, shape: &'a [usize]) -> Option<Region<'a, cpu::Memory>> {
        match self {
            Storage::Cpu(memory) => Some(Region { memory, offset, shape }),
            Storage::Gpu(_) => None,
        }
    }

    /// As [`Storage::on_cpu`], of a GPU.
    pub fn on_gpu<'a>(&'a self, offset: usize, shape: &'a [usize]) -> Option<Region<'a, gpu::Memory>> {
        match self {
            Storage::Gpu(memory) => Some(Region { memory, offset, shape }),
            Storage::Cpu(_) => None,
        }
    }
}
