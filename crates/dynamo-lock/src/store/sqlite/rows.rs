//! Reading, writing and listing rows. A write runs the specification itself, [`apply`], inside one transaction.

use rusqlite::OptionalExtension;

use super::error::{outcome_unknown, refused};
use super::{codec, database::Database};
use crate::store::{LockName, Op, Outcome, Page, Row, StoreError, Verdict, apply};

/// Maximum number of rows on one page of a listing.
const PAGE: usize = 100;

/// Reads one row.
pub(super) fn read(database: &Database, name: &LockName) -> Result<Option<Row>, StoreError> {
    database.check_not_replaced()?;
    select(database, name)
}

/// Performs one op as [`apply`] defines it.
pub(super) fn write(database: &Database, op: &Op) -> Result<Outcome, StoreError> {
    // SQLite itself would report a replaced file with a less helpful error.
    database.check_not_replaced()?;
    // IMMEDIATE takes the write lock before the read, so that the row cannot change between the read and the write.
    database.execute("BEGIN IMMEDIATE")?;
    let mut outcome = database.check_not_replaced().and_then(|()| apply_op(database, op));
    if let Ok(Outcome::Applied(_)) = outcome {
        let committed = database.connection().execute_batch("COMMIT");
        outcome = committed.map_err(|error| outcome_unknown(database.path(), error)).and(outcome);
    }
    if !database.is_idle() {
        // A failure remains visible in the state of the connection, which the thread checks after each request.
        let _ = database.execute("ROLLBACK");
    }
    outcome
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
    let upsert = "INSERT INTO lock (name, row) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET row = ?2";
    let written = database.connection().execute(upsert, [op.name.as_str(), &text]);
    written.map_err(|error| database.error(error))?;
    Ok(Outcome::Applied(after))
}

fn select(database: &Database, name: &LockName) -> Result<Option<Row>, StoreError> {
    let sql = "SELECT row FROM lock WHERE name = ?1";
    match database.connection().query_row(sql, [name.as_str()], |row| row.get::<_, String>(0)).optional() {
        Ok(None) => Ok(None),
        Ok(Some(text)) => codec::decode(&text).map(Some).map_err(|cause| unreadable(database, name.as_str(), &cause)),
        Err(error) if error.sqlite_error_code().is_some() => Err(database.error(error)),
        Err(error) => Err(unreadable(database, name.as_str(), &error.to_string())),
    }
}

/// Returns one page of rows, in byte order of their names, starting after the name `after`.
pub(super) fn list(database: &Database, after: &str) -> Result<Page, StoreError> {
    database.check_not_replaced()?;
    let sql = |error| database.error(error);
    let query = "SELECT name, row FROM lock WHERE name > ?1 ORDER BY name LIMIT ?2";
    let mut statement = database.connection().prepare(query).map_err(sql)?;
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
