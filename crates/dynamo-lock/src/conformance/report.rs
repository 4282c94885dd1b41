use std::fmt;

use super::coverage::Coverage;

/// Result of [`run`](super::run). It prints as one line per check.
#[derive(Clone, Debug)]
#[must_use = "a failed check is only visible in the report"]
pub struct Report {
    seed: u64,
    checks: Vec<Check>,
    pub(super) coverage: Coverage,
}

#[derive(Clone, Debug)]
struct Check {
    /// Requirement on the store, as a sentence.
    name: &'static str,
    outcome: Result<(), String>,
}

impl Report {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, checks: Vec::new(), coverage: Coverage::default() }
    }

    pub(super) fn add(&mut self, name: &'static str, outcome: Result<(), String>) {
        self.checks.push(Check { name, outcome });
    }

    /// Returns whether every check has passed.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// Returns the failed checks in the order in which they ran: the requirement, and the deviation of the store.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.checks.iter().filter_map(|check| Some((check.name, check.outcome.as_ref().err()?.as_str())))
    }

    /// Returns the requirements of the failed checks.
    pub fn failed(&self) -> Vec<&'static str> {
        self.failures().map(|(check, _)| check).collect()
    }

    /// Asserts that every check has passed, for tests.
    ///
    /// # Panics
    ///
    /// If a check has failed. The message is the complete report.
    #[track_caller]
    pub fn assert_passed(&self) {
        assert!(self.passed(), "the store does not conform\n{self}");
    }

    /// Returns how often each kind of op had each verdict.
    #[doc(hidden)]
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "conformance, seed {}", self.seed)?;
        for check in &self.checks {
            match &check.outcome {
                Ok(()) => writeln!(f, "  ok      {}", check.name)?,
                Err(deviation) => writeln!(f, "  FAILED  {}: {deviation}", check.name)?,
            }
        }
        Ok(())
    }
}
