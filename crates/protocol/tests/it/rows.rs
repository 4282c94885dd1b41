//! Rows that are refused, and the comparison of numbers.

use std::cmp::Ordering;
use std::time::Duration;

use dynamo_lock_protocol::{
    AcquireEnd, FencingToken, Kind, Number, Outcome, Response, Revoke, Row, RowError, Step, Target, Value, Verdict,
    apply, attr, check_partition_key,
};

use crate::support::{EPOCH_MS, TestHost, date, held_row, name, now, pause_ms, row, waiter, write};

#[test]
fn token_out_of_range_is_refused_without_overflow() {
    let mut host = TestHost::without_dates(1);
    for token in ["9007199254740992", "18446744073709551615", "99999999999999999999999999999999999999"] {
        let mut stored = held_row(1_000);
        stored.set(attr::TOKEN, Value::N(Number::parse(token).unwrap()));
        assert!(matches!(stored.state(), Err(RowError::Malformed { attribute: attr::TOKEN, .. })));
        let mut free = stored.clone();
        free.set(attr::EXPIRES_ON, 0.into());
        let op = host.op(0, &mut waiter(20));
        assert_eq!(apply(Some(&free), &op), Verdict::Conflict(Some(free)));
    }
    let mut revoke = Revoke::new(&name(), Target::Token(FencingToken::new(u64::MAX)), false, &now(0));
    let op = host.op(0, &mut revoke);
    assert_eq!(apply(Some(&held_row(1_000)), &op), Verdict::Conflict(Some(held_row(1_000))));
}

/// A partition key with the name of another attribute would be overwritten by each operation.
#[test]
fn no_written_attribute_is_accepted_as_partition_key() {
    let stored = held_row(1_000);
    let mut revoke = Revoke::new(&name(), Target::Token(FencingToken::new(7)), false, &now(0));
    let op = TestHost::without_dates(1).op(0, &mut revoke);
    let Verdict::Applied(revoked) = apply(Some(&stored), &op) else { panic!("not revoked") };
    let written = TestHost::new(1).op(0, &mut waiter(20));
    let Verdict::Applied(acquired) = apply(None, &written) else { panic!("not acquired") };
    for (attribute, _) in [&stored, &revoked, &acquired].into_iter().flat_map(Row::attributes) {
        assert!(check_partition_key(attribute).is_err(), "{attribute}");
    }
    check_partition_key(attr::NAME).expect("control: the default");
}

/// A row with our own lease ID and absurd numbers, which only a hostile or broken writer leaves.
#[test]
fn extreme_numbers_in_own_row_do_not_overflow() {
    for (expires_on, renewal_seq) in [(u64::MAX, 0), (u64::MAX / 995 + 1, 7), (EPOCH_MS + 9_000, u64::MAX)] {
        let mut host = TestHost::new(1);
        let mut acquire = waiter(20);
        let op = host.op(0, &mut acquire);
        let Verdict::Applied(mut stored) = apply(None, &op) else { panic!("no row") };
        stored.set(attr::EXPIRES_ON, expires_on.into());
        stored.set(attr::RENEWAL_SEQ, renewal_seq.into());
        let conflict = Outcome::Conflict(Some(stored.clone()));
        host.respond(10, &mut acquire, 0, &conflict, Some(date(0)));
        let mut held = host.acquired(10, &mut acquire);
        held.request_renewal();
        let op = host.renewal_now(20, &mut held);
        stored.set(attr::GUID, op.version.as_str().into());
        host.renewed(30, &mut held, 20, &Outcome::Conflict(Some(stored)), Some(date(0)));
        assert!(held.time_left(host.at(30)) <= Duration::from_secs(20));
    }
}

/// Track record: the error of a row contained an attribute of another program in full, up to 400 KB.
#[test]
fn error_of_foreign_row_is_short() {
    let long = "x".repeat(100_000);
    for (attribute, value) in [
        (attr::V, Value::S(long.clone())),
        (attr::KIND, Value::S(long.clone())),
        (attr::KIND, Value::Other(format!("{{\"B\":\"{long}\"}}"))),
        (attr::KIND, "\u{202e}\u{ad}".repeat(50_000).as_str().into()),
    ] {
        let mut stored = held_row(1_000);
        stored.set(attribute, value);
        let message = stored.state().expect_err("a foreign row").to_string();
        let length = message.len();
        assert!(length < 800 && message.contains('…'), "{length} bytes");
    }
    let mut stored = held_row(1_000);
    stored.set(attr::KIND, "sundial".into());
    let message = stored.state().expect_err("a foreign row").to_string();
    assert!(message.contains("`kind` \"sundial\","), "control: {message}");
}

