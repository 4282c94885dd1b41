//! Fencing tokens, and rows that other programs or other versions wrote.

use std::time::Duration;

use dynamo_lock::store::{Row, Value};
use dynamo_lock::{AcquireError, FencingToken, Guard, RowError};
use test_support::{World, acquire, ms, row, secs};
use tokio::time::sleep;

use crate::validation::check_message;

#[tokio::test(start_paused = true)]
async fn token_rises_across_releases() {
    let lock = World::new().host().lock();
    let mut last = 0;
    for _ in 0..5 {
        let guard = lock.acquire().await.unwrap();
        assert!(guard.token().get() > last);
        last = guard.token().get();
        guard.release().await.unwrap();
    }
}

/// Lesson 7.
#[tokio::test(start_paused = true)]
async fn token_rises_across_release_deletion_and_npm_client() {
    for world in [World::new(), World::without_dates()] {
        let client = world.host().client();
        let mut last = 0;
        let mut check_rise = |guard: &Guard, when: &str| {
            assert!(guard.token().get() > last, "{when}: {} after {last}", guard.token());
            last = guard.token().get();
        };
        let guard = acquire(&client).await;
        check_rise(&guard, "at first");
        guard.release().await.unwrap();
        for _ in 0..3 {
            let guard = acquire(&client).await;
            check_rise(&guard, "after a release");
            guard.release().await.unwrap();
        }
        // DynamoDB's TTL deletes the idle row, a week later at the earliest.
        sleep(secs(8 * 24 * 3600)).await;
        world.set_row("a", None);
        let guard = acquire(&client).await;
        check_rise(&guard, "after the row was deleted");
        guard.release().await.unwrap();
        // npm dynamo-lock replaces the whole item. Its lock expires at once.
        let expired = world.epoch_ms();
        world.set_row("a", Some(row(&[("guid", "npm".into()), ("expiresOn", expired.into())])));
        let guard = acquire(&client).await;
        check_rise(&guard, "after npm dynamo-lock");
    }
}

