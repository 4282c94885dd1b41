//! The connection: opening, knowing our own databases from others, and creating one.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::fault::{misconfigured, without_effect};
use super::place::{Identity, Place};
use super::thread::BUSY_LIMIT;
use crate::store::StoreError;

/// "DynL": in the file's header, so that `file(1)` and we know whose database it is.
const APPLICATION_ID: i64 = 0x4479_6e4c;

/// The schema's version. A newer one is refused, never touched.
const VERSION: i64 = 1;

/// STRICT, so that a row is text; TEXT compares by bytes.
const SCHEMA: &str = "CREATE TABLE lock (name TEXT NOT NULL PRIMARY KEY, row TEXT NOT NULL) STRICT, WITHOUT ROWID";

/// The write-ahead log is cut back to this size, 4 MiB, after it was larger.
const LOG_LIMIT: i64 = 4 << 20;

/// Tries to switch to the write-ahead log, 20 ms apart: SQLite does not wait here by itself.
const WAL_TRIES: u32 = 250;

/// An open connection to a database of ours.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    place: Place,
    identity: Identity,
}

impl Database {
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Whether no transaction is open.
    pub(super) fn is_idle(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// How long the following statements may wait for other processes.
    pub(super) fn wait_at_most(&self, limit: Duration) -> Result<(), StoreError> {
        self.connection.busy_timeout(limit).map_err(|error| without_effect(self.path(), error))
    }

    /// That the path still names the file that is open. After it was removed or replaced, others lock in a new file,
    /// and a lock in this one would exclude nobody.
    pub(super) fn still_there(&self) -> Result<(), StoreError> {
        if self.place.identity().is_ok_and(|now| now == self.identity) {
            return Ok(());
        }
        Err(misconfigured(format!(
            "the lock database {:?} was removed or replaced while in use, and its locks with it: start this program again",
            self.path()
        )))
    }
}

/// Opens a database of ours, or creates it; says whether it did.
pub(super) fn open(place: Place) -> Result<(Database, bool), StoreError> {
    place.create_file()?;
    let identity = place.identity()?;
    // No SQLITE_OPEN_URI: a path is a path. No mutex: the connection stays on one thread.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection =
        Connection::open_with_flags(place.path(), flags).map_err(|error| without_effect(place.path(), error))?;
    let database = Database { connection, place, identity };
    database.wait_at_most(BUSY_LIMIT)?;
    let created = adopt(&database)?;
    configure(&database)?;
    // Whoever may create files beside ours could have done so since the first look.
    database.place.check_siblings()?;
    database.still_there()?;
    Ok((database, created))
}

/// Whose database a file is.
enum Whose {
    Ours,
    Nobodys,
}

/// Makes sure that the database is ours: creates it if it is empty, says whether it did.
fn adopt(database: &Database) -> Result<bool, StoreError> {
    let sql = |error| without_effect(database.path(), error);
    let connection = database.connection();
    // One view of it all: another process may be creating it between two looks.
    connection.execute_batch("BEGIN").map_err(sql)?;
    let found = whose(database);
    connection.execute_batch("ROLLBACK").map_err(sql)?;
    if let Whose::Ours = found? {
        return Ok(false);
    }
    connection.execute_batch("BEGIN IMMEDIATE").map_err(sql)?;
    // Another process may have been quicker.
    let created = whose(database).and_then(|whose| match whose {
        Whose::Ours => Ok(false),
        Whose::Nobodys => {
            let create = format!("{SCHEMA}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}");
            connection.execute_batch(&create).map_err(sql).map(|()| true)
        }
    });
    let end = if created.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.execute_batch(end).map_err(sql)?;
    created
}

fn whose(database: &Database) -> Result<Whose, StoreError> {
    let path = database.path();
    let number = |sql: &str| {
        let value = database.connection().query_row(sql, [], |row| row.get::<_, i64>(0));
        value.map_err(|error| without_effect(path, error))
    };
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    match (application, version) {
        (APPLICATION_ID, VERSION) => {
            let ours = number("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'lock'")?;
            if ours == 1 {
                return Ok(Whose::Ours);
            }
            Err(misconfigured(format!("the lock database {path:?} has lost its table: move it away and start afresh")))
        }
        (APPLICATION_ID, version) if version > VERSION => Err(misconfigured(format!(
            "the lock database {path:?} has format {version}, and this version knows {VERSION}: upgrade dynamo-lock here"
        ))),
        (0, 0) if tables == 0 => Ok(Whose::Nobodys),
        _ => Err(misconfigured(format!("{path:?} is a database of another program: name another file for the locks"))),
    }
}

/// What holds for this connection, and the log mode, which stays with the file.
fn configure(database: &Database) -> Result<(), StoreError> {
    let sql = |error| without_effect(database.path(), error);
    let connection = database.connection();
    write_ahead(database)?;
    // FULL: a commit is on the disk before it is answered. With NORMAL a power failure could take back a token that
    // somebody has seen already.
    let settings =
        format!("PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; PRAGMA journal_size_limit = {LOG_LIMIT}");
    connection.execute_batch(&settings).map_err(sql)?;
    // The first look through the log creates it, so that it can be checked.
    connection.query_row("SELECT count(*) FROM (SELECT 1 FROM lock LIMIT 1)", [], |_| Ok(())).map_err(sql)
}

/// Readers and a writer do not hold each other up with a write-ahead log.
fn write_ahead(database: &Database) -> Result<(), StoreError> {
    let switch = || database.connection().query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0));
    for _ in 0..WAL_TRIES {
        match switch() {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(misconfigured(format!(
                    "the file system of {:?} cannot keep a write-ahead log (it stays in mode {mode}): \
                     name a file on a local disk",
                    database.path()
                )));
            }
            Err(error) => {
                let error = without_effect(database.path(), error);
                if !error.is_retryable() {
                    return Err(error);
                }
            }
        }
        std::thread::sleep(BUSY_LIMIT / WAL_TRIES);
    }
    Err(without_effect(database.path(), rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(5), None)))
}
