//! The tasks of a client: the loops of the library, one step at a time, over the machines of the protocol.

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, ClockReading, Deadline, EXPIRY_PAD, Entropy, Held, HeldStep, Hold, LockName, LossReason,
    Machine as _, Now, Op, OpKind, RecordVersion, Release, ReleaseEnd, Renewal, Request, Revoke, SentAt, Step, Target,
    Timing, WaitMode, attr,
};
use std::time::Duration;

use super::clocks::{self, Clocks, moved};
use super::liveness;
use super::service::Violation;
use super::world::{Agent, Asked, Client, Closing, Config, Flight, HoldTask, Host, Machine, Shared, World};
use crate::mutants::{Fault, MutantConfig};

/// Parameters of one search.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub config: &'a Config,
    pub mutant: &'a MutantConfig,
}

/// Call for which random bits are meant. Each call has its own, because a value must be used at most once.
#[derive(Clone, Copy)]
pub enum Luck {
    Next = 0,
    Answer = 1,
    Cancel = 2,
    Release = 3,
    Revoke = 4,
}

/// Result of one step of an agent.
pub enum Did {
    /// Nothing to do before so much time passes or something arrives.
    Waits(Duration),
    /// It did something; this is what the agent is now, if it goes on.
    Became(Option<Agent>),
}

/// A client that starts when nothing disturbs any more. Its clocks are as slow as A2 allows, so no client waits longer.
const NEWCOMER: Client = Client {
    lease_ms: 1000,
    renewal: Renewal::Disabled,
    wait_mode: WaitMode::Wait,
    clocks: Clocks { rate: -5, slew: 0, wall_ms: 0 },
    acquisitions: 1,
    reads_first: false,
    hold_ms: None,
};

