//! One operating-system thread per handle, so that waiting for another process's lock or for the disk never holds up
//! the runtime: a busy wait of 3 s inline stopped a heartbeat for 3 s.

use std::fmt;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

use super::fault::misconfigured;
use super::schema::Database;
use crate::clock::{Clock, SystemClock};
use crate::store::{StoreError, StoreErrorKind};
use dynamo_lock_protocol::{Deadline, SentAt};

/// How long one request may wait for others before it is answered with `Throttled`, its time in the queue included.
pub(super) const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// Requests that may queue for the thread; further ones wait on the async side.
const QUEUE: usize = 64;

/// The thread's name, as the operating system shows it (at most 15 bytes there).
const NAME: &str = "dynamo-lock-sql";

type Job = Box<dyn FnOnce(&Database) + Send>;

/// The way to the thread. When it is dropped, the thread finishes what is queued and ends.
pub(super) struct Thread {
    jobs: mpsc::Sender<Job>,
    pid: u32,
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Thread {
    /// Hands the database to a thread of its own.
    pub(super) fn start(database: Database) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(move || serve(&database, queue))
            .map_err(|error| misconfigured(format!("cannot start the store's thread: {error}; raise the limit")))?;
        Ok(Self { jobs, pid: std::process::id() })
    }

    /// Has the thread do something, and waits for its answer without blocking.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.pid != std::process::id() {
            // A forked child has no such thread, and an inherited connection would break SQLite's locks.
            return Err(StoreError::new(
                StoreErrorKind::Refused,
                "this store was opened before a fork, and its connection belongs to the parent: open it again here",
            ));
        }
        let (answer, answered) = oneshot::channel();
        let asked = SentAt(SystemClock.now());
        let job: Job = Box::new(move |database| {
            if answer.is_closed() {
                return; // nobody waits any more
            }
            let left = Deadline::new(asked, BUSY_LIMIT).left(SystemClock.now());
            // The receiver may have gone meanwhile: that is its right.
            let _ = answer.send(database.wait_at_most(left).and_then(|()| job(database)));
        });
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn serve(database: &Database, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(database);
        if !database.is_idle() {
            // A transaction that could not even be rolled back. Closing the connection ends it.
            return;
        }
    }
}

fn gone() -> StoreError {
    StoreError::new(
        StoreErrorKind::Unanswered,
        "the store's thread has ended, and whether the request took effect is not known: open the store again",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Sqlite;
    use super::*;
    use std::sync::Arc;

    fn store(directory: &tempfile::TempDir) -> Sqlite {
        Sqlite::open(directory.path().join("locks.db")).expect("opens")
    }

    #[tokio::test]
    async fn a_panic_on_the_thread_leaves_nobody_waiting() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(&directory);
        let thread = &store.inner.thread;
        assert_eq!(thread.ask(|_| Ok(7)).await.ok(), Some(7), "the thread answers before");
        let during = thread.ask(|_| -> Result<(), _> { panic!("for the test") }).await;
        assert_eq!(during.map_err(|e| e.kind()), Err(StoreErrorKind::Unanswered));
        let after = thread.ask(|_| Ok(())).await;
        assert_eq!(after.map_err(|e| e.kind()), Err(StoreErrorKind::Unanswered));
    }

    #[tokio::test]
    async fn a_handle_from_before_a_fork_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = store(&directory);
        Arc::get_mut(&mut store.inner).expect("the only handle").thread.pid += 1;
        let answer = store.inner.thread.ask(|_| Ok(())).await;
        let error = answer.expect_err("this process is not that one");
        assert_eq!(error.kind(), StoreErrorKind::Refused);
        assert!(error.to_string().contains("open it again here"), "{error}");
    }

    #[tokio::test]
    async fn a_request_that_nobody_waits_for_is_skipped() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(&directory);
        let (block, blocked) = std::sync::mpsc::channel::<()>();
        let thread = &store.inner.thread;
        let (sent, ran) = std::sync::mpsc::channel();
        {
            // Polled once each, so that both are queued, then dropped.
            let held = thread.ask(move |_| Ok(blocked.recv().is_ok()));
            let dropped = thread.ask(move |_| Ok(sent.send(()).is_ok()));
            tokio::pin!(held, dropped);
            tokio::select! {
                biased;
                _ = &mut held => unreachable!("nobody has let it go"),
                _ = &mut dropped => unreachable!("it is behind the other"),
                () = std::future::ready(()) => {}
            }
        }
        block.send(()).ok();
        assert_eq!(thread.ask(|_| Ok(1)).await.ok(), Some(1), "the thread goes on");
        assert!(ran.recv().is_err(), "the dropped request was never run");
    }
}
