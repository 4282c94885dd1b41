//! Liveness keys of holds, as the embedded store uses them: all clients share the clocks of one machine.

use std::time::Duration;

use dynamo_lock_protocol::{ClockReading, Liveness, Row, attr};

/// Returns the liveness key of a hold that starts now and has expired after `length`.
pub fn hold_key(now: ClockReading, length: Duration) -> String {
    format!("{}-{}-{}", now.boot_ns, now.raw_ns, length.as_millis())
}

/// Returns the result of a liveness check: a hold is dead once the smaller of the two lease clocks has counted its
/// length.
pub fn check(row: &Row, now: ClockReading) -> Liveness {
    let Some(key) = row.text(attr::LIVENESS_KEY) else { return Liveness::Unknown };
    let numbers: Vec<u64> = key.split('-').filter_map(|number| number.parse().ok()).collect();
    let [boot_ns, raw_ns, length_ms] = numbers[..] else { return Liveness::Unknown };
    let passed = now.waiter_elapsed_since(ClockReading { boot_ns, raw_ns, ..now });
    if passed >= Duration::from_millis(length_ms) { Liveness::Dead } else { Liveness::Unknown }
}
