//! `run`: the lock, the child, and what becomes of one if the other ends.

mod child;
mod parent_death;
mod signals;
mod turn;
mod watch;

use std::time::Duration;

use dynamo_lock::{Client, Guard, ReleaseError, SystemClock};
use dynamo_lock::{Clock, Lock};

use self::child::Child;
use self::signals::Signals;
use self::turn::Turn;
use crate::exit::{End, Failure, Kind};
use crate::plan::RunTask;
use crate::print;
use crate::store::Open;

/// How long an abandoned wait may take to clean up behind itself. What is not done by then is over within its lease.
const CLEAN_UP: Duration = Duration::from_secs(1);

/// Runs a command under a lock.
pub async fn run(store: &Open, task: &RunTask) -> Result<End, Failure> {
    let mut builder = store.client().owner(&task.owner);
    if let Some(lease) = task.lease {
        builder = builder.lease(lease);
    }
    let client = builder.build()?;
    let lock = client.lock(task.name.as_str()).map_err(Failure::usage)?;
    let mut signals = Signals::listen()?;
    let turn = turn::take(store, &lock, task, &mut signals).await;
    match turn {
        Ok(Turn::Ours(guard)) => work(store, task, guard, &mut signals).await,
        Ok(Turn::Contended(message)) => {
            let message = Some(message).filter(|_| !task.quiet);
            Ok(End::NotAcquired { code: task.conflict, message })
        }
        Ok(Turn::Interrupted(signal)) => {
            clean_up(&client, &mut signals).await;
            Ok(End::Signal(signal as i32))
        }
        Err(failure) => {
            clean_up(&client, &mut signals).await;
            Err(failure)
        }
    }
}

/// Waits for what an abandoned acquire gives back; a second signal ends this too.
async fn clean_up(client: &Client, signals: &mut Signals) {
    tokio::select! {
        biased;
        _ = signals.next() => {}
        () = client.close() => {}
        () = SystemClock.sleep(CLEAN_UP) => {}
    }
}

async fn work(store: &Open, task: &RunTask, guard: Guard, signals: &mut Signals) -> Result<End, Failure> {
    let mut child = match Child::spawn(store, task, guard.token()) {
        Ok(child) => child,
        Err(failure) => {
            release(guard).await;
            return Err(failure);
        }
    };
    let watched = watch::watch(&mut child, &guard, signals, task).await;
    let watched = watched
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot wait for the command: {error}; look for it")))?;
    let name = task.name.as_str();
    // Computed now: the loss may be unnoticed yet.
    let was_live = guard.is_live();
    let lost = release(guard).await;
    if watched.stopped {
        let why = lost.unwrap_or_else(|| format!("lock {name:?} was about to be lost: its renewals stopped"));
        return Ok(End::Lost(format!("{why}; the command was ended")));
    }
    match lost {
        Some(why) => Ok(End::Lost(format!("{why}; the command ended by itself ({})", watched.status))),
        None if !was_live => Ok(End::Lost(format!("lock {name:?} was lost; the command ended by itself"))),
        None => Ok(End::Child(watched.status)),
    }
}

/// Gives the lock up; why it had been lost before, if it had.
async fn release(guard: Guard) -> Option<String> {
    match guard.release().await {
        Ok(()) => None,
        Err(ReleaseError::Lost(lost)) => Some(lost.to_string()),
        // The command's own code still says what matters.
        Err(error) => {
            print::line(&error.to_string());
            None
        }
    }
}

/// What `show` would say of who holds the lock; `None` if nobody does, or nothing can be known.
async fn who(lock: &Lock) -> Option<String> {
    match lock.inspect().await {
        Ok(dynamo_lock::Inspection::Held { by, .. }) => Some(print::holder(by.owner.as_deref(), by.since_ms)),
        _ => None,
    }
}
