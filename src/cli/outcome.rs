//! How commands end.

/// What a command hands back: anyhow carries the library's errors up to the one place that prints them.
pub type Outcome = anyhow::Result<()>;
