//! When the command is ended: it is asked, and then killed, before the time that was granted is over.

use std::time::Duration;

use crate::clock::ClockReading;

/// Clocks are looked at this often (R4): a timer does not count a suspension.
pub const LOOK: Duration = Duration::from_millis(250);
/// Killing is begun so long before the end, or earlier.
const RESERVE_MIN: Duration = Duration::from_millis(100);

/// What is kept of a grace for killing; the rest of it is the command's own, to end in.
pub fn reserve(grace: Duration) -> Duration {
    (grace / 5).max(RESERVE_MIN)
}

/// What has been done to end the command, and whatever it has started.
#[derive(Debug)]
pub struct Ending {
    pub grace: Duration,
    /// TERM was sent: there is no way back, even if more time is granted after all.
    pub asked: Option<ClockReading>,
    pub killed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// TERM.
    Ask,
    /// KILL.
    Kill,
}

impl Ending {
    pub fn new(grace: Duration) -> Self {
        Self { grace, asked: None, killed: false }
    }

    /// What is to be done with so much time left.
    pub fn due(&self, left: Duration, now: ClockReading) -> Option<Due> {
        let wait_mode = self.grace.saturating_sub(reserve(self.grace));
        let asked_long_ago = self.asked.is_some_and(|at| now.holder_elapsed_since(at) >= wait_mode);
        if self.killed {
            None
        } else if left <= reserve(self.grace) || asked_long_ago {
            Some(Due::Kill)
        } else if left <= self.grace && self.asked.is_none() {
            Some(Due::Ask)
        } else {
            None
        }
    }

    pub fn has_begun(&self) -> bool {
        self.asked.is_some() || self.killed
    }

    /// Until the next look.
    pub fn nap(&self, left: Duration) -> Duration {
        let next = if self.asked.is_some() { reserve(self.grace) } else { self.grace };
        left.saturating_sub(next).clamp(Duration::from_millis(1), LOOK)
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
    fn the_command_is_asked_and_then_killed_while_the_lease_lasts() {
        let due = |asked: Option<ClockReading>, left: u64| ending(asked).due(Duration::from_secs(left), AT);
        assert_eq!(due(None, 6), None);
        assert_eq!(due(None, 5), Some(Due::Ask));
        assert_eq!(due(Some(AT), 2), None);
        assert_eq!(due(Some(AT), 1), Some(Due::Kill));
        assert_eq!(due(None, 0), Some(Due::Kill));
    }

    #[test]
    fn a_command_that_was_asked_is_killed_even_if_a_renewal_lands() {
        assert_eq!(ending(Some(AT)).due(Duration::from_secs(20), later(3)), None);
        assert_eq!(ending(Some(AT)).due(Duration::from_secs(20), later(4)), Some(Due::Kill));
    }

    #[test]
    fn without_grace_it_is_killed_in_time_and_not_asked() {
        let due = |ms| Ending::new(Duration::ZERO).due(Duration::from_millis(ms), AT);
        assert_eq!(due(101), None);
        assert_eq!(due(100), Some(Due::Kill));
    }

    #[test]
    fn nothing_follows_the_kill() {
        let ending = Ending { killed: true, ..ending(None) };
        assert_eq!(ending.due(Duration::ZERO, later(60)), None);
    }
}
