//! [`Scans`]: reads of the whole store, each of which serves all pages until the next one is due.

use std::time::Duration;

use dynamo_lock::{Client, clock::ClockReading};
use serde_json::json;
use tokio::sync::Mutex;

use crate::{clock, failure::Failure, read_units, ui::view::View};

/// Maximum number of locks of a scan, so that memory is bounded. A scan ends there.
pub const LOCKS_MAX: usize = 20_000;
/// Minimum age of a scan that a request for a fresh one replaces.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// The scans of a store.
pub struct Scans {
    client: Client,
    interval: Duration,
    /// Whether the store charges reads.
    is_charged: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    latest: Option<Scan>,
    scans: u64,
    /// Estimated read units of all scans.
    units: f64,
}

/// One scan, or its failure.
struct Scan {
    at: ClockReading,
    locks: Result<Locks, Failure>,
}

#[derive(Default)]
struct Locks {
    /// One JSON object for each lock, separated by commas.
    json: String,
    count: usize,
    is_complete: bool,
}

impl Scans {
    /// Creates scans that are repeated in this interval, as long as requests arrive.
    pub fn new(client: Client, interval: Duration, is_charged: bool) -> Self {
        Self { client, interval, is_charged, state: Mutex::default() }
    }

    /// Returns the latest scan as JSON, after a new one if that is due. A fresh scan is due after one second instead of
    /// the interval. Concurrent requests share one scan.
    pub async fn latest(&self, is_fresh: bool) -> Result<String, String> {
        let due = if is_fresh { FRESH_FOR.min(self.interval) } else { self.interval };
        let mut state = self.state.lock().await;
        let age = |scan: &Scan| Duration::from_nanos(clock::now().boot_ns.saturating_sub(scan.at.boot_ns));
        if state.latest.as_ref().is_none_or(|scan| age(scan) >= due) {
            let (locks, at) = (self.scan().await, clock::now());
            state.scans += 1;
            state.units += locks.as_ref().map_or(0.0, |locks| self.units(locks.count));
            state.latest = Some(Scan { at, locks });
        }
        let State { latest: Some(scan), scans, units } = &*state else { return Err(String::new()) };
        let age = age(scan);
        let next_ms = self.interval.saturating_sub(age).as_millis() as u64;
        let locks = match &scan.locks {
            Ok(locks) => locks,
            Err(failure) => return Err(json!({ "error": failure.message, "nextMs": next_ms }).to_string()),
        };
        let units = self.is_charged.then(|| json!({ "scan": self.units(locks.count), "total": units }));
        let head = json!({
            "scannedAtMs": scan.at.wall_ms,
            "ageMs": age.as_millis() as u64,
            "nextMs": next_ms,
            "intervalMs": self.interval.as_millis() as u64,
            "scans": scans,
            "complete": locks.is_complete,
            "readUnits": units,
        });
        let head = head.to_string();
        Ok(format!("{},\"locks\":[{}]}}", head.strip_suffix('}').unwrap_or_default(), locks.json))
    }

    /// Estimates the read units of a scan of this number of locks.
    fn units(&self, locks: usize) -> f64 {
        if self.is_charged { read_units::of_listing(locks as u64) } else { 0.0 }
    }

    async fn scan(&self) -> Result<Locks, Failure> {
        let mut list = self.client.list();
        let mut locks = Locks::default();
        while let Some(lock) = list.try_next().await? {
            if locks.count == LOCKS_MAX {
                return Ok(locks);
            }
            let view = match lock.inspection {
                Ok(inspection) => View::new(lock.name, inspection),
                Err(error) => View::unreadable(lock.name, error.to_string()),
            };
            if locks.count > 0 {
                locks.json.push(',');
            }
            locks.json += &view.json();
            locks.count += 1;
        }
        Ok(Locks { is_complete: true, ..locks })
    }
}

#[cfg(test)]
mod tests {
    use dynamo_lock::Memory;
    use serde_json::Value;

    use super::*;

    fn scans(is_charged: bool) -> Scans {
        let client = Client::builder(Memory::new()).build().expect("a client");
        Scans::new(client, Duration::from_secs(3600), is_charged)
    }

    #[tokio::test]
    async fn requests_within_the_interval_share_one_scan() {
        let scans = scans(true);
        let answers = [scans.latest(false).await, scans.latest(false).await, scans.latest(true).await];
        for answer in answers {
            let answer: Value = serde_json::from_str(&answer.expect("it succeeds")).expect("JSON");
            assert_eq!((&answer["scans"], &answer["locks"]), (&json!(1), &json!([])));
            assert_eq!(answer["readUnits"], json!({ "scan": 0.5, "total": 0.5 }));
        }
    }

    #[test]
    fn read_units_are_estimated_in_halves_for_4_kb() {
        let units = |locks| scans(true).units(locks);
        assert_eq!([0, 1, 4, 5, 8, 1000].map(units), [0.5, 0.5, 0.5, 1.0, 1.0, 125.0]);
        assert_eq!(scans(false).units(1000), 0.0);
    }
}
