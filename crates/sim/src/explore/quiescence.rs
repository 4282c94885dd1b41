//! Continuations of a state without faults: waiters acquire the lock (D), and orphaned leases end (E).
//!
//! From every state three continuations are run, beyond the grid, by one fair schedule: every task that can act acts at
//! once, every request is answered at once, with the service's exact second, and time passes until the next pause has
//! ended. Abandoned requests are lost. A state in which they are applied is explored separately.

use std::time::Duration;

use dynamo_lock_protocol::{Row, RowState, SharedEntry, WaitMode, attr};

use super::{
    Budget, Context, EPOCH_MS, EntryFacts, Host, InFlight, Past, Shared, StepResult, Task, TaskState, Violation, World,
    actions::Action, actions::Delivery, actions::step, actions::successor, entries, fingerprint::fingerprint, letter,
    properties, search::Visited, service,
};

/// Processes that continue, and their users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Continuation {
    /// No process: every process ends, and the newcomer with this number requests the lock.
    Newcomer(u8),
    /// The processes of this host, which waits for the lock; all others end.
    Waiter(u8),
    /// The processes of this host, a writer that waits; all others end, and readers come without end.
    Stream(u8),
    /// All processes. Users release their guards and request nothing more.
    Rest,
}

/// The part of a world in which no fault and no request of a user happens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quiescence {
    pub continuation: Continuation,
    /// Before, a request was lost or a host crashed, so a lease may be orphaned.
    pub may_orphan: bool,
}

/// Number of steps from which on a continuation counts as endless.
const STEPS_MAX: usize = 5_000;
/// Time for which a reader of an endless stream stays at most, in milliseconds.
const STREAM_MS: u64 = 500;
/// Time that retries and rounded clocks add to a wait, in milliseconds.
const RETRIES_MS: u64 = 75;
/// Deviation of a wall clock up to which it confirms exact dates, in milliseconds.
const WALL_MS: u64 = 5_000;
/// Time until a row without a token is taken over, in milliseconds, because a fresh token floor must be above all
/// earlier tokens. The time that the response took is added.
const TOKEN_FLOOR_MS: u64 = 9_000;
/// A legacy row is respected for its skew, and the service's second may be this much less than the time.
const LEGACY_MS: u64 = 5_000;

/// Counterexample: the actions after the state, and the broken promise.
pub type Counterexample = (Vec<Action>, Violation);

/// Runs a state on in every way; those that were run before are known to be good.
pub fn check(world: &World, context: &Context<'_>, good: &mut Visited) -> Option<Counterexample> {
    // A hold does not wait, so it may end without the lock.
    let is_waiter =
        |task: &Task| task.is_main() && matches!(task.state, TaskState::Acquire(_) | TaskState::Handover(_));
    let waits = |task: &Task| is_waiter(task) && !waits_for_wall(task, world, context);
    let waiters = world.tasks.iter().filter(|task| waits(task)).map(|task| Continuation::Waiter(task.host));
    let ends = !world.tasks.is_empty() && !world.tasks.iter().any(|task| waits_for_wall(task, world, context));
    let rest = ends.then_some(Continuation::Rest);
    let newcomers = (0..context.newcomers()).map(Continuation::Newcomer);
    let is_writer = |task: &Task| context.client(task.host).access.is_some_and(|access| access.is_exclusive());
    let writers = world.tasks.iter().filter(|task| waits(task) && is_writer(task));
    let streams = writers.map(|task| Continuation::Stream(task.host));
    let continuations = newcomers.chain(waiters).chain(streams).chain(rest);
    continuations.into_iter().find_map(|continuation| from(world, continuation, context, good))
}

/// Returns whether a task waits for a legacy row by a wall clock that is slow, which may take any time.
fn waits_for_wall(task: &Task, world: &World, context: &Context<'_>) -> bool {
    let is_legacy = matches!(world.row.as_deref().map(Row::state), Some(Ok(RowState::Legacy(_))));
    is_legacy && context.config.dates.is_empty() && context.client(task.host).clocks.wall_ms < 0
}

