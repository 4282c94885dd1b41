//! [`Inspection`]: the state of a lock as seen by a client that does not hold it.

use std::{ops::RangeInclusive, time::Duration};

use dynamo_lock_protocol::{
    EXPIRY_PAD, Evidence, Expiry, Kind, LastHold, Liveness, Role, Row, RowState, ServiceDate, SharedEntry, SharedRow,
    Success, attr, entry_expiry, expiry,
};

use crate::{FencingToken, Holder, InspectError, LockName, RowError, core::Core, store::Consistency, sync::lock};

/// State of a lock when its row was read, returned by [`Lock::inspect`](crate::Lock::inspect) and in a
/// [`Listed`](crate::Listed) row.
///
/// A snapshot: the holder may have released or lost the lock since, or may have renewed its lease. In a listing the row
/// may also be older than the answer, see [`Client::list`](crate::Client::list).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inspection {
    /// The lock was released, or it was never acquired.
    Free {
        /// Fencing token of the last acquisition, `None` if there is no row.
        token: Option<FencingToken>,
        /// Data that the last holder stored. Escape it before printing, because another process wrote it.
        data: Option<String>,
        /// Last hold: who held the lock, since when, for how long, and how the hold ended. `None` if there is no row, or
        /// no hold has ended since it exists.
        last: Option<LastHold>,
    },
    /// The lock is held, or its holder has crashed and the end of its lease is not proven yet.
    Held {
        /// The holder. Escape its text before printing it, because another process wrote it.
        holder: Holder,
        /// Time from now after which other clients can acquire the lock, if the holder does not renew its lease again.
        ///
        /// The start is the earliest, the end the latest time. The start is exact to the error of the service's dates,
        /// a few seconds, and zero if nothing is known. The end of a [`hold`](crate::Lock::hold) in the SQLite store on
        /// Linux is known to 3 s. With the SQLite store it takes longer while a child process
        /// that was started under the lock is running.
        may_end: RangeInclusive<Duration>,
        /// Last hold that has ended, before the present one. `None` if none has.
        last: Option<LastHold>,
    },
    /// The holder did not release the lock, but its lease has expired and no other client has acquired it since. Any
    /// client that can prove the same can acquire it now.
    ///
    /// Reported if the service's clock proves the expiry and the local wall clock is within 5 s of it, or, with the
    /// SQLite store on Linux, if the holder's process and its children have ended or the clocks of the machine show the
    /// end of a [`hold`](crate::Lock::hold). Rows of npm dynamo-lock are compared with the service's clock alone, or
    /// with the local wall clock where the store has no service clock.
    Expired {
        /// Holder of the expired lease. Escape its text before printing it, because another process wrote it.
        holder: Holder,
        /// Last hold that has ended, before that of `holder`. `None` if none has. The next acquisition ends that hold.
        last: Option<LastHold>,
    },
    /// The work of the lock has succeeded, and does not run again unless the success is reset or does not count any more.
    Done {
        /// The success. Escape its text before printing it, because another process wrote it.
        success: Success,
        /// Data that the successful run stored. Escape it before printing, because another process wrote it.
        data: Option<String>,
        /// Last hold, usually that of the successful run.
        last: Option<LastHold>,
    },
    /// The row has several holders, or can have several: it is one of a [`Semaphore`](crate::Semaphore) or a
    /// [`RwLock`](crate::RwLock).
    Shared(SharedInspection),
}

/// State of a semaphore or a read/write lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedInspection {
    /// Kind of the row.
    pub kind: Kind,
    /// Fencing token of the row. Writers increase it.
    pub token: FencingToken,
    /// Maximum number of holders in the most recent acquisition.
    pub slots: Option<u64>,
    /// Holders, also those whose leases have expired, and a writer that waits.
    pub holders: Vec<SharedHolder>,
}

