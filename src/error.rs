//! The one error type of the library: what went wrong, where, and what to do about it.

/// Every failure that the library reports.
///
/// All variants print as one line of the form `what: which file or flag: what to do`, so that the command line can
/// show them as they are. [`Error::exit_code`] says whether the input was wrong (2) or the work failed (1).
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The caller's input or settings are wrong: a file, a flag, a shape. Exit code 2.
    #[error("{what}: {subject}: {remedy}")]
    Input {
        /// What is wrong, e.g. `no such folder`.
        what: String,
        /// The file, flag or tensor that is meant.
        subject: String,
        /// What the user can do.
        remedy: String,
    },
    /// The work itself failed: a disk that is full, a device that was lost, a loss that became NaN. Exit code 1.
    #[error("{what}: {subject}: {remedy}")]
    Failed {
        /// What failed.
        what: String,
        /// The file, device or step that is meant.
        subject: String,
        /// What the user can do.
        remedy: String,
    },
    /// A kernel could not be loaded, bound or run. Exit code 1.
    #[error("kernel {kernel} failed: {message}: run `huetape doctor` to check the device, or use --device cpu")]
    Kernel {
        /// The kernel's name and variant.
        kernel: String,
        /// What the loader, the driver or wgpu said, in one line, with the shapes of the launch.
        message: String,
    },
}

/// The library's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wrong input: `what` is wrong with `subject`; `remedy` says what to do.
    pub fn input(what: impl Into<String>, subject: impl std::fmt::Display, remedy: impl Into<String>) -> Self {
        Error::Input { what: what.into(), subject: subject.to_string(), remedy: remedy.into() }
    }

    /// Failed work: `what` failed at `subject`; `remedy` says what to do.
    pub fn failed(what: impl Into<String>, subject: impl std::fmt::Display, remedy: impl Into<String>) -> Self {
        Error::Failed { what: what.into(), subject: subject.to_string(), remedy: remedy.into() }
    }

    /// The process exit code that this error stands for: 2 for wrong input, 1 for failed work.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Input { .. } => 2,
            Error::Failed { .. } | Error::Kernel { .. } => 1,
        }
    }
}

/// `bail!(Error::input(...))`-style early return for shape rules and validation.
#[macro_export]
macro_rules! ensure {
    ($cond:expr, $err:expr) => {
        if !$cond {
            return Err($err);
        }
    };
}