fn from(
    world: &World,
    continuation: Continuation,
    context: &Context<'_>,
    good: &mut Visited,
) -> Option<Counterexample> {
    let mut run = Run { actions: vec![Action::Quiescence(continuation)], context };
    let mut world = match successor(world, Action::Quiescence(continuation), context) {
        Ok(Some(next)) => next,
        Ok(None) => return None,
        Err(end) => return Some((run.actions, end.1)),
    };
    if !good.insert(fingerprint(&world)) {
        return None;
    }
    let ended = match continuation {
        Continuation::Newcomer(n) => run.acquires_in_time(&mut world, context.newcomer() + n, 1),
        Continuation::Stream(host) => run.acquires_in_time(&mut world, host, 2),
        // An attempt that nothing answered for a lease ends with an error, and its user tries again.
        Continuation::Waiter(host) => run.acquires_in_time(&mut world, host, 2),
        Continuation::Rest => run.ends_all_tasks(&mut world),
    };
    if let Err(violation) = ended {
        return Some((run.actions, violation));
    }
    let newcomers = if continuation == Continuation::Rest { context.newcomers() } else { 0 };
    let (mut rest, violation) = (0..newcomers).find_map(|n| from(&world, Continuation::Newcomer(n), context, good))?;
    run.actions.append(&mut rest);
    Some((run.actions, violation))
}

/// One continuation.
struct Run<'a> {
    actions: Vec<Action>,
    context: &'a Context<'a>,
}

