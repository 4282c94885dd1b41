//! Work that runs until it has succeeded once: its success is recorded in place of the release, and reset by an operator.

use std::time::Duration;

use dynamo_lock_protocol::{
    Deadline, Finish, FinishEnd, Kind, Op, OpKind, Outcome, Revoke, Row, SentAt, Success, attr,
};

use super::{
    Context, EPOCH_MS, Shared, Task, TaskState, Violation, World, driver::EntropyUse, driver::lease_id_of, letter,
    service,
};
use crate::mutants::Fault;

/// Time by which the end of a success may be taken for later than it is: the errors of two dates, in milliseconds.
const LATE_MS: u64 = 9_000;

/// Kind of all locks of a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// Plain locks.
    #[default]
    Mutex,
    /// Work that runs until it has succeeded once. The success counts for this number of milliseconds, `None`: until it
    /// is reset.
    Once(Option<u64>),
}

/// The record of a success, with what it is of.
#[derive(Clone, Debug, Hash)]
pub struct FinishTask {
    pub finish: Finish,
    pub token: u64,
    pub lease_id: String,
    /// The record is not given up before.
    pub until: Deadline,
}

/// Facts about successes that the properties need.
#[derive(Clone, Debug, Default, Hash)]
pub struct PastSuccesses {
    /// Tokens with an applied record.
    pub recorded: Vec<u64>,
    /// Tokens whose success was reset, or did not count any more when the work began anew.
    pub forgotten: Vec<u64>,
    /// Tokens whose success is known not to be recorded.
    pub refuted: Vec<u64>,
}

