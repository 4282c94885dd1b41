//! The tables are those of the documents, and name what the code reads.

use std::collections::BTreeSet;

use super::*;

const DOCUMENT: &str = include_str!("../../../../docs/cli.md");

/// Source files that name the environment variables that this program reads itself.
const READERS: [&str; 2] = [include_str!("../env.rs"), include_str!("../owner.rs")];

/// Variables that only libraries read: the library of this project, the AWS SDK, and the parser of the command line.
const READ_BY_LIBRARIES: [&str; 8] = [
    "AWS_REGION",
    "AWS_PROFILE",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "XDG_STATE_HOME",
    "NO_COLOR",
];

/// Returns the commands that have no commands below them, with their full names.
fn leaves(command: &Command, path: &str) -> Vec<String> {
    let below = command.get_subcommands().flat_map(|below| {
        let path = format!("{path} {}", below.get_name());
        leaves(below, path.trim_start())
    });
    let below: Vec<String> = below.collect();
    if below.is_empty() { vec![path.to_owned()] } else { below }
}

/// Returns the rows of the first table after the heading, each as its cells.
fn rows_after<'a>(heading: &str, document: &'a str) -> Vec<Vec<&'a str>> {
    let rest = document.split_once(heading).unwrap_or_else(|| panic!("{heading:?} is missing")).1;
    let table = rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table.skip(2).map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

fn code(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_command_has_examples_in_narrow_lines() {
    let mut expected = leaves(&Args::command(), "");
    expected.push(String::new());
    assert_eq!(examples::commands().map(str::to_owned).collect::<BTreeSet<_>>(), expected.iter().cloned().collect());
    for path in expected {
        let examples = examples_text(&path);
        assert!(!examples.is_empty(), "{path:?} has no examples");
        assert!(examples.lines().all(|line| line.chars().count() <= 80), "{path:?}: {examples}");
        assert!(sections(&path).iter().map(text).all(|text| text.lines().all(|line| line.chars().count() <= 80)));
    }
}

#[test]
fn environment_tables_are_those_of_the_document() {
    for (heading, variables) in [("\n## Environment\n", READ), ("set these variables for their command:", SET)] {
        let expected: Vec<Vec<String>> =
            variables.iter().map(|variable| vec![code(variable.names), variable.meaning.to_owned()]).collect();
        assert_eq!(rows_after(heading, DOCUMENT), expected, "{heading}");
    }
}

/// The reading code has all names as literals in two files, so that none is read that the table does not list.
#[test]
fn environment_table_lists_all_variables_of_the_code() {
    let is_name =
        |text: &&str| text.len() > 3 && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let before_tests = |source: &'static str| source.split("#[cfg(test)]").next().unwrap_or_default();
    let read: BTreeSet<&str> = READERS
        .into_iter()
        .flat_map(|source| before_tests(source).split('"').skip(1).step_by(2))
        .filter(is_name)
        .collect();
    let all = READ.iter().chain(SET).flat_map(|variable| variable.names);
    let table: BTreeSet<&str> = all.copied().filter(|name| !READ_BY_LIBRARIES.contains(name)).collect();
    assert_eq!(read, table);
}

/// Control of the test above: no other file reads the environment.
#[test]
fn environment_is_read_in_one_place() {
    fn check(directory: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
        entries.map(|path| if path.is_dir() { check(&path) } else { reads(&path) }).sum()
    }
    fn reads(path: &std::path::Path) -> usize {
        let source = std::fs::read_to_string(path).expect("a source file");
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        let call = concat!("env::", "var");
        source.matches(&format!("{call}(")).count() + source.matches(&format!("{call}_os(")).count()
    }
    assert_eq!(check(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))), 1, "use env::variable");
}

#[test]
fn variables_of_flags_are_shown_beside_them() {
    let mut help = Vec::new();
    for mut command in command().get_subcommands().cloned() {
        help.push(command.render_long_help().to_string().split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let run = help.iter().find(|help| help.contains("Usage: run")).expect("the help of run");
    for variable in READ.iter().filter(|variable| matches!(variable.flag, Some("lease" | "owner"))) {
        assert!(run.contains(&format!("[env: {}]", variable.names[0])), "{variable:?}: {run}");
    }
    let root = command().render_long_help().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    for variable in READ.iter().filter(|variable| variable.flag.is_some() && variable.scope == Scope::Store) {
        assert!(root.contains(&format!("[env: {}]", variable.names[0])), "{variable:?}: {root}");
    }
}

#[test]
fn files_are_those_of_the_document() {
    let expected: Vec<Vec<String>> = files::FILES
        .iter()
        .map(|file| vec![code(&file.path.split(", ").collect::<Vec<_>>()), file.meaning.to_owned()])
        .collect();
    assert_eq!(rows_after("\n## Files\n", DOCUMENT), expected);
}

#[test]
fn exit_codes_are_those_of_the_document() {
    let rows = rows_after("\n## Exit codes\n", DOCUMENT);
    let documented: Vec<(String, String)> = rows.iter().map(|row| (row[0].replace(' ', ""), plain(row[1]))).collect();
    let expected: Vec<(String, String)> =
        exit::codes("").into_iter().map(|(code, meaning)| (code, meaning.to_owned())).collect();
    assert_eq!(documented, expected);
}

#[test]
fn long_texts_are_wrapped_at_words() {
    let text = wrapped(&"word ".repeat(40), 10);
    assert!(text.lines().all(|line| line.len() <= WIDTH && line.starts_with("          word")), "{text}");
    assert_eq!(text.split_whitespace().count(), 40);
}
