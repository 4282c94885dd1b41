//! Semaphores.

use dynamo_lock::{AcquireError, Client, Inspection, LossReason, Memory, RevokeError, Role, RowError, TryPermit};
use test_support::{LinkFault, World, secs};

#[tokio::test(start_paused = true)]
async fn permit_costs_two_writes_on_a_row_that_exists() {
    let host = World::new().host();
    let semaphore = host.client().semaphore("s", 2).unwrap();
    semaphore.acquire().await.unwrap().release().await.unwrap();
    assert_eq!(host.link.kinds(), ["join", "create shared", "leave shared"], "the first use");
    host.link.clear_calls();
    semaphore.acquire().await.unwrap().release().await.unwrap();
    assert_eq!(host.link.kinds(), ["join", "leave shared"]);
}

#[tokio::test(start_paused = true)]
async fn semaphore_admits_as_many_holders_as_slots() {
    let world = World::new();
    let (first, second) = (world.host().client(), world.host().client());
    let (first, second) = (first.semaphore("s", 2).unwrap(), second.semaphore("s", 2).unwrap());
    let (one, two) = (first.acquire().await.unwrap(), second.acquire().await.unwrap());
    assert!(matches!(second.try_acquire().await.unwrap(), TryPermit::Full(holder) if holder.owner.is_some()));
    let timed_out = first.acquire_within(secs(1)).await.unwrap_err();
    assert!(matches!(timed_out, AcquireError::TimedOut { holder: Some(_), .. }), "{timed_out:?}");
    let waiter = tokio::spawn(async move { first.acquire().await });
    one.release().await.unwrap();
    let three = waiter.await.unwrap().expect("a slot is free");
    assert!(two.is_valid() && three.is_valid());
    assert_ne!(two.lease_id().unwrap(), three.lease_id().unwrap());
}

