//! Taking the lock: in turn, in time, or not at all.

use dynamo_lock::{AcquireError, Guard, Inspection, Lock, TryAcquire};
use nix::sys::signal::Signal;

use super::signals::Signals;
use crate::exit::Failure;
use crate::plan::{Outer, RunTask, WaitMode};
use crate::print;
use crate::store::Open;
use crate::waiting;

/// How the wait ended.
pub enum Turn {
    Ours(Guard),
    /// Somebody else holds it, as the message says.
    Contended(String),
    Interrupted(Signal),
}

/// Takes the lock as patiently as asked; a signal ends the wait at once.
pub async fn take(store: &Open, lock: &Lock, task: &RunTask, signals: &mut Signals) -> Result<Turn, Failure> {
    let ours = async {
        match is_held_around_us(store, lock, task).await? {
            true => Ok(Turn::Contended(format!(
                "lock {:?} is held by a `dynamo-lock run` around this one, which it would wait for without end: \
                 use another name inside",
                task.name.as_str()
            ))),
            false => acquire(lock, task).await,
        }
    };
    tokio::select! {
        biased;
        signal = signals.next() => Ok(Turn::Interrupted(signal)),
        turn = ours => turn,
        never = waiting::tell(lock, task.quiet) => match never {},
    }
}

async fn acquire(lock: &Lock, task: &RunTask) -> Result<Turn, Failure> {
    let mut options = lock.options();
    if let Some(max_hold) = task.max_hold {
        options = options.max_hold(max_hold);
    }
    // The answer that says "held" says by whom: no further request.
    let holder = match task.wait_mode {
        WaitMode::None => match options.try_acquire().await? {
            TryAcquire::Acquired(guard) => return Ok(Turn::Ours(guard)),
            TryAcquire::Held(holder) => Some(holder),
        },
        WaitMode::Endless => return Ok(Turn::Ours(options.acquire().await?)),
        WaitMode::AtMost(limit) => match options.acquire_within(limit).await {
            Ok(guard) => return Ok(Turn::Ours(guard)),
            Err(AcquireError::TimedOut { holder: Some(holder), .. }) => Some(holder),
            Err(AcquireError::TimedOut { holder: None, .. }) => {
                // Nobody was ever seen there: a store that does not answer is not a held lock.
                lock.inspect().await?;
                None
            }
            Err(error) => return Err(error.into()),
        },
    };
    let holder = match holder {
        Some(holder) => print::holder(holder.owner.as_deref(), holder.acquired_at),
        None => "somebody who has just left".to_owned(),
    };
    let name = task.name.as_str();
    Ok(Turn::Contended(format!("lock {name:?} is held by {holder}; try again later, or wait with -w")))
}

/// Whether the lock is held by a run that this process is part of. The environment alone does not tell: it may be that
/// of a run that ended long ago.
async fn is_held_around_us(store: &Open, lock: &Lock, task: &RunTask) -> Result<bool, Failure> {
    let same = |outer: &&Outer| outer.name == task.name.as_str() && outer.store == store.url;
    let around: Vec<u64> = task.outer.iter().filter(same).map(|outer| outer.token).collect();
    if around.is_empty() {
        return Ok(false);
    }
    match lock.inspect().await? {
        Inspection::Held { holder, .. } => Ok(holder.token.is_some_and(|token| around.contains(&token.get()))),
        _ => Ok(false),
    }
}
