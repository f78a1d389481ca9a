//! Networks and weights as other programs have them.

pub mod axes;
pub mod foreign;
pub mod onnx;
