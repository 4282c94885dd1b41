//! The renewal task of a guard, and the state that it shares with the guard.
//!
//! The task sends renewals and watches the deadline. `held.rs` of the protocol decides when a renewal is due, how it is
//! repeated, and when the lock is lost. `shared_lease.rs` orders what the task and the guard do at the same time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use dynamo_lock_protocol::{ClockReading, Held, HeldStep, Op};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::boxed_future::BoxFuture;
use crate::core::{Core, PAUSE_MIN, Reply};
use crate::shared_lease::{LeaseEnding, Loss, SharedLease};
use crate::sync::{Mutex, lock};
use crate::{Event, FencingToken, LeaseId, LockName, LossReason, log};

/// Maximum length of one sleep, so that a deadline is noticed soon after the host has resumed (R4).
pub(crate) const SLICE: Duration = Duration::from_millis(250);

/// Returns the time until the next slice begins. Slices begin at the same times for all locks, so that one wake-up of
/// the runtime serves all renewal tasks.
fn slice(at: ClockReading) -> Duration {
    SLICE - Duration::from_nanos(at.raw_ns % SLICE.as_nanos() as u64)
}

/// Step of a renewal task.
enum Step {
    /// A sleep. The next poll of the task ends it, because the time has passed or the task was woken.
    Pause(BoxFuture<'static, ()>),
    /// A renewal. It is boxed, because the future of a request is large.
    Request(BoxFuture<'static, ()>),
}

/// State that a guard shares with its renewal task.
pub(crate) struct Holding {
    pub(crate) core: Arc<Core>,
    pub(crate) name: LockName,
    pub(crate) token: FencingToken,
    pub(crate) lease: SharedLease,
    /// Waker of the renewal task.
    task: Mutex<Option<Waker>>,
    /// Notifies callers that wait for a renewal or a loss.
    pub(crate) changed: Notify,
    /// Cancelled when the lock is lost, released or dropped. Created for the first user who asks for it.
    stop: OnceLock<CancellationToken>,
}

impl Holding {
    pub(crate) fn new(core: Arc<Core>, held: Held) -> Arc<Self> {
        Arc::new(Self {
            core,
            name: held.name().clone(),
            token: held.token(),
            lease: SharedLease::new(held),
            task: Mutex::new(None),
            changed: Notify::new(),
            stop: OnceLock::new(),
        })
    }

    /// Returns the reason of the loss if the lock is lost now, and reports it.
    pub(crate) fn check(&self) -> Option<LossReason> {
        let reason = self.lease.check(|| self.core.clock.now())?;
        self.cancel();
        if let Some(loss) = self.lease.claim_report(self.core.clock.now()) {
            self.report(&loss);
        }
        Some(reason)
    }

    /// Returns a token that is cancelled when the lock is lost, released or dropped.
    pub(crate) fn cancellation(&self) -> CancellationToken {
        let token = self.stop.get_or_init(CancellationToken::new).child_token();
        // The lock may have ended before there was a token to cancel.
        if self.lease.has_ended(|| self.core.clock.now()) {
            self.cancel();
        }
        token
    }

    /// Sets the token that is cancelled when the lock is lost, released or dropped. Has no effect if there is one already.
    pub(crate) fn set_cancellation(&self, token: &CancellationToken) {
        let _other = self.stop.set(token.clone());
        // The lock may have ended before there was a token to cancel.
        if self.lease.has_ended(|| self.core.clock.now()) {
            self.cancel();
        }
    }

    fn cancel(&self) {
        self.stop.get().into_iter().for_each(CancellationToken::cancel);
    }

    /// Reports the loss to all waiting callers and to the observer.
    fn report(&self, loss: &Loss) {
        self.cancel();
        self.changed.notify_waiters();
        let Loss { reason, last_error } = loss;
        let (name, token) = (&self.name, self.token);
        let (held, last_error) = (self.held_for(), last_error.as_ref());
        self.core.event(Event::Lost { name, token, reason: *reason, held, last_error });
    }

    /// Invalidates the guard, and returns the release to send, or the lease to hand over if `has_next` and that is
    /// possible. If the lock is lost, reports the loss.
    pub(crate) fn begin_release(&self, has_next: bool) -> LeaseEnding {
        let mut start = self.core.now(|now| {
            let end = |held: &mut Held| held.check(now.at).is_none().then(|| held.record().end(now.at));
            let hold = self.lease.with(end);
            let start = self.lease.begin_release(now, has_next);
            if let Some(hold) = hold.filter(|_| self.core.turns.rests && !start.may_hand_over()) {
                self.core.own_holds.insert(&self.name, &hold);
            }
            start
        });
        let loss = start.loss.take();
        let end = start.after(|| {
            self.wake();
            self.cancel();
        });
        if let Some(loss) = loss {
            without_panic(|| self.report(&loss));
        }
        end
    }

    /// Wakes the renewal task, because a renewal was requested or the release has begun.
    pub(crate) fn wake(&self) {
        let task = lock(&self.task).take();
        task.into_iter().for_each(Waker::wake);
    }

    /// Renews the lease now, and waits until the store has confirmed a renewal.
    ///
    /// # Errors
    /// The reason of the loss, if the lock is lost before.
    pub(crate) async fn renew(&self) -> Result<(), LossReason> {
        self.request_and_wait(|held| {
            let before = held.renewals();
            held.request_renewal();
            move |held: &Held| held.renewals() > before
        })
        .await
    }

    /// Makes a request, and waits until the condition that it returns is met.
    ///
    /// # Errors
    /// The reason of the loss, if the lock is lost before.
    pub(crate) async fn request_and_wait<F: Fn(&Held) -> bool>(
        &self,
        request: impl FnOnce(&mut Held) -> F,
    ) -> Result<(), LossReason> {
        let done = self.lease.with(request);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(loss) = self.check() {
                return Err(loss);
            }
            if self.lease.with(|held| done(held)) {
                return Ok(());
            }
            self.wake();
            tokio::select! {
                biased;
                () = changed => {}
                _ = self.until_lost() => {}
            }
        }
    }

    /// Returns the next step of the renewal task, `None` once the lock is lost or its release has begun. Unless the
    /// store is ready, waits for it before a renewal is made, because the lease counts from then.
    fn next(self: &Arc<Self>) -> Option<Step> {
        // Nearly all steps are sleeps, which need no random bits.
        let at = self.core.clock.now();
        if let Some(length) = self.lease.sleep(at, self.core.service.is_some()) {
            return Some(self.pause(at, length));
        }
        if self.core.ready_future().is_some() && self.is_renewal_due() {
            return Some(Step::Request(Box::pin(self.clone().renew_once_ready())));
        }
        Some(match self.core.now(|now| self.lease.next(now))? {
            HeldStep::Sleep(length) => self.pause(at, length),
            HeldStep::Write(op) => Step::Request(Box::pin(self.clone().write(op))),
            HeldStep::Lost(_) => {
                self.check();
                return None;
            }
        })
    }

    fn pause(&self, at: ClockReading, length: Duration) -> Step {
        Step::Pause(self.core.clock.sleep(length.min(slice(at)).max(PAUSE_MIN)))
    }

    /// Waits until the store is ready, and sends a renewal if one is still due. Ends early if the lock is lost.
    async fn renew_once_ready(self: Arc<Self>) {
        if self.unless_lost(self.core.ready()).await.is_none() {
            return;
        }
        if let Some(HeldStep::Write(op)) = self.core.now(|now| self.lease.next(now)) {
            self.write(op).await;
        }
    }

    /// Sends a renewal and takes its response. Ends early if the lock is lost.
    async fn write(self: Arc<Self>, op: Op) {
        let timeout = self.lease.with(|held| held.attempt_timeout());
        let write = self.core.write(op, timeout).instrument(log::renew_span(&self));
        if let Some(reply) = self.unless_lost(write).await {
            self.handle(reply);
        }
    }

    /// Completes `work`. Returns `None` if the lock is lost before. The deadline is a local timer, so that a loss does
    /// not wait for a request.
    async fn unless_lost<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.until_lost() => None,
            done = work => Some(done),
        }
    }

    fn is_renewal_due(&self) -> bool {
        self.core.now(|now| self.lease.is_renewal_due(now))
    }

    fn handle(&self, reply: Reply) {
        let lateness = self.core.now(|now| self.lease.handle(now, reply.response(), reply.error.clone()));
        self.changed.notify_waiters();
        if let Some(lateness) = lateness {
            self.core.event(Event::Renewed { name: &self.name, token: self.token, lateness });
        }
    }

    /// Waits until the lock is lost, and reports the loss.
    pub(crate) async fn until_lost(&self) -> LossReason {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(loss) = self.check() {
                return loss;
            }
            let at = self.core.clock.now();
            let left = self.lease.with(|held| held.time_left(at));
            tokio::select! {
                biased;
                () = changed => {}
                () = self.core.pause(left.min(slice(at))) => {}
            }
        }
    }

    /// Returns the time since the acquisition.
    pub(crate) fn held_for(&self) -> Duration {
        let acquired = self.lease.with(|held| held.record().acquired());
        self.core.clock.now().holder_elapsed_since(acquired.0)
    }

    pub(crate) fn lease_id(&self) -> LeaseId {
        self.lease.with(|held| held.lease_id().clone())
    }

    /// Returns the time until the lease ends if no further renewal succeeds.
    pub(crate) fn time_left(&self) -> Duration {
        self.lease.with(|held| held.time_left(self.core.clock.now()))
    }
}

