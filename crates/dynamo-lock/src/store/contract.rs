use std::{any::Any, fmt, sync::Arc, time::Duration};

use super::{Answer, Consistency, Liveness, LockName, Op, Outcome, Page, Row};
use crate::boxed_future::BoxFuture;

/// Storage for lock rows: any store with linearizable conditional writes on single rows.
///
/// # Contract
///
/// - **Writes**: [`write`](Store::write) takes effect exactly as [`apply`](dynamo_lock_protocol::apply) specifies,
///   atomically, at one instant between call and answer, or not at all. If the store does not know whether it has taken
///   effect, the answer is [`StoreErrorKind::Unanswered`](super::StoreErrorKind::Unanswered), never a conflict. Every
///   other error means that it has not taken effect, and with the cause
///   [`MissingTable`](super::StoreErrorCause::MissingTable) or
///   [`DatabaseReplaced`](super::StoreErrorCause::DatabaseReplaced) also that the row does not exist, so a guard of it
///   is lost. One call sends one request, without retries.
/// - **Answers**: `Applied` contains the row as the write has left it if
///   [`OpKind::returns_row`](dynamo_lock_protocol::OpKind::returns_row) is `true`; otherwise it may be `None`. `Conflict`
///   contains the row as it was when the condition failed, read in the same operation.
/// - **Reads**: with [`Consistency::Strong`] a read sees every write that was answered before it began. With
///   [`Consistency::Eventual`] it may be stale, but returns a state that the row was in.
/// - **Attributes** that an op does not name stay as they are, also those of other types. Maps and truth values have
///   variants of [`Value`](super::Value); all other types are [`Value::Other`](super::Value::Other), also inside maps.
/// - **Dates**: the `date` of an answer comes from the service itself and from this response. If in doubt it is `None`.
/// - **Futures** may be dropped at any time; a dropped write may or may not take effect. They never block the thread.
/// - **Names**: each [`LockName`] has its own row. Names are compared by bytes.
///
/// The client limits the time of each read, write and page of a list to a quarter of the lease and at most 10 s, and
/// then drops the future.
///
/// # Example
///
/// A store that counts the writes of another one. The methods with a default are forwarded too, so that the client uses
/// the clock and the liveness checks of the inner store.
///
/// ```
/// use dynamo_lock::store::{Answer, BoxFuture, Consistency, Liveness, LockName, Op, Outcome, Page, Row, Store};
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
///
/// #[derive(Debug)]
/// struct CountedWrites<S> {
///     inner: S,
///     writes: AtomicU64,
/// }
///
/// impl<S: Store> Store for CountedWrites<S> {
///     fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
///         self.inner.read(name, consistency)
///     }
///     fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
///         self.writes.fetch_add(1, Ordering::Relaxed);
///         self.inner.write(op)
///     }
///     fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
///         self.inner.list(after)
///     }
///     fn ready(&self) -> Option<BoxFuture<'_, ()>> {
///         self.inner.ready()
///     }
///     fn service_clock(&self) -> bool {
///         self.inner.service_clock()
///     }
///     fn npm_clients(&self) -> bool {
///         self.inner.npm_clients()
///     }
///     fn liveness_key(&self) -> Option<&str> {
///         self.inner.liveness_key()
///     }
///     fn hold_liveness_key(&self, duration: Duration) -> Option<String> {
///         self.inner.hold_liveness_key(duration)
///     }
///     fn liveness(&self, liveness_key: &str) -> Liveness {
///         self.inner.liveness(liveness_key)
///     }
///     fn hold_time_left(&self, liveness_key: &str) -> Option<Duration> {
///         self.inner.hold_time_left(liveness_key)
///     }
///     fn changed(&self, name: &LockName) -> Option<BoxFuture<'static, ()>> {
///         self.inner.changed(name)
///     }
/// }
///
/// # fn main() -> Result<(), dynamo_lock::ConfigError> {
/// let store = CountedWrites { inner: dynamo_lock::Memory::new(), writes: AtomicU64::new(0) };
/// let client = dynamo_lock::Client::builder(store).build()?;
/// # Ok(())
/// # }
/// ```
pub trait Store: Any + fmt::Debug + Send + Sync {
    /// Reads one row. Returns `None` if it does not exist.
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>>;

