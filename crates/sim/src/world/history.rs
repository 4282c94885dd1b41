//! History of a world: its trace, its violations, and its event counts.

use std::{borrow::Cow, collections::BTreeMap, collections::BTreeSet, time::Duration};

/// Upper bound of the violations that are kept, because the first ones are the most useful.
const VIOLATIONS_MAX: usize = 5;

#[derive(Debug, Default)]
pub struct History {
    tracing: bool,
    pub lines: Vec<String>,
    pub violations: Vec<String>,
    /// Promises that were broken.
    pub broken: BTreeSet<&'static str>,
    pub counts: BTreeMap<Cow<'static, str>, u64>,
}

impl History {
    pub fn new(tracing: bool) -> Self {
        Self { tracing, ..Self::default() }
    }

    pub fn line(&mut self, time: Duration, line: impl FnOnce() -> String) {
        if self.tracing {
            self.lines.push(format!("{:>12.3} {}", time.as_secs_f64(), line()));
        }
    }

    pub fn violation(&mut self, time: Duration, promise: &'static str, what: String) {
        self.line(time, || format!("VIOLATION of {promise}: {what}"));
        self.broken.insert(promise);
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(format!("{promise} at {:.3} s: {what}", time.as_secs_f64()));
        }
    }

    pub fn count(&mut self, what: Cow<'static, str>) {
        *self.counts.entry(what).or_default() += 1;
    }
}
