//! The checks of `doctor` and their results.

use std::fmt::Display;

use dynamo_lock::StoreError;

use crate::failure::{Failure, FailureKind};

/// Result of one check.
#[derive(Debug)]
pub struct Check {
    /// Name of the check, which is the same in each report of this kind of store.
    pub name: &'static str,
    pub state: State,
    /// Facts, or the problem and its fix, or the reason why the check was not possible.
    pub message: String,
}

/// State of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Ok,
    /// Locks work, but not in every respect.
    Warning,
    /// Locks do not work. Contains the kind of the failure, which is the exit code.
    Fault(FailureKind),
    /// The check was not possible.
    Untested,
}

impl State {
    /// Returns the name of the state.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault(_) => "fault",
            Self::Untested => "untested",
        }
    }
}

/// Checks in the order in which they were made.
#[derive(Debug, Default)]
pub struct Checks(pub Vec<Check>);

impl Checks {
    fn add(&mut self, name: &'static str, state: State, message: impl Display) {
        self.0.push(Check { name, state, message: message.to_string() });
    }

    pub fn ok(&mut self, name: &'static str, facts: impl Display) {
        self.add(name, State::Ok, facts);
    }

    pub fn warning(&mut self, name: &'static str, problem: impl Display) {
        self.add(name, State::Warning, problem);
    }

    /// Adds a fault of the configuration.
    pub fn fault(&mut self, name: &'static str, problem: impl Display) {
        self.add(name, State::Fault(FailureKind::Configuration), problem);
    }

    pub fn untested(&mut self, name: &'static str, reason: impl Display) {
        self.add(name, State::Untested, reason);
    }

    /// Adds a fault with the exit code and the fix that other commands have for this error.
    pub fn error(&mut self, name: &'static str, error: StoreError) {
        let Failure { kind, message } = error.into();
        self.add(name, State::Fault(kind), message);
    }

    /// Returns the most severe state, which is that of the first fault if there is one.
    pub fn state(&self) -> State {
        let fault = self.0.iter().map(|check| check.state).find(|state| matches!(state, State::Fault(_)));
        let is_warned = self.0.iter().any(|check| check.state == State::Warning);
        fault.unwrap_or(if is_warned { State::Warning } else { State::Ok })
    }
}
