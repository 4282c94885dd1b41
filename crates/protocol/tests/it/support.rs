//! A host that calls state machines at chosen times, and the specification as a table of one row.

use std::fmt::Debug;
use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, ClockReading, Entropy, Held, HeldStep, Kind, LockName, Machine, Now, Op, Outcome, ReceivedAt,
    Release, Renewal, Request, Response, Row, SentAt, ServiceClock, ServiceDate, Step, Timing, Value, Verdict,
    WaitMode, apply, attr,
};

/// Wall clock at the beginning of each test, in milliseconds since 1970.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// Returns the reading of correct clocks, `ms` milliseconds after the beginning.
pub fn at(ms: u64) -> ClockReading {
    ClockReading { boot_ns: ms * 1_000_000, raw_ns: ms * 1_000_000, wall_ms: EPOCH_MS + ms }
}

/// Returns the service's date, `ms` milliseconds after the beginning.
pub fn date(ms: u64) -> ServiceDate {
    ServiceDate((EPOCH_MS + ms) / 1000)
}

/// Returns random bits that lead to the longest pause.
fn entropy(n: u128) -> Entropy {
    Entropy { version: n << 8, lease_id: n << 64, jitter: u64::MAX - 1 }
}

/// Returns the time of a host without a service clock.
pub fn now(ms: u64) -> Now<'static> {
    Now { at: at(ms), service: None, npm_clients: true, entropy: entropy(u128::from(ms) + 1) }
}

/// The name of the lock in all tests.
pub fn name() -> LockName {
    LockName::new("a").expect("a valid name")
}

/// Returns a request with a lease of `lease_s` seconds.
pub fn request(lease_s: u64, wait_mode: WaitMode) -> Request {
    Request {
        name: name(),
        kind: Kind::Mutex,
        owner: "test".into(),
        timing: Timing::new(Duration::from_secs(lease_s)).expect("a valid lease"),
        renewal: Renewal::Automatic,
        max_hold: None,
        data: None,
        liveness_key: None,
        wait_mode,
    }
}

/// Returns an acquisition that waits, with a lease of `lease_s` seconds.
pub fn waiter(lease_s: u64) -> Acquire {
    Acquire::new(request(lease_s, WaitMode::Wait), None)
}

/// Returns an acquisition that does not wait, with a lease of `lease_s` seconds.
pub fn attempt(lease_s: u64) -> Acquire {
    Acquire::new(request(lease_s, WaitMode::Try), None)
}

/// Returns a row with these attributes.
pub fn row(attributes: &[(&str, Value)]) -> Row {
    Row::new(attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())))
}

/// Returns a row of npm dynamo-lock.
pub fn npm_row(version: &str, expires_on: u64) -> Row {
    row(&[(attr::GUID, version.into()), (attr::EXPIRES_ON, expires_on.into())])
}

/// Returns a held row of another client, with this lease.
pub fn held_row(lease_ms: u64) -> Row {
    row(&[
        (attr::V, 1.into()),
        (attr::GUID, "g".into()),
        (attr::LEASE_ID, "r".into()),
        (attr::TOKEN, 7.into()),
        (attr::EXPIRES_ON, (EPOCH_MS + lease_ms).into()),
        (attr::LEASE_MS, lease_ms.into()),
    ])
}

