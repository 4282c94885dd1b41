//! `run --slots`, `run --shared` and `reset`.

use serde_json::{Value, json};

use crate::support::{Fixture, PROGRAM};

/// Script that holds a lock until the run is killed.
const HOLD: &str = "touch ready; exec sleep 100";

fn show(fixture: &Fixture, name: &str) -> Value {
    let shown = fixture.run(&["show", "--json", name]).exits_with(0).stdout;
    serde_json::from_str(&shown).expect("JSON")
}

#[test]
fn run_with_slots_has_no_token() {
    let fixture = Fixture::new();
    let script = "echo \"${DYNAMO_LOCK_NAME-none}|${DYNAMO_LOCK_TOKEN-none}|${DYNAMO_LOCK_TOKENS-none}\"";
    let inner = ["run", "b", "--", PROGRAM, "run", "--report", "r", "--slots", "2", "a", "-c", script];
    assert_eq!(fixture.run(&inner).exits_with(0).stdout.trim(), "a|none|none");
    let report: Value = serde_json::from_str(&fixture.read("r")).expect("JSON");
    assert_eq!((&report["acquired"], &report["token"]), (&json!(true), &Value::Null));
    assert_eq!(report["locks"], json!([{ "name": "a", "token": null, "released": true }]));
}

#[test]
fn full_lock_names_its_limit_and_a_holder() {
    let fixture = Fixture::new();
    let _holder = fixture.start(&["run", "--slots", "1", "a", "-c", HOLD]);
    for wait in [&["-n"][..], &["-w", "0.3"]] {
        let refused = fixture.run(&[&["run"], wait, &["--slots", "1", "a", "touch", "ran"]].concat()).exits_with(75);
        refused.prints_line("all slots of lock \"a\" are taken (1), one of them by tester (");
    }
    fixture.run(&["run", "--skip", "--slots", "1", "a", "touch", "ran"]).exits_with(0);
    assert!(!fixture.path("ran").exists());
    fixture.run(&["run", "-n", "--slots", "2", "a", "true"]).exits_with(0);
}

#[test]
fn show_and_ls_list_all_holders() {
    let fixture = Fixture::new();
    let _first = fixture.start(&["run", "--slots", "3", "a", "-c", HOLD]);
    std::fs::remove_file(fixture.path("ready")).expect("it exists");
    let _second = fixture.start(&["run", "--slots", "3", "a", "-c", HOLD]);
    let shown = show(&fixture, "a");
    assert_eq!((&shown["state"], &shown["kind"], &shown["slots"]), (&json!("held"), &json!("semaphore"), &json!(3)));
    let holders = shown["holders"].as_array().expect("holders");
    assert_eq!(holders.len(), 2);
    assert!(holders.iter().all(|holder| holder["role"] == "shared" && holder["expired"] == false));
    let lines = fixture.run(&["show", "a"]).exits_with(0).stdout;
    assert_eq!(lines.lines().filter(|line| line.starts_with("holder ")).count(), 2, "{lines}");
    assert!(fixture.run(&["ls"]).exits_with(0).stdout.contains("2 holders"));
}

#[test]
fn run_alone_and_shared_exclude_each_other() {
    let fixture = Fixture::new();
    let plain = fixture.start(&["run", "a", "-c", HOLD]);
    fixture.run(&["run", "-n", "--shared", "a", "true"]).exits_with(75).prints_line("is held by tester (");
    plain.signal("TERM");
    plain.wait().exits_with(143);
    std::fs::remove_file(fixture.path("ready")).expect("it exists");
    // The free plain lock becomes a shared one, and the run without the option is its writer.
    let reader = fixture.start(&["run", "--shared", "a", "-c", HOLD]);
    fixture.run(&["run", "-n", "-s", "a", "true"]).exits_with(0);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(75).prints_line("is held by tester (");
    reader.signal("TERM");
    reader.wait().exits_with(143);
    let token = |options: &[&str]| {
        let print = ["a", "-c", "echo $DYNAMO_LOCK_TOKEN"];
        let printed = fixture.run(&[&["run"], options, &print].concat()).exits_with(0).stdout;
        printed.trim().parse::<u64>().expect("a token")
    };
    let (writer, reader) = (token(&[]), token(&["-s"]));
    assert!(reader > writer, "{reader} and {writer}");
}

