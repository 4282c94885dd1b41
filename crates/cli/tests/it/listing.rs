//! The exact output of `ls` and `show`.

use crate::support::{Fixture, Running};

/// Lesson 37. Names and owners come from other clients and must not control the terminal.
#[test]
fn untrusted_text_is_escaped_on_terminal() {
    let fixture = Fixture::new();
    let name = "a\u{202e}b";
    fixture.run(&["hold", name, "10m", "--owner", "\u{1b}[2J\u{7}\r\u{202e}evil"]).exits_with(0);
    let outputs = [
        fixture.run(&["show", name]).exits_with(0),
        fixture.run(&["ls"]).exits_with(0),
        fixture.run(&["ls", "--json"]).exits_with(0),
        fixture.run(&["show", name, "--json"]).exits_with(0),
        fixture.run(&["hold", name, "5"]).exits_with(75),
        fixture.run(&["run", "-n", name, "true"]).exits_with(75),
        fixture.run(&["run", "-w", "1.5", name, "true"]).exits_with(75),
    ];
    for finished in outputs {
        let text = format!("{}{}", finished.stdout, finished.stderr);
        assert!(text.contains("evil"), "{finished:?}");
        assert!(!text.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']), "{finished:?}");
    }
}

const GUID: &str = "0123456789abcdef0123456789abcdef";

/// Returns a row in the native format, with these additional attributes.
fn row(attributes: &str) -> String {
    format!(
        "{{\"v\":{{\"N\":\"1\"}},\"guid\":{{\"S\":\"{GUID}\"}},\"leaseId\":{{\"S\":\"{GUID}\"}},\
         \"ttl\":{{\"N\":\"1790000000\"}},{attributes}}}"
    )
}

/// Returns a directory whose store contains one lock in each state.
fn fixture_with_locks() -> Fixture {
    let fixture = Fixture::new();
    fixture.insert_row("a/free", &row(r#""token":{"N":"7"},"expiresOn":{"N":"0"},"data":{"S":"left"}"#));
    fixture.insert_row(
        "a/held",
        &row(r#""token":{"N":"8"},"expiresOn":{"N":"1790000020000"},"renewalSeq":{"N":"3"},"leaseMs":{"N":"20000"},
            "owner":{"S":"ops (host, pid 1, 00000001)"},"acquiredOn":{"N":"1789999990000"}"#),
    );
    fixture.insert_row("b/legacy", r#"{"guid":{"S":"x"},"expiresOn":{"N":"1000"}}"#);
    fixture.insert_row("b/data", r#"{"colour":{"S":"blue"}}"#);
    fixture.insert_row("\u{1b}[2J\u{202e}", &row(r#""token":{"N":"9"},"expiresOn":{"N":"0"}"#));
    fixture
}

/// The objects that `--json` prints. This is a stable schema: keys are never removed, renamed or changed in type.
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
    let fixture = fixture_with_locks();
    let table = fixture.run(&["ls"]).exits_with(0);
    assert_eq!((table.stdout.as_str(), table.stderr.as_str()), (TABLE, ""));
    let json = fixture.run(&["ls", "--json"]).exits_with(0);
    let mut lines: Vec<&str> = json.stdout.lines().collect();
    lines.sort_unstable_by_key(|line| JSON.iter().position(|expected| expected == line));
    assert_eq!(lines, JSON);
    assert_eq!(json.stderr, "");
}

#[test]
fn ls_filters_by_prefix_and_held() {
    let fixture = fixture_with_locks();
    let names = |arguments: &[&str]| {
        let finished = fixture.run(&[&["ls", "--json"], arguments].concat()).exits_with(0);
        let name = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["name"].to_string();
        let mut names: Vec<String> = finished.stdout.lines().map(name).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&["--prefix", "a/"]), r#""a/free" "a/held""#);
    assert_eq!(names(&["--prefix", "a/held"]), r#""a/held""#);
    assert_eq!(names(&["--prefix", "c"]), "");
    // An unreadable row may be a lock of a later version.
    assert_eq!(names(&["--held"]), r#""a/held" "b/data""#);
    assert_eq!(names(&["--held", "--prefix", "a/"]), r#""a/held""#);
    assert_eq!(fixture.run(&["ls", "--prefix", "c"]).exits_with(0).stdout, "");
}

#[test]
fn show_prints_same_object_and_refuses_foreign_row() {
    let fixture = fixture_with_locks();
    for (name, expected) in [("a/free", JSON[1]), ("a/held", JSON[2]), ("b/legacy", JSON[4])] {
        let finished = fixture.run(&["show", name, "--json"]).exits_with(0);
        assert_eq!((finished.stdout, finished.stderr), (format!("{expected}\n"), String::new()));
    }
    let never = r#"{"acquiredAtMs":null,"data":null,"error":null,"expiresAtMs":null,"leaseMs":null,"mayEndMs":null,"name":"never","owner":null,"state":"free","token":null}"#;
    assert_eq!(fixture.run(&["show", "never", "--json"]).exits_with(0).stdout, format!("{never}\n"));
    let finished = fixture.run(&["show", "b/data", "--json"]).exits_with(78);
    assert!(finished.stdout.is_empty() && finished.stderr.contains("not a lock"), "{finished:?}");
    let text = fixture.run(&["show", "a/free"]).exits_with(0).stdout;
    assert_eq!(text, "lock    a/free\nstate   free\ntoken   7 (of the last holder)\ndata    left\n");
    let text = fixture.run(&["show", "never"]).exits_with(0).stdout;
    assert_eq!(text, "lock    never\nstate   free\ntoken   none\n");
    let text = fixture.run(&["show", "a/held"]).exits_with(0).stdout;
    assert!(text.contains("\nmay end within 20.0 s, unless the holder renews its lease\n"), "{text}");
}

#[test]
fn closed_pipe_ends_listing_and_full_disk_exits_74() {
    let fixture = fixture_with_locks();
    let ls = |to: std::process::Stdio| {
        let mut command = fixture.command(&["ls", "--json"]);
        command.stdout(to);
        Running::spawn(command).wait()
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(ls(writer.into()).exits_with(0).stderr, "");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("it exists");
    let finished = ls(full.into()).exits_with(74);
    assert!(finished.stderr.contains("cannot write to standard output"), "{finished:?}");
}

#[test]
fn closed_standard_output_exits_74() {
    let fixture = fixture_with_locks();
    for command in ["ls", "show a/held", "man", "completions bash"] {
        let script = format!("\"$PROGRAM\" {command} >&-");
        let finished = Running::spawn(fixture.command_of("sh", &["-c", &script])).wait().exits_with(74);
        assert!(finished.stderr.contains("cannot write to standard output"), "{finished:?}");
    }
    // Control: a command that prints nothing needs no standard output.
    Running::spawn(fixture.command_of("sh", &["-c", "\"$PROGRAM\" run b true >&-"])).wait().exits_with(0);
}
