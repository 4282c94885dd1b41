//! `shrink`: a failing world with less in it, that breaks the same promise.

use std::process::ExitCode;
use std::time::Duration;

use super::less::Less;
use super::plan::Plan;
use super::run::{self, Args, world};

/// No act is made shorter than this, ms.
const ACT_MIN: u64 = 500;
/// What is tried under one star is tried under so many others.
const LUCKS: u64 = 4;

/// The subcommand: `shrink SEED [--world W] [--mutant M]`.
pub fn main(args: &[String]) -> ExitCode {
    let (seed, args) = match parse(args) {
        Ok(parsed) => parsed,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(64);
        }
    };
    run::count_panics();
    let history = world(seed, &args, false).history;
    let first = history.violations.first();
    let promise = first.and_then(|first| history.broken.iter().find(|promise| first.starts_with(*promise)));
    let Some(promise) = promise else {
        eprintln!("seed {seed} breaks no promise: there is nothing to shrink");
        return ExitCode::from(64);
    };
    let (least, tries) = Shrunk { seed, promise, args, tries: 0 }.into_least();
    tell(seed, promise, &least, tries);
    ExitCode::SUCCESS
}

fn parse(args: &[String]) -> Result<(u64, Args), String> {
    let (seed, rest) = args.split_first().ok_or("shrink needs a seed")?;
    let number = seed.parse().map_err(|_| format!("shrink needs a seed first, not {seed:?}"))?;
    Ok((number, run::parse(rest)?))
}

fn tell(seed: u64, promise: &str, args: &Args, tries: usize) {
    let plan = run::plan(seed, args);
    let told = world(seed, args, true).history;
    println!("seed {seed} breaks {promise:?} with less in it, after {tries} tries:");
    println!("  hosts: {}, locks: {}, act: {:?}", plan.hosts, plan.locks, plan.act);
    let left = Less::left_in(&plan);
    println!("  left in it: {}", if left.is_empty() { "nothing".to_owned() } else { left.join(", ") });
    println!("  its trace has {} lines", told.lines.len());
    println!("{}", run::replay(seed, args));
}

/// A world that breaks the promise, and is made smaller.
struct Shrunk {
    seed: u64,
    promise: &'static str,
    args: Args,
    tries: usize,
}

impl Shrunk {
    /// What was needed for one thing may not be for another: until nothing more can go.
    fn into_least(mut self) -> (Args, usize) {
        loop {
            let before = Less { luck: None, ..self.args.less.clone() };
            self.shorten();
            let hosts = self.plan().hosts;
            let _fewest = (1..hosts).find(|hosts| self.attempt(Less { hosts: Some(*hosts), ..self.args.less.clone() }));
            if self.plan().locks > 1 {
                self.attempt(Less { locks: Some(1), ..self.args.less.clone() });
            }
            for name in Less::left_in(&self.plan()) {
                self.attempt(self.args.less.clone().and(name));
            }
            if before == (Less { luck: None, ..self.args.less.clone() }) {
                return (self.args, self.tries);
            }
        }
    }

    fn plan(&self) -> Plan {
        run::plan(self.seed, &self.args)
    }

    /// By halves, then by quarters, then by eighths.
    fn shorten(&mut self) {
        for part in [2, 4, 8] {
            loop {
                let act = self.plan().act;
                let shorter = (act - act / part).max(Duration::from_millis(ACT_MIN));
                let less = Less { act: Some(shorter.as_millis() as u64), ..self.args.less.clone() };
                if shorter == act || !self.attempt(less) {
                    break;
                }
            }
        }
    }

    /// Whether the promise is still broken with that left out, be it under another star; if so, it stays out.
    fn attempt(&mut self, less: Less) -> bool {
        let others = (1..=LUCKS).map(Some).filter(|luck| *luck != less.luck);
        let found = std::iter::once(less.luck).chain(others).find_map(|luck| {
            self.tries += 1;
            let mut args = self.args.clone();
            args.less = Less { luck, ..less.clone() };
            world(self.seed, &args, false).history.broken.contains(self.promise).then_some(args)
        });
        found.map(|args| self.args = args).is_some()
    }
}
