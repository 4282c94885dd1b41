//! Counts of passed, failed and skipped tests and checks, over all test binaries.

use std::fmt;

/// Mark of a skipped test. A test that cannot run here writes the line `SKIPPED: name: reason` to standard output, past
/// libtest's capture (`writeln!(std::io::stdout(), …)`), and returns. libtest counts it as passed; this tally does not.
pub const SKIP_MARK: &str = "SKIPPED: ";

/// Running sums, and the reasons of skipped tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    pub reasons: Vec<String>,
    /// Skip marks since the last result line. That line counts those tests as passed.
    unearned: u64,
}

impl Tally {
    /// Adds the result of a check, and prints it as libtest prints a test.
    pub fn check(&mut self, name: &str, result: Result<(), String>) {
        self.passed += u64::from(result.is_ok());
        self.failed += u64::from(result.is_err());
        match result {
            Ok(()) => println!("check {name} ... ok"),
            Err(error) => println!("check {name} ... FAILED\n{error}\n"),
        }
    }

    /// Adds one line of the output of `cargo test`. Lines other than results and skip marks are ignored.
    pub fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.passed += count(rest, " passed").saturating_sub(std::mem::take(&mut self.unearned));
            self.failed += count(rest, " failed");
            let ignored = count(rest, " ignored");
            if ignored > 0 {
                self.skipped += ignored;
                self.reasons.push(format!("{ignored} tests that are marked to be ignored"));
            }
        } else if let Some((_, why)) = line.split_once(SKIP_MARK) {
            self.unearned += 1;
            self.skip(why.trim().to_owned());
        }
    }

    /// Adds one line of the TAP output of node's test runner. Only the sums at its end and skipped tests count.
    pub fn tap(&mut self, line: &str) {
        let sum = |name: &str| line.strip_prefix("# ")?.strip_prefix(name)?.trim().parse::<u64>().ok();
        self.passed += sum("pass ").unwrap_or(0);
        self.failed += sum("fail ").unwrap_or(0) + sum("cancelled ").unwrap_or(0);
        let skipped = line.trim_start().split_once(" # SKIP ");
        if let Some((_, why)) = skipped.filter(|(_, why)| *why != "test name does not match pattern") {
            self.skip(why.to_owned());
        }
    }

    /// Adds a skipped test.
    pub fn skip(&mut self, reason: String) {
        self.skipped += 1;
        self.reasons.push(reason);
    }

    /// Returns whether nothing failed and at least one test passed.
    pub fn good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Returns the number before `word` in libtest's result line.
fn count(line: &str, word: &str) -> u64 {
    let before = line.find(word).map_or("", |at| &line[..at]);
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.line(line));
        tally
    }

    #[test]
    fn tap_sums_and_skip_reasons_are_counted() {
        let mut tally = Tally::default();
        let output = "TAP version 13\nok 1 - a lock # SKIP no server\nok 2 - b # SKIP test name does not match pattern\n\
                      # tests 9\n# pass 5\n# fail 2\n# cancelled 1\n# skipped 1";
        output.lines().for_each(|line| tally.tap(line));
        assert_eq!(tally.to_string(), "5 passed, 3 failed, 1 skipped");
        assert_eq!(tally.reasons, ["no server"]);
    }

    #[test]
    fn results_of_all_binaries_add_up_without_skipped_tests() {
        let sum = tally(&[
            "test a ... SKIPPED: a: no server",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.01s",
            "test result: FAILED. 30 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ]);
        assert_eq!(sum.to_string(), "41 passed, 2 failed, 2 skipped");
        assert_eq!(sum.reasons[0], "a: no server");
        assert!(!sum.good());
    }

    #[test]
    fn run_is_good_if_nothing_failed_and_something_passed() {
        assert!(!Tally::default().good());
        let mut sum = tally(&["test result: ok. 1 passed; 0 failed; 0 ignored"]);
        sum.skip("no server".into());
        assert!(sum.good());
        sum.check("b", Err("because".into()));
        assert!(!sum.good());
        assert_eq!(sum.to_string(), "1 passed, 1 failed, 1 skipped");
    }
}
