//! `once` is killed at random instants: its command never runs again after a recorded success, and always runs again
//! without one.
//!
//! This is a separate test binary because its kills need the timing of a machine that is not busy with other tests. The
//! test over HTTP needs a DynamoDB server.
#![allow(clippy::disallowed_methods)] // the instants of the kills are in real time

mod support;

use std::{thread, time::Duration};

use support::{Fixture, Running, server_table_url, server_url, wait_until};

/// Longest time between an event and the kill after it, in microseconds.
const DELAY_MAX_US: u64 = 30_000;
/// Lease of the runs. On DynamoDB the next run waits for it.
const LEASE: &str = "1s";

/// Returns a pseudorandom number below `bound`.
fn random(seed: &mut u64, bound: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % bound
}

/// Work of a name of its own, which logs the tokens of its runs.
struct Work<'a> {
    fixture: &'a Fixture,
    key: String,
}

impl Work<'_> {
    /// Returns a run that ends with this exit code.
    fn once(&self, code: u8) -> std::process::Command {
        let key = &self.key;
        let log = |event: &str| format!("echo $DYNAMO_LOCK_TOKEN >> {key}.{event}");
        let script = format!("{}; sleep 0.02; {}; exit {code}", log("begun"), log("ended"));
        self.fixture.command(&["once", "--lease", LEASE, key, "-c", &script])
    }

    /// Returns the logged tokens of this event.
    fn tokens(&self, event: &str) -> Vec<u64> {
        let text = self.fixture.read(&format!("{}.{event}", self.key));
        text.lines().map(|line| line.parse().expect("a token")).collect()
    }

    /// Returns the token of the recorded success.
    fn success(&self) -> Option<u64> {
        let shown = self.fixture.run(&["show", &self.key, "--json"]).exits_with(0).stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        shown["token"].as_u64().filter(|_| shown["state"] == "done")
    }
}

/// Kills this number of runs, each of its own work, and runs each work again. On a store without requests in flight
/// (`is_local`), the state after the kill decides whether it runs.
fn kill_runs(fixture: &Fixture, kills: u64, is_local: bool) {
    let (mut seed, mut recorded, mut interrupted) = (1, 0, 0);
    for kill in 0..kills {
        let work = Work { fixture, key: format!("job-{kill}") };
        // Every fifth command fails, so its success must never be recorded.
        let code = u8::from(kill % 5 == 0);
        let once = Running::spawn(work.once(code));
        match random(&mut seed, 4) {
            0 => {}
            1 => wait_until("the command has begun", || !work.tokens("begun").is_empty()),
            _ => wait_until("the command has ended", || !work.tokens("ended").is_empty()),
        }
        thread::sleep(Duration::from_micros(random(&mut seed, DELAY_MAX_US)));
        once.signal("KILL");
        let _killed_or_ended = once.wait();
        let was_done = work.success();
        let ended = work.tokens("ended");
        assert!(was_done.is_none() || code == 0 && was_done == ended.last().copied(), "{}: {was_done:?}", work.key);
        let begun = work.tokens("begun").len();
        Running::spawn(work.once(0)).wait().exits_with(0);
        let runs_again = work.tokens("begun").len() > begun;
        assert!(!is_local || runs_again == was_done.is_none(), "{}: {was_done:?}", work.key);
        assert!(was_done.is_none() || !runs_again, "{}: it runs again after its success", work.key);
        // A success is recorded now in any case. No run began after that of the success, which has ended.
        let success = work.success().expect("a success");
        Running::spawn(work.once(0)).wait().exits_with(0).prints_line("; skipped");
        assert_eq!(work.tokens("begun").into_iter().max(), Some(success), "{}", work.key);
        assert!(work.tokens("ended").contains(&success), "{}", work.key);
        *(if runs_again { &mut interrupted } else { &mut recorded }) += 1;
    }
    println!("{recorded} kills after the record of the success, {interrupted} before");
    assert!(recorded > 0 && interrupted > 0, "{recorded} recorded, {interrupted} interrupted");
}

#[test]
fn killed_once_runs_again_unless_its_success_is_recorded() {
    kill_runs(&Fixture::new(), 50, true);
}

#[test]
fn killed_once_on_dynamodb_runs_again_unless_recorded() {
    let Some(endpoint) = server_url("killed_once_on_dynamodb_runs_again_unless_recorded") else { return };
    let table = format!("once-{}", std::process::id());
    let fixture = Fixture::with_store(&server_table_url(&table, &endpoint));
    fixture.run(&["table", "create"]).exits_with(0);
    kill_runs(&fixture, 20, false);
    fixture.run(&["table", "delete", "--yes"]).exits_with(0);
}
