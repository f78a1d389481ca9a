//! colournet: the layers of its classifier.

#[cfg(feature = "convert")]
mod foreign;
pub mod network;
pub mod recipe;