#[test]
fn shared_run_waits_for_a_held_plain_lock() {
    let fixture = Fixture::new();
    let plain =
        fixture.start(&["run", "a", "-c", "touch ready; until [ -e end ]; do sleep 0.05; done; echo plain >> log"]);
    let reader = fixture.command(&["run", "-s", "a", "-c", "echo reader >> log"]);
    let reader = fixture.spawn_with_stderr_file(reader);
    crate::support::wait_until("the reader waits", || fixture.read("stderr").contains("waiting for lock \"a\""));
    std::fs::write(fixture.path("end"), "").expect("a file");
    plain.wait().exits_with(0);
    reader.wait().exits_with(0);
    assert_eq!(fixture.read("log"), "plain\nreader\n");
}

#[test]
fn nested_run_of_a_shared_lock_is_refused() {
    let fixture = Fixture::new();
    for (name, options) in [("a", &["--shared"][..]), ("b", &["--slots", "2"])] {
        let arguments = [&["run"], options, &[name, "--", PROGRAM, "run"], options, &[name, "touch", "ran"]].concat();
        fixture
            .run(&arguments)
            .exits_with(75)
            .prints(&format!("lock \"{name}\" is held by a `dynamo-lock run` around"));
    }
    assert!(!fixture.path("ran").exists());
}

#[test]
fn reset_makes_a_free_name_a_plain_lock() {
    let fixture = Fixture::new();
    let holder = fixture.start(&["run", "--slots", "2", "a", "-c", HOLD]);
    fixture.run(&["run", "-n", "a", "true"]).exits_with(78).prints_line("is that of a semaphore");
    fixture.run(&["reset", "a"]).exits_with(64).prints_line("it is held");
    holder.signal("TERM");
    holder.wait().exits_with(143);
    let before = show(&fixture, "a")["token"].as_u64().expect("a token");
    fixture.run(&["reset", "a"]).exits_with(0).prints_line("is a plain lock now");
    fixture.run(&["run", "-n", "a", "true"]).exits_with(0);
    assert!(show(&fixture, "a")["token"].as_u64() > Some(before));
    fixture.run(&["reset", "unused"]).exits_with(0);
}

#[test]
fn one_of_several_holders_is_revoked() {
    let fixture = Fixture::new();
    let holder = fixture.start(&["run", "--lease", "3", "--slots", "1", "a", "-c", HOLD]);
    let id = show(&fixture, "a")["holders"][0]["id"].as_str().expect("an ID").to_owned();
    fixture.run(&["revoke", "a", "--yes"]).exits_with(64);
    fixture.run(&["revoke", "a", "--holder", "0123", "--yes"]).exits_with(64).prints_line("does not hold the lock");
    fixture.run(&["revoke", "a", "--holder", &id, "--yes"]).exits_with(0).prints_line("is revoked");
    holder.wait().exits_with(76).prints_line("it was revoked by an operator");
    fixture.run(&["run", "-w", "30", "--slots", "1", "a", "true"]).exits_with(0);
    // By force, the slot is free at once.
    std::fs::remove_file(fixture.path("ready")).expect("it exists");
    let _stuck = fixture.start(&["run", "--lease", "1h", "--slots", "1", "a", "-c", HOLD]);
    let id = show(&fixture, "a")["holders"][0]["id"].as_str().expect("an ID").to_owned();
    fixture.run(&["revoke", "a", "--holder", &id, "--force", "--yes"]).exits_with(0).prints_line("is removed");
    fixture.run(&["run", "-n", "--slots", "1", "a", "true"]).exits_with(0);
}

#[test]
fn options_for_several_holders_exclude_others() {
    let fixture = Fixture::new();
    for arguments in [
        &["--slots", "0", "a", "true"][..],
        &["--slots", "65", "a", "true"],
        &["--slots", "2", "--shared", "a", "true"],
        &["--slots", "2", "--also", "b", "a", "true"],
        &["--shared", "--also", "b", "a", "true"],
        &["--shared", "--ready-file", "up", "a", "true"],
    ] {
        fixture.run(&[&["run"], arguments].concat()).exits_with(64);
    }
}
