//! The help and the sections of the manual page that are not generated from the options: examples, environment, files,
//! exit codes and related pages. Each comes from one table, which tests compare with the code and the documents.

mod environment;
mod examples;
mod files;
mod synopsis;

use clap::{Command, CommandFactory};

pub use examples::{Example, of as examples_of};
pub use synopsis::synopsis;

use self::environment::{READ, SET, Variable};
use crate::{args::Args, exit, signals};

/// Order of the parts of `--help`: the examples come before the options.
const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}";

/// Width of the sections, which suits a terminal of 80 columns.
const WIDTH: usize = 79;

/// Commands that open no store.
const WITHOUT_STORE: [&str; 2] = ["completions", "man"];

/// Pages to read next.
const SEE_ALSO: &str = "flock(1); recipes, guarantees and the JSON output: \
    https://github.com/dynamo-lock/dynamo-lock/tree/main/docs";

/// The commands to which a row of a table applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All commands.
    Everywhere,
    /// Commands that open a store.
    Store,
    /// Commands that store an owner label: `run`, `once` and `hold`.
    Owner,
    /// `run` and `once`.
    Runs,
}

impl Scope {
    fn includes(self, path: &str) -> bool {
        let runs = ["", "run", "once"].contains(&path);
        match self {
            Self::Everywhere => true,
            Self::Store => !WITHOUT_STORE.contains(&path),
            Self::Owner => runs || path == "hold",
            Self::Runs => runs,
        }
    }
}

/// A titled list for the help of a command: terms with their meanings.
#[derive(Debug)]
pub struct Section {
    pub title: &'static str,
    pub rows: Vec<(String, String)>,
}

/// Returns the definition of the command line with complete help texts.
///
/// Parsing does not need them, so they are generated only to be printed.
pub fn command() -> Command {
    complete(Args::command(), "")
}

fn complete(command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| {
        let variable = READ.iter().find(|variable| variable.flag.is_some() && variable.flag == arg.get_long());
        let Some(variable) = variable else { return arg };
        let tag = |help: String, space: &str| format!("{help}{space}[env: {}]", variable.names[0]);
        let (short, long) = (arg.get_help().map(ToString::to_string), arg.get_long_help().map(ToString::to_string));
        let arg = match short {
            Some(help) => arg.help(tag(help, " ")),
            None => arg,
        };
        match long {
            Some(help) => arg.long_help(tag(help, "\n\n")),
            None => arg,
        }
    });
    let mut command = command
        .help_template(TEMPLATE)
        .before_long_help(format!("Examples:{}", examples_text(path)))
        .after_long_help(sections(path).iter().map(text).collect::<Vec<_>>().join("\n"));
    if Scope::Runs.includes(path) {
        command = command.after_help(text(&exit_status(path)));
    }
    for name in names {
        let path = format!("{path} {name}");
        command = command.mut_subcommand(&name, |below| complete(below, path.trim_start()));
    }
    command
}

/// Returns the sections that follow the options of a command.
pub fn sections(path: &str) -> Vec<Section> {
    let rows = |variables: &[Variable]| -> Vec<(String, String)> {
        let applies = variables.iter().filter(|variable| variable.scope.includes(path));
        applies.map(|variable| (variable.names.join(", "), plain(variable.meaning))).collect()
    };
    let files = files::FILES.iter().filter(|file| file.scope.includes(path));
    let files = files.map(|file| (file.path.to_owned(), plain(file.meaning)));
    let paragraph = |text: &str| vec![(String::new(), text.to_owned())];
    let mut sections = vec![
        Section { title: "Signals", rows: if Scope::Runs.includes(path) { paragraph(signals::HELP) } else { vec![] } },
        Section { title: "Environment", rows: rows(READ) },
        Section { title: "Environment of the command", rows: rows(SET) },
        Section { title: "Files", rows: files.collect() },
        exit_status(path),
        Section { title: "See also", rows: paragraph(SEE_ALSO) },
    ];
    sections.retain(|section| !section.rows.is_empty());
    sections
}

fn exit_status(path: &str) -> Section {
    let rows = exit::codes(path).into_iter().map(|(code, meaning)| (code, meaning.to_owned()));
    Section { title: "Exit status", rows: rows.collect() }
}

/// Returns the section as text for `--help`.
fn text(section: &Section) -> String {
    let mut text = format!("{}:\n", section.title);
    for (term, meaning) in &section.rows {
        // Exit codes are short, so that their meanings fit beside them.
        match term.len() {
            0 => text += &wrapped(meaning, 2),
            1..=6 => text += &format!("  {term:<8} {}", wrapped(meaning, 11).trim_start()),
            _ => text += &format!("  {term}\n{}", wrapped(meaning, 10)),
        }
    }
    text
}

/// Returns the examples of a command as shell lines with comments.
fn examples_text(path: &str) -> String {
    let lines = |example: &Example| {
        let lines = example.lines.lines().map(|line| format!("\n  {line}")).collect::<String>();
        format!("\n  # {}{lines}", example.purpose)
    };
    examples_of(path).iter().map(lines).collect()
}

/// Returns the text in lines of at most [`WIDTH`] columns that begin with `indent` spaces.
fn wrapped(text: &str, indent: usize) -> String {
    let (mut out, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
            out += &format!("{:indent$}{line}\n", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    out + &format!("{:indent$}{line}\n", "")
}

/// Returns the text without the marks of code in Markdown.
fn plain(markdown: &str) -> String {
    markdown.replace('`', "")
}

#[cfg(test)]
mod tests;
