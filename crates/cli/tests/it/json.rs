//! The keys and types of `docs/json.md` are those that the commands print.
//!
//! A new command with `--json` needs a section on the page and a line in [`documented!`] below, and a new key a row on
//! the page.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use crate::listing::row;
use crate::support::{Finished, Fixture, HOLD, Running, dynamodb_error, server_by_operation, wait_until};

const PAGE: &str = include_str!("../../../../docs/json.md");

/// A key as the page describes it.
#[derive(Clone, Debug)]
struct Key {
    kind: String,
    may_be_null: bool,
    is_optional: bool,
}

/// The keys of a section by their paths, for example `holders[].id`.
type Keys = BTreeMap<String, Key>;

/// Returns the headings of the page that name commands, each with the text below it.
fn sections(page: &str) -> Vec<(&str, &str)> {
    let sections = page.split("\n## `").skip(1);
    sections.map(|section| section.split_once("`\n").expect("a heading that ends with a command")).collect()
}

/// Returns the keys in the table of a section. The name of a section is that of its heading without backticks.
fn keys(page: &str, name: &str) -> Keys {
    let found = sections(page).into_iter().find(|(heading, _)| heading.replace('`', "") == name);
    let rows = found.unwrap_or_else(|| panic!("no section {name}")).1.lines().filter(|line| line.starts_with("| `"));
    let key = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, path, kind, unit, null, value, _] = cells[..] else { panic!("not five cells: {line}") };
        assert!(!value.is_empty() && (unit.is_empty() || ["integer", "number"].contains(&kind)), "{line}");
        let (kind, is_optional) = kind.strip_suffix(", optional").map_or((kind, false), |kind| (kind, true));
        let key = Key { kind: kind.to_owned(), may_be_null: !null.is_empty(), is_optional };
        (path.trim_matches('`').to_owned(), key)
    };
    rows.map(key).collect()
}

/// Compares printed objects with the section `name` of a page.
struct Check<'a> {
    page: &'a str,
    name: &'a str,
    keys: Keys,
    /// Paths that had a value of the documented type.
    seen: BTreeSet<String>,
    errors: Vec<String>,
}

impl<'a> Check<'a> {
    /// Returns the differences between the page and these objects. An empty list means that both have the same keys,
    /// that each value has the documented type, and that each key had a value.
    fn differences(page: &'a str, name: &'a str, objects: &[Value]) -> Vec<String> {
        let mut check = Self { page, name, keys: keys(page, name), seen: BTreeSet::new(), errors: Vec::new() };
        objects.iter().for_each(|object| check.object("", object));
        let unseen = check.keys.keys().filter(|path| !check.seen.contains(*path));
        let unseen: Vec<_> = unseen.map(|path| format!("{name}: {path} never had a value")).collect();
        [check.errors, unseen].concat()
    }

    /// Compares the keys of an object with those below this prefix, which is empty or ends with a dot.
    fn object(&mut self, prefix: &str, value: &Value) {
        let Value::Object(object) = value else {
            return self.errors.push(format!("{}: {prefix} is no object", self.name));
        };
        let below = |path: &str| path.strip_prefix(prefix).is_some_and(|rest| !rest.contains('.'));
        let documented = self.keys.iter().filter(|(path, key)| below(path) && !key.is_optional);
        let missing = documented.filter(|(path, _)| !object.contains_key(&path[prefix.len()..]));
        self.errors.extend(missing.map(|(path, _)| format!("{}: {path} is not printed", self.name)));
        for (key, value) in object {
            self.value(&format!("{prefix}{key}"), value);
        }
    }

    fn value(&mut self, path: &str, value: &Value) {
        let Some(key) = self.keys.get(path).cloned() else {
            return self.errors.push(format!("{}: {path} is not on the page", self.name));
        };
        match (key.kind.as_str(), value) {
            (_, Value::Null) if key.may_be_null => return,
            ("string", Value::String(_)) | ("boolean", Value::Bool(_)) | ("map", Value::Object(_)) => {}
            ("integer", Value::Number(number)) if number.is_u64() => {}
            ("number", Value::Number(_)) => {}
            ("object", Value::Object(_)) => self.object(&format!("{path}."), value),
            ("lock", Value::Object(_)) => {
                let lock = Self::differences(self.page, "show, ls", std::slice::from_ref(value));
                // One lock does not have a value for each key.
                self.errors.extend(lock.into_iter().filter(|error| !error.ends_with("never had a value")));
            }
            ("array", Value::Array(elements)) => {
                let is_of_objects = self.keys.keys().any(|other| other.starts_with(&format!("{path}[].")));
                if is_of_objects {
                    elements.iter().for_each(|element| self.object(&format!("{path}[]."), element));
                }
            }
            (kind, value) => self.errors.push(format!("{}: {path} is {value}, not {kind}", self.name)),
        }
        self.seen.insert(path.to_owned());
    }
}

