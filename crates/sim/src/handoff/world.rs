//! The simulated world: one lock, its contenders, and a network without faults, as a queue of events.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dynamo_lock_protocol::{
    ClockReading, Held, HeldStep, Machine, Now, Op, OpKind, Outcome, OwnHold, Release, Response, Row, SentAt, Step,
    apply,
};
use test_support::Rng;

use super::contender::{Attempt, Next, Policy};
use super::figures::Figures;
use super::holds;

const MS: u64 = 1_000_000;
const EPOCH_MS: u64 = 1_800_000_000_000;
/// Mean time that a request or a response takes, in milliseconds.
const ONE_WAY_MS: f64 = 5.0;
/// Age up to which old versions of the row are kept, for reads that are on their way.
const IN_FLIGHT_MAX: u64 = 1_000 * MS;

/// Parameters of one world.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub holds: &'static str,
    pub lease: Duration,
    /// Number of processes that wait.
    pub waiters: usize,
    pub policy: Policy,
    /// Whether a client asks again as soon as its release is answered.
    pub asks_again: bool,
    /// Number of handoffs that are measured, and of those before them.
    pub handoffs: usize,
    pub skipped: usize,
}

/// A client of the lock.
struct Client {
    state: State,
    wall_off_ms: i64,
    own_hold: Option<OwnHold>,
    began: u64,
    looks: u32,
    last_look: Option<u64>,
}

enum State {
    Idle,
    Asking(Attempt),
    Holding { held: Box<Held>, until: u64 },
    Releasing(Release),
}

enum Event {
    Begin(usize),
    Wake(usize),
    /// A write of a client, and the time at which it was sent.
    Serve(usize, u64, Box<Op>),
    /// The answer to a read, and the time at which the row was read.
    AnswerRead(usize, u64),
    AnswerWrite(usize, u64, Box<Outcome>),
}

/// An event and its time. The largest one is the next.
struct Scheduled {
    time: u64,
    sequence: u64,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.sequence).cmp(&(self.time, self.sequence))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

/// The world, until the handoffs are measured.
pub struct World {
    settings: Settings,
    rng: Rng,
    time: u64,
    events: BinaryHeap<Scheduled>,
    sequence: u64,
    row: Option<Arc<Row>>,
    /// Earlier versions of the row, with the time at which each was replaced.
    replaced: VecDeque<(u64, Option<Arc<Row>>)>,
    clients: Vec<Client>,
    released: Option<(usize, u64)>,
    holds: u64,
    figures: Figures,
}

/// Runs a world and returns its figures.
pub fn run(settings: Settings, seed: u64) -> Figures {
    let mut rng = Rng::mixed(seed);
    let clients = (0..=settings.waiters).map(|_| Client {
        state: State::Idle,
        wall_off_ms: (3.0 * holds::normal(&mut rng)).round() as i64,
        own_hold: None,
        began: 0,
        looks: 0,
        last_look: None,
    });
    let clients: Vec<_> = clients.collect();
    let figures = Figures::new(settings.skipped);
    let mut world = World {
        settings,
        rng,
        time: 0,
        events: BinaryHeap::new(),
        sequence: 0,
        row: None,
        replaced: VecDeque::new(),
        clients,
        released: None,
        holds: 0,
        figures,
    };
    for client in 0..=settings.waiters {
        let at = world.rng.below(20 * MS);
        world.schedule(at, Event::Begin(client));
    }
    while world.figures.handoffs() < settings.handoffs {
        let Some(Scheduled { time, event, .. }) = world.events.pop() else { panic!("nothing happens any more") };
        world.time = time;
        world.handle(event);
    }
    let waiting = world.clients.iter().filter(|client| matches!(client.state, State::Asking(_)));
    let began: Vec<_> = waiting.map(|client| client.began).collect();
    began.into_iter().for_each(|began| world.figures.waited(began, world.time));
    world.figures
}

