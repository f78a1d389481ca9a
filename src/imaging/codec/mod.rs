//! Image files in and out.

pub mod decode;
pub mod extra_bands;
pub mod npy;
pub mod save;
