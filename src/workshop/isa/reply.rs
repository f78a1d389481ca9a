//! What the process that compiles answers.

use serde::{Deserialize, Serialize};

/// What the driver told of an entry point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compiled {
    /// Invocations of a subgroup.
    pub subgroup_size: u32,
    /// The driver's own statistics, by its names.
    pub statistics: Vec<(String, u64)>,
    /// The machine's code as text; empty where the driver has no disassembler.
    pub assembly: String,
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// There is no Vulkan loader, with the reason.
    NoLoader(String),
    /// There is no RADV; what there is instead.
    NoDriver(Vec<String>),
    /// Vulkan failed.
    Failed(String),
    /// Version of the driver, and what became of each unit.
    Compiled {
        /// As in `Mesa 22.3.6`.
        driver: String,
        /// In the order of the units; the driver's complaint where it refused one.
        compiled: Vec<Result<Compiled, String>>,
    },
}
