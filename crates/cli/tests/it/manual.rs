//! The help, the manual page and the completions agree with each other and with the command line.

use std::collections::BTreeSet;

use crate::support::{Fixture, Running};

/// Every command with its flags and arguments, separated by spaces. Users rely on them.
const COMMANDS: &[(&str, &str)] = &[
    (
        "run",
        "-n --nb --nonblock --nonblocking -w --wait --timeout -E --conflict-exit-code --skip --lease --grace --warn-signal --max-hold --at-least \
         --also -x -e --exclusive -s --shared --slots --forever --drill --ready-file --owner --report --metrics-file -q -c --command",
    ),
    (
        "once",
        "<KEY> --for --reset --yes --json -n --nonblock -w --wait -E --conflict-exit-code --skip --lease --grace --warn-signal --max-hold --owner \
         --report --metrics-file -q -c --command",
    ),
    ("hold", "<NAME> <DUR> --json"),
    ("ls", "--prefix --held --watch --json"),
    ("show", "<NAME> --json"),
    #[cfg(feature = "ui")]
    ("ui", "--port --interval --allow-revoke --json"),
    ("revoke", "<NAME> --token --holder --force --yes --json"),
    ("reset", "<NAME> --json"),
    ("policy", "<USE> --prefix --account --json"),
    ("table create", "--provisioned --tag --deletion-protection --json"),
    (
        "table print",
        "--terraform --cloudformation --cdk --aws-cli --alarms --provisioned --tag --deletion-protection --json",
    ),
    ("table delete", "--yes --json"),
    ("table check", "--json"),
    ("cost", "--locks --lease --holders --waiters --acquisitions --from-table --write-price --read-price --json"),
    ("completions", "<SHELL>"),
    ("man", ""),
];

/// Flags that every command accepts.
const GLOBAL_FLAGS: &[&str] = &["-v", "--verbose", "--store", "--table", "--region", "--profile", "--endpoint-url"];

/// Flags of `flock` that have another or no meaning here, and are refused.
const RESERVED_FLAGS: &[&str] = &["-o", "-u", "--unlock"];

/// Exit codes that the help lists, in this order.
const CODES: [&str; 14] = ["0", "N", "128+N", "64", "69", "70", "74", "75", "76", "77", "78", "79", "126", "127"];

/// Returns the standard output. Asserts that the command succeeds and prints no error.
fn stdout(arguments: &[&str]) -> String {
    let finished = Fixture::new().run(arguments).exits_with(0);
    assert_eq!(finished.stderr, "");
    finished.stdout
}

/// Returns the manual page without roff markup.
fn manual_page() -> String {
    let markup = [("\\-", "-"), ("\\fB", ""), ("\\fI", ""), ("\\fR", ""), ("\\ ", " "), ("\\*(Aq", "'")];
    markup.iter().fold(stdout(&["man"]), |page, (roff, plain)| page.replace(roff, plain))
}

/// Returns the text of a section of the manual page.
#[track_caller]
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let rest = page.split_once(&format!("\n.SH {heading}\n")).unwrap_or_else(|| panic!("{heading} is missing")).1;
    rest.split("\n.SH ").next().unwrap_or_default()
}

/// Returns the words of a text, for example flags and arguments.
fn words(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| c.is_whitespace() || "[](),|:;".contains(c));
    words.map(|word| word.trim_end_matches("...")).collect()
}

/// Returns the exit codes and their meanings, as the help lists them.
fn codes(help: &str) -> Vec<(String, String)> {
    let list = help.split_once("Exit status:\n").expect("the list").1.split("\n\n").next().unwrap_or_default();
    let pairs = list.lines().map_while(|line| line.trim().split_once("  "));
    pairs.map(|(code, meaning)| (code.trim().to_owned(), meaning.trim().to_owned())).collect()
}

#[test]
fn every_flag_is_in_help_and_manual() {
    let page = manual_page();
    for (command, flags) in COMMANDS {
        let help = stdout(&command.split(' ').chain(["--help"]).collect::<Vec<_>>());
        let heading = format!(".SH \"DYNAMO-LOCK {}\"", command.to_uppercase());
        let section = page.split_once(&heading).unwrap_or_else(|| panic!("{heading} is missing")).1;
        let section = section.split("\n.SH ").next().unwrap_or_default();
        for flag in flags.split_whitespace() {
            assert!(words(&help).contains(flag), "{flag} is missing in {help}");
            assert!(words(section).contains(flag), "{flag} is missing in {section}");
        }
        assert!(GLOBAL_FLAGS.iter().all(|flag| words(&help).contains(flag)), "{help}");
        for reserved in RESERVED_FLAGS {
            assert!(!words(&help).contains(reserved) && !words(section).contains(reserved), "{reserved} is reserved");
        }
    }
    assert!(GLOBAL_FLAGS.iter().all(|flag| words(&page).contains(flag)));
}

#[test]
fn reserved_flags_are_refused() {
    let fixture = Fixture::new();
    for flag in RESERVED_FLAGS {
        fixture.run(&["run", flag, "a", "true"]).exits_with(64);
    }
    fixture.run(&["run", "-n", "5", "true"]).exits_with(0); // -n takes no number: 5 is the lock
}

