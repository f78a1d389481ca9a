//! What people look at: charts, strips of images, self-contained HTML pages.

pub mod axis;
pub mod chart;
pub mod comparison;
pub mod html;
pub mod numbers;
pub mod page;
pub mod strip;
pub mod verdict;
