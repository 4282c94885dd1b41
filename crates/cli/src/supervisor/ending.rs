//! The schedule by which the supervisor ends the command: first SIGTERM, then SIGKILL, before the granted time has
//! passed.

use std::time::Duration;

use dynamo_lock_protocol::ClockReading;

/// Longest time between two clock readings (R4). We need it because timers do not count a suspension of the host.
pub const CLOCK_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Time between two rounds of SIGKILL. Processes may have been forked during the last round.
pub const KILL_INTERVAL: Duration = Duration::from_millis(10);
/// Shortest time before the end of a grant at which SIGKILL is sent.
const KILL_RESERVE_MIN: Duration = Duration::from_millis(100);

/// Returns the last part of the grace, in which SIGKILL is sent. The command can use the time before it to end by
/// itself.
pub fn kill_reserve(grace: Duration) -> Duration {
    (grace / 5).max(KILL_RESERVE_MIN)
}

/// Progress of ending the command and all processes that it started.
#[derive(Debug)]
pub struct Ending {
    pub grace: Duration,
    /// Time at which SIGTERM was sent. After that, SIGKILL follows even if more time is granted.
    pub asked: Option<ClockReading>,
    pub killed: bool,
}

/// A signal that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// SIGTERM.
    Ask,
    /// SIGKILL.
    Kill,
}

impl Ending {
    pub fn new(grace: Duration) -> Self {
        Self { grace, asked: None, killed: false }
    }

    /// Returns the signal to send now, if `left` is the remaining time of the grant.
    pub fn due(&self, left: Duration, now: ClockReading) -> Option<Due> {
        let time_to_end = self.grace.saturating_sub(kill_reserve(self.grace));
        let has_had_time = self.asked.is_some_and(|at| now.holder_elapsed_since(at) >= time_to_end);
        if self.killed {
            None
        } else if left <= kill_reserve(self.grace) || has_had_time {
            Some(Due::Kill)
        } else if left <= self.grace && self.asked.is_none() {
            Some(Due::Ask)
        } else {
            None
        }
    }

    /// Returns whether a signal has been sent.
    pub fn has_begun(&self) -> bool {
        self.asked.is_some() || self.killed
    }

    /// Returns the time until the next check, from 1 ms to [`CLOCK_CHECK_INTERVAL`].
    pub fn next_check(&self, left: Duration) -> Duration {
        let reserve = kill_reserve(self.grace);
        let next = if self.asked.is_some() { reserve } else { self.grace.max(reserve) };
        left.saturating_sub(next).clamp(Duration::from_millis(1), CLOCK_CHECK_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: ClockReading = ClockReading { boot_ns: 0, raw_ns: 0, wall_ms: 0 };

    fn later(seconds: u64) -> ClockReading {
        ClockReading { boot_ns: seconds * 1_000_000_000, raw_ns: seconds * 1_000_000_000, wall_ms: seconds * 1000 }
    }

    fn ending(asked: Option<ClockReading>) -> Ending {
        Ending { asked, ..Ending::new(Duration::from_secs(5)) }
    }

    #[test]
    fn sigterm_and_sigkill_are_due_before_the_lease_ends() {
        let due = |asked: Option<ClockReading>, left: u64| ending(asked).due(Duration::from_secs(left), AT);
        assert_eq!(due(None, 6), None);
        assert_eq!(due(None, 5), Some(Due::Ask));
        assert_eq!(due(Some(AT), 2), None);
        assert_eq!(due(Some(AT), 1), Some(Due::Kill));
        assert_eq!(due(None, 0), Some(Due::Kill));
    }

    #[test]
    fn sigkill_follows_sigterm_despite_a_later_renewal() {
        assert_eq!(ending(Some(AT)).due(Duration::from_secs(20), later(3)), None);
        assert_eq!(ending(Some(AT)).due(Duration::from_secs(20), later(4)), Some(Due::Kill));
    }

    #[test]
    fn zero_grace_sends_sigkill_only() {
        let due = |ms| Ending::new(Duration::ZERO).due(Duration::from_millis(ms), AT);
        assert_eq!(due(101), None);
        assert_eq!(due(100), Some(Due::Kill));
    }

    /// Track record: without a grace, the supervisor waited until the grant had passed, so the wrapper killed it.
    #[test]
    fn next_check_is_not_after_the_time_for_sigkill() {
        for (grace, left) in [(0, 180), (0, 101), (50, 180), (5000, 5100)] {
            let (grace, left) = (Duration::from_millis(grace), Duration::from_millis(left));
            let ending = Ending::new(grace);
            assert_eq!(ending.due(left, AT), None);
            let left = left - ending.next_check(left);
            assert!(ending.due(left, AT).is_some(), "{grace:?} {left:?}");
        }
    }

    #[test]
    fn no_signal_is_due_after_sigkill() {
        let ending = Ending { killed: true, ..ending(None) };
        assert_eq!(ending.due(Duration::ZERO, later(60)), None);
    }
}
