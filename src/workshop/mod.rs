//! For those who write kernels: what there is, what a driver would be given, what its compiler makes of it, whether it
//! computes right and fast, and what a pass takes.

#[cfg(feature = "gpu")]
pub mod cache;
#[cfg(feature = "gpu")]
pub mod catalogue;
#[cfg(feature = "gpu")]
pub mod check;
#[cfg(feature = "gpu")]
pub mod compare;
#[cfg(feature = "gpu")]
pub mod isa;
#[cfg(feature = "gpu")]
pub mod launches;
pub mod profile;
#[cfg(feature = "gpu")]
pub mod roofline;
#[cfg(feature = "gpu")]
pub mod table;
#[cfg(feature = "gpu")]
pub mod timing;
#[cfg(feature = "gpu")]
pub mod translate;
#[cfg(feature = "gpu")]
pub mod tune;