impl Context<'_> {
    /// The number of a host that comes when nothing disturbs any more.
    pub fn newcomer(&self) -> u8 {
        self.config.clients.len() as u8
    }

    pub fn client(&self, host: u8) -> &Client {
        self.config.clients.get(usize::from(host)).unwrap_or(&NEWCOMER)
    }

    /// A host that knows nothing.
    pub fn fresh_host(&self, host: u8) -> Shared<Host> {
        Shared::new(Host::new(self.client(host), self.config))
    }

    pub fn clock(&self, world: &World, host: u8) -> ClockReading {
        let Host { frozen_ms, slept_ms, .. } = *world.hosts[usize::from(host)];
        let clocks = &self.client(host).clocks;
        let at = clocks::read(clocks, world.real_ms(self.config), frozen_ms, slept_ms);
        if self.mutant.is(Fault::SuspensionNotCounted) {
            return ClockReading { boot_ns: at.raw_ns, wall_ms: at.wall_ms - slept_ms, ..at };
        }
        at
    }

    /// Returns the time that an agent receives. Mutants change it.
    pub fn agent_clock(&self, world: &World, agent: &Agent) -> ClockReading {
        let at = moved(self.clock(world, agent.host), -agent.lag_ms);
        match agent.machine {
            Machine::Acquire(_) if self.mutant.is(Fault::WaiterUsesLargerClock) => {
                ClockReading { raw_ns: at.boot_ns, ..at }
            }
            // Without the wall clock, because it would count the suspension, too.
            Machine::Held(_) | Machine::Hold(_) if self.mutant.is(Fault::HolderUsesSmallerClock) => {
                let slept_ms = world.hosts[usize::from(agent.host)].slept_ms;
                ClockReading { boot_ns: at.boot_ns.min(at.raw_ns), wall_ms: at.wall_ms - slept_ms, ..at }
            }
            _ => at,
        }
    }

    fn luck(&self, world: &World, host: u8, luck: Luck) -> Entropy {
        let me = &world.hosts[usize::from(host)];
        let nonce = |n: u64| u128::from(host + 1) << 96 | (luck as u128) << 64 | u128::from(n);
        let bits = nonce(me.used);
        let version = if self.mutant.is(Fault::VersionPerHost) { nonce(0) } else { bits };
        let lease_id =
            if self.mutant.is(Fault::LeaseIdPerAcquisition) { nonce(1000 + u64::from(me.acquisitions)) } else { bits };
        Entropy { version, lease_id, jitter: 0 }
    }

    /// Calls a machine with a time, the host's service clock and random bits.
    pub fn call<T>(&self, world: &World, host: u8, at: ClockReading, luck: Luck, f: impl FnOnce(&Now<'_>) -> T) -> T {
        let entropy = self.luck(world, host, luck);
        let service = world.hosts[usize::from(host)].service.as_ref();
        f(&Now { at, service, entropy })
    }

    pub fn begin(&self, world: &mut World, host: u8) {
        let client = self.client(host);
        let lease = Duration::from_millis(client.lease_ms);
        let timing = Timing::new(lease).unwrap_or_else(|error| panic!("configuration {}: {error}", self.config.name));
        // Polls wait for the next instant of the grid.
        let timing =
            timing.with_poll(Duration::from_millis(25), Duration::from_millis(25)).unwrap_or_else(|_| unreachable!());
        let request = Request {
            name: name(),
            owner: letter(host),
            timing,
            renewal: client.renewal,
            max_hold: None,
            data: None,
            liveness_key: None,
            wait_mode: client.wait_mode,
        };
        let watch = world.hosts[usize::from(host)].watch.clone();
        let machine = match client.hold_ms.filter(|_| !self.mutant.is(Fault::HoldIsNotExtended)) {
            Some(hold_ms) => self.begin_hold(world, host, request, Duration::from_millis(hold_ms)),
            None if client.reads_first => Machine::Acquire(Acquire::new(request, watch).reading_first()),
            None => Machine::Acquire(Acquire::new(request, watch)),
        };
        world.host(host, |me| me.acquisitions -= 1);
        world.agents.push(Shared::new(Agent::new(host, machine)));
    }

    fn begin_hold(&self, world: &World, host: u8, request: Request, duration: Duration) -> Machine {
        let (began, watch) = (self.clock(world, host), world.hosts[usize::from(host)].watch.clone());
        let pad = if self.mutant.is(Fault::HoldKeyWithoutPad) { Duration::ZERO } else { EXPIRY_PAD };
        let liveness_key = self.config.hold_keys.then(|| liveness::hold_key(began, duration + pad));
        let request = Request { liveness_key, ..request };
        let hold = self.call(world, host, began, Luck::Next, |now| Hold::new(request, duration, watch, now));
        let hold = hold.unwrap_or_else(|error| panic!("configuration {}: {error}", self.config.name));
        Machine::Hold(HoldTask { hold, began })
    }

    /// Starts an inspection.
    pub fn inspect(&self, world: &mut World, host: u8) {
        world.agents.push(Shared::new(Agent::new(host, Machine::Inspect)));
    }

    /// Asks an agent without a request under way what to do, and does it.
    pub fn step(&self, world: &mut World, mut agent: Agent) -> Result<Did, Violation> {
        let at = self.agent_clock(world, &agent);
        let host = agent.host;
        match &mut agent.machine {
            Machine::Acquire(machine) => {
                let noted = agent.noted.filter(|_| self.mutant.is(Fault::ReportsWithoutCheck) && machine.has_won());
                self.step_acquire(world, agent, noted.unwrap_or(at))
            }
            Machine::Dropped(machine) => {
                let release = self.call(world, host, at, Luck::Cancel, |now| machine.cancel(now));
                self.clean_up(world, host, release);
                Ok(Did::Became(None))
            }
            Machine::DroppedHold(hold) => {
                let release = self.call(world, host, at, Luck::Cancel, |now| hold.cancel(now));
                self.clean_up(world, host, release);
                Ok(Did::Became(None))
            }
            Machine::Hold(_) => self.step_hold(world, agent, at),
            Machine::Inspect => Ok(self.read(world, agent, at, true)),
            Machine::Inspected => Ok(Did::Became(None)),
            Machine::Held(_) | Machine::Renewing(_) => self.step_held(world, agent, at),
            Machine::Release(closing) => {
                match self.call(world, host, at, Luck::Next, |now| closing.release.next(now)) {
                    Step::Pause(length) => Ok(Did::Waits(length)),
                    Step::Done(end) => {
                        released(world, closing, end)?;
                        Ok(Did::Became(None))
                    }
                    Step::Write(op) => Ok(self.send(world, agent, at, op)),
                    Step::Read { .. } => unreachable!("a release reads nothing"),
                }
            }
            Machine::Revoke(revoke) => match self.call(world, host, at, Luck::Next, |now| revoke.next(now)) {
                Step::Pause(length) => Ok(Did::Waits(length)),
                Step::Done(_) => Ok(Did::Became(None)),
                Step::Write(op) => Ok(self.send(world, agent, at, op)),
                Step::Read { .. } => unreachable!("a revocation reads nothing"),
            },
        }
    }

    fn step_acquire(&self, world: &mut World, mut agent: Agent, at: ClockReading) -> Result<Did, Violation> {
        let host = agent.host;
        let Machine::Acquire(machine) = &mut agent.machine else { return Ok(Did::Waits(Duration::MAX)) };
        let version = RecordVersion::from_random(self.luck(world, host, Luck::Next).version);
        let before = machine.clone();
        let mut step = self.call(world, host, at, Luck::Next, |now| machine.next(now));
        let is_new = |step: &Step<_, _>| matches!(step, Step::Write(op) if op.version == version);
        if let (Some(Fault::SentLate(ms)), true) = (self.mutant.fault, is_new(&step)) {
            *machine = before;
            let late = moved(at, ms);
            step = self.call(world, host, late, Luck::Next, |now| machine.next(now));
        }
        if is_new(&step) {
            agent.noted = self.mutant.is(Fault::HolderCountsFromAnswer).then_some(at);
            world.host(host, |me| me.used += 1);
        }
        match step {
            Step::Pause(length) => Ok(Did::Waits(length)),
            Step::Write(op) => Ok(self.send(world, agent, at, op)),
            Step::Read { strong } => Ok(self.read(world, agent, at, strong)),
            Step::CleanUp(release) => {
                // A step of its own, because the next one may be a pause, and a pause changes no state.
                self.clean_up(world, host, Some(release));
                Ok(Did::Became(Some(agent)))
            }
            Step::Done(AcquireEnd::Acquired(held)) => {
                world.host(host, |me| me.watch = None);
                if self.client(host).hold_ms.is_some() {
                    lasts(&held, self.client(host), at, at)?; // for a mutant only
                }
                self.report(world, agent, *held)
            }
            Step::Done(_) => Ok(Did::Became(None)),
        }
    }

    fn step_hold(&self, world: &mut World, mut agent: Agent, at: ClockReading) -> Result<Did, Violation> {
        let host = agent.host;
        let Machine::Hold(HoldTask { hold, began }) = &mut agent.machine else {
            return Ok(Did::Waits(Duration::MAX));
        };
        let version = RecordVersion::from_random(self.luck(world, host, Luck::Next).version);
        let step = self.call(world, host, at, Luck::Next, |now| hold.next(now));
        if matches!(&step, Step::Write(op) if op.version == version) {
            world.host(host, |me| me.used += 1);
        }
        match step {
            Step::Pause(length) => Ok(Did::Waits(length)),
            Step::Write(op) => Ok(self.send(world, agent, at, op)),
            Step::Read { strong } => Ok(self.read(world, agent, at, strong)),
            Step::CleanUp(release) => {
                // A step of its own, because the next one may be a pause, and a pause changes no state.
                self.clean_up(world, host, Some(release));
                Ok(Did::Became(Some(agent)))
            }
            Step::Done(AcquireEnd::Acquired(held)) => {
                world.host(host, |me| me.watch = None);
                lasts(&held, self.client(host), *began, at)?;
                self.report(world, agent, *held)
            }
            Step::Done(_) => Ok(Did::Became(None)),
        }
    }

    /// Returns whether a hold is about to be reported, so that a standstill from now on is outside A2.
    pub fn is_about_to_report(&self, world: &World, agent: &Agent) -> bool {
        let Machine::Hold(HoldTask { hold, .. }) = &agent.machine else { return false };
        let at = self.agent_clock(world, agent);
        let step = self.call(world, agent.host, at, Luck::Next, |now| hold.clone().next(now));
        matches!(step, Step::Done(AcquireEnd::Acquired(_)))
    }

    fn read(&self, world: &World, mut agent: Agent, at: ClockReading, strong: bool) -> Did {
        agent.flight = Some(Flight { request: Asked::Read { strong }, sent: at, since: world.tick, answer: None });
        Did::Became(Some(agent))
    }

    fn step_held(&self, world: &mut World, mut agent: Agent, at: ClockReading) -> Result<Did, Violation> {
        let host = agent.host;
        let is_renewing = matches!(agent.machine, Machine::Renewing(_));
        let is_users = matches!(agent.machine, Machine::Held(_));
        let (Machine::Held(held) | Machine::Renewing(held)) = &mut agent.machine else {
            return Ok(Did::Waits(Duration::MAX));
        };
        if is_users && held.clone().check(at).is_some() && held.check(at) == already_lost(held) {
            return Ok(Did::Waits(Duration::MAX));
        }
        let fresh = RecordVersion::from_random(self.luck(world, host, Luck::Next).version);
        let before = held.clone();
        let mut renewal_seq = self.call(world, host, at, Luck::Next, |now| held.next(now));
        let is_new = matches!(&renewal_seq, HeldStep::Write(op) if op.version == fresh);
        if let (Some(Fault::SentLate(ms)), true) = (self.mutant.fault, is_new) {
            *held = before;
            let late = moved(at, ms);
            renewal_seq = self.call(world, host, late, Luck::Next, |now| held.next(now));
        }
        match renewal_seq {
            HeldStep::Sleep(length) => Ok(Did::Waits(length)),
            HeldStep::Lost(_) if is_renewing => Ok(Did::Became(None)),
            HeldStep::Lost(_) => Ok(Did::Became(Some(agent))),
            HeldStep::Write(op) => {
                if op.version == fresh {
                    world.host(host, |me| me.used += 1);
                }
                Ok(self.send(world, agent, at, op))
            }
        }
    }

    fn report(&self, world: &mut World, mut agent: Agent, mut held: Held) -> Result<Did, Violation> {
        let token = held.token().get();
        let at = self.agent_clock(world, &agent);
        let live = held.is_valid(at);
        agent.machine = Machine::Held(held);
        if !live {
            return Err("R5: an acquisition is reported that is not live any more".into());
        }
        let forced = token <= world.past.forced;
        if token <= world.past.reported && !forced {
            return Err("C: an acquisition is reported with a token that is not above an earlier one's".into());
        }
        world.past.reported = token.max(world.past.reported);
        Ok(Did::Became(Some(agent)))
    }

    fn send(&self, world: &World, mut agent: Agent, at: ClockReading, op: Op) -> Did {
        agent.flight =
            Some(Flight { request: Asked::Write(Shared::new(op)), sent: at, since: world.tick, answer: None });
        Did::Became(Some(agent))
    }

    /// Ends a guard: its release goes on in the background.
    pub fn let_go(&self, world: &mut World, agent: &Agent) {
        let Machine::Held(held) = &agent.machine else { return };
        if self.client(agent.host).hold_ms.is_some() {
            return; // Nothing releases a hold.
        }
        let mut held = held.clone();
        let at = self.agent_clock(world, agent);
        let was_lost = held.check(at).is_some();
        let release = self.call(world, agent.host, at, Luck::Release, |now| Release::of(&held, now));
        let (token, lease_id) = (Some(held.token().get()), lease_id_of(&held));
        world.host(agent.host, |me| me.used += 1);
        let closing = Closing { release, token, lease_id, was_lost };
        world.agents.push(Shared::new(Agent::new(agent.host, Machine::Release(closing))));
        if self.mutant.is(Fault::RenewsAfterRelease) {
            world.agents.push(Shared::new(Agent::new(agent.host, Machine::Renewing(held))));
        }
    }

    /// Drops an acquire or a hold at an await, as the library's future is dropped.
    pub fn drop_acquire(&self, world: &mut World, mut agent: Agent) -> Option<Agent> {
        let at = self.agent_clock(world, &agent);
        if self.mutant.is(Fault::DropWithoutCleanUp) {
            return None;
        }
        let writes = matches!(&agent.flight, Some(Flight { request: Asked::Write(_), .. }));
        let release = match agent.machine {
            Machine::Acquire(machine) if writes => {
                agent.machine = Machine::Dropped(machine);
                return Some(agent);
            }
            Machine::Hold(HoldTask { hold, .. }) if writes => {
                agent.machine = Machine::DroppedHold(hold);
                return Some(agent);
            }
            Machine::Acquire(mut machine) => self.call(world, agent.host, at, Luck::Cancel, |now| machine.cancel(now)),
            Machine::Hold(HoldTask { mut hold, .. }) => {
                self.call(world, agent.host, at, Luck::Cancel, |now| hold.cancel(now))
            }
            _ => return None,
        };
        self.clean_up(world, agent.host, release);
        None
    }

    fn clean_up(&self, world: &mut World, host: u8, release: Option<Release>) {
        let Some(release) = release.filter(|_| !self.mutant.is(Fault::CleanUpForgotten)) else { return };
        let at = self.clock(world, host);
        let step = self.call(world, host, at, Luck::Next, |now| release.clone().next(now));
        let Step::Write(Op { kind: OpKind::Release { lease_id, token, .. }, .. }) = step else { return };
        let (lease_id, token) = (lease_id.as_str().to_owned(), token.map(u64::from));
        world.host(host, |me| me.used += 1);
        let closing = Closing { release, token, lease_id, was_lost: token.is_some() };
        world.agents.push(Shared::new(Agent::new(host, Machine::Release(closing))));
    }

    /// Revokes the present acquisition as an operator does after reading the row, optionally by force.
    pub fn revoke(&self, world: &mut World, force: bool) {
        let Some(token) = world.row.as_ref().and_then(|row| row.token()) else { return };
        let at = self.clock(world, 0);
        let revoke = self.call(world, 0, at, Luck::Revoke, |now| Revoke::new(name(), Target::Token(token), force, now));
        world.host(0, |me| me.used += 1);
        world.agents.push(Shared::new(Agent::new(0, Machine::Revoke(revoke))));
    }
}

