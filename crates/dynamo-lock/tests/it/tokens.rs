//! Lessons from tokens that restarted, and from rows of other people. `docs/lessons.md` names each.

use std::time::Duration;

use crate::machine::{Desk, at, write};
use dynamo_lock::store::{Row, Value};
use dynamo_lock::{AcquireError, Client, Guard, RowError, StoreErrorKind};
use dynamo_lock_protocol::{HeldStep, Release, Step, holds};
use test_support::hosts::{Fault, World};
use tokio::time::sleep;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn acquired(client: &Client) -> Guard {
    client.lock("a").unwrap().acquire().await.unwrap()
}

/// An attempt that must not try again and again.
async fn refused(client: &Client, wait: bool) -> AcquireError {
    let lock = client.lock("a").unwrap();
    let attempt = async {
        match wait {
            true => lock.acquire().await.map(|_| ()),
            false => lock.try_acquire().await.map(|_| ()),
        }
    };
    tokio::time::timeout(ms(100), attempt).await.expect("it says so at once").unwrap_err()
}

fn row(attributes: &[(&str, Value)]) -> Row {
    Row::new(attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())))
}

#[tokio::test(start_paused = true)]
async fn lesson_07_tokens_rise_across_release_deletion_and_a_legacy_client() {
    for world in [World::new(), World::without_dates()] {
        let client = world.host().client();
        let mut last = 0;
        let mut rises = |guard: &Guard, when: &str| {
            assert!(guard.token().get() > last, "{when}: {} after {last}", guard.token());
            last = guard.token().get();
        };
        let guard = acquired(&client).await;
        rises(&guard, "at first");
        guard.release().await.unwrap();
        for _ in 0..3 {
            let guard = acquired(&client).await;
            rises(&guard, "after a release");
            guard.release().await.unwrap();
        }
        // DynamoDB's TTL deletes the idle row, a week later at the earliest.
        sleep(Duration::from_secs(8 * 24 * 3600)).await;
        world.plant("a", None);
        let guard = acquired(&client).await;
        rises(&guard, "after the row was deleted");
        guard.release().await.unwrap();
        // The original puts a whole new item over the free row, and its lock is over at once.
        let over = world.epoch_ms();
        world.plant("a", Some(row(&[("guid", "legacy".into()), ("expiresOn", over.into())])));
        let guard = acquired(&client).await;
        rises(&guard, "after a legacy client");
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_23_purge_on_is_in_seconds_and_a_week_ahead_while_held() {
    for lease in [Duration::from_secs(1), Duration::from_secs(3600)] {
        let world = World::new();
        let guard = acquired(&world.host().builder().lease(lease).build().unwrap()).await;
        for _ in 0..6 {
            let (row, now) = (world.row("a").await.unwrap(), world.epoch_ms() / 1000);
            let ahead = row.whole("ttl").unwrap().checked_sub(now).expect("ahead of now");
            let (week, fortnight) = (7 * 24 * 3600, 14 * 24 * 3600);
            assert!(ahead >= week + lease.as_secs() && ahead <= fortnight, "{ahead} s ahead");
            sleep(lease / 3).await;
        }
        guard.release().await.unwrap();
        assert!(world.row("a").await.unwrap().whole("ttl").unwrap() > world.epoch_ms() / 1000 + 7 * 24 * 3600);
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_26_a_missing_table_is_one_clear_line_at_once() {
    let world = World::new();
    let host = world.host();
    host.link.all(Fault::Refuse(StoreErrorKind::Misconfigured));
    let error = refused(&host.client(), true).await;
    assert!(matches!(&error, AcquireError::Store(e) if e.kind() == StoreErrorKind::Misconfigured), "{error:?}");
    assert!(!error.is_retryable());
    assert_eq!(error.to_string().lines().count(), 1);
    assert_eq!(host.link.kinds(), ["acquire"], "asking again would not help");
}

#[tokio::test(start_paused = true)]
async fn lesson_29_attributes_of_others_live_through_every_write() {
    let world = World::new();
    let client = world.host().client();
    acquired(&client).await.release().await.unwrap();
    let mut row = world.row("a").await.unwrap();
    let foreign = [("team", "blue".into()), ("cost", Value::from(7)), ("tags", Value::Other(r#"{"SS":["x"]}"#.into()))];
    for (name, value) in &foreign {
        row.set(name, value.clone());
    }
    world.plant("a", Some(row));
    let there = async |when: &str| {
        let row = world.row("a").await.unwrap();
        for (name, value) in &foreign {
            assert_eq!(row.get(name), Some(value), "{when}");
        }
    };
    let guard = acquired(&client).await;
    there("acquired").await;
    guard.renew().await.unwrap();
    there("renewed").await;
    guard.release().await.unwrap();
    there("released").await;
    let host = world.host();
    let guard = acquired(&host.client()).await;
    host.link.all(Fault::Hang);
    std::mem::forget(guard);
    let guard = acquired(&client).await;
    there("taken over").await;
    client.lock("a").unwrap().revoke(guard.token()).await.unwrap();
    there("revokedToken").await;
}

#[tokio::test(start_paused = true)]
async fn lesson_29_rows_of_the_next_format_are_refused_by_name_and_not_touched() {
    let world = World::new();
    let host = world.host();
    acquired(&host.client()).await.release().await.unwrap();
    let free = world.row("a").await.unwrap();
    for (attribute, value) in [("v", Value::from(2)), ("v", "1".into()), ("kind", "semaphore".into())] {
        let mut next = free.clone();
        next.set(attribute, value);
        world.plant("a", Some(next.clone()));
        let lock = host.client().lock("a").unwrap();
        let error = refused(&host.client(), false).await;
        let AcquireError::Row { name, error: cause } = &error else { panic!("{error}") };
        assert_eq!(name.as_str(), "a");
        assert!(matches!(cause, RowError::UnknownVersion { .. } | RowError::UnknownKind { .. }), "{cause}");
        assert!(error.to_string().contains("upgrade"), "{error}");
        lock.inspect().await.unwrap_err();
        lock.force_revoke(dynamo_lock::FencingToken::new(next.whole("token").unwrap())).await.unwrap_err();
        assert_eq!(world.row("a").await, Some(next));
    }
}

#[tokio::test(start_paused = true)]
async fn lesson_34_a_row_of_the_users_own_is_refused_by_name_and_unchanged() {
    let world = World::new();
    let host = world.host();
    let theirs = [
        row(&[("email", "a@example.com".into())]),
        row(&[]),
        // Somebody's data that looks like a free lock of ours in all but the version.
        row(&[("v", 1.into()), ("expiresOn", 0.into()), ("token", 7.into()), ("leaseId", "x".into())]),
    ];
    for theirs in theirs {
        world.plant("a", Some(theirs.clone()));
        let lock = host.client().lock("a").unwrap();
        let error = refused(&host.client(), false).await;
        assert!(matches!(&error, AcquireError::Row { error: RowError::NotALock, .. }), "{error}");
        assert!(error.to_string().contains("\"a\""), "{error}");
        assert!(matches!(refused(&host.client(), true).await, AcquireError::Row { .. }));
        lock.force_revoke(dynamo_lock::FencingToken::new(7)).await.unwrap_err();
        assert_eq!(world.row("a").await, Some(theirs));
    }
}

#[test]
fn lesson_35_a_guarded_transaction_is_refused_after_our_own_release() {
    let (mut desk, mut row) = (Desk::without_dates(1), None);
    let mut held = desk.acquired(&mut row, 0, 10);
    let check = held.condition();
    assert!(holds(row.as_ref(), &check));
    let HeldStep::Write(renewal) = desk.at(2_500, |now| held.next(now)) else { panic!("a renewal is due") };
    write(&mut row, &renewal);
    assert!(holds(row.as_ref(), &check), "renewals do not disturb it");
    assert!(held.is_valid(at(2_510)));
    let mut release = desk.at(3_000, |now| Release::of(&held, now));
    let Step::Write(op) = desk.at(3_000, |now| release.next(now)) else { panic!("a release is due") };
    write(&mut row, &op);
    assert!(!holds(row.as_ref(), &check));
    // And while a successor holds it.
    Desk::without_dates(2).acquired(&mut row, 4_000, 4_010);
    assert!(!holds(row.as_ref(), &check));
    assert!(!holds(None, &check));
}

#[tokio::test(start_paused = true)]
async fn lesson_51_a_duplicate_of_an_acquire_does_not_lock_a_row_that_its_own_reign_freed() {
    let world = World::new();
    let host = world.host();
    host.link.once("acquire", Fault::Twice(ms(500)));
    let guard = acquired(&host.client()).await;
    guard.release().await.unwrap();
    sleep(ms(1_000)).await;
    assert!(world.is_free("a").await);
}
