//! The [`Observer`] trait: a hook for logs and metrics.

use std::{fmt, time::Duration};

use crate::{FencingToken, LockName, LossReason, StoreError};

/// Event of a lock, passed to [`Observer::event`]. The references are valid during that call only.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A lock was acquired and its guard is about to be returned. Not sent by [`Lock::hold`](crate::Lock::hold).
    Acquired {
        /// Name of the lock.
        name: &'a LockName,
        /// Fencing token of the acquisition.
        token: FencingToken,
        /// Time from the call to the acquisition. Time during which the host was suspended is included.
        waited: Duration,
    },
    /// A guard has lost its lock. Sent at most once per guard.
    Lost {
        /// Name of the lock.
        name: &'a LockName,
        /// Fencing token of the lost acquisition.
        token: FencingToken,
        /// Reason of the loss.
        reason: LossReason,
        /// Error that the store returned for the last renewal, `None` if it returned none.
        last_error: Option<&'a StoreError>,
    },
    /// The store confirmed that a guard has released its lock, or that the success of its work is recorded in place of
    /// the release. Not sent if the outcome is unknown.
    Released {
        /// Name of the lock.
        name: &'a LockName,
        /// Fencing token of the released acquisition.
        token: FencingToken,
    },
    /// A write, or a read of a waiting client, failed or was not answered in time. The client usually repeats it. Not
    /// sent for [`Lock::inspect`](crate::Lock::inspect) and [`Client::list`](crate::Client::list), which return the
    /// error.
    RequestFailed {
        /// Name of the lock.
        name: &'a LockName,
        /// Error returned by the store.
        error: &'a StoreError,
    },
}

/// Receiver of the [`Event`]s of a client, for logs and metrics.
///
/// Pass an implementation to [`ClientBuilder::observer`](crate::ClientBuilder::observer). Without one, the client emits
/// a `tracing` event for each of them: losses at level `WARN`, all others at level `DEBUG`.
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

/// Observer that emits `tracing` events. The default of every client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tracing;

impl Observer for Tracing {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Lost { name, token, reason, last_error } => {
                let last_error = last_error.map(tracing::field::display);
                tracing::warn!(name = name.as_str(), %token, ?reason, last_error, "lock lost");
            }
            Event::RequestFailed { name, error } => {
                tracing::debug!(name = name.as_str(), %error, "request failed");
            }
            other => tracing::debug!(event = ?other, "lock"),
        }
    }
}
