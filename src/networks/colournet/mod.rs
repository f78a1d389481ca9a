//! colournet: the layers of its classifier.

pub mod network;
pub mod recipe;
