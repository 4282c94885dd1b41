//! Whether what callers were told could have happened in one order: linearizability (Herlihy and Wing, 1990) against a
//! mutex with tokens.
//!
//! The model is free or held with a token. An acquisition that returned a token made it held at one instant between its
//! call and its return; a release that returned `Ok` made it free between its call and its return; a reign without such a
//! release ended at some instant after the last at which its guard said that it is live. Tokens rise, so they give the
//! order of the reigns, and the earliest instants that are possible are the best ones: if they do not fit, none do. An
//! attempt that was told that the lock is held needs an instant at which it was.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{World, lock};

/// What one caller was told of one reign.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The acquisition was called, and it returned.
    acquired: (Duration, Duration),
    /// Its guard last said that it is live.
    live: Duration,
    /// A release that returned `Ok`: called, returned.
    released: Option<(Duration, Duration)>,
    /// It was freed by force: exclusion is broken, by name.
    forced: bool,
}

/// By lock, and there by token.
pub type Calls = BTreeMap<String, BTreeMap<u64, Told>>;

/// The first reign that fits in nowhere, if one does not.
pub fn misfit(lease_ids: &BTreeMap<u64, Told>) -> Option<(u64, String)> {
    let mut now = Duration::ZERO;
    for (token, told) in lease_ids.iter().filter(|(_, told)| !told.forced) {
        let (called, returned) = told.acquired;
        now = now.max(called);
        if now > returned {
            return Some((
                *token,
                format!("acquired by {returned:?}, but before it there was something until {now:?}"),
            ));
        }
        now = now.max(told.live);
        if let Some((called, returned)) = told.released {
            now = now.max(called);
            if now > returned {
                return Some((*token, format!("released by {returned:?}, but there was something until {now:?}")));
            }
        }
    }
    None
}

/// Whether at some instant of a call the lock was not free; `changes` say from when on it was free, or not.
pub fn was_held(changes: &[(Duration, bool)], called: Duration, returned: Duration) -> bool {
    let before = changes.iter().rev().find(|(time, _)| *time <= called).is_some_and(|(_, free)| !free);
    before || changes.iter().any(|(time, free)| (called..=returned).contains(time) && !free)
}

impl World {
    fn told(&self, name: &str, token: u64, f: impl FnOnce(&mut Told)) {
        f(lock(&self.calls).entry(name.to_owned()).or_default().entry(token).or_default());
    }

    /// An acquisition that was called then has returned.
    pub fn told_acquired(&self, name: &str, token: u64, called: Duration) {
        let now = self.time();
        self.told(name, token, |told| told.acquired = (called, now));
    }

    pub fn told_live(&self, name: &str, token: u64) {
        let now = self.time();
        self.told(name, token, |told| told.live = now);
    }

    /// A release that was called then has returned `Ok`.
    pub fn told_released(&self, name: &str, token: u64, called: Duration) {
        let now = self.time();
        self.told(name, token, |told| told.released = Some((called, now)));
    }

    /// An attempt that was called then was told that somebody else has the lock.
    pub fn told_contended(&self, name: &str, called: Duration) {
        let held = {
            let table = lock(&self.table);
            table.locks.get(name).is_some_and(|entry| was_held(&entry.changes, called, self.time()))
        };
        self.check(held, "linearizable", || format!("{name} was said to be held, and was free since {called:?}"));
    }

    /// All that was told, at the end.
    pub fn in_one_order(&self) {
        let mut calls = std::mem::take(&mut *lock(&self.calls));
        for (name, lease_ids) in &mut calls {
            if let Some(entry) = lock(&self.table).locks.get(name) {
                for (token, told) in lease_ids.iter_mut() {
                    told.forced = entry.lease_ids.get(token).is_some_and(|lease_id| lease_id.forced);
                }
            }
            if let Some((token, why)) = misfit(lease_ids) {
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

    fn lease_id(acquired: (u64, u64), live: u64, released: Option<(u64, u64)>) -> Told {
        let span = |(from, to)| (s(from), s(to));
        Told { acquired: span(acquired), live: s(live), released: released.map(span), forced: false }
    }

    fn fits(lease_ids: &[(u64, Told)]) -> bool {
        misfit(&lease_ids.iter().cloned().collect()).is_none()
    }

    #[test]
    fn reigns_one_after_the_other_fit() {
        assert!(fits(&[(1, lease_id((0, 1), 2, Some((3, 5)))), (2, lease_id((1, 6), 6, Some((7, 8))))]));
        // The release took effect at its call, so the other was in before it returned.
        assert!(fits(&[(1, lease_id((0, 1), 2, Some((3, 9)))), (2, lease_id((2, 4), 8, None))]));
    }

    #[test]
    fn two_at_a_time_do_not() {
        assert!(!fits(&[(1, lease_id((0, 1), 5, None)), (2, lease_id((2, 4), 4, None))]));
    }

    #[test]
    fn a_token_against_the_order_of_time_does_not() {
        assert!(!fits(&[(2, lease_id((0, 1), 1, Some((1, 2)))), (1, lease_id((3, 4), 4, Some((5, 6))))]));
    }

    #[test]
    fn a_release_that_returned_before_its_guard_was_last_live_does_not() {
        assert!(!fits(&[(1, lease_id((0, 1), 7, Some((2, 3))))]));
    }

    #[test]
    fn a_release_before_the_acquisition_does_not() {
        assert!(!fits(&[(1, lease_id((4, 5), 0, Some((1, 2))))]));
    }

    #[test]
    fn what_was_forced_is_excepted() {
        let forced = Told { forced: true, ..lease_id((0, 1), 5, None) };
        assert!(fits(&[(1, forced), (2, lease_id((2, 4), 4, None))]));
    }

    #[test]
    fn held_is_said_only_of_what_was_held_then() {
        let changes = [(s(0), true), (s(2), false), (s(4), true)];
        assert!(was_held(&changes, s(3), s(3)));
        assert!(was_held(&changes, s(1), s(3)));
        assert!(was_held(&changes, s(1), s(2)));
        assert!(!was_held(&changes, s(0), s(1)));
        assert!(!was_held(&changes, s(4), s(9)));
        assert!(!was_held(&[], s(0), s(9)));
    }
}
