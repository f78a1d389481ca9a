//! Images and rasters, without networks: pixels, colour, quality, files in and out, registration, synthetic scenes.

pub mod codec;
pub mod color;
mod fault;
mod jpeg;
pub mod lru;
pub mod ops;
pub mod picture;
pub mod pixels;
pub mod quality;
pub mod raster;
pub mod registration;
pub mod synth;
