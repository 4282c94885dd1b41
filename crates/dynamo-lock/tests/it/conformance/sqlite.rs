//! The embedded store: one handle, two, and two processes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use dynamo_lock::conformance::{Case, Dice, Options, PlantError, run};
use dynamo_lock::store::BoxFuture;
use dynamo_lock::{LockName, Sqlite, Store};
use dynamo_lock_protocol::{Op, Row, Value, Verdict, apply};
use serde_json::json;

use crate::conformance::Rows;
use crate::conformance::json as wire;
use crate::conformance::remote_store::Elsewhere;

/// Writes to the file past the store.
struct Planter(Mutex<rusqlite::Connection>);

impl Planter {
    fn open(path: &Path) -> Self {
        let connection = rusqlite::Connection::open(path).expect("opens");
        connection.busy_timeout(std::time::Duration::from_secs(5)).expect("sets");
        // What survives a power cut is not examined here.
        connection.execute_batch("PRAGMA synchronous = OFF").expect("sets");
        Self(Mutex::new(connection))
    }

    fn plant(&self, name: &LockName, row: Option<Row>) -> Result<(), PlantError> {
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

/// A row as the file has it: values of other types are their text, byte by byte.
fn as_text(row: &Row) -> String {
    let value = |value: &Value| match value {
        Value::S(text) => json!({ "S": text }).to_string(),
        Value::N(number) => json!({ "N": number.as_str() }).to_string(),
        Value::Other(text) => text.clone(),
    };
    let attributes = row.attributes().map(|(name, there)| format!("{}:{}", json!(name), value(there)));
    format!("{{{}}}", attributes.collect::<Vec<_>>().join(","))
}

/// Examines a store on a new file, with the second handle that `other` makes of it.
async fn examine(other: impl FnOnce(&Sqlite) -> Arc<dyn Store>) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Sqlite::open(directory.path().join("locks.db")).expect("opens");
    let (other, planter) = (other(&store), Planter::open(store.path()));
    let plant = move |name, row| -> BoxFuture<'static, Result<(), PlantError>> {
        let planted = planter.plant(&name, row);
        Box::pin(async { planted })
    };
    run(&Rows { store: Arc::new(store), other, plant }, Options::default()).await.assert_passed();
}

#[tokio::test]
async fn sqlite_conforms() {
    examine(|store| Arc::new(store.clone())).await;
}

#[tokio::test]
async fn sqlite_conforms_through_two_connections() {
    examine(|store| Arc::new(Sqlite::open(store.path()).expect("opens again"))).await;
}

#[tokio::test]
async fn sqlite_conforms_in_two_processes() {
    examine(|store| {
        let other = Elsewhere::start(store.path());
        assert_ne!(other.pid, std::process::id());
        Arc::new(other)
    })
    .await;
}

#[test]
fn every_op_and_row_survives_the_pipe() {
    let name = LockName::new("it's \"here\" \\n \u{1F512}").expect("a name");
    let mut dice = Dice::from_seed(1);
    let again = |op: &Op| wire::op_of(&serde_json::from_str(&wire::op(op).to_string()).expect("JSON"));
    for _ in 0..2_000 {
        let case = Case::generate(&name, &mut dice);
        let mut row = case.row;
        for op in case.ops {
            assert_eq!(again(&op), op);
            assert_eq!(wire::maybe_row_of(&wire::maybe_row(row.as_ref())), row);
            if let Verdict::Applied(next) = apply(row.as_ref(), &op) {
                row = Some(next);
            }
        }
    }
}