/// While a deployment changes the number, each acquisition respects its own.
#[tokio::test(start_paused = true)]
async fn each_acquisition_respects_its_own_number_of_slots() {
    let client = World::new().host().client();
    let (small, large) = (client.semaphore("s", 1).unwrap(), client.semaphore("s", 2).unwrap());
    let one = small.acquire().await.unwrap();
    assert!(matches!(small.try_acquire().await.unwrap(), TryPermit::Full(_)));
    let two = large.acquire().await.expect("the second of two");
    one.release().await.unwrap();
    assert!(matches!(small.try_acquire().await.unwrap(), TryPermit::Full(_)), "one holder is left");
    two.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn slot_of_a_crashed_holder_is_acquired_after_its_lease() {
    let world = World::new();
    let (crashed, other) = (world.host(), world.host());
    let permit = crashed.client().semaphore("s", 1).unwrap().acquire().await.unwrap();
    crashed.link.set_all(LinkFault::Hang);
    let semaphore = other.client().semaphore("s", 1).unwrap();
    let next = semaphore.acquire_within(secs(60)).await.expect("the lease expires");
    assert!(!permit.is_valid());
    assert!(next.is_valid());
    assert_eq!(other.link.count("evict shared"), 1);
}

#[tokio::test(start_paused = true)]
async fn permit_is_renewed_beside_other_holders() {
    let host = World::new().host();
    let semaphore = host.client().semaphore("s", 3).unwrap();
    let (one, two) = (semaphore.acquire().await.unwrap(), semaphore.acquire().await.unwrap());
    tokio::time::sleep(secs(120)).await;
    assert!(one.is_valid() && two.is_valid());
    assert!(host.link.count("renew shared") >= 40, "{:?}", host.link.kinds());
}

/// The row shows by the number of its entry that an unanswered renewal was applied, although others replace its version.
#[tokio::test(start_paused = true)]
async fn unanswered_join_and_renewal_are_recognised() {
    let host = World::new().host();
    let semaphore = host.client().semaphore("s", 3).unwrap();
    let one = semaphore.acquire().await.unwrap();
    host.link.set_next("join", [LinkFault::LoseAnswer]);
    let two = semaphore.acquire().await.expect("the answer was lost, not the write");
    host.link.set_next("renew shared", [LinkFault::LoseAnswer, LinkFault::LoseAnswer]);
    one.renew().await.expect("applied");
    two.renew().await.expect("applied");
    let Inspection::Shared(state) = semaphore.inspect().await.unwrap() else { panic!("not shared") };
    assert_eq!(state.holders.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn inspection_lists_all_holders() {
    let client = World::new().host().client();
    let semaphore = client.semaphore("s", 3).unwrap();
    let (one, two) = (semaphore.acquire().await.unwrap(), semaphore.acquire().await.unwrap());
    let Inspection::Shared(state) = client.lock("s").unwrap().inspect().await.unwrap() else { panic!("not shared") };
    assert!(state.is_held());
    assert_eq!((state.kind.to_string(), state.slots), ("semaphore".to_owned(), Some(3)));
    let mut ids: Vec<_> = state.holders.iter().map(|holder| holder.holder.lease_id.clone().unwrap()).collect();
    let mut expected = vec![one.lease_id().unwrap(), two.lease_id().unwrap()];
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    assert!(state.holders.iter().all(|holder| holder.role == Role::Shared && holder.may_end.is_some()));
    one.release().await.unwrap();
    two.release().await.unwrap();
    let Inspection::Shared(state) = semaphore.inspect().await.unwrap() else { panic!("not shared") };
    assert!(!state.is_held() && state.holders.is_empty());
}

#[tokio::test(start_paused = true)]
async fn revocation_ends_one_holder_of_several() {
    let client = World::new().host().client();
    let semaphore = client.semaphore("s", 2).unwrap();
    let (one, two) = (semaphore.acquire().await.unwrap(), semaphore.acquire().await.unwrap());
    semaphore.revoke(&one.lease_id().unwrap()).await.unwrap();
    semaphore.revoke(&one.lease_id().unwrap()).await.expect("again");
    assert_eq!(one.lost().await, LossReason::Revoked);
    assert!(two.is_valid());
    drop(one);
    let three = semaphore.acquire_within(secs(5)).await.expect("the holder has left");
    semaphore.force_revoke(&three.lease_id().unwrap()).await.unwrap();
    let four = semaphore.acquire_within(secs(1)).await.expect("free at once");
    assert_eq!(three.lost().await, LossReason::Revoked);
    assert!(matches!(semaphore.revoke(&three.lease_id().unwrap()).await, Err(RevokeError::HolderEnded { .. })));
    assert!(two.is_valid() && four.is_valid());
}

#[tokio::test(start_paused = true)]
async fn other_kinds_of_rows_are_refused_by_name() {
    let client = World::new().host().client();
    client.lock("lock").unwrap().acquire().await.unwrap().release().await.unwrap();
    client.semaphore("semaphore", 1).unwrap().acquire().await.unwrap().release().await.unwrap();
    let is_other_kind =
        |error: AcquireError| matches!(error, AcquireError::Row { error: RowError::OtherKind { .. }, .. });
    assert!(is_other_kind(client.semaphore("lock", 1).unwrap().acquire().await.unwrap_err()));
    assert!(is_other_kind(client.rw_lock("semaphore").unwrap().read().await.unwrap_err()));
    assert!(is_other_kind(client.lock("semaphore").unwrap().acquire().await.unwrap_err()));
}

#[test]
fn number_of_slots_is_checked() {
    let client = Client::builder(Memory::new()).build().unwrap();
    assert!(client.semaphore("s", 0).is_err());
    assert!(client.semaphore("s", 65).is_err());
    assert!(client.semaphore("", 1).is_err());
    assert_eq!(client.semaphore("s", 64).unwrap().slots(), 64);
}

/// Twenty waiters for three slots, each held for a second: they look at most 6 times per second each, and lose at most 2
/// writes per freed slot to each other.
#[tokio::test(start_paused = true)]
async fn waiters_send_few_reads_and_few_lost_writes() {
    let world = World::new();
    let hosts: Vec<_> = (0..20).map(|_| world.host()).collect();
    let workers: Vec<_> = hosts.iter().map(|host| host.client().semaphore("s", 3).unwrap()).collect();
    let workers = workers.into_iter().map(|semaphore| {
        tokio::spawn(async move {
            loop {
                let permit = semaphore.acquire().await.unwrap();
                tokio::time::sleep(secs(1)).await;
                permit.release().await.unwrap();
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    tokio::time::sleep(secs(20)).await;
    hosts.iter().for_each(|host| host.link.clear_calls());
    tokio::time::sleep(secs(60)).await;
    workers.iter().for_each(tokio::task::JoinHandle::abort);
    let count = |kind: &str| hosts.iter().map(|host| host.link.count(kind)).sum::<usize>() as f64;
    let (reads, joins, leaves) = (count("read"), count("join"), count("leave shared"));
    let (rate, lost) = (reads / (17.0 * 60.0), (joins - leaves) / leaves);
    println!("{rate:.2} reads per waiter-second, {lost:.2} lost writes per freed slot, {leaves} slots freed");
    assert!(leaves > 100.0, "{leaves} slots were freed");
    assert!(rate <= 6.0, "{rate} reads per waiter-second");
    assert!(lost <= 2.0, "{lost} lost writes per freed slot");
}
