use std::fmt;

use super::coverage::{CheckResult, Coverage};

/// Result of [`run`](super::run). It prints as one line per check.
#[derive(Clone, Debug)]
#[must_use = "a failed check is only visible in the report"]
pub struct Report {
    seed: u64,
    /// Requirements on the store, as sentences, and the results of their checks.
    checks: Vec<(&'static str, CheckResult)>,
    pub(super) coverage: Coverage,
}

impl Report {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, checks: Vec::new(), coverage: Coverage::default() }
    }

    pub(super) fn add(&mut self, requirement: &'static str, result: CheckResult) {
        self.checks.push((requirement, result));
    }

    /// Returns whether every check has passed.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// Returns the failed checks in the order in which they ran: the requirement, and the deviation of the store.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.checks.iter().filter_map(|(requirement, result)| Some((*requirement, result.as_ref().err()?.as_str())))
    }

    /// Returns the requirements of the failed checks.
    pub fn failed(&self) -> Vec<&'static str> {
        self.failures().map(|(requirement, _)| requirement).collect()
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
        for (requirement, result) in &self.checks {
            match result {
                Ok(()) => writeln!(f, "  ok      {requirement}")?,
                Err(deviation) => writeln!(f, "  FAILED  {requirement}: {deviation}")?,
            }
        }
        Ok(())
    }
}
