//! Connection to the database: opening, checking the format, and creating the table.

use std::{cell::Cell, path::Path, time::Duration};

use dynamo_lock_protocol::{Deadline, SentAt};
use rusqlite::{Connection, OpenFlags};

use super::database_path::{DatabasePath, FileId};
use super::error::{misconfigured, without_effect};
use crate::clock::{Clock, SystemClock};
use crate::random::{Random, SystemRandom};
use crate::store::{StoreError, StoreErrorCause, StoreErrorKind};

/// Time that one request may wait for other processes, including its time in the queue. After it the request fails with
/// `Throttled`.
pub(super) const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// `application_id` in the file header, by which this crate and `file(1)` recognize a lock database: "DynL".
const APPLICATION_ID: i64 = 0x4479_6e4c;

/// `user_version` of the current format. Version 2, which had a write-ahead log and no table `meta`, is upgraded. Other
/// versions are refused and never changed.
const VERSION: i64 = 3;

/// STRICT, so that a row is text. TEXT columns compare by bytes.
const LOCK_TABLE: &str = "CREATE TABLE lock (name TEXT NOT NULL PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID;";

/// Contents that version 3 has added. `meta` has one row: the largest token of any removed row. The indexes find free rows
/// and finished rows by their `ttl`, and are only hints, because SQL does not parse numbers as the protocol does. A file
/// of an early version 3 has no `done_lock`; its finished rows are found without it.
const ADDITIONS: &str = "CREATE TABLE meta (token_floor INTEGER NOT NULL) STRICT;
    INSERT INTO meta VALUES (0);
    CREATE INDEX free_lock ON lock (CAST(json_extract(row, '$.ttl.N') AS INTEGER))
        WHERE CASE WHEN json_valid(row) THEN json_extract(row, '$.expiresOn.N') = '0' END;
    CREATE INDEX done_lock ON lock (CAST(json_extract(row, '$.ttl.N') AS INTEGER))
        WHERE CASE WHEN json_valid(row) THEN json_extract(row, '$.doneUntil.N') IS NOT NULL END;";

/// Bounds of the pause of a statement that waits for another process, in microseconds. The pause is random and does not
/// grow, because with SQLite's growing pauses a process that has waited long has the smallest chance.
const BUSY_PAUSE_US: std::ops::Range<u64> = 500..2000;

/// Attempts to leave the write-ahead log of version 2, 20 ms apart, because SQLite does not call the busy handler
/// there.
const CONVERSION_TRIES: u32 = 250;

thread_local! {
    /// Time at which the statements of this thread give up waiting for other processes.
    static BUSY_DEADLINE: Cell<Option<Deadline>> = const { Cell::new(None) };
}

/// Pauses and returns whether the statement waits on.
fn wait_for_other_process(_: i32) -> bool {
    let is_waiting = BUSY_DEADLINE.get().is_some_and(|deadline| !deadline.passed(SystemClock.now()));
    if is_waiting {
        let pause = BUSY_PAUSE_US.start + SystemRandom.bits() as u64 % (BUSY_PAUSE_US.end - BUSY_PAUSE_US.start);
        // On the thread of the store, or in `Database::open`, which is documented to block.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(Duration::from_micros(pause));
    }
    is_waiting
}

/// An open connection to a lock database.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    path: DatabasePath,
    file_id: FileId,
}

impl Database {
    /// Opens the database, or creates it. Returns whether it was created.
    pub(super) fn open(path: DatabasePath) -> Result<(Self, bool), StoreError> {
        path.create_file()?;
        let file_id = path.file_id()?;
        // Without SQLITE_OPEN_URI, so that a path is never parsed as a URI. Without a mutex, because the connection
        // stays on one thread.
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection =
            Connection::open_with_flags(path.path(), flags).map_err(|error| without_effect(path.path(), error))?;
        let mut database = Self { connection, path, file_id };
        database.set_busy_handler()?;
        let created = prepare(&database)?;
        // Other users with write access to the directory could have created files since the first check.
        database.path.check_siblings()?;
        database.check_not_replaced()?;
        Ok((database, created))
    }

    /// Opens the database without the ability to change it, and returns its contents.
    #[cfg(unix)]
    pub(super) fn read_contents(path: DatabasePath) -> Result<Contents, StoreError> {
        let file_id = path.file_id()?;
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection =
            Connection::open_with_flags(path.path(), flags).map_err(|error| without_effect(path.path(), error))?;
        let mut database = Self { connection, path, file_id };
        database.set_busy_handler()?;
        database.execute("BEGIN")?;
        contents(&database)
    }

