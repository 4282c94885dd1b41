//! The real client on real threads and real clocks: several runtimes, some of which end or are not driven.
//!
//! Tasks acquire locks over flaky links, use the protected resource, lose locks, and release or drop guards on other
//! threads. A watchdog notices calls that do not end.
#![allow(clippy::disallowed_methods)] // time is real here

mod link;
mod resource;
mod worker;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dynamo_lock::{Client, Event, LockName, LossReason, Memory, Observer};
use test_support::{Rng, lock, secs};
use tokio::runtime::Builder;

use link::Link;
use resource::Resource;
use worker::Worker;

/// Time after which a call counts as hanging. A call takes a few leases of one second.
const HANG: Duration = secs(60);
/// Number of clients, each with its own link. Half of them have a dedicated thread.
const CLIENTS: u64 = 8;

/// Extent of a run.
#[derive(Clone, Debug)]
pub struct Config {
    pub tasks: u64,
    pub seed: u64,
    /// Acquisitions after which the run ends.
    pub rounds: u64,
    /// Time after which the run ends, if that is earlier.
    pub time: Duration,
    /// Whether rows of held locks are deleted, so that the checks must notice two valid guards.
    pub delete_rows: bool,
}

/// Results of a run.
#[derive(Debug, Default)]
pub struct Report {
    pub counts: BTreeMap<&'static str, u64>,
    pub violations: Vec<String>,
}

/// State that all tasks share.
pub struct Environment {
    config: Config,
    began: Instant,
    clients: Vec<(Client, Link)>,
    resources: Vec<Resource>,
    rounds: AtomicU64,
    ended: AtomicBool,
    report: Mutex<Report>,
    table: Memory,
}

impl Environment {
    fn count(&self, what: &'static str) {
        *lock(&self.report).counts.entry(what).or_default() += 1;
    }

    fn check(&self, result: Result<(), String>) {
        if let Err(violation) = result {
            eprintln!("violation: {violation}");
            lock(&self.report).violations.push(violation);
        }
    }

    /// Waits for a call. A call that does not end is a violation.
    async fn ends<T>(&self, call: &str, future: impl Future<Output = T>) -> Option<T> {
        let ended = tokio::time::timeout(HANG, future).await.ok();
        self.check(ended.is_some().then_some(()).ok_or_else(|| format!("{call} has not ended after {HANG:?}")));
        ended
    }

    /// Returns whether the run goes on.
    fn goes_on(&self) -> bool {
        !self.ended.load(SeqCst)
            && self.rounds.load(SeqCst) < self.config.rounds
            && self.began.elapsed() < self.config.time
    }
}

/// Observer that counts losses by their reason.
#[derive(Debug, Default)]
struct LossCounter(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Observer for LossCounter {
    fn event(&self, event: Event<'_>) {
        let Event::Lost { reason, .. } = event else { return };
        let what = match reason {
            LossReason::Expired => "lost Expired",
            LossReason::TakenOver => "lost TakenOver",
            LossReason::Revoked => "lost Revoked",
            LossReason::RowGone => "lost RowGone",
            LossReason::RenewalStopped => "lost RenewalStopped",
            _ => "lost for another reason",
        };
        *lock(&self.0).entry(what).or_default() += 1;
    }
}

/// Runs the tasks to their end.
pub fn run(config: &Config) -> Report {
    let mut rng = Rng::mixed(config.seed);
    let (table, losses) = (Memory::new(), Arc::default());
    let client = |number: u64| {
        let link = Link::new(&table, rng.fork());
        let builder = Client::builder(link.clone()).lease(secs(1)).observer(LossCounter(Arc::clone(&losses)));
        let builder = if number.is_multiple_of(2) { builder } else { builder.dedicated_thread() };
        (builder.build().expect("a valid configuration"), link)
    };
    let shared = Arc::new(Environment {
        config: config.clone(),
        began: Instant::now(),
        clients: (0..CLIENTS).map(client).collect(),
        resources: (0..(config.tasks / 4).max(1)).map(|_| Resource::default()).collect(),
        rounds: AtomicU64::new(0),
        ended: AtomicBool::new(false),
        report: Mutex::default(),
        table,
    });
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime starts");
    let mut rng = Rng::mixed(config.seed + 1);
    let workers: Vec<_> = (0..config.tasks).map(|_| Worker::new(&shared, rng.fork())).collect();
    runtime.block_on(async {
        let tasks: Vec<_> = workers.into_iter().map(|worker| tokio::spawn(worker.run())).collect();
        for task in tasks {
            shared.check(task.await.map_err(|error| format!("a task ended early: {error}")));
        }
        shared.ended.store(true, SeqCst);
        worker::check_end(&shared).await;
    });
    drop(runtime);
    let mut report = std::mem::take(&mut *lock(&shared.report));
    report.counts.append(&mut lock(&losses));
    report
}

impl Environment {
    /// Deletes the row of a lock, which no user may do.
    fn delete_row(&self, lock: &str) {
        self.table.insert_raw(&LockName::new(lock).expect("a valid name"), None);
    }
}

/// Runs `threads ARGS`.
///
/// # Errors
/// A usage error.
pub fn main(args: &[String]) -> Result<ExitCode, String> {
    let mut config = Config { tasks: 64, seed: 0, rounds: u64::MAX, time: secs(60), delete_rows: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or_else(|| format!("missing value of {arg}"))?;
            value.parse::<u64>().map_err(|_| format!("invalid value {value:?} of {arg}: expected a number"))
        };
        match arg.as_str() {
            "--minutes" => config.time = secs(60 * number()?),
            "--rounds" => config.rounds = number()?,
            "--tasks" => config.tasks = number()?.max(1),
            "--seed" => config.seed = number()?,
            "--delete-rows" => config.delete_rows = true,
            _ => return Err(format!("unknown argument {arg}")),
        }
    }
    let panics = Arc::new(AtomicU64::new(0));
    let counter = panics.clone();
    std::panic::set_hook(Box::new(move |info| {
        counter.fetch_add(1, SeqCst);
        eprintln!("{info}");
    }));
    watch(&config);
    let report = run(&config);
    let counts: Vec<_> = report.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
    println!("{}", counts.join(", "));
    let (violations, panics) = (report.violations.len(), panics.load(SeqCst));
    println!("{violations} violations, {panics} panics");
    Ok(if violations == 0 && panics == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Ends the process with a message if the run does not end, for example because all threads of a runtime are blocked.
fn watch(config: &Config) {
    let limit = config.time + 5 * HANG;
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        eprintln!("violation: the run has not ended after {limit:?}");
        std::process::exit(1);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(seed: u64) -> Config {
        Config { tasks: 48, seed, rounds: 200, time: secs(600), delete_rows: false }
    }

    #[test]
    fn locks_exclude_on_real_threads() {
        let report = run(&config(1));
        assert_eq!(report.violations, [""; 0]);
        for what in ["acquired", "lost Revoked", "lost Expired", "lost RenewalStopped", "dropped without a runtime"] {
            assert!(report.counts.get(what).is_some_and(|count| *count > 0), "no {what} in {:?}", report.counts);
        }
    }

    /// Negative control.
    #[test]
    fn deleted_rows_are_noticed_as_two_valid_guards() {
        let report = run(&Config { delete_rows: true, tasks: 16, ..config(2) });
        assert!(report.violations.iter().any(|violation| violation.starts_with("A: ")), "{report:?}");
    }
}
