//! The synopsis of a command in the manual page. The generator of the page leaves out the values of options.

use clap::{Arg, Command};
use clap_mangen::roff::{Inline, bold, italic, roman};

/// Returns the synopsis: each option with its value, then the arguments.
pub fn synopsis(command: &Command, name: &str) -> Vec<Inline> {
    let mut line = vec![bold(name)];
    let shown = |arg: &&Arg| !arg.is_hide_set();
    for option in command.get_arguments().filter(|arg| !arg.is_positional()).filter(shown) {
        line.push(roman(" ["));
        let names =
            [option.get_short().map(|short| format!("-{short}")), option.get_long().map(|long| format!("--{long}"))];
        for (index, name) in names.into_iter().flatten().enumerate() {
            line.extend((index > 0).then(|| roman("|")));
            line.push(bold(name));
        }
        if let Some(value) = value(option) {
            line.extend([roman(" <"), italic(value), roman(">")]);
        }
        line.push(roman("]"));
        if may_be_repeated(option) {
            line.push(roman("..."));
        }
    }
    for argument in command.get_positionals().filter(shown) {
        let (open, close) = if argument.is_required_set() { (" ", "") } else { (" [", "]") };
        let name = value(argument).unwrap_or_else(|| argument.get_id().to_string());
        line.extend([roman(open), italic(name), roman(close)]);
        if may_be_repeated(argument) {
            line.push(roman("..."));
        }
    }
    if command.has_subcommands() {
        line.extend([roman(" "), italic("COMMAND")]);
    }
    line
}

/// Returns the name of the value that the argument takes.
fn value(arg: &Arg) -> Option<String> {
    let takes_value = arg.get_action().takes_values();
    takes_value.then(|| arg.get_value_names().map(|names| names.join(" "))).flatten()
}

fn may_be_repeated(arg: &Arg) -> bool {
    matches!(arg.get_action(), clap::ArgAction::Append | clap::ArgAction::Count)
        || arg.get_num_args().is_some_and(|range| range.max_values() > 1)
}
