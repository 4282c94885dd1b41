//! `run` and `once`: run a command while holding a lock, and release the lock after the command has ended.

mod acquire;
mod awaited;
mod finish;
mod forever;
mod held;
pub mod metrics_file;
mod rehearsal;
pub mod report;
mod sharing;
mod supervised;
mod terminal;
mod watch;

use std::time::Duration;

use nix::sys::signal::Signal;

pub use self::sharing::conversion_failure;
use self::{
    acquire::Acquisition, acquire::Locks, held::Held, rehearsal::Rehearsal, report::RunOutcome,
    supervised::SupervisedCommand, terminal::Terminal,
};
use crate::{
    clock, exit::Exit, failure::Failure, plan::RunTask, signals::Signals, store::OpenStore, supervisor,
    supervisor::ready_file, sys, ui::output,
};

/// Maximum time for cleaning up after an acquisition that was given up. A lock that is not released by then is free
/// when its lease has expired.
const CLEAN_UP_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time to wait for standard error to accept a line of `--verbose`. It is a small part of the shortest lease.
const VERBOSE_TIMEOUT: Duration = Duration::from_millis(250);

/// Runs the command under the lock. Facts for the report are stored in `outcome`.
pub async fn run(store: &OpenStore, task: &RunTask, outcome: &mut RunOutcome) -> Result<Exit, Failure> {
    if !supervisor::process::proc_matches_namespace() {
        return Err(Failure::configuration(
            "cannot track the processes of the command: /proc belongs to another PID namespace; mount /proc for this \
             namespace, for example with `unshare --mount-proc`",
        ));
    }
    if let Some(path) = &task.ready_file {
        ready_file::prepare(path).map_err(|error| {
            let message =
                format!("cannot use the ready file {path:?}: {error}; name a new file in a writable directory");
            Failure::configuration(message)
        })?;
    }
    let locks = Locks::new(store, task)?;
    sys::reset_sigchld();
    let mut signals = Signals::listen()?;
    match task.forever {
        true => forever::run(store, task, &locks, &mut signals, outcome).await,
        false => attempt(store, task, &locks, &mut signals, outcome).await,
    }
}

/// Acquires the locks once, and runs the command under them.
async fn attempt(
    store: &OpenStore,
    task: &RunTask,
    locks: &Locks,
    signals: &mut Signals,
    outcome: &mut RunOutcome,
) -> Result<Exit, Failure> {
    let began = clock::now();
    outcome.drill = locks.rehearsal.as_ref().and_then(Rehearsal::drill);
    let result = match acquire::acquire(store, locks, task, signals).await {
        Ok(Acquisition::Acquired(held)) => {
            if task.verbose {
                print_waited(task, clock::now().waiter_elapsed_since(began));
            }
            return run_locked(store, task, locks, held, signals, outcome).await;
        }
        Ok(Acquisition::Held(message)) => {
            Ok(Exit::NotAcquired { code: task.conflict_code, message: Some(message).filter(|_| !task.quiet) })
        }
        Ok(Acquisition::Done(message)) => {
            outcome.recorded = Some(true);
            Ok(Exit::Skipped(Some(message).filter(|_| !task.quiet)))
        }
        Ok(Acquisition::Interrupted(signal)) => Ok(Exit::Signal(signal as i32)),
        Err(failure) => Err(failure),
    };
    // The client releases what a cancelled acquisition may still acquire. A signal ends the wait for that.
    tokio::select! {
        biased;
        _ = signals.next() => {}
        () = locks.client.close() => {}
        () = clock::sleep(CLEAN_UP_TIMEOUT) => {}
    }
    result
}

/// Prints how long the acquisition took, as flock(1) does with `--verbose`.
fn print_waited(task: &RunTask, waited: Duration) {
    let locks = if task.all.is_some() { "all locks".to_owned() } else { task.phrase() };
    let message = output::start_message(&format!("acquiring {locks} took {:.3} s", waited.as_secs_f64()));
    // The line precedes the output of the command, unless standard error is blocked.
    message.wait(VERBOSE_TIMEOUT);
}

/// Runs the command under the locks that are held, and releases them.
async fn run_locked(
    store: &OpenStore,
    task: &RunTask,
    locks: &Locks,
    held: Held,
    signals: &mut Signals,
    outcome: &mut RunOutcome,
) -> Result<Exit, Failure> {
    let acquired_at = clock::now();
    outcome.acquired_at = Some(acquired_at);
    outcome.acquired(held.tokens());
    outcome.recorded = task.once.map(|_| false);
    // If the acquisition took a large part of the lease, the command would have to be warned or ended soon after its
    // start.
    let soon = task.warning.map_or(Duration::ZERO, |warning| warning.margin);
    if held.time_left() <= soon.max(task.grace * 2)
        && let Err(lost) = held.renew().await
    {
        outcome.last_error = lost.last_error.as_ref().map(ToString::to_string);
        return Ok(Exit::Lost(format!("{lost}; the command was not started")));
    }
    let rehearsal = locks.rehearsal.as_ref();
    rehearsal.inspect(|rehearsal| rehearsal.begin(acquired_at, task));
    // Without a handler, Ctrl-Z would stop only this process, and the command would run without renewals.
    let listening = signals.add(Signal::SIGTSTP);
    let terminal = Terminal::save();
    let end = match listening.and_then(|()| start(store, task, &held)) {
        Ok(Some(mut command)) => watch::watch(&mut command, &held, signals, task, rehearsal).await,
        Ok(None) => watch::CommandEnd::TooLate,
        Err(failure) => {
            rehearsal.map(Rehearsal::end);
            finish::release(held, task, signals, outcome).await;
            return Err(failure);
        }
    };
    outcome.rehearsed = rehearsal.and_then(Rehearsal::end);
    finish::finish(task, held, acquired_at, end, terminal, signals, outcome).await
}

/// Starts the command. Returns `None` if the lock has been lost.
fn start(store: &OpenStore, task: &RunTask, held: &Held) -> Result<Option<SupervisedCommand>, Failure> {
    let liveness = store.child_liveness()?;
    // The check comes after the descriptor was opened. A client that took over the lock before it could see the
    // descriptor is detected here.
    if !held.is_valid() {
        return Ok(None);
    }
    let command = SupervisedCommand::spawn(store, task, held, liveness);
    command
        .map(Some)
        .map_err(|error| Failure::internal(format!("cannot start a process: {error}; try again with less load")))
}
