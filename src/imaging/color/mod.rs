//! Colour on the host: sRGB and CIE Lab, colour differences, the ab bins of the classifiers, their prior and class
//! weights.
//!
//! `lab_l` is 0..100, `ab` about -110..110, sRGB components 0..1 unless a name says `u8`.

pub mod bins;
pub mod difference;
pub mod encode;
pub mod lab;
pub mod stats;

pub use bins::{AbHistogram, BinSpec, Bins};
pub use difference::{delta_e_76, delta_e_2000};
pub use encode::{NEIGHBOURS, SoftCode, SoftEncoder};
pub use lab::{lab_to_srgb, luma, srgb_to_lab, srgb8_to_lab, srgb8_to_lab_f64};
pub use stats::{Smoothing, class_weights, prior, smooth};
