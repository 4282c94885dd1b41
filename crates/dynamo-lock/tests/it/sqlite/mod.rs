//! The SQLite store: rows, several handles, and waiting for the write lock of another process.

mod child_process;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod hints;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod liveness;
mod open;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod process_holders;
mod processes;
mod sharing;

use child_process::{Child, acquire, lock_name, release, take_over, token};
use dynamo_lock::store::{Consistency, Number, Value, apply};
use dynamo_lock::{Client, LockName, Memory, Renewal, Sqlite, Store, StoreErrorKind};
use dynamo_lock_protocol::{Op, Outcome, Row, Verdict};
use std::cell::RefCell;
use std::future::Future;
use std::path::Path;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use process_holders::role as liveness_role;

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn liveness_role(_: &str, _: &Path, _: u64) -> bool {
    false
}

/// Returns the path of a database in this directory.
fn database(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join("locks.db")
}

/// Opens a database in a new directory, which is removed with the first value.
fn open_new() -> (tempfile::TempDir, Sqlite) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Sqlite::open(database(&directory)).expect("opens");
    (directory, store)
}

async fn write(store: &dyn Store, op: &Op) -> Outcome {
    store.write(op).await.result.unwrap_or_else(|e| panic!("{e}"))
}

async fn read(store: &dyn Store, name: &LockName) -> Option<Row> {
    store.read(name, Consistency::Strong).await.result.unwrap_or_else(|e| panic!("{e}"))
}

/// Stores the text of a row without the store.
fn insert_raw(path: &Path, name: &str, row: &str) {
    let connection = rusqlite::Connection::open(path).expect("opens");
    connection.execute("INSERT OR REPLACE INTO lock VALUES (?1, ?2)", [name, row]).expect("inserts");
}

/// Entry point of the processes that [`Child`] starts. Otherwise it does nothing.
#[test]
fn second_process() {
    child_process::run_if_child();
}

#[tokio::test]
async fn handles_of_one_file_see_each_others_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    let (one, two) = (Sqlite::open(database(&directory)), Sqlite::open(database(&directory)));
    let (one, two) = (one.expect("opens"), two.expect("opens"));
    assert_eq!((one.created(), two.created()), (true, false));
    let name = lock_name("orders");
    assert_eq!(read(&two, &name).await, None);
    let Outcome::Applied(Some(row)) = write(&one, &acquire(&name, 1)).await else { panic!("free") };
    assert_eq!(read(&two, &name).await.as_ref(), Some(&row));
    assert_eq!(write(&two, &acquire(&name, 2)).await, Outcome::Conflict(Some(row.clone())));
    assert!(matches!(write(&two, &take_over(&name, 3, &row)).await, Outcome::Applied(_)));
    assert!(matches!(write(&one, &release(&name, 4, 1)).await, Outcome::Conflict(Some(_))));
    assert!(matches!(write(&two, &release(&name, 5, 3)).await, Outcome::Applied(_)));
}

#[tokio::test]
async fn row_outlives_its_handles() {
    let directory = tempfile::tempdir().expect("a directory");
    let name = lock_name("orders");
    let written = write(&Sqlite::open(database(&directory)).expect("opens"), &acquire(&name, 1)).await;
    let again = Sqlite::open(database(&directory)).expect("opens");
    assert_eq!(Some(written), read(&again, &name).await.map(|row| Outcome::Applied(Some(row))));
}

