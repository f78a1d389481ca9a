//! What a pass of a network takes: as figures, as a page, as a trace, and against an earlier measurement.

pub mod figures;
pub mod page;
pub mod regression;
pub mod trace;
