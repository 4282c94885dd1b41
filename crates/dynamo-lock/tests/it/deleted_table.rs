//! Holders of locks whose table or database is deleted, and perhaps created again.

use dynamo_lock::store::StoreErrorCause;
use dynamo_lock::{Client, DynamoDb, Guard, HoldError, LossReason, Lost, ReleaseError, Renewal, Sqlite, TableOptions};
use test_support::{LinkFault, LocalDynamoDb, World, acquire, secs};
use tokio::time::sleep;

/// Returns a server with an empty table, and a function that returns a new client of this store.
async fn server() -> (DynamoDb, impl Fn() -> Client) {
    let (server, world) = (LocalDynamoDb::new(), World::new());
    let clock = world.host().clock;
    server.set_clock(move || world.epoch_ms() / 1000);
    let store = server.store("Lock").await;
    let client = {
        let store = store.clone();
        move || Client::builder(store.clone()).lease(secs(20)).clock(clock.clone()).build().expect("valid")
    };
    (store, client)
}

fn assert_row_gone(lost: &Lost, cause: StoreErrorCause) {
    assert_eq!(lost.reason, LossReason::RowGone, "{lost}");
    assert_eq!(lost.last_error.as_ref().and_then(|error| error.cause()), Some(cause), "{lost}");
}

/// The guard was valid until its deadline, up to 20 s, while others could acquire the lock in a new table.
#[tokio::test(start_paused = true)]
async fn guard_is_lost_after_heartbeat_without_its_table() {
    let (store, client) = server().await;
    let guard = acquire(&client()).await;
    store.delete_table().await.expect("deleted");
    sleep(secs(6)).await;
    assert_row_gone(&guard.loss().expect("the heartbeat is 5 s"), StoreErrorCause::MissingTable);
    store.create_table(TableOptions::default()).await.expect("created");
    let next = acquire(&client()).await;
    assert!(next.is_valid());
    let released = guard.release().await;
    assert!(matches!(&released, Err(ReleaseError::Lost(lost)) if lost.reason == LossReason::RowGone), "{released:?}");
    assert!(next.is_valid());
}

#[tokio::test(start_paused = true)]
async fn guard_is_lost_after_heartbeat_in_a_new_table() {
    let (store, client) = server().await;
    let guard = acquire(&client()).await;
    store.delete_table().await.expect("deleted");
    store.create_table(TableOptions::default()).await.expect("created");
    let next = acquire(&client()).await;
    sleep(secs(6)).await;
    assert!(!guard.is_valid());
    assert!(next.is_valid());
}

async fn sqlite_guard(path: &std::path::Path) -> Guard {
    let client = Client::builder(Sqlite::open(path).expect("opens")).build().expect("valid");
    let lock = client.lock("a").expect("valid");
    lock.options().renewal(Renewal::Manual).acquire().await.expect("acquires")
}

#[tokio::test]
async fn guard_is_lost_when_its_database_file_is_removed() {
    for is_replaced in [false, true] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("locks.db");
        let guard = sqlite_guard(&path).await;
        for file in std::fs::read_dir(directory.path()).expect("reads") {
            std::fs::remove_file(file.expect("a file").path()).expect("removes");
        }
        let next = match is_replaced {
            true => Some(sqlite_guard(&path).await),
            false => None,
        };
        let lost = guard.renew().await.expect_err("the row is gone");
        assert_row_gone(&lost, StoreErrorCause::DatabaseReplaced);
        assert!(!guard.is_valid());
        assert!(next.is_none_or(|next| next.is_valid()));
    }
}

/// A release that had no answer before may have been applied before the table was deleted.
#[tokio::test(start_paused = true)]
async fn release_without_table_reports_what_is_known() {
    for is_ambiguous in [false, true] {
        let host = World::new().host();
        let guard = host.acquire().await;
        let mut first = is_ambiguous;
        host.link.choose_faults(move |_| match std::mem::take(&mut first) {
            true => LinkFault::LoseRequest,
            false => LinkFault::NoTable,
        });
        let error = guard.release().await.unwrap_err();
        match &error {
            ReleaseError::Lost(lost) if !is_ambiguous => assert_eq!(lost.reason, LossReason::RowGone),
            ReleaseError::Unknown if is_ambiguous => {}
            _ => panic!("{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hold_extended_without_table_is_lost() {
    let world = World::new();
    let host = world.host();
    host.link.set_all_of("renew", LinkFault::NoTable);
    let error = host.lock().hold(secs(60)).await.unwrap_err();
    let HoldError::Lost(lost) = error else { panic!("{error}") };
    assert_row_gone(&lost, StoreErrorCause::MissingTable);
    assert!(world.time() < secs(1), "{:?}", world.time());
}
