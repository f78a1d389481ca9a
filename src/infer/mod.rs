//! Trained networks at work on pictures and on scenes of any size.

mod colorizer;
mod memory;
pub mod output;
pub mod scene;

pub use colorizer::{Colorizer, Options, model_of};
pub use memory::best_tile;
