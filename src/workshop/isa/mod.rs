//! Kernels compiled for AMD GPUs that are not there, by Mesa's driver for them (RADV) and its null device.

/// What is compiled where: a process for each GPU.
pub mod child;
/// What a compiled kernel takes, and whether that is more than before.
pub mod figures;
/// The machine's code: its main loop.
pub mod listing;
/// What the process that compiles answers.
pub mod reply;
/// Kernels as the driver gets them.
pub mod unit;
#[cfg(target_os = "linux")]
mod vulkan;
