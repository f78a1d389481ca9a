//! Copies from a GPU to the host.

use crate::engine::device::gpu::fault::{Complaint, lost};
use crate::error::Result;
use std::sync::mpsc::Receiver;

/// A copy to the host under way.
pub(in crate::engine::device) struct GpuRead {
    pub(super) device: wgpu::Device,
    pub(super) complaint: Complaint,
    pub(super) staging: wgpu::Buffer,
    pub(super) submission: Option<wgpu::SubmissionIndex>,
    pub(super) mapped: Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl GpuRead {
    /// Waits for the copy, and for nothing that was recorded after it.
    pub fn finish(self) -> Result<Vec<f32>> {
        let wait = wgpu::PollType::Wait { submission_index: self.submission, timeout: None };
        self.device.poll(wait).map_err(lost)?;
        self.complaint.check()?;
        self.mapped.recv().map_err(lost)?.map_err(lost)?;
        let data = bytemuck::pod_collect_to_vec(&self.staging.get_mapped_range(..).map_err(lost)?);
        self.staging.unmap();
        Ok(data)
    }
}
