//! Clocks: the monotonic clock that all processes of the machine share, and the CPU time of this process.

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};

/// Returns the time of `CLOCK_MONOTONIC` in nanoseconds, which Node's `hrtime` and Python's `monotonic_ns` read too.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux and macOS have this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Returns the CPU time of this process so far, in nanoseconds.
pub fn cpu() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("always readable");
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
    micros as u64 * 1_000
}
