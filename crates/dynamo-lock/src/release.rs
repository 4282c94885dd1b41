//! The release of a guard.

use std::fmt;
use std::sync::mpsc;
use std::time::Duration;

use dynamo_lock_protocol::ReleaseEnd;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::boxed_future::BoxFuture;
use crate::queue::{OldGuard, hand_over};
use crate::shared_lease::LeaseEnding;
use crate::{Guard, LossReason, ReleaseError, StoreError, WithError, log};

type ReleaseResult = Result<ReleaseEnd, StoreError>;

/// Time after the acquisition within which a drop is taken for a mistake.
pub(crate) const DROPPED_AT_ONCE: Duration = Duration::from_millis(5);

impl Guard {
    /// Releases the lock, and waits for the result.
    ///
    /// If other calls of the same client wait for the lock, it is handed over to the first of them with one write, at most
    /// 16 times in a row and for one lease. The result is the same.
    ///
    /// The guard becomes invalid before the request is sent. A request that is not answered, or that the store rejects,
    /// is repeated until the lease ends. The requests run on the runtime of the caller, also if the lock was acquired on
    /// another one, so that the release ends even if that runtime is not driven any more. With
    /// [`dedicated_thread`](crate::ClientBuilder::dedicated_thread) they run on that thread. On a thread without a
    /// runtime they run on that of the acquisition; if it is not driven, the result is [`ReleaseError::Unknown`] soon
    /// after the end of the lease.
    ///
    /// # Errors
    /// [`ReleaseError::Lost`] if the lock was lost before, [`ReleaseError::Unknown`] if the responses do not show
    /// whether the release was applied, [`ReleaseError::Store`] if the store rejected all requests. In all three cases
    /// this guard's lease expires within its length.
    ///
    /// # Cancel safety
    /// Safe. The release continues in the background; [`Client::close`](crate::Client::close) waits for it.
    pub async fn release(self) -> Result<(), ReleaseError> {
        self.start_release().await
    }

    /// Begins the release now, and returns a future that waits for its result. The release continues if that future is
    /// dropped.
    pub(crate) fn start_release(mut self) -> BoxFuture<'static, Result<(), ReleaseError>> {
        if self.is_forked() {
            // A forked child must not release the lock of its parent.
            let lost = self.lost_error(LossReason::Suspended, None).into();
            return Box::pin(std::future::ready(Err(lost)));
        }
        let longest = self.longest_release();
        let (done, end) = oneshot::channel();
        self.begin_release(move |result| {
            let _cancelled = done.send(result);
        });
        Box::pin(self.end_of_release(longest, end))
    }

    /// Waits for the result of a release that has begun, at most for its longest time.
    async fn end_of_release(
        self,
        longest: Duration,
        end: oneshot::Receiver<ReleaseResult>,
    ) -> Result<(), ReleaseError> {
        let limit = self.limit_of_release(longest);
        let end = tokio::select! {
            biased;
            end = end => end,
            () = limit => return Err(ReleaseError::Unknown),
        };
        match end {
            Ok(Ok(ReleaseEnd::Released)) => Ok(()),
            Ok(Ok(ReleaseEnd::Lost(loss))) => Err(self.lost_error(loss, None).into()),
            Ok(Err(error)) => Err(error.into()),
            // Without a result, the task was dropped with its runtime, or it panicked.
            Ok(Ok(_)) | Err(_) => Err(ReleaseError::Unknown),
        }
    }

    /// Drops the guard as a step of the library, so that it causes no warning even shortly after the acquisition.
    pub(crate) fn drop_in_background(mut self) {
        self.acquired_ns = 0;
    }

    /// Releases the lock after work with this output.
    pub(crate) async fn release_with<T: fmt::Debug>(self, output: T) -> Result<T, WithError<T>> {
        match self.release().await {
            Ok(()) => Ok(output),
            Err(error) => Err(WithError::Release { output, error }),
        }
    }

    /// Returns a future that completes after the longest time of a release.
    pub(crate) fn limit_of_release(&self, longest: Duration) -> BoxFuture<'static, ()> {
        let core = &self.holding.core;
        let has_timer = core.thread.is_some() || Handle::try_current().is_ok();
        if has_timer { core.clock.sleep(longest) } else { sleep_on_new_thread(longest) }
    }

    /// Returns the maximum time for one attempt of the release.
    pub(crate) fn timeout(&self) -> Duration {
        self.holding.lease.with(|held| held.timing().attempt_timeout())
    }

    /// Returns the longest time that a release takes on a thread that is not blocked: the store gets ready, then
    /// attempts follow until the lease ends, but at least one. An attempt may be sent twice.
    fn longest_release(&self) -> Duration {
        let timeout = self.timeout();
        self.time_left().max(timeout * 4) + timeout * 2
    }

    /// Returns the runtime of the dedicated thread, else that of this thread, because that of the acquisition may not be
    /// driven any more.
    pub(crate) fn runtime_of_release(&self) -> Handle {
        let current = Handle::try_current().ok().filter(|_| self.holding.core.thread.is_none());
        current.unwrap_or_else(|| self.runtime.clone())
    }

    fn begin_release(&mut self, report: impl FnOnce(ReleaseResult) + Send + 'static) {
        self.released = true;
        let (holding, timeout) = (self.holding.clone(), self.timeout());
        let (ending, next) = holding.core.queues.begin_end(&holding, timeout);
        let LeaseEnding { release, held } = holding.begin_release(next.is_some());
        let (runtime, tasks) = (self.runtime_of_release(), &self.holding.core.tasks);
        let span = log::release_span(&holding);
        let mut old = OldGuard { holding, report: Some(report) };
        if let (Some(held), Some(next)) = (held, next) {
            tasks.spawn_on(hand_over(held, next, ending, old).instrument(span), &runtime);
            return;
        }
        let work = async move {
            let result = old.holding.core.release(release, timeout).await;
            old.report(result);
            drop(ending);
        };
        tasks.spawn_on(work.instrument(span), &runtime);
    }
}

