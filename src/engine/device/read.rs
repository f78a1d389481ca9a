//! Copies to the host.

use crate::engine::device::gpu::GpuRead;
use crate::error::Result;

/// A copy to the host under way; launches that come after it do not change it.
pub struct PendingRead(pub(super) PendingState);

pub(super) enum PendingState {
    Ready(Vec<f32>),
    Gpu(GpuRead),
}

impl PendingRead {
    /// Waits for the copy, and for nothing that was launched after it.
    ///
    /// # Errors
    /// A kernel that failed, or a lost device.
    pub fn finish(self) -> Result<Vec<f32>> {
        match self.0 {
            PendingState::Ready(data) => Ok(data),
            PendingState::Gpu(read) => read.finish(),
        }
    }
}
