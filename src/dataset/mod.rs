//! What networks learn from: pairs, preparation, batches on other threads, statistics, checks of a data set.

pub mod bands;
pub mod cache;
pub mod check;
pub mod facts;
pub mod folder;
mod gaps;
pub mod grey;
pub mod guess;
pub mod lightness;
pub mod loader;
pub mod loader_options;
pub mod matching;
pub mod pair;
pub mod pairs;
pub mod patches;
pub mod picture_file;
pub mod places;
pub mod preparation;
pub mod prepared;
pub mod sampler;
pub mod scene_pair;
pub mod scene_window;
pub mod shift;
pub mod stack;
pub mod stats;
mod values;
pub mod zero_border;
