//! Trained networks at work on pictures and on scenes of any size, and how good what they make is.

mod colorizer;
mod evaluation_page;
mod evaluator;
mod memory;
pub mod output;
mod relit;
pub mod scene;
mod scoreboard;

pub use colorizer::{Colorizer, Options, model_of};
pub use evaluation_page::{Gallery, evaluation_page};
pub use evaluator::{Evaluator, Judged};
pub use memory::best_tile;
pub use scoreboard::{ImageScores, Scoreboard};
