//! Networks and weights as other programs have them.

pub mod onnx;
