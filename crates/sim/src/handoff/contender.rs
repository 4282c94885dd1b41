//! A client that acquires the lock again and again: the shipped state machines, or the polls that preceded them.

use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, Entropy, Held, Kind, LockName, Machine, Now, Op, Outcome, OwnHold, Renewal, Request, Response,
    Row, SentAt, Step, Timing, WaitMode,
};
use test_support::Rng;

/// Way in which clients wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The shipped state machines.
    Shipped,
    /// Decorrelated jitter from 25 ms to lease/20, at most 1 s, without a history.
    Jitter,
    /// The shipped state machines without random pauses.
    WithoutJitter,
    /// The shipped state machines without the random phase after a handoff.
    WithoutPhase,
    /// The shipped state machines without sitting out after a release.
    WithoutSitOut,
}

impl Policy {
    /// Returns fresh random bits, as far as the policy uses them.
    pub fn entropy(self, rng: &mut Rng) -> Entropy {
        let (middle, bits) = (1_u64 << 31, rng.next_u64());
        let jitter = match self {
            Self::WithoutJitter => middle << 32 | middle,
            Self::WithoutPhase => u64::from(u32::MAX) << 32 | bits & u64::from(u32::MAX),
            _ => bits,
        };
        Entropy { version: rng.bits(), lease_id: rng.bits(), jitter }
    }
}

/// An attempt to acquire the lock.
#[derive(Debug)]
pub enum Attempt {
    Machine(Box<Acquire>),
    Jitter(Jitter),
}

/// Next step of an attempt.
#[derive(Debug)]
pub enum Next {
    Read,
    Write(Op),
    Pause(Duration),
    Acquired(Box<Held>),
}

impl Attempt {
    pub fn new(policy: Policy, lease: Duration, own_hold: Option<OwnHold>) -> Self {
        let own_hold = own_hold.filter(|_| policy != Policy::WithoutSitOut);
        match policy {
            Policy::Jitter => Self::Jitter(Jitter::new(lease)),
            _ => Self::Machine(Box::new(Acquire::new(request(lease), None).after(own_hold))),
        }
    }

    pub fn next(&mut self, now: &Now<'_>) -> Next {
        match self {
            Self::Jitter(jitter) => jitter.next(now),
            Self::Machine(machine) => match machine.next(now) {
                Step::Read { .. } => Next::Read,
                Step::Write(op) => Next::Write(op),
                Step::Pause(length) => Next::Pause(length.max(Duration::from_millis(1))),
                Step::Done(AcquireEnd::Acquired(held)) => Next::Acquired(held),
                step => panic!("nothing fails in this world: {step:?}"),
            },
        }
    }

    pub fn handle_row(&mut self, now: &Now<'_>, row: Option<&Row>) {
        match self {
            Self::Jitter(jitter) => jitter.look(now, row.is_none_or(|row| row.whole("expiresOn") == Some(0))),
            Self::Machine(machine) => machine.handle(now, Response::row(row)),
        }
    }

    pub fn handle_outcome(&mut self, now: &Now<'_>, sent_at: SentAt, outcome: &Outcome) {
        match self {
            Self::Jitter(jitter) => jitter.handle_outcome(now, sent_at, outcome),
            Self::Machine(machine) => machine.handle(now, Response::outcome(sent_at, outcome)),
        }
    }
}

fn name() -> LockName {
    LockName::new("a").unwrap_or_else(|_| unreachable!())
}

fn request(lease: Duration) -> Request {
    Request {
        name: name(),
        kind: Kind::Mutex,
        owner: "w".to_owned(),
        timing: Timing::new(lease).unwrap_or_else(|error| panic!("{error}")),
        renewal: Renewal::Automatic,
        max_hold: None,
        data: None,
        liveness_key: None,
        wait_mode: WaitMode::Wait,
    }
}

/// An attempt that polls with decorrelated jitter. Each write is that of a new machine.
#[derive(Debug)]
pub struct Jitter {
    lease: Duration,
    pause: Duration,
    until: Option<(SentAt, Duration)>,
    writes: bool,
    writer: Option<Box<Acquire>>,
}

impl Jitter {
    fn new(lease: Duration) -> Self {
        Self { lease, pause: Duration::from_millis(25), until: None, writes: true, writer: None }
    }

    fn next(&mut self, now: &Now<'_>) -> Next {
        if let Some(Step::Done(AcquireEnd::Acquired(held))) = self.writer.as_mut().map(|writer| writer.next(now)) {
            return Next::Acquired(held);
        }
        let left = self.until.map(|(since, length)| length.saturating_sub(now.at.waiter_elapsed_since(since.0)));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Next::Pause(left);
        }
        if !self.writes {
            return Next::Read;
        }
        let mut writer = Acquire::new(request(self.lease), None);
        let Step::Write(op) = writer.next(now) else { unreachable!("an acquisition begins with a write") };
        self.writer = Some(Box::new(writer));
        Next::Write(op)
    }

    fn handle_outcome(&mut self, now: &Now<'_>, sent_at: SentAt, outcome: &Outcome) {
        match (&mut self.writer, outcome) {
            (Some(writer), Outcome::Applied(_)) => writer.handle(now, Response::outcome(sent_at, outcome)),
            _ => self.look(now, false),
        }
    }

    fn look(&mut self, now: &Now<'_>, is_free: bool) {
        (self.writes, self.writer) = (is_free, None);
        if is_free {
            return;
        }
        let base = Duration::from_millis(25);
        let cap = (self.lease / 20).min(Duration::from_secs(1)).max(base);
        let span = ((self.pause * 3).clamp(base, cap) - base).as_nanos() as u64;
        self.pause = base + Duration::from_nanos(now.entropy.jitter % (span + 1));
        self.until = Some((SentAt(now.at), self.pause));
    }
}
