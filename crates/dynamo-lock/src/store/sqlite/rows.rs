//! Reading, writing and listing rows. A write runs the specification itself, [`apply`], inside one transaction.

use rusqlite::{Connection, OptionalExtension};

use super::codec;
use super::database::Database;
use super::error::{outcome_unknown, refused, without_effect};
use crate::store::{Page, StoreError};
use dynamo_lock_protocol::{LockName, Op, Outcome, Row, Verdict, apply};

/// Maximum number of rows on one page of a listing.
const PAGE: usize = 100;

/// Reads one row.
pub(super) fn read(database: &Database, name: &LockName) -> Result<Option<Row>, StoreError> {
    database.check_not_replaced()?;
    select(database, name)
}

/// Performs one op as [`apply`] defines it.
pub(super) fn write(database: &Database, op: &Op) -> Result<Outcome, StoreError> {
    let connection = database.connection();
    let sql = |error| without_effect(database.path(), error);
    // SQLite itself would report a replaced file with a less helpful error.
    database.check_not_replaced()?;
    // IMMEDIATE takes the write lock before the read, so that the row cannot change between the read and the write.
    connection.execute_batch("BEGIN IMMEDIATE").map_err(sql)?;
    let verdict = database.check_not_replaced().and_then(|()| apply_op(database, op));
    if !matches!(verdict, Ok(Outcome::Applied(_))) {
        roll_back(connection);
        return verdict;
    }
    match connection.execute_batch("COMMIT") {
        Ok(()) => verdict,
        Err(error) => {
            roll_back(connection);
            Err(outcome_unknown(database.path(), error))
        }
    }
}

/// Applies the op inside the open transaction.
fn apply_op(database: &Database, op: &Op) -> Result<Outcome, StoreError> {
    let before = select(database, &op.name)?;
    let after = match apply(before.as_ref(), op) {
        Verdict::Applied(row) => row,
        Verdict::Conflict(row) => return Ok(Outcome::Conflict(row)),
    };
    let text = codec::encode(&after).map_err(|cause| {
        refused(format!("cannot write the row of lock {:?}: {cause}", op.name.as_str()), "correct the row")
    })?;
    database
        .connection()
        .execute(
            "INSERT INTO lock (name, row) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET row = ?2",
            [op.name.as_str(), &text],
        )
        .map_err(|error| without_effect(database.path(), error))?;
    Ok(Outcome::Applied(after))
}

/// Rolls the transaction back. A failure remains visible in the state of the connection, which the thread checks after
/// each request.
fn roll_back(connection: &Connection) {
    if !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
}

fn select(database: &Database, name: &LockName) -> Result<Option<Row>, StoreError> {
    let text = database
        .connection()
        .query_row("SELECT row FROM lock WHERE name = ?1", [name.as_str()], |row| row.get::<_, String>(0))
        .optional();
    match text {
        Ok(None) => Ok(None),
        Ok(Some(text)) => codec::decode(&text).map(Some).map_err(|cause| unreadable(database, name.as_str(), &cause)),
        Err(error) if error.sqlite_error_code().is_none() => {
            Err(unreadable(database, name.as_str(), &error.to_string()))
        }
        Err(error) => Err(without_effect(database.path(), error)),
    }
}

/// Returns one page of rows, in byte order of their names, starting after the name `after`.
pub(super) fn list(database: &Database, after: &str) -> Result<Page, StoreError> {
    database.check_not_replaced()?;
    let sql = |error| without_effect(database.path(), error);
    let connection = database.connection();
    let mut statement =
        connection.prepare("SELECT name, row FROM lock WHERE name > ?1 ORDER BY name LIMIT ?2").map_err(sql)?;
    let limit = (PAGE + 1).to_string(); // one more row, which shows that there is another page
    let mut found = statement.query([after, &limit]).map_err(sql)?;
    let mut page = Page::default();
    while let Some(row) = found.next().map_err(sql)? {
        if page.rows.len() == PAGE {
            page.next = page.rows.last().map(|(name, _)| name.clone());
            break;
        }
        let name: String = row.get(0).map_err(sql)?;
        let text = row.get::<_, String>(1).map_err(|error| unreadable(database, &name, &error.to_string()))?;
        let decoded = codec::decode(&text).map_err(|cause| unreadable(database, &name, &cause))?;
        page.rows.push((name, decoded));
    }
    Ok(page)
}

fn unreadable(database: &Database, name: &str, cause: &str) -> StoreError {
    let (path, cause) = (database.path(), cause.escape_debug());
    refused(
        format!("cannot read the row of lock {name:?} in {path:?}: {cause}"),
        "correct the row, or delete it while the lock is not held",
    )
}