/// Returns the object in a result. Asserts that it is one line.
fn parse(line: &str) -> Value {
    assert!(line.ends_with('\n') && line.lines().count() == 1, "{line:?}");
    serde_json::from_str(line).expect("JSON")
}

fn object(finished: Finished) -> Value {
    parse(&finished.stdout)
}

/// Returns the object that a successful command prints. Asserts that it prints no message beside it.
fn run(fixture: &Fixture, arguments: &[&str]) -> Value {
    let finished = fixture.run(arguments).exits_with(0);
    assert_eq!(finished.stderr, "", "{arguments:?}");
    object(finished)
}

/// Declares a test for each section of the page, with the objects that its commands print.
macro_rules! documented {
    ($($test:ident: $section:literal => $objects:path;)*) => {
        $(#[test]
        fn $test() {
            assert_eq!(Check::differences(PAGE, $section, &$objects()), [""; 0]);
        })*

        /// Sections with a test.
        const TESTED: &[&str] = &[$($section),*];
    };
}

documented! {
    show_and_ls_print_the_documented_keys: "show, ls" => locks;
    hold_prints_the_documented_keys: "hold" => hold;
    revoke_prints_the_documented_keys: "revoke" => revoke;
    reset_prints_the_documented_keys: "reset" => reset;
    reset_of_once_prints_the_documented_keys: "once --reset" => reset_of_once;
    table_create_prints_the_documented_keys: "table create" => table_create;
    table_print_prints_the_documented_keys: "table print" => table_print;
    table_check_prints_the_documented_keys: "table check" => table_check;
    table_delete_prints_the_documented_keys: "table delete" => table_delete;
    doctor_prints_the_documented_keys: "doctor" => doctor;
    policy_prints_the_documented_keys: "policy" => policy;
    cost_prints_the_documented_keys: "cost" => cost;
    ui_prints_the_documented_keys: "ui" => ui;
    report_has_the_documented_keys: "run --report, once --report" => reports;
    ready_file_has_the_documented_keys: "run --ready-file" => ready_file;
}