#[test]
fn every_exit_code_is_listed_once() {
    let all = codes(&stdout(&["--help"]));
    assert!(all.iter().map(|(code, _)| code).eq(CODES.iter()), "{all:?}");
    assert_eq!(codes(&stdout(&["run", "--help"])), all);
    let page = manual_page();
    let status = section(&page, "\"EXIT STATUS\"");
    let items: Vec<&str> = status.split(".TP\n").skip(1).collect();
    let items = items.iter().filter_map(|item| item.trim().split_once('\n'));
    assert!(items.eq(all.iter().map(|(code, meaning)| (code.as_str(), meaning.as_str()))), "{status}");
}

#[test]
fn signal_handling_is_in_help_and_manual() {
    let help = stdout(&["run", "--help"]);
    let page = manual_page();
    let signals = section(&page, "SIGNALS");
    for signal in ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "Ctrl-Z"] {
        assert!(words(&help).contains(signal), "{signal} is missing in {help}");
        assert!(words(signals).contains(signal), "{signal} is missing in {signals}");
    }
}

/// The examples come before the options, so that a reader sees them first.
#[test]
fn help_and_manual_have_all_sections_in_order() {
    let sections = ["Examples:", "Environment:", "Environment of the command:", "Files:", "Exit status:", "See also:"];
    for arguments in [&["--help"][..], &["run", "--help"]] {
        let help = stdout(arguments);
        let positions: Vec<_> = ["Usage:", "Examples:", "Options:", "Store:"].map(|title| help.find(title)).into();
        assert!(positions.is_sorted() && positions[0].is_some(), "{help}");
        let positions: Vec<_> = sections.iter().map(|title| help.find(&format!("\n{title}\n"))).collect();
        assert!(positions.is_sorted() && positions[0].is_some(), "{positions:?} {help}");
    }
    let page = manual_page();
    let titles = ["NAME", "SYNOPSIS", "EXAMPLES", "DESCRIPTION", "OPTIONS", "\"DYNAMO-LOCK RUN\"", "SIGNALS"];
    let last = ["ENVIRONMENT", "\"ENVIRONMENT OF THE COMMAND\"", "FILES", "\"EXIT STATUS\"", "\"SEE ALSO\""];
    let positions: Vec<_> = titles.iter().chain(&last).map(|title| page.find(&format!(".SH {title}\n"))).collect();
    assert!(positions.is_sorted() && positions[0].is_some(), "{positions:?} {page}");
    for variable in ["DYNAMO_LOCK_TOKEN", "DYNAMO_LOCK_TOKENS", "DYNAMO_LOCK_NAME", "DYNAMO_LOCK_RUNS"] {
        assert!(words(section(&page, "\"ENVIRONMENT OF THE COMMAND\"")).contains(variable), "{page}");
        assert!(words(&stdout(&["run", "--help"])).contains(variable));
    }
}

#[test]
fn synopsis_shows_the_values_of_options() {
    let page = manual_page();
    let run = section(&page, "\"DYNAMO-LOCK RUN\"");
    for part in ["[-w|--wait <DUR>]", "[--also <NAME>]...", "[-n|--nonblock]", "[--report <FILE>]", " NAME [CMD]..."] {
        assert!(run.contains(part), "{part} is missing in {run}");
    }
    assert!(section(&page, "SYNOPSIS").contains("[-v|--verbose]... [--store <URL>]"), "{page}");
}

#[test]
fn manual_page_is_clean_roff() {
    let page = stdout(&["man"]);
    assert!(page.lines().any(|line| line.starts_with(".TH dynamo")), "{page}");
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        let request = line[1..].split(' ').next().unwrap_or_default();
        assert!(
            ["TH", "SH", "SS", "TP", "IP", "PP", "RS", "RE", "ie", "el", "br", "nf", "fi"].contains(&request),
            "{line}"
        );
    }
}

#[test]
fn completions_include_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&["completions", shell]);
        for (command, _) in COMMANDS {
            let name = command.split(' ').next().unwrap_or_default();
            assert!(script.contains(name), "{name} is missing in the completions of {shell}");
        }
        assert!(script.contains("at-least"), "{shell}");
    }
    let fixture = Fixture::new();
    let script = "$PROGRAM completions bash > c && . ./c && COMP_WORDS=(dynamo-lock rev) COMP_CWORD=1 && \
                  _dynamo__lock dynamo-lock rev dynamo-lock; echo \"${COMPREPLY[@]}\"";
    let finished = Running::spawn(fixture.command_of("bash", &["-c", script])).wait().exits_with(0);
    assert_eq!(finished.stdout, "revoke\n");
}

#[test]
fn help_manual_and_completions_need_no_store() {
    let fixture = Fixture::with_store("nonsense");
    fixture.run(&["man"]).exits_with(0);
    fixture.run(&["completions", "bash"]).exits_with(0);
    fixture.run(&["ls"]).exits_with(78);
}
