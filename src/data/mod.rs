//! Pictures in and out: decoding, pairs, batches, statistics, synthetic scenes.

pub mod cache;
pub mod decode;
pub mod loader;
pub mod pairs;
pub mod picture;
pub mod save;

pub use loader::{Batch, BatchMaker, Loader, LoaderOptions};
pub use pairs::{DataSource, Dataset, Pair};
pub use picture::{Area, Depth, Picture, PictureInfo, Reading, Samples};
