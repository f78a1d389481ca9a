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
mod training;

use crate::cli::commands::{check_data, colorize, demo, doctor, evaluate, inspect, profile, register, train};
use crate::cli::outcome::Outcome;
use crate::error::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "huetape", version, about, max_term_width = 110, args_override_self = true)]
#[command(after_help = "Start with `huetape demo`: it needs no data and no GPU. Each command's --help has an example.")]
struct Cli {
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
    Colorize(colorize::ColorizeArgs),
    /// Says how good a network is on pictures whose colours are known, beside what needs no network
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Shows what a network is made of
    Inspect(inspect::InspectArgs),
    /// Times a pass of a network and each of its kernel launches
    Profile(profile::ProfileArgs),
    /// Puts a picture onto the grid of another by point pairs
    Register(register::RegisterArgs),
    /// Says what `train` would read, what is wrong with it, and what a step would cost
    CheckData(check_data::CheckDataArgs),
    /// Lists what there is to compute with and tests every kernel on it
    Doctor(doctor::DoctorArgs),
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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let run = || {
        signals::listen()?;
        run(cli.command)?;
        Ok(stdio::check_printed()?)
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok::<Outcome, _>(Err(error)) => {
            let known = error.downcast_ref::<Error>();
            errln!("error: {}", known.map_or_else(|| error.to_string(), |error| error.line(names::flag)));
            ExitCode::from(known.map_or(1, Error::exit_code))
        }
        Err(_) => ExitCode::from(1),
    }
}

fn run(command: Command) -> Outcome {
    let prints_only = match &command {
        Command::Inspect(_) | Command::CheckData(_) | Command::Doctor(_) => true,
        Command::Evaluate(args) => args.files().next().is_none(),
        Command::Profile(args) => args.files().next().is_none(),
        _ => false,
    };
    if prints_only {
        stdio::prints_only();
    }
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Train(args) => train::run(*args),
        Command::Colorize(args) => colorize::run(args),
        Command::Evaluate(args) => evaluate::run(*args),
        Command::Inspect(args) => inspect::run(args),
        Command::Profile(args) => profile::run(args),
        Command::Register(args) => register::run(args),
        Command::CheckData(args) => check_data::run(args),
        Command::Doctor(args) => doctor::run(args),
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
    let remedy = choices.or_else(|| similar.map(|text| format!("did you mean {text}?"))).unwrap_or(help);
    errln!("error: {what}: {subject}: {remedy}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("huetape "), "{} has no example in its help", command.get_name());
        }
    }
}
