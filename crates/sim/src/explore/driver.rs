//! The tasks of a client: the loops of the library, one step at a time, over the machines of the protocol.

use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, AcquireEnd, ClockReading, Deadline, EXPIRY_PAD, Entropy, Held, HeldStep, Hint, Hold, LockName, LossReason,
    Machine, Now, Op, OpKind, RecordVersion, Release, Request, Revoke, SentAt, SharedAcquire, SharedOp, SharedWrite,
    Step, Target, Timing,
};

use super::{
    Acquisition, Client, Config, FinishTask, HandoverTask, HoldTask, Host, InFlight, ReleaseTask, RequestBody, Shared,
    Task, TaskState, Violation, World, clocks, clocks::Clocks, clocks::moved, configs, entries, liveness, properties,
};
use crate::mutants::{Fault, MutantConfig};

/// Parameters of one search.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub config: &'a Config,
    pub mutant: &'a MutantConfig,
}

/// Call that receives random bits. Each call has its own bits, because a value must be used at most once.
#[derive(Clone, Copy)]
pub enum EntropyUse {
    Next = 0,
    Response = 1,
    Cancel = 2,
    Release = 3,
    Revoke = 4,
    Handover = 5,
}

/// Result of one step of a task.
pub enum StepResult {
    /// The task waits for this time, or for a response.
    Pending(Duration),
    /// The task has changed its state. `None`: it has ended.
    Progress(Option<Task>),
}

/// Client that starts at quiescence. Its clocks are as slow as A2 allows, so no client waits longer.
const NEWCOMER: Client = Client { clocks: Clocks { rate: -5, slew: 0, wall_ms: 0 }, ..configs::client(1) };

