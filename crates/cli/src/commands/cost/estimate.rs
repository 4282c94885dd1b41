//! The requests of a month, from the rules of the protocol, and their price.

use std::time::Duration;

use dynamo_lock::ConfigError;
use dynamo_lock_protocol::Timing;

use crate::ui::format;

/// Length of a month.
pub const DAYS: f64 = 30.0;
const SECONDS: f64 = DAYS * 86_400.0;
/// Writes of an acquisition that lasts for half a second or more: acquire, first renewal, release. The first renewal
/// adds the service time that a new process does not know before.
const WRITES_PER_ACQUISITION: f64 = 3.0;
/// Looks of a waiter in a second, unless more than [`LOOKS_OF_ALL`] / `LOOKS_OF_ONE` wait for the lock.
const LOOKS_OF_ONE: f64 = 6.0;
/// Looks of all waiters of a lock in a second. They share them.
const LOOKS_OF_ALL: f64 = 100.0;
/// Longest time between two looks of a waiter, which is also at most a tenth of the lease.
const LOOK_INTERVAL_MAX: f64 = 2.0;
/// Read units of a look, because it is eventually consistent.
const UNITS_PER_LOOK: f64 = 0.5;

/// Use of the locks for which the cost is estimated. Numbers are averages.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    pub locks: f64,
    /// Leases with the number of locks that are held with each.
    pub held: Vec<(Duration, f64)>,
    /// Processes that wait, evenly distributed over the locks.
    pub waiters: f64,
    /// Lease of the locks that are awaited.
    pub lease: Duration,
    /// Acquisitions of each lock a day.
    pub acquisitions: f64,
}

/// One part of the cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub name: &'static str,
    /// The multiplication that results in the units.
    pub formula: String,
    pub unit: Unit,
    pub units: f64,
}

/// Unit in which DynamoDB bills requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Write,
    Read,
}

/// Returns the parts of the cost of a month.
///
/// # Errors
/// A lease is out of range.
pub fn parts(load: &Load) -> Result<Vec<Part>, ConfigError> {
    let mut parts = Vec::new();
    for &(lease, holders) in &load.held {
        let interval = Timing::new(lease)?.heartbeat();
        let formula = format!("{} held × {} s / {}", number(holders), number(SECONDS), format::given(interval));
        let units = holders * SECONDS / interval.as_secs_f64();
        parts.push(Part { name: "renewals", formula, unit: Unit::Write, units });
    }
    let Load { locks, acquisitions, waiters, .. } = *load;
    let formula =
        format!("{} locks × {} a day × {DAYS} × {WRITES_PER_ACQUISITION} writes", number(locks), number(acquisitions));
    let units = locks * acquisitions * DAYS * WRITES_PER_ACQUISITION;
    parts.push(Part { name: "acquisitions", formula, unit: Unit::Write, units });
    let looks = looks_per_second(waiters / locks.max(1.0), load.lease);
    let formula =
        format!("{} waiters × {} looks/s × {} s × {UNITS_PER_LOOK}", number(waiters), number(looks), number(SECONDS));
    let units = waiters * looks * SECONDS * UNITS_PER_LOOK;
    parts.push(Part { name: "waiting", formula, unit: Unit::Read, units });
    Ok(parts)
}

/// Returns the looks of each of the waiters of a lock in a second.
fn looks_per_second(waiters: f64, lease: Duration) -> f64 {
    let least = 1.0 / (lease.as_secs_f64() / 10.0).min(LOOK_INTERVAL_MAX);
    (LOOKS_OF_ALL / waiters.max(1.0)).min(LOOKS_OF_ONE).max(least)
}

/// Returns a number with separated thousands, and with at most two decimals.
pub fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, decimals) = text.split_once('.').map_or((text, None), |(whole, decimals)| (whole, Some(decimals)));
    let mut separated = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            separated.push(',');
        }
        separated.push(digit);
    }
    decimals.map_or(separated.clone(), |decimals| format!("{separated}.{decimals}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(holders: f64, waiters: f64) -> Load {
        let lease = Duration::from_secs(20);
        Load { locks: 1.0, held: vec![(lease, holders)], waiters, lease, acquisitions: 0.0 }
    }

    fn units(load: &Load) -> Vec<f64> {
        parts(load).expect("valid").iter().map(|part| part.units).collect()
    }

    /// The example of docs/performance.md: 17,280 writes a day, and 6 looks a second.
    #[test]
    fn lock_that_is_held_all_day_is_renewed_17280_times() {
        assert_eq!(units(&load(1.0, 0.0)), [17_280.0 * 30.0, 0.0, 0.0]);
        assert_eq!(units(&load(0.0, 1.0)), [0.0, 0.0, 6.0 * 86_400.0 * 30.0 / 2.0]);
        let nightly = Load { acquisitions: 1.0, locks: 100.0, ..load(0.0, 0.0) };
        assert_eq!(units(&nightly), [0.0, 9000.0, 0.0]);
    }

    #[test]
    fn long_lease_is_renewed_each_five_minutes() {
        let held = vec![(Duration::from_secs(60), 2.0), (Duration::from_secs(3600), 1.0)];
        assert_eq!(units(&Load { held, ..load(0.0, 0.0) })[..2], [2.0 * 172_800.0, 8640.0]);
        assert!(parts(&Load { held: vec![(Duration::from_secs(7200), 1.0)], ..load(0.0, 0.0) }).is_err());
    }

    /// The looks measured in docs/performance.md: 5.8 a second of one waiter and of two, at most 5.05 of 20.
    #[test]
    fn waiters_of_one_lock_share_their_looks() {
        let looks = |waiters: f64, lease: u64| looks_per_second(waiters, Duration::from_secs(lease));
        assert_eq!([looks(0.1, 20), looks(1.0, 20), looks(16.0, 20)], [6.0; 3]);
        assert_eq!([looks(20.0, 20), looks(100.0, 20), looks(10_000.0, 20), looks(10_000.0, 5)], [5.0, 1.0, 0.5, 2.0]);
    }

    #[test]
    fn numbers_have_separated_thousands() {
        let texts = [0.0, 999.0, 1000.0, 2_592_000.0, 0.5, 1234.567].map(number);
        assert_eq!(texts, ["0", "999", "1,000", "2,592,000", "0.5", "1,234.57"]);
    }
}
