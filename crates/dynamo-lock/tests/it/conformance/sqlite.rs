//! The SQLite store: one handle, two handles, and two processes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use dynamo_lock::conformance::internals::{Case, Rng};
use dynamo_lock::conformance::{InsertError, Options, run};
use dynamo_lock::store::BoxFuture;
use dynamo_lock::{LockName, Sqlite, Store};
use dynamo_lock_protocol::{Op, Row, Value, Verdict, apply};

use crate::conformance::TestStore;
use crate::conformance::json;
use crate::conformance::remote_store::RemoteStore;

/// A connection that replaces rows of the file without the store.
struct RawConnection(Mutex<rusqlite::Connection>);

impl RawConnection {
    fn open(path: &Path) -> Self {
        let connection = rusqlite::Connection::open(path).expect("opens");
        connection.busy_timeout(std::time::Duration::from_secs(5)).expect("sets");
        // These tests do not check what survives a power failure.
        connection.execute_batch("PRAGMA synchronous = OFF").expect("sets");
        Self(Mutex::new(connection))
    }

    fn insert(&self, name: &LockName, row: Option<Row>) -> Result<(), InsertError> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match row {
            Some(row) => {
                connection.execute("INSERT OR REPLACE INTO lock VALUES (?1, ?2)", [name.as_str(), &as_text(&row)])
            }
            None => connection.execute("DELETE FROM lock WHERE name = ?1", [name.as_str()]),
        }?;
        Ok(())
    }
}

/// Returns a row in the format of the file. Values of other types are stored as their exact text.
fn as_text(row: &Row) -> String {
    object(row.attributes())
}

fn object<'a>(values: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let parts = values.map(|(name, stored)| format!("{}:{}", serde_json::json!(name), value(stored)));
    format!("{{{}}}", parts.collect::<Vec<_>>().join(","))
}

fn value(value: &Value) -> String {
    match value {
        Value::S(text) => serde_json::json!({ "S": text }).to_string(),
        Value::N(number) => serde_json::json!({ "N": number.as_str() }).to_string(),
        Value::Bool(value) => serde_json::json!({ "BOOL": value }).to_string(),
        Value::Map(map) => {
            format!("{{\"M\":{}}}", object(map.iter().map(|(name, part)| (name.as_str(), part))))
        }
        Value::Other(text) => text.clone(),
    }
}

/// Runs all checks on a new file. `other` creates the second handle.
async fn check(other: impl FnOnce(&Sqlite) -> Arc<dyn Store>) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Sqlite::open(directory.path().join("locks.db")).expect("opens");
    let (other, connection) = (other(&store), RawConnection::open(store.path()));
    let insert_raw = move |name, row| -> BoxFuture<'static, Result<(), InsertError>> {
        let inserted = connection.insert(&name, row);
        Box::pin(async { inserted })
    };
    run(&TestStore { store: Arc::new(store), other, insert_raw }, Options::default()).await.assert_passed();
}

#[tokio::test]
async fn sqlite_conforms() {
    check(|store| Arc::new(store.clone())).await;
}

#[tokio::test]
async fn sqlite_conforms_through_two_connections() {
    check(|store| Arc::new(Sqlite::open(store.path()).expect("opens again"))).await;
}

#[tokio::test]
async fn sqlite_conforms_in_two_processes() {
    check(|store| {
        let other = RemoteStore::start(store.path());
        assert_ne!(other.pid, std::process::id());
        Arc::new(other)
    })
    .await;
}

#[test]
fn every_op_and_row_survives_json() {
    let name = LockName::new("it's \"here\" \\n \u{1F512}").expect("a name");
    let mut rng = Rng::from_seed(1);
    let again = |op: &Op| json::op_of(&serde_json::from_str(&json::op(op).to_string()).expect("JSON"));
    for _ in 0..2_000 {
        let case = Case::generate(&name, &mut rng);
        let mut row = case.row;
        for op in case.ops {
            assert_eq!(again(&op), op);
            assert_eq!(json::maybe_row_of(&json::maybe_row(row.as_ref())), row);
            if let Verdict::Applied(next) = apply(row.as_ref(), &op) {
                row = Some(next);
            }
        }
    }
}