fn name() -> LockName {
    LockName::new("lock").unwrap_or_else(|_| unreachable!())
}

/// Returns the name of a host.
pub fn letter(host: u8) -> String {
    char::from(b'A' + host).to_string()
}

/// Returns the lease ID of a guard, which its condition contains.
pub fn lease_id_of(held: &Held) -> String {
    use dynamo_lock_protocol::{Condition, Value};
    let Condition::All(all) = held.condition() else { return String::new() };
    let lease_id = all.into_iter().find_map(|condition| match condition {
        Condition::Equals(attr::LEASE_ID, Value::S(lease_id)) => Some(lease_id),
        _ => None,
    });
    lease_id.unwrap_or_default()
}

/// Returns the loss that a guard has noticed before, without a look at the clock.
fn already_lost(held: &Held) -> Option<LossReason> {
    held.clone().check(ClockReading { boot_ns: 0, raw_ns: 0, wall_ms: 0 })
}

/// A hold that is reported is valid for its whole duration, counted from its request, less the margin of 1 % and 10 ms.
fn lasts(held: &Held, client: &Client, began: ClockReading, at: ClockReading) -> Result<(), Violation> {
    let hold_ms = client.hold_ms.unwrap_or_default();
    let duration = Duration::from_millis(hold_ms - hold_ms / 100 - 10);
    match held.clone().time_left(at) < Deadline::new(SentAt(began), duration).left(at) {
        true => Err("H: a hold is reported whose row does not last for its duration".into()),
        false => Ok(()),
    }
}

/// Checks that the result of a release is true (E).
fn released(world: &World, closing: &Closing, end: ReleaseEnd) -> Result<(), Violation> {
    let Some(token) = closing.token else { return Ok(()) };
    let landed = world.past.released.contains(&token);
    // The meaning of a lost response follows from A, which a forced revocation breaks.
    let forced = token <= world.past.forced;
    match end {
        ReleaseEnd::Released if !landed && !forced => {
            Err("E: a release says Released, and none of its tries had landed".into())
        }
        ReleaseEnd::Lost(loss) if landed && !closing.was_lost => {
            Err(format!("E: a release says Lost({loss:?}), and it had landed (lesson 33)"))
        }
        _ => Ok(()),
    }
}
