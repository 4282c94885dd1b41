//! Embedded store: one SQLite file that the processes of one machine share.
//!
//! Each handle has one [`thread`] with one connection to the [`database`]. [`database_path`] checks the file and its
//! surroundings before SQLite opens it. Each write runs the specification itself in one transaction ([`rows`]). A
//! [`LivenessLock`] in a file beside the database shows which handles are alive, and the clocks of the machine show
//! which holds have expired ([`hold_expiry`]).

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod change_watch;
mod codec;
mod database;
mod database_path;
pub(crate) mod error;
#[cfg(unix)]
pub mod examination;
mod file_system;
mod hold_expiry;
#[cfg_attr(not(all(target_os = "linux", target_pointer_width = "64")), path = "liveness_unsupported.rs")]
mod liveness;
mod rows;
mod thread;

use std::path::{Path, PathBuf};
use std::{env, fs::DirBuilder, sync::Arc, time::Duration};

use self::database_path::{DatabasePath, FileSystems, default_path};
use self::{database::Database, error::from_io, liveness::LivenessLock, thread::Thread};
use super::{
    Answer, BoxFuture, Consistency, Liveness, LockName, Op, Outcome, Page, Row, Store, StoreError, StoreOperation,
};

/// Locks in one SQLite file, shared by the processes of one machine.
///
/// Every write is on the disk before it is answered (`synchronous=FULL`), because a token that a client has seen must
/// not be issued again after a power failure. Clones share one thread and one connection; dropping the last clone ends
/// both.
///
/// On Linux, when a process that holds a lock ends, for whatever reason, other processes can acquire its locks at once.
/// The kernel reports the end through byte locks in the empty file `…-live` beside the database. See `docs/sqlite.md`.
///
/// While another process writes, a write waits for at most five seconds and then fails with
/// [`Throttled`](super::StoreErrorKind::Throttled). Only the store's own thread waits, never the runtime's.
#[derive(Clone, Debug)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    thread: Thread,
    path: PathBuf,
    created: bool,
    /// Shows that this handle is alive. Released when the last clone is dropped, and so after the last guard.
    liveness: Option<LivenessLock>,
}

