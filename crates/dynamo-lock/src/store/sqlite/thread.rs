//! Thread that runs all database requests of a handle.
//!
//! Each handle has one operating-system thread, so that waiting for another process or for the disk never blocks the
//! runtime. A busy wait of 3 s inside the runtime would also stop renewals for 3 s.

use dynamo_lock_protocol::{Deadline, SentAt};
use tokio::sync::{mpsc, oneshot};

use super::database::{BUSY_LIMIT, Database};
use super::error::{from_io, refused};
use crate::clock::{Clock, SystemClock};
use crate::process::ProcessId;
use crate::store::{StoreError, StoreErrorKind};

/// Requests that may wait in the queue of the thread. Further ones wait in their own tasks.
const QUEUE: usize = 64;

/// Name of the thread, as the operating system shows it (at most 15 bytes there).
const NAME: &str = "dynamo-lock-sql";

type Job = Box<dyn FnOnce(&Database) + Send>;

/// Sending half of the thread's queue. When it is dropped, the thread completes the queued requests and ends.
#[derive(Debug)]
pub(super) struct Thread {
    jobs: mpsc::Sender<Job>,
    process: ProcessId,
}

impl Thread {
    /// Starts a thread that owns the database.
    pub(super) fn start(database: Database) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new().name(NAME.to_owned()).spawn(move || serve(&database, queue)).map_err(|error| {
            from_io(format!("cannot start the thread of the store: {error}"), "check the limits of this system", error)
        })?;
        Ok(Self { jobs, process: ProcessId::current() })
    }

    /// Runs `job` on the thread and returns its result. Skips the job if this future is dropped before it starts.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if !self.process.is_current() {
            // A forked child has no such thread, and using the inherited connection would break SQLite's locks.
            let problem = "this store was opened before a fork, and its connection belongs to the parent process";
            return Err(refused(problem, "open it again here"));
        }
        let (result, received) = oneshot::channel();
        let queued_at = SentAt(SystemClock.now());
        let job: Job = Box::new(move |database| {
            if result.is_closed() {
                return;
            }
            database.wait_until(Deadline::new(queued_at, BUSY_LIMIT));
            // Fails if the receiver was dropped meanwhile, which is allowed.
            let _ = result.send(job(database));
        });
        self.jobs.send(job).await.map_err(|_| thread_ended())?;
        received.await.map_err(|_| thread_ended())?
    }
}

fn serve(database: &Database, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(database);
        if !database.is_idle() {
            // The rollback of a transaction has failed. Closing the connection ends the transaction.
            return;
        }
    }
}

fn thread_ended() -> StoreError {
    let problem = "cannot tell whether the request took effect: the thread of the store has ended";
    StoreError::new(StoreErrorKind::Unanswered, problem).with_fix("open the store again")
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
    async fn panic_on_thread_fails_pending_and_later_requests() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(&directory);
        let thread = &store.inner.thread;
        assert_eq!(thread.run(|_| Ok(7)).await.ok(), Some(7), "the thread answers before");
        let during = thread.run(|_| -> Result<(), _> { panic!("for the test") }).await;
        assert_eq!(during.map_err(|e| e.kind()), Err(StoreErrorKind::Unanswered));
        let after = thread.run(|_| Ok(())).await;
        assert_eq!(after.map_err(|e| e.kind()), Err(StoreErrorKind::Unanswered));
    }

    #[tokio::test]
    async fn handle_from_before_fork_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = store(&directory);
        Arc::get_mut(&mut store.inner).expect("the only handle").thread.process = ProcessId::of_parent();
        let result = store.inner.thread.run(|_| Ok(())).await;
        let error = result.expect_err("this process is not that one");
        assert_eq!(error.kind(), StoreErrorKind::Refused);
        assert!(error.to_string().contains("open it again here"), "{error}");
    }

    #[tokio::test]
    async fn dropped_request_is_skipped() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = store(&directory);
        let (block, blocked) = std::sync::mpsc::channel::<()>();
        let thread = &store.inner.thread;
        let (sent, ran) = std::sync::mpsc::channel();
        {
            // Polled once each, so that both are queued, then dropped.
            let held = thread.run(move |_| Ok(blocked.recv().is_ok()));
            let dropped = thread.run(move |_| Ok(sent.send(()).is_ok()));
            tokio::pin!(held, dropped);
            tokio::select! {
                biased;
                _ = &mut held => unreachable!("it blocks until the channel has a message"),
                _ = &mut dropped => unreachable!("it is queued behind the other"),
                () = std::future::ready(()) => {}
            }
        }
        block.send(()).ok();
        assert_eq!(thread.run(|_| Ok(1)).await.ok(), Some(1), "the thread goes on");
        assert!(ran.recv().is_err(), "the dropped request was never run");
    }
}