/// Lesson 23.
#[tokio::test(start_paused = true)]
async fn ttl_is_in_seconds_and_over_a_week_ahead() {
    for lease in [secs(1), secs(3600)] {
        let world = World::new();
        let guard = acquire(&world.host().builder().lease(lease).build().unwrap()).await;
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

/// Lesson 29.
#[tokio::test(start_paused = true)]
async fn unknown_attributes_survive_every_write() {
    let world = World::new();
    let client = world.host().client();
    acquire(&client).await.release().await.unwrap();
    let unknown = [("team", "blue".into()), ("cost", Value::from(7)), ("tags", Value::Other(r#"{"SS":["x"]}"#.into()))];
    let mut row = world.row("a").await.unwrap();
    for (name, value) in &unknown {
        row.set(name, value.clone());
    }
    world.set_row("a", Some(row));
    let check = async |when: &str| {
        let row = world.row("a").await.unwrap();
        for (name, value) in &unknown {
            assert_eq!(row.get(name), Some(value), "{when}");
        }
    };
    let guard = acquire(&client).await;
    check("acquired").await;
    guard.renew().await.unwrap();
    check("renewed").await;
    guard.release().await.unwrap();
    check("released").await;
    world.crash_holder_after(Duration::ZERO).await;
    let guard = acquire(&client).await;
    check("taken over").await;
    client.lock("a").unwrap().revoke(guard.token()).await.unwrap();
    check("revoked").await;
}

/// Returns the error of an acquisition that must fail without waiting.
async fn acquire_error(world: &World, waits: bool) -> AcquireError {
    let lock = world.host().lock();
    let attempt = async {
        match waits {
            true => lock.acquire().await.map(drop),
            false => lock.try_acquire().await.map(drop),
        }
    };
    tokio::time::timeout(ms(100), attempt).await.expect("it does not wait").unwrap_err()
}

/// Lesson 29.
#[tokio::test(start_paused = true)]
async fn row_of_newer_format_is_refused_and_unchanged() {
    let world = World::new();
    let lock = world.host().lock();
    lock.acquire().await.unwrap().release().await.unwrap();
    let free = world.row("a").await.unwrap();
    for (attribute, value) in [("v", Value::from(2)), ("v", "1".into()), ("kind", "sundial".into())] {
        let mut newer = free.clone();
        newer.set(attribute, value);
        world.set_row("a", Some(newer.clone()));
        let error = acquire_error(&world, false).await;
        let AcquireError::Row { name, error: cause } = &error else { panic!("{error}") };
        assert_eq!(name.as_str(), "a");
        assert!(matches!(cause, RowError::UnknownVersion { .. } | RowError::UnknownKind { .. }), "{cause}");
        assert!(error.to_string().contains("upgrade"), "{error}");
        lock.inspect().await.unwrap_err();
        lock.force_revoke(FencingToken::new(newer.whole("token").unwrap())).await.unwrap_err();
        assert_eq!(world.row("a").await, Some(newer));
    }
}

/// Lesson 34. The last row looks like a free lock in everything but the record version.
#[tokio::test(start_paused = true)]
async fn row_that_is_no_lock_is_refused_and_unchanged() {
    let world = World::new();
    let rows = [
        row(&[("email", "a@example.com".into())]),
        row(&[]),
        row(&[("v", 1.into()), ("expiresOn", 0.into()), ("token", 7.into()), ("leaseId", "x".into())]),
    ];
    for stored in rows {
        world.set_row("a", Some(stored.clone()));
        let error = acquire_error(&world, false).await;
        assert!(matches!(&error, AcquireError::Row { error: RowError::NotALock, .. }), "{error}");
        assert!(error.to_string().contains("\"a\""), "{error}");
        assert!(matches!(acquire_error(&world, true).await, AcquireError::Row { .. }));
        world.host().lock().force_revoke(FencingToken::new(7)).await.unwrap_err();
        assert_eq!(world.row("a").await, Some(stored));
    }
}

/// Returns a free native row with these attributes changed.
fn free_but(changes: &[(&str, Value)]) -> Row {
    let mut row = row(&[
        ("v", 1.into()),
        ("guid", "g".into()),
        ("leaseId", "r".into()),
        ("token", 7.into()),
        ("expiresOn", 0.into()),
        ("ttl", 1.into()),
    ]);
    changes.iter().for_each(|(name, value)| row.set(name, value.clone()));
    row
}

#[tokio::test(start_paused = true)]
async fn malformed_row_is_refused_by_every_operation() {
    let cases = [
        (free_but(&[("token", "seven".into())]), vec!["`token`", "whole number", "correct it"]),
        (row(&[("v", 1.into()), ("guid", "g".into()), ("reign", "r".into())]), vec!["unreleased", "delete the row"]),
        (free_but(&[("v", 2.into())]), vec!["`v` = 2", "upgrade"]),
        (free_but(&[("kind", "sundial".into())]), vec!["`kind` \"sundial\"", "upgrade"]),
        (free_but(&[("kind", "semaphore".into())]), vec!["that of a semaphore", "but a plain lock", "`reset`"]),
        (row(&[("customer", "Smith".into())]), vec!["no `guid`", "another lock name"]),
        (row(&[("guid", "g".into()), ("kind", "order".into())]), vec!["`kind` \"order\""]),
        (free_but(&[("expiresOn", 9.into()), ("leaseMs", "long".into())]), vec!["`leaseMs`", "30 days"]),
        (free_but(&[("expiresOn", 9.into()), ("leaseMs", 2_592_000_001.into())]), vec!["`leaseMs`", "30 days"]),
        (free_but(&[("token", 9_007_199_254_740_992.into())]), vec!["`token`", "2^53"]),
    ];
    for (stored, words) in cases {
        let world = World::new();
        world.set_row("a", Some(stored.clone()));
        let lock = world.host().lock();
        check_message(&lock.acquire().await.unwrap_err(), &words);
        check_message(&lock.try_acquire().await.unwrap_err(), &words);
        check_message(&lock.hold(secs(3600)).await.unwrap_err(), &words);
        // An inspection shows rows of all kinds, so it finds more in the row of a semaphore.
        let is_shared = stored.text("kind") == Some("semaphore");
        check_message(&lock.inspect().await.unwrap_err(), if is_shared { &["`forcedLeaseId`"] } else { &words });
        // No lease has this token, so the message may name that instead.
        check_message(&lock.revoke(FencingToken::new(8)).await.unwrap_err(), &[]);
        check_message(&lock.force_revoke(FencingToken::new(8)).await.unwrap_err(), &[]);
        assert_eq!(world.row("a").await, Some(stored));
    }
}
