//! Reading, writing and listing rows. A write runs the specification itself, [`apply`], inside one transaction.

use dynamo_lock_protocol::RowState;
use rusqlite::OptionalExtension;

use super::error::{outcome_unknown, refused};
use super::{codec, database::Database};
use crate::clock::{Clock, SystemClock};
use crate::store::{
    FencingToken, LockName, Op, OpKind, Outcome, Page, Row, SharedOp, SharedWrite, StoreError, Verdict, apply, attr,
};

/// Maximum number of rows on one page of a listing.
const PAGE: usize = 100;

/// Maximum number of old rows that one acquisition removes.
const REMOVED_ROWS: usize = 4;

/// Reads one row.
pub(super) fn read(database: &Database, name: &LockName) -> Result<Option<Row>, StoreError> {
    database.check_not_replaced()?;
    select(database, name)
}

/// Performs one op as [`apply`] defines it.
pub(super) fn write(database: &Database, op: &Op) -> Result<Outcome, StoreError> {
    database.begin_exclusive()?;
    let mut outcome = apply_op(database, op);
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
    let mut op = op.clone();
    let floor = match &mut op.kind {
        OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } | OpKind::StartAnew { lease, .. } => {
            Some(&mut lease.token_floor)
        }
        OpKind::Shared(SharedWrite { op: SharedOp::Create { token_floor, .. }, .. }) => Some(token_floor),
        _ => None,
    };
    if let Some(floor) = floor {
        // A row that was removed has no token any more, and tokens must increase nevertheless.
        *floor = (*floor).max(token_floor(database)?);
        remove_old_rows(database, &op.name)?;
    }
    let verdict = apply(before.as_ref(), &op);
    let Verdict::Applied(after) = &verdict else { return Ok(verdict.outcome(&op)) };
    let text = codec::encode(after).map_err(|cause| {
        refused(format!("cannot write the row of lock {:?}: {cause}", op.name.as_str()), "correct the row")
    })?;
    let upsert = "INSERT INTO lock (name, row) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET row = ?2";
    let written = database.connection().execute(upsert, [op.name.as_str(), &text]);
    written.map_err(|error| database.error(error))?;
    Ok(verdict.outcome(&op))
}

/// Returns the largest token of any removed row.
fn token_floor(database: &Database) -> Result<FencingToken, StoreError> {
    let floor = database.connection().query_row("SELECT token_floor FROM meta", [], |row| row.get::<_, i64>(0));
    floor.map(|floor| FencingToken::new(floor.cast_unsigned())).map_err(|error| database.error(error))
}

/// Conditions for the rows that may be old, each as in an index.
const MAY_BE_OLD: [&str; 2] = [
    "CASE WHEN json_valid(row) THEN json_extract(row, '$.expiresOn.N') = '0' END",
    "CASE WHEN json_valid(row) THEN json_extract(row, '$.doneUntil.N') IS NOT NULL END",
];

/// Removes a few rows whose `ttl` has passed, as DynamoDB does, but not the row `keep`: free rows, and those with a
/// success that does not count any more.
fn remove_old_rows(database: &Database, keep: &LockName) -> Result<(), StoreError> {
    MAY_BE_OLD.iter().try_for_each(|condition| remove_old_rows_with(database, keep, condition))
}

fn remove_old_rows_with(database: &Database, keep: &LockName, condition: &str) -> Result<(), StoreError> {
    let now = SystemClock.now().wall_ms / 1000;
    let candidates = format!(
        "SELECT name FROM lock WHERE {condition}
         AND CAST(json_extract(row, '$.ttl.N') AS INTEGER) < {now} AND name <> ?1 LIMIT {REMOVED_ROWS}"
    );
    let sql = |error| database.error(error);
    let mut statement = database.connection().prepare(&candidates).map_err(sql)?;
    let names = statement.query_map([keep.as_str()], |row| row.get::<_, String>(0)).map_err(sql)?;
    for name in names.collect::<Result<Vec<_>, _>>().map_err(sql)? {
        // The protocol decides about the row. A row that it cannot read stays.
        let Some(row) = LockName::new(&name).ok().and_then(|name| select(database, &name).ok()?) else { continue };
        let is_old = row.whole(attr::TTL).is_some_and(|ttl| ttl < now);
        let is_unused = match row.state() {
            Ok(RowState::Free) => true,
            Ok(RowState::Done(done)) => done.until_ms.is_some(),
            _ => false,
        };
        let Some(token) = row.token().filter(|_| is_old && is_unused) else { continue };
        let floor = token_floor(database)?.max(token).get().to_string();
        for (remove, value) in
            [("UPDATE meta SET token_floor = CAST(?1 AS INTEGER)", &floor), ("DELETE FROM lock WHERE name = ?1", &name)]
        {
            database.connection().execute(remove, [value]).map_err(sql)?;
        }
    }
    Ok(())
}

fn select(database: &Database, name: &LockName) -> Result<Option<Row>, StoreError> {
    let sql = "SELECT row FROM lock WHERE name = ?1";
    // Not `prepare_cached`, because newer versions of rusqlite have it only with a feature that older ones lack.
    let text = database.connection().query_row(sql, [name.as_str()], |row| row.get::<_, String>(0));
    match text.optional() {
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
