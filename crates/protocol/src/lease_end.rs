//! End of a lease, as a holder writes it to the row.

use std::time::Duration;

use crate::{EXPIRY_PAD, Ends, Now, TTL_MARGIN, time::millis};

/// Returns the end of a lease that starts now. It is a service timestamp if the service time is known.
pub(crate) fn ends(lease: Duration, now: &Now<'_>) -> Ends {
    let upper = now.service_interval().map(|(_, upper)| upper);
    Ends {
        expires_on: upper.unwrap_or(now.at.wall_ms) + millis(lease + EXPIRY_PAD),
        service_timestamp: upper.is_some(),
        ttl: ttl(lease, now),
    }
}

/// Returns the time after which DynamoDB may delete the row, in seconds since 1970.
pub(crate) fn ttl(lease: Duration, now: &Now<'_>) -> u64 {
    let upper = now.service_interval().map_or(0, |(_, upper)| upper);
    upper.max(now.at.wall_ms).div_ceil(1000) + (lease + TTL_MARGIN).as_secs() + 1
}