/// One holder of a semaphore or a read/write lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedHolder {
    /// Whether it holds the lock beside others, holds it alone, or waits to hold it alone.
    pub role: Role,
    /// The holder. Its [lease ID](Holder::lease_id) names it in [`RwLock::revoke`](crate::RwLock::revoke). Escape its
    /// text before printing it, because another process wrote it.
    pub holder: Holder,
    /// Whether an operator has revoked it. It then stays until it leaves or its lease has expired.
    pub revoked: bool,
    /// Time from now after which its lease expires, as in [`Inspection::Held`]. `None` if it has expired.
    pub may_end: Option<RangeInclusive<Duration>>,
}

impl SharedInspection {
    /// Returns whether a lease of a holder has not expired.
    pub fn is_held(&self) -> bool {
        self.holders.iter().any(|holder| holder.may_end.is_some())
    }
}

impl Core {
    /// Reads a row and returns the state that it describes.
    pub(crate) async fn inspect(&self, name: &LockName) -> Result<Inspection, InspectError> {
        self.ready().await;
        let answer = self.read(name, Consistency::Strong, self.timing.attempt_timeout()).await;
        let row = answer.result?;
        let inspection = self.inspection(row.as_ref(), answer.date);
        inspection.map_err(|error| InspectError::Row { name: name.clone(), error })
    }

    /// Returns the state that `row` describes. The row was read just now, by a response with this date.
    pub(crate) fn inspection(&self, row: Option<&Row>, date: Option<ServiceDate>) -> Result<Inspection, RowError> {
        let Some(row) = row else { return Ok(Inspection::Free { token: None, data: None, last: None }) };
        let kind = row.kind()?;
        if kind.is_shared() {
            return Ok(Inspection::Shared(self.shared_inspection(row, &row.shared(kind)?, date)));
        }
        let (holder, last, state) = (self.now(|now| Holder::of(row, now)), LastHold::of(row), row.state()?);
        let state = match state {
            RowState::Free => return Ok(Inspection::Free { token: holder.token, data: holder.data, last }),
            RowState::Done(done) => return Ok(Inspection::Done { success: done.success, data: holder.data, last }),
            state => state,
        };
        let at = self.clock.now();
        // After `at`, because the holder may start a child process until its lease has expired.
        let liveness = self.liveness(row);
        let service = self.service.as_ref().map(lock);
        let legacy_skew = self.timing.legacy_skew();
        let evidence = Evidence { at, service: service.as_deref(), date, liveness, watch: None, legacy_skew };
        Ok(match expiry(&state, &evidence) {
            Expiry::Expired => Inspection::Expired { holder, last },
            Expiry::Running { earliest, latest } => {
                let key = row.text(attr::LIVENESS_KEY);
                let may_end = match key.and_then(|key| self.store.hold_time_left(key)) {
                    // The key of a hold includes the pad, and a waiter that has watched the row counts without it.
                    Some(left) => left.saturating_sub(EXPIRY_PAD).min(latest)..=left.min(latest),
                    None => earliest..=latest,
                };
                Inspection::Held { holder, may_end, last }
            }
        })
    }

    fn shared_inspection(&self, row: &Row, shared: &SharedRow, date: Option<ServiceDate>) -> SharedInspection {
        let at = self.clock.now();
        // After `at`, because a holder may start a child process until its lease has expired.
        let checked = self.liveness_of_entries(row);
        let service = self.service.as_ref().map(lock);
        let holder = |entry: &SharedEntry| {
            let key = entry.liveness_key.as_ref();
            let liveness = checked.iter().find(|(checked, _)| Some(checked) == key);
            let liveness = liveness.map_or(Liveness::Unknown, |(_, liveness)| *liveness);
            let legacy_skew = Duration::ZERO;
            let evidence = Evidence { at, service: service.as_deref(), date, liveness, watch: None, legacy_skew };
            SharedHolder {
                role: entry.holder.role,
                holder: Holder::of_entry(entry, shared),
                revoked: entry.revoked,
                may_end: match entry_expiry(entry, Duration::ZERO, &evidence) {
                    Expiry::Expired => None,
                    Expiry::Running { earliest, latest } => Some(earliest..=latest),
                },
            }
        };
        SharedInspection {
            kind: shared.kind,
            token: shared.token,
            slots: shared.limit,
            holders: shared.entries.iter().map(holder).collect(),
        }
    }
}
