//! Copies from a GPU to the host.

use crate::engine::device::element::Element;
use crate::engine::device::gpu::fault::{Complaint, lock, lost, wait_for};
use crate::engine::device::gpu::pace::Pace;
use crate::error::Result;
use std::ops::Range;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

/// Bytes of a staging buffer that is kept for later copies, and how many are.
const KEPT_BYTES: u64 = 1 << 16;
const KEPT: usize = 8;

/// Staging buffers that wait for the next copy; clones share them.
#[derive(Clone, Default)]
pub(super) struct Staging(Arc<Mutex<Vec<wgpu::Buffer>>>);

impl Staging {
    /// A buffer of `bytes` or more.
    pub fn take(&self, device: &wgpu::Device, bytes: u64) -> wgpu::Buffer {
        let mut kept = lock(&self.0);
        let found = kept.iter().position(|buffer| buffer.size() >= bytes);
        found.map(|at| kept.swap_remove(at)).unwrap_or_else(|| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read-back"),
                size: bytes.next_multiple_of(256),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })
    }

    fn give_back(&self, buffer: wgpu::Buffer) {
        let mut kept = lock(&self.0);
        if buffer.size() <= KEPT_BYTES && kept.len() < KEPT {
            kept.push(buffer);
        }
    }
}

/// A copy of some regions under way.
pub(super) struct Copy {
    device: wgpu::Device,
    complaint: Complaint,
    submission: Option<wgpu::SubmissionIndex>,
    elements: usize,
    pace: Pace,
    /// What of the pace it waits for.
    mark: f64,
    staging: Staging,
    state: Mutex<State>,
}

enum State {
    Waiting(wgpu::Buffer, Receiver<std::result::Result<(), wgpu::BufferAsyncError>>),
    There(Vec<f32>),
}

impl Copy {
    /// Maps a buffer of `elements` that `submission` fills.
    pub fn start(
        device: wgpu::Device,
        complaint: Complaint,
        buffer: wgpu::Buffer,
        elements: usize,
        submission: Option<wgpu::SubmissionIndex>,
        pace: &Pace,
        staging: &Staging,
    ) -> Copy {
        let (sender, mapped) = std::sync::mpsc::channel();
        buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            // The reader may have gone; then nobody wants the answer.
            let _ = sender.send(result);
        });
        let (mark, pace, staging) = (pace.mark(), pace.clone(), staging.clone());
        let state = Mutex::new(State::Waiting(buffer, mapped));
        Copy { device, complaint, submission, elements, pace, mark, staging, state }
    }

    /// The elements of a place in it, once they are there.
    fn elements(&self, place: Range<usize>) -> Result<Vec<f32>> {
        let mut state = lock(&self.state);
        if let State::Waiting(buffer, mapped) = &*state {
            wait_for(&self.device, self.submission.clone(), self.pace.patience(self.mark))?;
            self.pace.reached(self.mark);
            self.complaint.check()?;
            mapped.recv().map_err(lost)?.map_err(lost)?;
            let bytes = (self.elements * Element::F32.bytes()) as u64;
            let data = bytemuck::pod_collect_to_vec(&buffer.get_mapped_range(..bytes).map_err(lost)?);
            buffer.unmap();
            self.staging.give_back(buffer.clone());
            *state = State::There(data);
        }
        match &mut *state {
            State::There(data) if place == (0..data.len()) => Ok(std::mem::take(data)),
            State::There(data) => Ok(data[place].to_vec()),
            State::Waiting(..) => Ok(Vec::new()),
        }
    }
}

/// A region of a copy to the host under way.
pub(in crate::engine::device) struct GpuRead {
    pub(super) copy: Arc<Copy>,
    pub(super) place: Range<usize>,
}

impl GpuRead {
    /// Waits for the copy, and for nothing that was recorded after it.
    pub fn finish(self) -> Result<Vec<f32>> {
        self.copy.elements(self.place)
    }
}
