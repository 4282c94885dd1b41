//! Signals that were ignored when `run` was started.

use crate::support::{Fixture, HOLD, report_skipped, wait_until};

/// Returns whether the set of signals on this line of `/proc/PID/status` contains SIGHUP.
fn has_hup(pid: i32, line: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it is running");
    let set = status.lines().find_map(|found| found.strip_prefix(line)).expect("the format of the kernel");
    u64::from_str_radix(set.trim(), 16).expect("a bit set") & 1 != 0
}

/// Track record: the ignored signals were read from `/proc`. Where that is missing, as on macOS, `nohup` was undone.
#[test]
fn nohup_is_respected_without_proc() {
    let fixture = Fixture::new();
    let unshare = ["--user", "--map-root-user", "--mount", "sh", "-c"];
    let hide = "mount -t tmpfs none /proc";
    if fixture.command_of("unshare", &[&unshare[..], &[hide]].concat()).status().map_or(true, |end| !end.success()) {
        return report_skipped("nohup_is_respected_without_proc", "`unshare` may not create namespaces");
    }
    let _holder = fixture.start(HOLD);
    for (trap, is_ignored) in [("trap '' HUP", true), ("true", false)] {
        let script = format!("{hide} && {trap} && exec \"$PROGRAM\" run a true");
        let waiter =
            fixture.spawn_with_stderr_file(fixture.command_of("unshare", &[&unshare[..], &[&script]].concat()));
        // It waits, so it has begun to receive signals.
        wait_until("it waits for the lock", || fixture.read("stderr").contains("waiting for lock"));
        let pid = waiter.pid();
        assert_eq!((has_hup(pid, "SigIgn:"), has_hup(pid, "SigCgt:")), (is_ignored, !is_ignored));
        std::fs::write(fixture.path("stderr"), "").expect("a file");
    }
}
