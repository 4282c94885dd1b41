//! Reduction of a world: the parts that are left out of it, for a shorter trace.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use super::Plan;
use test_support::Rng;

/// Name of a part of a world, and the function that leaves it out of a plan.
type Part = (&'static str, fn(&mut Plan));

/// All parts that can be left out, the most explanatory first.
const PARTS: &[Part] = &[
    ("ttl", |plan| plan.ttl = false),
    ("idle-gap", |plan| plan.idle_gap = false),
    ("fixed-service-host", |plan| plan.fixed_service_host = false),
    ("legacy", |plan| plan.legacy = 0),
    ("wild-host", |plan| plan.wild_host = 0),
    ("clones", |plan| plan.clones = false),
    ("operator", |plan| plan.operator = false),
    ("crashes", |plan| plan.crashes = false),
    ("children", |plan| plan.children = false),
    ("pauses", |plan| plan.pauses = false),
    ("suspends", |plan| plan.suspends = false),
    ("freezes", |plan| plan.freezes = false),
    ("partitions", |plan| plan.partitions = false),
    ("bursts", |plan| plan.bursts = false),
    ("wall-steps", |plan| plan.wall_steps = false),
    ("wall-offset", |plan| plan.wall_offset = 0),
    ("starved", |plan| plan.starved = false),
    ("dateless", |plan| plan.dateless = 0),
    ("service-hosts", |plan| plan.service_hosts = [0; 3]),
    ("stale", |plan| plan.stale = Duration::ZERO),
    ("drops", |plan| plan.drops = 0),
    ("manual", |plan| plan.manual = 0),
    ("checks-all", |plan| plan.checks_all = false),
    ("lost", |plan| plan.fault_rates.lost = 0),
    ("unanswered", |plan| plan.fault_rates.unanswered = 0),
    ("duplicated", |plan| plan.fault_rates.duplicated = 0),
    ("late", |plan| plan.fault_rates.late = 0),
    ("hung", |plan| plan.fault_rates.hung = 0),
    ("throttled", |plan| plan.fault_rates.throttled = 0),
    ("refused", |plan| plan.fault_rates.refused = 0),
    ("denied", |plan| plan.fault_rates.denied = 0),
    ("deletions", |plan| plan.deletions = false),
];

/// Upper bound of the number of the random sequence.
pub const VARIANT_MAX: u64 = 1000;

/// Reduction, as text for example `pauses,crashes,hosts=2,phase=20000`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reduction {
    pub names: BTreeSet<&'static str>,
    pub hosts: Option<usize>,
    pub locks: Option<usize>,
    /// Length of the phase, in milliseconds.
    pub phase: Option<u64>,
    /// Number of another random sequence for the events in the same world.
    pub variant: Option<u64>,
}

impl Reduction {
    /// Returns the names of all parts that can be left out.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PARTS.iter().map(|(name, _)| *name)
    }

    /// Returns the reduction that leaves out this part, too.
    pub fn and(mut self, name: &'static str) -> Self {
        self.names.insert(name);
        self
    }

    /// Applies the reduction to a plan.
    pub fn restrict(&self, plan: &mut Plan) {
        PARTS.iter().filter(|(name, _)| self.names.contains(name)).for_each(|(_, omit)| omit(plan));
        plan.hosts = self.hosts.map_or(plan.hosts, |hosts| hosts.min(plan.hosts));
        plan.leases.truncate(plan.hosts);
        plan.locks = self.locks.map_or(plan.locks, |locks| locks.min(plan.locks));
        plan.phase = self.phase.map_or(plan.phase, |phase| Duration::from_millis(phase).min(plan.phase));
    }

    /// Returns the generator for the events in a world.
    pub fn rng(&self, rng: Rng) -> Rng {
        (0..self.variant.unwrap_or(0)).fold(rng, |mut rng, _| rng.fork())
    }

    /// Returns the names of the parts that a plan still contains.
    pub fn remaining(plan: &Plan) -> Vec<&'static str> {
        let is_in = |omit: fn(&mut Plan)| {
            let mut without = plan.clone();
            omit(&mut without);
            format!("{without:?}") != format!("{plan:?}")
        };
        PARTS.iter().filter(|(_, omit)| is_in(*omit)).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.names.iter().map(|name| (*name).to_owned()).collect();
        parts.extend(self.hosts.map(|hosts| format!("hosts={hosts}")));
        parts.extend(self.locks.map(|locks| format!("locks={locks}")));
        parts.extend(self.phase.map(|phase| format!("phase={phase}")));
        parts.extend(self.variant.map(|variant| format!("variant={variant}")));
        write!(f, "{}", parts.join(","))
    }
}

impl FromStr for Reduction {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut reduction = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let number = |text: &str| match text.parse::<u64>() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("invalid {part:?}: expected a whole number above 0")),
            };
            match part.split_once('=') {
                Some(("hosts", text)) => reduction.hosts = Some(number(text)? as usize),
                Some(("locks", text)) => reduction.locks = Some(number(text)? as usize),
                Some(("phase", text)) => reduction.phase = Some(number(text)?),
                Some(("variant", text)) => reduction.variant = Some(number(text)?.min(VARIANT_MAX)),
                _ => {
                    let known = Self::names().find(|known| *known == part);
                    let names = || Self::names().collect::<Vec<_>>().join(", ");
                    let name = known.ok_or_else(|| {
                        format!(
                            "unknown part {part:?}; expected some of {}, hosts=N, locks=N, phase=MS, variant=N",
                            names()
                        )
                    })?;
                    reduction.names.insert(name);
                }
            }
        }
        Ok(reduction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::stack::StoreKind;

    #[test]
    fn reduction_round_trips_through_text() {
        let reduction = Reduction { hosts: Some(2), phase: Some(20_000), variant: Some(3), ..Reduction::default() }
            .and("pauses")
            .and("crashes");
        assert_eq!(reduction.to_string(), "crashes,pauses,hosts=2,phase=20000,variant=3");
        assert_eq!(reduction.to_string().parse(), Ok(reduction));
        for wrong in ["pause", "hosts=0", "phase=long", "hosts", "variant=0"] {
            assert!(wrong.parse::<Reduction>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn full_reduction_leaves_no_part() {
        let everything = Reduction::names().fold(Reduction::default(), Reduction::and);
        let mut seen = BTreeSet::new();
        for seed in 0..300 {
            // Only the SQLite store notices children of a crashed process.
            for store in [StoreKind::Model, StoreKind::Sqlite] {
                let mut plan = Plan::of(&mut Rng::mixed(seed));
                store.restrict(&mut plan);
                seen.extend(Reduction::remaining(&plan));
                everything.restrict(&mut plan);
                assert_eq!(Reduction::remaining(&plan), Vec::<&str>::new(), "seed {seed}");
            }
        }
        // Each name stands for a part that occurs in some world.
        assert_eq!(seen, Reduction::names().collect());
    }

    #[test]
    fn reduction_never_enlarges_world() {
        let reduction: Reduction = "hosts=9,locks=9,phase=999999999".parse().expect("it is understood");
        let before = Plan::of(&mut Rng::mixed(1));
        let mut after = before.clone();
        reduction.restrict(&mut after);
        assert_eq!((after.hosts, after.locks, after.phase), (before.hosts, before.locks, before.phase));
    }
}
