//! `run --forever`: acquires the lock and runs the command again after a failure or a loss.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{acquire::Locks, report::RunOutcome};
use crate::exit::Exit;
use crate::failure::{Failure, FailureKind};
use crate::ui::{format, output};
use crate::{clock, plan::RunTask, signals::Signals, store::OpenStore};

/// Shortest pause before the next attempt, and longest pause without its random part.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Time that the lock was held after which a failure is not one of a series.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Runs the command under the lock until it has succeeded, or until a signal or a lasting error ends the run. The lock
/// is free during the pauses, so that another host can run the command.
pub async fn run(
    store: &OpenStore,
    task: &RunTask,
    locks: &Locks,
    signals: &mut Signals,
    outcome: &mut RunOutcome,
) -> Result<Exit, Failure> {
    let mut pauses = Pauses::new();
    loop {
        *outcome = RunOutcome::default();
        let result = super::attempt(store, task, locks, signals, outcome).await;
        let Some(problem) = problem(&result, outcome, signals) else { return result };
        let pause = with_jitter(pauses.next(outcome.held_for()));
        if !task.quiet {
            let pause = format::span(pause);
            let _pending = output::start_message(&format!("{problem}; another attempt follows in {pause}"));
        }
        tokio::select! {
            biased;
            signal = signals.next_to_end() => return Ok(Exit::Signal(signal as i32)),
            () = clock::sleep(pause) => {}
        }
    }
}

/// Returns the description of a problem that the next attempt may not have, or `None` if this was the last attempt.
fn problem(result: &Result<Exit, Failure>, outcome: &RunOutcome, signals: &Signals) -> Option<String> {
    let has_succeeded = outcome.completed && outcome.child_status.is_some_and(|status| status.success());
    if has_succeeded || is_ended_by_signal(outcome, signals) {
        return None;
    }
    match result {
        Ok(Exit::Child(status)) => Some(format!("the command failed ({status})")),
        Ok(Exit::Lost(message)) => Some(message.clone()),
        Err(Failure { kind: FailureKind::Unavailable, message }) => Some(message.clone()),
        _ => None,
    }
}

/// Returns whether a signal that this process has received ends the run. HUP and QUIT, which a command may handle in its
/// own way, do so only if they have ended it.
fn is_ended_by_signal(outcome: &RunOutcome, signals: &Signals) -> bool {
    let has_ended_command = |signal: Signal| {
        signals.has_received(signal) && outcome.child_status.and_then(|status| status.signal()) == Some(signal as i32)
    };
    [Signal::SIGTERM, Signal::SIGINT].into_iter().any(|signal| signals.has_received(signal))
        || [Signal::SIGHUP, Signal::SIGQUIT].into_iter().any(has_ended_command)
}

/// Lengths of the pauses: from 1 s to 1 min, doubling until the lock was held for a minute.
struct Pauses {
    next: Duration,
}

impl Pauses {
    fn new() -> Self {
        Self { next: PAUSE_MIN }
    }

    /// Returns the pause after an attempt in which the lock was held for this time.
    fn next(&mut self, held_for: Duration) -> Duration {
        let pause = if held_for >= STABLE_AFTER { PAUSE_MIN } else { self.next };
        self.next = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

/// Adds up to a quarter, so that the runs of many hosts do not act together after an outage of the store.
fn with_jitter(pause: Duration) -> Duration {
    pause + pause.mul_f64(f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX)) / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_begin_anew_after_a_stable_attempt() {
        let mut pauses = Pauses::new();
        let mut after = |held_for: u64| pauses.next(Duration::from_secs(held_for)).as_secs();
        assert_eq!([0, 0, 59, 0, 0, 0, 0, 0].map(&mut after), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!([60, 0, 3600, 0].map(after), [1, 2, 1, 2]);
    }

    #[test]
    fn jitter_adds_at_most_a_quarter() {
        let pauses: Vec<_> = (0..100).map(|_| with_jitter(PAUSE_MIN)).collect();
        assert!(pauses.iter().all(|pause| (PAUSE_MIN..=PAUSE_MIN * 5 / 4).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().max() > pauses.iter().min(), "{pauses:?}");
    }
}
