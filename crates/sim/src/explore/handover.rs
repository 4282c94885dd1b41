//! Several users of one client: a guard that is released is handed over to the next of them.

use dynamo_lock_protocol::{
    Acquire, Deadline, Handover, HandoverEnd, Held, LossReason, Machine, Op, OpKind, Outcome, ReleaseEnd, Response,
    SentAt, ServiceDate, Step, Value, Watch, attr,
};

use super::{
    Acquisition, Context, HandoverTask, InFlight, ReleaseTask, Shared, StepResult, Task, TaskState, Violation, World,
    answers::handle, driver::EntropyUse, driver::lease_id_of, properties,
};
use crate::mutants::Fault;

impl Context<'_> {
    /// Returns whether guards of this client may be handed over.
    pub fn hands_over(&self, host: u8) -> bool {
        self.client(host).next_lease_ms.is_some()
    }

    /// Returns whether a user of the client may wait for this guard, and its release may hand it over.
    pub fn can_hand_over(&self, world: &World, task: &Task, held: &Held) -> bool {
        let has_users = self.hands_over(task.host) && world.hosts[usize::from(task.host)].acquisitions > 0;
        has_users && world.quiescence.is_none() && held.clone().can_hand_over(self.task_clock(world, task))
    }

    /// Releases a guard for which another user of the client waits.
    pub fn hand_over(&self, world: &mut World, task: &Task) {
        let (TaskState::Held(held), host) = (&task.state, task.host) else { return };
        world.host(host, |me| me.acquisitions -= 1);
        let task = self.new_handover(world, task, held);
        world.tasks.push(Shared::new(task));
    }

    fn new_handover(&self, world: &mut World, task: &Task, held: &Held) -> Task {
        let (host, at) = (task.host, self.task_clock(world, task));
        let request = self.request(host, self.next_lease_ms(host));
        let handover = self.call(world, host, at, EntropyUse::Handover, |now| Handover::new(held, &request, now));
        let step = self.call(world, host, at, EntropyUse::Next, |now| handover.clone().next(now));
        let lease_id = match step {
            Step::Write(Op { kind: OpKind::HandOver { next, .. }, .. }) => next.lease_id.as_str().to_owned(),
            _ => String::new(),
        };
        world.host(host, |me| me.used += 1);
        let until = Deadline::new(SentAt(at), held.clone().time_left(at));
        let state = HandoverTask { handover, old: held.clone(), lease_id, until, has_waiter: true };
        let noted = self.mutant.is(Fault::HolderCountsFromAnswer).then_some(at);
        Task { noted, ..Task::new(host, TaskState::Handover(state)) }
    }

    fn next_lease_ms(&self, host: u8) -> u64 {
        let client = self.client(host);
        client.next_lease_ms.unwrap_or(client.lease_ms)
    }

    /// Delivers the outcome of a write to a handover. Mutants change it.
    pub fn answer_handover(
        &self,
        world: &mut World,
        task: &mut Task,
        flight: &InFlight,
        outcome: &Outcome,
        date: Option<ServiceDate>,
    ) {
        let TaskState::Handover(state) = &task.state else { return };
        let here = self.task_clock(world, task);
        let was_won = state.handover.has_taken_effect();
        if self.mutant.is(Fault::HandoverRepeatsFreshly) && *outcome == Outcome::Unknown && !was_won {
            let guard = Task { state: TaskState::Held(state.old.clone()), ..task.clone() };
            *task = self.new_handover(world, &guard, &state.old.clone());
            return;
        }
        let outcome = match outcome {
            Outcome::Conflict(Some(row)) if self.mutant.is(Fault::HandoverNotRecognised) => {
                let mut row = row.clone();
                if row.text(attr::LEASE_ID) == Some(&state.lease_id) {
                    row.set(attr::LEASE_ID, Value::from("another"));
                }
                Outcome::Conflict(Some(row))
            }
            other => other.clone(),
        };
        let at = match task.noted.filter(|_| self.mutant.is(Fault::HolderCountsFromAnswer) && !was_won) {
            Some(first) if matches!(outcome, Outcome::Applied(_)) => first,
            _ => here,
        };
        let response = Response::outcome(SentAt(flight.sent), &outcome).with_date(date);
        self.call(world, task.host, at, EntropyUse::Response, |now| handle(&mut task.state, now, response));
        let has_won = matches!(&task.state, TaskState::Handover(state) if state.handover.has_taken_effect());
        if self.mutant.is(Fault::HolderCountsFromAnswer) && has_won && !was_won {
            task.lag_ms = here.holder_elapsed_since(at).as_millis() as i64;
        }
        if self.mutant.is(Fault::ReportsWithoutCheck) {
            task.noted = Some(here);
        }
    }

    /// Ends a handover: reports the result of the release, and then the guard to the user who waits for it. Without the
    /// guard, that user acquires the lock.
    pub fn end_handover(&self, world: &mut World, task: Task, end: HandoverEnd) -> Result<StepResult, Violation> {
        let TaskState::Handover(state) = &task.state else { return Ok(StepResult::Progress(None)) };
        let (token, lease_id) = (state.old.token().get(), lease_id_of(&state.old));
        let has_waiter = state.has_waiter;
        world.host(task.host, |me| me.used += 1);
        let result = match &end {
            HandoverEnd::Done(_) => Some(ReleaseEnd::Released),
            HandoverEnd::Failed { release: ReleaseEnd::Unknown, .. }
                if self.mutant.is(Fault::HandoverUnknownIsLost) =>
            {
                Some(ReleaseEnd::Lost(LossReason::TakenOver))
            }
            HandoverEnd::Failed { release, .. } => Some(*release),
            HandoverEnd::Unanswered(_) => self.mutant.is(Fault::UnansweredIsReleased).then_some(ReleaseEnd::Released),
        };
        if let Some(violation) = result.and_then(|end| properties::check_result(world, token, &lease_id, false, end)) {
            return Err(violation);
        }
        match end {
            HandoverEnd::Done(held) if has_waiter => self.report_guard(world, task, held),
            HandoverEnd::Done(held) => {
                self.release_guard(world, &Task { state: TaskState::Held(*held), ..task });
                Ok(StepResult::Progress(None))
            }
            HandoverEnd::Failed { watch, .. } => Ok(self.go_on_waiting(task.host, has_waiter, watch)),
            HandoverEnd::Unanswered(release) => {
                let until = Some(state.until);
                let mut release =
                    ReleaseTask { release: *release, token: Some(token), lease_id, was_lost: false, until };
                if self.mutant.is(Fault::HandoverReleasesNewOnly) {
                    self.skip_old_lease(world, &task, &state.lease_id, &mut release);
                }
                if !self.mutant.is(Fault::HandoverNotCleanedUp) {
                    world.tasks.push(Shared::new(Task::new(task.host, TaskState::Release(release))));
                }
                Ok(self.go_on_waiting(task.host, has_waiter, None))
            }
        }
    }

    /// The user who waited for a handover keeps its place, and acquires the lock.
    fn go_on_waiting(&self, host: u8, has_waiter: bool, watch: Option<Watch>) -> StepResult {
        let acquire = Acquire::new(self.request(host, self.next_lease_ms(host)), watch);
        StepResult::Progress(has_waiter.then(|| Task::new(host, TaskState::Acquire(Acquisition::Plain(acquire)))))
    }

    /// For a mutant: pretends that the row contains the lease of the handover.
    fn skip_old_lease(&self, world: &World, task: &Task, next_lease_id: &str, release: &mut ReleaseTask) {
        let mut row = world.row.as_deref().cloned().unwrap_or_default();
        row.set(attr::V, 1.into());
        row.set(attr::LEASE_ID, next_lease_id.into());
        row.set(attr::EXPIRES_ON, 1.into());
        let (at, outcome) = (self.task_clock(world, task), Outcome::Conflict(Some(row)));
        self.call(world, task.host, at, EntropyUse::Response, |now| {
            release.release.handle(now, Response::outcome(SentAt(at), &outcome));
        });
    }

    /// For a mutant: returns whether a release is the second one of an unanswered handover.
    pub fn is_second_release(&self, release: &ReleaseTask, op: &Op) -> bool {
        let is_clean_up = matches!(op.kind, OpKind::Release { token: None, .. });
        self.mutant.is(Fault::HandoverReleasesOldOnly) && is_clean_up && release.token.is_some()
    }
}
