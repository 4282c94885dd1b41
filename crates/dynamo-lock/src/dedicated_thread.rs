//! [`DedicatedThread`]: a thread with a runtime of its own for the background work of a client.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::ConfigError;
use crate::blocking_thread::{THREAD_KEEP_ALIVE, reserve_thread};
use crate::boxed_future::BoxFuture;
use crate::clock::{Clock, ClockReading};

/// A thread with a current-thread runtime. It ends when this handle is dropped, and cancels its tasks then.
///
/// All requests of its client run on it, because a pooled connection is served by the runtime that opened it. A renewal
/// on the connection of a runtime that is not driven would wait for that runtime.
#[derive(Debug)]
pub(crate) struct DedicatedThread {
    handle: Handle,
    id: ThreadId,
    _stop: DropGuard,
}

impl DedicatedThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`ConfigError::Thread`] if the operating system refuses the runtime or the thread.
    pub(crate) fn start() -> Result<Self, ConfigError> {
        let refused = |error: io::Error| ConfigError::Thread { error: error.to_string() };
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().thread_keep_alive(THREAD_KEEP_ALIVE).build().map_err(refused)?;
        let handle = runtime.handle().clone();
        reserve_thread(&handle).map_err(refused)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let run = move || {
            runtime.block_on(stopped.cancelled());
            // Without a wait for blocking calls, for example of a name resolution.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("dynamo-lock".to_owned()).spawn(run).map_err(refused)?;
        Ok(Self { handle, id: thread.thread().id(), _stop: stop.drop_guard() })
    }

    /// Returns the runtime of the thread.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.handle
    }

    /// Runs `work` on the thread. Dropping the returned future drops `work`. Returns `None` if the thread has ended.
    pub(crate) async fn run<T: Send + 'static>(&self, work: BoxFuture<'static, T>) -> Option<T> {
        if std::thread::current().id() == self.id {
            return Some(work.await);
        }
        match AbortOnDropHandle::new(self.handle.spawn(work)).await {
            Ok(output) => Some(output),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_cancelled) => None,
            },
        }
    }
}

/// Clock of a client with a dedicated thread. On threads without a runtime it sleeps by the timer of that thread.
#[derive(Debug)]
pub(crate) struct ThreadClock {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runtime: Handle,
}

impl Clock for ThreadClock {
    fn now(&self) -> ClockReading {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let _context = Handle::try_current().is_err().then(|| self.runtime.enter());
        self.clock.sleep(duration)
    }
}
