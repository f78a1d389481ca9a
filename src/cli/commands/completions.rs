//! `huetape completions`: what shells and `man` need to know of the command line.

use crate::cli::args::help::examples;
use crate::cli::outcome::Outcome;
use crate::error::Error;
use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

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
    let called = command.get_bin_name().unwrap_or(command.get_name()).replace(' ', "-");
    let mut text = Vec::new();
    let page = Man::new(command.clone().display_name(called)).source(format!("huetape {}", env!("CARGO_PKG_VERSION")));
    page.manual("huetape").render(&mut text)?;
    // What stands below the flags in help has no heading there, and begins with examples.
    out!("{}", String::from_utf8_lossy(&text).replace(".SH EXTRA\n", ".SH EXAMPLES\n"));
    Ok(())
}
