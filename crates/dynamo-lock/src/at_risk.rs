//! The warning before the end of a lease: [`Guard::at_risk`] and [`Guard::recovered`].

use std::ops::ControlFlow;
use std::time::Duration;

use crate::renewal::{Holding, SLICE};
use crate::{Guard, LossReason, Lost};

impl Guard {
    /// Waits until less than `margin` of the lease is left because no renewal has succeeded, and returns the time left.
    ///
    /// Use it to stop accepting work, or to pause work that takes long, while the lock is still held. The next call
    /// waits again as soon as a renewal has succeeded; until then it returns at once. Wait for the renewal with
    /// [`recovered`](Guard::recovered):
    ///
    /// ```
    /// # use dynamo_lock::{Client, Lost, Memory};
    /// # use std::time::Duration;
    /// # fn pause() {}
    /// # fn resume() {}
    /// # async fn watch(guard: &dynamo_lock::Guard) -> Lost {
    /// let margin = Duration::from_secs(10); // half of the default lease
    /// loop {
    ///     if let Err(lost) = guard.at_risk(margin).await {
    ///         return lost;
    ///     }
    ///     pause();
    ///     if let Err(lost) = guard.recovered(margin).await {
    ///         return lost;
    ///     }
    ///     resume();
    /// }
    /// # }
    /// ```
    ///
    /// Half of the lease is a good margin. A healthy lease has nearly three quarters of its length left when its
    /// renewal begins, or two thirds with the longest [`heartbeat`](crate::ClientBuilder::heartbeat). A larger margin is
    /// therefore also reached shortly before each renewal, and one of the whole lease or more is reached at once. With a
    /// margin of zero, the call returns only at the loss. The time left includes
    /// [`max_hold`](crate::LockOptions::max_hold), so the call also returns when that is about to end. With
    /// [`Renewal::Manual`](crate::Renewal::Manual) it returns when a call of [`renew`](Guard::renew) is due.
    ///
    /// The wait sends no request. It compares clocks at least every 250 ms, and thus detects the end of a pause of the
    /// process late by at most that time. After a pause of the process there may be less time left than `margin`, or
    /// none.
    ///
    /// # Errors
    /// [`Lost`] if the lock is lost before less than `margin` is left, for example because it was revoked, or if the
    /// process was paused until the end of the lease.
    ///
    /// # Cancel safety
    /// Safe. The wait has no side effects.
    pub async fn at_risk(&self, margin: Duration) -> Result<Duration, Lost> {
        self.until(falls_below(margin)).await
    }

    /// Waits until at least `margin` of the lease is left, because a renewal has succeeded. Returns at once if that much
    /// is left.
    ///
    /// Used after [`at_risk`](Guard::at_risk). Sends no request, because the renewal task repeats failed renewals by
    /// itself; [`renew`](Guard::renew) makes the next attempt now. If `margin` is longer than a renewal extends the
    /// lease, or [`max_hold`](crate::LockOptions::max_hold) ends before, the call returns only at the loss.
    ///
    /// # Errors
    /// [`Lost`] if the lock is lost before.
    ///
    /// # Cancel safety
    /// Safe. The wait has no side effects.
    pub async fn recovered(&self, margin: Duration) -> Result<(), Lost> {
        self.until(reaches(margin)).await
    }

    /// Calls `step` with the time left, until it returns a result. It returns the time until its next call otherwise.
    async fn until<T>(&self, step: impl Fn(Duration) -> ControlFlow<T, Duration>) -> Result<T, Lost> {
        let result = if self.is_forked() { Err(LossReason::Suspended) } else { self.holding.until(step).await };
        result.map_err(|reason| self.lost_error(reason, None))
    }
}

/// Returns the step of a wait until less than `margin` is left.
pub(crate) fn falls_below(margin: Duration) -> impl Fn(Duration) -> ControlFlow<Duration, Duration> {
    move |left| match left.checked_sub(margin) {
        None => ControlFlow::Break(left),
        Some(rest) => ControlFlow::Continue(rest),
    }
}

/// Returns the step of a wait until at least `margin` is left.
pub(crate) fn reaches(margin: Duration) -> impl Fn(Duration) -> ControlFlow<(), Duration> {
    move |left| if left >= margin { ControlFlow::Break(()) } else { ControlFlow::Continue(left) }
}

impl Holding {
    async fn until<T>(&self, step: impl Fn(Duration) -> ControlFlow<T, Duration>) -> Result<T, LossReason> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(reason) = self.check() {
                return Err(reason);
            }
            let left = self.time_left();
            if left.is_zero() {
                continue; // The lease has ended between the two readings of the clock.
            }
            let rest = match step(left) {
                ControlFlow::Break(result) => return Ok(result),
                ControlFlow::Continue(rest) => rest,
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = self.core.pause(rest.min(SLICE)) => {}
            }
        }
    }
}
