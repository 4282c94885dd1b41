//! What can be known of a lock from outside.

use std::ops::RangeInclusive;
use std::time::Duration;

use dynamo_lock_protocol::{FencingToken, Holder, Liveness, Row, RowError, RowState, ServiceDate};

use crate::drive::{Core, lock};

/// What is known of a lock. Never a bare yes or no: a holder may have given up or been lost since, and that a lease of
/// ours is surely over only a store with a service clock can say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inspection {
    /// Nobody held it.
    Free {
        /// The token of the last reign, if there ever was one.
        token: Option<FencingToken>,
        /// The payload that it left. Somebody else's words.
        data: Option<String>,
    },
    /// Somebody holds it, or did until shortly.
    Held {
        /// The holder. All fields come from the row: escape text before printing it.
        holder: Holder,
        /// If it is never heard of again, others may follow after a time from now within these bounds; on the embedded
        /// store later if something that it started lives on.
        may_end: RangeInclusive<Duration>,
    },
    /// Its lease is over on the service's clock, and nobody has taken it since; a legacy row's, where the store has no such
    /// clock, on our own. Or, on the embedded store, its process is gone, and whatever it started.
    Expired {
        /// The last holder. All fields come from the row: escape text before printing it.
        holder: Holder,
    },
}

impl Core {
    /// What a row says, read just now by an answer with this date.
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
                    // At the latest by its stamp, or one quiet lease from now, whichever comes first.
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
