//! Linearizability (Herlihy and Wing, 1990) of the results that callers received, against a mutex with tokens.
//!
//! The model is free, or held with a token. An acquisition that returned a token made it held at one instant between
//! its call and its return. A release that returned `Ok` made it free between its call and its return. An acquisition
//! without such a release ended at some instant after the last one at which its guard was valid. Tokens rise, so they
//! give the order of the acquisitions. The earliest possible instants are the best ones: if they do not fit, none do.
//! An attempt that was refused needs an instant at which the lock was held.

use std::{collections::BTreeMap, time::Duration};

use crate::world::{World, lock};

/// Results that callers received about one acquisition.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// Call and return of the acquisition.
    acquired: (Duration, Duration),
    /// Last time at which its guard was valid.
    live: Duration,
    /// Call and return of a release that returned `Ok`.
    released: Option<(Duration, Duration)>,
    /// It was revoked by force, which breaks exclusion by design.
    forced: bool,
}

/// Results by lock and token.
pub type Calls = BTreeMap<String, BTreeMap<u64, Results>>;

/// Returns the first acquisition that fits nowhere, and the reason.
pub fn misfit(acquisitions: &BTreeMap<u64, Results>) -> Option<(u64, String)> {
    let mut now = Duration::ZERO;
    for (token, record) in acquisitions.iter().filter(|(_, record)| !record.forced) {
        let acquired = ("acquired", Some(record.acquired), record.live);
        for (what, call, valid_until) in [acquired, ("released", record.released, Duration::ZERO)] {
            let Some((called, returned)) = call else { continue };
            now = now.max(called);
            if now > returned {
                return Some((
                    *token,
                    format!("{what} by {returned:?}, but an earlier call needs the time until {now:?}"),
                ));
            }
            now = now.max(valid_until);
        }
    }
    None
}

/// Returns whether the lock was held at some instant of a call. `changes` contains the times from which on it was
/// free, or not.
pub fn was_held(changes: &[(Duration, bool)], called: Duration, returned: Duration) -> bool {
    let before = changes.iter().rev().find(|(time, _)| *time <= called).is_some_and(|(_, free)| !free);
    before || changes.iter().any(|(time, free)| (called..=returned).contains(time) && !free)
}

impl World {
    fn record(&self, name: &str, token: u64, f: impl FnOnce(&mut Results)) {
        f(lock(&self.calls).entry(name.to_owned()).or_default().entry(token).or_default());
    }

    /// Records that an acquisition with this call time has returned.
    pub fn acquire_returned(&self, name: &str, token: u64, called: Duration) {
        let now = self.time();
        self.record(name, token, |record| record.acquired = (called, now));
    }

    pub fn guard_was_valid(&self, name: &str, token: u64) {
        let now = self.time();
        self.record(name, token, |record| record.live = now);
    }

    /// Records that a release with this call time has returned `Ok`.
    pub fn release_returned(&self, name: &str, token: u64, called: Duration) {
        let now = self.time();
        self.record(name, token, |record| record.released = Some((called, now)));
    }

    /// Checks an attempt with this call time that was refused because another client held the lock.
    pub fn attempt_refused(&self, name: &str, called: Duration) {
        let held = {
            let table = lock(&self.table);
            table.locks.get(name).is_some_and(|entry| was_held(&entry.changes, called, self.time()))
        };
        self.check(held, "linearizable", || format!("{name} was refused as held, but was free since {called:?}"));
    }

    /// Checks all results at the end of the world.
    pub fn check_linearizable(&self) {
        let mut calls = std::mem::take(&mut *lock(&self.calls));
        for (name, acquisitions) in &mut calls {
            if let Some(entry) = lock(&self.table).locks.get(name) {
                for (token, record) in acquisitions.iter_mut() {
                    record.forced = entry.acquisitions.get(token).is_some_and(|acquisition| acquisition.forced);
                }
            }
            if let Some((token, why)) = misfit(acquisitions) {
                self.violation("linearizable", format!("{name} with {token}: {why}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn acquisition(acquired: (u64, u64), live: u64, released: Option<(u64, u64)>) -> Results {
        let span = |(from, to)| (s(from), s(to));
        Results { acquired: span(acquired), live: s(live), released: released.map(span), forced: false }
    }

    fn fits(acquisitions: &[(u64, Results)]) -> bool {
        misfit(&acquisitions.iter().cloned().collect()).is_none()
    }

    #[test]
    fn successive_acquisitions_fit() {
        assert!(fits(&[(1, acquisition((0, 1), 2, Some((3, 5)))), (2, acquisition((1, 6), 6, Some((7, 8))))]));
        // The release was applied at its call, so the second acquisition was applied before the release returned.
        assert!(fits(&[(1, acquisition((0, 1), 2, Some((3, 9)))), (2, acquisition((2, 4), 8, None))]));
    }

    #[test]
    fn contradictory_results_do_not_fit() {
        for (contradiction, acquisitions) in [
            ("overlap", vec![(1, acquisition((0, 1), 5, None)), (2, acquisition((2, 4), 4, None))]),
            (
                "decreasing token",
                vec![(2, acquisition((0, 1), 1, Some((1, 2)))), (1, acquisition((3, 4), 4, Some((5, 6))))],
            ),
            ("release before last validity", vec![(1, acquisition((0, 1), 7, Some((2, 3))))]),
            ("release before acquisition", vec![(1, acquisition((4, 5), 0, Some((1, 2))))]),
        ] {
            assert!(!fits(&acquisitions), "{contradiction}");
        }
    }

    #[test]
    fn forced_revocation_is_exempt() {
        let forced = Results { forced: true, ..acquisition((0, 1), 5, None) };
        assert!(fits(&[(1, forced), (2, acquisition((2, 4), 4, None))]));
    }

    #[test]
    fn refusal_needs_a_held_instant() {
        let changes = [(s(0), true), (s(2), false), (s(4), true)];
        assert!(was_held(&changes, s(3), s(3)));
        assert!(was_held(&changes, s(1), s(3)));
        assert!(was_held(&changes, s(1), s(2)));
        assert!(!was_held(&changes, s(0), s(1)));
        assert!(!was_held(&changes, s(4), s(9)));
        assert!(!was_held(&[], s(0), s(9)));
    }
}
