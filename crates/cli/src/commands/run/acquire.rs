//! Acquisition of the lock for `run`.

use std::time::Duration;

use dynamo_lock::{AcquireError, Guard, Inspection, Lock, TryAcquire};
use nix::sys::signal::Signal;

use crate::ui::{format, progress};
use crate::{env::EnclosingRun, failure::Failure, plan::RunTask, signals::Signals, store::OpenStore};

/// Result of an acquisition that did not fail.
pub enum Acquisition {
    Acquired(Guard),
    /// Another client holds the lock, as the message describes.
    Held(String),
    Interrupted(Signal),
}

/// Acquires the lock, and waits for it as long as the task allows. A signal ends the wait at once.
pub async fn acquire(
    store: &OpenStore,
    lock: &Lock,
    task: &RunTask,
    signals: &mut Signals,
) -> Result<Acquisition, Failure> {
    let acquisition = async {
        if is_held_by_enclosing_run(store, lock, task).await? {
            return Ok(Acquisition::Held(format!(
                "lock {:?} is held by a `dynamo-lock run` around this one, so waiting for it would never end; use \
                 another lock name for the inner run",
                task.name.as_str()
            )));
        }
        wait_for_lock(lock, task).await
    };
    // A candidate for years outlives signals that are meant for the command. Before the first run, the default action of
    // SIGTSTP stops this process.
    let signal = async { if task.forever { signals.next_to_end().await } else { signals.next().await } };
    tokio::select! {
        biased;
        signal = signal => Ok(Acquisition::Interrupted(signal)),
        result = acquisition => result,
        never = progress::report(store, lock, task.quiet) => match never {},
    }
}

async fn wait_for_lock(lock: &Lock, task: &RunTask) -> Result<Acquisition, Failure> {
    let mut options = lock.options();
    if let Some(max_hold) = task.max_hold {
        options = options.max_hold(max_hold);
    }
    let holder = match task.wait_limit {
        None => return Ok(Acquisition::Acquired(options.acquire().await?)),
        // The response that the lock is held contains the holder, so no further request is needed.
        Some(Duration::ZERO) => match options.try_acquire().await? {
            TryAcquire::Acquired(guard) => return Ok(Acquisition::Acquired(guard)),
            TryAcquire::Held(holder) => Some(holder),
        },
        Some(limit) => match options.acquire_within(limit).await {
            Ok(guard) => return Ok(Acquisition::Acquired(guard)),
            Err(AcquireError::TimedOut { holder, .. }) => holder,
            Err(error) => return Err(error.into()),
        },
    };
    let name = task.name.as_str();
    let Some(holder) = holder else {
        let message =
            format!("lock {name:?} was not acquired in time: its last holder had just released it; try again");
        return Ok(Acquisition::Held(message));
    };
    let holder = format::holder(&holder);
    Ok(Acquisition::Held(format!("lock {name:?} is held by {holder}; try again later, or wait with -w")))
}

/// Returns whether an enclosing run holds the lock.
///
/// The environment is not sufficient, because it may have been inherited from a run that has ended.
async fn is_held_by_enclosing_run(store: &OpenStore, lock: &Lock, task: &RunTask) -> Result<bool, Failure> {
    let has_same_lock = |run: &&EnclosingRun| run.name == task.name.as_str() && run.store == store.url;
    let tokens: Vec<u64> = task.enclosing_runs.iter().filter(has_same_lock).map(|run| run.token).collect();
    if tokens.is_empty() {
        return Ok(false);
    }
    let Inspection::Held { holder, .. } = lock.inspect().await? else { return Ok(false) };
    Ok(holder.token.is_some_and(|token| tokens.contains(&token.get())))
}
