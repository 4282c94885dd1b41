//! `run`: the lock, the child, and what becomes of one if the other ends.

mod child;
mod parent_death;
mod signals;
mod turn;
mod watch;

use std::time::Duration;

use dynamo_lock::{Client, Clock, Guard, ReleaseError, SystemClock};
use nix::sys::signal::Signal;

use self::child::Child;
use self::signals::Signals;
use self::turn::Turn;
use crate::at_least;
use crate::exit::{End, Failure, Kind};
use crate::plan::RunTask;
use crate::print;
use crate::report::Story;
use crate::store::Open;

/// How long an abandoned wait may take to clean up behind itself. What is not done by then is over within its lease.
const CLEAN_UP: Duration = Duration::from_secs(1);

/// Runs a command under a lock.
pub async fn run(store: &Open, task: &RunTask, story: &mut Story) -> Result<End, Failure> {
    let client = store.client().owner(&task.owner).lease(task.lease).build()?;
    let lock = client.lock(task.name.as_str()).map_err(Failure::usage)?;
    parent_death::hear_of_children();
    let mut signals = Signals::listen()?;
    match turn::take(store, &lock, task, &mut signals).await {
        Ok(Turn::Ours(guard)) => work(store, task, guard, &mut signals, story).await,
        Ok(Turn::Contended(message)) => {
            clean_up(&client, &mut signals).await;
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

async fn work(
    store: &Open,
    task: &RunTask,
    guard: Guard,
    signals: &mut Signals,
    story: &mut Story,
) -> Result<End, Failure> {
    let taken = SystemClock.now();
    story.token = Some(guard.token());
    // A lock that took long to get is renewed before anything begins that would be ended at once.
    if guard.time_left() <= watch::grace(task) * 2
        && let Err(lost) = guard.renew().await
    {
        return Ok(End::Lost(format!("{lost}; the command was not begun")));
    }
    let begun = store.child_liveness().and_then(|life| {
        // Whoever took the lock before that could be seen has been noticed by now.
        match guard.is_live() {
            true => Child::spawn(store, task, guard.token(), life).map(Some),
            false => Ok(None),
        }
    });
    let mut child = match begun {
        Ok(Some(child)) => child,
        Ok(None) => {
            let why = release(guard, signals, story).await.unwrap_or_else(|| "the lock was lost".to_owned());
            return Ok(End::Lost(format!("{why}; the command was not begun")));
        }
        Err(failure) => {
            release(guard, signals, story).await;
            return Err(failure);
        }
    };
    let watched = watch::watch(&mut child, &guard, signals, task).await;
    let watched = match watched {
        Ok(watched) => watched,
        Err(error) => {
            // Whether the command has ended is not known: only the lease may free the lock.
            child.send(Signal::SIGKILL);
            std::mem::forget(guard);
            return Err(Failure::new(Kind::Internal, format!("cannot wait for the command: {error}; look for it")));
        }
    };
    story.child = Some(watched.status);
    if !watched.stopped {
        at_least::stay(&guard, taken, task.at_least, signals.next()).await;
    }
    let lost = release(guard, signals, story).await;
    let name = task.name.as_str();
    Ok(match (lost, watched.stopped, task.max_hold) {
        (Some(why), true, _) => End::Lost(format!("{why}; the command was ended")),
        (Some(why), false, _) => End::Lost(format!("{why}; the command had ended by itself ({})", watched.status)),
        (None, true, None) => {
            End::Lost(format!("lock {name:?} was about to be lost, no renewal landed in time; the command was ended"))
        }
        (None, true, Some(_)) => {
            End::Lost(format!("lock {name:?} was held for nearly as long as --max-hold allows; the command was ended"))
        }
        (None, false, _) => End::Child(watched.status),
    })
}

/// Gives the lock up; why it had been lost before, if it had. Two more signals end the wait for the answer: one may be
/// left from the child's end.
async fn release(guard: Guard, signals: &mut Signals, story: &mut Story) -> Option<String> {
    let impatience = async {
        signals.next().await;
        signals.next().await;
    };
    let released = tokio::select! {
        biased;
        released = guard.release() => released,
        () = impatience => Err(ReleaseError::Unknown),
    };
    story.released = released.is_ok();
    match released {
        Ok(()) => None,
        Err(ReleaseError::Lost(lost)) => Some(lost.to_string()),
        // The command's own code still says what matters.
        Err(error) => {
            print::line(&error.to_string());
            None
        }
    }
}
