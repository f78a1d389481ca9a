//! The CPU as a device: twins over slices.

use super::kernel::{Args, Kernel};
use super::pool::Pool;
use super::profile::LaunchTime;
use super::{Storage, View, describe, foreign};
use crate::error::Result;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

/// A buffer's elements. The lock lets a launch read some buffers while it writes others without `unsafe`.
pub(super) struct Memory(RwLock<Vec<f32>>);

impl Memory {
    pub fn read(&self) -> RwLockReadGuard<'_, Vec<f32>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Vec<f32>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Cpu {
    pool: Mutex<Pool<Vec<f32>>>,
    profile: Mutex<Option<Vec<LaunchTime>>>,
}

impl Cpu {
    pub fn new() -> Self {
        Cpu { pool: Mutex::new(Pool::new(None)), profile: Mutex::new(None) }
    }

    pub fn pool(&self) -> MutexGuard<'_, Pool<Vec<f32>>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn alloc(&self, class: u64) -> Result<Memory> {
        let data = self.pool().take(class, || Ok(vec![0.0; class as usize / 4]))?;
        Ok(Memory(RwLock::new(data)))
    }

    pub fn free(&self, class: u64, memory: Memory) {
        self.pool().give_back(class, memory.0.into_inner().unwrap_or_else(PoisonError::into_inner));
    }

    fn profile(&self) -> MutexGuard<'_, Option<Vec<LaunchTime>>> {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn start_profile(&self) {
        *self.profile() = Some(Vec::new());
    }

    pub fn stop_profile(&self) -> Vec<LaunchTime> {
        self.profile().take().unwrap_or_default()
    }

    pub fn launch<P>(
        &self,
        kernel: &Kernel<P>,
        params: &P,
        ins: &[&View],
        inouts: &[&View],
        outs: &[&View],
    ) -> Result<()> {
        let read: Vec<_> = ins.iter().map(|view| memory(view).map(Memory::read)).collect::<Result<_>>()?;
        let read = ins.iter().zip(&read).map(|(view, guard)| &guard[view.offset..view.offset + view.len()]).collect();

        // Several written views may lie in one buffer (a parameter arena): lock each buffer once, then split it.
        let written: Vec<&View> = inouts.iter().chain(outs).copied().collect();
        let mut buffers: Vec<&View> = Vec::new();
        for view in &written {
            if !buffers.iter().any(|known| known.same_buffer(view)) {
                buffers.push(view);
            }
        }
        let mut guards: Vec<_> = buffers.iter().map(|view| memory(view).map(Memory::write)).collect::<Result<_>>()?;
        let mut slices: Vec<Option<&mut [f32]>> = written.iter().map(|_| None).collect();
        for (buffer, guard) in buffers.iter().zip(&mut guards) {
            let mut here: Vec<usize> = (0..written.len()).filter(|&i| written[i].same_buffer(buffer)).collect();
            here.sort_by_key(|&i| written[i].offset);
            let (mut rest, mut start) = (guard.as_mut_slice(), 0);
            for i in here {
                let (_, tail) = rest.split_at_mut(written[i].offset - start);
                let (part, tail) = tail.split_at_mut(written[i].len());
                slices[i] = Some(part);
                (rest, start) = (tail, written[i].offset + written[i].len());
            }
        }
        let mut slices = slices.into_iter().flatten();
        let inout_slices = slices.by_ref().take(inouts.len()).collect();
        let args = Args { ins: read, inouts: inout_slices, outs: slices.collect() };

        let start = Instant::now();
        (kernel.twin)(params, args);
        if let Some(times) = self.profile().as_mut() {
            times.push(LaunchTime {
                kernel: kernel.name,
                shapes: describe(ins, inouts, outs),
                seconds: start.elapsed().as_secs_f64(),
            });
        }
        Ok(())
    }
}

fn memory<'a>(view: &&'a View) -> Result<&'a Memory> {
    match &view.buffer.storage {
        Some(Storage::Cpu(memory)) => Ok(memory),
        _ => Err(foreign(view)),
    }
}
