//! Networks as ONNX graphs, which other programs run.

pub mod check;
pub mod colour;
pub mod framing;
pub mod graph;
pub mod layers;
pub mod proto;
mod shapes;