impl Context<'_> {
    /// Returns the number of the host that starts at quiescence.
    pub fn newcomer(&self) -> u8 {
        self.config.clients.len() as u8
    }

    /// Returns the number of clients that may start at quiescence, each alone.
    pub fn newcomers(&self) -> u8 {
        match self.config.newcomers.len() {
            0 => 1,
            all => all as u8 - 2,
        }
    }

    /// Returns whether the steps and requests of a task may be late.
    pub fn may_be_late(&self, task: &Task) -> bool {
        self.config.slow.is_none_or(|slow| slow == task.host)
    }

    pub fn client(&self, host: u8) -> &Client {
        let clients = self.config.clients.iter().chain(&self.config.newcomers);
        clients.clone().nth(host.into()).unwrap_or(&NEWCOMER)
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

    /// Returns the time that a task receives. Mutants change it.
    pub fn task_clock(&self, world: &World, task: &Task) -> ClockReading {
        let at = moved(self.clock(world, task.host), -task.lag_ms);
        match task.state {
            TaskState::Acquire(_) if self.mutant.is(Fault::WaiterUsesLargerClock) => {
                ClockReading { raw_ns: at.boot_ns, ..at }
            }
            TaskState::Acquire(_) | TaskState::Inspect if self.mutant.is(Fault::WallIsNoWitness) => {
                let service = world.hosts[usize::from(task.host)].service.as_ref();
                let bounds = service.and_then(|service| service.interval(at));
                ClockReading { wall_ms: bounds.map_or(at.wall_ms, |(lower, _)| lower), ..at }
            }
            // Without the wall clock, because it would count the suspension, too.
            TaskState::Held(_) | TaskState::Hold(_) if self.mutant.is(Fault::HolderUsesSmallerClock) => {
                let slept_ms = world.hosts[usize::from(task.host)].slept_ms;
                ClockReading { boot_ns: at.boot_ns.min(at.raw_ns), wall_ms: at.wall_ms - slept_ms, ..at }
            }
            _ => at,
        }
    }

    fn entropy(&self, world: &World, host: u8, entropy: EntropyUse) -> Entropy {
        let me = &world.hosts[usize::from(host)];
        let nonce = |n: u64| u128::from(host + 1) << 96 | (entropy as u128) << 64 | u128::from(n);
        let bits = nonce(me.used);
        let version = if self.mutant.is(Fault::VersionPerHost) { nonce(0) } else { bits };
        let lease_id =
            if self.mutant.is(Fault::LeaseIdPerAcquisition) { nonce(1000 + u64::from(me.acquisitions)) } else { bits };
        Entropy { version, lease_id, jitter: 0 }
    }

    /// Calls a machine with a time, the host's service clock and random bits.
    pub fn call<T>(
        &self,
        world: &World,
        host: u8,
        at: ClockReading,
        entropy: EntropyUse,
        f: impl FnOnce(&Now<'_>) -> T,
    ) -> T {
        let entropy = self.entropy(world, host, entropy);
        let service = world.hosts[usize::from(host)].service.as_ref();
        let npm_clients = !self.mutant.is(Fault::ShortPad);
        f(&Now { at, service, npm_clients, entropy })
    }

    /// Returns the request of a user of this host with this lease.
    pub fn request(&self, host: u8, lease_ms: u64) -> Request {
        let client = self.client(host);
        let lease = Duration::from_millis(lease_ms);
        let timing = Timing::new(lease).unwrap_or_else(|error| panic!("configuration {}: {error}", self.config.name));
        Request {
            name: name(),
            kind: self.kind(),
            owner: letter(host),
            timing,
            renewal: client.renewal,
            max_hold: None,
            data: None,
            liveness_key: None,
            wait_mode: client.wait_mode,
        }
    }

    pub fn begin(&self, world: &mut World, host: u8) {
        let client = self.client(host);
        let request = self.request(host, client.lease_ms);
        let watch = world.hosts[usize::from(host)].watch.clone();
        if let Some(access) = client.access {
            let machine = Acquisition::Entry(SharedAcquire::new(request, access));
            world.host(host, |me| me.acquisitions -= 1);
            return world.tasks.push(Shared::new(Task::new(host, TaskState::Acquire(machine))));
        }
        let plain = |machine| TaskState::Acquire(Acquisition::Plain(machine));
        let machine = match client.hold_ms.filter(|_| !self.mutant.is(Fault::HoldIsNotExtended)) {
            Some(hold_ms) => self.begin_hold(world, host, request, Duration::from_millis(hold_ms)),
            None if client.reads_first => plain(Acquire::new(request, watch).reading_first()),
            None => plain(Acquire::new(request, watch)),
        };
        world.host(host, |me| me.acquisitions -= 1);
        world.tasks.push(Shared::new(Task::new(host, machine)));
    }

    /// Passes a hint of the store to a waiter.
    pub fn hint(&self, world: &World, mut task: Task) -> Task {
        let at = self.task_clock(world, &task);
        if let TaskState::Acquire(machine) = &mut task.state {
            self.call(world, task.host, at, EntropyUse::Next, |now| machine.hint(now, Hint::Changed));
            if self.mutant.is(Fault::HintIsExpiry) {
                task.lag_ms -= self.client(task.host).lease_ms as i64;
            }
        }
        task
    }

    fn begin_hold(&self, world: &World, host: u8, request: Request, duration: Duration) -> TaskState {
        let (began, watch) = (self.clock(world, host), world.hosts[usize::from(host)].watch.clone());
        let pad = if self.mutant.is(Fault::HoldKeyWithoutPad) { Duration::ZERO } else { EXPIRY_PAD };
        let liveness_key = self.config.hold_keys.then(|| liveness::hold_key(began, duration + pad));
        let request = Request { liveness_key, ..request };
        let hold = self.call(world, host, began, EntropyUse::Next, |now| Hold::new(request, duration, watch, now));
        let hold = hold.unwrap_or_else(|error| panic!("configuration {}: {error}", self.config.name));
        TaskState::Hold(HoldTask { hold, began })
    }

    /// Asks a task without a request in flight what to do, and does it.
    pub fn step(&self, world: &mut World, mut task: Task) -> Result<StepResult, Violation> {
        let (host, at) = (task.host, self.task_clock(world, &task));
        match &mut task.state {
            TaskState::Acquire(machine) => {
                let noted = task.noted.filter(|_| self.mutant.is(Fault::ReportsWithoutCheck) && machine.has_won());
                let at = noted.unwrap_or(at);
                let (step, is_new) = self.next(world, host, at, machine, Machine::next);
                if is_new {
                    task.noted = self.mutant.is(Fault::HolderCountsFromAnswer).then_some(at);
                }
                self.perform(world, task, at, step, |world, task, end| self.report(world, task, end, at, at))
            }
            TaskState::Hold(HoldTask { hold, began }) => {
                let (step, began) = (self.next(world, host, at, hold, Machine::next).0, *began);
                self.perform(world, task, at, step, |world, task, end| self.report(world, task, end, began, at))
            }
            TaskState::Dropped(machine) => Ok(self.cancel(world, host, at, machine)),
            TaskState::DroppedHold(hold) => Ok(self.cancel(world, host, at, hold)),
            TaskState::Inspect => Ok(send(world, task, at, RequestBody::Read { strong: true })),
            TaskState::Inspected => Ok(StepResult::Progress(None)),
            TaskState::Held(_) | TaskState::Renewing(_) => self.step_held(world, task, at),
            TaskState::Handover(HandoverTask { handover, .. }) => {
                let noted = task.noted.filter(|_| self.mutant.is(Fault::ReportsWithoutCheck));
                let at = noted.filter(|_| handover.has_taken_effect()).unwrap_or(at);
                let (step, _) = self.next(world, host, at, handover, Machine::next);
                self.perform(world, task, at, step, |world, task, end| self.end_handover(world, task, end))
            }
            TaskState::Release(release_task) => {
                let release = &mut release_task.release;
                let step = self.call(world, host, at, EntropyUse::Next, |now| Machine::next(release, now));
                if matches!(&step, Step::Write(op) if self.is_second_release(release_task, op)) {
                    return Ok(StepResult::Progress(None));
                }
                self.perform(world, task, at, step, |world, task, end| {
                    let violation = properties::check_release(world, self, &task, end);
                    violation.map_or(Ok(StepResult::Progress(None)), Err)
                })
            }
            TaskState::Finish(FinishTask { finish, .. }) => {
                let step = self.call(world, host, at, EntropyUse::Next, |now| Machine::next(finish, now));
                self.perform(world, task, at, step, |world, task, end| {
                    self.check_finish(world, &task, end).map(|()| StepResult::Progress(None))
                })
            }
            TaskState::Revoke(revoke) => {
                let step = self.call(world, host, at, EntropyUse::Next, |now| Machine::next(revoke, now));
                self.perform(world, task, at, step, |_, _, _| Ok(StepResult::Progress(None)))
            }
        }
    }

    /// Returns the next step of a machine, and whether it starts a write.
    fn next<M: Clone, T, C>(
        &self,
        world: &mut World,
        host: u8,
        at: ClockReading,
        machine: &mut M,
        next: impl Fn(&mut M, &Now<'_>) -> Step<T, C>,
    ) -> (Step<T, C>, bool) {
        let version = RecordVersion::from_random(self.entropy(world, host, EntropyUse::Next).version);
        let is_new = |step: &Step<T, C>| matches!(step, Step::Write(op) if op.version == version);
        let before = machine.clone();
        let mut step = self.call(world, host, at, EntropyUse::Next, |now| next(machine, now));
        if let (Some(Fault::SentLate(ms)), true) = (self.mutant.fault, is_new(&step)) {
            *machine = before;
            step = self.call(world, host, moved(at, ms), EntropyUse::Next, |now| next(machine, now));
        }
        let is_new = is_new(&step);
        world.host(host, |me| me.used += u64::from(is_new));
        (step, is_new)
    }

    fn perform<T, C: Into<Release>>(
        &self,
        world: &mut World,
        task: Task,
        at: ClockReading,
        step: Step<T, C>,
        end: impl FnOnce(&mut World, Task, T) -> Result<StepResult, Violation>,
    ) -> Result<StepResult, Violation> {
        match step {
            Step::Pause(length) => Ok(StepResult::Pending(length)),
            Step::Write(op) => Ok(send(world, task, at, RequestBody::Write(Shared::new(op)))),
            Step::Read { strong } => Ok(send(world, task, at, RequestBody::Read { strong })),
            Step::CleanUp(clean_up) => {
                // A step of its own, because the next one may be a pause, and a pause changes no state.
                self.clean_up(world, task.host, Some(clean_up.into()));
                Ok(StepResult::Progress(Some(task)))
            }
            Step::Done(result) => end(world, task, result),
        }
    }

    /// Cancels an acquisition. Its clean-up runs in the background.
    fn cancel<M>(&self, world: &mut World, host: u8, at: ClockReading, machine: &mut M) -> StepResult
    where
        M: Machine<CleanUp = Release>,
    {
        let release = self.call(world, host, at, EntropyUse::Cancel, |now| machine.cancel(now));
        self.clean_up(world, host, release);
        StepResult::Progress(None)
    }

    /// Returns whether a hold is about to be reported, so that a freeze from now on is outside A2.
    pub fn is_about_to_report(&self, world: &World, task: &Task) -> bool {
        let TaskState::Hold(HoldTask { hold, .. }) = &task.state else { return false };
        let at = self.task_clock(world, task);
        let step = self.call(world, task.host, at, EntropyUse::Next, |now| hold.clone().next(now));
        matches!(step, Step::Done(AcquireEnd::Acquired(_)))
    }

    fn step_held(&self, world: &mut World, mut task: Task, at: ClockReading) -> Result<StepResult, Violation> {
        let is_renewing = matches!(task.state, TaskState::Renewing(_));
        let (TaskState::Held(held) | TaskState::Renewing(held)) = &mut task.state else {
            return Ok(StepResult::Pending(Duration::MAX));
        };
        if !is_renewing && held.clone().check(at).is_some() && held.check(at) == known_loss(held) {
            return Ok(StepResult::Pending(Duration::MAX));
        }
        let next = |held: &mut Held, now: &Now<'_>| match held.next(now) {
            HeldStep::Sleep(length) => Step::Pause(length),
            HeldStep::Lost(reason) => Step::<_>::Done(reason),
            HeldStep::Write(op) => Step::Write(op),
        };
        let (step, _) = self.next(world, task.host, at, held, next);
        let end = |_: &mut World, task, _| Ok(StepResult::Progress(Some(task).filter(|_| !is_renewing)));
        self.perform(world, task, at, step, end)
    }

    /// Ends an acquisition: reports a guard, or a hold that was requested at `began`, to its user.
    fn report(
        &self,
        world: &mut World,
        task: Task,
        end: AcquireEnd,
        began: ClockReading,
        at: ClockReading,
    ) -> Result<StepResult, Violation> {
        if let AcquireEnd::Done(success) = &end {
            self.check_skip(world, success)?;
        }
        let AcquireEnd::Acquired(held) = end else {
            let violation = properties::check_failure(world, self, task.host, &end);
            return violation.map_or(Ok(StepResult::Progress(None)), Err);
        };
        world.host(task.host, |me| me.watch = None);
        check_hold_lasts(&held, self.client(task.host), began, at)?;
        self.report_guard(world, task, held)
    }

    /// Reports a guard to its user.
    pub fn report_guard(
        &self,
        world: &mut World,
        mut task: Task,
        mut held: Box<Held>,
    ) -> Result<StepResult, Violation> {
        let token = held.token().get();
        let is_valid = held.is_valid(self.task_clock(world, &task));
        let is_deleted = world.past.deleted.contains(&lease_id_of(&held));
        let reported = (*held).clone();
        task.state = TaskState::Held(*held);
        if !is_valid {
            return Err("R5: an acquisition is reported that is not valid any more".into());
        }
        if is_deleted {
            return Ok(StepResult::Progress(Some(task))); // Promise C has ended with its table.
        }
        if self.config.is_shared() {
            let violation = entries::report(world, self, task.host, &reported);
            return violation.map_or(Ok(StepResult::Progress(Some(task))), Err);
        }
        self.check_begin(world, token)?;
        if token <= world.past.reported && token > world.past.forced {
            return Err("C: an acquisition is reported with a token that is not above an earlier one".into());
        }
        world.past.reported = token.max(world.past.reported);
        Ok(StepResult::Progress(Some(task)))
    }

    /// Releases a guard in the background.
    pub fn release_guard(&self, world: &mut World, task: &Task) {
        let TaskState::Held(held) = &task.state else { return };
        if self.client(task.host).hold_ms.is_some() {
            return; // Nothing releases a hold.
        }
        let mut held = held.clone();
        let at = self.task_clock(world, task);
        let was_lost = held.check(at).is_some();
        let release = self.call(world, task.host, at, EntropyUse::Release, |now| Release::of(&held, now));
        let (token, lease_id) = (Some(held.token().get()), lease_id_of(&held));
        world.host(task.host, |me| me.used += 1);
        let until = Some(Deadline::new(SentAt(at), held.time_left(at)));
        let release_task = ReleaseTask { release, token, lease_id, was_lost, until };
        world.tasks.push(Shared::new(Task::new(task.host, TaskState::Release(release_task))));
        if self.mutant.is(Fault::RenewsAfterRelease) {
            world.tasks.push(Shared::new(Task::new(task.host, TaskState::Renewing(held))));
        }
    }

    /// Drops an acquire or a hold at an await, as the library's future is dropped. A write in flight is waited for.
    pub fn drop_acquire(&self, world: &mut World, mut task: Task) -> Result<StepResult, Violation> {
        task.state = match task.state {
            _ if self.mutant.is(Fault::DropWithoutCleanUp) => return Ok(StepResult::Progress(None)),
            TaskState::Acquire(machine) => TaskState::Dropped(machine),
            TaskState::Hold(HoldTask { hold, .. }) => TaskState::DroppedHold(hold),
            other => other,
        };
        match &task.flight {
            Some(InFlight { request: RequestBody::Write(_), .. }) => Ok(StepResult::Progress(Some(task))),
            _ => self.step(world, task),
        }
    }

    fn clean_up(&self, world: &mut World, host: u8, release: Option<Release>) {
        let Some(release) = release.filter(|_| !self.mutant.is(Fault::CleanUpForgotten)) else { return };
        let at = self.clock(world, host);
        let step = self.call(world, host, at, EntropyUse::Next, |now| release.clone().next(now));
        let (lease_id, token) = match step {
            Step::Write(Op { kind: OpKind::Release { lease_id, token, .. }, .. }) => (lease_id, token.map(u64::from)),
            Step::Write(Op { kind: OpKind::Shared(SharedWrite { op: SharedOp::Leave { holder }, .. }), .. }) => {
                (holder.lease_id, None)
            }
            _ => return,
        };
        let lease_id = lease_id.as_str().to_owned();
        world.host(host, |me| me.used += 1);
        let lease = Duration::from_millis(self.client(host).lease_ms);
        // The clean-up of an entry was decided upon with an earlier response, from which its time counts.
        let is_plain = self.client(host).access.is_none();
        let until = (token.is_none() && is_plain).then(|| Deadline::new(SentAt(at), lease));
        let release_task = ReleaseTask { release, token, lease_id, was_lost: token.is_some(), until };
        world.tasks.push(Shared::new(Task::new(host, TaskState::Release(release_task))));
    }

    /// Revokes the present acquisition as an operator does after reading the row, optionally by force.
    pub fn revoke(&self, world: &mut World, force: bool) {
        let Some(token) = world.row.as_ref().and_then(|row| row.token()) else { return };
        let at = self.clock(world, 0);
        let revoke =
            self.call(world, 0, at, EntropyUse::Revoke, |now| Revoke::new(&name(), Target::Token(token), force, now));
        world.host(0, |me| me.used += 1);
        world.tasks.push(Shared::new(Task::new(0, TaskState::Revoke(revoke))));
    }
}

fn send(world: &World, mut task: Task, at: ClockReading, request: RequestBody) -> StepResult {
    task.flight = Some(InFlight { request, sent: at, since: world.tick, answer: None });
    StepResult::Progress(Some(task))
}

/// Returns the name of the lock.
pub fn name() -> LockName {
    LockName::new("lock").unwrap_or_else(|_| unreachable!())
}

/// Returns the name of a host.
pub fn letter(host: u8) -> String {
    char::from(b'A' + host).to_string()
}

/// Returns the lease ID of a guard.
pub fn lease_id_of(held: &Held) -> String {
    held.lease_id().as_str().to_owned()
}

/// Returns the loss that a guard has noticed before, without a look at the clock.
fn known_loss(held: &Held) -> Option<LossReason> {
    held.clone().check(ClockReading { boot_ns: 0, raw_ns: 0, wall_ms: 0 })
}

/// Checks that a reported hold is valid for its whole duration (H), counted from its request, less the margin of 1 %
/// and 10 ms.
fn check_hold_lasts(held: &Held, client: &Client, began: ClockReading, at: ClockReading) -> Result<(), Violation> {
    let Some(hold_ms) = client.hold_ms else { return Ok(()) };
    let duration = Duration::from_millis(hold_ms - hold_ms / 100 - 10);
    match held.clone().time_left(at) < Deadline::new(SentAt(began), duration).left(at) {
        true => Err("H: a hold is reported whose row does not last for its duration".into()),
        false => Ok(()),
    }
}
