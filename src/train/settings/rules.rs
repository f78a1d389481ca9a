//! Settings as a whole: their file, what wins over what, what may change on resume, what they come to.

use crate::engine::nn::OptimizerKind;
use crate::error::{Error, ErrorKind, Result};
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
    /// The keys of a TOML file: those of the settings, and what else it may hold.
    fn keys() -> Vec<&'static str> {
        TABLE.iter().map(|setting| setting.key).chain(["model", "out", "resumed", "made-by"]).collect()
    }

    /// Settings from a TOML file: one key a setting.
    ///
    /// # Errors
    /// A file that cannot be read, is no TOML, or has an unknown key; the file is named.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::input(format!("cannot read the settings ({error})"), path.display(), "name a TOML file")
        })?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
            let what = format!("this is not TOML ({})", one_line(error.message()));
            Error::input(what, format!("{} line {line}", path.display()), "write lines as width = 0.5")
                .of(ErrorKind::File)
        })?;
        // One by one: the first that does not fit is named.
        let mut settings = toml::Table::new();
        for (key, value) in table {
            check_entry(&key, &value).map_err(|(what, remedy)| {
                Error::input(what, format!("{key} in {}", path.display()), remedy).of(ErrorKind::Setting)
            })?;
            settings.insert(key, value);
        }
        settings.try_into().map_err(|error: toml::de::Error| {
            let what = format!("the settings cannot be read ({})", one_line(error.message()));
            Error::input(what, path.display(), "see the help of `huetape train`").of(ErrorKind::File)
        })
    }

    /// Settings from TOML that [`toml::to_string`] has made of some. By way of a table, as [`Settings::read`]: what
    /// reads settings straight from text would be compiled a second time.
    ///
    /// # Errors
    /// What is wrong with other text.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str::<toml::Table>(text)?.try_into()
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
    /// no room for the other's; a switch that is off chooses nothing.
    pub fn or(mut self, mut other: Settings) -> Settings {
        let off = |setting: &Setting<Settings>, of: &Settings| {
            setting.is_switch && (setting.show)(of).as_deref() == Some("false")
        };
        let given = TABLE.iter().filter(|setting| (setting.given)(&self) && !off(setting, &self));
        let displaced = given.flat_map(|setting| setting.about.displaces).filter_map(|key| by_key(key));
        let displaced: Vec<_> = displaced.filter(|setting| !off(setting, &other)).collect();
        displaced.into_iter().for_each(|setting| (setting.clear)(&mut other));
        for setting in TABLE {
            if !(setting.given)(&self) {
                (setting.copy)(&mut self, &other);
            }
        }
        self.model = self.model.or(other.model);
        self.out = self.out.or(other.out);
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

/// What is wrong with an entry of a file of settings, and what to do about it.
fn check_entry(key: &str, value: &toml::Value) -> Result<(), (String, String)> {
    let entry = toml::Table::from_iter([(key.to_owned(), value.clone())]);
    let Err(error) = entry.try_into::<Settings>() else { return Ok(()) };
    let known = Settings::keys();
    if !known.contains(&key) {
        let like = closest(key, &known).map(|like| format!("did you mean {like}?"));
        let remedy = like.unwrap_or_else(|| "see the help of `huetape train`, whose flags are the keys".to_owned());
        return Err(("no such setting".to_owned(), remedy));
    }
    let remedy = by_key(key).map_or_else(|| "leave it out".to_owned(), Setting::remedy);
    Err((format!("not a value that it takes ({})", one_line(error.message())), remedy))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name that was meant: the one that takes the fewest changes of letters, at most a third of them.
fn closest<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    let wrong = wrong.replace('_', "-");
    let near = |name: &&&str| distance(&wrong, name);
    let best = names.iter().min_by_key(near)?;
    (distance(&wrong, best) <= best.len().div_ceil(3)).then_some(*best)
}

/// Letters to add, take away, change, or swap with the next.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    if swapped { least.min(rows[i - 2][j - 2] + 1) } else { least }
                }
            };
        }
    }
    rows[a.len()][b.len()]
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
        for (text, expected) in [
            ("lr = 1\nbathc = 3", "no such setting: bathc in my.toml: did you mean batch?"),
            ("val_source = \"x\"", "no such setting: val_source in my.toml: did you mean val-source?"),
            ("xyzzy = 3", "no such setting: xyzzy in my.toml: see the help of `huetape train`"),
            (
                "batch = \"x\"",
                "not a value that it takes (invalid type: string \"x\", expected usize): batch in my.toml",
            ),
            ("batch = -3", "batch in my.toml: use 1 or more"),
            ("lr = \"fast\"", "lr in my.toml: use a number above 0"),
            ("seed = 1.5", "seed in my.toml: use a whole number of at least 0"),
            ("device = 3", "device in my.toml: use a text in quotes"),
            ("lr = 1\nbatch 3", "my.toml line 2: write lines as"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Settings::read(&path).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let said = error.to_string().replace(&format!("{}/", folder.path().display()), "");
            assert!(said.contains(expected), "{said}");
        }
        std::fs::write(&path, "out = \"runs/first\"\nlr = 1\n").unwrap();
        let settings = Settings::read(&path).unwrap();
        assert_eq!((settings.out, settings.lr), (Some("runs/first".into()), Some(1.0)));
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
