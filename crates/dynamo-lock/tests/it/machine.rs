//! The machines of the protocol under exact interleavings: a test says what time it is, and what each answer says.
#![allow(dead_code)]

use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, ClockReading, Entropy, Held, LockName, Now, Op, Outcome, ReceivedAt, Renewal, Request,
    Response, Row, SentAt, ServiceClock, ServiceDate, Step, Timing, Verdict, WaitMode, apply,
};

use test_support::EPOCH_MS;

/// A host's clocks, all of them right, so many milliseconds after the beginning.
pub fn at(ms: u64) -> ClockReading {
    ClockReading { boot_ns: ms * 1_000_000, raw_ns: ms * 1_000_000, wall_ms: EPOCH_MS + ms }
}

/// The service's `Date`, so many milliseconds after the beginning.
pub fn date(ms: u64) -> ServiceDate {
    ServiceDate((EPOCH_MS + ms) / 1000)
}

/// What one host knows: its luck, and what it has heard of the service's clock.
#[derive(Debug)]
pub struct Desk {
    pub service: Option<ServiceClock>,
    luck: u128,
}

impl Desk {
    /// A host whose luck begins here; another one begins elsewhere.
    pub fn new(luck: u128) -> Self {
        Self { service: Some(ServiceClock::default()), luck: luck << 64 }
    }

    /// A host whose store tells no time.
    pub fn without_dates(luck: u128) -> Self {
        Self { service: None, ..Self::new(luck) }
    }

    /// Hears an answer that was sent and received at these times.
    pub fn hear(&mut self, date: ServiceDate, sent_ms: u64, received_ms: u64) {
        if let Some(service) = &mut self.service {
            service.observe(date, SentAt(at(sent_ms)), ReceivedAt(at(received_ms)));
        }
    }

    /// Calls a machine at this time.
    pub fn at<T>(&mut self, ms: u64, f: impl FnOnce(&Now<'_>) -> T) -> T {
        self.luck += 1;
        let entropy = Entropy { version: self.luck, lease_id: self.luck, jitter: self.luck as u64 };
        f(&Now { at: at(ms), service: self.service.as_ref(), entropy })
    }

    /// The op that the machine wants written now.
    pub fn op(&mut self, ms: u64, machine: &mut Acquire) -> Op {
        match self.at(ms, |now| machine.next(now)) {
            Step::Write(op) => op,
            step => panic!("a write was due, not {step:?}"),
        }
    }

    /// Acquires a free lock: sent and answered at these times. The row is as it is afterwards.
    pub fn acquired(&mut self, row: &mut Option<Row>, sent_ms: u64, received_ms: u64) -> Held {
        let mut machine = Acquire::new(request(), None);
        let op = self.op(sent_ms, &mut machine);
        let outcome = write(row, &op);
        self.at(received_ms, |now| machine.handle(now, Response::outcome(SentAt(at(sent_ms)), &outcome)));
        match self.at(received_ms, |now| machine.next(now)) {
            Step::Done(AcquireEnd::Acquired(held)) => *held,
            step => panic!("it was free, and yet {step:?}"),
        }
    }
}

/// The lock of all these tests.
pub fn name() -> LockName {
    LockName::new("a").unwrap()
}

/// A lease of 10 s, and nobody who renews it but the test.
pub fn request() -> Request {
    Request {
        name: name(),
        owner: "test".into(),
        timing: Timing::new(Duration::from_secs(10)).unwrap(),
        renewal: Renewal::Automatic,
        max_hold: None,
        data: None,
        liveness_key: None,
        wait_mode: WaitMode::Wait,
    }
}

/// The table: what the specification says of this op.
pub fn write(row: &mut Option<Row>, op: &Op) -> Outcome {
    match apply(row.as_ref(), op) {
        Verdict::Applied(next) => {
            *row = Some(next.clone());
            Outcome::Applied(next)
        }
        Verdict::Conflict(row) => Outcome::Conflict(row),
    }
}
