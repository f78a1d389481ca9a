//! Weight files of other programs, and how published programs name what is in them.

pub mod file;
pub mod layout;
pub mod numpy;
pub mod pickle;
pub mod tensors;
pub mod torch;
pub mod zip;
