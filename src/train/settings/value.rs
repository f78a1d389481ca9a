//! The types that a setting's value may have, as text.

use crate::dataset::stack::{joined, parts};
use crate::train::built_in::{NAMES, WeightsName};
use std::ffi::OsStr;
use std::path::PathBuf;

/// A value that is read from a command line and printed in help.
pub trait Value: Clone + PartialEq {
    /// What a text must be to stand for one, to be put after `use`.
    const WHAT: &'static str;

    /// The value that a text stands for; `None` for a text that is not one.
    fn read(text: &OsStr) -> Option<Self>;

    /// The value as [`Value::read`] takes it.
    fn show(&self) -> String;

    /// The value as it means the same in every folder: of a path the whole of it.
    fn placed(self) -> Self {
        self
    }
}

impl Value for PathBuf {
    const WHAT: &'static str = "a path";

    fn read(text: &OsStr) -> Option<Self> {
        Some(text.into()).filter(|path: &PathBuf| !path.as_os_str().is_empty())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }

    fn placed(self) -> Self {
        // Several with commas between become whole one by one. Fails only where there is no current folder to begin at.
        let whole = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        joined(&parts(&self).into_iter().map(whole).collect::<Vec<_>>())
    }
}

impl Value for WeightsName {
    const WHAT: &'static str = "a path, or the name of weights that come along";

    fn read(text: &OsStr) -> Option<Self> {
        PathBuf::read(text).map(WeightsName)
    }

    fn show(&self) -> String {
        self.0.show()
    }

    fn placed(self) -> Self {
        if NAMES.iter().any(|name| self.0.as_os_str() == *name) { self } else { WeightsName(self.0.placed()) }
    }
}

impl Value for String {
    const WHAT: &'static str = "a text in quotes";

    fn read(text: &OsStr) -> Option<Self> {
        text.to_str().map(str::to_owned)
    }

    fn show(&self) -> String {
        self.clone()
    }
}

macro_rules! by_from_str {
    ($($type:ty, $what:expr => $show:expr;)*) => {
        $(impl Value for $type {
            const WHAT: &'static str = $what;

            fn read(text: &OsStr) -> Option<Self> {
                text.to_str()?.parse().ok()
            }

            fn show(&self) -> String {
                $show(*self)
            }
        })*
    };
}

by_from_str! {
    bool, "true or false" => |value: bool| value.to_string();
    u32, "a whole number of at least 0" => |value: u32| value.to_string();
    u64, "a whole number of at least 0" => |value: u64| value.to_string();
    usize, "a whole number of at least 0" => |value: usize| value.to_string();
    f32, "a number" => |value: f32| number(f64::from(value), value.to_string(), format!("{value:e}"));
    f64, "a number" => |value: f64| number(value, value.to_string(), format!("{value:e}"));
}

/// Small numbers by their exponent.
fn number(value: f64, plain: String, scientific: String) -> String {
    if value != 0.0 && value.abs() < 1e-3 { scientific } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_back() {
        for value in [0.0, 1.0, 0.5, 0.001, 1e-4, 1e-8, 286.0] {
            assert_eq!(f64::read(OsStr::new(&value.show())), Some(value));
        }
        assert_eq!([1e-4, 0.99, 0.0].map(|value: f64| value.show()), ["1e-4", "0.99", "0"]);
        assert_eq!(0.1f32.show(), "0.1");
        assert_eq!(usize::read(OsStr::new("x")), None);
        assert_eq!(PathBuf::read(OsStr::new("")), None);
        let placed = PathBuf::from("a.tif,b.tif").placed().display().to_string();
        assert_eq!(placed.matches(&std::env::current_dir().unwrap().display().to_string()).count(), 2, "{placed}");
    }

    #[test]
    fn names_of_weights_that_come_along_are_no_paths() {
        let placed = |text: &str| WeightsName::read(OsStr::new(text)).unwrap().placed().0;
        NAMES.iter().for_each(|name| assert_eq!(placed(name), PathBuf::from(name)));
        assert!(placed(&format!("./{}", NAMES[0])).is_absolute() && placed("w.safetensors").is_absolute());
    }
}