impl World {
    fn schedule(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Scheduled { time: time.max(self.time), sequence: self.sequence, event });
    }

    fn delay(&mut self) -> u64 {
        (ONE_WAY_MS * MS as f64 * (0.9 + 0.1 * holds::exponential(&mut self.rng))) as u64
    }

    fn now(&mut self, client: usize) -> Now<'static> {
        let wall_ms = (EPOCH_MS + self.time / MS).saturating_add_signed(self.clients[client].wall_off_ms);
        let at = ClockReading { boot_ns: self.time, raw_ns: self.time, wall_ms };
        Now { at, service: None, npm_clients: false, entropy: self.settings.policy.entropy(&mut self.rng) }
    }

    fn handle(&mut self, event: Event) {
        match event {
            // The answer to its release may still be on its way.
            Event::Begin(client) if !matches!(self.clients[client].state, State::Idle) => {
                self.schedule(self.time + MS, Event::Begin(client));
            }
            Event::Begin(client) => self.begin(client),
            Event::Wake(client) => self.step(client),
            Event::Serve(client, sent, op) => self.serve(client, sent, &op),
            Event::AnswerRead(client, read_at) => {
                let (now, row) = (self.now(client), self.row_at(read_at));
                if let State::Asking(attempt) = &mut self.clients[client].state {
                    attempt.handle_row(&now, row.as_deref());
                }
                self.step(client);
            }
            Event::AnswerWrite(client, sent, outcome) => self.answer_write(client, sent, &outcome),
        }
    }

    fn begin(&mut self, client: usize) {
        let Settings { policy, lease, .. } = self.settings;
        let me = &mut self.clients[client];
        me.state = State::Asking(Attempt::new(policy, lease, me.own_hold));
        (me.began, me.looks, me.last_look) = (self.time, 0, None);
        self.step(client);
    }

    fn step(&mut self, client: usize) {
        let now = self.now(client);
        let time = self.time;
        match &mut self.clients[client].state {
            State::Idle => {}
            State::Asking(attempt) => match attempt.next(&now) {
                Next::Pause(length) => self.schedule(time + length.as_nanos() as u64, Event::Wake(client)),
                Next::Read => self.look(client),
                Next::Write(op) => self.send(client, op),
                Next::Acquired(held) => self.acquired(client, held),
            },
            State::Holding { held, until } if time >= *until => {
                let release = Release::of(held, &now);
                self.clients[client].own_hold = Some(held.record().end(now.at));
                self.clients[client].state = State::Releasing(release);
                self.step(client);
            }
            State::Holding { held, until } => match held.next(&now) {
                HeldStep::Sleep(length) => {
                    let wake = time.saturating_add(length.as_nanos().min(u64::MAX.into()) as u64).min(*until);
                    self.schedule(wake, Event::Wake(client));
                }
                HeldStep::Write(op) => self.send(client, op),
                HeldStep::Lost(reason) => panic!("lost by {reason:?}"),
            },
            State::Releasing(release) => match release.next(&now) {
                Step::Write(op) => self.send(client, op),
                Step::Done(_) => {
                    self.clients[client].state = State::Idle;
                    if self.settings.asks_again {
                        self.begin(client);
                    }
                }
                step => panic!("nothing fails in this world: {step:?}"),
            },
        }
    }

    fn look(&mut self, client: usize) {
        let me = &mut self.clients[client];
        me.looks += 1;
        let last = me.last_look.replace(self.time);
        self.figures.look(self.time, me.began, me.looks, last);
        let read_at = self.time + self.delay();
        let answered_at = read_at + self.delay();
        self.schedule(answered_at, Event::AnswerRead(client, read_at));
    }

    /// Returns the row as it was at this time. One event per read is less than one for the read and one for its answer.
    fn row_at(&self, time: u64) -> Option<Arc<Row>> {
        let then = self.replaced.iter().find(|(until, _)| *until > time);
        then.map_or(&self.row, |(_, row)| row).clone()
    }

    fn send(&mut self, client: usize, op: Op) {
        let at = self.time + self.delay();
        self.schedule(at, Event::Serve(client, self.time, Box::new(op)));
    }

    fn serve(&mut self, client: usize, sent: u64, op: &Op) {
        let at = self.time + self.delay();
        let verdict = apply(self.row.as_deref(), op);
        let outcome = verdict.clone().outcome(op);
        let is_acquire = matches!(op.kind, OpKind::Acquire(_) | OpKind::TakeOver { .. });
        match verdict {
            dynamo_lock_protocol::Verdict::Applied(row) => {
                let before = self.row.replace(Arc::new(row));
                self.replaced.push_back((self.time, before));
                while self.replaced.front().is_some_and(|(until, _)| until + IN_FLIGHT_MAX < self.time) {
                    self.replaced.pop_front();
                }
                if is_acquire {
                    self.handed_off(client);
                } else if matches!(op.kind, OpKind::Release { .. }) {
                    self.released = Some((client, self.time));
                }
            }
            dynamo_lock_protocol::Verdict::Conflict(_) if is_acquire => self.figures.wasted_write(),
            dynamo_lock_protocol::Verdict::Conflict(_) => panic!("a holder's write fails: {op:?}"),
        }
        self.schedule(at, Event::AnswerWrite(client, sent, Box::new(outcome)));
    }

    /// Records that an acquisition was applied. The previous holder asks again a moment later.
    fn handed_off(&mut self, client: usize) {
        let Some((previous, at)) = self.released.take() else { return };
        let latency = (self.time - at) as f64 / MS as f64 + ONE_WAY_MS;
        self.figures.handed_off(latency, self.time, client == previous);
        if !self.settings.asks_again {
            self.schedule(self.time + MS, Event::Begin(previous));
        }
    }

    fn acquired(&mut self, client: usize, held: Box<Held>) {
        let length = holds::length(self.settings.holds, self.holds, &mut self.rng);
        self.holds += 1;
        let until = self.time + (length * 1e9) as u64 + self.rng.below(MS);
        self.figures.waited(self.clients[client].began, self.time);
        self.figures.held(length);
        self.clients[client].state = State::Holding { held, until };
        self.step(client);
    }

    fn answer_write(&mut self, client: usize, sent: u64, outcome: &Outcome) {
        let now = self.now(client);
        let at = ClockReading { boot_ns: sent, raw_ns: sent, wall_ms: now.at.wall_ms - (self.time - sent) / MS };
        let sent_at = SentAt(at);
        match &mut self.clients[client].state {
            State::Asking(attempt) => attempt.handle_outcome(&now, sent_at, outcome),
            State::Holding { held, .. } => held.handle(&now, Response::outcome(sent_at, outcome)),
            State::Releasing(release) => release.handle(&now, Response::outcome(sent_at, outcome)),
            State::Idle => {}
        }
        self.step(client);
    }
}
