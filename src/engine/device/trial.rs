//! A launch that is looked at before it runs, and can be tried on buffers of its own.

use crate::engine::device::bodies::By;
use crate::engine::device::kernel::{AnyKernel, GpuInfo, Plan};
use crate::engine::device::profile::Work;
use crate::error::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// A launch before it runs. What is run here runs on copies of its buffers: the launch itself notices nothing.
///
/// A trait, so that buffers need not know launches.
pub trait Trial {
    /// The kernel.
    fn kernel(&self) -> &dyn AnyKernel;
    /// Its parameter block.
    fn params(&self) -> &[u8];
    /// Shapes of its buffers, as a profile has them: inputs, `<>` in-outs, `->` outputs.
    fn shapes(&self) -> String;
    /// Its shape class, see [`Tuned`](crate::engine::device::Tuned).
    fn class(&self) -> String;
    /// The body that it takes, from 0, and why; `None` on the CPU, which runs the twin.
    ///
    /// # Errors
    /// No body can run it, or none of those that are forced.
    fn chosen(&self) -> Result<Option<(usize, By)>>;
    /// Whether a body can run it on such a GPU; the error is the reason why it cannot.
    fn admits(&self, body: usize, gpu: &GpuInfo) -> std::result::Result<(), String>;
    /// Whether a body that admits it is likely to be the fastest on such a GPU.
    fn prefers(&self, body: usize, gpu: &GpuInfo) -> bool;
    /// How a body that admits it runs it.
    fn plan(&self, body: usize, gpu: &GpuInfo) -> Plan;
    /// What there is to do; of a body that admits it.
    fn work(&self, body: Option<usize>) -> Work;
    /// Makes the copies, or gives them the values again that the launch's own buffers have.
    ///
    /// # Errors
    /// No memory, and whatever was launched before reports.
    fn copy(&mut self) -> Result<()>;
    /// Runs it once on the copies, by the device's body of this number, on the CPU by the twin.
    ///
    /// # Errors
    /// Whatever the launch reports.
    fn run(&self, body: Option<usize>) -> Result<()>;
    /// What is in the copies that it writes: in-outs, then outputs.
    ///
    /// # Errors
    /// Whatever was launched before reports.
    fn results(&self) -> Result<Vec<Vec<f32>>>;
    /// What the twin makes of the launch's own buffers, in the order of [`Trial::results`].
    ///
    /// # Errors
    /// Whatever the twin reports.
    fn expected(&self) -> Result<Vec<Vec<f32>>>;
}

/// What becomes of a launch that has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It runs.
    Run,
    /// It does not: its outputs are whatever was there.
    Skip,
}

/// Who looks at launches. Launches of its own it does not see.
pub type Watcher = Box<dyn FnMut(&mut dyn Trial) -> Result<Then> + Send>;

/// The place of a watcher, mostly empty.
#[derive(Default)]
pub(super) struct Watched {
    any: AtomicBool,
    watcher: Mutex<Option<Watcher>>,
}

impl Watched {
    pub fn set(&self, watcher: Option<Watcher>) {
        self.any.store(watcher.is_some(), Ordering::Release);
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = watcher;
    }

    /// The watcher, which is not there for others until it is set again.
    pub fn take(&self) -> Option<Watcher> {
        match self.any.load(Ordering::Acquire) {
            true => self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take(),
            false => None,
        }
    }
}
