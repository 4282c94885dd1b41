//! `once` is killed at random instants: its command never runs again after a recorded success, and always runs again
//! without one.
//!
//! This is a separate test binary because its kills need the timing of a machine that is not busy with other tests.
#![allow(clippy::disallowed_methods)] // the instants of the kills are in real time

mod support;

use std::{thread, time::Duration};

use support::{Fixture, Running, wait_until};

/// Number of kills.
const KILLS: u64 = 50;
/// Longest time between an event and the kill after it, in milliseconds.
const DELAY_MAX_MS: u64 = 30;

/// Returns a pseudorandom number below `bound`.
fn random(seed: &mut u64, bound: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % bound
}

/// Returns whether the success of the work is recorded.
fn is_done(fixture: &Fixture, key: &str) -> bool {
    let shown = fixture.run(&["show", key, "--json"]).exits_with(0).stdout;
    serde_json::from_str::<serde_json::Value>(&shown).expect("JSON")["state"] == "done"
}

#[test]
fn killed_once_runs_again_unless_its_success_is_recorded() {
    let (fixture, mut seed) = (Fixture::new(), 1);
    let (mut recorded, mut interrupted) = (0, 0);
    for kill in 0..KILLS {
        let key = format!("job-{kill}");
        let ends = |run: &str| fixture.read(&format!("{key}.{run}")).lines().count();
        let script = |code: u8| format!("echo >> {key}.begun; sleep 0.02; echo >> {key}.ended; exit {code}");
        // Every fifth command fails, so its success must never be recorded.
        let code = u8::from(kill % 5 == 0);
        let once = Running::spawn(fixture.command(&["once", "--lease", "2", &key, "-c", &script(code)]));
        match random(&mut seed, 4) {
            0 => {}
            1 => wait_until("the command has begun", || ends("begun") > 0),
            _ => wait_until("the command has ended", || ends("ended") > 0),
        }
        thread::sleep(Duration::from_micros(random(&mut seed, DELAY_MAX_MS * 1000)));
        once.signal("KILL");
        let _killed_or_ended = once.wait();
        let was_done = is_done(&fixture, &key);
        assert!(!was_done || ends("ended") == 1 && code == 0, "{key}: recorded without a success");
        // A command that was interrupted may end late, but never beside the next one.
        let before = ends("begun");
        fixture.run(&["once", "--lease", "2", &key, "-c", &script(0)]).exits_with(0);
        match was_done {
            true => recorded += 1,
            false => interrupted += 1,
        }
        assert_eq!(ends("begun") > before, !was_done, "{key}: done {was_done}");
        // Its success is recorded now in any case.
        let (before, skipped) = (ends("begun"), fixture.run(&["once", &key, "-c", &script(0)]).exits_with(0));
        skipped.prints_line("; skipped");
        assert_eq!(ends("begun"), before);
    }
    println!("{recorded} kills after the record of the success, {interrupted} before");
    assert!(recorded > 0 && interrupted > 0, "{recorded} recorded, {interrupted} interrupted");
}
