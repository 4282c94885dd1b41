//! Reading and writing rows. A write is the specification itself, [`apply`], inside one transaction.

use rusqlite::{Connection, OptionalExtension};

use super::codec;
use super::fault::{ambiguous, refused, without_effect};
use super::schema::Database;
use crate::store::{Page, StoreError};
use dynamo_lock_protocol::{LockName, Op, Outcome, Row, Verdict, apply};

/// Rows on a page of a listing.
const PAGE: usize = 100;

/// One row.
pub(super) fn read(database: &Database, name: &LockName) -> Result<Option<Row>, StoreError> {
    database.still_there()?;
    select(database, name)
}

/// One op, as [`apply`] says.
pub(super) fn write(database: &Database, op: &Op) -> Result<Outcome, StoreError> {
    let connection = database.connection();
    let sql = |error| without_effect(database.path(), error);
    database.still_there()?; // said before SQLite says it in its own words
    // Immediate: the right to write comes before the read, so nothing changes between the read and the write.
    connection.execute_batch("BEGIN IMMEDIATE").map_err(sql)?;
    let verdict = database.still_there().and_then(|()| prepare(database, op));
    if !matches!(verdict, Ok(Outcome::Applied(_))) {
        roll_back(connection);
        return verdict;
    }
    match connection.execute_batch("COMMIT") {
        Ok(()) => verdict,
        Err(error) => {
            roll_back(connection);
            Err(ambiguous(database.path(), error))
        }
    }
}

/// Puts the op's effect into the open transaction.
fn prepare(database: &Database, op: &Op) -> Result<Outcome, StoreError> {
    let before = select(database, &op.name)?;
    let after = match apply(before.as_ref(), op) {
        Verdict::Applied(row) => row,
        Verdict::Conflict(row) => return Ok(Outcome::Conflict(row)),
    };
    let text = codec::encode(&after)
        .map_err(|why| refused(format!("the row of lock {:?} cannot be written ({why}): mend it", op.name.as_str())))?;
    database
        .connection()
        .execute(
            "INSERT INTO lock (name, row) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET row = ?2",
            [op.name.as_str(), &text],
        )
        .map_err(|error| without_effect(database.path(), error))?;
    Ok(Outcome::Applied(after))
}

/// A failure shows in the connection's state, which the thread looks at after each request.
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
        Ok(Some(text)) => codec::decode(&text).map(Some).map_err(|why| unreadable(database, name.as_str(), &why)),
        Err(error) if error.sqlite_error_code().is_none() => {
            Err(unreadable(database, name.as_str(), &error.to_string()))
        }
        Err(error) => Err(without_effect(database.path(), error)),
    }
}

/// Rows whose names follow `after` by their bytes.
pub(super) fn list(database: &Database, after: &str) -> Result<Page, StoreError> {
    database.still_there()?;
    let sql = |error| without_effect(database.path(), error);
    let connection = database.connection();
    let mut statement =
        connection.prepare("SELECT name, row FROM lock WHERE name > ?1 ORDER BY name LIMIT ?2").map_err(sql)?;
    let limit = (PAGE + 1).to_string(); // one more, to know whether there is another page
    let mut found = statement.query([after, &limit]).map_err(sql)?;
    let mut page = Page::default();
    while let Some(row) = found.next().map_err(sql)? {
        if page.rows.len() == PAGE {
            page.next = page.rows.last().map(|(name, _)| name.clone());
            break;
        }
        let name: String = row.get(0).map_err(sql)?;
        let text = row.get::<_, String>(1).map_err(|error| unreadable(database, &name, &error.to_string()))?;
        let decoded = codec::decode(&text).map_err(|why| unreadable(database, &name, &why))?;
        page.rows.push((name, decoded));
    }
    Ok(page)
}

fn unreadable(database: &Database, name: &str, why: &str) -> StoreError {
    refused(format!(
        "the row of lock {name:?} in {:?} is not readable ({}): mend it, or delete it while nobody holds the lock",
        database.path(),
        why.escape_debug()
    ))
}
