//! Connection to the database: opening, checking the format, and creating the table.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::database_path::{DatabasePath, FileId};
use super::error::{misconfigured, without_effect};
use crate::store::{StoreError, StoreErrorCause};

/// Time that one request may wait for other processes, including its time in the queue. After it the request fails with
/// `Throttled`.
pub(super) const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// `application_id` in the file header, by which this crate and `file(1)` recognize a lock database: "DynL".
const APPLICATION_ID: i64 = 0x4479_6e4c;

/// `user_version` of the current format. Other versions are refused and never changed.
const VERSION: i64 = 2;

/// STRICT, so that a row is text. TEXT columns compare by bytes.
const SCHEMA: &str = "CREATE TABLE lock (name TEXT NOT NULL PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID";

/// Size to which SQLite truncates the write-ahead log after it was larger: 4 MiB.
const LOG_LIMIT: i64 = 4 << 20;

/// Tries to switch to the write-ahead log, 20 ms apart, because SQLite's busy timeout does not apply there.
const WAL_TRIES: u32 = 250;

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
        let database = Self { connection, path, file_id };
        database.wait_at_most(BUSY_LIMIT)?;
        let created = create_if_empty(&database)?;
        configure(&database)?;
        // Other users with write access to the directory could have created files since the first check.
        database.path.check_siblings()?;
        database.check_not_replaced()?;
        Ok((database, created))
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

    /// Limits the time that the following statements may wait for other processes.
    pub(super) fn wait_at_most(&self, limit: Duration) -> Result<(), StoreError> {
        self.connection.busy_timeout(limit).map_err(|error| self.error(error))
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

/// Creates the table if the database is empty, and refuses the database of another program. Returns whether the table
/// was created.
fn create_if_empty(database: &Database) -> Result<bool, StoreError> {
    // One transaction, because another process may create the table between two queries.
    database.execute("BEGIN")?;
    let was_empty = is_empty(database);
    database.execute("ROLLBACK")?;
    if !was_empty? {
        return Ok(false);
    }
    database.execute("BEGIN IMMEDIATE")?;
    // Another process may have created the table before this transaction began.
    let created = is_empty(database).and_then(|is_still_empty| {
        if is_still_empty {
            let header = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}");
            database.execute(&format!("{SCHEMA}; {header}"))?;
        }
        Ok(is_still_empty)
    });
    database.execute(if created.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    created
}

/// Returns whether the database is empty, or `false` if it is a lock database. Refuses all others.
fn is_empty(database: &Database) -> Result<bool, StoreError> {
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
        (0, 0) if tables == 0 => return Ok(true),
        (APPLICATION_ID, VERSION) if has_table => return Ok(false),
        (APPLICATION_ID, VERSION) => {
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

/// Sets the options of this connection, and the journal mode, which the file keeps.
fn configure(database: &Database) -> Result<(), StoreError> {
    enable_write_ahead_log(database)?;
    // With FULL a commit is on the disk before the response. With NORMAL a power failure could take back a token that
    // a client has already seen.
    database.execute("PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF")?;
    database.execute(&format!("PRAGMA journal_size_limit = {LOG_LIMIT}"))?;
    // The first read creates the log, so that the caller can check its file.
    let read = database.connection().query_row("SELECT count(*) FROM (SELECT 1 FROM lock LIMIT 1)", [], |_| Ok(()));
    read.map_err(|error| database.error(error))
}

/// Switches to a write-ahead log, with which readers and a writer do not block each other.
fn enable_write_ahead_log(database: &Database) -> Result<(), StoreError> {
    let mut tries = 1;
    loop {
        match database.connection().query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let file_system = format!("the file system of {:?}", database.path());
                let problem = format!("{file_system} does not support a write-ahead log (it stays in mode {mode})");
                return Err(misconfigured(problem, "name a file on a local disk"));
            }
            Err(error) => {
                let error = database.error(error);
                if !error.is_retryable() || tries == WAL_TRIES {
                    return Err(error);
                }
            }
        }
        // Opening is documented to block, and no runtime may be running yet.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(BUSY_LIMIT / WAL_TRIES);
        tries += 1;
    }
}
