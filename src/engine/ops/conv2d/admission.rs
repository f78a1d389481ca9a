//! What bodies of a convolution ask of a launch; each answer that is no has its reason.

use crate::engine::device::GpuInfo;

/// Whether a launch can be run; the reason against it.
pub(super) type Admitted = std::result::Result<(), String>;

/// Bytes of workgroup memory that a tile takes, see kernels/lib/tile.wgsl.
pub(super) const TILE_BYTES: u32 = 2 * 272 * 16;

pub(super) fn tile_fits(gpu: &GpuInfo, bytes: u32) -> Admitted {
    let have = gpu.workgroup_bytes;
    if have >= bytes { Ok(()) } else { Err(format!("{bytes} bytes of workgroup memory, there are {have}")) }
}
