//! Two processes with 25 tasks each that ask for one lock again and again.

use serde_json::Value;

use crate::Outcome;
use crate::bench::{Bench, network};
use crate::peer::{Peer, number};
use crate::report::Report;

const NANOS: f64 = 1e9;

pub async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let seconds = bench.options.choose(10, 30, 30);
    for peer in [Peer::DynamoLock, Peer::LeaseTuned] {
        let lock = format!("fairness {peer:?}");
        let mut first = bench.agent(peer, &lock, network()).await?;
        let mut second = bench.agent(peer, &lock, network()).await?;
        let command = format!("ask 25 {seconds} 10");
        first.send(&command).await?;
        second.send(&command).await?;
        let results = [first.read().await?, second.read().await?];
        let start = number(&results[0], "from")?.min(number(&results[1], "from")?);
        let end = start + f64::from(seconds) * NANOS;
        let logs = results.each_ref().map(|result| times(result, end));
        let label = peer.label();
        let scenario = "2 processes of 25 tasks";
        let all = logs[0].len() + logs[1].len();
        report.figure(scenario, label, "acquisitions per second", all as f64 / f64::from(seconds));
        let share = smallest_share(&logs, start + 5.0 * NANOS);
        report.figure(scenario, label, "smallest share of 100", share);
        let wait = logs.iter().map(|log| longest_wait(log, start, start + 5.0 * NANOS, end)).fold(0.0, f64::max);
        report.figure(scenario, label, "longest wait of a process before second 5, s", wait / NANOS);
        let tasks = results.iter().flat_map(waits).fold(0.0, f64::max);
        report.figure(scenario, label, "longest wait of a task, s", tasks / NANOS);
        let writes = (first.port.counts().writes + second.port.counts().writes) as f64;
        report.figure(scenario, label, "writes per acquisition", writes / all as f64);
    }
    Ok(())
}

fn times(result: &Value, end: f64) -> Vec<f64> {
    let all = result["acquired"].as_array().into_iter().flatten().filter_map(|entry| entry[0].as_f64());
    all.filter(|time| *time < end).collect()
}

fn waits(result: &Value) -> Vec<f64> {
    result["acquired"].as_array().into_iter().flatten().filter_map(|entry| entry[1].as_f64()).collect()
}

/// Returns the smallest share in percent that a process has of any 100 acquisitions in a row after `from`.
fn smallest_share(logs: &[Vec<f64>; 2], from: f64) -> f64 {
    let mut all: Vec<(f64, bool)> = Vec::new();
    for (index, log) in logs.iter().enumerate() {
        all.extend(log.iter().filter(|time| **time >= from).map(|time| (*time, index == 0)));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let size = all.len().min(100);
    let shares = all.windows(size.max(1)).map(|window| {
        let first = window.iter().filter(|(_, first)| *first).count();
        first.min(window.len() - first) as f64 / window.len() as f64 * 100.0
    });
    shares.fold(50.0, f64::min)
}

/// Returns the longest time without an acquisition that begins from `start` to `until`. The log ends at `end`.
fn longest_wait(log: &[f64], start: f64, until: f64, end: f64) -> f64 {
    let mut last = start;
    let mut longest = 0.0;
    for time in log.iter().copied().chain([end]) {
        if last <= until {
            longest = f64::max(longest, time - last);
        }
        last = time;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_that_of_the_process_with_fewer() {
        let first = (0..60).map(|index| f64::from(index) * 2.0).collect::<Vec<_>>();
        let second = (0..90).map(|index| 200.0 + f64::from(index)).collect::<Vec<_>>();
        assert_eq!(smallest_share(&[first, second], 0.0), 10.0);
    }

    #[test]
    fn longest_wait_begins_before_the_limit() {
        assert_eq!(longest_wait(&[1.0, 4.0, 6.0, 60.0], 0.0, 5.0, 70.0), 3.0);
        assert_eq!(longest_wait(&[], 0.0, 5.0, 30.0), 30.0);
    }
}