#[tokio::test]
async fn op_has_specified_effect_on_unusual_rows() {
    let (_directory, store) = open_new();
    let rows = [
        "{}",
        r#"{"guid":{"S":"old"},"expiresOn":{"N":"12.5"}}"#,
        r#"{"guid":{"S":"old"},"token":{"S":"seven"}}"#,
        r#"{"v":{"N":"1"},"guid":{"S":"g"},"leaseId":{"S":"r"},"token":{"N":"7"},"expiresOn":{"N":"0"},"unknown":{"M":{"b":{"BOOL":true}, "a":{"L":[]}}},"bin":{"B":"AAE="}}"#,
        r#"{"v":{"N":"1"},"guid":{"S":"g"},"leaseId":{"S":"r"},"token":{"N":"7"},"expiresOn":{"N":"0"},"kind":{"S":"queue"}}"#,
        r#"{"v":{"N":"2"},"guid":{"S":"g"},"expiresOn":{"N":"0"},"token":{"N":"18446744073709551616"}}"#,
    ];
    let mut applied = 0;
    for (at, text) in rows.iter().enumerate() {
        let name = lock_name(&format!("row {at}"));
        insert_raw(store.path(), name.as_str(), text);
        let mut row = read(&store, &name).await;
        assert!(row.is_some(), "{text}");
        let seen = row.clone().unwrap_or_default();
        for op in [release(&name, 11, 9), acquire(&name, 12), take_over(&name, 13, &seen), release(&name, 14, 12)] {
            let expected = apply(row.as_ref(), &op);
            let answer = store.write(&op).await.result;
            assert_eq!(answer.ok(), Some(expected.clone().outcome(&op)), "{text}, {op:?}");
            if let Verdict::Applied(next) = expected {
                (row, applied) = (Some(next), applied + 1);
            }
            assert_eq!(read(&store, &name).await, row, "{op:?}");
        }
    }
    assert!(applied >= 3, "only {applied} ops were applied: the test shows nothing");
}

#[tokio::test]
async fn unknown_attributes_keep_every_byte() {
    let (_directory, store) = open_new();
    let name = lock_name("orders");
    let list = r#"{"L": [{"N":"1.0"},  {"M":{"z":{"SS":["x"]}}}]}"#;
    let unknown = format!(r#"{{"M": {{"z":{{"N":"1.0"}},  "a":{list}}}}}"#);
    let map = [
        ("z".to_owned(), Value::N(Number::parse("1.0").expect("a number"))),
        ("a".to_owned(), Value::Other(list.to_owned())),
    ];
    insert_raw(
        store.path(),
        "orders",
        &format!(
            r#"{{"v":{{"N":"1"}},"guid":{{"S":"g"}},"leaseId":{{"S":"r"}},"token":{{"N":"7"}},"expiresOn":{{"N":"0"}},"x":{unknown}}}"#
        ),
    );
    let Outcome::Applied(Some(row)) = write(&store, &acquire(&name, 1)).await else { panic!("free") };
    assert_eq!((token(&row), row.get("x")), (8, Some(&Value::Map(map.into()))));
    assert_eq!(read(&store, &name).await, Some(row));
}

#[tokio::test]
async fn unreadable_row_is_refused_by_name() {
    let (_directory, store) = open_new();
    let name = lock_name("broken\u{202e}");
    insert_raw(store.path(), name.as_str(), r#"{"guid":7}"#);
    let answers = [
        store.read(&name, Consistency::Strong).await.result.map(drop),
        store.write(&acquire(&name, 1)).await.result.map(drop),
        store.list(None).await.result.map(drop),
    ];
    for answer in answers {
        let error = answer.expect_err("not readable");
        let message = error.to_string();
        assert_eq!(error.kind(), StoreErrorKind::Refused, "{message}");
        assert!(message.contains("broken") && !message.contains(['\n', '\u{202e}']), "{message}");
    }
    let other = lock_name("other");
    assert!(matches!(write(&store, &acquire(&other, 1)).await, Outcome::Applied(_)), "other rows are not affected");
}

#[tokio::test]
async fn names_are_compared_by_bytes() {
    let (_directory, store) = open_new();
    let long = "é".repeat(1024);
    let names = ["a", "A", "a ", " a", "é", "e\u{301}", "🦀", "a'; DROP TABLE lock; --", "1", "1.0", "01", &long];
    for name in names {
        let answer = write(&store, &acquire(&lock_name(name), 1)).await;
        assert!(matches!(answer, Outcome::Applied(_)), "{name:?} names its own lock");
    }
    assert_eq!(store.list(None).await.result.expect("lists").rows.len(), names.len());
}

#[tokio::test]
async fn list_returns_every_row_in_pages() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, memory) = (Sqlite::open(database(&directory)).expect("opens"), Memory::new());
    assert!(store.list(None).await.result.expect("lists").rows.is_empty());
    for n in 0..200 {
        let op = acquire(&lock_name(&format!("lock {n}")), n);
        assert_eq!(write(&store, &op).await, write(&memory, &op).await);
    }
    let (mut rows, mut pages, mut after) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let page = store.list(after.as_deref()).await.result.expect("lists");
        pages.push(page.rows.len());
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [100, 100], "a full last page ends the listing");
    assert_eq!(rows, memory.list(None).await.result.expect("lists").rows);
}

