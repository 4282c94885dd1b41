//! [`SharedLease`]: the state that a guard, its renewal task and its release share.
//!
//! Each method is one critical section, so that two threads see the same order of events: a renewal, a loss, the report
//! of the loss, the beginning of the release. The module has no type of an asynchronous runtime, because
//! `crates/loom-tests` compiles it with the mutex of loom and runs it under every order of the threads.

use std::time::Duration;

use dynamo_lock_protocol::{ClockReading, Held, HeldStep, LossReason, Now, Release, Response};

use crate::StoreError;
use crate::sync::{Mutex, lock};

/// A held lock with the error of its last renewal, and the progress of its guard.
pub(crate) struct SharedLease(Mutex<State>);

struct State {
    held: Held,
    /// Error of the last renewal, if it failed.
    last_error: Option<Box<StoreError>>,
    /// Whether the release of the guard has begun.
    ended: bool,
    /// Whether the loss was reported.
    reported: bool,
}

/// A loss, for the one caller that reports it.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) reason: LossReason,
    /// Error of the last renewal, if it failed.
    pub(crate) last_error: Option<StoreError>,
}

/// A release that has begun and was not sent yet.
pub(crate) struct ReleaseStart {
    end: LeaseEnding,
    /// Loss that the caller must report.
    pub(crate) loss: Option<Loss>,
}

/// The end of a lease. Its guard is invalid for all users.
pub(crate) struct LeaseEnding {
    /// The release to send.
    pub(crate) release: Release,
    /// The lease, if it may be handed over in place of the release.
    pub(crate) held: Option<Box<Held>>,
}

impl SharedLease {
    pub(crate) fn new(held: Held) -> Self {
        Self(Mutex::new(State { held, last_error: None, ended: false, reported: false }))
    }

    /// Calls `f` with the state machine.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Held) -> T) -> T {
        f(&mut lock(&self.0).held)
    }

    /// Returns the error of the last renewal, if it failed.
    pub(crate) fn last_error(&self) -> Option<StoreError> {
        lock(&self.0).last_error.as_deref().cloned()
    }

    /// Returns the reason of the loss if the lock is lost now. The clock is read after the wait for the mutex, so that
    /// the result is not older than that.
    pub(crate) fn check(&self, clock: impl FnOnce() -> ClockReading) -> Option<LossReason> {
        self.with(|held| held.check(clock()))
    }

    /// Returns whether the lock is lost or its release has begun, so that its users must stop.
    pub(crate) fn has_ended(&self, clock: impl FnOnce() -> ClockReading) -> bool {
        let mut state = lock(&self.0);
        state.ended || state.held.check(clock()).is_some()
    }

    /// Returns whether the release has begun.
    pub(crate) fn is_released(&self) -> bool {
        lock(&self.0).ended
    }

    /// Returns whether a thread is in one of the critical sections.
    #[cfg(test)]
    #[allow(dead_code)] // not used where loom runs this module
    pub(crate) fn is_in_use(&self) -> bool {
        self.0.try_lock().is_err()
    }

    /// Returns the loss if the lock is lost at this time and the caller must report it. Each loss is returned once. It
    /// is not returned after the release has begun, because [`begin_release`](Self::begin_release) returns it.
    pub(crate) fn claim_report(&self, at: ClockReading) -> Option<Loss> {
        let mut state = lock(&self.0);
        if state.ended { None } else { state.claim_report(at) }
    }

    /// Returns the length of the sleep if that is the next step of the renewal task.
    #[allow(dead_code)] // not used where loom runs this module
    pub(crate) fn sleep(&self, at: ClockReading, may_have_service_time: bool) -> Option<Duration> {
        let mut state = lock(&self.0);
        if state.ended { None } else { state.held.sleep(at, may_have_service_time) }
    }

    /// Returns the next step of the renewal task, `None` once the release has begun. No renewal begins after that.
    pub(crate) fn next(&self, now: &Now<'_>) -> Option<HeldStep> {
        let mut state = lock(&self.0);
        if state.ended { None } else { Some(state.held.next(now)) }
    }

    /// Returns whether the next step is a renewal.
    pub(crate) fn is_renewal_due(&self, now: &Now<'_>) -> bool {
        let mut held = self.with(|held| held.clone());
        matches!(held.next(now), HeldStep::Write(_))
    }

    /// Takes the response to a renewal, and its error if it failed. Returns how late the renewal was if it was applied.
    /// Ignores it once the release has begun, because the release may have caused a conflict.
    pub(crate) fn handle(&self, now: &Now<'_>, response: Response<'_>, error: Option<StoreError>) -> Option<Duration> {
        let mut state = lock(&self.0);
        if state.ended {
            return None;
        }
        let (renewals, lateness) = (state.held.renewals(), state.held.renewal_lateness(now.at));
        state.held.handle(now, response);
        state.last_error = error.map(Box::new);
        (state.held.renewals() > renewals).then_some(lateness)
    }

    /// Ends the lease because the renewal task has ended, unless it is lost already or its release has begun.
    pub(crate) fn stop_renewing(&self, at: ClockReading) {
        let mut state = lock(&self.0);
        if !state.ended {
            state.held.stop_renewing(at);
        }
    }

    /// Begins the release, or a handover if `has_next` and the lease may be handed over. No renewal begins and no loss is
    /// reported after that.
    pub(crate) fn begin_release(&self, now: &Now<'_>, has_next: bool) -> ReleaseStart {
        let mut state = lock(&self.0);
        let loss = state.claim_report(now.at);
        state.ended = true;
        let can_hand_over = has_next && state.held.can_hand_over(now.at);
        let held = can_hand_over.then(|| Box::new(state.held.clone()));
        ReleaseStart { end: LeaseEnding { release: Release::of(&state.held, now), held }, loss }
    }
}

impl ReleaseStart {
    /// Returns whether the lease may be handed over in place of the release.
    #[allow(dead_code)] // not used where loom runs this module
    pub(crate) fn may_hand_over(&self) -> bool {
        self.end.held.is_some()
    }

    /// Calls `invalidate`, which makes the guard invalid for all its users, and returns the release or the lease to hand
    /// over. Another guard may hold the lock as soon as a request for it is sent.
    pub(crate) fn after(self, invalidate: impl FnOnce()) -> LeaseEnding {
        invalidate();
        self.end
    }
}

impl State {
    fn claim_report(&mut self, at: ClockReading) -> Option<Loss> {
        let reason = self.held.check(at)?;
        if std::mem::replace(&mut self.reported, true) {
            return None;
        }
        Some(Loss { reason, last_error: self.last_error.as_deref().cloned() })
    }
}