/// Renewal task of a guard. The lock is lost when it is dropped before the guard has ended, because nothing renews the
/// lease or watches its deadline any more. This happens if its runtime is shut down, or if the store or the observer
/// panics in it.
///
/// Each held lock has one, so it is as small as possible.
pub(crate) struct RenewalTask {
    holding: Arc<Holding>,
    /// The present step, `None` at the beginning and at the end.
    step: Option<Step>,
}

impl RenewalTask {
    pub(crate) fn new(holding: Arc<Holding>) -> Self {
        Self { holding, step: None }
    }
}

impl Future for RenewalTask {
    type Output = ();

    /// Renews the lock and watches its deadline, until it is lost or its release begins.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { holding, step } = &mut *self;
        // The waker is stored before the state is read, so that no later change is missed.
        *lock(&holding.task) = Some(cx.waker().clone());
        loop {
            if holding.lease.is_released() {
                return Poll::Ready(());
            }
            if let Some(Step::Request(request)) = step {
                ready!(request.as_mut().poll(cx));
            }
            *step = holding.next();
            match step {
                Some(Step::Pause(pause)) => ready!(pause.as_mut().poll(cx)),
                Some(Step::Request(_)) => {}
                None => return Poll::Ready(()),
            }
        }
    }
}

impl Drop for RenewalTask {
    fn drop(&mut self) {
        let Self { holding, .. } = self;
        // Has no effect after the regular end of the task, because the lock is lost or its release has begun then.
        holding.lease.stop_renewing(holding.core.clock.now());
        without_panic(|| holding.check());
        // The waker would keep the memory of the task.
        let _waker = lock(&holding.task).take();
    }
}

