//! When a hold is over: it outlives its process, so no lock of a process can tell, but all who use the database have one
//! machine's clocks.
//!
//! Its row bears `until-BOOT-BOOTTIME-RAW-LENGTH`: which boot, both lease clocks when it began, and how long it lasts, ns. It is
//! over when the smaller of what they have counted since, as a waiter's rule has it (R4), is its length. After a reboot, and
//! in a time namespace, whose clocks are others, nothing is told, and leases decide.

use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::store::Liveness;
use dynamo_lock_protocol::ClockReading;

/// The inode that Linux gives the first time namespace (`PROC_TIME_INIT_INO`).
const FIRST_NAMESPACE: &str = "time:[4026531834]";

/// What the row of a hold bears that begins now; `None` where no clock is everybody's.
pub(super) fn liveness_key(length: Duration) -> Option<String> {
    Some(written(&boot()?, SystemClock.now(), length))
}

/// Whether that is over; nothing about what is no hold's.
pub(super) fn liveness(liveness_key: &str) -> Option<Liveness> {
    let over = boot().is_some_and(|boot| is_over(liveness_key, &boot, SystemClock.now()));
    liveness_key.starts_with(PREFIX).then_some(if over { Liveness::Dead } else { Liveness::Unknown })
}

const PREFIX: &str = "until-";

fn written(boot: &str, at: ClockReading, length: Duration) -> String {
    format!("{PREFIX}{boot}-{}-{}-{}", at.boot_ns, at.raw_ns, length.as_nanos())
}

fn is_over(liveness_key: &str, boot: &str, now: ClockReading) -> bool {
    let numbers = liveness_key.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix(boot)?.strip_prefix('-'));
    let mut numbers = numbers.unwrap_or_default().split('-').map(str::parse::<u64>);
    let (Some(Ok(boot_ns)), Some(Ok(raw_ns)), Some(Ok(length)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    // Clocks that have gone back since are not those of that time.
    let same = now.boot_ns >= boot_ns && now.raw_ns >= raw_ns;
    let began = ClockReading { boot_ns, raw_ns, ..now };
    same && now.waiter_elapsed_since(began) >= Duration::from_nanos(length)
}

/// Which boot's clocks this process reads.
fn boot() -> Option<String> {
    let namespace = match std::fs::read_link("/proc/self/ns/time") {
        Ok(link) => link.to_str().map(str::to_owned),
        // Linux before 5.6 has none.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(FIRST_NAMESPACE.to_owned()),
        Err(_) => None,
    };
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    namespace.filter(|namespace| namespace == FIRST_NAMESPACE).map(|_| boot.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "6f1c-2d";

    fn at(boot_s: u64, raw_s: u64) -> ClockReading {
        ClockReading { boot_ns: boot_s * 1_000_000_000, raw_ns: raw_s * 1_000_000_000, wall_ms: 0 }
    }

    #[test]
    fn a_hold_is_over_when_both_clocks_of_its_boot_say_so() {
        let liveness_key = written(BOOT, at(100, 90), Duration::from_secs(10));
        let over = |boot, now| is_over(&liveness_key, boot, now);
        assert!(!over(BOOT, at(109, 99)));
        assert!(over(BOOT, at(110, 100)));
        assert!(!over(BOOT, at(200, 99)), "the host slept, or one clock was slewed");
        assert!(!over(BOOT, at(109, 200)));
        assert!(!over("another", at(1000, 1000)), "after a reboot");
        assert!(!over("6f1c", at(1000, 1000)));
        assert!(!over(BOOT, at(99, 1000)) && !over(BOOT, at(1000, 89)), "clocks that went back");
    }

    #[test]
    fn what_nobody_wrote_is_over_for_nobody() {
        for liveness_key in [
            "",
            "until-",
            "until-6f1c-2d",
            "until-6f1c-2d-1-1",
            "until-6f1c-2d-1-1-1-1",
            "until-6f1c-2d-1-1--1",
            "1-2-3",
        ] {
            assert!(!is_over(liveness_key, BOOT, at(1000, 1000)), "{liveness_key}");
        }
        assert_eq!(liveness("1-2-3"), None);
        assert_eq!(liveness("until-another-1-1-1"), Some(Liveness::Unknown));
    }
}
