//! The end of a run: keeping the lock for `--at-least`, releasing it, and the final message.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use dynamo_lock::{OnceGuard, RecordError, ReleaseError};
use dynamo_lock_protocol::ClockReading;

use super::{held::Held, report::RunOutcome, supervised, terminal::Terminal, watch::CommandEnd};
use crate::supervisor::ending::CLOCK_CHECK_INTERVAL;
use crate::ui::{format, output};
use crate::{clock, drill::Drill, exit, exit::Exit, failure::Failure, plan::RunTask, signals::Signals};

/// Shortest time of keeping the lock that is reported.
const REPORTED_KEEP_MIN: Duration = Duration::from_secs(1);

/// Finishes a run after its command has ended or could not be started: restores the terminal, keeps the lock if
/// requested, releases it, and returns the result.
pub async fn finish(
    task: &RunTask,
    held: Held,
    acquired_at: ClockReading,
    end: CommandEnd,
    terminal: Option<Terminal>,
    signals: &mut Signals,
    outcome: &mut RunOutcome,
) -> Result<Exit, Failure> {
    outcome.last_error = held.last_error().map(|error| error.to_string());
    match &end {
        CommandEnd::Ended { status, forced } => {
            outcome.child_status = Some(*status);
            outcome.completed = !forced;
            held.set_exit_code(exit::code_of(*status));
            if let Some(terminal) = terminal.filter(|_| *forced || status.signal().is_some()) {
                terminal.restore();
            }
            if !forced {
                keep_at_least(&held, acquired_at, task, signals).await;
            }
        }
        CommandEnd::Unkillable(names) => {
            // The lock is not released while the processes may be running. It is free when its lease has expired.
            std::mem::forget(held);
            let message = format!("cannot end processes that the command started: {names}; end them");
            return Err(Failure::internal(message));
        }
        CommandEnd::NotStarted { .. } | CommandEnd::TooLate | CommandEnd::SupervisorDied => {}
    }
    let held = match (held, &end) {
        (Held::Once(guard), CommandEnd::Ended { status, forced: false }) if status.success() => {
            return Ok(record(guard, *status, signals, outcome).await);
        }
        (held, _) => held,
    };
    // A command that was ended after nearly `max_hold` was ended for that reason.
    let nearly_held = clock::now().holder_elapsed_since(acquired_at) + task.grace + CLOCK_CHECK_INTERVAL;
    let at_max_hold = task.max_hold.is_some_and(|max_hold| nearly_held >= max_hold);
    let lost = release(held, task, signals, outcome).await;
    let result = result(task, end, lost, outcome.rehearsed, at_max_hold, outcome.last_error.as_deref());
    match (result, outcome.rehearsed) {
        (Ok(Exit::Lost(message)), Some(drill)) => Ok(Exit::Lost(format!("drill {drill}: {message}"))),
        (result, _) => result,
    }
}

/// Keeps the lock until it has been held for the time of `--at-least`. A signal or the loss of the lock ends the wait.
async fn keep_at_least(held: &Held, acquired_at: ClockReading, task: &RunTask, signals: &mut Signals) {
    // The smaller elapsed time of the clocks is used, so that the lock is not kept for less than requested.
    let held_for = clock::now().waiter_elapsed_since(acquired_at);
    let Some(rest) = task.at_least.and_then(|at_least| at_least.checked_sub(held_for)) else { return };
    if rest > REPORTED_KEEP_MIN && !task.quiet {
        let rest = format::span(rest);
        let _pending =
            output::start_message(&format!("the command has ended; the lock is kept for another {rest} (--at-least)"));
    }
    tokio::select! {
        biased;
        _ = signals.next_to_end() => {}
        _ = held.lost() => {}
        () = clock::sleep(rest) => {}
    }
}

