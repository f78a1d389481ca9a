//! huetape: a GPU compute engine written by hand, with networks that colour pictures.
//!
//! A module uses only those named above it.

pub mod color;
pub mod data;
pub mod error;
pub mod random;

pub use error::{Error, Result};
