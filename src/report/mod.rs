//! What people look at: charts, strips of images, self-contained HTML pages.

pub mod chart;
pub mod html;
pub mod page;
pub mod strip;