/// Returns the size of a row as an item of DynamoDB without its key, in bytes.
pub fn row_bytes(row: &Row) -> usize {
    row.attributes().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

/// Returns the size of a value. A number has a byte for two digits, and one more.
fn value_bytes(value: &Value) -> usize {
    match value {
        Value::S(text) => text.len(),
        Value::N(number) => number.to_string().trim_end_matches('0').len().div_ceil(2) + 1,
        Value::Map(parts) => 3 + parts.iter().map(|(name, part)| 1 + name.len() + value_bytes(part)).sum::<usize>(),
        _ => 1,
    }
}

/// Writes to the table, as specified by [`apply`].
pub fn write(row: &mut Option<Row>, op: &Op) -> Outcome {
    let verdict = apply(row.as_ref(), op);
    if let Verdict::Applied(next) = &verdict {
        *row = Some(next.clone());
    }
    verdict.outcome(op)
}

/// Returns the milliseconds of a pause, at least one.
pub fn pause_ms(length: Duration) -> u64 {
    length.as_millis().max(1) as u64
}

/// A host, with its random bits, its wall clock, and its knowledge of the service clock.
#[derive(Debug)]
pub struct TestHost {
    service: Option<ServiceClock>,
    entropy: u128,
    /// Milliseconds by which the wall clock is ahead.
    pub wall_ahead_ms: i64,
}

impl TestHost {
    /// Creates a host that has received no date yet. Hosts with different numbers have different random bits.
    pub fn new(number: u128) -> Self {
        Self { service: Some(ServiceClock::default()), entropy: number << 32, wall_ahead_ms: 0 }
    }

    /// Creates a host on a store without a service clock.
    pub fn without_dates(number: u128) -> Self {
        Self { service: None, ..Self::new(number) }
    }

    /// Returns the reading of this host's clocks.
    pub fn at(&self, ms: u64) -> ClockReading {
        let correct = at(ms);
        ClockReading { wall_ms: correct.wall_ms.saturating_add_signed(self.wall_ahead_ms), ..correct }
    }

    /// Returns the time of this host, with fresh random bits.
    pub fn now(&mut self, ms: u64) -> Now<'_> {
        self.entropy += 1;
        Now { at: self.at(ms), service: self.service.as_ref(), npm_clients: true, entropy: entropy(self.entropy) }
    }

    /// Takes the date of a response. Its request was sent at `sent_ms`.
    pub fn observe(&mut self, date: ServiceDate, sent_ms: u64, received_ms: u64) {
        let (sent, received) = (SentAt(self.at(sent_ms)), ReceivedAt(self.at(received_ms)));
        if let Some(service) = &mut self.service {
            service.observe(date, sent, received);
        }
    }

    /// Returns the next step of a machine.
    pub fn next<M: Machine>(&mut self, ms: u64, machine: &mut M) -> Step<M::End, M::CleanUp> {
        machine.next(&self.now(ms))
    }

    /// Returns the write that is the next step of a machine.
    pub fn op<M: Machine<End: Debug, CleanUp: Debug>>(&mut self, ms: u64, machine: &mut M) -> Op {
        match self.next(ms, machine) {
            Step::Write(op) => op,
            step => panic!("not a write: {step:?}"),
        }
    }

    /// Passes a response to a machine.
    pub fn handle(&mut self, ms: u64, machine: &mut impl Machine, response: Response<'_>) {
        machine.handle(&self.now(ms), response);
    }

    /// Passes the outcome of a write, which was sent at `sent_ms`, to a machine.
    pub fn respond(
        &mut self,
        ms: u64,
        machine: &mut impl Machine,
        sent_ms: u64,
        outcome: &Outcome,
        date: Option<ServiceDate>,
    ) {
        let sent_at = SentAt(self.at(sent_ms));
        self.handle(ms, machine, Response::outcome(sent_at, outcome).with_date(date));
    }

    /// Performs the next step of a machine, which is a write. The response arrives at `received_ms`.
    pub fn write<M: Machine<End: Debug, CleanUp: Debug>>(
        &mut self,
        row: &mut Option<Row>,
        machine: &mut M,
        sent_ms: u64,
        received_ms: u64,
        date: Option<ServiceDate>,
    ) {
        let op = self.op(sent_ms, machine);
        self.respond(received_ms, machine, sent_ms, &write(row, &op), date);
    }

    /// Returns the lock that a machine reports as acquired.
    pub fn acquired(&mut self, ms: u64, machine: &mut Acquire) -> Held {
        match self.next(ms, machine) {
            Step::Done(AcquireEnd::Acquired(held)) => *held,
            step => panic!("not acquired: {step:?}"),
        }
    }

    /// Acquires a free lock with a lease of `lease_s` seconds.
    pub fn acquire(
        &mut self,
        lease_s: u64,
        row: &mut Option<Row>,
        sent_ms: u64,
        received_ms: u64,
        date: Option<ServiceDate>,
    ) -> Held {
        let mut machine = waiter(lease_s);
        self.write(row, &mut machine, sent_ms, received_ms, date);
        self.acquired(received_ms, &mut machine)
    }

    /// Starts the release of a held lock.
    pub fn release(&mut self, ms: u64, held: &Held) -> Release {
        Release::of(held, &self.now(ms))
    }

    /// Returns the next renewal of a held lock. Sleeps take their whole time.
    pub fn renewal(&mut self, ms: &mut u64, held: &mut Held) -> Op {
        loop {
            match held.next(&self.now(*ms)) {
                HeldStep::Sleep(length) => *ms += pause_ms(length),
                HeldStep::Write(op) => return op,
                HeldStep::Lost(reason) => panic!("lost: {reason:?}"),
            }
        }
    }

    /// Returns the renewal that is due now.
    pub fn renewal_now(&mut self, ms: u64, held: &mut Held) -> Op {
        match held.next(&self.now(ms)) {
            HeldStep::Write(op) => op,
            step => panic!("no renewal is due: {step:?}"),
        }
    }

    /// Passes the outcome of a renewal, which was sent at `sent_ms`, to a held lock.
    pub fn renewed(&mut self, ms: u64, held: &mut Held, sent_ms: u64, outcome: &Outcome, date: Option<ServiceDate>) {
        let sent_at = SentAt(self.at(sent_ms));
        held.handle(&self.now(ms), Response::outcome(sent_at, outcome).with_date(date));
    }

    /// Calls an acquisition until it writes or ends, and returns that step. Pauses take their whole time, and reads
    /// return the row that `rows` returns for the present time. With `has_dates`, the responses to reads have dates.
    pub fn run(
        &mut self,
        ms: &mut u64,
        machine: &mut Acquire,
        has_dates: bool,
        mut rows: impl FnMut(u64) -> Row,
    ) -> Step<AcquireEnd, Release> {
        for _ in 0..10_000 {
            match self.next(*ms, machine) {
                Step::Pause(length) => {
                    assert!(!length.is_zero(), "a pause of nothing at {ms} ms");
                    *ms += pause_ms(length);
                }
                Step::Read { .. } => {
                    let date = has_dates.then(|| date(*ms));
                    date.into_iter().for_each(|date| self.observe(date, *ms, *ms));
                    self.handle(*ms, machine, Response::row(Some(&rows(*ms))).with_date(date));
                }
                step => return step,
            }
        }
        panic!("neither writes nor ends");
    }
}
