//! pix2pix: its networks, and the game that trains them.

pub mod discriminator;
#[cfg(feature = "convert")]
mod foreign;
pub mod game;
pub mod network;
#[cfg(feature = "convert")]
mod onnx;
pub mod recipe;
pub mod up;
