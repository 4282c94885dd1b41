//! Command `shrink`: reduces a failing world to a smaller one that breaks the same promise.

use std::{process::ExitCode, time::Duration};

use crate::world::{Plan, Reduction, command::run, command::run::Args, command::run::world};

/// Lower bound of the length of a phase, in milliseconds.
const PHASE_MIN: u64 = 500;
/// Number of other random sequences with which each reduction is tried.
const VARIANTS: u64 = 4;

/// Runs `shrink SEED [--world W] [--mutant M]`.
pub fn main(args: &[String]) -> Result<ExitCode, String> {
    let (seed, rest) = args.split_first().ok_or("missing seed: expected `shrink SEED`")?;
    let seed = seed.parse().map_err(|_| format!("invalid seed {seed:?}: expected a number"))?;
    let args = run::parse(rest)?;
    run::count_panics();
    let history = world(seed, &args, false).history;
    let first = history.violations.first();
    let promise = first.and_then(|first| history.broken.iter().find(|promise| first.starts_with(*promise)));
    let promise = promise.ok_or_else(|| format!("cannot shrink: seed {seed} breaks no promise"))?;
    let (least, tries) = Shrinker { seed, promise, args, tries: 0 }.into_smallest();
    report(seed, promise, &least, tries);
    Ok(ExitCode::SUCCESS)
}

fn report(seed: u64, promise: &str, args: &Args, tries: usize) {
    let plan = run::plan(seed, args);
    let finished = world(seed, args, true).history;
    println!("a smaller world of seed {seed} breaks {promise:?}, after {tries} tries:");
    println!("  hosts: {}, locks: {}, phase: {:?}", plan.hosts, plan.locks, plan.phase);
    let left = Reduction::remaining(&plan);
    println!("  contains: {}", if left.is_empty() { "nothing".to_owned() } else { left.join(", ") });
    println!("  its trace has {} lines", finished.lines.len());
    println!("{}", run::replay(seed, args));
}

/// A world that breaks the promise, while it is being reduced.
struct Shrinker {
    seed: u64,
    promise: &'static str,
    args: Args,
    tries: usize,
}

impl Shrinker {
    /// Reduces the world until nothing more can be left out. One reduction can make another possible, so all are tried
    /// again.
    fn into_smallest(mut self) -> (Args, usize) {
        loop {
            let before = Reduction { variant: None, ..self.args.reduction.clone() };
            self.shorten();
            let hosts = self.plan().hosts;
            let _fewest =
                (1..hosts).find(|hosts| self.attempt(Reduction { hosts: Some(*hosts), ..self.args.reduction.clone() }));
            if self.plan().locks > 1 {
                self.attempt(Reduction { locks: Some(1), ..self.args.reduction.clone() });
            }
            for name in Reduction::remaining(&self.plan()) {
                self.attempt(self.args.reduction.clone().and(name));
            }
            if before == (Reduction { variant: None, ..self.args.reduction.clone() }) {
                return (self.args, self.tries);
            }
        }
    }

    fn plan(&self) -> Plan {
        run::plan(self.seed, &self.args)
    }

    /// Shortens the phase by halves, then by quarters, then by eighths.
    fn shorten(&mut self) {
        for part in [2, 4, 8] {
            loop {
                let phase = self.plan().phase;
                let shorter = (phase - phase / part).max(Duration::from_millis(PHASE_MIN));
                let reduction = Reduction { phase: Some(shorter.as_millis() as u64), ..self.args.reduction.clone() };
                if shorter == phase || !self.attempt(reduction) {
                    break;
                }
            }
        }
    }

    /// Returns whether a reduced world still breaks the promise, if necessary with another random sequence, and keeps
    /// the reduction then.
    fn attempt(&mut self, reduction: Reduction) -> bool {
        let others = (1..=VARIANTS).map(Some).filter(|variant| *variant != reduction.variant);
        let found = std::iter::once(reduction.variant).chain(others).find_map(|variant| {
            self.tries += 1;
            let mut args = self.args.clone();
            args.reduction = Reduction { variant, ..reduction.clone() };
            world(self.seed, &args, false).history.broken.contains(self.promise).then_some(args)
        });
        found.map(|args| self.args = args).is_some()
    }
}
