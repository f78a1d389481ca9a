//! spacenet: its networks, and the game that trains them.

pub mod game;
pub mod network;
#[cfg(feature = "convert")]
mod onnx;
pub mod recipe;
