//! The renewal task of a guard, and the state that it shares with the guard.
//!
//! The task sends renewals and watches the deadline. `held.rs` of the protocol decides when a renewal is due, how it is
//! repeated, and when the lock is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dynamo_lock_protocol::{Held, HeldStep};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::core::{Core, Reply};
use crate::{Event, FencingToken, LockName, LossReason, StoreError, sync::lock};

/// Maximum length of one sleep, so that a deadline is noticed soon after the host has resumed (R4).
const SLICE: Duration = Duration::from_millis(250);

/// State that a guard shares with its renewal task.
pub(crate) struct Holding {
    pub(crate) core: Arc<Core>,
    pub(crate) name: LockName,
    pub(crate) token: FencingToken,
    /// Condition that the row meets while the lock is held. Renewals do not change it.
    #[cfg(feature = "dynamodb")]
    pub(crate) condition: dynamo_lock_protocol::Condition,
    held: Mutex<Held>,
    last_error: Mutex<Option<StoreError>>,
    /// Wakes the renewal task, because a renewal was requested.
    pub(crate) wake: Notify,
    /// Notifies callers that wait for a renewal or a loss.
    pub(crate) changed: Notify,
    /// Cancelled when the lock is lost, released or dropped.
    pub(crate) stop: CancellationToken,
    /// Cancelled when the guard is released or dropped. Ends the renewal task.
    pub(crate) ended: CancellationToken,
    /// Whether the observer has received the loss.
    reported: AtomicBool,
}

impl Holding {
    pub(crate) fn new(core: Arc<Core>, held: Held) -> Arc<Self> {
        Arc::new(Self {
            core,
            name: held.name().clone(),
            token: held.token(),
            #[cfg(feature = "dynamodb")]
            condition: held.condition(),
            held: Mutex::new(held),
            last_error: Mutex::default(),
            wake: Notify::new(),
            changed: Notify::new(),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            reported: AtomicBool::new(false),
        })
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    /// Returns the error of the last renewal, if it failed.
    pub(crate) fn last_error(&self) -> Option<StoreError> {
        lock(&self.last_error).clone()
    }

    /// Returns the reason of the loss if the lock is lost now, and reports it.
    pub(crate) fn check(&self) -> Option<LossReason> {
        let at = self.core.clock.now();
        let loss = self.held().check(at);
        loss.inspect(|reason| self.report(*reason))
    }

    /// Reports the loss to the observer and to all waiting callers, once.
    pub(crate) fn report(&self, reason: LossReason) {
        self.stop.cancel();
        if self.reported.swap(true, Ordering::Relaxed) {
            return;
        }
        let last_error = self.last_error();
        let (name, token) = (&self.name, self.token);
        self.core.observer.event(Event::Lost { name, token, reason, last_error: last_error.as_ref() });
        self.changed.notify_waiters();
    }

    /// Renews the lock and watches its deadline, until it is lost or the guard ends.
    pub(crate) async fn keep(self: Arc<Self>) {
        loop {
            // Before the renewal is made, because the lease counts from then.
            if let Some(ready) = self.core.store.ready().filter(|_| self.is_renewal_due()) {
                tokio::select! {
                    biased;
                    () = self.ended.cancelled() => return,
                    loss = self.until_lost() => return self.report(loss),
                    () = ready => {}
                }
            }
            let step = self.core.now(|now| self.held().next(now));
            match step {
                HeldStep::Lost(loss) => return self.report(loss),
                HeldStep::Sleep(length) => tokio::select! {
                    biased;
                    () = self.ended.cancelled() => return,
                    () = self.wake.notified() => {}
                    () = self.core.pause(length.min(SLICE)) => {}
                },
                HeldStep::Write(op) => {
                    let timeout = self.held().attempt_timeout();
                    tokio::select! {
                        biased;
                        () = self.ended.cancelled() => return,
                        // The deadline is a local timer, so that a loss does not wait for a request.
                        loss = self.until_lost() => return self.report(loss),
                        reply = self.core.write(op, timeout) => self.handle(reply),
                    }
                }
            }
        }
    }

    fn is_renewal_due(&self) -> bool {
        let step = self.core.now(|now| self.held().clone().next(now));
        matches!(step, HeldStep::Write(_))
    }

    fn handle(&self, reply: Reply) {
        // Before a loss is noticed, because it is reported with this error.
        lock(&self.last_error).clone_from(&reply.error);
        self.core.now(|now| self.held().handle(now, reply.response()));
        self.changed.notify_waiters();
    }

    /// Waits until the lock is lost.
    pub(crate) async fn until_lost(&self) -> LossReason {
        loop {
            let at = self.core.clock.now();
            if let Some(loss) = self.held().check(at) {
                return loss;
            }
            let left = self.held().time_left(at);
            self.core.pause(left.min(SLICE)).await;
        }
    }
}
