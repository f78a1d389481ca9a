//! What tests of ops are made with.

pub(crate) mod check;
