//! What can be known of a lock from outside.

use std::ops::RangeInclusive;
use std::time::Duration;

use dynamo_lock_protocol::{Evidence, Expiry, FencingToken, Holder, Row, RowError, RowState, ServiceDate, expiry};

use crate::core::Core;
use crate::sync::lock;

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
    /// Returns the state of a lock whose row was read just now, by a response with this date.
    pub(crate) fn inspection(&self, row: Option<&Row>, date: Option<ServiceDate>) -> Result<Inspection, RowError> {
        let Some(row) = row else { return Ok(Inspection::Free { token: None, data: None }) };
        let (holder, state) = (Holder::of(row), row.state()?);
        if state == RowState::Free {
            return Ok(Inspection::Free { token: holder.token, data: holder.data });
        }
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
