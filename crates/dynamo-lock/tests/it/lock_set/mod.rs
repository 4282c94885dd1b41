//! Several locks that are acquired together.

mod acquire;
mod give_back;
mod loss;

use std::time::Duration;

use dynamo_lock::store::Op;
use dynamo_lock::{AcquireAllError, Client, FencingToken, GuardSet, TryAcquire};
use test_support::{Call, Host, World};

/// Waits until the client holds all locks.
async fn acquire_all(client: &Client, names: &[&str]) -> GuardSet {
    client.lock_all(names.iter().copied()).unwrap().acquire().await.unwrap()
}

/// Waits for all locks, at most for `limit`.
async fn acquire_within(client: &Client, names: &[&str], limit: Duration) -> Result<GuardSet, AcquireAllError> {
    client.lock_all(names.iter().copied()).unwrap().acquire_within(limit).await
}

/// Returns the names of these locks that a new client cannot acquire at once.
async fn held(world: &World, names: &[&'static str]) -> Vec<&'static str> {
    let (client, mut held) = (world.host().client(), Vec::new());
    for name in names {
        match client.lock(*name).unwrap().try_acquire().await.unwrap() {
            TryAcquire::Acquired(guard) => guard.release().await.unwrap(),
            TryAcquire::Held(_) => held.push(*name),
        }
    }
    held
}

/// Returns the present token of a lock.
async fn token_of(world: &World, name: &str) -> FencingToken {
    FencingToken::new(world.row(name).await.and_then(|row| row.whole("token")).unwrap())
}

/// Returns the writes of a host so far, as kind and name.
fn writes(host: &Host) -> Vec<String> {
    let write = |call: Call| match &call {
        Call::Write(Op { name, .. }) => Some(format!("{} {name}", call.kind())),
        _ => None,
    };
    host.link.calls().into_iter().filter_map(|(_, call)| write(call)).collect()
}
