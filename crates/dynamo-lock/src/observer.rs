//! A hook for logs and metrics.

use std::fmt;
use std::time::Duration;

use dynamo_lock_protocol::{FencingToken, LockName, LossReason};

use crate::store::StoreError;

/// Something that happened. Borrowed for the call only.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A lock was acquired.
    Acquired {
        /// The lock.
        name: &'a LockName,
        /// Its token.
        token: FencingToken,
        /// How long that took.
        waited: Duration,
    },
    /// A held lock was lost.
    Lost {
        /// The lock.
        name: &'a LockName,
        /// The token that it had.
        token: FencingToken,
        /// Why.
        reason: LossReason,
        /// What the store last said, if that was an error.
        last_error: Option<&'a StoreError>,
    },
    /// A release was answered.
    Released {
        /// The lock.
        name: &'a LockName,
        /// The token that it had.
        token: FencingToken,
    },
    /// A request failed; it may be tried again.
    RequestFailed {
        /// The lock.
        name: &'a LockName,
        /// What the store said.
        error: &'a StoreError,
    },
}

/// Is told what happens, from whatever task it happens on: return quickly and do not panic.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// Says it to `tracing`.
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
