//! What the host does for a GPU.

/// What the host has done for a device since it was opened: the difference of two is that of what ran between.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct HostWork {
    /// Launches, and the dispatches that they became; none of a CPU.
    pub launches: u64,
    /// See `launches`.
    pub dispatches: u64,
    /// Compute passes.
    pub passes: u64,
    /// Submissions to the queue.
    pub submissions: u64,
    /// Copies to the host.
    pub reads: u64,
    /// Bytes that were copied to the device, parameters of kernels left out.
    pub uploaded_bytes: u64,
    /// Seconds that recording took; submitting, in which some drivers wait, is left out.
    pub seconds: f64,
}

impl std::ops::Sub for HostWork {
    type Output = HostWork;

    fn sub(self, earlier: HostWork) -> HostWork {
        HostWork {
            launches: self.launches - earlier.launches,
            dispatches: self.dispatches - earlier.dispatches,
            passes: self.passes - earlier.passes,
            submissions: self.submissions - earlier.submissions,
            reads: self.reads - earlier.reads,
            uploaded_bytes: self.uploaded_bytes - earlier.uploaded_bytes,
            seconds: self.seconds - earlier.seconds,
        }
    }
}
