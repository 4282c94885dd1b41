//! The manual page and the shells' completions, both from the definition of the command line.

use std::io;

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::args::Args;
use crate::exit::{self, End, Failure, Kind};
use crate::print;
use crate::run::SIGNALS;

/// Prints what a shell needs to complete a command line of ours.
pub fn completions(shell: Shell) -> Result<End, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "dynamo-lock", &mut text);
    answer(text)
}

/// Prints the manual page, as roff.
pub fn man() -> Result<End, Failure> {
    let mut text = Vec::new();
    page(&mut text).map_err(|error| Failure::new(Kind::Internal, format!("no manual page: {error}; use --help")))?;
    answer(text)
}

fn answer(text: Vec<u8>) -> Result<End, Failure> {
    print::answer(String::from_utf8_lossy(&text).trim_end())?;
    Ok(End::Done)
}

/// One page for all: each command has a section of its own, and the exit codes are listed once.
fn page(out: &mut Vec<u8>) -> io::Result<()> {
    let command = Args::command();
    let man = Man::new(with_aliases(command.clone()));
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_options_section(out)?;
    for sub in command.get_subcommands() {
        section(sub, "dynamo-lock", out)?;
    }
    let mut last = Roff::new();
    last.control("SH", ["SIGNALS"]).text([roman(SIGNALS)]);
    last.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in exit::codes() {
        last.control("TP", []).text([roman(code)]).text([roman(meaning)]);
    }
    last.to_writer(out)
}

fn section(command: &Command, parent: &str, out: &mut Vec<u8>) -> io::Result<()> {
    let name = format!("{parent} {}", command.get_name());
    if command.has_subcommands() {
        return command.get_subcommands().try_for_each(|sub| section(sub, &name, out));
    }
    let mut heading = Roff::new();
    heading.control("SH", [name.to_uppercase().as_str()]);
    heading.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
    heading.to_writer(out)?;
    let man = Man::new(with_aliases(command.clone()).bin_name(name));
    let mut body = Vec::new();
    man.render_synopsis_section(&mut body)?;
    man.render_options_section(&mut body)?;
    // Sections of a page of its own are parts of a section here.
    out.extend_from_slice(String::from_utf8_lossy(&body).replace("\n.SH ", "\n.SS ").as_bytes());
    Ok(())
}

/// The page's writer leaves out what else a flag is called.
fn with_aliases(command: Command) -> Command {
    let say = |arg: Arg| {
        let also: Vec<String> =
            arg.get_visible_aliases().unwrap_or_default().iter().map(|a| format!("--{a}")).collect();
        match (also.is_empty(), arg.get_help()) {
            (false, Some(help)) => {
                let help = format!("{help} (also {})", also.join(", "));
                arg.help(help)
            }
            _ => arg,
        }
    };
    command.mut_args(say)
}
