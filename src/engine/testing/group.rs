//! Several processes played by threads of one.

use crate::engine::ranks::{Group, Ranks, weighted_sum};
use crate::error::Result;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;

/// What the threads hand one another.
struct Table {
    places: Vec<Mutex<Vec<u8>>>,
    barrier: Barrier,
}

/// One of the threads.
struct Thread {
    rank: usize,
    table: Arc<Table>,
}

impl Thread {
    /// What every thread brought.
    fn exchange(&self, mine: &[u8]) -> Vec<Vec<u8>> {
        let place = |rank: usize| self.table.places[rank].lock().unwrap_or_else(PoisonError::into_inner);
        *place(self.rank) = mine.to_vec();
        self.table.barrier.wait();
        let all = (0..self.size()).map(|rank| place(rank).clone()).collect();
        self.table.barrier.wait();
        all
    }

    fn floats(&self, mine: &[f32]) -> Vec<Vec<f32>> {
        self.exchange(bytemuck::cast_slice(mine)).iter().map(|bytes| bytemuck::pod_collect_to_vec(bytes)).collect()
    }
}

impl Group for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.table.places.len()
    }

    fn gather(&self, mine: &[f64]) -> Result<Vec<f64>> {
        Ok(bytemuck::pod_collect_to_vec(&self.exchange(bytemuck::cast_slice(mine)).concat()))
    }

    fn sum(&self, values: &mut [f32], weights: &[f64]) -> Result<()> {
        let all = self.floats(values);
        weighted_sum(all.iter().map(Vec::as_slice), weights, values);
        Ok(())
    }

    fn collect(&self, mine: &[f32]) -> Result<Vec<Vec<f32>>> {
        let all = self.floats(mine);
        Ok(if self.rank == 0 { all } else { Vec::new() })
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(self.exchange(&bytes).swap_remove(0))
    }

    fn wait(&self) -> Result<()> {
        self.table.barrier.wait();
        Ok(())
    }
}

/// Runs `work` on `size` threads that are a process each to one another; what they made, rank after rank.
pub fn together<R: Send>(size: usize, work: impl Fn(Ranks) -> R + Sync) -> Vec<R> {
    let places = (0..size).map(|_| Mutex::default()).collect();
    let table = Arc::new(Table { places, barrier: Barrier::new(size) });
    thread::scope(|scope| {
        let start = |rank| {
            let (work, table) = (&work, table.clone());
            scope.spawn(move || work(Ranks::of(Arc::new(Thread { rank, table }))))
        };
        let threads: Vec<_> = (0..size).map(start).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
