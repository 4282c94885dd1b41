//! Acquisition of one lock for `run`, whatever kind its row is of.
//!
//! A name is one lock, as with flock(1): a run without `--shared` is the writer of a read/write lock, and `--shared`
//! makes a free plain lock a read/write lock.

use std::time::Duration;

use dynamo_lock::{AcquireError, Client, ConvertError, Holder, Kind, Lock, RowError, RwLock, TryPermit};

use super::acquire::{Acquisition, later, wait_for_lock};
use super::held::Held;
use crate::failure::{Failure, FailureKind};
use crate::{clock, plan::RunTask, plan::Sharing, ui::format, ui::output};

/// Waits for the lock of the task.
pub async fn wait(client: &Client, task: &RunTask) -> Result<Acquisition, Failure> {
    let name = task.name.as_str();
    let plain = client.lock(name).map_err(Failure::usage)?;
    let shared = client.rw_lock(name).map_err(Failure::usage)?;
    match task.sharing {
        Sharing::Alone => wait_alone(&plain, &shared, task).await,
        Sharing::Shared => wait_shared(&plain, &shared, task).await,
        Sharing::Slots(slots) => wait_for_slot(client, slots, task).await,
    }
}

/// Waits for the lock, or for the read/write lock of this name as its writer. The kind may change meanwhile.
async fn wait_alone(plain: &Lock, shared: &RwLock, task: &RunTask) -> Result<Acquisition, Failure> {
    let limit = Limit::of(task);
    loop {
        match wait_for_lock(plain.options(), task, limit.left()).await {
            Err(error) if found_kind(&error) == Some(Kind::RwLock) => {}
            result => return Ok(result?),
        }
        match wait_for_lock(shared.write_options(), task, limit.left()).await {
            Err(error) if found_kind(&error) == Some(Kind::Mutex) => {}
            result => return Ok(result?),
        }
    }
}

/// Waits for the lock beside others that share it. A plain lock is awaited, released, and made a read/write lock.
async fn wait_shared(plain: &Lock, shared: &RwLock, task: &RunTask) -> Result<Acquisition, Failure> {
    let limit = Limit::of(task);
    loop {
        match wait_for_lock(shared.read_options(), task, limit.left()).await {
            Err(error) if found_kind(&error) == Some(Kind::Mutex) => {}
            result => return Ok(result?),
        }
        match shared.convert().await {
            Ok(()) => continue,
            Err(ConvertError::Held) => {}
            Err(error) => return Err(conversion_failure(error)),
        }
        match wait_for_lock(plain.options(), task, limit.left()).await {
            // Between the release and the conversion, another client may acquire the lock, so this may repeat.
            Ok(Acquisition::Acquired(Held::One(guard))) => {
                if let Err(error) = guard.release().await {
                    output::message(&error.to_string());
                }
            }
            Err(error) if found_kind(&error) == Some(Kind::RwLock) => {}
            result => return Ok(result?),
        }
    }
}

async fn wait_for_slot(client: &Client, slots: u64, task: &RunTask) -> Result<Acquisition, Failure> {
    let mut options = client.semaphore(task.name.as_str(), slots).map_err(Failure::usage)?.options();
    if let Some(max_hold) = task.max_hold {
        options = options.max_hold(max_hold);
    }
    let acquired = |permit| Ok(Acquisition::Acquired(Held::Permit(permit)));
    let holder = match task.wait_limit {
        None => return acquired(options.acquire().await?),
        Some(Duration::ZERO) => match options.try_acquire().await? {
            TryPermit::Acquired(permit) => return acquired(permit),
            TryPermit::Full(holder) => Some(holder),
        },
        Some(limit) => match options.acquire_within(limit).await {
            Ok(permit) => return acquired(permit),
            Err(AcquireError::TimedOut { holder, .. }) => holder,
            Err(error) => return Err(error.into()),
        },
    };
    Ok(Acquisition::Held(describe_full(task, slots, holder.as_ref())))
}

/// Returns the failure for a kind of lock that was not changed.
pub fn conversion_failure(error: ConvertError) -> Failure {
    match error {
        ConvertError::Store(error) => error.into(),
        ConvertError::Row { .. } => Failure::configuration(error),
        error => Failure::new(FailureKind::Unavailable, error.to_string()),
    }
}

/// Returns the message that no slot was free.
fn describe_full(task: &RunTask, slots: u64, holder: Option<&Holder>) -> String {
    let name = task.name.as_str();
    match holder.map(format::holder) {
        Some(holder) => format!(
            "all slots of lock {name:?} are taken ({slots}), one of them by {holder}; {}",
            later(task.wait_limit)
        ),
        None => format!("no slot of lock {name:?} was acquired in time: others were faster; try again"),
    }
}

/// Returns the kind of the row, if the acquisition failed because that is another one than was requested.
fn found_kind(error: &AcquireError) -> Option<Kind> {
    match error {
        AcquireError::Row { error: RowError::OtherKind { found, .. }, .. } => Some(*found),
        _ => None,
    }
}

/// Time limit of a wait that consists of several parts.
struct Limit {
    began: dynamo_lock_protocol::ClockReading,
    limit: Option<Duration>,
}

impl Limit {
    fn of(task: &RunTask) -> Self {
        Self { began: clock::now(), limit: task.wait_limit }
    }

    /// Returns the time left, zero if there is no time to wait.
    fn left(&self) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(clock::now().waiter_elapsed_since(self.began)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A candidate with `--forever` tries again after a failure of the store, and not after a wrong configuration.
    #[test]
    fn conversion_without_answer_is_a_failure_of_the_store() {
        assert_eq!(conversion_failure(ConvertError::Unknown).kind, FailureKind::Unavailable);
        let name = dynamo_lock::LockName::new("a").expect("a name");
        let error = ConvertError::Row { name, error: RowError::NotALock };
        assert_eq!(conversion_failure(error).kind, FailureKind::Configuration);
    }
}
