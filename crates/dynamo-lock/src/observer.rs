//! The [`Observer`] trait: a hook for metrics and reactions, beside the log.

use std::{fmt, time::Duration};

use crate::{FencingToken, Holder, LockName, LossReason, StoreError};

/// Event of a lock, passed to [`Observer::event`]. The references are valid during that call only.
///
/// Later versions may add events, and fields to events. [`Lock::hold`](crate::Lock::hold) sends only
/// [`TakenOver`](Event::TakenOver) and [`RequestFailed`](Event::RequestFailed).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An acquisition has found the lock held, and begins to wait. Sent at most once per acquisition.
    #[non_exhaustive]
    Waiting {
        /// Name of the lock.
        name: &'a LockName,
        /// The holder that was seen. Escape its texts before printing them, because other processes wrote them.
        holder: &'a Holder,
    },
    /// The wait that [`Waiting`](Event::Waiting) has announced has ended, also if the acquisition was cancelled. Sent
    /// exactly once for each of those events, after [`Acquired`](Event::Acquired) or [`Contended`](Event::Contended).
    #[non_exhaustive]
    WaitEnded {
        /// Name of the lock.
        name: &'a LockName,
    },
    /// An acquisition has ended without the lock, because others hold it: it did not wait, or its time limit has
    /// passed.
    #[non_exhaustive]
    Contended {
        /// Name of the lock.
        name: &'a LockName,
        /// Last holder that was seen, `None` if the row was seen free but not acquired in time.
        holder: Option<&'a Holder>,
        /// Time since the call, without time during which the host was suspended.
        waited: Duration,
    },
    /// An acquisition has ended the lease of another holder, because it had expired: that holder has crashed, or could
    /// not renew in time. [`Acquired`](Event::Acquired) usually follows.
    #[non_exhaustive]
    TakenOver {
        /// Name of the lock.
        name: &'a LockName,
        /// The holder of the expired lease. Its fields are `None` as far as they are not known.
        holder: &'a Holder,
    },
    /// A lock was acquired and its guard is about to be returned.
    #[non_exhaustive]
    Acquired {
        /// Name of the lock.
        name: &'a LockName,
        /// Fencing token of the acquisition.
        token: FencingToken,
        /// Time from the call to the acquisition. Time during which the host was suspended is included.
        waited: Duration,
    },
    /// The store has confirmed a renewal of a guard.
    #[non_exhaustive]
    Renewed {
        /// Name of the lock.
        name: &'a LockName,
        /// Fencing token of the acquisition.
        token: FencingToken,
        /// Time from when the renewal was due to its confirmation, zero if it was requested before it was due. Usually
        /// the time of one request. The lock is lost when it reaches the lease without the heartbeat interval, which is
        /// three quarters of the lease by default.
        lateness: Duration,
    },
    /// A guard has lost its lock. Sent at most once per guard.
    #[non_exhaustive]
    Lost {
        /// Name of the lock.
        name: &'a LockName,
        /// Fencing token of the lost acquisition.
        token: FencingToken,
        /// Reason of the loss.
        reason: LossReason,
        /// Time from the acquisition to this report.
        held: Duration,
        /// Error that the store returned for the last renewal, `None` if it returned none.
        last_error: Option<&'a StoreError>,
    },
    /// The store confirmed that a guard has released its lock, or that the success of its work is recorded in place of
    /// the release. Not sent if the outcome is unknown.
    #[non_exhaustive]
    Released {
        /// Name of the lock.
        name: &'a LockName,
        /// Fencing token of the released acquisition.
        token: FencingToken,
        /// Time from the acquisition to the confirmation.
        held: Duration,
    },
    /// A write, or a read of a waiting client, failed or was not answered in time. The client usually repeats it. Not
    /// sent for [`Lock::inspect`](crate::Lock::inspect) and [`Client::list`](crate::Client::list), which return the
    /// error.
    #[non_exhaustive]
    RequestFailed {
        /// Name of the lock.
        name: &'a LockName,
        /// Error returned by the store.
        error: &'a StoreError,
    },
}

/// Receiver of the [`Event`]s of a client, for metrics and reactions.
///
/// Pass an implementation to [`ClientBuilder::observer`](crate::ClientBuilder::observer). The client writes each event
/// to its `tracing` log too, before it calls the observers.
///
/// ```
/// use dynamo_lock::{Client, Event, Memory, Observer};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Debug, Default)]
/// struct LossCounter(AtomicU64);
///
/// impl Observer for LossCounter {
///     fn event(&self, event: Event<'_>) {
///         if let Event::Lost { name, reason, .. } = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///             eprintln!("lost lock {name}: {reason:?}");
///         }
///     }
/// }
///
/// # fn main() -> Result<(), dynamo_lock::ConfigError> {
/// let client = Client::builder(Memory::new()).observer(LossCounter::default()).build()?;
/// # Ok(())
/// # }
/// ```
pub trait Observer: fmt::Debug + Send + Sync {
    /// Receives one event, synchronously on the task where it occurs. Implementations must return quickly, because
    /// renewals wait for them, and must not panic. A panic in the renewal task of a guard ends its lease with
    /// [`LossReason::RenewalStopped`].
    fn event(&self, event: Event<'_>);
}
