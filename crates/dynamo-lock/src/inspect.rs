//! [`Inspection`]: the state of a lock as seen by a client that does not hold it.

use std::ops::RangeInclusive;
use std::time::Duration;

use dynamo_lock_protocol::{FencingToken, Holder, Liveness, Row, RowError, RowState, ServiceDate};

use crate::drive::{Core, lock};

/// State of a lock when its row was read, returned by [`Lock::inspect`](crate::Lock::inspect) and in a
/// [`Listed`](crate::Listed) row.
///
/// A snapshot: the holder may have released or lost the lock since, or may have renewed its lease.
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
        /// The start is the earliest, the end the latest time. The start is zero if nothing is known. With the SQLite
        /// store it takes longer while a child process that was started under the lock is running.
        may_end: RangeInclusive<Duration>,
    },
    /// The holder did not release the lock, but its lease has expired and no other client has acquired it since. Any
    /// client that can prove the same can acquire it now.
    ///
    /// Reported if the service's clock proves the expiry, or, with the SQLite store on Linux, if the holder's process and
    /// its children have ended. Rows of npm dynamo-lock are compared with the local wall clock where the store has no
    /// service clock.
    Expired {
        /// The last holder. Escape its text before printing it, because another process wrote it.
        holder: Holder,
    },
}

impl Core {
    /// Returns the state that `row` describes. `date` is the service's `Date` of the answer that returned the row.
    pub(crate) fn inspection(&self, row: Option<&Row>, date: Option<ServiceDate>) -> Result<Inspection, RowError> {
        let Some(row) = row else { return Ok(Inspection::Free { token: None, data: None }) };
        let holder = Holder::of(row);
        let now = self.clock.now();
        let interval = self.service.as_ref().and_then(|service| lock(service).interval(now));
        let lower = date.filter(|_| self.service.is_some()).map(ServiceDate::lower_when_received);
        let until = |ends: u64, at: u64| Duration::from_millis(ends.saturating_sub(at));
        match row.state()? {
            RowState::Free => Ok(Inspection::Free { token: holder.token, data: holder.data }),
            RowState::Held(_) if self.liveness(row) == Liveness::Dead => Ok(Inspection::Expired { holder }),
            RowState::Held(held) if held.service_timestamp => match lower {
                Some(lower) if lower > held.expires_on => Ok(Inspection::Expired { holder }),
                _ => {
                    // The lease ends at the service timestamp at the latest, or after one lease without a renewal from now,
                    // whichever comes first.
                    let (earliest, latest) = interval.map_or((Duration::ZERO, held.lease), |(lower, upper)| {
                        (until(held.expires_on, upper), until(held.expires_on, lower).min(held.lease))
                    });
                    let may_end = earliest.min(latest)..=latest;
                    Ok(Inspection::Held { holder, may_end })
                }
            },
            RowState::Held(held) => Ok(Inspection::Held { holder, may_end: Duration::ZERO..=held.lease }),
            RowState::Legacy(legacy) => {
                let skew = self.timing.legacy_skew();
                let ends = u64::try_from(legacy.expires_on).unwrap_or(0);
                let over_after = ends.saturating_add(skew.as_millis() as u64);
                let (earliest, latest) = interval.unwrap_or((now.wall_ms, now.wall_ms));
                let time = if self.service.is_some() { lower } else { Some(now.wall_ms) };
                if time.is_some_and(|time| time > over_after) {
                    return Ok(Inspection::Expired { holder });
                }
                let may_end = until(ends, latest)..=until(over_after, earliest);
                Ok(Inspection::Held { holder, may_end })
            }
        }
    }
}
