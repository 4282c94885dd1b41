//! [`Acquisition`]: acquisition of a plain lock, or of an entry of a shared row.

use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, ClockReading, Hint, Machine, Now, Release, Response, SharedAcquire, Step, Watch,
};

/// Acquisition of a plain lock, or of an entry of a shared row.
#[derive(Clone, Debug, Hash)]
pub enum Acquisition {
    Plain(Acquire),
    Entry(SharedAcquire),
}

impl Acquisition {
    /// Returns whether the lock is acquired and will be reported.
    pub fn has_won(&self) -> bool {
        match self {
            Self::Plain(machine) => machine.has_won(),
            Self::Entry(machine) => machine.has_won(),
        }
    }
}

impl Machine for Acquisition {
    type End = AcquireEnd;
    type CleanUp = Release;

    fn next(&mut self, now: &Now<'_>) -> Step<AcquireEnd, Release> {
        match self {
            Self::Plain(machine) => machine.next(now),
            Self::Entry(machine) => machine.next(now),
        }
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        match self {
            Self::Plain(machine) => machine.handle(now, response),
            Self::Entry(machine) => machine.handle(now, response),
        }
    }

    fn may_acquire(&self) -> bool {
        true
    }

    fn cancel(&mut self, now: &Now<'_>) -> Option<Release> {
        match self {
            Self::Plain(machine) => machine.cancel(now),
            Self::Entry(machine) => machine.cancel(now),
        }
    }

    fn request_limit(&self, at: ClockReading) -> Duration {
        match self {
            Self::Plain(machine) => machine.request_limit(at),
            Self::Entry(machine) => machine.request_limit(at),
        }
    }

    fn awaits_change(&self) -> bool {
        match self {
            Self::Plain(machine) => machine.awaits_change(),
            Self::Entry(machine) => machine.awaits_change(),
        }
    }

    fn hint(&mut self, now: &Now<'_>, hint: Hint) {
        match self {
            Self::Plain(machine) => machine.hint(now, hint),
            Self::Entry(machine) => machine.hint(now, hint),
        }
    }

    fn watch(&self) -> Option<&Watch> {
        match self {
            Self::Plain(machine) => machine.watch(),
            Self::Entry(machine) => machine.watch(),
        }
    }
}