/// Returns the order of two events while `other` holds SQLite's write lock: the end of `write`, and a hundred turns of
/// a second task on the same thread, after which `other` releases the write lock.
async fn order_of_events(write: impl Future<Output = ()>, mut other: Child) -> Vec<&'static str> {
    let events = RefCell::new(Vec::new());
    let write = async {
        write.await;
        events.borrow_mut().push("write answered");
    };
    let second_task = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        events.borrow_mut().push("hundred turns taken");
        other.resume();
    };
    tokio::join!(biased; write, second_task);
    events.into_inner()
}

/// Lesson 36. The write waits in the thread of the store.
#[tokio::test]
async fn waiting_for_write_lock_does_not_block_the_runtime() {
    let (_directory, store) = open_new();
    let other = Child::holding_the_write_lock(store.path());
    let op = acquire(&lock_name("orders"), 1);
    let mut answer = None;
    let events = order_of_events(async { answer = Some(write(&store, &op).await) }, other).await;
    assert_eq!(events, ["hundred turns taken", "write answered"]);
    assert!(matches!(answer, Some(Outcome::Applied(_))), "{answer:?}");
}

/// Lesson 36. The renewal on SQLite is late, but its lease is kept.
#[tokio::test]
async fn waiting_for_write_lock_delays_no_other_renewal() {
    let (_directory, store) = open_new();
    let (memory, path, name) = (Memory::new(), store.path().to_owned(), lock_name("orders"));
    let acquire = async |client: Client| {
        let lock = client.lock("orders").expect("a lock");
        lock.options().renewal(Renewal::Manual).acquire().await.expect("free")
    };
    let local = acquire(Client::builder(store.clone()).build().expect("a client")).await;
    let other_guard = acquire(Client::builder(memory.clone()).build().expect("a client")).await;
    let mut other = Child::holding_the_write_lock(&path);
    let events = RefCell::new(Vec::new());
    let late = async {
        local.renew().await.expect("late, but in time");
        events.borrow_mut().push("renewed on SQLite");
    };
    let on_time = async {
        for _ in 0..10 {
            other_guard.renew().await.expect("on time");
        }
        events.borrow_mut().push("renewed ten times in memory");
        other.resume();
    };
    tokio::join!(biased; late, on_time);
    assert_eq!(events.into_inner(), ["renewed ten times in memory", "renewed on SQLite"]);
    assert!(local.is_valid() && other_guard.is_valid());
    let renewal_seq = async |store: &dyn Store| read(store, &name).await.and_then(|row| row.whole("renewalSeq"));
    assert_eq!((renewal_seq(&store).await, renewal_seq(&memory).await), (Some(1), Some(10)));
}

#[tokio::test]
async fn control_blocking_wait_is_detected() {
    let (_directory, store) = open_new();
    let path = store.path().to_owned();
    let other = Child::holding_the_write_lock(&path);
    let inline = async {
        let connection = rusqlite::Connection::open(&path).expect("opens");
        connection.busy_timeout(std::time::Duration::from_millis(100)).expect("sets");
        connection.execute_batch("BEGIN IMMEDIATE").expect_err("the other process holds the write lock");
    };
    assert_eq!(order_of_events(inline, other).await, ["write answered", "hundred turns taken"]);
}

#[tokio::test]
async fn write_is_throttled_after_waiting_five_seconds() {
    let (_directory, store) = open_new();
    let mut other = Child::holding_the_write_lock(store.path());
    let name = lock_name("orders");
    let (first, second) = (acquire(&name, 1), acquire(&name, 2));
    // Both at once: time in the queue counts, so that the second write does not wait for another five seconds.
    let (first, second) = tokio::join!(store.write(&first), store.write(&second));
    for answer in [first, second] {
        assert_eq!(answer.result.map_err(|e| e.kind()), Err(StoreErrorKind::Throttled));
    }
    assert_eq!(read(&store, &name).await, None, "reads do not wait");
    other.resume();
    other.wait();
    assert!(matches!(write(&store, &acquire(&name, 3)).await, Outcome::Applied(_)));
}

