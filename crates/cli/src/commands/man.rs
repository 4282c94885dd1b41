//! `man` and `completions`: the manual page and shell completions, both generated from the definition of the arguments.

use std::io;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::{args::Args, exit::Exit, failure::Failure, help, ui::output};

/// Prints the completion script for a shell.
pub fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "dynamo-lock", &mut text);
    print(text)
}

/// Prints the manual page in roff format.
pub fn man() -> Result<Exit, Failure> {
    let mut text = Vec::new();
    write_page(&mut text)
        .map_err(|error| Failure::internal(format!("cannot generate the manual page: {error}; use --help")))?;
    print(text)
}

fn print(text: Vec<u8>) -> Result<Exit, Failure> {
    output::print(String::from_utf8_lossy(&text).trim_end())?;
    Ok(Exit::Success)
}

/// Writes one page for all commands: each command has a section, and the lists of the help follow them.
fn write_page(out: &mut Vec<u8>) -> io::Result<()> {
    let command = help::command();
    let man = Man::new(with_aliases(command.clone()));
    man.render_title(out)?;
    man.render_name_section(out)?;
    let mut first = Roff::new();
    first.control("SH", ["SYNOPSIS"]).text(help::synopsis(&command, "dynamo-lock"));
    first.control("SH", ["EXAMPLES"]);
    write_examples(&mut first, "");
    first.to_writer(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    for subcommand in command.get_subcommands() {
        write_section(subcommand, "", out)?;
    }
    let mut last = Roff::new();
    for section in help::sections("") {
        last.control("SH", [section.title.to_uppercase().as_str()]);
        for (term, meaning) in section.rows {
            if !term.is_empty() {
                last.control("TP", []).text([roman(term)]);
            }
            last.text([roman(meaning)]);
        }
    }
    last.to_writer(out)
}

fn write_section(command: &Command, parent: &str, out: &mut Vec<u8>) -> io::Result<()> {
    let path = format!("{parent} {}", command.get_name()).trim_start().to_owned();
    if command.has_subcommands() {
        return command.get_subcommands().try_for_each(|subcommand| write_section(subcommand, &path, out));
    }
    let name = format!("dynamo-lock {path}");
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let mut heading = Roff::new();
    heading.control("SH", [name.to_uppercase().as_str()]);
    for (index, paragraph) in about.split("\n\n").enumerate() {
        if index > 0 {
            heading.control("PP", []);
        }
        heading.text([roman(paragraph)]);
    }
    heading.control("SS", ["SYNOPSIS"]).text(help::synopsis(command, &name));
    heading.control("SS", ["EXAMPLES"]);
    write_examples(&mut heading, &path);
    heading.to_writer(out)?;
    let man = Man::new(with_aliases(command.clone()).bin_name(name));
    let mut body = Vec::new();
    man.render_options_section(&mut body)?;
    // The generator writes sections of a page of its own, which become subsections of this page.
    out.extend_from_slice(String::from_utf8_lossy(&body).replace("\n.SH ", "\n.SS ").as_bytes());
    Ok(())
}

/// Writes the examples of a command, with their lines as they are typed.
fn write_examples(out: &mut Roff, path: &str) {
    for example in help::examples_of(path) {
        out.control("TP", []).text([roman(example.purpose)]).control("nf", []);
        for line in example.lines.lines() {
            out.text([roman(line)]);
        }
        out.control("fi", []);
    }
}

/// Adds the aliases of flags to their help texts, because the generator omits them.
fn with_aliases(command: Command) -> Command {
    command.mut_args(|arg| {
        let short = arg.get_visible_short_aliases().unwrap_or_default();
        let short = short.into_iter().map(|alias| format!("-{alias}"));
        let long = arg.get_visible_aliases().unwrap_or_default();
        let aliases: Vec<_> = short.chain(long.into_iter().map(|alias| format!("--{alias}"))).collect();
        let Some(help) = arg.get_long_help().or(arg.get_help()).filter(|_| !aliases.is_empty()) else { return arg };
        let help = format!("{help} [alias: {}]", aliases.join(", "));
        arg.long_help(help.clone()).help(help)
    })
}
