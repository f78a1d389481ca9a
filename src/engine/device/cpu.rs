//! The CPU as a device: twins over slices.

use crate::engine::device::kernel::Args;
use crate::engine::device::pages::Values;
use crate::engine::device::pool::{Held, Pool, Reuse, human_bytes};
use crate::engine::device::region::Region;
use crate::error::{Error, ErrorKind, Result};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

/// A buffer's elements. The lock lets a launch read some buffers while it writes others without `unsafe`.
pub(super) struct Memory {
    data: RwLock<Values>,
    class: u64,
}

impl Memory {
    fn read(&self) -> RwLockReadGuard<'_, Values> {
        self.data.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Values> {
        self.data.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every element zero, in pages that take no memory until they are written.
    pub fn forget(&self) {
        let mut data = self.write();
        // Where there is no room for new pages the old ones stay.
        if let Ok(zero) = Values::zero(data.len()) {
            *data = zero;
        }
    }
}

pub(super) struct Cpu {
    pool: Mutex<Pool<Values>>,
}

impl Cpu {
    pub fn new() -> Self {
        Cpu { pool: Mutex::new(Pool::new(Reuse::Latest, None)) }
    }

    pub fn pool(&self) -> MutexGuard<'_, Pool<Values>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn alloc(&self, class: u64) -> Result<Memory> {
        let create = || {
            Values::zero(class as usize / 4).map_err(|error| {
                let what = format!("there is no memory for {} more", human_bytes(class));
                let remedy = "take a smaller batch, tile, image or width";
                Error::failed(what, "cpu", remedy).of(ErrorKind::Memory).caused_by(error)
            })
        };
        let mut pool = self.pool();
        let held = match pool.take(class, create) {
            Err(_) if !pool.trim().is_empty() => pool.take(class, create)?,
            taken => taken?,
        };
        drop(pool.let_go());
        Ok(Memory { data: RwLock::new(held.buffer), class: held.class })
    }

    pub fn free(&self, class: u64, memory: Memory) {
        let buffer = memory.data.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut pool = self.pool();
        pool.give_back(class, Held { buffer, class: memory.class, number: 0 });
        let gone = pool.let_go();
        drop(pool);
        drop(gone);
    }

    pub fn trim(&self) {
        drop(self.pool().trim());
    }

    pub fn read(&self, region: &Region<'_, Memory>) -> Vec<f32> {
        region.memory.read()[region.range()].to_vec()
    }

    pub fn write(&self, region: &Region<'_, Memory>, data: &[f32]) {
        region.memory.write()[region.range()].copy_from_slice(data);
    }

    /// When it began to compute, and the seconds that it took.
    ///
    /// Not generic over the kernel: dozens of copies of this were 8 % of the program.
    pub fn launch(
        &self,
        kernel: &str,
        twin: &dyn Fn(Args<'_>) -> Result<()>,
        ins: &[Region<'_, Memory>],
        inouts: &[Region<'_, Memory>],
        outs: &[Region<'_, Memory>],
    ) -> Result<(Instant, f64)> {
        // Each buffer is locked once, all of them in one order: launches of other threads cannot wait for each other.
        // One may begin within another on the same thread, which takes up other work while it waits for parts of its
        // own (windows painted side by side): such launches must share no buffer that one of them writes.
        let mut all: Vec<(&Region<'_, Memory>, bool)> = ins.iter().map(|region| (region, false)).collect();
        all.extend(inouts.iter().chain(outs).map(|region| (region, true)));
        all.sort_by_key(|(region, _)| std::ptr::from_ref(region.memory).addr());
        all.dedup_by(|(region, _), (kept, _)| region.same_buffer(kept));
        let (mut readers, mut writers) = (Vec::new(), Vec::new());
        for (region, written) in all {
            match written {
                false => readers.push((region, region.memory.read())),
                true => writers.push((region, region.memory.write())),
            }
        }
        let slice_of = |region: &Region<'_, Memory>| {
            let found = readers.iter().find(|(known, _)| known.same_buffer(region));
            found.map(|(_, guard)| &guard[region.range()])
        };
        let read = ins.iter().filter_map(slice_of).collect();

        // Several written views may lie in one buffer (a parameter arena), which is split among them.
        let written: Vec<&Region<'_, Memory>> = inouts.iter().chain(outs).collect();
        let mut slices: Vec<Option<&mut [f32]>> = written.iter().map(|_| None).collect();
        for (buffer, guard) in &mut writers {
            let mut here: Vec<usize> = (0..written.len()).filter(|&i| written[i].same_buffer(buffer)).collect();
            here.sort_by_key(|&i| written[i].offset);
            let (mut rest, mut start) = (&mut guard[..], 0);
            for i in here {
                let (_, tail) = rest.split_at_mut(written[i].offset - start);
                let (part, tail) = tail.split_at_mut(written[i].len());
                slices[i] = Some(part);
                (rest, start) = (tail, written[i].offset + written[i].len());
            }
        }
        let mut slices = slices.into_iter().flatten();
        let inout_slices = slices.by_ref().take(inouts.len()).collect();
        let args = Args { kernel, ins: read, inouts: inout_slices, outs: slices.collect() };

        let start = Instant::now();
        twin(args)?;
        Ok((start, start.elapsed().as_secs_f64()))
    }
}
