//! Times of single launches.

/// The time that one launch took.
#[derive(Debug, Clone)]
pub struct LaunchTime {
    /// Name of the kernel.
    pub kernel: String,
    /// Name of the body that ran, `twin` on the CPU.
    pub body: String,
    /// Shapes of its buffers: inputs, `<>` in-outs, `->` outputs.
    pub shapes: String,
    /// Seconds from its start to its end.
    pub seconds: f64,
}