/// Returns locks in each state, as `ls` prints them, and two of them as `show` does.
fn locks() -> Vec<Value> {
    let fixture = Fixture::new();
    fixture.run(&["hold", "held", "1h"]).exits_with(0);
    fixture.run(&["once", "--for", "1h", "done", "true"]).exits_with(0);
    // Inserted last, because a write can remove old rows.
    fixture.insert_row("data", &row(r#""token":{"N":"7"},"expiresOn":{"N":"0"},"data":{"S":"left"}"#));
    fixture.insert_row("unreadable", r#"{"colour":{"S":"blue"}}"#);
    let entry = r#"{"acquiredOn":{"N":"1795939848311"},"leaseMs":{"N":"20000"},"renewalSeq":{"N":"0"},
        "expiresOn":{"N":"9790000020000"},"owner":{"S":"ops"}}"#;
    let shared = format!(
        r#""token":{{"N":"8"}},"expiresOn":{{"N":"253402300799000"}},"kind":{{"S":"semaphore"}},"limit":{{"N":"2"}},
        "forcedLeaseId":{{"S":"none"}},"holders":{{"M":{{"58a2e1f85028890110cd58dd3402f5ba":{{"M":{entry}}}}}}}"#
    );
    fixture.insert_row("slots", &row(&shared));
    let listed = fixture.run(&["ls", "--json"]).exits_with(0).stdout;
    let shown = ["held", "slots"].map(|name| run(&fixture, &["show", name, "--json"]));
    listed.split_inclusive('\n').map(parse).chain(shown).collect()
}

fn hold() -> Vec<Value> {
    let fixture = Fixture::new();
    let held = run(&fixture, &["hold", "a", "1m30s", "--json"]);
    assert_eq!((&held["leaseMs"], held["token"].to_string()), (&90_000.into(), fixture.token("a")));
    let refused = fixture.run(&["hold", "a", "1m", "--json"]).exits_with(75).prints("is held by");
    assert_eq!(refused.stdout, "");
    vec![held]
}

fn revoke() -> Vec<Value> {
    let fixture = Fixture::new();
    let held = run(&fixture, &["hold", "a", "1h", "--json"])["token"].to_string();
    let revoked = run(&fixture, &["revoke", "a", "--token", &held, "--yes", "--json"]);
    let next = revoked["lock"]["token"].to_string();
    assert_eq!((&revoked["lock"]["state"], &next), (&"held".into(), &fixture.token("a")));
    let freed = run(&fixture, &["revoke", "a", "--token", &next, "--force", "--yes", "--json"]);
    assert_eq!((&freed["force"], &freed["lock"]["state"]), (&true.into(), &"free".into()));
    let _holder = fixture.start(&["run", "--slots", "1", "b", "-c", "touch ready; exec sleep 100"]);
    let shown = run(&fixture, &["show", "b", "--json"]);
    let id = shown["holders"][0]["id"].as_str().expect("an ID");
    let removed = run(&fixture, &["revoke", "b", "--holder", id, "--yes", "--json"]);
    assert_eq!((&removed["holder"], &removed["lock"]["holders"][0]["revoked"]), (&id.into(), &true.into()));
    vec![revoked, freed, removed]
}

fn reset() -> Vec<Value> {
    let fixture = Fixture::new();
    fixture.run(&["run", "--slots", "2", "a", "true"]).exits_with(0);
    let before = run(&fixture, &["show", "a", "--json"]);
    let reset = run(&fixture, &["reset", "a", "--json"]);
    assert_eq!((&before["kind"], &reset["lock"]["kind"]), (&"semaphore".into(), &Value::Null));
    vec![reset]
}

fn reset_of_once() -> Vec<Value> {
    let fixture = Fixture::new();
    let reset = || run(&fixture, &["once", "--reset", "a", "--yes", "--json"]);
    let none = reset();
    fixture.run(&["once", "a", "true"]).exits_with(0);
    let some = reset();
    assert_eq!((&none["reset"], &some["reset"]), (&false.into(), &true.into()));
    fixture.run(&["once", "a", "--json", "true"]).exits_with(64).prints("--json");
    vec![none, some]
}

/// Returns a table at a server. It exists if `exists` is set, with this key schema.
fn table(exists: bool, key: &'static str) -> Fixture {
    server_by_operation(move |operation| match operation {
        "CreateTable" if exists => ("400 Bad Request", dynamodb_error("ResourceInUseException", "?")),
        "DescribeGlobalTable" => ("400 Bad Request", dynamodb_error("GlobalTableNotFoundException", "?")),
        _ => {
            let schema = format!(r#""KeySchema":[{{"AttributeName":"{key}","KeyType":"HASH"}}]"#);
            ("200 OK", format!(r#"{{"Table":{{"TableName":"Lock","TableStatus":"ACTIVE",{schema}}}}}"#))
        }
    })
}

fn table_create() -> Vec<Value> {
    let options = ["--provisioned", "3,4", "--deletion-protection", "--tag", "team=payments"];
    let create = ["table", "create", "--json"];
    let fixed = run(&table(false, "name"), &[&create[..], &options].concat());
    assert_eq!(fixed["tags"], serde_json::json!({ "team": "payments" }));
    let existing = run(&table(true, "name"), &create);
    assert_eq!((&existing["created"], &existing["tags"]), (&false.into(), &Value::Null));
    vec![fixed, run(&table(false, "name"), &create), existing]
}

fn table_print() -> Vec<Value> {
    let fixture = Fixture::new();
    let print = |tool: &str| {
        let arguments = ["table", "print", "--table", "Lock", &format!("--{tool}")];
        let printed = run(&fixture, &[&arguments[..], &["--json"]].concat());
        assert_eq!(printed["tool"], tool);
        let template = printed["template"].as_str().expect("text");
        assert_eq!(fixture.run(&arguments).stdout, template, "the template without --json");
        printed
    };
    ["terraform", "cloudformation", "cdk", "aws-cli"].map(print).into()
}

fn table_check() -> Vec<Value> {
    let wrong = table(true, "id").run(&["table", "check", "--json"]).exits_with(78);
    assert_eq!(wrong.stderr, "");
    let right = run(&table(true, "name"), &["table", "check", "--json"]);
    assert_eq!(right["usable"], true);
    vec![object(wrong), right]
}

fn table_delete() -> Vec<Value> {
    let server = server_by_operation(|operation| match operation {
        "DescribeTable" => ("400 Bad Request", dynamodb_error("ResourceNotFoundException", "?")),
        _ => ("200 OK", "{}".to_owned()),
    });
    vec![run(&server, &["table", "delete", "--yes", "--json"])]
}

fn doctor() -> Vec<Value> {
    let missing = Fixture::with_store("sqlite:///proc/self/locks.db").run(&["doctor", "--json"]).exits_with(78);
    vec![run(&Fixture::new(), &["doctor", "--json"]), object(missing)]
}

fn policy() -> Vec<Value> {
    let fixture = Fixture::new();
    let policy = |arguments: &[&str]| {
        let place = ["policy", "--json", "--table", "Lock", "--region", "us-east-1", "--account", "123456789012"];
        run(&fixture, &[&place[..], arguments].concat())
    };
    vec![policy(&["admin"]), policy(&["run", "--prefix", "a/"])]
}

fn cost() -> Vec<Value> {
    let fixture = Fixture::new();
    vec![run(&fixture, &["cost", "--json"]), run(&fixture, &["cost", "--write-price", "1", "--json"])]
}

fn ui() -> Vec<Value> {
    let fixture = Fixture::new();
    let mut child = fixture.command(&["ui", "--json"]).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("its address");
    Running::from_child(child).kill();
    vec![parse(&line)]
}

/// Returns the reports of a success, of ends by a signal and by a drill, of a loss, and of runs that failed.
fn reports() -> Vec<Value> {
    let fixture = Fixture::new();
    let report = |code: i32, arguments: &[&str]| {
        let (first, rest) = arguments.split_first().expect("a command");
        object(fixture.run(&[&[first, "-q", "--report", "-"], rest].concat()).exits_with(code))
    };
    let drill = ["run", "--drill", "revoked@0s", "--grace", "0", "a", "sleep", "100"];
    let mut reports = vec![
        report(0, &["run", "a", "true"]),
        report(137, &["run", "a", "-c", "kill -s KILL $$"]),
        report(76, &drill),
        report(0, &["once", "b", "true"]),
        report(64, &["run", "--lease", "5m", "--grace", "4m", "a", "true"]),
    ];
    let holder = fixture.start(HOLD);
    reports.push(report(75, &["run", "-n", "a", "true"]));
    drop(holder);
    // Renewals fail while another process locks the database.
    let script = "touch locked; exec sleep 100";
    let lost = fixture.command(&["run", "--lease", "2", "--report", "-", "c", "-c", script]);
    let lost = Running::spawn(lost);
    wait_until("the command runs", || fixture.path("locked").exists());
    let database = rusqlite::Connection::open(fixture.path("locks.db")).expect("the database");
    database.execute_batch("BEGIN IMMEDIATE").expect("the database is not busy for long");
    reports.push(object(lost.wait().exits_with(76)));
    reports
}

fn ready_file() -> Vec<Value> {
    let fixture = Fixture::new();
    let script = "until [ -e up ]; do sleep 0.05; done; cat up; echo";
    vec![object(fixture.run(&["run", "--ready-file", "up", "a", "-c", script]).exits_with(0))]
}

/// Returns all commands with the options of each, from the manual page.
fn commands() -> BTreeMap<String, String> {
    let page = Fixture::new().run(&["man"]).exits_with(0).stdout.replace("\\-", "-");
    let sections = page.split("\n.SH \"DYNAMO-LOCK ").skip(1);
    let sections = sections.map(|section| section.split_once("\"\n").expect("a heading"));
    sections.map(|(name, text)| (name.to_lowercase(), text.to_owned())).collect()
}

#[test]
fn every_command_that_prints_has_json_on_the_page() {
    let headings: Vec<_> = sections(PAGE).iter().map(|(heading, _)| heading.replace('`', "")).collect();
    assert_eq!(headings, TESTED, "a section has no test");
    let commands = commands();
    let (with, without): (Vec<_>, Vec<_>) = commands.iter().partition(|(_, text)| text.contains("--json"));
    assert_eq!(without.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["completions", "man", "run"]);
    assert!(commands["run"].contains("--report"));
    for (name, _) in with {
        let is_named = |heading: &String| heading.split(", ").any(|part| part.split(" --").next() == Some(name));
        assert!(headings.iter().any(is_named), "{name} is missing on the page");
    }
}

/// Each kind of difference between the page and the program is found.
#[test]
fn control_differences_from_the_page_are_detected() {
    let printed = || vec![serde_json::json!({ "name": "a", "token": 1, "leaseMs": 1000 })];
    let differences = |page: &str, objects: &[Value]| Check::differences(page, "hold", objects).join("; ");
    assert_eq!(differences(PAGE, &printed()), "");
    let token = "| `token` | integer | | | fencing token |";
    for (row, difference) in [
        ("", "hold: token is not on the page"),
        ("| `token` | string | | | text |", "hold: token is 1, not string"),
        (
            &format!("{token}\n| `owner` | string | | | owner |"),
            "hold: owner is not printed; hold: owner never had a value",
        ),
    ] {
        assert_eq!(
            differences(&PAGE.replace(&format!("{token}\n| `leaseMs"), &format!("{row}\n| `leaseMs")), &printed()),
            difference
        );
    }
    let mut null = printed();
    null[0]["token"] = Value::Null;
    assert_eq!(differences(PAGE, &null), "hold: token is null, not integer");
    let optional = PAGE.replace(token, "| `token` | integer | | not held | fencing token |");
    assert_eq!(differences(&optional, &null), "hold: token never had a value");
}

#[test]
fn dash_is_standard_output_for_metrics() {
    let finished = Fixture::new().run(&["run", "--metrics-file", "-", "a", "true"]).exits_with(0);
    assert!(finished.stdout.starts_with("# HELP dynamo_lock_run_"), "{finished:?}");
}
