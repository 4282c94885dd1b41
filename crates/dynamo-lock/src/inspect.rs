//! [`Inspection`]: the state of a lock as seen by a client that does not hold it.

use std::{ops::RangeInclusive, time::Duration};

use dynamo_lock_protocol::{Evidence, Expiry, Row, RowState, ServiceDate, Success, expiry};

use crate::{FencingToken, Holder, RowError, core::Core, sync::lock};

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
    },
    /// The lock is held, or its holder has crashed and the end of its lease is not proven yet.
    Held {
        /// The holder. Escape its text before printing it, because another process wrote it.
        holder: Holder,
        /// Time from now after which other clients can acquire the lock, if the holder does not renew its lease again.
        ///
        /// The start is the earliest, the end the latest time. The start is exact to the error of the service's dates,
        /// a few seconds, and zero if nothing is known. With the SQLite store it takes longer while a child process
        /// that was started under the lock is running.
        may_end: RangeInclusive<Duration>,
    },
    /// The holder did not release the lock, but its lease has expired and no other client has acquired it since. Any
    /// client that can prove the same can acquire it now.
    ///
    /// Reported if the service's clock proves the expiry and the local wall clock is within 5 s of it, or, with the
    /// SQLite store on Linux, if the holder's process and its children have ended or the clocks of the machine show the
    /// end of a [`hold`](crate::Lock::hold). Rows of npm dynamo-lock are compared with the service's clock alone, or
    /// with the local wall clock where the store has no service clock.
    Expired {
        /// The last holder. Escape its text before printing it, because another process wrote it.
        holder: Holder,
    },
    /// The work of the lock has succeeded, and does not run again unless the success is reset or does not count any more.
    Done {
        /// The success. Escape its text before printing it, because another process wrote it.
        success: Success,
        /// Data that the successful run stored. Escape it before printing, because another process wrote it.
        data: Option<String>,
    },
}

impl Core {
    /// Returns the state that `row` describes. The row was read just now, by a response with this date.
    pub(crate) fn inspection(&self, row: Option<&Row>, date: Option<ServiceDate>) -> Result<Inspection, RowError> {
        let Some(row) = row else { return Ok(Inspection::Free { token: None, data: None }) };
        let (holder, state) = (self.now(|now| Holder::of(row, now)), row.state()?);
        let state = match state {
            RowState::Free => return Ok(Inspection::Free { token: holder.token, data: holder.data }),
            RowState::Done(done) => return Ok(Inspection::Done { success: done.success, data: holder.data }),
            state => state,
        };
        let at = self.clock.now();
        // After `at`, because the holder may start a child process until its lease has expired.
        let liveness = self.liveness(row);
        let service = self.service.as_ref().map(lock);
        let legacy_skew = self.timing.legacy_skew();
        let evidence = Evidence { at, service: service.as_deref(), date, liveness, watch: None, legacy_skew };
        Ok(match expiry(&state, &evidence) {
            Expiry::Expired => Inspection::Expired { holder },
            Expiry::Running { earliest, latest } => Inspection::Held { holder, may_end: earliest..=latest },
        })
    }
}
