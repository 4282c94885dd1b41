//! Read/write locks, and conversion between kinds.

use dynamo_lock::{AcquireError, ConfigError, ConvertError, Inspection, LossReason, Role, TryAcquire, UpdateError};
use test_support::{LinkFault, World, ms, secs};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn readers_hold_together_and_a_writer_alone() {
    let client = World::new().host().client();
    let lock = client.rw_lock("l").unwrap();
    let (one, two) = (lock.read().await.unwrap(), lock.read().await.unwrap());
    assert_eq!(one.token(), two.token());
    assert!(matches!(lock.try_write().await.unwrap(), TryAcquire::Held(_)));
    one.release().await.unwrap();
    two.release().await.unwrap();
    let TryAcquire::Acquired(writer) = lock.try_write().await.unwrap() else { panic!("free") };
    assert!(matches!(lock.try_read().await.unwrap(), TryAcquire::Held(_)));
    assert!(matches!(lock.try_write().await.unwrap(), TryAcquire::Held(_)));
    let token = writer.token();
    writer.release().await.unwrap();
    let reader = lock.read().await.unwrap();
    assert!(reader.token() > token);
}

#[tokio::test(start_paused = true)]
async fn uncontended_reader_and_writer_cost_two_writes() {
    let host = World::new().host();
    let lock = host.client().rw_lock("l").unwrap();
    lock.write().await.unwrap().release().await.unwrap();
    assert_eq!(host.link.kinds(), ["take exclusive", "create exclusive", "leave exclusive"], "the first use");
    host.link.clear_calls();
    lock.read().await.unwrap().release().await.unwrap();
    lock.write().await.unwrap().release().await.unwrap();
    assert_eq!(host.link.kinds(), ["join", "leave shared", "take exclusive", "leave exclusive"]);
}

