//! Common interface of the state machines that perform one task from its begin to its end.

use std::convert::Infallible;
use std::time::Duration;

use crate::{ClockReading, Hint, Holder, Liveness, Now, Op, Outcome, Row, SentAt, ServiceDate, Watch};

/// Next step of a state machine.
///
/// `T` is the result of the task. `C` is the type of its clean-ups; it is [`Infallible`] for a machine that leaves
/// nothing behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T, C = Infallible> {
    /// Read the row and pass the result to the machine.
    Read {
        /// Whether the read must be strongly consistent, because a stale row would lead to a wrong result.
        strong: bool,
    },
    /// Send this write once and pass the result to the machine.
    Write(Op),
    /// Wait for this time.
    Pause(Duration),
    /// Run this clean-up in the background, because an abandoned operation may have left a lease. Then ask for the next
    /// step.
    CleanUp(C),
    /// The task has ended. Every later call returns the same step.
    Done(T),
}

/// A state machine that performs one task.
///
/// A machine performs no I/O and reads no clock. The caller runs this loop:
///
/// 1. Call [`next`](Self::next) with the current time. It returns a [`Step`].
/// 2. Perform the step: send one request, wait, start a clean-up, or finish.
/// 3. After a request, call [`handle`](Self::handle) with the time at which its response arrived, or at which waiting
///    for it ended. Then start again at 1.
///
/// At most one request is in flight. A pause may end early or late, because `next` computes everything from the time
/// that it is given. Every call needs fresh [`Entropy`](crate::Entropy).
///
/// A caller that stops before [`Step::Done`] must wait for the request in flight if [`may_acquire`](Self::may_acquire)
/// returns `true`, pass its result to `handle`, call [`cancel`](Self::cancel), and run the clean-up that it returns.
pub trait Machine {
    /// Result of the task.
    type End;
    /// Clean-up after an abandoned operation.
    type CleanUp;

    /// Returns the next step.
    fn next(&mut self, now: &Now<'_>) -> Step<Self::End, Self::CleanUp>;

    /// Takes the response to the request in flight. `now` is the time at which the response arrived.
    fn handle(&mut self, now: &Now<'_>, response: Response<'_>);

    /// Returns whether a write in flight may acquire the lock, so that a caller must not forget it.
    fn may_acquire(&self) -> bool {
        false
    }

    /// Ends the task early. Returns the clean-up that is needed, because an operation may have taken effect.
    fn cancel(&mut self, _now: &Now<'_>) -> Option<Self::CleanUp> {
        None
    }

    /// Returns the maximum time for the next request, besides the caller's own limit.
    fn request_limit(&self, _at: ClockReading) -> Duration {
        Duration::MAX
    }

    /// Returns whether the present pause waits for another holder, so that the caller should pass hints to
    /// [`hint`](Self::hint).
    fn awaits_change(&self) -> bool {
        false
    }

    /// Takes a hint of the store. It may end the present pause early, so ask for the [`next`](Self::next) step again.
    fn hint(&mut self, _now: &Now<'_>, _hint: Hint) {}

    /// Returns the observation of another client's lease, for the next acquisition of the same client.
    fn watch(&self) -> Option<&Watch> {
        None
    }

    /// Returns the holder for which the task waits, as the last row showed it.
    fn holder(&self) -> Option<Holder> {
        self.watch().map(|watch| watch.holder.clone())
    }
}

/// Result of one request, as a state machine receives it.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// Result of the read or write.
    pub body: Body<'a>,
    /// Date of the service in this very response.
    pub date: Option<ServiceDate>,
    /// Result of a liveness check of the row's holder. The check must have begun after the time that is passed to
    /// [`Machine::handle`], because the holder may start a child process until its lease has expired.
    pub liveness: Liveness,
    /// Results of the liveness checks of the holders of a shared row, by their liveness keys. They must have begun as late
    /// as `liveness`.
    pub entries: &'a [(String, Liveness)],
}

/// Result of a read or write.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The read returned this row.
    Row(Option<&'a Row>),
    /// The read was not answered, or it was throttled.
    Unread,
    /// The store refused the read or write, so that this attempt has certainly had no effect.
    Refused(Refusal),
    /// The write had this outcome.
    Outcome {
        /// Time before the first byte of this attempt was sent.
        sent_at: SentAt,
        /// Outcome of the write.
        outcome: &'a Outcome,
    },
}

impl<'a> Body<'a> {
    /// Returns the row that the response contains: of a read, of a conflict, or as an applied write has left it.
    pub fn row(&self) -> Option<&'a Row> {
        match self {
            Self::Row(row) => *row,
            Self::Outcome { outcome: Outcome::Applied(row) | Outcome::Conflict(row), .. } => row.as_ref(),
            Self::Outcome { .. } | Self::Unread | Self::Refused(_) => None,
        }
    }
}

/// Kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The table does not exist, so there is no row.
    NoTable,
    /// The row may exist. For example, a permission is missing.
    Other,
}

impl<'a> Response<'a> {
    /// Returns the response to a read.
    pub fn row(row: Option<&'a Row>) -> Self {
        Self::from(Body::Row(row))
    }

    /// Returns the result of a read without a response.
    pub fn unread() -> Self {
        Self::from(Body::Unread)
    }

    /// Returns the response to a request that the store refused.
    pub fn refused(refusal: Refusal) -> Self {
        Self::from(Body::Refused(refusal))
    }

    /// Returns the response to the attempt of a write that was sent at `sent_at`.
    pub fn outcome(sent_at: SentAt, outcome: &'a Outcome) -> Self {
        Self::from(Body::Outcome { sent_at, outcome })
    }

    /// Adds the date of the response.
    pub fn with_date(self, date: impl Into<Option<ServiceDate>>) -> Self {
        Self { date: date.into(), ..self }
    }

    /// Adds the result of a liveness check.
    pub fn with_liveness(self, liveness: Liveness) -> Self {
        Self { liveness, ..self }
    }

    /// Adds the results of the liveness checks of the holders of a shared row.
    pub fn with_entries(self, entries: &'a [(String, Liveness)]) -> Self {
        Self { entries, ..self }
    }

    /// Returns the result of the liveness check of an entry with this liveness key.
    pub(crate) fn liveness_of(&self, key: Option<&str>) -> Liveness {
        let found = key.and_then(|key| self.entries.iter().find(|(checked, _)| checked == key));
        found.map_or(Liveness::Unknown, |(_, liveness)| *liveness)
    }
}

impl<'a> From<Body<'a>> for Response<'a> {
    fn from(body: Body<'a>) -> Self {
        Self { body, date: None, liveness: Liveness::Unknown, entries: &[] }
    }
}
