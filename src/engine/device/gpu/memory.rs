//! Buffers of a GPU.

use crate::engine::device::pool::human_bytes;
use crate::error::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// The next buffer's number. One count for the process: buffers of two devices never share a number.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A GPU buffer with a number that no other buffer of the process has.
pub(in crate::engine::device) struct Memory {
    pub(super) buffer: wgpu::Buffer,
    pub(super) id: u64,
    /// The size class that it was made for.
    pub(super) class: u64,
}

impl Memory {
    /// A buffer of size class `class` and so many bytes on `device`, the GPU called `name`.
    ///
    /// # Errors
    /// No memory for it.
    pub(super) fn create(device: &wgpu::Device, name: &str, class: u64, bytes: u64) -> Result<Memory> {
        let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        match pollster::block_on(scope.pop()) {
            None => Ok(Memory { buffer, id: NEXT_ID.fetch_add(1, Ordering::Relaxed), class }),
            Some(error) => Err(Error::failed(
                format!("the GPU has no {} more", human_bytes(bytes)),
                name,
                "take a smaller batch, tile, image or width",
            )
            .of(ErrorKind::Memory)
            .caused_by(error)),
        }
    }
}
