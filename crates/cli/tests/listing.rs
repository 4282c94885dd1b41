//! `ls`, `show` and `release`: what is known of locks, exactly as it is printed, and how one is taken away.

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use support::{Place, Ran, Running, until};
use terminal::Terminal;

const GUID: &str = "0123456789abcdef0123456789abcdef";

/// A row with the format that we know, and these attributes besides.
fn row(attributes: &str) -> String {
    format!(
        "{{\"v\":{{\"N\":\"1\"}},\"guid\":{{\"S\":\"{GUID}\"}},\"reign\":{{\"S\":\"{GUID}\"}},\
         \"purgeOn\":{{\"N\":\"1790000000\"}},{attributes}}}"
    )
}

/// One lock in each state.
fn place() -> Place {
    let place = Place::new();
    place.put("a/free", &row(r#""token":{"N":"7"},"expiresOn":{"N":"0"},"data":{"S":"left"}"#));
    place.put(
        "a/held",
        &row(r#""token":{"N":"8"},"expiresOn":{"N":"1790000020000"},"beat":{"N":"3"},"leaseMs":{"N":"20000"},
            "owner":{"S":"ops (host, pid 1, 00000001)"},"acquiredOn":{"N":"1789999990000"}"#),
    );
    place.put("b/legacy", r#"{"guid":{"S":"x"},"expiresOn":{"N":"1000"}}"#);
    place.put("b/data", r#"{"colour":{"S":"blue"}}"#);
    place.put("\u{1b}[2J\u{202e}", &row(r#""token":{"N":"9"},"expiresOn":{"N":"0"}"#));
    place
}

/// The schema: keys are never removed, renamed or given another type.
const JSON: [&str; 5] = [
    r#"{"data":null,"fault":null,"leaseMs":null,"mayEndInMs":null,"name":"\u001b[2J\u202e","owner":null,"sinceMs":null,"state":"free","token":9}"#,
    r#"{"data":"left","fault":null,"leaseMs":null,"mayEndInMs":null,"name":"a/free","owner":null,"sinceMs":null,"state":"free","token":7}"#,
    r#"{"data":null,"fault":null,"leaseMs":20000,"mayEndInMs":[0,20000],"name":"a/held","owner":"ops (host, pid 1, 00000001)","sinceMs":1789999990000,"state":"held","token":8}"#,
    r#"{"data":null,"fault":"the row of this name has no `guid`, so it is not a lock but other data: use another lock name or a table of its own","leaseMs":null,"mayEndInMs":null,"name":"b/data","owner":null,"sinceMs":null,"state":"refused","token":null}"#,
    r#"{"data":null,"fault":null,"leaseMs":null,"mayEndInMs":null,"name":"b/legacy","owner":null,"sinceMs":null,"state":"over","token":null}"#,
];

const TABLE: &str = "\
NAME               STATE    TOKEN  OWNER                        SINCE                 ENDS
\\u{1b}[2J\\u{202e}  free     9      -                            -                     -
a/free             free     7      -                            -                     -
a/held             held     8      ops (host, pid 1, 00000001)  2026-09-21T14:13:10Z  at the latest in 20.0 s
b/data             refused  -      -                            -                     the row of this name has no `guid`, \
so it is not a lock but other data: use another lock name or a table of its own
b/legacy           over     -      -                            -                     -
";

#[test]
fn ls_prints_a_table_or_one_object_a_line_and_nothing_else() {
    let place = place();
    let table = place.run(&["ls"]).ends_with(0);
    assert_eq!((table.stdout.as_str(), table.stderr.as_str()), (TABLE, ""));
    let json = place.run(&["ls", "--json"]).ends_with(0);
    let mut lines: Vec<&str> = json.stdout.lines().collect();
    lines.sort_unstable_by_key(|line| JSON.iter().position(|expected| expected == line));
    assert_eq!(lines, JSON);
    assert_eq!(json.stderr, "");
}

#[test]
fn ls_leaves_out_other_prefixes_and_what_nobody_holds() {
    let place = place();
    let names = |arguments: &[&str]| {
        let ran = place.run(&[&["ls", "--json"], arguments].concat()).ends_with(0);
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
    assert_eq!(place.run(&["ls", "--prefix", "c"]).ends_with(0).stdout, "");
}

#[test]
fn show_prints_the_same_object_and_refuses_what_is_no_lock() {
    let place = place();
    for (name, expected) in [("a/free", JSON[1]), ("a/held", JSON[2]), ("b/legacy", JSON[4])] {
        let ran = place.run(&["show", name, "--json"]).ends_with(0);
        assert_eq!((ran.stdout, ran.stderr), (format!("{expected}\n"), String::new()));
    }
    let never = r#"{"data":null,"fault":null,"leaseMs":null,"mayEndInMs":null,"name":"never","owner":null,"sinceMs":null,"state":"free","token":null}"#;
    assert_eq!(place.run(&["show", "never", "--json"]).ends_with(0).stdout, format!("{never}\n"));
    let ran = place.run(&["show", "b/data", "--json"]).ends_with(78);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("not a lock"), "{ran:?}");
    let text = place.run(&["show", "a/free"]).ends_with(0).stdout;
    assert_eq!(text, "lock    a/free\nstate   free\ntoken   7 (the last)\ndata    left\n");
    let text = place.run(&["show", "never"]).ends_with(0).stdout;
    assert_eq!(text, "lock    never\nstate   free\ntoken   none\n");
    let text = place.run(&["show", "a/held"]).ends_with(0).stdout;
    assert!(text.contains("\nends    at the latest in 20.0 s, unless its holder is heard of again\n"), "{text}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_listing_and_a_full_disk_is_an_error() {
    let place = place();
    let ls = |to: std::process::Stdio| {
        let mut command = place.command(&["ls", "--json"]);
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
fn a_hold_whose_token_cannot_be_written_says_it_and_stays() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    for (name, to) in [("closed", ">&-"), ("full", "> /dev/full"), ("unread", "")] {
        let mut command = place.within("sh", &["-c", &format!("exec \"$PROGRAM\" hold {name} 10m {to}")]);
        command.stdout(writer.try_clone().expect("ours"));
        let ran = Running::of(command).end().ends_with(74);
        let words = format!("is held with token {}, but: cannot write to standard output", token(&place, name));
        assert!(ran.stderr.contains(&words) && ran.stderr.lines().count() == 1, "{ran:?}");
        place.run(&["run", "-n", name, "true"]).ends_with(75);
    }
}

#[test]
fn who_has_no_standard_output_is_told_so() {
    let place = place();
    for command in ["ls", "show a/held", "man", "completions bash"] {
        let script = format!("\"$PROGRAM\" {command} >&-");
        let ran = Running::of(place.within("sh", &["-c", &script])).end().ends_with(74);
        assert!(ran.stderr.contains("cannot write to standard output"), "{ran:?}");
    }
    // What prints nothing needs none.
    Running::of(place.within("sh", &["-c", "\"$PROGRAM\" run b true >&-"])).end().ends_with(0);
}

fn token(place: &Place, name: &str) -> String {
    let shown = place.run(&["show", name, "--json"]).ends_with(0).stdout;
    serde_json::from_str::<serde_json::Value>(&shown).expect("JSON")["token"].to_string()
}

fn release(place: &Place, token: &str, more: &[&str]) -> Ran {
    place.run(&[&["release", "a", "--token", token, "--yes"], more].concat())
}

#[test]
fn release_ends_exactly_that_reign_and_others_follow_when_its_lease_is_over() {
    let place = Place::new();
    let held = place.run(&["hold", "a", "10m", "--owner", "stuck"]).ends_with(0).stdout;
    let wrong = release(&place, "5", &[]).ends_with(64);
    assert!(wrong.stderr.contains("token 5") && wrong.stderr.contains("show"), "{wrong:?}");
    assert_eq!(token(&place, "a"), held.trim());
    let ran = release(&place, held.trim(), &[]).ends_with(0);
    assert!(ran.stderr.contains("in at most 600.0 s (20") && ran.stdout.is_empty(), "{ran:?}");
    // Not free yet: its holder may believe in it until then. But its token is spent.
    place.run(&["run", "-n", "a", "true"]).ends_with(75);
    let spent = token(&place, "a");
    assert_ne!(spent, held.trim());
    let at_once = format!("its token is {spent} now, and `release --token {spent} --now` frees it at once");
    assert!(ran.stderr.contains(&at_once), "{ran:?}");
    // Asked once more, it is done already.
    let ran = release(&place, held.trim(), &[]).ends_with(0);
    assert!(ran.stderr.contains(&at_once), "{ran:?}");
    assert_eq!(token(&place, "a"), spent);
    release(&place, &spent, &["--now"]).ends_with(0);
    place.run(&["run", "-n", "a", "true"]).ends_with(0);
}

#[test]
fn release_now_frees_at_once_and_says_that_it_is_unsafe() {
    let place = Place::new();
    let held = place.run(&["hold", "a", "10m"]).ends_with(0).stdout;
    let ran = release(&place, held.trim(), &["--now"]).ends_with(0);
    assert!(ran.stderr.contains("unsafe if its holder lives"), "{ran:?}");
    place.run(&["run", "-n", "a", "true"]).ends_with(0);
}

#[test]
fn the_run_whose_lock_was_released_is_ended_with_76() {
    let place = Place::new();
    let run = place.start(&["run", "--lease", "2", "a", "-c", "touch ready; exec sleep 100"]);
    release(&place, &token(&place, "a"), &[]).ends_with(0);
    let ran = run.end().ends_with(76);
    assert!(ran.stderr.contains("revokedToken"), "{ran:?}");
}

#[test]
fn destructive_commands_need_yes_where_there_is_no_terminal() {
    let place = Place::new();
    let held = place.run(&["hold", "a", "10m"]).ends_with(0).stdout;
    let ran = place.run(&["release", "a", "--token", held.trim()]).ends_with(64);
    assert!(ran.stderr.contains("--yes") && ran.stderr.lines().count() == 1, "{ran:?}");
    assert_eq!(token(&place, "a"), held.trim());
    let table = support::answering("200 OK", "{}");
    let ran = table.run(&["table", "delete"]).ends_with(64);
    assert!(ran.stderr.contains("--yes"), "{ran:?}");
}

#[test]
fn on_a_terminal_they_ask_and_only_yes_is_yes() {
    let place = Place::new();
    let held = place.run(&["hold", "a", "10m", "--owner", "\u{1b}[2Jstuck"]).ends_with(0).stdout;
    for (now, answer, code) in [(false, "\n", 64), (true, "n\n", 64), (false, "maybe\n", 64), (false, "y\n", 0)] {
        let terminal = Terminal::new();
        let arguments = ["release", "a", "--token", held.trim(), "--now"];
        let mut command = place.command(&arguments[..if now { 5 } else { 4 }]);
        let running = Running::of({
            command.stdin(terminal.end()).stderr(terminal.end());
            command
        });
        until("it asks", || terminal.said().contains("[y/N]"));
        assert!(terminal.said().contains("\\u{1b}[2Jstuck (") && !terminal.said().contains('\u{1b}'));
        assert_eq!(terminal.said().contains("may be at work"), now);
        terminal.types(answer);
        running.end().ends_with(code);
        assert_eq!(token(&place, "a") == held.trim(), code != 0);
    }
}
