//! The last hold of a lock, as `show` prints it.

use serde_json::{Value, json};

use crate::support::Fixture;

fn last(fixture: &Fixture, name: &str) -> Value {
    let shown = fixture.run(&["show", name, "--json"]).exits_with(0).stdout;
    serde_json::from_str::<Value>(&shown).expect("JSON")["last"].take()
}

/// Returns how the last hold ended, and its exit code.
fn end(fixture: &Fixture, name: &str) -> (Value, Value) {
    let mut last = last(fixture, name);
    (last["end"].take(), last["exitCode"].take())
}

/// Answers whether last night's job ran, where, for how long and with which result.
#[test]
fn show_prints_last_run_with_its_exit_code() {
    let fixture = Fixture::new();
    assert_eq!(last(&fixture, "nightly"), Value::Null);
    fixture.run(&["run", "nightly", "-c", "exit 3"]).exits_with(3);
    let shown = fixture.run(&["show", "nightly"]).exits_with(0).stdout;
    let line = shown.lines().find(|line| line.starts_with("last ")).expect("a line");
    for part in ["last    tester (", ", since 20", " ago), for ", "s, released with exit code 3"] {
        assert!(line.contains(part), "{part:?} is missing in {line}");
    }
    let mut object = last(&fixture, "nightly");
    assert!(object["acquiredAtMs"].take().as_u64().is_some() && object["heldMs"].take().as_u64() < Some(600_000));
    assert!(object["owner"].take().as_str().is_some_and(|owner| owner.starts_with("tester (")));
    let rest = json!({ "owner": null, "acquiredAtMs": null, "heldMs": null, "end": "released", "exitCode": 3 });
    assert_eq!(object, rest, "these keys and no others");

    // The lock is held again: the last hold stays visible beside its holder.
    let holder = fixture.start(&["run", "nightly", "-c", "touch ready; until [ -e go ]; do sleep 0.02; done"]);
    assert_eq!(end(&fixture, "nightly"), ("released".into(), 3.into()));
    std::fs::write(fixture.path("go"), "").expect("a file");
    holder.wait().exits_with(0);
    assert_eq!(end(&fixture, "nightly"), ("released".into(), 0.into()));
}

#[test]
fn end_by_signal_or_operator_is_recorded() {
    let fixture = Fixture::new();
    fixture.run(&["run", "a", "-c", "kill -s TERM $$"]).exits_with(143);
    assert_eq!(end(&fixture, "a"), ("released".into(), 143.into()));
    fixture.run(&["run", "a", "no-such-command"]).exits_with(127);
    assert_eq!(end(&fixture, "a"), ("released".into(), Value::Null), "no command has run");

    for (arguments, word) in [(&["--force"][..], "forced"), (&[], "revoked")] {
        let token = fixture.run(&["hold", "a", "1h"]).exits_with(0).stdout;
        let revoke = ["revoke", "a", "--yes", "--token", token.trim()];
        fixture.run(&[&revoke, arguments].concat()).exits_with(0);
        assert_eq!(end(&fixture, "a"), (word.into(), Value::Null));
    }
}

#[test]
fn work_of_once_and_several_locks_record_their_runs() {
    let fixture = Fixture::new();
    fixture.run(&["once", "job", "-c", "exit 5"]).exits_with(5);
    assert_eq!(end(&fixture, "job"), ("released".into(), 5.into()));
    fixture.run(&["once", "job", "true"]).exits_with(0);
    assert_eq!(end(&fixture, "job"), ("released".into(), 0.into()));
    fixture.run(&["run", "a", "--also", "b", "-c", "exit 4"]).exits_with(4);
    for name in ["a", "b"] {
        assert_eq!(end(&fixture, name), ("released".into(), 4.into()));
    }
    fixture.run(&["run", "--slots", "2", "several", "true"]).exits_with(0);
    assert_eq!(last(&fixture, "several"), Value::Null, "the row has no room");
}
