//! colournet: the layers of its classifier.

pub mod network;
