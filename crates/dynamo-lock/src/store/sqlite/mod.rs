//! The embedded store: one SQLite file, many processes of one machine.
//!
//! A handle has one thread ([`thread`]) with one connection ([`schema`]); the file and its surroundings are checked
//! before SQLite sees them ([`place`]); each write is one transaction around the specification itself ([`rows`]). Who lives is
//! locked in a file beside it ([`liveness`]); when a hold is over is told by the machine's clocks ([`until`]).

mod codec;
mod fault;
#[cfg_attr(not(all(target_os = "linux", target_pointer_width = "64")), path = "leases.rs")]
mod liveness;
mod place;
mod rows;
mod schema;
mod thread;
mod until;

use std::env;
use std::fs::DirBuilder;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::fault::misconfigured;
use self::liveness::Pulse;
use self::place::{Place, default_path};
use self::thread::Thread;
use super::{Answer, BoxFuture, Consistency, Liveness, Page, Store, StoreError};
use dynamo_lock_protocol::{LockName, Op, Outcome, Row};

/// Locks in one SQLite file, shared by the processes of one machine.
///
/// Every write is on the disk before it is answered (`synchronous=FULL`): a token that somebody has seen must not be
/// given out again after a power failure. Clones share one thread and one connection; the last one dropped ends both.
/// When a process that holds a lock has gone, however that came about, its locks are taken at once on Linux: the kernel
/// knows, by byte locks in the empty file `…-liveness_key` beside the database. See `docs/embedded.md`.
///
/// While another process writes, a write waits for at most five seconds and then says
/// [`Throttled`](super::StoreErrorKind::Throttled); only this store's own thread waits, never the runtime's.
#[derive(Clone, Debug)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    thread: Thread,
    path: PathBuf,
    created: bool,
    /// That this handle is there; given up when the last clone is dropped, and so after the last guard.
    pulse: Option<Pulse>,
}

impl Sqlite {
    /// Opens the database at `path`, and creates it if there is none: mode 0600, or 0660 in a set-group-ID directory that
    /// its group may write. The directory must be there. It may wait for up to five seconds while another process is
    /// creating the same database, so call it before the runtime is busy, or on a thread that may block.
    ///
    /// # Errors
    /// A [`Misconfigured`](super::StoreErrorKind::Misconfigured) error, in one line with the mend, for whatever is
    /// not a database of ours that is safe to use: another program's file, a newer format, a symbolic link, a
    /// directory that anybody may change, a network file system, missing permissions. Nothing is written then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_at(Place::check(path.as_ref(), place::FileSystems::Local)?)
    }

    /// As [`open`](Sqlite::open), on any file system. SQLite's locks do not work on most network and FUSE file systems:
    /// two processes may then hold one lock, and the file may be destroyed.
    ///
    /// # Errors
    /// As [`open`](Sqlite::open).
    pub fn open_danger_any_file_system(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_at(Place::check(path.as_ref(), place::FileSystems::Any)?)
    }

    /// Opens the database of this user on this machine, at [`default_path`](Sqlite::default_path), and creates it and
    /// its directories (mode 0700) if they are missing.
    ///
    /// # Errors
    /// As [`open`](Sqlite::open) and [`default_path`](Sqlite::default_path).
    pub fn open_default() -> Result<Self, StoreError> {
        let path = Self::default_path()?;
        if let Some(directory) = path.parent() {
            create_private(directory)?;
        }
        Self::open(path)
    }

    /// `$XDG_STATE_HOME/dynamo-lock/locks.db`, else `~/.local/state/dynamo-lock/locks.db`.
    ///
    /// # Errors
    /// Misconfigured if there is neither `XDG_STATE_HOME` nor `HOME`.
    pub fn default_path() -> Result<PathBuf, StoreError> {
        default_path(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"))
    }

    /// Whether this handle found no database and created it. Of several that open at once, exactly one says so.
    pub fn created(&self) -> bool {
        self.inner.created
    }

    /// Where the database is, with its directory's symbolic links resolved.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Keeps what this handle acquires from being taken while a child lives, whatever becomes of this process: let the
    /// child inherit the descriptor, and close it here. As long as it is open in the child, or in anything that the child
    /// has left it to, nobody takes a lock over that was acquired through this handle or its clones, however long its
    /// lease is over. A release frees it all the same.
    ///
    /// Call it when the lock is held, just before the child is started, and then ask
    /// [`is_valid`](crate::Guard::is_valid) once more: whoever took the lock before has then been noticed. The descriptor is
    /// close-on-exec; clear that in the child alone.
    ///
    /// `None` where the kernel does not tell who lives (not on Linux, or opened on
    /// [any file system](Self::open_danger_any_file_system)), or after the liveness file was removed: leases decide then.
    ///
    /// # Errors
    /// Refused if the descriptor of an earlier call is still open somewhere: one handle, one child.
    #[cfg(unix)]
    pub fn child_liveness(&self) -> Result<Option<std::os::fd::OwnedFd>, StoreError> {
        self.inner.pulse.as_ref().map_or(Ok(None), Pulse::child)
    }

    fn open_at(place: Place) -> Result<Self, StoreError> {
        let (database, created) = schema::open(place.clone())?;
        let pulse = Pulse::begin(&place)?; // before the first row is written
        let path = database.path().to_owned();
        let thread = Thread::start(database)?;
        Ok(Self { inner: Arc::new(Inner { thread, path, created, pulse }) })
    }
}

/// Creates a directory for this user alone; one that is there stays as it is.
fn create_private(directory: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| {
        misconfigured(format!(
            "cannot create the directory {directory:?} for the lock database: {error}; create it, or name another place"
        ))
        .with_source(error)
    })
}

impl Store for Sqlite {
    fn read<'a>(&'a self, name: &'a LockName, _: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        let name = name.clone();
        Box::pin(async move { self.inner.thread.ask(move |database| rows::read(database, &name)).await.into() })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        let op = op.clone();
        Box::pin(async move { self.inner.thread.ask(move |database| rows::write(database, &op)).await.into() })
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        let after = after.unwrap_or_default().to_owned();
        Box::pin(async move { self.inner.thread.ask(move |database| rows::list(database, &after)).await.into() })
    }

    fn liveness_key(&self) -> Option<&str> {
        self.inner.pulse.as_ref().map(Pulse::liveness_key)
    }

    fn hold_liveness_key(&self, duration: Duration) -> Option<String> {
        self.inner.pulse.as_ref().and_then(|_| until::liveness_key(duration))
    }

    fn liveness(&self, liveness_key: &str) -> Liveness {
        let told = |pulse: &Pulse| until::liveness(liveness_key).unwrap_or_else(|| pulse.liveness(liveness_key));
        self.inner.pulse.as_ref().map_or(Liveness::Unknown, told)
    }
}
