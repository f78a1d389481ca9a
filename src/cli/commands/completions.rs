//! `huetape completions`: what shells and `man` need to know of the command line.

use crate::cli::args::help::examples;
use crate::cli::outcome::Outcome;
use crate::error::Error;
use clap::{Arg, Args, Command, ValueEnum};
use clap_complete::Shell;

#[derive(Args, Debug)]
#[command(after_help = format!("{}\n\nA new shell completes commands, flags and their values then.", examples(&[
    "completions bash > ~/.local/share/bash-completion/completions/huetape",
    "completions fish > ~/.config/fish/completions/huetape.fish",
    "completions zsh > DIR/_huetape    (a folder of fpath)",
    "completions man train > huetape-train.1",
])))]
pub struct CompletionsArgs {
    /// For which shell, or a page for man
    #[arg(value_name = "SHELL")]
    target: Target,
    /// With man: of which command, e.g. kernels time [default: huetape itself]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// What is written.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Elvish,
    /// A page for man(1)
    Man,
}

/// Prints what is asked for of the command line that `whole` parses.
///
/// # Errors
/// A command that does not exist, or one where a shell needs none.
pub fn run(args: &CompletionsArgs, mut whole: Command) -> Outcome {
    let shell = match args.target {
        Target::Bash => Shell::Bash,
        Target::Zsh => Shell::Zsh,
        Target::Fish => Shell::Fish,
        Target::Powershell => Shell::PowerShell,
        Target::Elvish => Shell::Elvish,
        Target::Man => return page(whole, &args.command),
    };
    if let Some(command) = args.command.first() {
        let what = "a script for a shell is about all commands";
        return Err(Error::input(what, command, "leave it out, or use man").into());
    }
    let mut script = Vec::new();
    let name = whole.get_name().to_owned();
    clap_complete::generate(shell, &mut whole, name, &mut script);
    out!("{}", String::from_utf8_lossy(&script));
    Ok(())
}

/// Prints the page of the command that `words` lead to.
fn page(mut whole: Command, words: &[String]) -> Outcome {
    // Gives commands the names that they are called by: `huetape train`.
    whole.build();
    let mut command = &whole;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let remedy = match names.is_empty() {
                true => "leave it out".to_owned(),
                false => format!("use one of {}", names.join(", ")),
            };
            Error::input("no such command", word, remedy)
        })?;
    }
    out!("{}", roff(command));
    Ok(())
}

/// The page of a command in the language of man(7).
fn roff(command: &Command) -> String {
    let called = command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let mut page = format!(".TH {} 1 \"\" \"huetape {}\"\n", text(&called), env!("CARGO_PKG_VERSION"));
    page += &format!(".SH NAME\n{} \\- {}\n", text(&called), text(&about));
    page += &format!(".SH SYNOPSIS\n{}\n.SH OPTIONS\n", text(usage.trim_start_matches("Usage: ")));
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        page += &format!(".TP\n{}\n{}\n", head_of(arg), text(&help_of(arg)));
    }
    let commands: Vec<&Command> = command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    if !commands.is_empty() {
        page.push_str(".SH COMMANDS\n");
    }
    for of in commands {
        let about = of.get_about().map(ToString::to_string).unwrap_or_default();
        page += &format!(".TP\n{}(1)\n{}\n", text(&format!("{called}-{}", of.get_name())), text(&about));
    }
    if let Some(after) = command.get_after_help() {
        // Examples, line by line as help has them.
        page += &format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", text(&after.to_string()));
    }
    page
}

/// The names of an argument in bold, what it takes in italics.
fn head_of(arg: &Arg) -> String {
    let bold = |name: String| format!("\\fB{}\\fR", text(&name));
    let names = [arg.get_short().map(|name| format!("-{name}")), arg.get_long().map(|name| format!("--{name}"))];
    let names: Vec<String> = names.into_iter().flatten().map(bold).collect();
    let takes = arg.is_positional() || arg.get_action().takes_values();
    let of_switch = arg.get_num_args().is_some_and(|number| !number.takes_values());
    let values = arg.get_value_names().filter(|_| takes && !of_switch).unwrap_or_default();
    let values: String = values.iter().map(|value| format!(" \\fI{}\\fR", text(value))).collect();
    format!("{}{values}", names.join(", ")).trim_start().to_owned()
}

/// What an argument is for, its values and its default.
fn help_of(arg: &Arg) -> String {
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let possible = arg.get_possible_values();
    let possible: Vec<&str> =
        possible.iter().filter(|value| !value.is_hide_set()).map(|value| value.get_name()).collect();
    if !possible.is_empty() && arg.get_action().takes_values() {
        help += &format!(" [possible values: {}]", possible.join(", "));
    }
    let defaults: Vec<String> = arg.get_default_values().iter().map(|value| value.display().to_string()).collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        help += &format!(" [default: {}]", defaults.join(" "));
    }
    help
}

/// Text that means nothing else to roff.
fn text(text: &str) -> String {
    let line = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        // A line that begins so would be a request.
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
