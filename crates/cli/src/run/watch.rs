//! The child's end, or the lease's: whichever comes first. The child is ended *before* others may have the lock, by
//! local clocks and whatever requests do.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use dynamo_lock::{Clock, Guard, Moment, SystemClock};
use nix::sys::signal::{Signal, raise};

use super::child::Child;
use super::signals::Signals;
use crate::plan::RunTask;

/// The longest grace: taken from the end of the lease, not added to it.
const GRACE_MAX: Duration = Duration::from_secs(5);
/// Clocks are looked at this often (R4): a timer does not count a suspension.
const LOOK: Duration = Duration::from_millis(250);

/// How the child ended.
pub struct Watched {
    pub status: ExitStatus,
    /// It was ended by us, for the lock's sake.
    pub stopped: bool,
}

/// Waits for the child's end; passes signals on; ends the child if the lock is about to be lost.
pub async fn watch(child: &mut Child, guard: &Guard, signals: &mut Signals, task: &RunTask) -> io::Result<Watched> {
    if child.own_group {
        // From the terminal it would stop us alone, and the child would run on without renewals.
        signals.add(Signal::SIGTSTP)?;
    }
    let mut ending = Ending { grace: grace(task), asked: None, killed: false };
    let cancelled = guard.cancellation();
    loop {
        let left = guard.time_left();
        let now = SystemClock.now();
        match ending.due(left, now) {
            Some(Due::Ask) => {
                ending.asked = Some(now);
                child.send(Signal::SIGTERM);
            }
            Some(Due::Kill) => {
                ending.killed = true;
                child.send(Signal::SIGKILL);
            }
            None => {}
        }
        tokio::select! {
            biased;
            status = child.wait() => return Ok(Watched { status: status?, stopped: ending.has_begun() }),
            signal = signals.next() => match signal {
                Signal::SIGTSTP => stop_together(child, guard, &ending),
                signal => child.pass_on(signal),
            },
            () = cancelled.cancelled(), if !ending.killed => {}
            () = SystemClock.sleep(ending.nap(left)) => {}
        }
    }
}

/// Stops the child, then this process; once continued, the child goes on only if the lock is still ours.
fn stop_together(child: &Child, guard: &Guard, ending: &Ending) {
    child.send(Signal::SIGSTOP);
    let _cannot_fail = raise(Signal::SIGSTOP);
    if ending.due(guard.time_left(), SystemClock.now()) != Some(Due::Kill) {
        child.send(Signal::SIGCONT);
    }
}

/// What is taken from the end of the lease to end the child in.
pub fn grace(task: &RunTask) -> Duration {
    (task.max_hold.unwrap_or(task.lease).min(task.lease) / 4).min(GRACE_MAX)
}

/// What has been done to end the child.
struct Ending {
    grace: Duration,
    /// TERM was sent: there is no way back, even if a renewal lands after all.
    asked: Option<Moment>,
    killed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// TERM.
    Ask,
    /// KILL.
    Kill,
}

impl Ending {
    /// What is to be done with so much belief left.
    fn due(&self, left: Duration, now: Moment) -> Option<Due> {
        let asked_long_ago = self.asked.is_some_and(|at| now.holder_elapsed_since(at) >= self.grace * 4 / 5);
        if self.killed {
            None
        } else if left <= self.grace / 5 || asked_long_ago {
            Some(Due::Kill)
        } else if left <= self.grace && self.asked.is_none() {
            Some(Due::Ask)
        } else {
            None
        }
    }

    fn has_begun(&self) -> bool {
        self.asked.is_some() || self.killed
    }

    /// Until the next look.
    fn nap(&self, left: Duration) -> Duration {
        let next = if self.asked.is_some() { self.grace / 5 } else { self.grace };
        if self.killed { LOOK } else { left.saturating_sub(next).clamp(Duration::from_millis(1), LOOK) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Moment = Moment { boot_ns: 0, raw_ns: 0, wall_ms: 0 };

    fn later(seconds: u64) -> Moment {
        Moment { boot_ns: seconds * 1_000_000_000, raw_ns: seconds * 1_000_000_000, wall_ms: seconds * 1000 }
    }

    fn ending(asked: Option<Moment>) -> Ending {
        Ending { grace: Duration::from_secs(5), asked, killed: false }
    }

    #[test]
    fn the_child_is_asked_and_then_killed_while_the_lease_lasts() {
        let due = |asked: Option<Moment>, left: u64| ending(asked).due(Duration::from_secs(left), AT);
        assert_eq!(due(None, 6), None);
        assert_eq!(due(None, 5), Some(Due::Ask));
        assert_eq!(due(Some(AT), 2), None);
        assert_eq!(due(Some(AT), 1), Some(Due::Kill));
        assert_eq!(due(None, 0), Some(Due::Kill));
    }

    #[test]
    fn a_child_that_was_asked_is_killed_even_if_a_renewal_lands() {
        assert_eq!(ending(Some(AT)).due(Duration::from_secs(20), later(3)), None);
        assert_eq!(ending(Some(AT)).due(Duration::from_secs(20), later(4)), Some(Due::Kill));
    }

    #[test]
    fn nothing_follows_the_kill() {
        let ending = Ending { killed: true, ..ending(None) };
        assert_eq!(ending.due(Duration::ZERO, later(60)), None);
        assert_eq!(ending.nap(Duration::ZERO), LOOK);
    }
}
