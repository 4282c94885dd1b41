//! The help, the manual page and the completions agree with each other and with the program.

mod support;

use std::collections::BTreeSet;

use support::Fixture;

/// Public interface: each command with its flags.
const PROMISED: &[(&[&str], &[&str])] = &[
    (
        &["run"],
        &[
            "-n",
            "--nb",
            "--nonblock",
            "-w",
            "--wait",
            "--timeout",
            "-E",
            "--conflict-exit-code",
            "--skip",
            "--lease",
            "--grace",
            "--max-hold",
            "--at-least",
            "--owner",
            "--report",
            "-q",
            "-c",
            "--command",
        ],
    ),
    (&["hold"], &["<NAME>", "<DUR>"]),
    (&["ls"], &["--prefix", "--held", "--json"]),
    (&["show"], &["<NAME>", "--json"]),
    (&["revoke"], &["<NAME>", "--token", "--force", "--yes"]),
    (&["table", "create"], &["--provisioned"]),
    (&["table", "delete"], &["--yes"]),
    (&["table", "check"], &[]),
    (&["completions"], &["<SHELL>"]),
    (&["man"], &[]),
];

/// Flags of every command.
const STORE: &[&str] = &["--store", "--table", "--region", "--profile", "--endpoint-url"];

/// Reserved: flags of flock that mean something else here, or nothing yet.
const RESERVED: &[&str] = &["-s", "-x", "-o", "-u", "--shared", "--exclusive", "--unlock", "--slots"];

const CODES: [&str; 13] = ["0", "N", "128+N", "64", "69", "70", "74", "75", "76", "77", "78", "126", "127"];

fn printed(arguments: &[&str]) -> String {
    let ran = Fixture::new().run(arguments).ends_with(0);
    assert_eq!(ran.stderr, "");
    ran.stdout
}

/// Returns the page as text, without roff's markup.
fn page() -> String {
    printed(&["man"])
        .replace("\\-", "-")
        .replace("\\fB", "")
        .replace("\\fI", "")
        .replace("\\fR", "")
        .replace("\\ ", " ")
        .replace("\\*(Aq", "'")
}

/// Returns the flags and arguments in a text.
fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| c.is_whitespace() || "[](),|:;".contains(c)).collect()
}

/// Returns the exit codes and their meanings, as the help lists them.
fn codes(help: &str) -> Vec<(String, String)> {
    let list = help.split_once("Exit status:\n").expect("the list").1;
    let pairs = list.lines().map_while(|line| line.trim().split_once("  "));
    pairs.map(|(code, meaning)| (code.trim().to_owned(), meaning.trim().to_owned())).collect()
}

#[test]
fn every_flag_is_in_help_and_manual() {
    let page = page();
    for (command, flags) in PROMISED {
        let help = printed(&[*command, &["--help"]].concat());
        let heading = format!(".SH \"DYNAMO-LOCK {}\"", command.join(" ").to_uppercase());
        let section = page.split_once(&heading).unwrap_or_else(|| panic!("{heading} is missing")).1;
        let section = section.split("\n.SH ").next().unwrap_or_default();
        for flag in *flags {
            assert!(words(&help).contains(flag), "{flag} is missing in {help}");
            assert!(words(section).contains(flag), "{flag} is missing in {section}");
        }
        assert!(STORE.iter().all(|flag| words(&help).contains(flag)), "{help}");
        for reserved in RESERVED {
            assert!(!words(&help).contains(reserved) && !words(section).contains(reserved), "{reserved} is reserved");
        }
    }
    assert!(STORE.iter().all(|flag| words(&page).contains(flag)));
}

#[test]
fn reserved_flags_are_refused() {
    let fixture = Fixture::new();
    for flag in RESERVED {
        fixture.run(&["run", flag, "a", "true"]).ends_with(64);
    }
    fixture.run(&["run", "-n", "5", "true"]).ends_with(0); // -n takes no number: 5 is the lock
}

#[test]
fn every_exit_code_is_listed_once() {
    let all = codes(&printed(&["--help"]));
    assert!(all.iter().map(|(code, _)| code).eq(CODES.iter()), "{all:?}");
    assert_eq!(codes(&printed(&["run", "--help"])), all);
    let page = page();
    let status = page.split_once(".SH \"EXIT STATUS\"").expect("the section").1;
    let items: Vec<&str> = status.split(".TP\n").skip(1).collect();
    let items = items.iter().filter_map(|item| item.trim().split_once('\n'));
    assert!(items.eq(all.iter().map(|(code, meaning)| (code.as_str(), meaning.as_str()))), "{status}");
}

#[test]
fn signal_handling_is_in_help_and_manual() {
    let help = printed(&["run", "--help"]);
    let page = page();
    let reported = page.split_once(".SH SIGNALS\n").expect("the section").1.split("\n.SH ").next().unwrap_or_default();
    for signal in ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "Ctrl-Z"] {
        assert!(words(&help).contains(signal), "{signal} is missing in {help}");
        assert!(words(reported).contains(signal), "{signal} is missing in {reported}");
    }
}

#[test]
fn manual_page_is_clean_roff() {
    let page = printed(&["man"]);
    assert!(page.lines().any(|line| line.starts_with(".TH dynamo")), "{page}");
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        let request = line[1..].split(' ').next().unwrap_or_default();
        assert!(["TH", "SH", "SS", "TP", "IP", "PP", "RS", "RE", "ie", "el", "br"].contains(&request), "{line}");
    }
}

#[test]
fn completions_include_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        for (command, _) in PROMISED {
            assert!(script.contains(command[0]), "{shell} does not know {command:?}");
        }
        assert!(script.contains("at-least"), "{shell}");
    }
    let fixture = Fixture::new();
    let script = "$PROGRAM completions bash > c && . ./c && COMP_WORDS=(dynamo-lock rev) COMP_CWORD=1 && \
                  _dynamo__lock dynamo-lock rev dynamo-lock; echo \"${COMPREPLY[@]}\"";
    let ran = support::Running::of(fixture.command_of("bash", &["-c", script])).end().ends_with(0);
    assert_eq!(ran.stdout, "revoke\n");
}

#[test]
fn help_manual_and_completions_need_no_store() {
    let fixture = Fixture::with_store("nonsense");
    fixture.run(&["man"]).ends_with(0);
    fixture.run(&["completions", "bash"]).ends_with(0);
    fixture.run(&["ls"]).ends_with(78);
}
