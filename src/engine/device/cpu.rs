//! The CPU as a device: twins over slices.

use crate::engine::device::kernel::{Args, Kernel};
use crate::engine::device::pool::Pool;
use crate::engine::device::profile::LaunchTime;
use crate::engine::device::{Storage, View, describe, foreign, human_bytes};
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
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
        let create = || {
            let len = class as usize / 4;
            // Asked for first, so that a size that cannot be had is an error; made anew, so that pages stay untouched.
            let probe = Vec::<f32>::new().try_reserve_exact(len);
            probe.map(|()| vec![0.0; len]).map_err(|_| {
                let what = format!("there is no memory for {} more", human_bytes(class));
                Error::failed(what, "cpu", "take a smaller batch, tile, picture or width")
            })
        };
        let mut pool = self.pool();
        let data = match pool.take(class, create) {
            Err(_) if pool.trim() => pool.take(class, create)?,
            taken => taken?,
        };
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
        kernel: &Kernel<'_, P>,
        params: &P,
        ins: &[&View],
        inouts: &[&View],
        outs: &[&View],
    ) -> Result<()> {
        // Each buffer is locked once, all of them in one order: launches of other threads cannot wait for each other.
        let mut all: Vec<(&View, bool)> = ins.iter().map(|view| (*view, false)).collect();
        all.extend(inouts.iter().chain(outs).map(|view| (*view, true)));
        all.sort_by_key(|(view, _)| Arc::as_ptr(&view.buffer).addr());
        all.dedup_by(|(view, _), (kept, _)| view.same_buffer(kept));
        let (mut readers, mut writers) = (Vec::new(), Vec::new());
        for (view, written) in all {
            match written {
                false => readers.push((view, memory(&view)?.read())),
                true => writers.push((view, memory(&view)?.write())),
            }
        }
        let slice_of = |view: &&View| {
            let found = readers.iter().find(|(known, _)| known.same_buffer(view));
            found.map(|(_, guard)| &guard[view.offset..view.offset + view.len()])
        };
        let read = ins.iter().filter_map(slice_of).collect();

        // Several written views may lie in one buffer (a parameter arena), which is split among them.
        let written: Vec<&View> = inouts.iter().chain(outs).copied().collect();
        let mut slices: Vec<Option<&mut [f32]>> = written.iter().map(|_| None).collect();
        for (buffer, guard) in &mut writers {
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
        let args = Args { kernel: kernel.name, ins: read, inouts: inout_slices, outs: slices.collect() };

        let start = Instant::now();
        (kernel.twin)(params, args)?;
        if let Some(times) = self.profile().as_mut() {
            times.push(LaunchTime {
                kernel: kernel.name.to_owned(),
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
