//! Expiry of holds by the clocks of the machine.
//!
//! A hold outlives its process, so that no byte lock of a process can show whether it has expired. All users of a
//! database share the clocks of one machine instead. The row of a hold has the liveness key
//! `until-BOOT-BOOTTIME-RAW-LENGTH`: the ID of the boot, the readings of both lease clocks when the hold started, and
//! its length, all times in nanoseconds. The hold has expired when the slower of the two clocks has advanced by its
//! length since then, as in the rule for waiters (R4). After a reboot, and in a time namespace, which has other clocks,
//! the key is unknown and only the lease decides.

use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use dynamo_lock_protocol::{ClockReading, Liveness};

const PREFIX: &str = "until-";

/// Inode of the initial time namespace (`PROC_TIME_INIT_INO` in Linux).
const INITIAL_TIME_NAMESPACE: &str = "time:[4026531834]";

/// Returns the liveness key of a hold that starts now, or `None` if this process does not see the machine's clocks.
pub(super) fn liveness_key(length: Duration) -> Option<String> {
    Some(format_key(&boot_id()?, SystemClock.now(), length))
}

/// Returns whether a hold has expired, or `None` if the key is not that of a hold.
pub(super) fn liveness(liveness_key: &str) -> Option<Liveness> {
    if !liveness_key.starts_with(PREFIX) {
        return None;
    }
    let expired = boot_id().is_some_and(|boot| has_expired(liveness_key, &boot, SystemClock.now()));
    Some(if expired { Liveness::Dead } else { Liveness::Unknown })
}

fn format_key(boot: &str, start: ClockReading, length: Duration) -> String {
    format!("{PREFIX}{boot}-{}-{}-{}", start.boot_ns, start.raw_ns, length.as_nanos())
}

fn has_expired(liveness_key: &str, boot: &str, now: ClockReading) -> bool {
    let numbers = liveness_key.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(boot)?.strip_prefix('-'));
    let mut numbers = numbers.unwrap_or_default().split('-').map(str::parse::<u64>);
    let (Some(Ok(boot_ns)), Some(Ok(raw_ns)), Some(Ok(length)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    // A clock that shows an earlier time than at the start is not the clock that was read then.
    let is_same_clock = now.boot_ns >= boot_ns && now.raw_ns >= raw_ns;
    let start = ClockReading { boot_ns, raw_ns, ..now };
    is_same_clock && now.waiter_elapsed_since(start) >= Duration::from_nanos(length)
}

/// Returns the ID of this boot, or `None` in a time namespace, because its clocks are not those of the machine.
fn boot_id() -> Option<String> {
    let is_initial_namespace = match std::fs::read_link("/proc/self/ns/time") {
        Ok(link) => link.to_str() == Some(INITIAL_TIME_NAMESPACE),
        // Linux before 5.6 has no time namespaces.
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if !is_initial_namespace {
        return None;
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "6f1c-2d";

    fn at(boot_s: u64, raw_s: u64) -> ClockReading {
        ClockReading { boot_ns: boot_s * 1_000_000_000, raw_ns: raw_s * 1_000_000_000, wall_ms: 0 }
    }

    #[test]
    fn hold_expires_when_both_clocks_of_its_boot_have_passed() {
        let key = format_key(BOOT, at(100, 90), Duration::from_secs(10));
        let expired = |boot, now| has_expired(&key, boot, now);
        assert!(!expired(BOOT, at(109, 99)));
        assert!(expired(BOOT, at(110, 100)));
        assert!(!expired(BOOT, at(200, 99)), "the host was suspended, or one clock was slewed");
        assert!(!expired(BOOT, at(109, 200)));
        assert!(!expired("another", at(1000, 1000)), "after a reboot");
        assert!(!expired("6f1c", at(1000, 1000)));
        assert!(!expired(BOOT, at(99, 1000)) && !expired(BOOT, at(1000, 89)), "clocks that went back");
    }

    #[test]
    fn malformed_hold_keys_never_expire() {
        for key in [
            "",
            "until-",
            "until-6f1c-2d",
            "until-6f1c-2d-1-1",
            "until-6f1c-2d-1-1-1-1",
            "until-6f1c-2d-1-1--1",
            "1-2-3",
        ] {
            assert!(!has_expired(key, BOOT, at(1000, 1000)), "{key}");
        }
        assert_eq!(liveness("1-2-3"), None);
        assert_eq!(liveness("until-another-1-1-1"), Some(Liveness::Unknown));
    }
}