/// No greater token can follow. A free row with it was requested again and again, and a held one was taken over, after
/// which no client could read it.
#[test]
fn row_with_largest_token_is_refused_at_once() {
    for (lease_ms, received_ms) in [(0, 0), (1_000, 30_000)] {
        let mut stored = held_row(lease_ms);
        stored.set(attr::TOKEN, FencingToken::MAX.get().into());
        if lease_ms == 0 {
            stored.set(attr::EXPIRES_ON, 0.into());
        }
        let (mut host, mut machine) = (TestHost::without_dates(1), waiter(20));
        let op = host.op(0, &mut machine);
        let conflict = write(&mut Some(stored), &op);
        assert!(matches!(conflict, Outcome::Conflict(_)), "{op:?}");
        host.respond(received_ms, &mut machine, 0, &conflict, None);
        let step = host.next(received_ms, &mut machine);
        let Step::Done(AcquireEnd::RowError(error)) = step else { panic!("{step:?}") };
        assert!(matches!(error, RowError::Malformed { attribute: attr::TOKEN, .. }), "{error:?}");
    }
}

/// A name may have had a row of another kind until a moment ago, which an eventually consistent read still returns.
#[test]
fn stale_row_of_another_kind_does_not_end_a_wait() {
    for kind in [Kind::Once, Kind::Semaphore] {
        let mut stale = held_row(1_000);
        stale.set(attr::KIND, kind.to_string().as_str().into());
        for is_stale in [true, false] {
            let (mut host, mut machine) = (TestHost::without_dates(1), waiter(20));
            host.write(&mut Some(held_row(20_000)), &mut machine, 0, 10, None);
            let mut ms = 10;
            let mut strong = Vec::new();
            let end = loop {
                match host.next(ms, &mut machine) {
                    Step::Pause(length) => ms += pause_ms(length),
                    Step::Read { strong: is_strong } if strong.len() < 3 => {
                        strong.push(is_strong);
                        let current = held_row(20_000);
                        let row = if is_strong && is_stale { &current } else { &stale };
                        host.handle(ms, &mut machine, Response::row(Some(row)));
                    }
                    step => break step,
                }
            };
            // The third read follows the consistent one, which has returned a usable row.
            let expected: &[bool] = if is_stale { &[false, true, false] } else { &[false, true] };
            assert_eq!(strong, expected, "{kind}: {end:?}");
            assert_eq!(matches!(end, Step::Done(AcquireEnd::RowError(_))), !is_stale, "{kind}: {end:?}");
        }
    }
}

/// Otherwise it would be taken over, after which every client would refuse it.
#[test]
fn npm_row_with_a_kind_is_refused() {
    let order = row(&[(attr::GUID, "g".into()), (attr::KIND, "order".into()), (attr::EXPIRES_ON, 1.into())]);
    assert!(matches!(order.state(), Err(RowError::UnknownKind { .. })));
}

/// A row of an unreleased version has the attribute names of that version.
#[test]
fn row_of_unreleased_version_is_refused() {
    let mut stored = held_row(1_000);
    stored.remove(attr::LEASE_ID);
    stored.set("reign", "r".into());
    let error = stored.state().unwrap_err();
    assert_eq!(error, RowError::UnreleasedFormat);
    let message = error.to_string();
    assert!(message.contains("unreleased version of dynamo-lock") && !message.contains('\n'), "{message}");
    // A row of the present format may contain an attribute of that name.
    stored.set(attr::LEASE_ID, "r".into());
    assert!(stored.state().is_ok());
}

#[test]
fn numbers_are_compared_exactly() {
    let compare = |text: &str, to| Number::parse(text).unwrap().compare(to);
    assert_eq!(compare("5.00000000000000000001", 5), Ordering::Greater);
    assert_eq!(compare("-0.5", 0), Ordering::Less);
    assert_eq!(compare("5.000", 5), Ordering::Equal);
    assert_eq!(compare("9007199254740993", 9_007_199_254_740_992), Ordering::Greater);
    assert_eq!(compare("18446744073709551616", u64::MAX), Ordering::Greater);
}
