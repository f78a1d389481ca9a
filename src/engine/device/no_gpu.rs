//! What stands in for GPUs in a build without the feature `gpu`: none of these can exist, and no device is found.

use crate::engine::device::choice::{AdapterReport, DeviceChoice};
use crate::engine::device::host_work::HostWork;
use crate::engine::device::kernel::{GpuInfo, Plan, Text};
use crate::engine::device::pool::Pool;
use crate::engine::device::precision::Precision;
use crate::engine::device::profile::Timing;
use crate::engine::device::region::Region;
use crate::error::{Error, ErrorKind, Result};
use std::ops::Range;
use std::path::Path;
use std::sync::MutexGuard;
use std::time::Instant;

pub(super) enum Adapter {}
pub(super) enum Gpu {}
pub(super) enum Memory {}
pub(super) enum GpuRead {}

pub(super) struct Stamped {
    pub launches: Vec<Range<f64>>,
    pub busy_seconds: f64,
    pub unusable: usize,
}

/// Every adapter: none.
pub fn adapters() -> Vec<AdapterReport> {
    Vec::new()
}

/// The CPU for `auto` and `cpu`.
pub(super) fn choose(choice: &DeviceChoice) -> Result<Option<Adapter>> {
    match choice {
        DeviceChoice::Cpu | DeviceChoice::Auto => Ok(None),
        DeviceChoice::Gpu | DeviceChoice::Named(_) => Err(Error::input(
            "this huetape was built without GPU support",
            "⟨device⟩ gpu",
            "use ⟨device⟩ cpu, or a build with the feature `gpu`",
        )
        .of(ErrorKind::Device)),
    }
}

impl Gpu {
    pub fn new(adapter: Adapter, _: Precision) -> Result<Self> {
        match adapter {}
    }

    pub fn name(&self) -> String {
        match *self {}
    }

    pub fn note(&self) -> Option<&'static str> {
        match *self {}
    }

    pub fn driver(&self) -> String {
        match *self {}
    }

    pub fn keep_pipelines(&self, _: &Path) {
        match *self {}
    }

    pub fn info(&self) -> &GpuInfo {
        match *self {}
    }

    pub fn check_bounds(&self, _on: bool) {
        match *self {}
    }

    pub fn fix_sizes(&self, _on: bool) {
        match *self {}
    }

    #[cfg(feature = "testing")]
    pub fn lose(&self) {
        match *self {}
    }

    pub fn bind_guards(&self) {
        match *self {}
    }

    pub fn launch_flops(&self) -> f64 {
        match *self {}
    }

    pub fn max_binding_bytes(&self) -> u64 {
        match *self {}
    }

    pub fn pool(&self) -> MutexGuard<'_, Pool<Memory>> {
        match *self {}
    }

    pub fn alloc(&self, _class: u64) -> Result<Memory> {
        match *self {}
    }

    pub fn free(&self, _class: u64, memory: Memory) {
        match memory {}
    }

    pub fn trim(&self) -> Result<()> {
        match *self {}
    }

    pub fn sync(&self) -> Result<()> {
        match *self {}
    }

    pub fn write(&self, _to: &Region<'_, Memory>, _data: &[f32]) -> Result<()> {
        match *self {}
    }

    pub fn start_reads(&self, _from: &[Region<'_, Memory>]) -> Result<Vec<GpuRead>> {
        match *self {}
    }

    pub fn launch(
        &self,
        _kernel: &str,
        _text: &Text<'_>,
        _params: &[u8],
        _plan: &Plan,
        _args: (&[Region<'_, Memory>], usize),
    ) -> Result<(Instant, f64)> {
        match *self {}
    }

    pub fn host_work(&self) -> HostWork {
        match *self {}
    }

    pub fn start_profile(&self, _timing: Timing) -> Result<Timing> {
        match *self {}
    }

    pub fn stop_profile(&self) -> Result<Option<Stamped>> {
        match *self {}
    }
}

impl GpuRead {
    pub fn finish(self) -> Result<Vec<f32>> {
        match self {}
    }
}