impl Run<'_> {
    /// D: this host's attempt ends with the lock, in time.
    fn acquires_in_time(&mut self, world: &mut World, host: u8, attempts: usize) -> Result<(), Violation> {
        let main = |world: &World| world.tasks.iter().find(|task| task.host == host && task.is_main()).cloned();
        for attempt in 1..=attempts {
            if attempt > 1 {
                self.perform(world, Action::Begin(host))?;
            }
            let (since, most) = (world.real_ms(self.context.config), self.wait_max_ms(world, host));
            while let Some(task) = main(world) {
                let waited = world.real_ms(self.context.config) - since;
                if waited > most {
                    let host = letter(host);
                    return Err(format!("D: {host} has waited for {waited} ms, at most {most} ms are allowed"));
                }
                if let TaskState::Held(_) = task.state {
                    return Ok(());
                }
                self.advance(world)?;
            }
        }
        if entries::is_of_other_kind(world, self.context.client(host), self.context.kind()) {
            return Ok(());
        }
        let has_state = |wanted: fn(&RowState) -> bool| {
            world.row.as_deref().is_some_and(|row| row.state().is_ok_and(|state| wanted(&state)))
        };
        // Work that has succeeded is skipped, which was checked then.
        if has_state(|state| matches!(state, RowState::Done(_))) {
            return Ok(());
        }
        // A client that does not wait cannot prove that the lease of a crashed holder has expired.
        let waits = self.context.client(host).wait_mode == WaitMode::Wait;
        if !waits && has_state(|state| matches!(state, RowState::Held(_))) {
            return Ok(());
        }
        Err(format!("D: the attempt of {} ends without the lock and without a fault", letter(host)))
    }

    /// Checks that every task ends, and that an orphaned lease is not renewed any more (E).
    fn ends_all_tasks(&mut self, world: &mut World) -> Result<(), Violation> {
        let since = world.real_ms(self.context.config);
        let leases = self.context.config.clients.iter().map(|client| client.hold_ms.unwrap_or(0).max(client.lease_ms));
        let row = world.row.as_deref().map_or(0, |row| self.held_ms(row, world, false));
        let most = row + leases.map(|lease| lease + poll_ms(lease) + RETRIES_MS).sum::<u64>();
        while let Some(task) = world.tasks.first() {
            let passed = world.real_ms(self.context.config) - since;
            if passed > most {
                return Err(format!(
                    "E: a task of {} has not ended {passed} ms after all guards were released",
                    letter(task.host)
                ));
            }
            self.advance(world)?;
        }
        Ok(())
    }

    fn advance(&mut self, world: &mut World) -> Result<(), Violation> {
        let action = next(world, self.context)?;
        if self.actions.len() > STEPS_MAX {
            return Err("D: requests are sent without end".into());
        }
        self.perform(world, action)
    }

    fn perform(&mut self, world: &mut World, action: Action) -> Result<(), Violation> {
        self.actions.push(action);
        match successor(world, action, self.context) {
            Ok(next) => *world = next.unwrap_or_else(|| world.clone()),
            Err(end) => return Err(end.1),
        }
        Ok(())
    }

    /// Returns the maximum wait that promise D allows, in milliseconds.
    fn wait_max_ms(&self, world: &World, host: u8) -> u64 {
        let row = world.row.as_deref();
        let real_ms = EPOCH_MS + world.real_ms(self.context.config);
        let is_witness = self.context.clock(world, host).wall_ms.abs_diff(real_ms) <= WALL_MS;
        let held = row.map_or(0, |row| self.held_ms(row, world, is_witness));
        let lost_its_token = matches!(row.map(Row::state), Some(Ok(RowState::Legacy(row))) if row.token.is_none());
        let on_its_way = if lost_its_token { self.context.config.grid.last().copied().unwrap_or(0) } else { 0 };
        let poll = poll_ms(self.context.client(host).lease_ms);
        // A date that contradicts earlier dates needs a second one.
        let second_date = if self.context.config.wild.is_some() { poll } else { 0 };
        // A newcomer acquires a free lock at once. Other clients may be in a pause.
        let stream = match world.quiescence {
            Some(Quiescence { continuation: Continuation::Stream(_), .. }) => {
                self.context.client(host).lease_ms + STREAM_MS
            }
            _ => 0,
        };
        match host >= self.context.newcomer() {
            true if held == 0 => 0,
            true => held + poll + RETRIES_MS,
            false => held + on_its_way + poll + RETRIES_MS + second_date + stream,
        }
    }

    /// Returns the maximum time for which a row keeps a client waiting, on clocks that are 0.5 % slow. The lease alone
    /// decides if its wall clock does not confirm the dates (R2).
    fn held_ms(&self, row: &Row, world: &World, is_witness: bool) -> u64 {
        let now = EPOCH_MS + world.real_ms(self.context.config);
        let date = service::exact(world, self.context.config);
        let has_expired = |expires_on| date.is_some_and(|date| date.lower_when_received() > expires_on);
        if let Some(row) = entries::parse(Some(row)) {
            let is_past = |entry: &&SharedEntry| !(is_witness && entry.expires_on.is_some_and(has_expired));
            let leases = row.entries.iter().filter(is_past).map(|entry| entry.lease.as_millis() as u64);
            return leases.max().map_or(0, |lease| lease * 1006 / 1000 + 1);
        }
        match row.state() {
            Ok(RowState::Held(held))
                if is_witness && row.get(attr::EXPIRY_CLOCK).is_some() && has_expired(held.expires_on) =>
            {
                0
            }
            Ok(RowState::Held(held)) => held.lease.as_millis() as u64 * 1006 / 1000 + 1,
            Ok(RowState::Legacy(row)) => {
                let floor = if row.token.is_none() { TOKEN_FLOOR_MS } else { 0 };
                (row.expires_on as u64 + LEGACY_MS).saturating_sub(now) + floor
            }
            Ok(_) | Err(_) => 0,
        }
    }
}

/// Returns the next action of the fair schedule.
fn next(world: &World, context: &Context<'_>) -> Result<Action, Violation> {
    let releases = matches!(world.quiescence, Some(Quiescence { continuation: Continuation::Rest, .. }));
    let mut pause = None;
    if let Some(host) = idle_reader(world, context) {
        return Ok(Action::Begin(host));
    }
    for (i, task) in (0_u8..).zip(&world.tasks) {
        match &task.flight {
            Some(InFlight { answer: Some(_), .. }) => return Ok(Action::Deliver(i)),
            Some(_) => return Ok(Action::Send(i, Delivery::ExactDate)),
            None => {}
        }
        if releases && matches!(task.state, TaskState::Held(_)) {
            return Ok(Action::Release(i, false));
        }
        if let Some(left) = stream_left(world, context, task) {
            if left.is_zero() {
                return Ok(Action::Release(i, false));
            }
            pause = pause.map_or(Some(left), |pause: Duration| Some(left.min(pause)));
        }
        match step(&mut world.clone(), context, i)? {
            StepResult::Pending(length) => pause = pause.map_or(Some(length), |pause| Some(length.min(pause))),
            StepResult::Progress(Some(Task { flight: Some(_), .. })) => {
                return Ok(Action::Send(i, Delivery::ExactDate));
            }
            StepResult::Progress(_) => return Ok(Action::Step(i)),
        }
    }
    let ms = pause.map(|pause| pause.as_millis()).and_then(|ms| u32::try_from(ms + ms / 200 + 1).ok());
    // No task waits for anything.
    ms.map(Action::Pass).ok_or_else(|| "D: no task waits for anything, and none has ended".into())
}

