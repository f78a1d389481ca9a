//! Image files in and out.

pub mod decode;
pub mod npy;
pub mod save;
mod sidecar;
mod still;
