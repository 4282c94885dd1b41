//! Work that runs until it has succeeded once: [`Lock::once`].

mod error;
mod guard;
mod options;
mod reset;

use dynamo_lock_protocol::Success;

pub use error::{OnceError, RecordError, ResetError};
pub use guard::OnceGuard;
pub use options::OnceOptions;

use crate::{Guard, Holder, Lock};

/// Result of [`Lock::once`] if the work has not failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the work may not have run"]
pub enum Once<T> {
    /// The work ran here and its success is recorded. Contains its output.
    Ran(T),
    /// The work has succeeded before, so it did not run. Escape the text of the success before printing it, because
    /// another process wrote it.
    Skipped(Success),
    /// Another client runs the work now. Only with [`OnceOptions::no_wait`]. Escape the text of the holder before
    /// printing it, because another process wrote it.
    Running(Holder),
}

/// Result of [`OnceOptions::start`].
#[derive(Debug)]
#[must_use = "the lock is released when the guard in it is dropped"]
pub enum OnceStart {
    /// The work may run now.
    Started(OnceGuard),
    /// The work has succeeded before, so it must not run.
    Done(Success),
    /// Another client runs the work now. Only with [`OnceOptions::no_wait`].
    Running(Holder),
}

impl Lock {
    /// Runs `work` until it has succeeded once: here, or before by any client.
    ///
    /// If a success is recorded, `work` is not called. While another client runs the work, this call waits: it skips
    /// `work` after a success, and tries in turn after a failure or a crash. When `work` returns `Ok`, the success is
    /// recorded in the row by the same write that would have released the lock, so a crash never separates the two.
    ///
    /// ```
    /// use dynamo_lock::{Client, Memory, Once};
    ///
    /// # async fn migrate(_: dynamo_lock::FencingToken) -> Result<u32, std::io::Error> { Ok(7) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = Client::builder(Memory::new()).build()?;
    /// let migration = client.lock("orders/migration-7")?;
    /// match migration.once(async |guard| migrate(guard.token()).await).await? {
    ///     Once::Ran(rows) => println!("migrated {rows} rows"),
    ///     Once::Skipped(success) => println!("migrated before, at {:?}", success.finished_at),
    ///     Once::Running(_) => unreachable!("this call waits"),
    /// }
    /// assert!(matches!(migration.once(async |_| Ok::<_, std::io::Error>(())).await?, Once::Skipped(_)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The success counts until it is [reset](Lock::reset_success), or for a time from the start of the successful run
    /// with [`OnceOptions::counts_for`]. Use one name for each piece of work, and not for other locks: a row has one
    /// kind, and the methods for the other kinds fail with [`RowError::OtherKind`](crate::RowError::OtherKind).
    ///
    /// *Once* concerns recorded successes. Work that has had its effect before the process crashed, or whose success
    /// could not be recorded, runs again; `work` must allow that.
    ///
    /// A call costs one eventually consistent read if the work has succeeded. Such a read may return a success for
    /// about a second after it was reset. A run costs two writes more. Waiters do not join the
    /// queue of their client, so there is no order between them.
    ///
    /// # Errors
    /// [`OnceError`]. The work may run again after each of them.
    ///
    /// # Cancel safety
    /// Depends on `work`, which is dropped together with this future. The lock is then released in the background
    /// without a success. A record that has begun continues in the background.
    pub async fn once<T, E>(&self, work: impl AsyncFnOnce(&Guard) -> Result<T, E>) -> Result<Once<T>, OnceError<T, E>> {
        self.options().once().run(work).await
    }
}