#[tokio::test]
async fn removed_or_replaced_database_is_detected() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = database(&directory);
    let (store, name) = (Sqlite::open(&path).expect("opens"), lock_name("orders"));
    for replace in [false, true] {
        for suffix in ["", "-journal", "-live"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
        let _other = replace.then(|| Sqlite::open(&path).expect("a new one"));
        for answer in [
            store.write(&acquire(&name, 1)).await.result.map(drop),
            store.read(&name, Consistency::Strong).await.result.map(drop),
        ] {
            let error = answer.expect_err("the file is another one");
            assert!(error.to_string().contains("removed or replaced"), "{error}");
        }
    }
}

/// Lesson 54. Rows with a future `ttl`, held rows and unreadable rows stay. Tokens do not go back.
#[tokio::test]
async fn acquisitions_remove_old_free_rows_and_keep_token_floor() {
    let (_directory, store) = open_new();
    let row = |token: u64, expires_on: u64, ttl: u64| {
        format!(
            r#"{{"v":{{"N":"1"}},"guid":{{"S":"g"}},"leaseId":{{"S":"r"}},"token":{{"N":"{token}"}},"leaseMs":{{"N":"1"}},"expiresOn":{{"N":"{expires_on}"}},"ttl":{{"N":"{ttl}"}}}}"#
        )
    };
    for n in 0..10 {
        insert_raw(store.path(), &format!("old {n}"), &row(5000 + n, 0, 1_000_000_000));
    }
    insert_raw(store.path(), "held", &row(9000, 1, 1_000_000_000));
    insert_raw(store.path(), "recent", &row(9000, 0, 99_000_000_000));
    let other_kind = row(9000, 0, 1_000_000_000).replacen('{', r#"{"kind":{"S":"x"},"#, 1);
    insert_raw(store.path(), "other kind", &other_kind);
    let once = |ttl: u64, done: &str| {
        row(9000, 253_402_300_799_000, ttl).replacen('{', &format!(r#"{{"kind":{{"S":"once"}},{done}"#), 1)
    };
    let done = r#""doneToken":{"N":"9000"},"#;
    let ends = format!(r#"{done}"doneUntil":{{"N":"1"}},"#);
    insert_raw(store.path(), "old success", &once(1_000_000_000, &ends));
    insert_raw(store.path(), "recent success", &once(99_000_000_000, &ends));
    insert_raw(store.path(), "success without end", &once(1_000_000_000, done));
    for n in 0..3 {
        assert!(matches!(write(&store, &acquire(&lock_name("new"), n)).await, Outcome::Applied(_)));
        assert!(matches!(write(&store, &release(&lock_name("new"), 100 + n, n)).await, Outcome::Applied(_)));
    }
    let rows = store.list(None).await.result.expect("lists").rows;
    let names: Vec<_> = rows.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["held", "new", "other kind", "recent", "recent success", "success without end"]);
    let Outcome::Applied(Some(row)) = write(&store, &acquire(&lock_name("old 3"), 7)).await else { panic!("free") };
    assert_eq!(token(&row), 9001, "the floor of the test is 1000, and 9000 was removed");
}

#[test]
fn dropped_write_is_applied_wholly_or_not_at_all() {
    let (_directory, store) = open_new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let name = lock_name("orders");
    let op = acquire(&name, 1);
    drop(store.write(&op));
    runtime.block_on(async {
        let polled = async {
            tokio::select! { biased; _ = store.write(&op) => {}, () = std::future::ready(()) => {} }
        };
        polled.await;
        let row = read(&store, &name).await;
        assert!(row.is_none_or(|row| row.text("leaseId").is_some()), "it was applied wholly or not at all");
        assert!(matches!(write(&store, &acquire(&lock_name("other"), 1)).await, Outcome::Applied(_)));
    });
}
