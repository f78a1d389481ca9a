//! For those who write kernels: what there is, what a driver would be given, what its compiler makes of it, and whether
//! it computes right and fast.

mod cache;
pub mod catalogue;
pub mod check;
pub mod compare;
pub mod isa;
pub mod launches;
pub mod roofline;
pub mod table;
pub mod timing;
pub mod translate;
pub mod tune;
