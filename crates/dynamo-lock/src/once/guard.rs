//! [`OnceGuard`]: the right to run work that has not succeeded yet.

use std::ops::Deref;
use std::time::Duration;

use dynamo_lock_protocol::{Finish, FinishEnd};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::RecordError;
use crate::{Event, Guard, LossReason, ReleaseError, log, run::Run};

/// A held lock on work that runs until it has succeeded once, returned by [`OnceOptions::start`](super::OnceOptions::start).
///
/// It dereferences to the [`Guard`] of the lock. Call [`succeed`](OnceGuard::succeed) when the work has succeeded.
/// Dropping it releases the lock without a success, so that the work may run again.
#[derive(Debug)]
#[must_use = "the lock is released without a success when its guard is dropped"]
pub struct OnceGuard {
    guard: Guard,
    lasts: Option<Duration>,
}

impl OnceGuard {
    pub(super) fn new(guard: Guard, lasts: Option<Duration>) -> Self {
        Self { guard, lasts }
    }

    /// Records the success of the work in place of the release, and waits for the result.
    ///
    /// The guard becomes invalid before the request is sent. A request without an answer, or one that the store
    /// rejects, is repeated for one lease. It is also sent after the lease has ended, because no other client may have
    /// acquired the lock.
    ///
    /// # Errors
    /// [`RecordError`]. The work has succeeded, but it may run again.
    ///
    /// # Cancel safety
    /// Safe. The record continues in the background; [`Client::close`](crate::Client::close) waits for it.
    pub async fn succeed(self) -> Result<(), RecordError> {
        let Self { mut guard, lasts } = self;
        if guard.is_forked() {
            // A forked child must not end the lock of its parent.
            return Err(guard.lost_error(LossReason::Suspended, None).into());
        }
        let lease = guard.holding.lease.with(|held| held.timing().lease());
        let limit = guard.limit_of_release(lease + guard.timeout() * 2);
        let (done, end) = oneshot::channel();
        guard.begin_record(lasts, move |result| {
            let _cancelled = done.send(result);
        });
        let end = tokio::select! {
            biased;
            end = end => end,
            () = limit => return Err(RecordError::Unknown),
        };
        match end {
            Ok(Ok(FinishEnd::Recorded)) => Ok(()),
            Ok(Ok(FinishEnd::NotRecorded(loss))) => Err(guard.lost_error(loss, None).into()),
            Ok(Err(error)) => Err(error.into()),
            // Without a result, the task was dropped with its runtime, or it panicked.
            Ok(Ok(_)) | Err(_) => Err(RecordError::Unknown),
        }
    }

    /// Releases the lock without a success, so that the work may run again, and waits for the result.
    ///
    /// # Errors
    /// Same as [`Guard::release`].
    ///
    /// # Cancel safety
    /// Same as [`Guard::release`].
    pub async fn release(self) -> Result<(), ReleaseError> {
        self.guard.release().await
    }
}

impl Deref for OnceGuard {
    type Target = Guard;

    fn deref(&self) -> &Guard {
        &self.guard
    }
}

impl Guard {
    /// Invalidates the guard, and records its success in a task of its own.
    fn begin_record(
        &mut self,
        lasts: Option<Duration>,
        report: impl FnOnce(Result<FinishEnd, crate::StoreError>) + Send + 'static,
    ) {
        self.released = true;
        let (holding, timeout) = (self.holding.clone(), self.timeout());
        // The release is not sent, because the success takes its place.
        let _ending = holding.begin_release(false);
        let (core, span) = (holding.core.clone(), log::release_span(&holding));
        let finish = core.now(|now| holding.lease.with(|held| Finish::new(held, core.owner.clone(), lasts, now)));
        let work = async move {
            let mut run = Run::new(&core, &holding.name, finish, timeout);
            let end = run.complete().await;
            if end == FinishEnd::Recorded {
                core.event(Event::Released { name: &holding.name, token: holding.token, held: holding.held_for() });
            }
            report(if end == FinishEnd::Refused { Err(run.take_last_error()) } else { Ok(end) });
        };
        self.holding.core.tasks.spawn_on(work.instrument(span), &self.runtime_of_release());
    }
}
