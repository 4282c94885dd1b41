//! The exact output of `ls` and `show`.

use crate::support::{Fixture, Running, report_skipped};

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

/// Returns a row in the native format, with these additional attributes.
pub fn row(attributes: &str) -> String {
    let id = r#"{"S":"0123456789abcdef0123456789abcdef"}"#;
    format!(r#"{{"v":{{"N":"1"}},"guid":{id},"leaseId":{id},"ttl":{{"N":"1790000000"}},{attributes}}}"#)
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

/// Returns the objects that `--json` prints, and that of a free lock without a row. This is a stable schema: keys are
/// never removed, renamed or changed in type.
fn json_objects() -> Vec<String> {
    let objects = r#"
{"acquiredAtMs":null,"data":null,"doneAtMs":null,"doneUntilMs":null,"error":null,"expiresAtMs":null,
    "holders":[],"kind":null,"last":null,"leaseMs":null,"mayEndMs":null,
    "name":"\u001b[2J\u202e","owner":null,"revoked":false,"slots":null,"state":"free","token":9}
{"acquiredAtMs":null,"data":"left","doneAtMs":null,"doneUntilMs":null,"error":null,"expiresAtMs":null,
    "holders":[],"kind":null,"last":null,"leaseMs":null,"mayEndMs":null,
    "name":"a/free","owner":null,"revoked":false,"slots":null,"state":"free","token":7}
{"acquiredAtMs":1789999990000,"data":null,"doneAtMs":null,"doneUntilMs":null,"error":null,"expiresAtMs":1790000017000,
    "holders":[],"kind":null,"last":null,"leaseMs":20000,
    "mayEndMs":{"earliest":0,"latest":20000},
    "name":"a/held","owner":"ops (host, pid 1, 00000001)","revoked":false,"slots":null,"state":"held","token":8}
{"acquiredAtMs":null,"data":null,"doneAtMs":null,"doneUntilMs":null,
    "error":"the row of this name has no `guid`, so it is not a lock but other data: use another lock name or a table \
    of its own","expiresAtMs":null,
    "holders":[],"kind":null,"last":null,"leaseMs":null,"mayEndMs":null,
    "name":"b/data","owner":null,"revoked":false,"slots":null,"state":"unreadable","token":null}
{"acquiredAtMs":null,"data":null,"doneAtMs":null,"doneUntilMs":null,"error":null,"expiresAtMs":1000,
    "holders":[],"kind":null,"last":null,"leaseMs":null,"mayEndMs":null,
    "name":"b/legacy","owner":null,"revoked":false,"slots":null,"state":"expired","token":null}
{"acquiredAtMs":null,"data":null,"doneAtMs":null,"doneUntilMs":null,"error":null,"expiresAtMs":null,
    "holders":[],"kind":null,"last":null,"leaseMs":null,"mayEndMs":null,
    "name":"never","owner":null,"revoked":false,"slots":null,"state":"free","token":null}
"#;
    // Continuation lines are indented. A backslash stands for a line break within a string.
    objects.replace("\\\n    ", "").replace("\n    ", "").trim().lines().map(str::to_owned).collect()
}

/// The table of these locks. `{age}` is the age of the holder.
const TABLE: &str = "\
NAME               STATE       TOKEN  OWNER                        AGE  ENDS
\\u{1b}[2J\\u{202e}  free        9      -                            -    -
a/free             free        7      -                            -    -
a/held             held        8      ops (host, pid 1, 00000001)  {age}  within 20s
b/data             unreadable  -      -                            -    the row of this name has no \
`guid`, so it is not a lock but other data: use another lock name or a table of its own
b/legacy           expired     -      -                            -    -
";

/// Returns the age of the holder in a table, for example `68d`.
fn age_in(table: &str) -> String {
    let line = table.lines().find(|line| line.starts_with("a/held")).expect("it is listed");
    line.split("00000001)  ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an age").to_owned()
}

#[test]
fn ls_of_each_state_prints_exact_table_and_json() {
    let fixture = fixture_with_locks();
    let table = fixture.run(&["ls"]).exits_with(0);
    let age = age_in(&table.stdout);
    assert!(age.ends_with(['s', 'm', 'h', 'd']) && age.len() <= 5, "{age}");
    assert_eq!(aligned(&table.stdout), aligned(&TABLE.replace("{age}", &age)));
    assert_eq!(table.stderr, "");
    let (json, expected) = (fixture.run(&["ls", "--json"]).exits_with(0), json_objects());
    let mut lines: Vec<&str> = json.stdout.lines().collect();
    lines.sort_unstable_by_key(|line| expected.iter().position(|expected| expected == line));
    assert_eq!(lines, expected[..5]);
    assert_eq!(json.stderr, "");
}

/// Replaces runs of spaces, because the width of the column AGE depends on the date.
fn aligned(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

/// Track record: the columns after a name with wide characters were not aligned.
#[test]
fn ls_with_wide_characters_is_aligned() {
    let fixture = Fixture::new();
    for name in ["日本語", "plain"] {
        fixture.insert_row(name, &row(r#""token":{"N":"7"},"expiresOn":{"N":"0"}"#));
    }
    let table = fixture.run(&["ls"]).exits_with(0).stdout;
    assert_eq!(
        table,
        "NAME    STATE  TOKEN  OWNER  AGE  ENDS\nplain   free   7      -      -    -\n日本語  free   7      -      -    -\n"
    );
}

/// Track record: an hour-long hold was shown with an hour left until its end.
#[test]
fn hold_counts_down_to_its_end() {
    let fixture = Fixture::new();
    fixture.run(&["hold", "real", "2h"]).exits_with(0);
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("the database exists");
    let read = database.query_row("SELECT row FROM lock WHERE name = 'real'", [], |row| row.get::<_, String>(0));
    let real: serde_json::Value = serde_json::from_str(&read.expect("a row")).expect("JSON");
    let Some((start, _)) = real["livenessKey"]["S"].as_str().and_then(|key| key.rsplit_once('-')) else {
        return report_skipped("hold_counts_down_to_its_end", "this host does not show the end of holds");
    };
    // Started now, and its key ends in ten minutes, as if most of the hold had passed.
    let attributes = format!(
        r#""token":{{"N":"8"}},"expiresOn":{{"N":"9790000020000"}},"renewalSeq":{{"N":"1"}},"leaseMs":{{"N":"7200000"}},
            "owner":{{"S":"ops"}},"acquiredOn":{{"N":"1789999990000"}},"livenessKey":{{"S":"{start}-600000000000"}}"#
    );
    fixture.insert_row("late", &row(&attributes));
    let shown = fixture.run(&["show", "late", "--json"]).exits_with(0).stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let latest = shown["mayEndMs"]["latest"].as_u64().expect("it is held");
    assert!((1..=600_000).contains(&latest), "{shown}");
    assert!(latest - shown["mayEndMs"]["earliest"].as_u64().expect("a number") <= 3000, "{shown}");
    // A hold is never renewed.
    let shown = fixture.run(&["show", "late"]).exits_with(0).stdout;
    assert!(shown.contains("\nmay end in ") && !shown.contains("renewed"), "{shown}");
    let listed = fixture.run(&["ls", "--prefix", "late"]).exits_with(0).stdout;
    assert!(listed.trim_end().rsplit("  ").next().is_some_and(|ends| ends.starts_with("in ")), "{listed}");
}

#[test]
fn ls_with_prefix_or_held_lists_matching_locks() {
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
fn show_of_each_state_prints_same_object_as_ls() {
    let fixture = fixture_with_locks();
    let objects = json_objects();
    for (name, index) in [("a/free", 1), ("a/held", 2), ("b/legacy", 4), ("never", 5)] {
        let finished = fixture.run(&["show", name, "--json"]).exits_with(0);
        assert_eq!((finished.stdout, finished.stderr), (format!("{}\n", objects[index]), String::new()));
    }
    assert_eq!(fixture.run(&["show", "b/data", "--json"]).exits_with(78).prints("not a lock").stdout, "");
    let text = fixture.run(&["show", "a/free"]).exits_with(0).stdout;
    assert_eq!(text, "lock    a/free\nstate   free\ntoken   7 (of the last holder)\ndata    left\n");
    let text = fixture.run(&["show", "never"]).exits_with(0).stdout;
    assert_eq!(text, "lock    never\nstate   free\ntoken   none\n");
    let text = fixture.run(&["show", "a/held"]).exits_with(0).stdout;
    assert!(text.contains("\nmay end within 20s, unless it is renewed, which a hold is not\n"), "{text}");
}

#[test]
fn ls_into_closed_pipe_exits_0_and_into_full_disk_74() {
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
    ls(full.into()).exits_with(74).prints("cannot write to standard output");
}

#[test]
fn closed_standard_output_exits_74() {
    let fixture = fixture_with_locks();
    for command in ["ls", "show a/held", "man", "completions bash"] {
        let finished = fixture.run_script(&format!("\"$PROGRAM\" {command} >&-"));
        finished.exits_with(74).prints("cannot write to standard output");
    }
    // Control: a command that prints nothing needs no standard output.
    fixture.run_script("\"$PROGRAM\" run b true >&-").exits_with(0);
}
