//! Flags of settings, made of the table.

use crate::cli::args::help::{help, help_beside_a_run};
use crate::cli::names::flags;
use crate::train::settings::setting::Setting;
use crate::train::settings::table::{Settings, TABLE};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use std::ffi::{OsStr, OsString};
use std::marker::PhantomData;

/// Which settings a command has, and how it shows them.
pub trait Choice: Default + Clone + Send + Sync + 'static {
    /// Their keys; `None` for all.
    const KEYS: Option<&'static [&'static str]>;
    /// Whether they stand under headings.
    const HEADINGS: bool = false;
    /// Whether a run has values that come before the defaults.
    const BESIDE_A_RUN: bool = false;

    /// What is different for this command.
    fn adjust(arg: Arg) -> Arg {
        arg
    }
}

/// Settings that were given on the command line.
#[derive(Debug, Clone, Default)]
pub struct Given<C> {
    /// The settings, those that were left out being `None`.
    pub settings: Settings,
    choice: PhantomData<C>,
}

impl<C> Given<C> {
    /// As if these settings had been given.
    pub fn of(settings: Settings) -> Self {
        Given { settings, choice: PhantomData }
    }
}

fn chosen<C: Choice>() -> impl Iterator<Item = &'static Setting<Settings>> {
    TABLE.iter().filter(|setting| C::KEYS.is_none_or(|keys| keys.contains(&setting.key)))
}

fn arg<C: Choice>(setting: &'static Setting<Settings>) -> Arg {
    let read = |text: OsString| match (setting.read)(&mut Settings::default(), &text) {
        true => Ok(text),
        false => Err(flags(&setting.remedy())),
    };
    let has = |key: &&&'static str| C::KEYS.is_none_or(|keys| keys.contains(key));
    let mut arg = Arg::new(setting.key)
        .long(setting.key)
        .value_name(setting.about.value_name)
        .value_parser(OsStringValueParser::new().try_map(read))
        .allow_hyphen_values(setting.about.hyphens)
        .conflicts_with_all(setting.about.conflicts.iter().filter(has))
        .help(if C::BESIDE_A_RUN { help_beside_a_run(setting) } else { help(setting) });
    if setting.is_switch {
        // Left out it is not false, but what the file or the run says.
        arg = arg.action(ArgAction::Set).num_args(0).default_missing_value("true");
    }
    if setting.about.repeats {
        arg = arg.action(ArgAction::Append);
    }
    if C::HEADINGS {
        arg = arg.help_heading(setting.about.heading);
    }
    C::adjust(arg)
}

impl<C: Choice> Args for Given<C> {
    fn augment_args(command: Command) -> Command {
        command.args(chosen::<C>().map(arg::<C>))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<C: Choice> FromArgMatches for Given<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Given::default();
        given.update_from_arg_matches(matches).map(|()| given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in chosen::<C>() {
            let given = matches.get_many::<OsString>(setting.key).into_iter().flatten();
            let values: Vec<&OsStr> = given.map(OsString::as_os_str).collect();
            match values[..] {
                [] => {}
                [text] => {
                    (setting.read)(&mut self.settings, text);
                }
                _ => {
                    (setting.read)(&mut self.settings, &values.join(OsStr::new(",")));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Default)]
    struct All;

    impl Choice for All {
        const KEYS: Option<&'static [&'static str]> = None;
    }

    fn given(line: &str) -> Result<Settings, clap::Error> {
        let command = Given::<All>::augment_args(Command::new("c").no_binary_name(true));
        command
            .try_get_matches_from(line.split_whitespace())
            .map(|matches| Given::<All>::from_arg_matches(&matches).unwrap().settings)
    }

    #[test]
    fn what_is_left_out_is_not_set() {
        assert_eq!(given("").unwrap(), Settings::default());
    }

    #[test]
    fn every_setting_is_a_flag_that_sets_it() {
        for setting in TABLE {
            let line = format!("--{} {}", setting.key, if setting.is_switch { "" } else { "1" });
            let settings = given(&line).unwrap();
            let mut expected = Settings::default();
            assert!((setting.read)(&mut expected, if setting.is_switch { "true" } else { "1" }.as_ref()));
            assert_eq!(settings, expected, "{line}");
        }
    }

    #[test]
    fn values_of_another_type_and_settings_that_do_not_go_together_are_refused() {
        for line in ["--batch x", "--lr", "--no-shuffle x", "--steps 1 --epochs 1", "--images a --source b"] {
            assert!(given(line).is_err(), "{line}");
        }
        let several = given("--body conv2d=quads --body conv2d_dx=scalars").unwrap();
        assert_eq!(several.body.as_deref(), Some("conv2d=quads,conv2d_dx=scalars"));
        assert_eq!(given("--stretch -25,0").unwrap().stretch.as_deref(), Some("-25,0"));
    }
}
