//! pix2pix: its networks, and the game that trains them.

pub mod discriminator;
pub mod game;
pub mod network;
#[cfg(feature = "convert")]
mod onnx;
pub mod recipe;
pub mod up;
