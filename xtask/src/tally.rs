//! Counting: what passed, failed and was skipped, over all checks and test binaries.

use std::fmt;

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not, and why.
    Failed(String),
    /// It could not be asked here, and why.
    Skipped(String),
}

/// A test that cannot run here says so on a line with this mark, `SKIPPED: name: why`, written to standard output
/// past libtest's capture (`writeln!(std::io::stdout(), …)`), and returns. libtest counts it as passed; we do not.
pub const SKIP_MARK: &str = "SKIPPED: ";

/// A running sum, and the reasons of what did not run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    pub reasons: Vec<String>,
    /// Marks seen since the last result line, which will count those tests as passed.
    unearned: u64,
}

impl Tally {
    /// Adds a check under its name, and prints it as libtest prints a test.
    pub fn check(&mut self, name: &str, verdict: Verdict) {
        match verdict {
            Verdict::Passed => {
                self.passed += 1;
                println!("check {name} ... ok");
            }
            Verdict::Failed(why) => {
                self.failed += 1;
                println!("check {name} ... FAILED\n{why}\n");
            }
            Verdict::Skipped(why) => {
                println!("check {name} ... skipped");
                self.skip(format!("{name}: {why}"));
            }
        }
    }

    /// Adds one line of what `cargo test` prints; most lines say nothing.
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

    /// Adds one line of what node's test runner prints in TAP; only those at its end count.
    pub fn tap(&mut self, line: &str) {
        let sum = |name: &str| line.strip_prefix("# ")?.strip_prefix(name)?.trim().parse::<u64>().ok();
        self.passed += sum("pass ").unwrap_or(0);
        self.failed += sum("fail ").unwrap_or(0) + sum("cancelled ").unwrap_or(0);
        let skipped = line.trim_start().split_once(" # SKIP ");
        if let Some((_, why)) = skipped.filter(|(_, why)| *why != "test name does not match pattern") {
            self.skip(why.to_owned());
        }
    }

    /// Adds something that did not run.
    pub fn skip(&mut self, reason: String) {
        self.skipped += 1;
        self.reasons.push(reason);
    }

    /// Whether this is good news: nothing failed, and something ran.
    pub fn good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The number before `word` in libtest's result line.
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
    fn the_sums_of_nodes_test_runner_count_and_a_skipped_test_with_its_reason() {
        let mut tally = Tally::default();
        let said = "TAP version 13\nok 1 - a lock # SKIP no server\n\
                    ok 2 - b # SKIP test name does not match pattern\n# tests 9\n# pass 5\n# fail 2\n# cancelled 1\n# skipped 1";
        said.lines().for_each(|line| tally.tap(line));
        assert_eq!(tally.to_string(), "5 passed, 3 failed, 1 skipped");
        assert_eq!(tally.reasons, ["no server"]);
    }

    #[test]
    fn the_results_of_all_binaries_add_up() {
        let sum = tally(&[
            "running 12 tests",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.01s",
            "test result: FAILED. 30 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ]);
        assert_eq!(sum.to_string(), "42 passed, 2 failed, 1 skipped");
        assert!(!sum.good());
    }

    #[test]
    fn a_test_that_says_it_was_skipped_does_not_count_as_passed() {
        let sum = tally(&[
            "test a ... SKIPPED: a: no server",
            "ok",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!(sum.to_string(), "1 passed, 0 failed, 1 skipped");
        assert_eq!(sum.reasons, ["a: no server"]);
    }

    #[test]
    fn nothing_at_all_is_not_good_news() {
        assert!(!Tally::default().good());
        assert!(tally(&["test result: ok. 1 passed; 0 failed; 0 ignored"]).good());
    }

    #[test]
    fn other_lines_say_nothing() {
        assert_eq!(tally(&["9 passed, 9 failed", "the test result: ok. 9 passed;", ""]), Tally::default());
    }

    #[test]
    fn a_failed_check_makes_the_run_fail() {
        let mut sum = tally(&["test result: ok. 1 passed; 0 failed; 0 ignored"]);
        sum.check("a", Verdict::Skipped("no git".into()));
        assert!(sum.good());
        sum.check("b", Verdict::Failed("because".into()));
        assert!(!sum.good());
        assert_eq!(sum.to_string(), "1 passed, 1 failed, 1 skipped");
    }
}