impl Context<'_> {
    /// Returns the kind of all locks.
    pub fn kind(&self) -> Kind {
        if self.config.work == Work::Mutex { Kind::Mutex } else { Kind::Once }
    }

    /// Records the success of a guard in the background.
    pub fn finish_guard(&self, world: &mut World, task: &Task) {
        let (TaskState::Held(held), Work::Once(lasts_ms)) = (&task.state, self.config.work) else { return };
        let (host, at) = (task.host, self.task_clock(world, task));
        let lasts = lasts_ms.map(Duration::from_millis);
        let finish = self.call(world, host, at, EntropyUse::Release, |now| Finish::new(held, letter(host), lasts, now));
        world.host(host, |me| me.used += 1);
        let until = Deadline::new(SentAt(at), held.timing().lease());
        let state = FinishTask { finish, token: held.token().get(), lease_id: lease_id_of(held), until };
        world.tasks.push(Shared::new(Task::new(host, TaskState::Finish(state))));
    }

    /// Resets the present success as an operator does after reading the row.
    pub fn reset(&self, world: &mut World) {
        let Some(token) = world.row.as_ref().and_then(|row| row.token()) else { return };
        let at = self.clock(world, 0);
        let reset =
            self.call(world, 0, at, EntropyUse::Revoke, |now| Revoke::of_success(&super::driver::name(), token, now));
        world.host(0, |me| me.used += 1);
        world.tasks.push(Shared::new(Task::new(0, TaskState::Revoke(reset))));
    }

    /// Returns the outcome of a record as its machine receives it. Mutants change it.
    pub fn finish_outcome(&self, task: &FinishTask, outcome: Outcome) -> Outcome {
        let Outcome::Conflict(Some(mut row)) = outcome else { return outcome };
        if row.get(attr::DONE_TOKEN).is_some() {
            match self.mutant.fault {
                Some(Fault::SuccessNotRecognised) => row.remove(attr::DONE_TOKEN),
                Some(Fault::AnySuccessIsOwn) => row.set(attr::DONE_TOKEN, task.token.into()),
                _ => {}
            }
        }
        Outcome::Conflict(Some(row))
    }

    /// Checks that no work begins under this token while a success counts. A guard that is reported is valid, so that
    /// the row is its own unless the acquisition was revoked by force.
    pub fn check_begin(&self, world: &World, token: u64) -> Result<(), Violation> {
        let PastSuccesses { recorded, forgotten, .. } = &world.past.successes;
        if token <= world.past.forced {
            return Ok(());
        }
        match recorded.iter().all(|token| forgotten.contains(token)) {
            true => Ok(()),
            false => Err("O: work begins although its success is recorded".into()),
        }
    }

    /// Checks that work is skipped only after a success that may still count. An eventually consistent read may return
    /// a success that was reset since.
    pub fn check_skip(&self, world: &World, success: &Success) -> Result<(), Violation> {
        if !world.past.successes.recorded.contains(&success.token.get()) && world.past.deleted.is_empty() {
            return Err("O: work is skipped, and its success was not recorded".into());
        }
        if matches!(self.config.work, Work::Once(Some(_))) && success.until.is_none() {
            return Err("D: work is skipped for ever, and its success counts for a time".into());
        }
        let now = Duration::from_millis((EPOCH_MS + world.real_ms(self.config)).saturating_sub(LATE_MS));
        match success.until.is_some_and(|until| until < std::time::SystemTime::UNIX_EPOCH + now) {
            true => Err("D: work is skipped long after its success has ceased to count".into()),
            false => Ok(()),
        }
    }

    /// Checks that the result of a record is true (E), and that it is repeated for a lease.
    pub fn check_finish(&self, world: &mut World, task: &Task, end: FinishEnd) -> Result<(), Violation> {
        let TaskState::Finish(FinishTask { token, lease_id, until, .. }) = &task.state else { return Ok(()) };
        if world.past.deleted.contains(lease_id) {
            return Ok(());
        }
        let successes = &mut world.past.successes;
        let (recorded, forgotten) = (successes.recorded.contains(token), successes.forgotten.contains(token));
        let at = self.task_clock(world, task);
        let is_early = !until.passed(at);
        match end {
            FinishEnd::Recorded if !recorded => Err("E: a success is reported as recorded, and it was not".into()),
            FinishEnd::NotRecorded(_) if recorded && !forgotten => {
                Err("E: a success is reported as not recorded, and it was".into())
            }
            FinishEnd::Refused if recorded => Err("E: a success is reported as refused, and it was recorded".into()),
            FinishEnd::Refused | FinishEnd::Unknown if is_early => {
                Err("E: the record of a success was given up before a lease had passed".into())
            }
            FinishEnd::NotRecorded(_) | FinishEnd::Refused => {
                world.past.successes.refuted.push(*token);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Notes what a write means for successes, and checks it.
pub fn note(world: &mut World, config: &super::Config, before: Option<&Row>, op: &Op) -> Result<(), Violation> {
    let success = before.and_then(|row| row.whole(attr::DONE_TOKEN));
    if let OpKind::Finish { token, .. } = &op.kind {
        if world.past.successes.refuted.contains(&token.get()) {
            return Err("E: a success was recorded after it was reported as not recorded".into());
        }
        world.past.successes.recorded.push(token.get());
    }
    let (Some(token), Some(row)) = (success, before) else { return Ok(()) };
    match op.kind {
        OpKind::Reset { .. } => {}
        OpKind::StartAnew { .. } => check_start_anew(world, config, row)?,
        _ => return Err("O: a finished row was changed by another write than a reset or a new start".into()),
    }
    world.past.successes.forgotten.push(token);
    Ok(())
}

/// Notes that the service deletes the row, and checks that its success does not count any more.
pub fn note_purge(world: &mut World, config: &super::Config) -> Result<(), Violation> {
    let Some(row) = world.row.as_deref().cloned() else { return Ok(()) };
    let Some(token) = row.whole(attr::DONE_TOKEN) else { return Ok(()) };
    check_start_anew(world, config, &row)?;
    world.past.successes.forgotten.push(token);
    Ok(())
}

/// Checks that a success has counted for its whole time, from the begin of the successful run.
fn check_start_anew(world: &World, config: &super::Config, before: &Row) -> Result<(), Violation> {
    let Work::Once(Some(lasts_ms)) = config.work else {
        return Err("O: work began anew although its success counts until it is reset".into());
    };
    let is_of = |host: &usize| before.text(attr::DONE_BY) == Some(&letter(*host as u8));
    let clocks = (0..config.clients.len()).find(is_of).map(|host| config.clients[host].clocks);
    let wall_ms = clocks.map_or(0, |clocks| clocks.wall_ms);
    let began = before.whole(service::TRUE_ACQUIRED_ON).unwrap_or(0).saturating_add_signed(-wall_ms);
    // Without a service clock the promise presumes correct wall clocks.
    match EPOCH_MS + world.real_ms(config) < began + lasts_ms {
        true => Err("O: work began anew before its success had counted for its time".into()),
        false => Ok(()),
    }
}