/// Waits for a thread that sleeps. The runtime of the acquisition may not be driven, so its timer may never fire.
/// Completes at once if the system refuses another thread. Dropping the future ends the thread.
fn sleep_on_new_thread(length: Duration) -> BoxFuture<'static, ()> {
    let (end, ended) = oneshot::channel::<()>();
    let (stop, stopped) = mpsc::channel::<()>();
    let sleep = move || {
        let _dropped = stopped.recv_timeout(length);
        drop(end);
    };
    let _refused = std::thread::Builder::new().name("dynamo-lock timer".to_owned()).spawn(sleep);
    Box::pin(async move {
        let _stop = stop;
        let _closed = ended.await;
    })
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.released && !self.is_forked() {
            let held_ns = self.holding.core.clock.now().raw_ns.saturating_sub(self.acquired_ns);
            if Duration::from_nanos(held_ns) < DROPPED_AT_ONCE {
                log::dropped_at_once(&self.holding.core, self.name());
            }
            let holding = self.holding.clone();
            self.begin_release(move |result| match result {
                Ok(ReleaseEnd::Released) => {}
                Ok(end) => log::not_released(&holding.core, &holding.name, &format_args!("{end:?}")),
                Err(error) => log::not_released(&holding.core, &holding.name, &error),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{Metadata, Subscriber, span};

    /// Subscriber that keeps the levels of all events.
    #[derive(Clone, Debug, Default)]
    struct Levels(Arc<Mutex<Vec<tracing::Level>>>);

    impl Subscriber for Levels {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().starts_with("dynamo_lock")
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            self.0.lock().expect("no panic").push(*event.metadata().level());
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    #[tokio::test]
    async fn guard_dropped_at_once_causes_a_warning() {
        let levels = Levels::default();
        let _default = tracing::subscriber::set_default(levels.clone());
        let warnings = || levels.0.lock().expect("no panic").iter().filter(|l| **l == tracing::Level::WARN).count();
        let client = crate::Client::builder(crate::Memory::new()).build().expect("valid");
        let lock = client.lock("a").expect("valid");
        // The time of the acquisition is set, because the test may be interrupted at any time.
        let drop_at = async |acquired_ns: u64| {
            let mut guard = lock.acquire().await.expect("free");
            guard.acquired_ns = acquired_ns;
            drop(guard);
            client.close().await;
        };
        drop_at(u64::MAX).await;
        assert_eq!(warnings(), 1);
        // Controls: a guard that was kept for a moment, or is released.
        drop_at(0).await;
        lock.acquire().await.expect("free").release().await.expect("held");
        assert_eq!(warnings(), 1);
    }
}
