//! Registering an image to another: point pairs, the homography behind them, the image on the other's grid.
//!
//! Places are in pixels, x to the right and y down; whole numbers are the centres of pixels, (0, 0) that of the first
//! one, as OpenCV and scikit-image have it. The *source* is the image that is warped, the *target* the grid that it is
//! warped onto.

mod degenerate;
mod dlt;
mod estimate;
mod homography;
mod points;
mod resample;
#[cfg(test)]
mod tests;

pub use degenerate::Refusal;
pub use estimate::{Estimate, Settings, estimate};
pub use homography::Homography;
pub use points::{PointPair, Points};
pub use resample::{Resampler, open};
