//! Trained networks at work on images and on scenes of any size.
//!
//! A [`plan::Plan`] cuts an image into pieces that go through the network one by one, and orders them in bands: what is
//! read at a time. A [`canvas::Canvas`] paints band after band and hands out what is finished. A network that takes an
//! image from top to bottom needs no pieces: [`strips`]. An image in memory and a
//! scene in a file of any size are painted alike; [`whole::paint`] is the former, [`scene::paint`] the latter.

pub mod canvas;
pub mod colorizer;
pub mod files;
pub mod format;
pub mod memory;
pub mod output;
pub mod painter;
pub mod plan;
mod relit;
pub mod scene;
pub mod strips;
pub mod units;
pub mod whole;
