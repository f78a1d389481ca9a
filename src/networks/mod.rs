//! Networks: one folder each.

pub mod adversarial;
pub mod classifier;
pub mod colournet;
pub mod common;
pub mod pix2pix;
pub mod sicgan;
pub mod spacenet;
pub mod window8;