impl Sqlite {
    /// Opens the database at `path`, or creates it: with mode 0600, or 0660 in a set-group-ID directory that its group
    /// may write. The directory must exist.
    ///
    /// Blocks for up to five seconds while another process is creating the same database. Call it before the runtime is
    /// busy, or on a thread that may block.
    ///
    /// # Errors
    /// [`Misconfigured`](super::StoreErrorKind::Misconfigured) if the file is not a lock database that is safe to use:
    /// a file of another program, another format version, a symbolic link, a file that is mounted by itself, a
    /// directory that all users may change, a file system that is not known to be local, a path of more than 504 bytes,
    /// or missing permissions. [`Throttled`](super::StoreErrorKind::Throttled) if the system has no thread or
    /// descriptor left, or if another program keeps the database busy or in a write-ahead log. Nothing is written then.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_on(path.as_ref(), FileSystems::Local)
    }

    /// Like [`open`](Sqlite::open), but without the check of the file system and without liveness detection.
    ///
    /// SQLite's locks do not work on most network and FUSE file systems: two processes may then hold one lock, and the
    /// file may be destroyed.
    ///
    /// # Errors
    /// The same as [`open`](Sqlite::open).
    pub fn open_unchecked(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_on(path.as_ref(), FileSystems::Any)
    }

    /// Opens the database of this user at [`default_path`](Sqlite::default_path). Creates it and its directories (mode
    /// 0700) if they are missing.
    ///
    /// # Errors
    /// The same as [`open`](Sqlite::open) and [`default_path`](Sqlite::default_path).
    pub fn open_default() -> Result<Self, StoreError> {
        let path = Self::default_path()?;
        if let Some(directory) = path.parent() {
            create_private(directory).map_err(|error| error.with_operation(StoreOperation::Open))?;
        }
        Self::open(path)
    }

    /// Returns `$XDG_STATE_HOME/dynamo-lock/locks.db`, or `~/.local/state/dynamo-lock/locks.db` if that variable is not
    /// set.
    ///
    /// # Errors
    /// Misconfigured if neither `XDG_STATE_HOME` nor `HOME` is set.
    pub fn default_path() -> Result<PathBuf, StoreError> {
        default_path(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"))
            .map_err(|error| error.with_operation(StoreOperation::Open))
    }

    /// Returns whether this handle has created the database. If several processes open it at once, exactly one of them
    /// returns `true`.
    pub fn created(&self) -> bool {
        self.inner.created
    }

    /// Returns the path of the database, with the symbolic links of its directory resolved.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Returns a descriptor that keeps the locks of this handle from being taken over while a child process is alive.
    ///
    /// Let the child inherit the descriptor, and close it in this process. While it is open in the child or in any of
    /// the child's descendants, no other client takes over a lock that was acquired through this handle or its clones,
    /// even if this process has ended and the lease has expired. A release frees the lock nevertheless.
    ///
    /// Call it while the lock is held, immediately before starting the child, and then check
    /// [`is_valid`](crate::Guard::is_valid) again, because another client may have taken over the lock before the call.
    /// The descriptor is close-on-exec; clear that flag in the child only.
    ///
    /// Returns `None` if only leases decide: on platforms other than Linux, after
    /// [`open_unchecked`](Self::open_unchecked), or after the liveness file was removed.
    ///
    /// # Errors
    /// Refused if the descriptor of an earlier call is still open in some process: each handle supports one child.
    #[cfg(unix)]
    pub fn child_liveness(&self) -> Result<Option<std::os::fd::OwnedFd>, StoreError> {
        self.inner.liveness.as_ref().map_or(Ok(None), LivenessLock::lock_for_child)
    }

    fn open_on(path: &Path, file_systems: FileSystems) -> Result<Self, StoreError> {
        let open = || {
            let path = DatabasePath::check(path, file_systems)?;
            let (database, created) = Database::open(path.clone())?;
            // Before the first row is written, so that no row has the key of a handle that seems to have ended.
            let liveness = LivenessLock::acquire(&path)?;
            let thread = Thread::start(database)?;
            Ok(Self { inner: Arc::new(Inner { thread, path: path.path().to_owned(), created, liveness }) })
        };
        open().map_err(|error: StoreError| error.with_operation(StoreOperation::Open))
    }

    /// Runs `job` on the store's thread.
    async fn run<T: Send + 'static>(
        &self,
        operation: StoreOperation,
        job: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<T> {
        self.inner.thread.run(job).await.map_err(|error| error.with_operation(operation)).into()
    }
}

/// Creates a directory for this user alone. Leaves an existing directory as it is.
fn create_private(directory: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| {
        let problem = format!("cannot create the directory {directory:?} for the lock database: {error}");
        from_io(problem, "create it, or name another place", error)
    })
}

impl Store for Sqlite {
    fn read<'a>(&'a self, name: &'a LockName, _: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        let name = name.clone();
        Box::pin(self.run(StoreOperation::Read, move |database| rows::read(database, &name)))
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        let op = op.clone();
        let signal = self.inner.liveness.as_ref().map(LivenessLock::release_signal);
        Box::pin(self.run(StoreOperation::Write, move |database| {
            let outcome = rows::write(database, &op)?;
            if let (Outcome::Applied(_), Some(signal)) = (&outcome, signal)
                && op.kind.frees_lock()
            {
                signal.send();
            }
            Ok(outcome)
        }))
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        let after = after.unwrap_or_default().to_owned();
        Box::pin(self.run(StoreOperation::List, move |database| rows::list(database, &after)))
    }

    fn npm_clients(&self) -> bool {
        false
    }

    fn liveness_key(&self) -> Option<&str> {
        self.inner.liveness.as_ref().map(LivenessLock::liveness_key)
    }

    fn hold_liveness_key(&self, duration: Duration) -> Option<String> {
        self.inner.liveness.as_ref().and_then(|_| hold_expiry::liveness_key(duration))
    }

    fn liveness(&self, liveness_key: &str) -> Liveness {
        let Some(lock) = &self.inner.liveness else { return Liveness::Unknown };
        hold_expiry::liveness(liveness_key).unwrap_or_else(|| lock.liveness(liveness_key))
    }

    fn hold_time_left(&self, liveness_key: &str) -> Option<Duration> {
        self.inner.liveness.as_ref().and_then(|_| hold_expiry::time_left(liveness_key))
    }

    fn changed(&self, _: &LockName) -> Option<BoxFuture<'static, ()>> {
        self.inner.liveness.as_ref().and_then(LivenessLock::changed)
    }
}
