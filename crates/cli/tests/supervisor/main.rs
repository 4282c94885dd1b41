//! The supervisor, the process between `run` and its command. Needs Linux.
//!
//! This is a separate test binary because it measures leases and signals, and must not share the machine with other
//! tests.
#![cfg(target_os = "linux")]

mod ending;
mod leftover;
mod limits;
mod namespace;
mod other_user;
mod remaining;
mod start;
#[path = "../support/mod.rs"]
mod support;

/// Returns whether the process exists, also as a zombie.
fn is_there(pid: i32) -> bool {
    std::fs::exists(format!("/proc/{pid}")).expect("Linux")
}
