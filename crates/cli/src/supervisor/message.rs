//! What wrapper and supervisor say to each other: lines of words and numbers.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use crate::clock::ClockReading;
use nix::sys::signal::Signal;

/// For how long the command may run: so long from a moment of this host's clocks, which both read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub at: ClockReading,
    pub length: Duration,
}

impl Grant {
    /// Of what is left, counted from before that is asked: if this process is stopped in between, the grant is shorter
    /// by that, and not too long.
    pub fn of(now: impl FnOnce() -> ClockReading, left: impl FnOnce() -> Duration) -> Self {
        let at = now();
        Self { at, length: left() }
    }

    /// What is left of it.
    pub fn left(&self, now: ClockReading) -> Duration {
        self.length.saturating_sub(now.holder_elapsed_since(self.at))
    }
}

/// From the wrapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The command may run until then, whatever was said before.
    Until(Grant),
    /// A signal for the command and all that it has started.
    Pass(Signal),
    /// The wrapper is about to be stopped.
    Stop,
    /// It goes on.
    Continue,
}

/// From the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The command runs.
    Begun,
    /// It does not: the system's error number.
    NotBegun { errno: i32 },
    /// It was not begun, for there was no time left.
    Late,
    /// It has stopped itself.
    Stopped,
    /// It has ended; `forced` if that was asked for, for the lock's sake.
    Ended { status: ExitStatus, forced: bool },
    /// So has all that it had started, and so does the supervisor.
    Gone { forced: bool },
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Until(Grant { at, length }) => {
                write!(f, "until {} {} {} {}", length.as_nanos(), at.boot_ns, at.raw_ns, at.wall_ms)
            }
            Self::Pass(signal) => write!(f, "pass {}", *signal as i32),
            Self::Stop => f.write_str("stop"),
            Self::Continue => f.write_str("continue"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun => f.write_str("begun"),
            Self::NotBegun { errno } => write!(f, "not-begun {errno}"),
            Self::Late => f.write_str("late"),
            Self::Stopped => f.write_str("stopped"),
            Self::Ended { status, forced } => write!(f, "ended {} {}", status.into_raw(), u8::from(*forced)),
            Self::Gone { forced } => write!(f, "gone {}", u8::from(*forced)),
        }
    }
}

impl Order {
    pub fn parse(line: &str) -> Option<Self> {
        let (word, numbers) = words(line)?;
        Some(match (word, &numbers[..]) {
            ("until", [length, boot, raw, wall]) => {
                let at = ClockReading { boot_ns: natural(boot)?, raw_ns: natural(raw)?, wall_ms: natural(wall)? };
                Self::Until(Grant { at, length: Duration::from_nanos(natural(length)?) })
            }
            ("pass", [signal]) => Self::Pass(Signal::try_from(i32::try_from(*signal).ok()?).ok()?),
            ("stop", []) => Self::Stop,
            ("continue", []) => Self::Continue,
            _ => return None,
        })
    }
}

impl Report {
    pub fn parse(line: &str) -> Option<Self> {
        let (word, numbers) = words(line)?;
        Some(match (word, &numbers[..]) {
            ("begun", []) => Self::Begun,
            ("not-begun", [errno]) => Self::NotBegun { errno: i32::try_from(*errno).ok()? },
            ("late", []) => Self::Late,
            ("stopped", []) => Self::Stopped,
            ("ended", [status, forced]) => {
                Self::Ended { status: ExitStatus::from_raw(i32::try_from(*status).ok()?), forced: *forced != 0 }
            }
            ("gone", [forced]) => Self::Gone { forced: *forced != 0 },
            _ => return None,
        })
    }
}

fn words(line: &str) -> Option<(&str, Vec<i128>)> {
    let mut words = line.split(' ');
    let word = words.next()?;
    let numbers: Result<_, _> = words.map(str::parse).collect();
    Some((word, numbers.ok()?))
}

fn natural(number: &i128) -> Option<u64> {
    u64::try_from(*number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_grant_does_not_grow_by_a_stop_while_it_is_made() {
        let seconds =
            |s: u64| ClockReading { boot_ns: s * 1_000_000_000, raw_ns: s * 1_000_000_000, wall_ms: s * 1000 };
        let end = seconds(20);
        // Each look at the clock comes five seconds after the last.
        let looks = Cell::new(0);
        let now = || seconds(looks.replace(looks.get() + 5));
        let grant = Grant::of(now, || end.holder_elapsed_since(now()));
        assert_eq!(grant.left(end), Duration::ZERO, "{grant:?}");
        assert_eq!(grant.left(seconds(10)), Duration::from_secs(5), "{grant:?}");
    }

    #[test]
    fn what_is_said_is_understood() {
        let at = ClockReading { boot_ns: u64::MAX, raw_ns: 2, wall_ms: 3 };
        let until = Order::Until(Grant { at, length: Duration::from_nanos(1) });
        for order in [until, Order::Pass(Signal::SIGTERM), Order::Stop, Order::Continue] {
            assert_eq!(Order::parse(&order.to_string()), Some(order));
        }
        let status = ExitStatus::from_raw(9);
        let ended = Report::Ended { status, forced: true };
        for report in [Report::Begun, Report::NotBegun { errno: 2 }, Report::Late, Report::Stopped, ended] {
            assert_eq!(Report::parse(&report.to_string()), Some(report));
        }
        for forced in [false, true] {
            assert_eq!(Report::parse(&Report::Gone { forced }.to_string()), Some(Report::Gone { forced }));
        }
    }

    #[test]
    fn what_is_not_understood_is_nothing() {
        for line in
            ["", "until", "until 1 2 3", "until 1 2 3 -4", "until 1 2 3 4 5", "pass 0", "pass 9999999999", "stop 1"]
        {
            assert_eq!(Order::parse(line), None, "{line:?}");
        }
        for line in ["", "ended", "ended 1", "ended x 1", "gone", "begun 1"] {
            assert_eq!(Report::parse(line), None, "{line:?}");
        }
    }
}
