//! The command line: one file a subcommand. Nothing else in the crate prints.
// `out!` and `errln!` do not end the work where nobody reads.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod stdio;

mod args;
mod commands;
mod console;
mod names;
mod outcome;
mod signals;
mod tables;
mod together;
mod training;

#[cfg(feature = "completions")]
use crate::cli::commands::completions;
#[cfg(feature = "convert")]
use crate::cli::commands::convert;
use crate::cli::commands::{check_data, colorize, demo, doctor, evaluate, inspect, profile, register, train, weights};
#[cfg(feature = "gpu")]
use crate::cli::commands::{kernels, tune};
use crate::cli::console::peak_bytes_of_process;
use crate::cli::outcome::Outcome;
use crate::cli::stdio::{Volume, volume};
use crate::engine::device::human_bytes;
use crate::error::Error;
use crate::networks::NETWORKS;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Parser)]
#[command(name = "huetape", version, about, max_term_width = 110, args_override_self = true)]
#[command(after_help = "Start with `huetape demo`: it needs no data and no GPU. Each command's --help has an example.")]
struct Cli {
    /// Say nothing on stderr but errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more on stderr: each step or picture, what caused an error, what it took
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trains on scenes that it makes itself and colours others that it has not seen
    Demo(demo::DemoArgs),
    /// Trains a network on pictures
    Train(Box<train::TrainArgs>),
    /// Colours pictures with a trained network
    Colorize(Box<colorize::ColorizeArgs>),
    /// Says how good a network is on pictures whose colours are known, beside what needs no network
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Shows what a network is made of
    Inspect(inspect::InspectArgs),
    /// Times a pass of a network and each of its kernel launches
    Profile(Box<profile::ProfileArgs>),
    /// Puts a picture onto the grid of another by point pairs
    Register(register::RegisterArgs),
    /// Lists the weights that come along, writes them out, and makes files to pass on of runs
    Weights(Box<weights::WeightsArgs>),
    /// Reads weights of other programs, and writes networks as ONNX files
    #[cfg(feature = "convert")]
    Convert(convert::ConvertArgs),
    /// Says what `train` would read, what is wrong with it, and what a step would cost
    CheckData(check_data::CheckDataArgs),
    /// Lists what there is to compute with and tests every kernel on it
    Doctor(doctor::DoctorArgs),
    /// For those who write kernels: lists, shows, checks and times them
    #[cfg(feature = "gpu")]
    Kernels(kernels::KernelsArgs),
    /// Measures which bodies of kernels are the fastest on a device, and keeps the winners in the user's cache folder,
    /// or in that of HUETAPE_CACHE, until the adapter, the driver or a kernel's text changes
    #[cfg(feature = "gpu")]
    Tune(Box<tune::TuneArgs>),
    /// Writes completions of commands and flags for a shell, and pages for man
    #[cfg(feature = "completions")]
    Completions(completions::CompletionsArgs),
}

/// Runs the command that the process's arguments name; prints a failure as one line and turns it into the exit code:
/// 0 done, 1 the work failed, 2 the command line or an input was wrong.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("no message");
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        errln!("error: a fault in huetape itself: {place}: please report it with this text: {what}");
        if cfg!(panic = "abort") {
            std::process::exit(1);
        }
    }));
    let parsed = command_line(std::env::args_os()).try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match (cli.quiet, cli.verbose) {
        (true, _) => stdio::set_volume(Volume::Quiet),
        (_, true) => stdio::set_volume(Volume::Verbose),
        _ => {}
    }
    let begun = Instant::now();
    let run = || {
        signals::listen()?;
        run(cli.command)?;
        Ok(stdio::check_printed()?)
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(())) => {
            together::leave();
            if volume() == Volume::Verbose {
                let memory = peak_bytes_of_process().map(|bytes| format!(", {} of memory", human_bytes(bytes)));
                errln!("done in {:.1} s{}", begun.elapsed().as_secs_f64(), memory.unwrap_or_default());
            }
            ExitCode::SUCCESS
        }
        Ok::<Outcome, _>(Err(error)) => {
            let known = error.downcast_ref::<Error>();
            let code = known.map_or(1, Error::exit_code);
            let Some(teller) = together::teller() else { return ExitCode::from(code) };
            errln!("error: {teller}{}", known.map_or_else(|| error.to_string(), |error| error.line(names::flag)));
            if volume() == Volume::Verbose {
                error.chain().skip(1).for_each(|cause| errln!("caused by: {cause}"));
            }
            together::abort(code);
            ExitCode::from(code)
        }
        Err(_) => {
            together::abort(1);
            ExitCode::from(1)
        }
    }
}

fn run(command: Command) -> Outcome {
    let prints_only = match &command {
        Command::Inspect(args) => args.files().next().is_none(),
        Command::CheckData(args) => args.files().next().is_none(),
        Command::Doctor(args) => args.files().next().is_none(),
        Command::Evaluate(args) => args.files().next().is_none(),
        Command::Profile(args) => args.files().next().is_none(),
        Command::Weights(args) => args.files().next().is_none(),
        #[cfg(feature = "gpu")]
        Command::Kernels(args) => args.files().next().is_none(),
        #[cfg(feature = "gpu")]
        Command::Tune(args) => args.prints_only(),
        #[cfg(feature = "completions")]
        Command::Completions(_) => true,
        _ => false,
    };
    if prints_only {
        stdio::prints_only();
    }
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Train(args) => train::run(*args),
        Command::Colorize(args) => colorize::run(*args),
        Command::Evaluate(args) => evaluate::run(*args),
        Command::Inspect(args) => inspect::run(args),
        Command::Profile(args) => profile::run(*args),
        Command::Register(args) => register::run(args),
        Command::Weights(args) => weights::run(*args),
        #[cfg(feature = "convert")]
        Command::Convert(args) => convert::run(&args),
        Command::CheckData(args) => check_data::run(args),
        Command::Doctor(args) => doctor::run(args),
        #[cfg(feature = "gpu")]
        Command::Kernels(args) => kernels::run(args),
        #[cfg(feature = "gpu")]
        Command::Tune(args) => tune::run(&args),
        #[cfg(feature = "completions")]
        Command::Completions(args) => completions::run(&args, command_line(std::iter::empty())),
    }
}

