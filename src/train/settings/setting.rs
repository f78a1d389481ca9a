//! What is known of a setting.

use crate::error::Result;
use std::ffi::OsStr;

/// One setting of `S`, the settings.
pub struct Setting<S: 'static> {
    /// Its name: the key in a TOML file, and the flag without its dashes.
    pub key: &'static str,
    /// What it is for. Other settings are named in it as `⟨width⟩`; what depends on the list of networks stands in
    /// braces, see [`Setting::help`].
    pub help: &'static str,
    /// What else is known of it.
    pub about: About,
    /// What its values are, to be put after `use`.
    pub values: &'static str,
    /// Whether it is on or off, and takes no value on a command line.
    pub is_switch: bool,
    /// Whether the settings have a value for it.
    pub given: fn(&S) -> bool,
    /// Takes its value away.
    pub clear: fn(&mut S),
    /// Takes its value over from other settings.
    pub copy: fn(&mut S, &S),
    /// Makes a path whole, so that it leads to the same place from every folder.
    pub place: fn(&mut S),
    /// Whether two settings have the same value for it.
    pub same: fn(&S, &S) -> bool,
    /// Its value as text.
    pub show: fn(&S) -> Option<String>,
    /// Sets it from text; whether that is one of its values.
    pub read: fn(&mut S, &OsStr) -> bool,
    /// Refuses a value that makes no sense by itself.
    pub check: fn(&S) -> Result<()>,
}

/// What is known of a setting beside its type, default and range.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The heading that it stands under in help.
    pub heading: &'static str,
    /// What help calls its value.
    pub value_name: &'static str,
    /// What holds where it has no value, in words; braces as in [`Setting::help`].
    pub otherwise: Option<&'static str>,
    /// Whether only those networks have it that say so.
    pub of_some: bool,
    /// Whether the checkpoints of a run settle it, so that a resumed run cannot have another value.
    pub settled: bool,
    /// Settings that cannot be given beside it on a command line.
    pub conflicts: &'static [&'static str],
    /// Settings of a file, or defaults, that it takes the place of.
    pub displaces: &'static [&'static str],
    /// Whether a value may begin with a hyphen.
    pub hyphens: bool,
    /// Whether it may be given several times, which is the same as with commas between.
    pub repeats: bool,
}

/// Nothing particular.
pub const ABOUT: About = About {
    heading: "Options",
    value_name: "VALUE",
    otherwise: None,
    of_some: false,
    settled: false,
    conflicts: &[],
    displaces: &[],
    hyphens: false,
    repeats: false,
};

impl<S: Default> Setting<S> {
    /// What to do about a text that is not one of its values, to be put after a colon: what its check says of 0, or
    /// else what its values are.
    pub fn remedy(&self) -> String {
        let mut zero = S::default();
        let refused = if (self.read)(&mut zero, OsStr::new("0")) { (self.check)(&zero).err() } else { None };
        refused.map_or_else(|| format!("use {}", self.values), |error| error.remedy().to_owned())
    }
}

impl<S> Setting<S> {
    /// The help text, what stands in braces replaced by what `fill` makes of it.
    pub fn help(&self, fill: &dyn Fn(&str) -> String) -> String {
        filled(self.help, fill)
    }

    /// What holds where it has no value, in words, filled as [`Setting::help`] is.
    pub fn otherwise(&self, fill: &dyn Fn(&str) -> String) -> Option<String> {
        self.about.otherwise.map(|text| filled(text, fill))
    }
}

/// `text` with each `{word}` in it replaced.
fn filled(text: &str, fill: &dyn Fn(&str) -> String) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, (word, after))) =
        rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        whole.push_str(before);
        whole.push_str(&fill(word));
        rest = after;
    }
    whole + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_braces_is_replaced() {
        let fill = |word: &str| word.to_uppercase();
        assert_eq!(filled("a {b} c {de}", &fill), "a B c DE");
        assert_eq!(filled("none {open", &fill), "none {open");
    }
}
