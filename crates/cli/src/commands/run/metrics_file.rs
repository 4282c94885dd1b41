//! The file of `--metrics-file`: facts about the last run, for the textfile collector of node_exporter.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::report::RunOutcome;
use crate::{clock, exit, exit::Exit, failure::Failure, output_file::OutputFile, ui::output};

/// Longest file of an earlier run that is read.
const EARLIER_MAX: u64 = 64 * 1024;

/// Name and help of each metric, in the order of [`values`]. `docs/observability.md` has a row for each. All are gauges.
const METRICS: [(&str, &str); 9] = [
    ("dynamo_lock_run_start_time_seconds", "Time at which the last run began, in seconds since 1970"),
    ("dynamo_lock_run_end_time_seconds", "Time at which the last run ended, in seconds since 1970"),
    (LAST_SUCCESS, "Time at which a run of the command last ended with exit code 0, 0 if none is known"),
    (LAST_FAILURE, "Time at which a run last ended with another exit code, 0 if none is known"),
    ("dynamo_lock_run_exit_code", "Exit code of the last run"),
    ("dynamo_lock_run_acquired", "Whether the last run has acquired the lock, 1 or 0"),
    ("dynamo_lock_run_lost", "Whether the last run has lost the lock, 1 or 0"),
    ("dynamo_lock_run_wait_seconds", "Time for which the last run waited for the lock"),
    ("dynamo_lock_run_held_seconds", "Time for which the last run held the lock, 0 if it was not acquired"),
];

const LAST_SUCCESS: &str = "dynamo_lock_run_last_success_time_seconds";
const LAST_FAILURE: &str = "dynamo_lock_run_last_failure_time_seconds";

/// An open metrics file. It is opened before the run begins, so that an invalid path is not reported only after hours.
#[derive(Debug)]
pub struct MetricsFile {
    /// Name of the lock, as given by the user, or of the first one.
    name: String,
    file: OutputFile,
    /// Content that an earlier run has left.
    earlier: String,
}

impl MetricsFile {
    /// Opens the metrics file for the lock with this name.
    pub fn open((name, path): (String, &Path)) -> Result<Self, Failure> {
        let file = OutputFile::open(path).map_err(|error| {
            let message = format!("cannot write the metrics {path:?}: {error}; name a file in a writable directory");
            Failure::configuration(message)
        })?;
        let is_readable = fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() <= EARLIER_MAX);
        let earlier = if is_readable { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        Ok(Self { name, file, earlier })
    }

    /// Writes the metrics. A failure is printed, and does not change the exit code of the run.
    pub fn write(self, outcome: &RunOutcome, result: &Result<Exit, Failure>) {
        let text = text(&self.name, &self.earlier, outcome, result);
        if let Err(error) = self.file.write(&text) {
            output::message(&format!("cannot write the metrics: {error}"));
        }
    }
}

/// Returns the metrics in the text format of Prometheus.
fn text(name: &str, earlier: &str, outcome: &RunOutcome, result: &Result<Exit, Failure>) -> String {
    let labels = format!("{{name=\"{}\"}}", name.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n"));
    let earlier = |metric: &str| value_of(earlier, &format!("{metric}{labels} "));
    let mut text = String::new();
    for ((metric, help), value) in METRICS.into_iter().zip(values(outcome, result, earlier)) {
        let _never_fails = write!(text, "# HELP {metric} {help}\n# TYPE {metric} gauge\n{metric}{labels} {value}\n");
    }
    text
}

/// Returns the value in the line with this prefix, 0 if there is none.
fn value_of(text: &str, prefix: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(prefix)?.trim().parse().ok());
    value.filter(|value: &f64| value.is_finite()).unwrap_or_default()
}

/// Returns the values of [`METRICS`]. `earlier` returns the value that an earlier run has left.
fn values(outcome: &RunOutcome, result: &Result<Exit, Failure>, earlier: impl Fn(&str) -> f64) -> [f64; 9] {
    let (code, _) = exit::code_and_message(result);
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let flag = |is_true: bool| f64::from(u8::from(is_true));
    let end = seconds(clock::now().wall_ms);
    let (succeeded, failed) = (code == 0 && outcome.child_status.is_some(), code != 0);
    [
        seconds(outcome.started_ms()),
        end,
        if succeeded { end } else { earlier(LAST_SUCCESS) },
        if failed { end } else { earlier(LAST_FAILURE) },
        f64::from(code),
        flag(outcome.acquired_at.is_some()),
        flag(matches!(result, Ok(Exit::Lost(_)))),
        outcome.waited_for().as_secs_f64(),
        outcome.held_for().as_secs_f64(),
    ]
}
