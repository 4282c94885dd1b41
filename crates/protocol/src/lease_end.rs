//! End of a lease, as a holder writes it to the row, and as people are shown it.

use std::time::Duration;

use crate::{EXPIRY_PAD, Ends, Now, Row, RowState, TTL_MARGIN, attr, time::millis};

/// Returns the end of a lease that starts now. It is a service timestamp if the service time is known.
pub(crate) fn ends(lease: Duration, now: &Now<'_>) -> Ends {
    let upper = now.service_interval().map(|(_, upper)| upper);
    Ends {
        expires_on: upper.unwrap_or(now.at.wall_ms) + millis(lease + now.pad()),
        service_timestamp: upper.is_some(),
        ttl: ttl(lease, now),
    }
}

/// Returns the time after which DynamoDB may delete the row, in seconds since 1970.
pub(crate) fn ttl(lease: Duration, now: &Now<'_>) -> u64 {
    let upper = now.service_interval().map_or(0, |(_, upper)| upper);
    upper.max(now.at.wall_ms).div_ceil(1000) + (lease + TTL_MARGIN).as_secs() + 1
}

/// Time from a write to a shared row until DynamoDB may delete the row: longer than any lease.
const SHARED_TTL: Duration = Duration::from_secs(31 * 24 * 3600);

/// Returns the time after which DynamoDB may delete a shared row, in seconds since 1970. `None` without service time,
/// because a slow wall clock could end the entries of others.
pub(crate) fn shared_ttl(now: &Now<'_>) -> Option<u64> {
    let (_, upper) = now.service_interval()?;
    Some(upper.max(now.at.wall_ms).div_ceil(1000) + SHARED_TTL.as_secs())
}

/// Returns the end of the lease in `row` without the pad, in milliseconds since 1970. Only for display.
///
/// A row without a service timestamp may come from a client with another pad, or from a wall clock that is fast. Its
/// end is therefore at most one lease from now, because a waiter does not wait any longer (R2).
pub(crate) fn shown_end(row: &Row, now: &Now<'_>) -> Option<u64> {
    let stored = row.whole(attr::EXPIRES_ON)?;
    Some(match row.state() {
        Ok(RowState::Held(held)) if held.service_timestamp => stored.saturating_sub(millis(EXPIRY_PAD)),
        Ok(RowState::Held(held)) => {
            stored.saturating_sub(millis(now.pad())).min(now.at.wall_ms.saturating_add(millis(held.lease)))
        }
        _ => stored,
    })
}
