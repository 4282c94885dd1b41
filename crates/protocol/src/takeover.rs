//! Observation of a row that another acquisition holds, up to its takeover (R2). `expiry.rs` decides whether its lease has
//! expired, and `acquire.rs` sends the takeover.

use std::time::Duration;

use crate::attr;
use crate::now::Now;
use crate::row::{HeldRow, LegacyRow, Row};
use crate::time::ReceivedAt;
use crate::token::{FencingToken, RecordVersion};
use crate::watch::{Holder, Watch};

/// Decision about a held row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// Take the lock over, because its lease has expired.
    Now,
    /// The lease has expired, but a token greater than all earlier ones is certain only some seconds later.
    Soon,
    /// Wait, because the lease may not have expired.
    Later,
}

/// The parts of a row that identify one version of it.
pub(crate) struct SeenVersion<'a> {
    version: &'a RecordVersion,
    token: Option<FencingToken>,
    lease: Option<Duration>,
}

impl<'a> SeenVersion<'a> {
    pub(crate) fn of_held(held: &'a HeldRow) -> Self {
        Self { version: &held.version, token: Some(held.token), lease: Some(held.lease) }
    }

    pub(crate) fn of_legacy(legacy: &'a LegacyRow) -> Self {
        Self { version: &legacy.version, token: legacy.token, lease: None }
    }
}

/// Continues the observation of a row, or starts it anew if this is another version.
pub(crate) fn observe_version(watch: &mut Option<Watch>, seen: SeenVersion<'_>, row: &Row, now: &Now<'_>) {
    let SeenVersion { version, token, lease } = seen;
    let upper = service_or_wall(now).map(|(_, upper)| upper.div_ceil(1000));
    let tokenless_since = upper.filter(|_| token.is_none());
    if let Some(watch) = watch.as_mut().filter(|watch| watch.version == *version && watch.token == token) {
        // The response that first contained this version may have had no date.
        watch.tokenless_since = watch.tokenless_since.or(tokenless_since);
        return;
    }
    // Another version may follow on tokens that we have never seen, so the observation starts anew.
    *watch = Some(Watch {
        version: version.clone(),
        token,
        lease,
        received_at: ReceivedAt(now.at),
        tokenless_since,
        has_liveness_key: row.get(attr::LIVENESS_KEY).is_some(),
        holder: Holder::of(row),
    });
}

/// Decides whether an expired row of npm dynamo-lock can be taken over now. A row without a token is taken over only when a
/// fresh token floor is certainly above every earlier token of this lock.
pub(crate) fn token_floor_wait(watch: Option<&Watch>, legacy: &LegacyRow, now: &Now<'_>) -> Takeover {
    let lower = service_or_wall(now).map(|(lower, _)| lower / 1000);
    let since = watch.and_then(|watch| watch.tokenless_since);
    match (lower, since) {
        _ if legacy.token.is_some() => Takeover::Now,
        (Some(lower), Some(since)) if lower >= since + 2 => Takeover::Now,
        // Without any date there will never be a safe token floor.
        (None, _) => Takeover::Later,
        (Some(_), _) => Takeover::Soon,
    }
}

/// Returns the bounds of service time in milliseconds. Where the store has no service clock, our own wall clock takes its
/// place.
fn service_or_wall(now: &Now<'_>) -> Option<(u64, u64)> {
    match now.service {
        Some(_) => now.service_interval(),
        None => Some((now.at.wall_ms, now.at.wall_ms)),
    }
}
