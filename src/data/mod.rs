//! Pictures in and out: decoding, pairs, batches, statistics, synthetic scenes; rasters of any size.

pub mod cache;
pub mod check;
pub mod decode;
mod extra_bands;
pub mod lightness;
pub mod loader;
pub mod npy;
pub mod pairs;
pub mod patches;
pub mod picture;
pub mod picture_file;
pub mod prepared;
pub mod raster;
pub mod registration;
mod sampler;
pub mod save;
pub mod scene_pair;
pub mod shift;
pub mod stats;
pub mod synth;

pub use lightness::LightnessMatch;
pub use loader::{Batch, BatchMaker, Loader, LoaderOptions};
pub use pairs::{DataSource, Dataset, Pair, Preparations};
pub use patches::{Patch, PatchPlan};
pub use picture::{Area, Depth, Picture, PictureInfo, Reading, Samples};
pub use picture_file::{Half, PictureFile};
pub use prepared::{Despeckle, Preparation, PreparedScene};
pub use sampler::Turns;
pub use stats::{DataStats, Survey, survey};
pub use synth::Scene;