/// Starts a continuation. State without further effect is cleared, so that many states become one.
pub fn begin(world: &mut World, context: &Context<'_>, continuation: Continuation) {
    let lives = |host: u8| {
        continuation == Continuation::Rest
            || continuation == Continuation::Waiter(host)
            || continuation == Continuation::Stream(host)
    };
    let may_orphan = properties::may_orphan(world, context) || continuation != Continuation::Rest;
    world.quiescence = Some(Quiescence { continuation, may_orphan });
    (world.left, world.before, world.legacy_seen) = (Budget::default(), None, None);
    world.has_no_table = false;
    world.late_requests.clear();
    world.tasks.retain(|task| lives(task.host));
    for host in 0..world.hosts.len() as u8 {
        match lives(host) {
            // The user tries once more if the attempt ends with an error.
            true => world.host(host, |host| host.acquisitions = u8::from(continuation != Continuation::Rest)),
            false => world.host(host, |host| *host = Host::default()),
        }
    }
    if let Continuation::Newcomer(n) = continuation {
        let Past { reported, forced, .. } = world.past;
        let entries = EntryFacts { token: world.past.entries.token, ..EntryFacts::default() };
        let entries = EntryFacts { writer_token: world.past.entries.writer_token, ..entries };
        let successes = std::mem::take(&mut world.past.successes);
        world.past = Past { reported, forced, entries, successes, ..Past::default() };
        add_hosts(world, context, n);
        context.begin(world, context.newcomer() + n);
    }
    if let Continuation::Stream(_) = continuation {
        let last = context.config.newcomers.len() as u8 - 1;
        add_hosts(world, context, last);
        for host in [last - 1, last] {
            world.host(context.newcomer() + host, |host| host.acquisitions = u8::MAX);
        }
    }
}

/// Adds the hosts of the newcomers up to this number.
fn add_hosts(world: &mut World, context: &Context<'_>, last: u8) {
    let hosts = (0..=last).map(|n| Host::new(context.client(context.newcomer() + n), context.config));
    world.hosts.extend(hosts.map(Shared::new));
}

/// Returns a reader of an endless stream that has just left.
fn idle_reader(world: &World, context: &Context<'_>) -> Option<u8> {
    let Some(Quiescence { continuation: Continuation::Stream(_), .. }) = world.quiescence else { return None };
    let last = context.newcomer() + context.config.newcomers.len() as u8 - 1;
    let has_left = |host: &u8| !world.tasks.iter().any(|task| task.host == *host && task.is_main());
    let is_idle = |host: &u8| has_left(host) && world.hosts[usize::from(*host)].acquisitions > 0;
    [last - 1, last].into_iter().find(is_idle)
}

/// Returns the time for which a reader of an endless stream stays. The two of them leave at different times.
fn stream_left(world: &World, context: &Context<'_>, task: &Task) -> Option<Duration> {
    let Some(Quiescence { continuation: Continuation::Stream(_), .. }) = world.quiescence else { return None };
    let TaskState::Held(held) = &task.state else { return None };
    let n = task.host.checked_sub(context.newcomer())?;
    let left = held.clone().time_left(context.task_clock(world, task));
    let client = context.client(task.host);
    Some(left.saturating_sub(Duration::from_millis(client.lease_ms - STREAM_MS + 50 * u64::from(n))))
}

/// Returns the longest time between two looks of a client with this lease, in milliseconds. Rows may pretend a crowd.
fn poll_ms(lease_ms: u64) -> u64 {
    (lease_ms / 20).min(1_000).max((lease_ms / 10).min(2_000)).max(250)
}
