use std::fmt;

use super::Coverage;

/// One check and how it went.
#[derive(Clone, Debug)]
pub struct Check {
    /// What must hold, as a sentence.
    pub name: &'static str,
    /// Nothing, or what was found instead.
    pub outcome: Result<(), String>,
}

/// How a store did. It prints as one line a check.
#[derive(Clone, Debug)]
#[must_use = "a report tells nobody unless it is looked at"]
pub struct Report {
    seed: u64,
    checks: Vec<Check>,
    pub(super) coverage: Coverage,
}

impl Report {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, checks: Vec::new(), coverage: Coverage::default() }
    }

    pub(super) fn add(&mut self, name: &'static str, outcome: Result<(), String>) {
        self.checks.push(Check { name, outcome });
    }

    /// All checks, in the order in which they ran.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// How often each kind of op met each answer.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.outcome.is_ok())
    }

    /// The names of the checks that did not pass.
    pub fn failed(&self) -> Vec<&'static str> {
        self.checks.iter().filter(|check| check.outcome.is_err()).map(|check| check.name).collect()
    }

    /// For tests.
    ///
    /// # Panics
    ///
    /// If a check did not pass; the message is the whole report.
    #[track_caller]
    pub fn assert_passed(&self) {
        assert!(self.passed(), "the store does not conform\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "conformance, seed {}", self.seed)?;
        for check in &self.checks {
            match &check.outcome {
                Ok(()) => writeln!(f, "  ok      {}", check.name)?,
                Err(why) => writeln!(f, "  FAILED  {}: {why}", check.name)?,
            }
        }
        Ok(())
    }
}
