//! Processes that a scenario has started: their descendants, their CPU time, and their end.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Returns `pid` and all its descendants. Empty outside Linux.
pub fn all(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        for task in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

/// Returns the CPU time of all threads of a process in seconds, 0 if it has ended.
pub fn cpu(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e9
}

/// Kills these processes with SIGKILL.
pub fn kill_all(processes: &[u32]) {
    for pid in processes {
        let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL); // an error means that it has ended
    }
}
