//! [`Success`]: a recorded success of work that runs until it has succeeded once.

use std::time::{Duration, SystemTime};

use crate::{
    Change, DRIFT_PER_MILLE, FencingToken, Held, Now, Row, TTL_MARGIN, attr, change::remove, change::set,
    npm_format::NEVER_MS, schema::HELD_ONLY, time::millis, time::system_time,
};

/// A recorded success, as described by the row of its lock.
///
/// Every client with access to the table can write these fields, so escape the text before printing it on a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Success {
    /// Fencing token of the successful run.
    pub token: FencingToken,
    /// Label of the process that recorded the success, in the form of [`Holder::owner`](crate::Holder::owner).
    pub by: Option<String>,
    /// Begin of the successful run, on the wall clock of its host.
    pub started_at: Option<SystemTime>,
    /// Time at which the success was recorded, on the wall clock of its host.
    pub finished_at: Option<SystemTime>,
    /// Time after which the work may run again. `None` if the success counts until it is reset.
    pub until: Option<SystemTime>,
}

/// Attributes that a success writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Done {
    /// Time of the success on the wall clock, in milliseconds since 1970.
    pub done_on: u64,
    /// Label of the process.
    pub done_by: String,
    /// Time after which the success does not count any more. `None` if it counts until it is reset.
    pub until: Option<DoneUntil>,
}

/// Time after which a success does not count any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DoneUntil {
    /// The time, in milliseconds since 1970.
    pub ms: u64,
    /// Whether it is an upper bound on the service clock. Otherwise it is from the writer's wall clock.
    pub service_timestamp: bool,
    /// Time for DynamoDB's TTL, in seconds since 1970.
    pub ttl: u64,
}

impl Success {
    /// Returns the success that a finished row describes.
    pub(crate) fn of(row: &Row, token: FencingToken) -> Self {
        Self {
            token,
            by: row.text(attr::DONE_BY).map(str::to_owned),
            started_at: row.whole(attr::ACQUIRED_ON).map(system_time),
            finished_at: row.whole(attr::DONE_ON).map(system_time),
            until: row.whole(attr::DONE_UNTIL).map(system_time),
        }
    }
}

impl Done {
    /// Returns the success of `held` now. It counts for `lasts` from the begin of the hold, or until it is reset.
    pub(crate) fn new(held: &Held, done_by: String, lasts: Option<Duration>, now: &Now<'_>) -> Self {
        Self { done_on: now.at.wall_ms, done_by, until: lasts.map(|lasts| DoneUntil::new(held, lasts, now)) }
    }

    /// Returns the changes that record a success. The begin of the run, the token and the payload stay.
    pub(crate) fn changes(&self, token: FencingToken) -> Vec<Change> {
        let mut changes = vec![
            set(attr::DONE_TOKEN, token.get().into()),
            set(attr::DONE_ON, self.done_on.into()),
            set(attr::DONE_BY, self.done_by.as_str().into()),
            set(attr::EXPIRES_ON, NEVER_MS.into()),
        ];
        match self.until {
            None => changes.extend([attr::DONE_UNTIL, attr::DONE_CLOCK, attr::TTL].map(remove)),
            Some(until) => {
                let clock = match until.service_timestamp {
                    true => set(attr::DONE_CLOCK, attr::SERVICE_CLOCK.into()),
                    false => remove(attr::DONE_CLOCK),
                };
                changes.extend([set(attr::DONE_UNTIL, until.ms.into()), clock, set(attr::TTL, until.ttl.into())]);
            }
        }
        changes.extend(HELD_ONLY.into_iter().filter(|name| *name != attr::ACQUIRED_ON).map(remove));
        changes
    }
}

impl DoneUntil {
    /// Returns the end of a success that counts for `lasts` from the begin of the hold.
    fn new(held: &Held, lasts: Duration, now: &Now<'_>) -> Self {
        let began = held.record().acquired().0;
        let (wall, lasts) = (began.wall_ms.saturating_add(millis(lasts)), millis(lasts));
        let upper = now.service_interval().map(|(_, upper)| {
            // The real time that has passed is at least that of the smaller clock, divided by (1 + ρ) (A2).
            let passed = millis(now.at.waiter_elapsed_since(began)) * 1000 / (1000 + DRIFT_PER_MILLE);
            upper.saturating_sub(passed).saturating_add(lasts)
        });
        let ms = upper.unwrap_or(wall);
        Self { ms, service_timestamp: upper.is_some(), ttl: ms.max(wall).div_ceil(1000) + TTL_MARGIN.as_secs() }
    }
}