    fn set_busy_handler(&mut self) -> Result<(), StoreError> {
        // Some versions of rusqlite need unique access.
        let connection = &mut self.connection;
        let set = connection.busy_handler(Some(wait_for_other_process));
        set.map_err(|error| self.error(error))?;
        self.wait_until(Deadline::new(SentAt(SystemClock.now()), BUSY_LIMIT));
        Ok(())
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Converts the error of a statement that has certainly changed nothing.
    pub(super) fn error(&self, error: rusqlite::Error) -> StoreError {
        without_effect(self.path(), error)
    }

    /// Executes statements that change nothing if they fail.
    pub(super) fn execute(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(sql).map_err(|error| self.error(error))
    }

    pub(super) fn path(&self) -> &Path {
        self.path.path()
    }

    /// Returns whether no transaction is open.
    pub(super) fn is_idle(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// Limits the time that the following statements of this thread may wait for other processes.
    pub(super) fn wait_until(&self, deadline: Deadline) {
        BUSY_DEADLINE.set(Some(deadline));
    }

    /// Begins a transaction that excludes all other processes, so that its COMMIT waits for none. Rolls it back if the
    /// database was replaced, or if another program has switched it to a write-ahead log.
    pub(super) fn begin_exclusive(&self) -> Result<(), StoreError> {
        // SQLite itself would report a replaced file with a less helpful error.
        self.check_not_replaced()?;
        self.execute("BEGIN EXCLUSIVE")?;
        let checked = self.check_not_replaced().and_then(|()| self.journal_mode(""));
        if checked.as_ref().is_ok_and(|mode| mode != "wal") {
            return Ok(());
        }
        self.execute("ROLLBACK")?;
        checked.and_then(|_| leave_write_ahead_log(self, 1))?;
        Err(write_ahead_log_in_use(self.path()))
    }

    /// Returns the journal mode, after an attempt to change it if `change` is not empty.
    fn journal_mode(&self, change: &str) -> Result<String, StoreError> {
        let mode = self.connection.query_row(&format!("PRAGMA journal_mode{change}"), [], |row| row.get(0));
        mode.map_err(|error| self.error(error))
    }

    /// Checks that the path still names the open file. If the file was removed or replaced, other processes lock in a
    /// new file, so that a lock in this one would exclude no other process.
    pub(super) fn check_not_replaced(&self) -> Result<(), StoreError> {
        if self.path.file_id().is_ok_and(|now| now == self.file_id) {
            return Ok(());
        }
        let problem =
            format!("the lock database {:?} was removed or replaced while in use, and its locks with it", self.path());
        Err(misconfigured(problem, "start this program again").with_cause(StoreErrorCause::DatabaseReplaced))
    }
}

/// Contents of a database that is not refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Contents {
    Empty,
    Version2,
    Current,
}

/// Sets the options of this connection, and creates or upgrades the tables. Refuses the database of another program.
/// Returns whether the tables were created.
fn prepare(database: &Database) -> Result<bool, StoreError> {
    // One transaction, because another process may create the tables between two queries.
    database.execute("BEGIN")?;
    let before = contents(database);
    database.execute("ROLLBACK")?;
    let before = before?;
    leave_write_ahead_log(database, CONVERSION_TRIES)?;
    // With FULL a commit is on the disk before the response. With NORMAL a power failure could take back a token that
    // a client has already seen.
    database.execute("PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF")?;
    if before == Contents::Current {
        return Ok(false);
    }
    database.begin_exclusive()?;
    // Another process may have changed the database before this transaction began.
    let prepared = contents(database).and_then(|before| {
        let tables = match before {
            Contents::Empty => LOCK_TABLE,
            Contents::Version2 => "",
            Contents::Current => return Ok(false),
        };
        let header = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}");
        database.execute(&format!("{tables} {ADDITIONS} {header}"))?;
        Ok(before == Contents::Empty)
    });
    database.execute(if prepared.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    prepared
}

/// Returns the contents of an empty database or a lock database. Refuses all others.
fn contents(database: &Database) -> Result<Contents, StoreError> {
    let path = database.path();
    let number = |sql: &str| {
        let value = database.connection().query_row(sql, [], |row| row.get::<_, i64>(0));
        value.map_err(|error| database.error(error))
    };
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let has_table = number("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'lock'")? == 1;
    let (problem, fix, cause) = match (application, version) {
        (0, 0) if tables == 0 => return Ok(Contents::Empty),
        (APPLICATION_ID, VERSION) if has_table => return Ok(Contents::Current),
        (APPLICATION_ID, 2) if has_table => return Ok(Contents::Version2),
        (APPLICATION_ID, 2 | VERSION) => {
            let problem = format!("the lock database {path:?} has lost its table");
            return Err(misconfigured(problem, "move it away and start afresh while no lock is held"));
        }
        // Version 1 was never published, so that there is no migration from it.
        (APPLICATION_ID, 1) => (
            format!("the lock database {path:?} has format 1 of an unreleased version"),
            "delete the file while no lock is held",
            StoreErrorCause::UnsupportedFormat,
        ),
        (APPLICATION_ID, version) if version > VERSION => (
            format!("the lock database {path:?} has format {version}, and this version supports format {VERSION}"),
            "upgrade dynamo-lock on this machine",
            StoreErrorCause::UnsupportedFormat,
        ),
        _ => (
            format!("{path:?} is a database of another program"),
            "name another file for the locks",
            StoreErrorCause::NotALockDatabase,
        ),
    };
    Err(misconfigured(problem, fix).with_cause(cause))
}

/// Selects a rollback journal that stays beside the database, and converts a database with a write-ahead log.
///
/// A write-ahead log and its index are files that contain committed rows and locks. If one is removed while the
/// database is open, processes that open the database later do not see those rows, and two of them may hold one lock.
/// With a rollback journal all rows and all locks are in the database file itself.
fn leave_write_ahead_log(database: &Database, tries: u32) -> Result<(), StoreError> {
    for tried in 1..=tries {
        match database.journal_mode(" = PERSIST") {
            Ok(mode) if mode != "wal" => return Ok(()),
            Err(error) if !error.is_retryable() => return Err(error),
            _ if tried == tries => {}
            // Opening is documented to block, and a request has one attempt.
            #[allow(clippy::disallowed_methods)]
            _ => std::thread::sleep(BUSY_LIMIT / CONVERSION_TRIES),
        }
    }
    Err(write_ahead_log_in_use(database.path()))
}

pub(super) fn write_ahead_log_in_use(database: &Path) -> StoreError {
    let problem = format!("another program uses the lock database {database:?} with a write-ahead log");
    StoreError::new(StoreErrorKind::Throttled, problem).with_fix("close the database in that program and try again")
}
