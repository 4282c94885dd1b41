//! One host of the service whose clock is wrong, so that its dates contradict those of the other hosts.

use std::time::Duration;

use dynamo_lock::store::ServiceDate;

use super::{Process, lock};
use crate::mutants::Fault;

/// Time for which a process certainly knows the service's time after a right date.
const KNOWN_FOR: Duration = Duration::from_secs(300);
/// Time after which a response cannot arrive any more, because each request has a limit of 10 s.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
/// Responses of the wild host, per thousand.
const SHARE: u64 = 100;

/// Dates that one process has received.
#[derive(Debug, Default)]
pub struct WildDates {
    /// Time at which a right date arrived last, unless a wild one was sent since.
    right_at: Option<Duration>,
    /// The last wild date that was sent and has not arrived, and the time at which it was sent.
    sent: Option<(ServiceDate, Duration)>,
}

impl Process {
    /// Returns the date of the response that is sent now, if the wild host sends it. No process receives two of its
    /// dates in a row, or one before any right date.
    pub fn wild_date(&self) -> Option<ServiceDate> {
        let (world, time) = (&self.world, self.world.time());
        if world.plan.wild_host == 0 || world.is_quiescent() {
            return None;
        }
        let mut wild = lock(&self.wild);
        let follows = wild.right_at.is_some_and(|at| time - at < KNOWN_FOR);
        let repeats = world.mutant.is(Fault::WildDatesRepeat) && wild.sent.is_none() && wild.right_at.is_none();
        if !(repeats || follows && self.draw(|rng| rng.chance(SHARE))) {
            return None;
        }
        let date = ServiceDate((world.epoch_ms() / 1000).saturating_add_signed(world.plan.wild_host));
        (wild.right_at, wild.sent) = (None, Some((date, time)));
        world.count("wild date");
        Some(date)
    }

    /// Records that a response with this date has arrived.
    pub fn record_date(&self, date: Option<ServiceDate>) {
        let Some(date) = date else { return };
        let time = self.world.time();
        let mut wild = lock(&self.wild);
        match wild.sent {
            Some((sent, _)) if sent == date => wild.sent = None,
            // The wild date may still arrive, and another one must not follow it.
            Some((_, at)) if time - at < ARRIVES_WITHIN => {}
            _ => (wild.sent, wild.right_at) = (None, Some(time)),
        }
    }
}
