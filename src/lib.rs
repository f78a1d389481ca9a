//! huetape: a GPU compute engine written by hand, with networks that colour pictures.
//!
//! A module uses only those named above it.

pub mod error;
pub mod random;
pub mod train;

pub use error::{Error, Result};
