//! `ls`, `show` and `revoke`: their exact output, and the revocation of locks.

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use support::{Finished, Fixture, Running, until};
use terminal::Terminal;

const GUID: &str = "0123456789abcdef0123456789abcdef";

/// Returns a row of the known format with these additional attributes.
fn row(attributes: &str) -> String {
    format!(
        "{{\"v\":{{\"N\":\"1\"}},\"guid\":{{\"S\":\"{GUID}\"}},\"leaseId\":{{\"S\":\"{GUID}\"}},\
         \"ttl\":{{\"N\":\"1790000000\"}},{attributes}}}"
    )
}

/// Creates one lock in each state.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.put("a/free", &row(r#""token":{"N":"7"},"expiresOn":{"N":"0"},"data":{"S":"left"}"#));
    fixture.put(
        "a/held",
        &row(r#""token":{"N":"8"},"expiresOn":{"N":"1790000020000"},"renewalSeq":{"N":"3"},"leaseMs":{"N":"20000"},
            "owner":{"S":"ops (host, pid 1, 00000001)"},"acquiredOn":{"N":"1789999990000"}"#),
    );
    fixture.put("b/legacy", r#"{"guid":{"S":"x"},"expiresOn":{"N":"1000"}}"#);
    fixture.put("b/data", r#"{"colour":{"S":"blue"}}"#);
    fixture.put("\u{1b}[2J\u{202e}", &row(r#""token":{"N":"9"},"expiresOn":{"N":"0"}"#));
    fixture
}

/// The schema of the output. Keys are never removed or renamed, and their types never change.
const JSON: [&str; 5] = [
    r#"{"acquiredAtMs":null,"data":null,"error":null,"expiresAtMs":null,"leaseMs":null,"mayEndMs":null,"name":"\u001b[2J\u202e","owner":null,"state":"free","token":9}"#,
    r#"{"acquiredAtMs":null,"data":"left","error":null,"expiresAtMs":null,"leaseMs":null,"mayEndMs":null,"name":"a/free","owner":null,"state":"free","token":7}"#,
    r#"{"acquiredAtMs":1789999990000,"data":null,"error":null,"expiresAtMs":1790000020000,"leaseMs":20000,"mayEndMs":{"earliest":0,"latest":20000},"name":"a/held","owner":"ops (host, pid 1, 00000001)","state":"held","token":8}"#,
    r#"{"acquiredAtMs":null,"data":null,"error":"the row of this name has no `guid`, so it is not a lock but other data: use another lock name or a table of its own","expiresAtMs":null,"leaseMs":null,"mayEndMs":null,"name":"b/data","owner":null,"state":"unreadable","token":null}"#,
    r#"{"acquiredAtMs":null,"data":null,"error":null,"expiresAtMs":1000,"leaseMs":null,"mayEndMs":null,"name":"b/legacy","owner":null,"state":"expired","token":null}"#,
];

const TABLE: &str = "\
NAME               STATE       TOKEN  OWNER                        ACQUIRED              MAY END
\\u{1b}[2J\\u{202e}  free        9      -                            -                     -
a/free             free        7      -                            -                     -
a/held             held        8      ops (host, pid 1, 00000001)  2026-09-21T14:13:10Z  within 20.0 s
b/data             unreadable  -      -                            -                     the row of this name has no `guid`, \
so it is not a lock but other data: use another lock name or a table of its own
b/legacy           expired     -      -                            -                     -
";

#[test]
fn ls_prints_table_or_json_lines_only() {
    let fixture = fixture();
    let table = fixture.run(&["ls"]).ends_with(0);
    assert_eq!((table.stdout.as_str(), table.stderr.as_str()), (TABLE, ""));
    let json = fixture.run(&["ls", "--json"]).ends_with(0);
    let mut lines: Vec<&str> = json.stdout.lines().collect();
    lines.sort_unstable_by_key(|line| JSON.iter().position(|expected| expected == line));
    assert_eq!(lines, JSON);
    assert_eq!(json.stderr, "");
}

#[test]
fn ls_filters_by_prefix_and_held() {
    let fixture = fixture();
    let names = |arguments: &[&str]| {
        let ran = fixture.run(&[&["ls", "--json"], arguments].concat()).ends_with(0);
        let name = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["name"].to_string();
        let mut names: Vec<String> = ran.stdout.lines().map(name).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&["--prefix", "a/"]), r#""a/free" "a/held""#);
    assert_eq!(names(&["--prefix", "a/held"]), r#""a/held""#);
    assert_eq!(names(&["--prefix", "c"]), "");
    // A row that cannot be read may be a lock of a later version.
    assert_eq!(names(&["--held"]), r#""a/held" "b/data""#);
    assert_eq!(names(&["--held", "--prefix", "a/"]), r#""a/held""#);
    assert_eq!(fixture.run(&["ls", "--prefix", "c"]).ends_with(0).stdout, "");
}

#[test]
fn show_prints_same_object_and_refuses_foreign_row() {
    let fixture = fixture();
    for (name, expected) in [("a/free", JSON[1]), ("a/held", JSON[2]), ("b/legacy", JSON[4])] {
        let ran = fixture.run(&["show", name, "--json"]).ends_with(0);
        assert_eq!((ran.stdout, ran.stderr), (format!("{expected}\n"), String::new()));
    }
    let never = r#"{"acquiredAtMs":null,"data":null,"error":null,"expiresAtMs":null,"leaseMs":null,"mayEndMs":null,"name":"never","owner":null,"state":"free","token":null}"#;
    assert_eq!(fixture.run(&["show", "never", "--json"]).ends_with(0).stdout, format!("{never}\n"));
    let ran = fixture.run(&["show", "b/data", "--json"]).ends_with(78);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("not a lock"), "{ran:?}");
    let text = fixture.run(&["show", "a/free"]).ends_with(0).stdout;
    assert_eq!(text, "lock    a/free\nstate   free\ntoken   7 (of the last holder)\ndata    left\n");
    let text = fixture.run(&["show", "never"]).ends_with(0).stdout;
    assert_eq!(text, "lock    never\nstate   free\ntoken   none\n");
    let text = fixture.run(&["show", "a/held"]).ends_with(0).stdout;
    assert!(text.contains("\nmay end within 20.0 s, unless the holder renews its lease\n"), "{text}");
}

#[test]
fn closed_pipe_ends_listing_and_full_disk_exits_74() {
    let fixture = fixture();
    let ls = |to: std::process::Stdio| {
        let mut command = fixture.command(&["ls", "--json"]);
        command.stdout(to);
        Running::of(command).end()
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(ls(writer.into()).ends_with(0).stderr, "");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    let ran = ls(full.into()).ends_with(74);
    assert!(ran.stderr.contains("cannot write to standard output"), "{ran:?}");
}

#[test]
fn hold_with_unwritable_stdout_reports_token_and_stays() {
    let fixture = Fixture::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    for (name, to) in [("closed", ">&-"), ("full", "> /dev/full"), ("unread", "")] {
        let mut command = fixture.command_of("sh", &["-c", &format!("exec \"$PROGRAM\" hold {name} 10m {to}")]);
        command.stdout(writer.try_clone().expect("ours"));
        let ran = Running::of(command).end().ends_with(74);
        let words = format!("is held with token {}, but: cannot write to standard output", token(&fixture, name));
        assert!(ran.stderr.contains(&words) && ran.stderr.lines().count() == 1, "{ran:?}");
        fixture.run(&["run", "-n", name, "true"]).ends_with(75);
    }
}

#[test]
fn closed_standard_output_exits_74() {
    let fixture = fixture();
    for command in ["ls", "show a/held", "man", "completions bash"] {
        let script = format!("\"$PROGRAM\" {command} >&-");
        let ran = Running::of(fixture.command_of("sh", &["-c", &script])).end().ends_with(74);
        assert!(ran.stderr.contains("cannot write to standard output"), "{ran:?}");
    }
    // A command that prints nothing does not need standard output.
    Running::of(fixture.command_of("sh", &["-c", "\"$PROGRAM\" run b true >&-"])).end().ends_with(0);
}

fn token(fixture: &Fixture, name: &str) -> String {
    let shown = fixture.run(&["show", name, "--json"]).ends_with(0).stdout;
    serde_json::from_str::<serde_json::Value>(&shown).expect("JSON")["token"].to_string()
}

fn revoke(fixture: &Fixture, token: &str, more: &[&str]) -> Finished {
    fixture.run(&[&["revoke", "a", "--token", token, "--yes"], more].concat())
}

#[test]
fn revoke_ends_one_acquisition_and_others_wait_for_its_lease() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m", "--owner", "stuck"]).ends_with(0).stdout;
    let wrong = revoke(&fixture, "5", &[]).ends_with(64);
    assert!(wrong.stderr.contains("token 5") && wrong.stderr.contains("show"), "{wrong:?}");
    assert_eq!(token(&fixture, "a"), held.trim());
    let ran = revoke(&fixture, held.trim(), &[]).ends_with(0);
    assert!(ran.stderr.contains("in at most 600.0 s (20") && ran.stdout.is_empty(), "{ran:?}");
    // The lock is not free yet, because its holder may rely on its lease until then. But the token is used up.
    fixture.run(&["run", "-n", "a", "true"]).ends_with(75);
    let spent = token(&fixture, "a");
    assert_ne!(spent, held.trim());
    let at_once =
        format!("its token is now {spent}, and `dynamo-lock revoke a --token {spent} --force` frees the lock");
    assert!(ran.stderr.contains(&at_once), "{ran:?}");
    // A second revocation of the same token succeeds.
    let ran = revoke(&fixture, held.trim(), &[]).ends_with(0);
    assert!(ran.stderr.contains(&at_once), "{ran:?}");
    assert_eq!(token(&fixture, "a"), spent);
    revoke(&fixture, &spent, &["--force"]).ends_with(0);
    fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
}

#[test]
fn forced_revoke_frees_at_once_and_warns() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m"]).ends_with(0).stdout;
    let ran = revoke(&fixture, held.trim(), &["--force"]).ends_with(0);
    assert!(ran.stderr.contains("unsafe if its holder is still running"), "{ran:?}");
    fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
}

#[test]
fn run_whose_lock_was_revoked_exits_76() {
    let fixture = Fixture::new();
    let run = fixture.start(&["run", "--lease", "2", "a", "-c", "touch ready; exec sleep 100"]);
    revoke(&fixture, &token(&fixture, "a"), &[]).ends_with(0);
    let ran = run.end().ends_with(76);
    assert!(ran.stderr.contains("revoked"), "{ran:?}");
}

#[test]
fn destructive_commands_need_yes_where_there_is_no_terminal() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m"]).ends_with(0).stdout;
    let ran = fixture.run(&["revoke", "a", "--token", held.trim()]).ends_with(64);
    assert!(ran.stderr.contains("--yes") && ran.stderr.lines().count() == 1, "{ran:?}");
    assert_eq!(token(&fixture, "a"), held.trim());
    let table = support::answering("200 OK", "{}");
    let ran = table.run(&["table", "delete"]).ends_with(64);
    assert!(ran.stderr.contains("--yes"), "{ran:?}");
}

#[test]
fn on_a_terminal_they_ask_and_only_yes_is_yes() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m", "--owner", "\u{1b}[2Jstuck"]).ends_with(0).stdout;
    for (force, answer, code) in [(false, "\n", 64), (true, "n\n", 64), (false, "maybe\n", 64), (false, "y\n", 0)] {
        let terminal = Terminal::new();
        let arguments = ["revoke", "a", "--token", held.trim(), "--force"];
        let mut command = fixture.command(&arguments[..if force { 5 } else { 4 }]);
        let running = Running::of({
            command.stdin(terminal.end()).stderr(terminal.end());
            command
        });
        until("it asks", || terminal.contents().contains("[y/N]"));
        assert!(terminal.contents().contains("\\u{1b}[2Jstuck (") && !terminal.contents().contains('\u{1b}'));
        assert_eq!(terminal.contents().contains("may still be working"), force);
        terminal.types(answer);
        running.end().ends_with(code);
        assert_eq!(token(&fixture, "a") == held.trim(), code != 0);
    }
}

#[test]
fn revoke_without_token_or_terminal_is_a_usage_error() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m"]).ends_with(0).stdout;
    for arguments in [&["revoke", "a"][..], &["revoke", "a", "--yes"], &["revoke", "a", "--force", "--yes"]] {
        let ran = fixture.run(arguments).ends_with(64);
        assert!(ran.stderr.contains("`dynamo-lock show a`") && ran.stderr.lines().count() == 1, "{ran:?}");
    }
    assert_eq!(token(&fixture, "a"), held.trim());
}

#[test]
fn revoke_without_token_shows_the_holder_and_revokes_it() {
    let fixture = Fixture::new();
    let start = |arguments: &[&str]| {
        let terminal = Terminal::new();
        let mut command = fixture.command(arguments);
        command.stdin(terminal.end()).stderr(terminal.end());
        (Running::of(command), terminal)
    };
    let (running, terminal) = start(&["revoke", "a"]);
    running.end().ends_with(64);
    until("it is reported that the lock is free", || terminal.contents().contains("it is not held"));
    let held = fixture.run(&["hold", "a", "10m", "--owner", "stuck"]).ends_with(0).stdout;
    for (answer, code) in [("n\n", 64), ("y\n", 0)] {
        let (running, terminal) = start(&["revoke", "a"]);
        until("it asks", || terminal.contents().contains("[y/N]"));
        assert!(terminal.contents().contains("held by stuck ("), "{:?}", terminal.contents());
        assert!(terminal.contents().contains(&format!("with token {}", held.trim())), "{:?}", terminal.contents());
        terminal.types(answer);
        running.end().ends_with(code);
        assert_eq!(token(&fixture, "a") == held.trim(), code != 0);
    }
    let (running, terminal) = start(&["revoke", "a", "--force", "--yes"]);
    running.end().ends_with(0);
    until("it shows the holder", || terminal.contents().contains("held by stuck ("));
    assert!(!terminal.contents().contains("[y/N]"), "{:?}", terminal.contents());
    fixture.run(&["run", "-n", "a", "true"]).ends_with(0);
}

/// The lock is released and acquired again while the question is open: the new holder keeps it.
#[test]
fn revoke_ends_only_the_acquisition_that_was_shown() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m"]).ends_with(0).stdout;
    let terminal = Terminal::new();
    let mut command = fixture.command(&["revoke", "a"]);
    command.stdin(terminal.end()).stderr(terminal.end());
    let running = Running::of(command);
    until("it asks", || terminal.contents().contains("[y/N]"));
    revoke(&fixture, held.trim(), &["--force"]).ends_with(0);
    let next = fixture.run(&["hold", "a", "10m"]).ends_with(0).stdout;
    terminal.types("y\n");
    running.end().ends_with(64);
    assert_eq!(token(&fixture, "a"), next.trim());
}

#[test]
fn release_is_unknown_and_names_revoke() {
    let ran = Fixture::new().run(&["release", "a", "--token", "5"]).ends_with(64);
    assert!(ran.stderr.contains("`revoke`") && ran.stderr.lines().count() == 1, "{ran:?}");
}
