//! Trained networks at work on pictures, and how good what they make is.

mod colorizer;
mod evaluation_page;
mod evaluator;
mod scoreboard;

pub use colorizer::{Colorizer, Options, model_of};
pub use evaluation_page::{Gallery, evaluation_page};
pub use evaluator::{Evaluator, Judged};
pub use scoreboard::{ImageScores, Scoreboard};
