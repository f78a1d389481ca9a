//! Processes that a launcher of MPI has started together.

use crate::engine::ranks::{Group, Ranks, weighted_sum};
use crate::error::{Error, ErrorKind, Result};
use ::mpi::Threading;
use ::mpi::datatype::{Partition, PartitionMut};
use ::mpi::environment::Universe;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What launchers tell the processes that they start: which they are.
const LAUNCHED: [&str; 4] = ["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK"];
/// Elements that go in one message, at most: counts have 32 bits.
const AT_ONCE: usize = 1 << 28;
/// How often a process that waits looks for the others.
const PULSE: Duration = Duration::from_millis(2);

/// What ends MPI when it goes.
static UNIVERSE: Mutex<Option<Universe>> = Mutex::new(None);

/// Which process this is by its launcher, before it has joined the others; `None` where it runs by itself.
pub fn launched_as() -> Option<usize> {
    LAUNCHED.iter().find_map(|name| std::env::var(name).ok()?.parse().ok())
}

/// The processes that a launcher has started with this one; none where there was no launcher. The first call starts
/// MPI.
///
/// # Errors
/// A second call; an MPI that takes no calls from threads.
pub fn join() -> Result<Ranks> {
    if launched_as().is_none() {
        return Ok(Ranks::ALONE);
    }
    let failed = |what: &str| Error::failed(what, "MPI", "use Open MPI as Debian builds it").of(ErrorKind::Device);
    let started = ::mpi::initialize_with_threading(Threading::Serialized);
    let (universe, threading) = started.ok_or_else(|| failed("it has been started before"))?;
    let world = universe.world();
    let (rank, size) = (world.rank() as usize, world.size() as usize);
    *universe_now() = Some(universe);
    crate::ensure!(
        matches!(threading, Threading::Serialized | Threading::Multiple),
        failed("it takes calls from its first thread alone")
    );
    Ok(Ranks::of(Arc::new(World { rank, size, turn: Mutex::new(()) })))
}

/// Takes leave of the other processes, once nothing more is to be told: waits for all of them.
pub fn leave() {
    drop(universe_now().take());
}

/// Ends all processes with this exit code, if there are others.
pub fn abort(code: u8) {
    if universe_now().is_some() {
        SimpleCommunicator::world().abort(i32::from(code));
    }
}

fn universe_now() -> MutexGuard<'static, Option<Universe>> {
    UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All processes of a launcher.
struct World {
    rank: usize,
    size: usize,
    /// MPI takes one call at a time.
    turn: Mutex<()>,
}

impl World {
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As many bytes of the first process.
    fn broadcast_some<T: Equivalence>(values: &mut [T]) {
        let first = SimpleCommunicator::world();
        values.chunks_mut(AT_ONCE).for_each(|values| first.process_at_rank(0).broadcast_into(values));
    }

    /// `parts` become sums of as many values each: one process adds a part of them, and then tells the others.
    fn sum_some(&self, values: &mut [f32], weights: &[f64]) {
        let at = |rank: usize| (values.len() * rank / self.size) as i32;
        let counts: Vec<i32> = (0..self.size).map(|rank| at(rank + 1) - at(rank)).collect();
        let starts: Vec<i32> = (0..self.size).map(at).collect();
        let mine = counts[self.rank] as usize;
        let mut parts = vec![0.0f32; mine * self.size];
        {
            let received: Vec<i32> = (0..self.size).map(|rank| (mine * rank) as i32).collect();
            let from = Partition::new(&*values, &counts[..], &starts[..]);
            let mut to = PartitionMut::new(&mut parts[..], vec![mine as i32; self.size], &received[..]);
            SimpleCommunicator::world().all_to_all_varcount_into(&from, &mut to);
        }
        let mut sums = vec![0.0; mine];
        // Of no values there are no parts.
        let pieces = (0..self.size).map(|rank| &parts[mine * rank..][..mine]);
        weighted_sum(pieces, weights, &mut sums);
        let mut to = PartitionMut::new(values, &counts[..], &starts[..]);
        SimpleCommunicator::world().all_gather_varcount_into(&sums[..], &mut to);
    }
}

impl Group for World {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn gather(&self, mine: &[f64]) -> Result<Vec<f64>> {
        let _turn = self.turn();
        let mut all = vec![0.0; mine.len() * self.size];
        SimpleCommunicator::world().all_gather_into(mine, &mut all[..]);
        Ok(all)
    }

    fn sum(&self, values: &mut [f32], weights: &[f64]) -> Result<()> {
        let _turn = self.turn();
        values.chunks_mut(AT_ONCE).for_each(|values| self.sum_some(values, weights));
        Ok(())
    }

    fn collect(&self, mine: &[f32]) -> Result<Vec<Vec<f32>>> {
        let lengths = self.gather(&[mine.len() as f64])?;
        let lengths: Vec<usize> = lengths.into_iter().map(|length| length as usize).collect();
        let all: usize = lengths.iter().sum();
        let remedy = "use smaller tiles";
        let subject = || format!("{all} values");
        crate::ensure!(all < AT_ONCE, Error::input("more than one message of MPI holds", subject(), remedy));
        let _turn = self.turn();
        let world = SimpleCommunicator::world();
        let first = world.process_at_rank(0);
        if self.rank > 0 {
            first.gather_varcount_into(mine);
            return Ok(Vec::new());
        }
        let mut values = vec![0.0f32; all];
        let counts: Vec<i32> = lengths.iter().map(|&length| length as i32).collect();
        let starts: Vec<i32> = (0..self.size).map(|rank| counts[..rank].iter().sum()).collect();
        first.gather_varcount_into_root(mine, &mut PartitionMut::new(&mut values[..], &counts[..], &starts[..]));
        let part = |(start, length): (&i32, &usize)| values[*start as usize..][..*length].to_vec();
        Ok(starts.iter().zip(&lengths).map(part).collect())
    }

    fn broadcast(&self, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        let _turn = self.turn();
        let mut length = [bytes.len() as u64];
        World::broadcast_some(&mut length);
        bytes.resize(length[0] as usize, 0);
        World::broadcast_some(&mut bytes);
        Ok(bytes)
    }

    fn wait(&self) -> Result<()> {
        let _turn = self.turn();
        let mut asked = SimpleCommunicator::world().immediate_barrier();
        while let Err(again) = asked.test() {
            asked = again;
            thread::sleep(PULSE);
        }
        Ok(())
    }
}
