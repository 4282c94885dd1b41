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
    let expired = time_left(liveness_key) == Some(Duration::ZERO);
    Some(if expired { Liveness::Dead } else { Liveness::Unknown })
}

/// Returns the time until a hold has expired, zero if it has. Returns `None` if the key is not that of a hold of this
/// boot.
pub(super) fn time_left(liveness_key: &str) -> Option<Duration> {
    time_left_at(liveness_key, &boot_id()?, SystemClock.now())
}

fn format_key(boot: &str, start: ClockReading, length: Duration) -> String {
    format!("{PREFIX}{boot}-{}-{}-{}", start.boot_ns, start.raw_ns, length.as_nanos())
}

fn time_left_at(liveness_key: &str, boot: &str, now: ClockReading) -> Option<Duration> {
    let numbers = liveness_key.strip_prefix(PREFIX)?.strip_prefix(boot)?.strip_prefix('-')?;
    let mut numbers = numbers.split('-').map(str::parse::<u64>);
    let (Some(Ok(boot_ns)), Some(Ok(raw_ns)), Some(Ok(length)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return None;
    };
    // A clock that shows an earlier time than at the start is not the clock that was read then.
    let is_same_clock = now.boot_ns >= boot_ns && now.raw_ns >= raw_ns;
    let start = ClockReading { boot_ns, raw_ns, ..now };
    is_same_clock.then(|| Duration::from_nanos(length).saturating_sub(now.waiter_elapsed_since(start)))
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
        let left = |boot, now| time_left_at(&key, boot, now);
        let expired = |boot, now| left(boot, now) == Some(Duration::ZERO);
        assert_eq!(left(BOOT, at(103, 92)), Some(Duration::from_secs(8)), "by the slower clock");
        assert_eq!(left("another", at(103, 92)), None);
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
            assert_eq!(time_left_at(key, BOOT, at(1000, 1000)), None, "{key}");
        }
        assert_eq!(liveness("1-2-3"), None);
        assert_eq!(liveness("until-another-1-1-1"), Some(Liveness::Unknown));
    }
}
