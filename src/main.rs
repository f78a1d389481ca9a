//! The `huetape` command.
fn main() {}
