//! The file of `--report`: the result of a run as one line of JSON.
//!
//! The exit code alone is ambiguous, because the command may return any of this program's own codes.

use std::{os::unix::process::ExitStatusExt, path::Path, process::ExitStatus, time::Duration};

use dynamo_lock::{FencingToken, LockName};
use dynamo_lock_protocol::ClockReading;
use serde_json::json;

use crate::{clock, drill::Drill, exit, exit::Exit, failure::Failure, output_file::OutputFile, ui::output};

/// Facts about a run, collected while it proceeds.
#[derive(Debug)]
pub struct RunOutcome {
    /// Time at which the run began.
    started_at: ClockReading,
    /// The locks, if they were acquired.
    locks: Vec<HeldLock>,
    /// Time of the acquisition.
    pub acquired_at: Option<ClockReading>,
    /// Exit status of the command, if it was run.
    pub child_status: Option<ExitStatus>,
    /// The command has ended by itself, and not because of the lock.
    pub completed: bool,
    /// Whether the success of the work is recorded, with `once`. `None` if that is not known.
    pub recorded: Option<bool>,
    /// Loss that was to be rehearsed.
    pub drill: Option<Drill>,
    /// Loss that was rehearsed.
    pub rehearsed: Option<Drill>,
    /// Error of the last renewal if it failed.
    pub last_error: Option<String>,
}

/// A lock that was acquired.
#[derive(Debug)]
struct HeldLock {
    name: LockName,
    /// Its token, `None` for a slot.
    token: Option<FencingToken>,
    /// The store has confirmed its release.
    released: bool,
}

impl Default for RunOutcome {
    /// Returns the facts about a run that begins now.
    fn default() -> Self {
        Self {
            started_at: clock::now(),
            locks: Vec::new(),
            acquired_at: None,
            child_status: None,
            completed: false,
            recorded: None,
            drill: None,
            rehearsed: None,
            last_error: None,
        }
    }
}

impl RunOutcome {
    /// Stores the locks that were acquired.
    pub fn acquired(&mut self, locks: Vec<(LockName, Option<FencingToken>)>) {
        self.locks = locks.into_iter().map(|(name, token)| HeldLock { name, token, released: false }).collect();
    }

    /// Stores the results of the releases, in the order of the locks.
    pub fn released<E>(&mut self, results: &[Result<(), E>]) {
        self.locks.iter_mut().zip(results).for_each(|(lock, result)| lock.released = result.is_ok());
    }

    /// Returns the time at which the run began, in milliseconds since 1970.
    pub fn started_ms(&self) -> u64 {
        self.started_at.wall_ms
    }

    /// Returns the time from the begin of the run to the acquisition, or to now if the lock was not acquired.
    pub fn waited_for(&self) -> Duration {
        self.acquired_at.unwrap_or_else(clock::now).waiter_elapsed_since(self.started_at)
    }

    /// Returns the time since the acquisition, zero if the lock was not acquired.
    pub fn held_for(&self) -> Duration {
        self.acquired_at.map_or(Duration::ZERO, |at| clock::now().waiter_elapsed_since(at))
    }
}

/// An open report. It is opened before the run begins, so that an invalid path is not reported only after hours.
#[derive(Debug)]
pub struct Report {
    /// Names of the locks, as given by the user.
    names: Vec<String>,
    file: OutputFile,
}

impl Report {
    /// Opens the report for the locks with these names.
    pub fn open((names, path): (Vec<String>, &Path)) -> Result<Self, Failure> {
        let file = OutputFile::open(path).map_err(|error| {
            let message = format!("cannot write the report {path:?}: {error}; name a file in a writable directory");
            Failure::configuration(message)
        })?;
        Ok(Self { names, file })
    }

    /// Writes the report. A failure is printed, and does not change the exit code of the run.
    pub fn write(self, outcome: &RunOutcome, result: &Result<Exit, Failure>) {
        if let Err(error) = self.file.write(&line(&self.names, outcome, result)) {
            output::message(&format!("cannot write the report: {error}"));
        }
    }
}

/// Returns the report. It always has the same keys; unknown values are `null`.
fn line(names: &[String], outcome: &RunOutcome, result: &Result<Exit, Failure>) -> String {
    let (code, message) = exit::code_and_message(result);
    let lost = matches!(result, Ok(Exit::Lost(_)));
    let is_acquired = !outcome.locks.is_empty();
    let not_acquired = |name: &String| json!({ "name": name, "token": null, "released": false });
    let token = |lock: &HeldLock| lock.token.map(FencingToken::get);
    let held = |lock: &HeldLock| json!({ "name": lock.name.as_str(), "token": token(lock), "released": lock.released });
    let locks: Vec<_> = match is_acquired {
        true => outcome.locks.iter().map(held).collect(),
        false => names.iter().map(not_acquired).collect(),
    };
    let ms = |length: Duration| length.as_millis() as u64;
    let object = json!({
        "name": names.first(),
        "acquired": is_acquired,
        "token": if let [lock] = &outcome.locks[..] { token(lock) } else { None },
        "locks": locks,
        "lost": lost,
        "childCode": outcome.child_status.and_then(|status| status.code()),
        "childSignal": outcome.child_status.and_then(|status| status.signal()),
        "released": is_acquired && outcome.locks.iter().all(|lock| lock.released),
        "recorded": outcome.recorded,
        "startedAt": outcome.started_ms(),
        "waitedMs": ms(outcome.waited_for()),
        "heldMs": outcome.acquired_at.map(|_| ms(outcome.held_for())),
        "drill": outcome.drill.map(|drill| drill.to_string()),
        "code": code,
        "message": message,
        "lastError": outcome.last_error.as_deref().filter(|_| lost),
    });
    output::json_line(&object) + "\n"
}