/// Records the success of a command, and returns the result of the run.
async fn record(guard: OnceGuard, status: ExitStatus, signals: &mut Signals, outcome: &mut RunOutcome) -> Exit {
    let recorded = tokio::select! {
        biased;
        recorded = guard.succeed() => recorded,
        () = two_signals(signals) => Err(RecordError::Unknown),
    };
    outcome.released(std::slice::from_ref(&recorded));
    match recorded {
        Ok(()) => {
            outcome.recorded = Some(true);
            Exit::Child(status)
        }
        Err(error) => {
            outcome.recorded = Some(false).filter(|_| !matches!(error, RecordError::Unknown));
            Exit::NotRecorded(format!(
                "the command succeeded, but its success was not recorded, so it may run again: {error}"
            ))
        }
    }
}

/// Waits for two signals. The first one may be the signal that has ended the command.
async fn two_signals(signals: &mut Signals) {
    signals.next_to_end().await;
    signals.next_to_end().await;
}

/// Releases all locks. Returns the message about the loss if one of them had been lost before.
///
/// Two signals end the wait for the response.
pub async fn release(held: Held, task: &RunTask, signals: &mut Signals, outcome: &mut RunOutcome) -> Option<String> {
    let released = tokio::select! {
        biased;
        released = held.release() => released,
        () = two_signals(signals) => vec![Err(ReleaseError::Unknown); task.names().len()],
    };
    outcome.released(&released);
    let mut lost = None;
    for (name, result) in task.names().iter().zip(released) {
        match result {
            Ok(()) => {}
            Err(ReleaseError::Lost(loss)) => _ = lost.get_or_insert_with(|| loss.to_string()),
            // Not a failure of the run, because the exit code of the command is more important.
            Err(error) if task.all.is_some() => output::message(&format!("lock {:?}: {error}", name.as_str())),
            Err(error) => output::message(&error.to_string()),
        }
    }
    lost
}

/// Returns the result of the run. `lost` is the message about the loss of the lock, if it was lost, and `last_error`
/// the error of the last renewal. `drill` is the loss that was rehearsed.
fn result(
    task: &RunTask,
    end: CommandEnd,
    lost: Option<String>,
    drill: Option<Drill>,
    at_max_hold: bool,
    last_error: Option<&str>,
) -> Result<Exit, Failure> {
    let locks = task.phrase();
    let message = match (end, lost) {
        (CommandEnd::NotStarted { errno }, _) => return Err(supervised::not_started(task, errno)),
        (CommandEnd::Ended { status, forced: false }, None) => match drill {
            // The release after a revocation would have failed.
            Some(Drill::Revoked(_)) => {
                format!("{locks} counted as revoked; the command had ended by itself ({status})")
            }
            _ => return Ok(Exit::Child(status)),
        },
        (CommandEnd::Ended { status, forced: false }, Some(lost)) => {
            format!("{lost}; the command had ended by itself ({status})")
        }
        (CommandEnd::TooLate, lost) => {
            let lost = lost.unwrap_or_else(|| format!("{locks} was lost"));
            format!("{lost}; the command was not started")
        }
        (_, Some(lost)) => format!("{lost}; the command was ended"),
        (CommandEnd::Ended { .. }, None) if matches!(drill, Some(Drill::Lost(_))) => {
            format!("{locks} counted as about to be lost; the command was ended")
        }
        (CommandEnd::Ended { .. }, None) if matches!(drill, Some(Drill::Revoked(_))) => {
            format!("{locks} counted as revoked; the command was ended")
        }
        (CommandEnd::Ended { .. }, None) if at_max_hold => {
            format!("{locks} was held for nearly as long as --max-hold allows; the command was ended")
        }
        (CommandEnd::Ended { .. }, None) => {
            let error = last_error.map(|error| format!(" (last error of the store: {error})")).unwrap_or_default();
            format!("{locks} was about to be lost, because no renewal succeeded in time{error}; the command was ended")
        }
        (CommandEnd::SupervisorDied | CommandEnd::Unkillable(_), None) => {
            "the supervisor of the command was killed; the command was ended".to_owned()
        }
    };
    Ok(Exit::Lost(message))
}
