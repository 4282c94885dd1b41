//! Coverage: the events that worlds met, and their required numbers, because a run in which nothing happens proves
//! nothing.

use std::{borrow::Cow, collections::BTreeMap};

/// Required numbers per 1,000 seeds, and the events that must occur as often.
const LEAST: &[(u64, &[&str])] = &[
    (1, &["takeover of an abandoned lock", "revoke conflict with own row"]),
    (1, &["legacy get conflict with own row", "legacy get conflict with other row"]),
    (5, &["take over conflict with own row", "revoke conflict with other row"]),
    (5, &["legacy overwrites a held row", "legacy get of a held row"]),
    (10, &["takeover of a legacy row", "guarded write refused", "ttl deletion"]),
    (20, &["take over conflict with other row", "renew conflict with own row", "renew conflict with other row"]),
    (20, &["release conflict with other row", "revoke applied", "legacy overwrites a free row"]),
    (20, &["child of a crashed holder", "takeover from an ended holder"]),
    (20, &["force revoke applied", "legacy clients without dates", "table deleted", "retry refused"]),
    (50, &["takeover by §5", "acquire conflict with own row", "release conflict with own row"]),
    (50, &["legacy get applied", "hold", "wild date"]),
    (100, &["suspend", "pause", "crash", "partition", "future dropped"]),
    (200, &["takeover by R2", "take over applied"]),
    (100, &["hand over conflict with own row", "hand over conflict with other row"]),
    (2000, &["hand over applied"]),
    (500, &["guarded write"]),
    (1000, &["acquire conflict with other row", "fenced write"]),
    (2000, &["acquire applied", "renew applied", "release applied"]),
];
/// Required numbers per 1,000 seeds in worlds with shared rows, and the events that must occur as often.
const LEAST_SHARED: &[(u64, &[&str])] = &[
    (1, &["revoke announcement applied", "force out exclusive applied", "revoke exclusive applied"]),
    (20, &["child of a crashed holder"]),
    (20, &["revoke shared applied", "force out shared applied", "evict exclusive applied"]),
    (20, &["promote conflict with own row", "withdraw applied", "evict announcement applied"]),
    (50, &["join conflict with own row", "renew shared conflict with own row", "leave shared conflict with own row"]),
    (50, &["set: lost or not released", "set: future dropped", "leader failed", "shared: release Unknown"]),
    (100, &["evict shared applied", "shared: release Lost", "renew announcement applied"]),
    (1000, &["announce applied", "promote applied", "shared: writer", "shared: timed out"]),
    (1000, &["set: acquired", "term begun"]),
    (5000, &["shared: permit", "shared: reader", "shared: several holders"]),
];
/// Events, and the required percentage of seeds that met them.
const SHARES: &[(&str, u64)] = &[
    ("any takeover", 30),
    ("hand over applied", 50),
    ("acquire conflict with own row", 20),
    ("renew conflict with own row", 20),
    ("release conflict with own row", 20),
];
const PASSES_MEDIAN: u64 = 5;

/// Event counts of many worlds.
#[derive(Debug, Default)]
pub struct Coverage {
    pub seeds: u64,
    pub counts: BTreeMap<Cow<'static, str>, u64>,
    shares: BTreeMap<Cow<'static, str>, u64>,
    passes: BTreeMap<u64, u64>,
    pub lock_hours: f64,
}

impl Coverage {
    /// Adds one world.
    pub fn add(&mut self, counts: &BTreeMap<Cow<'static, str>, u64>, passes: u64, lock_hours: f64) {
        self.seeds += 1;
        self.lock_hours += lock_hours;
        *self.passes.entry(passes).or_default() += 1;
        for (what, count) in counts {
            *self.counts.entry(what.clone()).or_default() += count;
            *self.shares.entry(what.clone()).or_default() += 1;
        }
        if counts.contains_key("take over applied") {
            *self.shares.entry("any takeover".into()).or_default() += 1;
        }
    }

    fn median(&self) -> u64 {
        let mut left = self.seeds / 2;
        for (passes, seeds) in &self.passes {
            match left.checked_sub(*seeds) {
                Some(rest) => left = rest,
                None => return *passes,
            }
        }
        0
    }

    /// Returns the table of events, and the events that occurred too rarely. `shared` is whether the worlds had shared
    /// rows.
    pub fn report(&self, shared: bool) -> (String, Vec<String>) {
        let mut table = format!("{:<40} {:>12} {:>8}\n", "", "times", "% seeds");
        for (what, count) in &self.counts {
            let share = self.share(what);
            table += &format!("{what:<40} {count:>12} {share:>8}\n");
        }
        table += &format!("acquisitions in a seed, median: {}\n", self.median());
        table += &format!("seeds with a takeover: {} %\n", self.share("any takeover"));
        let mut missing = Vec::new();
        let least = if shared { LEAST_SHARED } else { LEAST };
        for (least, what) in least.iter().flat_map(|(least, events)| events.iter().map(move |event| (least, *event))) {
            let (count, least) = (self.counts.get(what).copied().unwrap_or(0), least * self.seeds / 1000);
            if count < least {
                missing.push(format!("{what}: {count} times instead of at least {least}"));
            }
        }
        for (what, least) in SHARES.iter().filter(|_| !shared) {
            let share = self.share(what);
            if share < *least {
                missing.push(format!("{what}: in {share} % of the seeds instead of at least {least} %"));
            }
        }
        if self.median() < PASSES_MEDIAN {
            missing
                .push(format!("acquisitions in a seed, median: {} instead of at least {PASSES_MEDIAN}", self.median()));
        }
        (table, missing)
    }

    fn share(&self, what: &str) -> u64 {
        self.shares.get(what).copied().unwrap_or(0) * 100 / self.seeds.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worlds_without_events_are_insufficient() {
        let mut coverage = Coverage::default();
        (0..1000).for_each(|_| coverage.add(&BTreeMap::new(), 0, 0.0));
        let events: usize = LEAST.iter().map(|(_, events)| events.len()).sum();
        assert_eq!(coverage.report(false).1.len(), events + SHARES.len() + 1);
    }

    #[test]
    fn frequent_event_is_not_missing() {
        let mut coverage = Coverage::default();
        let counts = BTreeMap::from([("takeover by R2".into(), 1)]);
        (0..1000).for_each(|_| coverage.add(&counts, 5, 0.0));
        let (_, missing) = coverage.report(false);
        assert!(!missing.iter().any(|what| what.starts_with("takeover by R2") || what.starts_with("acquisitions")));
    }
}
