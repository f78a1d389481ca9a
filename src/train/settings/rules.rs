//! Settings as a whole: their file, what wins over what, what may change on resume, what they come to.

use crate::engine::nn::OptimizerKind;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::train::settings::setting::Setting;
use crate::train::settings::table::{Settings, TABLE};
use std::path::Path;

/// Momentum of SGD.
const MOMENTUM: f64 = 0.9;

/// The setting of a name; `None` where there is no such.
pub fn by_key(key: &str) -> Option<&'static Setting<Settings>> {
    TABLE.iter().find(|setting| setting.key == key)
}

impl Settings {
    /// Settings from a TOML file: one key a setting.
    ///
    /// # Errors
    /// A file that cannot be read, is no TOML, or has an unknown key; the file is named.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::input(format!("cannot read the settings ({error})"), path.display(), "name a TOML file")
        })?;
        toml::from_str(&text).map_err(|error| {
            let what = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            Error::input(
                format!("the settings cannot be read ({what})"),
                path.display(),
                "use the settings of `huetape train` as keys, e.g. width = 0.5",
            )
        })
    }

    /// Writes the settings as TOML, whole.
    ///
    /// # Errors
    /// A disk that is full or may not be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).map_err(|error| {
            Error::failed(format!("settings that TOML cannot hold ({error})"), path.display(), "report this")
        })?;
        write_whole(path, text.as_bytes())
    }

    /// These settings, and those of `other` where there is none. A choice between alternatives on the one side leaves
    /// no room for the other's.
    pub fn or(mut self, mut other: Settings) -> Settings {
        let given = TABLE.iter().filter(|setting| (setting.given)(&self));
        let displaced = given.flat_map(|setting| setting.about.displaces);
        displaced.filter_map(|key| by_key(key)).for_each(|setting| (setting.clear)(&mut other));
        for setting in TABLE {
            if !(setting.given)(&self) {
                (setting.copy)(&mut self, &other);
            }
        }
        self.model = self.model.or(other.model);
        self.resumed = self.resumed.or(other.resumed);
        self.made_by = self.made_by.or(other.made_by);
        self
    }

    /// These settings with every default filled in: those of a network, then those that all networks share, so that the
    /// settings run again the same way under later defaults.
    pub fn filled(self, of_network: Settings) -> Settings {
        self.or(of_network).or(Settings::common())
    }

    /// Refuses to go on with a run under settings that its checkpoints have settled.
    ///
    /// # Errors
    /// A value of these settings that differs from `before`, those of the run in `folder`.
    pub fn check_unchanged(&self, before: &Settings, folder: &Path) -> Result<()> {
        let changed = |setting: &&Setting<Settings>| {
            setting.about.settled && (setting.given)(self) && !(setting.same)(self, before)
        };
        match TABLE.iter().find(changed) {
            None => Ok(()),
            Some(setting) => Err(Error::input(
                "the run was started with another value",
                format!("⟨{}⟩ with {}", setting.key, folder.display()),
                "leave it out, or start a new run",
            )),
        }
    }

    /// These settings with whole paths, which lead to the same places from every folder.
    pub fn with_whole_paths(mut self) -> Self {
        TABLE.iter().for_each(|setting| (setting.place)(&mut self));
        self
    }

    /// What a run of these settings, which goes on after `step`, has recorded: what `before`, its settings until then,
    /// had recorded, and a line of what differs from them, if anything does.
    pub fn changes_since(&self, before: &Settings, step: u64) -> Option<Vec<String>> {
        let shown = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
        let changed: Vec<String> = TABLE
            .iter()
            .filter(|setting| !(setting.same)(self, before))
            .map(|setting| {
                let (now, was) = (shown((setting.show)(self)), shown((setting.show)(before)));
                format!("{} {now}, was {was}", setting.key)
            })
            .collect();
        let mut lines = before.resumed.clone().unwrap_or_default();
        if !changed.is_empty() {
            lines.push(format!("after step {step}: {}", changed.join("; ")));
        }
        (!lines.is_empty()).then_some(lines)
    }

    /// Refuses values that make no sense by themselves, and settings that do not go together.
    ///
    /// # Errors
    /// The first one, by its name.
    pub fn check_values(&self) -> Result<()> {
        for setting in TABLE.iter().filter(|setting| (setting.given)(self)) {
            (setting.check)(self)?;
            let other = |key: &&&str| by_key(key).is_some_and(|other| (other.given)(self));
            if let Some(other) = setting.about.conflicts.iter().find(other) {
                return Err(Error::input(
                    "these do not go together",
                    format!("⟨{}⟩ beside ⟨{other}⟩", setting.key),
                    "leave one of the two out",
                ));
            }
        }
        Ok(())
    }

    /// The rule that updates the weights, of filled settings.
    ///
    /// # Errors
    /// An unknown rule.
    pub fn rule(&self) -> Result<OptimizerKind> {
        match self.optimizer.as_deref() {
            Some("sgd") => Ok(OptimizerKind::Sgd { momentum: MOMENTUM }),
            Some("adam") | None => Ok(OptimizerKind::Adam {
                beta1: self.beta1.unwrap_or_default(),
                beta2: self.beta2.unwrap_or_default(),
                eps: self.adam_eps.unwrap_or_default(),
            }),
            Some(other) => Err(Error::input("no such optimizer", format!("⟨optimizer⟩ {other}"), "use adam or sgd")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn images() -> Settings {
        Settings { images: Some("pictures".into()), ..Settings::default() }
    }

    #[test]
    fn written_settings_read_back_to_the_same_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let settings = Settings { width: Some(0.25), steps: Some(7), ..images() }.filled(Settings::default());
        let made_by = Some(BTreeMap::from([("device".to_owned(), "cpu".to_owned())]));
        let settings = Settings { model: Some("toy".into()), made_by, ..settings };
        settings.write(&path).unwrap();
        assert_eq!(Settings::read(&path).unwrap(), settings);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.toml");
        std::fs::write(&path, "bathc = 3\n").unwrap();
        let error = Settings::read(&path).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("my.toml") && error.to_string().contains("bathc"), "{error}");
    }

    #[test]
    fn what_is_given_wins_also_between_alternatives() {
        let file = Settings { epochs: Some(3), batch: Some(2), ..images() };
        let merged = Settings { steps: Some(9), ..Settings::default() }.or(file);
        assert_eq!((merged.steps, merged.epochs, merged.batch), (Some(9), None, Some(2)));
        let merged = Settings { source: Some("s".into()), ..Settings::default() }.or(images());
        assert_eq!((merged.source.is_some(), merged.images), (true, None));
    }

    #[test]
    fn weights_to_start_from_win_over_the_bins_and_the_width_of_a_file() {
        let file = Settings { bins: Some("grid".into()), ..images() }.filled(Settings::default());
        let merged = Settings { init: Some("w".into()), ..Settings::default() }.or(file);
        assert_eq!((&merged.bins, merged.width), (&None, None));
        assert_eq!(merged.filled(Settings::default()).width, None);
    }

    #[test]
    fn a_resumed_run_keeps_what_its_checkpoints_have_settled() {
        let before = Settings { width: Some(0.5), lr: Some(1e-3), ..Settings::default() };
        let with = |width, lr| Settings { width, lr, ..Settings::default() };
        let folder = Path::new("run");
        assert!(with(None, Some(1.0)).check_unchanged(&before, folder).is_ok());
        assert!(with(Some(0.5), None).check_unchanged(&before, folder).is_ok());
        let error = with(Some(1.0), None).check_unchanged(&before, folder).unwrap_err().to_string();
        assert!(error.contains("width with run"), "{error}");
    }

    #[test]
    fn what_changes_on_resume_is_recorded_with_the_step() {
        let first = Settings { lr: Some(1e-3), steps: Some(4), ..Settings::default() };
        let second = Settings { lr: Some(1e-4), steps: Some(4), seed: Some(2), ..Settings::default() };
        let recorded = second.changes_since(&first, 4).unwrap();
        assert_eq!(recorded, ["after step 4: lr 1e-4, was 0.001; seed 2, was nothing"]);
        let second = Settings { resumed: Some(recorded.clone()), ..second };
        assert_eq!(second.changes_since(&second, 5).unwrap(), recorded);
        let third = Settings { steps: Some(9), ..second.clone() };
        assert_eq!(third.changes_since(&second, 6).unwrap()[1..], ["after step 6: steps 9, was 4"]);
        assert_eq!(first.changes_since(&first, 1), None);
    }

    #[test]
    fn the_table_names_only_settings_that_there_are() {
        for setting in TABLE {
            let others = setting.about.conflicts.iter().chain(setting.about.displaces);
            others.for_each(|key| assert!(by_key(key).is_some(), "{} names {key}", setting.key));
            let mut settings = Settings::default();
            assert!(!(setting.given)(&settings) && (setting.show)(&settings).is_none());
            assert!((setting.read)(&mut settings, std::ffi::OsStr::new(if setting.is_switch { "true" } else { "1" })));
            let toml = toml::to_string(&settings).unwrap();
            assert!(toml.starts_with(&format!("{} = ", setting.key)), "{toml}");
        }
    }

    #[test]
    fn the_common_defaults_make_sense() {
        Settings::common().check_values().unwrap();
    }
}
