//! Which signals this process was told to ignore when it began, as by `nohup`: to listen to one would undo that, for the
//! command too.

use nix::sys::signal::Signal;

/// As Linux tells it; elsewhere none is known.
pub fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal as u32 - 1)) != 0
}
