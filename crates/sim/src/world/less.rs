//! What is left out of a world, to see less of it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::dice::Dice;
use super::plan::Plan;

/// Leaves one thing out of a world.
type Omission = (&'static str, fn(&mut Plan));

/// Everything that can be left out, what explains most first.
const OMISSIONS: &[Omission] = &[
    ("ttl", |plan| plan.ttl = false),
    ("lull", |plan| plan.lull = false),
    ("edges", |plan| plan.edges = false),
    ("legacy", |plan| plan.legacy = 0),
    ("operator", |plan| plan.operator = false),
    ("crashes", |plan| plan.crashes = false),
    ("pauses", |plan| plan.pauses = false),
    ("suspends", |plan| plan.suspends = false),
    ("freezes", |plan| plan.freezes = false),
    ("partitions", |plan| plan.partitions = false),
    ("bursts", |plan| plan.bursts = false),
    ("wall-steps", |plan| plan.wall_steps = false),
    ("wall-off", |plan| plan.wall_off = 0),
    ("starved", |plan| plan.starved = false),
    ("dateless", |plan| plan.dateless = 0),
    ("service-hosts", |plan| plan.service_hosts = [0; 3]),
    ("stale", |plan| plan.stale = Duration::ZERO),
    ("drops", |plan| plan.drops = 0),
    ("by-hand", |plan| plan.by_hand = 0),
    ("eager", |plan| plan.eager = false),
    ("lost", |plan| plan.weather.lost = 0),
    ("unheard", |plan| plan.weather.unheard = 0),
    ("twice", |plan| plan.weather.twice = 0),
    ("late", |plan| plan.weather.late = 0),
    ("hung", |plan| plan.weather.hung = 0),
    ("throttled", |plan| plan.weather.throttled = 0),
    ("refused", |plan| plan.weather.refused = 0),
];

/// So often at most are dice thrown anew.
pub const LUCK_MAX: u64 = 1000;

/// What is left out: `pauses,crashes,hosts=2,act=20000`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Less {
    pub names: BTreeSet<&'static str>,
    pub hosts: Option<usize>,
    pub locks: Option<usize>,
    /// Milliseconds.
    pub act: Option<u64>,
    /// The same world under another star: what happens in it comes from other dice.
    pub luck: Option<u64>,
}

impl Less {
    /// The names of all that can be left out.
    pub fn names() -> impl Iterator<Item = &'static str> {
        OMISSIONS.iter().map(|(name, _)| *name)
    }

    /// With this left out, too.
    pub fn and(mut self, name: &'static str) -> Self {
        self.names.insert(name);
        self
    }

    /// Leaves it out.
    pub fn settle(&self, plan: &mut Plan) {
        OMISSIONS.iter().filter(|(name, _)| self.names.contains(name)).for_each(|(_, omit)| omit(plan));
        plan.hosts = self.hosts.map_or(plan.hosts, |hosts| hosts.min(plan.hosts));
        plan.leases.truncate(plan.hosts);
        plan.locks = self.locks.map_or(plan.locks, |locks| locks.min(plan.locks));
        plan.act = self.act.map_or(plan.act, |act| Duration::from_millis(act).min(plan.act));
    }

    /// The dice for what happens in a world.
    pub fn dice(&self, dice: Dice) -> Dice {
        (0..self.luck.unwrap_or(0)).fold(dice, |mut dice, _| dice.fork())
    }

    /// What is still in a world, of what could be left out.
    pub fn left_in(plan: &Plan) -> Vec<&'static str> {
        let is_in = |omit: fn(&mut Plan)| {
            let mut without = plan.clone();
            omit(&mut without);
            format!("{without:?}") != format!("{plan:?}")
        };
        OMISSIONS.iter().filter(|(_, omit)| is_in(*omit)).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Less {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.names.iter().map(|name| (*name).to_owned()).collect();
        parts.extend(self.hosts.map(|hosts| format!("hosts={hosts}")));
        parts.extend(self.locks.map(|locks| format!("locks={locks}")));
        parts.extend(self.act.map(|act| format!("act={act}")));
        parts.extend(self.luck.map(|luck| format!("luck={luck}")));
        write!(f, "{}", parts.join(","))
    }
}

impl FromStr for Less {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut less = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let number = |text: &str| match text.parse::<u64>() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("{part}: a whole number above 0 is wanted")),
            };
            match part.split_once('=') {
                Some(("hosts", text)) => less.hosts = Some(number(text)? as usize),
                Some(("locks", text)) => less.locks = Some(number(text)? as usize),
                Some(("act", text)) => less.act = Some(number(text)?),
                Some(("luck", text)) => less.luck = Some(number(text)?.min(LUCK_MAX)),
                _ => {
                    let known = Self::names().find(|known| *known == part);
                    let names = || Self::names().collect::<Vec<_>>().join(", ");
                    let name = known.ok_or_else(|| format!("--less knows {}, hosts=, locks=, act=, luck=", names()))?;
                    less.names.insert(name);
                }
            }
        }
        Ok(less)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_can_be_read_back() {
        let less =
            Less { hosts: Some(2), act: Some(20_000), luck: Some(3), ..Less::default() }.and("pauses").and("crashes");
        assert_eq!(less.to_string(), "crashes,pauses,hosts=2,act=20000,luck=3");
        assert_eq!(less.to_string().parse(), Ok(less));
        for wrong in ["pause", "hosts=0", "act=long", "hosts", "luck=0"] {
            assert!(wrong.parse::<Less>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_left_in_when_everything_is_left_out() {
        let everything = Less::names().fold(Less::default(), Less::and);
        let mut seen = BTreeSet::new();
        for seed in 0..300 {
            let mut plan = Plan::of(&mut Dice::new(seed));
            seen.extend(Less::left_in(&plan));
            everything.settle(&mut plan);
            assert_eq!(Less::left_in(&plan), Vec::<&str>::new(), "seed {seed}");
        }
        // Each name stands for something that worlds have.
        assert_eq!(seen, Less::names().collect());
    }

    #[test]
    fn a_world_is_never_made_larger() {
        let less: Less = "hosts=9,locks=9,act=999999999".parse().expect("it is understood");
        let before = Plan::of(&mut Dice::new(1));
        let mut after = before.clone();
        less.settle(&mut after);
        assert_eq!((after.hosts, after.locks, after.act), (before.hosts, before.locks, before.act));
    }
}
