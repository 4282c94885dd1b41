//! Takeover of a lock after its lease has expired (R2 and §5): the observation of its row, the decision, and the token
//! floor.
//!
//! `expiry.rs` decides whether a lease has expired. `acquire.rs` runs the loop, looks once the observed
//! lease has expired, and sends the takeover. The condition of the write is in `op.rs`.

use std::time::Duration;

use crate::{
    Evidence, Expiry, FencingToken, Holder, LeaseId, LegacyRow, Liveness, Now, ReceivedAt, Response, Row, RowState,
    Watch, abandoned::Abandoned, attr, expiry,
};

/// Time that is added to the present time for the token floor of a row that has lost its token, because the first token
/// may be derived from a wall clock that was fast by a day.
const FLOOR_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// Decision about a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// Take the lock over, because its lease has expired.
    Now,
    /// The lease has expired, but a token greater than all earlier ones is certain only some seconds later.
    Soon,
    /// Wait, because the lease may not have expired.
    Later,
}

/// Facts that a waiting acquisition knows about the lock, from which it decides whether to take the lock over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Waiter {
    /// Observation of another client's lease.
    pub(crate) watch: Option<Watch>,
    abandoned: Abandoned,
    /// Lease ID of the client's own guard that has lost the lock. Its lease may be taken over at once.
    pub(crate) lost: Option<LeaseId>,
    /// Time past the end of a row of npm dynamo-lock during which it is still respected.
    legacy_skew: Duration,
}

impl Waiter {
    pub(crate) fn new(watch: Option<Watch>, legacy_skew: Duration) -> Self {
        Self { watch, abandoned: Abandoned::default(), lost: None, legacy_skew }
    }

    /// Remembers the lease ID of an abandoned operation. Its lease is never adopted, but may be taken over at once.
    pub(crate) fn abandon(&mut self, lease_id: LeaseId) {
        self.abandoned.push(lease_id);
    }

    /// Observes a row and decides whether to take its lock over. `response` contained the row.
    pub(crate) fn decide(&mut self, now: &Now<'_>, row: &Row, state: &RowState, response: Response<'_>) -> Takeover {
        self.observe(now, row, state);
        if matches!(state, RowState::Held(held) if self.abandoned.contains(&held.lease_id)) {
            // An abandoned operation of our own. No guard relies on it, even if our own child process is alive.
            return Takeover::Now;
        }
        if matches!(state, RowState::Held(held) if self.lost.as_ref() == Some(&held.lease_id))
            && response.liveness != Liveness::ChildAlive
        {
            // No other guard has this lease, and a loss is final. A child process may still rely on it.
            return Takeover::Now;
        }
        let evidence = Evidence {
            at: now.at,
            service: now.service,
            date: response.date,
            liveness: response.liveness,
            watch: self.watch.as_ref(),
            legacy_skew: self.legacy_skew,
        };
        match (expiry(state, &evidence), state) {
            (Expiry::Running { .. }, _) => Takeover::Later,
            (Expiry::Expired, RowState::Legacy(legacy)) => self.token_floor_wait(legacy, now),
            (Expiry::Expired, _) => Takeover::Now,
        }
    }

    /// Continues the observation of a row, or starts it anew if this is another version.
    pub(crate) fn observe(&mut self, now: &Now<'_>, row: &Row, state: &RowState) {
        let (version, token, lease) = match state {
            RowState::Free | RowState::Done(_) => return self.watch = None,
            RowState::Held(held) => (&held.version, Some(held.token), Some(held.lease)),
            RowState::Legacy(legacy) => (&legacy.version, legacy.token, None),
        };
        let upper = service_or_wall(now).map(|(_, upper)| upper.div_ceil(1000));
        let tokenless_since = upper.filter(|_| token.is_none());
        if let Some(watch) = self.watch.as_mut().filter(|watch| watch.version == *version && watch.token == token) {
            // The response that first contained this version may have had no date.
            watch.tokenless_since = watch.tokenless_since.or(tokenless_since);
            return;
        }
        // Another version may follow on tokens that we have never seen, so the observation starts anew.
        self.watch = Some(Watch {
            version: version.clone(),
            token,
            lease,
            received_at: ReceivedAt(now.at),
            tokenless_since,
            is_revoked: row.get(attr::REVOKED_TOKEN).is_some(),
            holder: Holder::of(row, now),
        });
    }

    /// Decides whether an expired row of npm dynamo-lock can be taken over now. A row without a token is taken over
    /// only when a fresh token floor is certainly above every earlier token of this lock.
    fn token_floor_wait(&self, legacy: &LegacyRow, now: &Now<'_>) -> Takeover {
        let lower = service_or_wall(now).map(|(lower, _)| lower / 1000);
        let since = self.watch.as_ref().and_then(|watch| watch.tokenless_since);
        match (lower, since) {
            _ if legacy.token.is_some() => Takeover::Now,
            (Some(lower), Some(since)) if lower >= since + 2 => Takeover::Now,
            // Without any date there will never be a safe token floor.
            (None, _) => Takeover::Later,
            (Some(_), _) => Takeover::Soon,
        }
    }
}

/// Returns the token floor of an acquisition that starts now, or of a takeover of the `seen` version: seconds since
/// 1970 × 2^20. The tokens of a row that was deleted and created again are then greater than before, unless the lock
/// was acquired more than a million times per second.
pub(crate) fn token_floor(seen: Option<&Watch>, now: &Now<'_>) -> FencingToken {
    let second = now.service_interval().map_or(now.at.wall_ms, |(lower, _)| lower) / 1000;
    let has_lost_its_token = seen.is_some_and(|watch| watch.token.is_none());
    let second = if has_lost_its_token { second + FLOOR_AHEAD.as_secs() } else { second };
    FencingToken::new(second.saturating_mul(1 << 20))
}

/// Returns the bounds of service time in milliseconds. Where the store has no service clock, our own wall clock takes
/// its place.
fn service_or_wall(now: &Now<'_>) -> Option<(u64, u64)> {
    match now.service {
        Some(_) => now.service_interval(),
        None => Some((now.at.wall_ms, now.at.wall_ms)),
    }
}
