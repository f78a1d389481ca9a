//! What things are called on the command line.

use crate::error::name_settings;

/// What a setting is called on the command line.
pub fn flag(setting: &str) -> String {
    format!("--{setting}")
}

/// `text` with settings called as they are on the command line.
pub fn flags(text: &str) -> String {
    name_settings(text, flag)
}
