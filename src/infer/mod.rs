//! Trained networks at work on pictures.

mod colorizer;

pub use colorizer::{Colorizer, Options, model_of};
