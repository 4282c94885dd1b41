//! Messages between wrapper and supervisor: lines that consist of a word and numbers.

use std::{fmt, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use dynamo_lock_protocol::ClockReading;
use nix::sys::signal::Signal;

/// Time for which the command may run. Both processes read the same clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Clock reading from which `length` counts.
    pub at: ClockReading,
    pub length: Duration,
}

impl Grant {
    /// Creates a grant for the time that `left` returns, counted from a clock reading taken before that call.
    ///
    /// If this process is stopped between the two calls, the grant is too short by the length of the stop. In the
    /// opposite order it would be too long.
    pub fn new(now: impl FnOnce() -> ClockReading, left: impl FnOnce() -> Duration) -> Self {
        let at = now();
        Self { at, length: left() }
    }

    /// Returns the remaining time of this grant.
    pub fn left(&self, now: ClockReading) -> Duration {
        self.length.saturating_sub(now.holder_elapsed_since(self.at))
    }
}

/// Message from the wrapper to the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Let the command run until the grant has passed. It replaces earlier grants.
    RunUntil(Grant),
    /// Pass a signal on to the command and to all processes that it started.
    Signal(Signal),
    /// Send a signal to the command alone, because its lease is about to end.
    Warn(Signal),
    /// Stop the command, because the wrapper is about to be stopped.
    Stop,
    /// Continue the command, because the wrapper has been continued.
    Continue,
}

/// Message from the supervisor to the wrapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The command was started, and the supervisor handles signals.
    Started,
    /// The command could not be started, with the system's error number.
    NotStarted { errno: i32 },
    /// The command was not started, because no granted time was left.
    TooLate,
    /// The command has stopped itself.
    Stopped,
    /// The command has ended.
    Ended { status: ExitStatus },
    /// The command and all processes that it started have ended. The supervisor then ends too. `forced` if it had begun
    /// to end them.
    AllEnded { forced: bool },
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunUntil(Grant { at, length }) => {
                write!(f, "until {} {} {} {}", length.as_nanos(), at.boot_ns, at.raw_ns, at.wall_ms)
            }
            Self::Signal(signal) => write!(f, "signal {}", *signal as i32),
            Self::Warn(signal) => write!(f, "warn {}", *signal as i32),
            Self::Stop => f.write_str("stop"),
            Self::Continue => f.write_str("continue"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::NotStarted { errno } => write!(f, "not-started {errno}"),
            Self::TooLate => f.write_str("too-late"),
            Self::Stopped => f.write_str("stopped"),
            Self::Ended { status } => write!(f, "ended {}", status.into_raw()),
            Self::AllEnded { forced } => write!(f, "all-ended {}", u8::from(*forced)),
        }
    }
}

impl Order {
    /// Parses a line without its line break. Returns `None` if it is malformed.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, numbers) = split(line)?;
        Some(match (word, &numbers[..]) {
            ("until", &[length, boot_ns, raw_ns, wall_ms]) => {
                let at = ClockReading { boot_ns, raw_ns, wall_ms };
                Self::RunUntil(Grant { at, length: Duration::from_nanos(length) })
            }
            ("signal", &[signal]) => Self::Signal(self::signal(signal)?),
            ("warn", &[signal]) => Self::Warn(self::signal(signal)?),
            ("stop", []) => Self::Stop,
            ("continue", []) => Self::Continue,
            _ => return None,
        })
    }
}

impl Event {
    /// Parses a line without its line break. Returns `None` if it is malformed.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, numbers) = split(line)?;
        Some(match (word, &numbers[..]) {
            ("started", []) => Self::Started,
            ("not-started", &[errno]) => Self::NotStarted { errno: i32::try_from(errno).ok()? },
            ("too-late", []) => Self::TooLate,
            ("stopped", []) => Self::Stopped,
            ("ended", &[status]) => Self::Ended { status: ExitStatus::from_raw(i32::try_from(status).ok()?) },
            ("all-ended", &[forced]) => Self::AllEnded { forced: forced != 0 },
            _ => return None,
        })
    }
}

fn signal(number: u64) -> Option<Signal> {
    Signal::try_from(i32::try_from(number).ok()?).ok()
}

fn split(line: &str) -> Option<(&str, Vec<u64>)> {
    let mut words = line.split(' ');
    Some((words.next()?, words.map(|number| number.parse().ok()).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// The clock advances by five seconds between two readings, as if the process were stopped in between.
    #[test]
    fn stop_while_a_grant_is_created_does_not_extend_it() {
        let seconds =
            |s: u64| ClockReading { boot_ns: s * 1_000_000_000, raw_ns: s * 1_000_000_000, wall_ms: s * 1000 };
        let end = seconds(20);
        let readings = Cell::new(0);
        let now = || seconds(readings.replace(readings.get() + 5));
        let grant = Grant::new(now, || end.holder_elapsed_since(now()));
        assert_eq!(grant.left(end), Duration::ZERO, "{grant:?}");
        assert_eq!(grant.left(seconds(10)), Duration::from_secs(5), "{grant:?}");
    }

    #[test]
    fn messages_survive_a_round_trip() {
        let at = ClockReading { boot_ns: u64::MAX, raw_ns: 2, wall_ms: 3 };
        let until = Order::RunUntil(Grant { at, length: Duration::from_nanos(1) });
        let signals = [Order::Signal(Signal::SIGTERM), Order::Warn(Signal::SIGUSR1)];
        for order in [until, Order::Stop, Order::Continue].into_iter().chain(signals) {
            assert_eq!(Order::parse(&order.to_string()), Some(order));
        }
        let status = ExitStatus::from_raw(9);
        let ended = Event::Ended { status };
        for event in [Event::Started, Event::NotStarted { errno: 2 }, Event::TooLate, Event::Stopped, ended] {
            assert_eq!(Event::parse(&event.to_string()), Some(event));
        }
        for forced in [false, true] {
            assert_eq!(Event::parse(&Event::AllEnded { forced }.to_string()), Some(Event::AllEnded { forced }));
        }
    }

    #[test]
    fn malformed_messages_are_ignored() {
        for line in [
            "",
            "until",
            "until 1 2 3",
            "until 1 2 3 -4",
            "until 1 2 3 4 5",
            "signal 0",
            "signal 9999999999",
            "warn",
            "stop 1",
        ] {
            assert_eq!(Order::parse(line), None, "{line:?}");
        }
        for line in ["", "ended", "ended x", "ended 1 1", "all-ended", "started 1"] {
            assert_eq!(Event::parse(line), None, "{line:?}");
        }
    }
}
