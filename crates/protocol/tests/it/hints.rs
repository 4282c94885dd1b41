//! Hints of the store, which end the pauses of a waiter early.

use std::time::Duration;

use dynamo_lock_protocol::{Acquire, Hint, Machine, Outcome, Response, Row, Step, WaitMode, attr};

use crate::support::{TestHost, held_row, pause_ms, request, waiter};

/// Lease of the holder, in milliseconds.
const LEASE_MS: u64 = 600_000;

/// A waiter that has seen a held row at 10 ms, and its host.
fn waiting() -> (TestHost, Acquire) {
    let (mut host, mut machine) = (TestHost::without_dates(1), waiter(20));
    host.op(0, &mut machine);
    host.respond(10, &mut machine, 0, &Outcome::Conflict(Some(held_row(LEASE_MS))), None);
    (host, machine)
}

/// Returns the held row with another token.
fn handed_on(token: u64) -> Row {
    let mut row = held_row(LEASE_MS);
    row.set(attr::TOKEN, token.into());
    row.set(attr::GUID, format!("version {token}").as_str().into());
    row
}

/// Returns the time of the next look.
fn next_look(host: &mut TestHost, machine: &mut Acquire, mut ms: u64) -> u64 {
    loop {
        match host.next(ms, machine) {
            Step::Pause(length) => ms += pause_ms(length),
            Step::Read { .. } => return ms,
            step => panic!("neither a pause nor a look: {step:?}"),
        }
    }
}

/// Answers a look with this row.
fn answer(host: &mut TestHost, machine: &mut Acquire, ms: u64, row: &Row) {
    machine.handle(&host.now(ms), Response::row(Some(row)));
}

#[test]
fn hint_leads_to_look_at_once_but_25_ms_after_last_one() {
    let (mut host, mut machine) = waiting();
    assert!(machine.awaits_change());
    machine.hint(&host.now(12), Hint::Available);
    let mut ms = next_look(&mut host, &mut machine, 12);
    assert!((25..=35).contains(&ms), "{ms}");
    // Pauses grow with each look that no hint led to.
    for _ in 0..5 {
        answer(&mut host, &mut machine, ms + 1, &held_row(LEASE_MS));
        ms = next_look(&mut host, &mut machine, ms + 1);
    }
    answer(&mut host, &mut machine, ms + 1, &held_row(LEASE_MS));
    let (mut hinted, hint) = (machine.clone(), ms + 35);
    let poll = next_look(&mut host, &mut machine, ms + 1);
    assert!(poll > hint + 16, "{poll}: the poll comes so early that the test shows nothing");
    hinted.hint(&host.now(hint), Hint::Changed);
    assert!(hinted.awaits_change(), "a hint does not end the pause in itself");
    let look = next_look(&mut host, &mut hinted, hint);
    assert!((hint..=hint + 16).contains(&look), "{look} after a hint at {hint}");
}

/// Other locks of a store may be busy all the time. Their hints cost no more than polls do.
#[test]
fn constant_hints_without_handoff_lead_to_rare_looks() {
    let (mut host, mut machine) = waiting();
    machine.hint(&host.now(12), Hint::Available);
    let (mut ms, mut looks) = (12, 0);
    while ms < 60_000 {
        match host.next(ms, &mut machine) {
            Step::Pause(length) => {
                ms += pause_ms(length).min(5);
                machine.hint(&host.now(ms), Hint::Changed);
            }
            Step::Read { .. } => {
                looks += 1;
                ms += 1;
                answer(&mut host, &mut machine, ms, &held_row(LEASE_MS));
            }
            step => panic!("neither a pause nor a look: {step:?}"),
        }
    }
    assert!(looks <= 4 + 6 * 60, "{looks} looks in a minute");
}

/// A waiter that has seen N handoffs has about N rivals, with which it must not look at the same time.
#[test]
fn looks_after_hint_are_spread_by_handoffs_seen() {
    let (mut host, mut machine) = waiting();
    machine.hint(&host.now(12), Hint::Available);
    let mut ms = 12;
    for token in 8..48 {
        ms = next_look(&mut host, &mut machine, ms) + 1;
        answer(&mut host, &mut machine, ms, &handed_on(token));
        ms += 1;
        machine.hint(&host.now(ms), Hint::Changed);
    }
    // `TestHost` draws the largest random number, so that this is about the longest delay for 40 rivals.
    let delay = next_look(&mut host, &mut machine.clone(), ms) - ms;
    assert!(delay > 25, "{delay} ms: no random delay");
    assert!(delay <= 25 + 40 * 5, "{delay} ms");
}

/// A pause after an error protects the store.
#[test]
fn hint_does_not_shorten_pause_after_error() {
    let (mut host, mut machine) = waiting();
    let mut ms = 10;
    for _ in 0..4 {
        ms = next_look(&mut host, &mut machine, ms) + 1;
        machine.handle(&host.now(ms), Response::unread());
    }
    assert!(!machine.awaits_change());
    let mut hinted = machine.clone();
    hinted.hint(&host.now(ms), Hint::Changed);
    assert_eq!(next_look(&mut host, &mut hinted, ms), next_look(&mut host, &mut machine, ms));
}

#[test]
fn attempt_that_does_not_wait_awaits_no_change() {
    let (mut host, mut machine) = (TestHost::without_dates(1), Acquire::new(request(20, WaitMode::Try), None));
    assert!(!machine.awaits_change());
    host.op(0, &mut machine);
    host.respond(10, &mut machine, 0, &Outcome::Conflict(Some(held_row(LEASE_MS))), None);
    assert!(!machine.awaits_change());
}

/// Returns the times of the looks at this row in two seconds, while the store gives hints.
fn looks_at(row: &Row) -> Vec<u64> {
    let (mut host, mut machine) = waiting();
    machine.hint(&host.now(12), Hint::Available);
    let (mut looks, mut ms) = (Vec::new(), 12);
    while ms < 2_000 {
        ms = next_look(&mut host, &mut machine, ms) + 1;
        looks.push(ms);
        answer(&mut host, &mut machine, ms, row);
    }
    looks
}

/// Where a release is expected, a look would only delay the look after the hint of that release.
#[test]
fn expected_release_leads_to_no_look_with_hints() {
    let plain = held_row(LEASE_MS);
    let mut row = plain.clone();
    row.set(attr::RECENT_HOLDS_MS, "300 300 300 300".into());
    row.set(attr::ACQUIRED_ON, crate::support::EPOCH_MS.into());
    assert_eq!(looks_at(&row), looks_at(&plain));
}

/// Without hints a waiter polls as often as on a store that never has any.
#[test]
fn polls_are_frequent_again_once_hints_are_unavailable() {
    let (mut host, mut machine) = waiting();
    machine.hint(&host.now(12), Hint::Available);
    let mut ms = 12;
    for _ in 0..20 {
        ms = next_look(&mut host, &mut machine, ms) + 1;
        answer(&mut host, &mut machine, ms, &held_row(LEASE_MS));
    }
    // The look was sent one millisecond ago.
    assert_eq!(next_look(&mut host, &mut machine.clone(), ms) - (ms - 1), 2000, "polls are only a fallback");
    machine.hint(&host.now(ms), Hint::Unavailable);
    ms = next_look(&mut host, &mut machine, ms) + 1;
    answer(&mut host, &mut machine, ms, &held_row(LEASE_MS));
    assert!(Duration::from_millis(next_look(&mut host, &mut machine, ms) - ms) <= Duration::from_secs(1));
}