/// Readers that come without end keep a writer waiting for no longer than the readers that were there before it.
#[tokio::test(start_paused = true)]
async fn waiting_writer_bars_further_readers() {
    let world = World::new();
    let mut readers = Vec::new();
    for number in 0..3 {
        let lock = world.host().client().rw_lock("l").unwrap();
        readers.push(tokio::spawn(async move {
            sleep(ms(300 * number)).await;
            loop {
                let guard = lock.read().await.unwrap();
                sleep(ms(1000)).await;
                guard.release().await.unwrap();
            }
        }));
    }
    sleep(secs(3)).await;
    let lock = world.host().client().rw_lock("l").unwrap();
    for _ in 0..5 {
        let writer = lock.write_within(secs(10)).await.expect("readers are barred");
        assert!(writer.is_valid());
        writer.release().await.unwrap();
    }
    readers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn dropped_writer_withdraws_its_announcement() {
    let host = World::new().host();
    let client = host.client();
    let lock = client.rw_lock("l").unwrap();
    let reader = lock.read().await.unwrap();
    assert!(matches!(lock.write_within(secs(2)).await, Err(AcquireError::TimedOut { holder: Some(_), .. })));
    client.wait_for_background().await;
    assert_eq!(host.link.count("withdraw"), 1);
    assert!(matches!(lock.try_read().await.unwrap(), TryAcquire::Acquired(_)));
    assert!(reader.is_valid());
}

#[tokio::test(start_paused = true)]
async fn writer_evicts_a_crashed_reader_while_it_waits() {
    let world = World::new();
    let (crashed, other) = (world.host(), world.host());
    let reader = crashed.client().rw_lock("l").unwrap().read().await.unwrap();
    crashed.link.set_all(LinkFault::Hang);
    let writer = other.client().rw_lock("l").unwrap().write_within(secs(60)).await.expect("the lease expires");
    assert!(!reader.is_valid() && writer.is_valid());
    let count = |kind| other.link.count(kind);
    assert_eq!((count("announce"), count("evict shared"), count("promote")), (1, 1, 1), "{:?}", other.link.kinds());
    assert!(count("renew announcement") >= 2);
}

#[tokio::test(start_paused = true)]
async fn announcement_of_a_crashed_writer_expires() {
    let world = World::new();
    let (crashed, other) = (world.host(), world.host());
    let lock = other.client().rw_lock("l").unwrap();
    let reader = lock.read().await.unwrap();
    let waiting = crashed.client().rw_lock("l").unwrap();
    let writer = tokio::spawn(async move { waiting.write().await.map(drop) });
    sleep(secs(1)).await;
    crashed.link.set_all(LinkFault::Hang);
    let second = lock.read_within(secs(60)).await.expect("the announcement expires");
    assert!(reader.is_valid() && second.is_valid());
    assert_eq!(other.link.count("evict announcement"), 1);
    writer.abort();
}

/// A promotion without an answer is recognised by its number.
#[tokio::test(start_paused = true)]
async fn unanswered_promotion_is_recognised() {
    let world = World::new();
    let (readers, writers) = (world.host(), world.host());
    let reader = readers.client().rw_lock("l").unwrap().read().await.unwrap();
    writers.link.set_next("announce", [LinkFault::LoseAnswer]);
    writers.link.set_next("promote", [LinkFault::LoseAnswer]);
    let lock = writers.client().rw_lock("l").unwrap();
    let writer = tokio::spawn(async move { lock.write().await });
    sleep(secs(3)).await;
    let token = reader.token();
    reader.release().await.unwrap();
    let writer = writer.await.unwrap().expect("free");
    assert!(writer.token() > token);
    assert!(writer.is_valid());
    writer.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn inspection_shows_the_waiting_writer() {
    let world = World::new();
    let lock = world.host().client().rw_lock("l").unwrap();
    let reader = lock.read().await.unwrap();
    let waiting = world.host().client().rw_lock("l").unwrap();
    let writer = tokio::spawn(async move { waiting.write().await });
    sleep(secs(1)).await;
    let Inspection::Shared(state) = lock.inspect().await.unwrap() else { panic!("not shared") };
    let mut roles: Vec<_> = state.holders.iter().map(|holder| holder.role).collect();
    roles.sort();
    assert_eq!(roles, [Role::Shared, Role::Waiting]);
    // The waiting writer begins again after a revocation, so it still gets the lock.
    let waiter = state.holders.iter().find(|holder| holder.role == Role::Waiting).unwrap();
    lock.revoke(waiter.holder.lease_id.as_ref().unwrap()).await.unwrap();
    reader.release().await.unwrap();
    let writer = writer.await.unwrap().unwrap();
    lock.force_revoke(&writer.lease_id().unwrap()).await.unwrap();
    assert_eq!(writer.lost().await, LossReason::Revoked);
}

#[tokio::test(start_paused = true)]
async fn free_plain_lock_is_converted_and_reset() {
    let client = World::new().host().client();
    let (plain, lock) = (client.lock("l").unwrap(), client.rw_lock("l").unwrap());
    lock.convert().await.expect("no row");
    let guard = plain.acquire().await.unwrap();
    assert!(matches!(lock.convert().await, Err(ConvertError::Held)));
    let first = guard.token();
    guard.release().await.unwrap();
    lock.convert().await.unwrap();
    let reader = lock.read().await.unwrap();
    assert!(reader.token() > first);
    assert!(matches!(plain.reset().await, Err(ConvertError::Held)));
    let second = reader.token();
    reader.release().await.unwrap();
    plain.reset().await.unwrap();
    plain.reset().await.expect("a plain lock already");
    let guard = plain.acquire().await.unwrap();
    assert!(guard.token() > second);
}

#[tokio::test(start_paused = true)]
async fn read_write_lock_has_no_data() {
    let lock = World::new().host().client().rw_lock("l").unwrap();
    let refused = lock.read_options().data("x").acquire().await;
    assert!(matches!(refused, Err(AcquireError::Config(ConfigError::SharedData))));
    let guard = lock.write().await.unwrap();
    assert!(matches!(guard.update_data("x").await, Err(UpdateError::Shared)));
}
