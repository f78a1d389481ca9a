//! What a device is made of: the CPU or a GPU, and the buffers of either.

use crate::engine::device::bodies::Bodies;
use crate::engine::device::cpu::{self, Cpu};
use crate::engine::device::element::Element;
use crate::engine::device::gpu::{self, Gpu};
use crate::engine::device::profiler::Profiler;
use crate::engine::device::region::{Place, Region};
#[cfg(feature = "gpu")]
use crate::engine::device::trial::Watched;
use crate::engine::ranks::Ranks;
use crate::error::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Everything behind a device; views keep it alive.
pub(super) struct Inner {
    pub backend: Backend,
    /// Whether new buffers are filled with NaN.
    pub poison: AtomicBool,
    /// Whether the guard band of a buffer is looked at when it goes, and what was found.
    pub watch: AtomicBool,
    pub overruns: Mutex<Vec<String>>,
    /// Which bodies launches take.
    pub bodies: Bodies,
    /// The processes that this one works with, once they are known.
    pub ranks: OnceLock<Ranks>,
    /// Who looks at launches.
    #[cfg(feature = "gpu")]
    pub watched: Watched,
    pub profiler: Profiler,
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

/// Elements of a guard band.
pub(super) const GUARD: usize = 64;

/// What a guard band holds: a NaN that no arithmetic makes.
pub(super) fn guard_value() -> f32 {
    f32::from_bits(0x7fc0_ba5e)
}

impl Inner {
    pub fn new(backend: Backend) -> Self {
        Inner {
            backend,
            poison: AtomicBool::new(false),
            watch: AtomicBool::new(false),
            overruns: Mutex::default(),
            bodies: Bodies::default(),
            ranks: OnceLock::new(),
            #[cfg(feature = "gpu")]
            watched: Watched::default(),
            profiler: Profiler::default(),
        }
    }

    pub fn poisons(&self) -> bool {
        self.poison.load(Ordering::Relaxed)
    }

    /// Whether new buffers have a guard band: the CPU's twins check every index themselves.
    pub fn guards(&self) -> bool {
        self.poisons() && matches!(self.backend, Backend::Gpu(_))
    }

    /// Where that is asked for, notes whether something was written behind the `len` elements of a buffer.
    pub fn inspect_guard(&self, storage: &Storage, len: usize) {
        let (true, Backend::Gpu(gpu)) = (self.watch.load(Ordering::Relaxed), &self.backend) else { return };
        let place = Place { element: Element::F32, offset: len, shape: &[GUARD] };
        let Some(band) = storage.on_gpu(place) else { return };
        let read = |reads: Vec<gpu::GpuRead>| reads.into_iter().map(gpu::GpuRead::finish).collect::<Result<Vec<_>>>();
        let found = match gpu.start_reads(&[band]).and_then(read).map(|bands| bands.concat()) {
            Ok(band) => band.iter().position(|value| value.to_bits() != guard_value().to_bits()),
            // Whoever works with the device is told.
            Err(_) => None,
        };
        if let Some(at) = found {
            let mut overruns = self.overruns.lock().unwrap_or_else(PoisonError::into_inner);
            overruns.push(format!("a buffer of {len} elements was written at {}", len + at));
        }
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
    pub fn on_cpu<'a>(&'a self, place: Place<'a>) -> Option<Region<'a, cpu::Memory>> {
        match self {
            Storage::Cpu(memory) => Some(place.of(memory)),
            Storage::Gpu(_) => None,
        }
    }

    /// As [`Storage::on_cpu`], of a GPU.
    pub fn on_gpu<'a>(&'a self, place: Place<'a>) -> Option<Region<'a, gpu::Memory>> {
        match self {
            Storage::Gpu(memory) => Some(place.of(memory)),
            Storage::Cpu(_) => None,
        }
    }
}