/// The parser. Every flag takes a negative number, which is then out of its range; help of `train` shows what the
/// network has that `args` name.
fn command_line(args: impl Iterator<Item = OsString>) -> clap::Command {
    let words: Vec<OsString> = args.skip(1).collect();
    let named = NETWORKS.iter().find(|recipe| words.iter().any(|word| word == recipe.name()));
    let command = Cli::command().mut_subcommand("train", |train| match named {
        Some(recipe) => train::of_network(train, *recipe),
        None => train,
    });
    taking_negative_numbers(command)
}

fn taking_negative_numbers(command: clap::Command) -> clap::Command {
    let mut command = command.mut_args(|arg| {
        let switch = arg.get_num_args().is_some_and(|number| !number.takes_values());
        let values = arg.get_action().takes_values() && !switch && !arg.is_positional();
        if values && !arg.is_allow_hyphen_values_set() { arg.allow_negative_numbers(true) } else { arg }
    });
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, taking_negative_numbers);
    }
    command
}

/// What a parser said of a value, where that says what to do.
fn advice(error: &clap::Error, value: &str) -> Option<String> {
    let said = std::error::Error::source(error)?.to_string();
    if said.starts_with("use ") {
        return Some(said);
    }
    if let Some((_, range)) = said.split_once(" is not in ") {
        return Some(match range.split_once("..") {
            Some((least, "" | "18446744073709551615")) => format!("use {least} or more"),
            Some((least, most)) => format!("use {least} to {}", most.trim_start_matches('=')),
            None => format!("use {range}"),
        });
    }
    match value.strip_prefix('-') {
        Some(number) if number.parse::<u64>().is_ok() => Some("use a whole number of at least 0".to_owned()),
        _ if said.contains("float") => Some("use a number".to_owned()),
        _ if said.contains("digit") => Some("use a whole number".to_owned()),
        _ => None,
    }
}

/// Prints help where it was asked for, else the parser's complaint as one line.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A closed pipe is no failure of help.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(" ")),
        _ => None,
    };
    let subject = context(ContextKind::InvalidArg)
        .or_else(|| context(ContextKind::InvalidSubcommand))
        .unwrap_or_else(|| "command line".to_owned());
    let (what, subject) = match error.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = context(ContextKind::InvalidValue).unwrap_or_default();
            let flag = subject.split(' ').next().unwrap_or_default();
            let what = if value.is_empty() { "a value is missing" } else { "not a value that it takes" };
            (what.to_owned(), format!("{flag} {value}").trim().to_owned())
        }
        ErrorKind::UnknownArgument => ("no such flag or argument".to_owned(), subject),
        ErrorKind::InvalidSubcommand => ("no such command".to_owned(), subject),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            ("no command".to_owned(), subject)
        }
        ErrorKind::MissingRequiredArgument => ("something is missing".to_owned(), subject),
        ErrorKind::ArgumentConflict => {
            let other = context(ContextKind::PriorArg).unwrap_or_default();
            ("these do not go together".to_owned(), format!("{subject} and {other}"))
        }
        ErrorKind::NoEquals | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues | ErrorKind::TooManyValues => {
            ("another number of values is needed".to_owned(), subject)
        }
        _ => ("the command line cannot be read".to_owned(), subject),
    };
    let choices = context(ContextKind::ValidValue).map(|values| format!("use one of {values}"));
    let similar = context(ContextKind::SuggestedArg).or_else(|| context(ContextKind::SuggestedSubcommand));
    let known = |word: &String| Cli::command().find_subcommand(word).is_some();
    let command = std::env::args().nth(1).filter(known).unwrap_or_default();
    let help = format!("see `huetape {command}{}--help`", if command.is_empty() { "" } else { " " });
    let advice = advice(error, &context(ContextKind::InvalidValue).unwrap_or_default());
    let remedy = choices.or(advice).or_else(|| similar.map(|text| format!("did you mean {text}?"))).unwrap_or(help);
    if together::tells_of_usage() {
        errln!("error: {what}: {subject}: {remedy}");
    }
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::settings::table::TABLE;

    #[test]
    fn help_of_a_network_names_no_other_and_no_flag_of_others_alone() {
        for recipe in NETWORKS {
            let words = ["huetape", "train", recipe.name(), "--help"].map(OsString::from);
            let parser = command_line(words.clone().into_iter());
            let help = parser.try_get_matches_from(words).unwrap_err().to_string();
            let others = NETWORKS.iter().filter(|other| other.name() != recipe.name());
            // The list of networks itself stands in one line.
            let text: String = help.lines().filter(|line| !line.contains("possible values")).collect();
            for other in others {
                assert!(!text.contains(other.name()), "{} in the help of {}: {help}", other.name(), recipe.name());
            }
            for setting in TABLE.iter().filter(|setting| setting.about.of_some) {
                let shown = help.lines().any(|line| line.trim_start().starts_with(&format!("--{} ", setting.key)));
                assert_eq!(shown, recipe.own_settings().contains(&setting.key), "{} of {}", setting.key, recipe.name());
            }
        }
    }

    #[test]
    fn the_command_line_is_well_formed_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("huetape "), "{} has no example in its help", command.get_name());
        }
    }
}