/// Calls code that calls the observer, where a panic of the observer would abort the process or keep the lock.
fn without_panic<T>(f: impl FnOnce() -> T) {
    let _reported_by_the_panic_hook = catch_unwind(AssertUnwindSafe(f));
}

#[cfg(all(test, feature = "simulation"))]
mod tests {
    use std::sync::{Mutex, Weak};

    use crate::clock::{Clock, ClockReading, SystemClock};
    use crate::store::BoxFuture;

    use super::*;

    /// Without common slices, 1,000 locks wake the runtime up to 1,000 times a second.
    #[test]
    fn slices_of_all_locks_begin_together() {
        for raw_ns in [0, 1, 249_999_999, 250_000_000, 123_456_789_012] {
            let length = slice(ClockReading { boot_ns: 7, raw_ns, wall_ms: 0 });
            assert!(!length.is_zero() && length <= SLICE, "{length:?}");
            assert_eq!((raw_ns + length.as_nanos() as u64) % SLICE.as_nanos() as u64, 0);
        }
    }

    /// System clock that notes for each reading whether the state of the lease was in use.
    #[derive(Clone, Default)]
    struct NotingClock(Arc<Mutex<Notes>>);

    #[derive(Default)]
    struct Notes {
        lease: Weak<Holding>,
        readings: Vec<bool>,
    }

    impl std::fmt::Debug for NotingClock {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("NotingClock")
        }
    }

    impl Clock for NotingClock {
        fn now(&self) -> ClockReading {
            let mut notes = self.0.lock().expect("no panic");
            let in_use = notes.lease.upgrade().is_some_and(|holding| holding.lease.is_in_use());
            notes.readings.push(in_use);
            SystemClock.now()
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            SystemClock.sleep(duration)
        }
    }

    /// Track record: the clock was read before the wait for the mutex, so that the validity of a guard could be as old
    /// as that wait.
    #[tokio::test]
    async fn validity_is_computed_after_the_wait_for_the_mutex() {
        let clock = NotingClock::default();
        let client = crate::Client::builder(crate::Memory::new()).clock(clock.clone()).build().expect("valid");
        let guard = client.lock("a").expect("valid").acquire().await.expect("free");
        let readings = |call: &dyn Fn()| {
            *clock.0.lock().expect("no panic") = Notes { lease: Arc::downgrade(&guard.holding), readings: Vec::new() };
            call();
            std::mem::take(&mut clock.0.lock().expect("no panic").readings)
        };
        assert_eq!(readings(&|| assert!(guard.is_valid())), [true]);
        // The first reading belongs to the check for a loss.
        assert_eq!(readings(&|| assert!(!guard.time_left().is_zero())), [true, true]);
        assert!(readings(&|| drop(guard.last_error())).is_empty(), "control");
    }
}