    /// Performs one op. Returns [`Outcome::Applied`], [`Outcome::Conflict`] or an error. In place of
    /// [`Outcome::Unknown`] and [`Outcome::Throttled`] it returns errors of the kinds
    /// [`Unanswered`](super::StoreErrorKind::Unanswered) and [`Throttled`](super::StoreErrorKind::Throttled).
    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>>;

    /// Returns one page of all rows, eventually consistent and in any order. `after` is the cursor of the previous
    /// page, [`Page::next`], and `None` for the first page. Callers do not interpret cursors.
    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>>;

    /// Returns a future that completes once a request can be sent at once, or `None` if it can be sent now.
    ///
    /// Callers wait for it before they take the time from which a lease counts, and without the time limit of a
    /// request. It prepares what all requests need, for example credentials, and sends no request to the table. It has
    /// no result: if the preparation fails, then the next request returns the error. It may be dropped at any time.
    /// Default: `None`.
    fn ready(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }

    /// Returns whether answers contain the service's `Date`, so that clients determine the end of a lease by it. That
    /// is only safe if all servers keep their clocks within 2 s of each other. Default: `false`.
    fn service_clock(&self) -> bool {
        false
    }

    /// Returns whether clients of npm dynamo-lock can use the rows of this store, as they can use a DynamoDB table.
    ///
    /// They compare `expiresOn` with their own wall clocks. Without a service clock, `expiresOn` then lies 15 minutes
    /// after the end of the lease, otherwise 3 s. Default: `true`, which is always safe.
    fn npm_clients(&self) -> bool {
        true
    }

    /// Returns the liveness key for rows that are acquired through this handle. [`liveness`](Store::liveness) finds out
    /// by it whether the process of this handle is alive. `None`, the default, means that only leases decide.
    fn liveness_key(&self) -> Option<&str> {
        None
    }

    /// Returns the liveness key for the row of a [`hold`](crate::Lock::hold) that starts now and ends after `duration`,
    /// which includes 3 s for the acquisition. [`liveness`](Store::liveness) finds out by it whether the hold has
    /// expired, because a hold outlives its process. `None`, the default, means that only leases decide, because the
    /// users of the store share no clock.
    fn hold_liveness_key(&self, duration: Duration) -> Option<String> {
        let _ = duration;
        None
    }

    /// Returns whether the handle with this liveness key is alive. The check begins after this method was called, and
    /// does not block. Default: [`Liveness::Unknown`].
    ///
    /// [`Liveness::Dead`] is a promise: no process has a guard that was acquired through that handle, and none will
    /// have one. For the key of a hold, the hold has expired on the clocks of its holder. If a store is not certain, it
    /// returns [`Liveness::Unknown`].
    fn liveness(&self, liveness_key: &str) -> Liveness {
        let _ = liveness_key;
        Liveness::Unknown
    }

    /// Returns the time after which [`liveness`](Store::liveness) finds that the hold with this liveness key has expired.
    /// [`Inspection`](crate::Inspection) reports it, and no takeover depends on it. `None`, the default, means that the
    /// key is not that of a hold, or that the store does not know.
    fn hold_time_left(&self, liveness_key: &str) -> Option<Duration> {
        let _ = liveness_key;
        None
    }

    /// Returns a future that completes once the row of this lock may have changed after this call, or `None` if the
    /// store does not report changes at present. Waiting clients then look at the row early.
    ///
    /// This is only a hint: it may come without a change, late or never, for example for the changes of other processes
    /// or hosts, so clients poll as well. Reports of releases are useful, reports of renewals are not. The future has no
    /// errors, depends on no runtime, and may be dropped at any time. The call must not block. Default: `None`.
    fn changed(&self, name: &LockName) -> Option<BoxFuture<'static, ()>> {
        let _ = name;
        None
    }
}

/// Conversion into a shared store. [`Client::builder`](crate::Client::builder) accepts a store, an `Arc<dyn Store>`,
/// and the result of `StoreUrl::open`.
pub trait IntoStore {
    /// Returns the shared store.
    fn into_store(self) -> Arc<dyn Store>;
}

impl<S: Store> IntoStore for S {
    fn into_store(self) -> Arc<dyn Store> {
        Arc::new(self)
    }
}

impl IntoStore for Arc<dyn Store> {
    fn into_store(self) -> Arc<dyn Store> {
        self
    }
}
