//! huetape: a GPU compute engine written by hand, with networks that colour pictures.
//!
//! A module uses only those named above it in this list: `error`, `files`, `random`, `engine`, `imaging`, `dataset`,
//! `paint`, `report`, `train`, `exchange`, `networks`, `evaluate`, `run`, `workshop`, `cli`.
//!
//! A tensor, an op, a gradient:
//!
//! ```
//! use huetape::engine::{device::Device, ops::elementwise::Scale, tape::Tape, tensor::Tensor};
//!
//! let device = Device::cpu(); // or Device::open(&"gpu".parse()?)?
//! let tape = Tape::new();
//! let x = tape.leaf(Tensor::new(&device, &[3], &[1.0, 2.0, 3.0])?);
//! let y = tape.apply(Scale(2.0), &[&x])?;
//! assert_eq!(y.value().to_vec()?, [2.0, 4.0, 6.0]);
//! let gradients = tape.backward(y)?;
//! assert_eq!(gradients.get(&x).unwrap().to_vec()?, [2.0, 2.0, 2.0]);
//! # Ok::<(), huetape::Error>(())
//! ```

#[cfg(feature = "cli")]
pub mod cli;
pub mod dataset;
pub mod engine;
pub mod error;
pub mod evaluate;
#[cfg(feature = "convert")]
pub mod exchange;
pub mod files;
pub mod imaging;
pub mod networks;
pub mod paint;
pub mod random;
pub mod report;
pub mod run;
pub mod train;
pub mod workshop;

pub use error::{Error, Result};
