//! `run`: the lock, the command, and what becomes of one if the other ends.

mod signals;
mod supervised;
mod terminal;
mod turn;
mod watch;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::clock::{ClockReading, SystemClock};
use dynamo_lock::{Client, Guard, ReleaseError};
use nix::sys::signal::Signal;

use self::signals::Signals;
pub use self::signals::TOLD as SIGNALS;
use self::supervised::Supervised;
use self::terminal::Terminal;
use self::turn::Turn;
use self::watch::Watched;
use crate::at_least;
use crate::exit::{End, Failure, Kind};
use crate::plan::RunTask;
use crate::print;
use crate::report::Story;
use crate::store::Open;
use crate::supervisor;

/// How long an abandoned wait may take to clean up behind itself. What is not done by then is over within its lease.
const CLEAN_UP: Duration = Duration::from_secs(1);

/// Runs a command under a lock.
pub async fn run(store: &Open, task: &RunTask, story: &mut Story) -> Result<End, Failure> {
    if !supervisor::are_told_by_our_numbers() {
        let what = "/proc is that of another PID namespace, so what the command starts could not be ended: mount our own \
                    there, as `unshare --mount-proc` does";
        return Err(Failure::new(Kind::Configuration, what));
    }
    let client = store.client().owner(&task.owner).lease(task.lease).build()?;
    let lock = client.lock(task.name.as_str()).map_err(Failure::usage)?;
    supervisor::hear_of_children();
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
    if guard.time_left() <= task.grace * 2
        && let Err(lost) = guard.renew().await
    {
        return Ok(End::Lost(format!("{lost}; the command was not begun")));
    }
    // From the terminal it would stop us alone, and the command would run on without renewals.
    let listening = signals.add(Signal::SIGTSTP);
    let terminal = Terminal::remember();
    let begun = listening.and_then(|()| store.child_liveness()).and_then(|life| {
        // Whoever took the lock before that could be seen has been noticed by now.
        match guard.is_valid() {
            true => Supervised::spawn(store, task, guard.token(), life).map(Some),
            false => Ok(None),
        }
    });
    let watched = match begun {
        Ok(Some(mut supervised)) => watch::watch(&mut supervised, &guard, signals, task).await,
        Ok(None) => Watched::Late,
        Err(failure) => {
            release(guard, signals, story).await;
            return Err(failure);
        }
    };
    if let Watched::Ended { status, forced } = watched {
        story.child = Some(status);
        if let Some(terminal) = terminal.filter(|_| forced || status.signal().is_some()) {
            terminal.restore();
        }
        if !forced {
            at_least::stay(&guard, taken, task, signals.next_to_end()).await;
        }
    }
    if let Watched::Left(names) = watched {
        // Only the lease may free the lock.
        std::mem::forget(guard);
        let names = names.join(", ");
        return Err(Failure::new(Kind::Internal, format!("cannot end what the command has started: {names}; end it")));
    }
    let held_long = task.max_hold.is_some_and(|most| is_nearly(most, taken, task));
    let lost = release(guard, signals, story).await;
    let name = task.name.as_str();
    Ok(match (watched, lost) {
        (Watched::NotBegun { errno }, _) => return Err(supervised::not_begun(task, errno)),
        (Watched::Ended { status, forced: false }, None) => End::Child(status),
        (Watched::Ended { status, forced: false }, Some(why)) => {
            End::Lost(format!("{why}; the command had ended by itself ({status})"))
        }
        (Watched::Late, why) => {
            End::Lost(format!("{}; the command was not begun", why.unwrap_or_else(|| "the lock was lost".to_owned())))
        }
        (_, Some(why)) => End::Lost(format!("{why}; the command was ended")),
        (Watched::Ended { .. }, None) if held_long => {
            End::Lost(format!("lock {name:?} was held for nearly as long as --max-hold allows; the command was ended"))
        }
        (Watched::Ended { .. }, None) => {
            End::Lost(format!("lock {name:?} was about to be lost, no renewal landed in time; the command was ended"))
        }
        (Watched::Unsupervised | Watched::Left(_), None) => {
            End::Lost("the supervisor of the command was killed; the command was ended".to_owned())
        }
    })
}

/// Whether the lock has been held since it was `taken` for so long that the command had to be ended.
fn is_nearly(most: Duration, taken: ClockReading, task: &RunTask) -> bool {
    SystemClock.now().holder_elapsed_since(taken) + task.grace + supervisor::LOOK >= most
}

/// Gives the lock up; why it had been lost before, if it had. Two more signals end the wait for the answer: one may be
/// left from the child's end.
async fn release(guard: Guard, signals: &mut Signals, story: &mut Story) -> Option<String> {
    let impatience = async {
        signals.next_to_end().await;
        signals.next_to_end().await;
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
