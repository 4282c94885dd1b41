//! One random history of work that runs once: links lose, repeat and delay requests, hosts crash, and an operator revokes
//! runs and resets successes.

#![allow(clippy::disallowed_methods)] // tokio's time is virtual here

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamo_lock::store::attr;
use dynamo_lock::{Guard, Once, OnceError, RecordError};
use test_support::{Call, Host, LEASE, LinkFault, Rng, World, lock, secs};
use tokio::time::{sleep, timeout};

/// Length of a history with faults.
const LENGTH: Duration = secs(240);
/// Hosts that try the work again and again.
const HOSTS: usize = 3;

/// Facts about all runs of the work, from outside of the library.
#[derive(Default)]
struct History {
    running: AtomicBool,
    /// Tokens of runs that have succeeded, before the library received that.
    succeeded: Mutex<BTreeSet<u64>>,
    /// Tokens of successes that a client has reported as recorded.
    recorded: Mutex<BTreeSet<u64>>,
    /// Tokens of successes that the operator has begun to reset.
    reset: Mutex<BTreeSet<u64>>,
    counts: [AtomicUsize; OUTCOMES.len()],
}

/// Outcome of an attempt or of an act of the operator, the index in [`Counts`].
#[derive(Clone, Copy)]
enum Outcome {
    Ran,
    Skipped,
    Failed,
    Lost,
    NotRecorded,
    Reset,
}

/// Names of the outcomes.
pub const OUTCOMES: [&str; 6] = ["ran", "skipped", "failed", "lost", "not recorded", "reset"];

/// Number of each outcome.
pub type Counts = [usize; OUTCOMES.len()];

/// A fault of the operator that the checks must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Successes are reset without a note.
    UnnotedReset,
    /// Runs are revoked by force.
    ForcedRevoke,
}

/// Marks the time in which the work runs, until it ends or is dropped.
struct Run(Arc<History>);

impl Run {
    fn begin(history: &Arc<History>) -> Self {
        assert!(!history.running.swap(true, Ordering::SeqCst), "two runs at once");
        Self(history.clone())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::SeqCst);
    }
}

impl History {
    fn count(&self, outcome: Outcome) {
        self.counts[outcome as usize].fetch_add(1, Ordering::SeqCst);
    }

    /// Returns whether the store has the success of this token, or had it before the operator's reset.
    async fn is_recorded(&self, world: &World, token: u64) -> bool {
        done(world).await == Some(token) || lock(&self.reset).contains(&token)
    }
}

/// Returns the token of the recorded success.
async fn done(world: &World) -> Option<u64> {
    world.row("a").await.and_then(|row| row.whole(attr::DONE_TOKEN))
}

/// Returns a fault of a request, mostly none.
fn fault(rng: &mut Rng) -> LinkFault {
    if !rng.chance(350) {
        return LinkFault::None;
    }
    let late = rng.up_to(secs(25));
    match rng.below(9) {
        0 => LinkFault::LoseRequest,
        1 => LinkFault::LoseAnswer,
        2 => LinkFault::Hang,
        3 => LinkFault::HangAfter,
        4 => LinkFault::Late(late),
        5 => LinkFault::Twice(late),
        6 => LinkFault::LoseAnswerAndLand(late),
        7 => LinkFault::Throttle,
        _ => LinkFault::Undated,
    }
}

fn host_with_faults(world: &World, rng: &mut Rng) -> Host {
    let (host, mut rng) = (world.host(), rng.fork());
    host.link.choose_faults(move |_: &Call| fault(&mut rng));
    host
}

/// Tries the work once, and checks the result.
async fn attempt(world: &World, host: &Host, history: &Arc<History>, rng: &mut Rng) {
    let (length, succeeds, waits) = (rng.up_to(secs(15)), rng.chance(500), rng.chance(800));
    let mut once = host.lock().options().once();
    if !waits {
        once = once.no_wait();
    }
    let work = async |guard: &Guard| {
        let _run = Run::begin(history);
        let counts = lock(&history.recorded).difference(&lock(&history.reset)).next().copied();
        assert_eq!(counts.or(done(world).await), None, "the work begins although its success is recorded");
        sleep(length).await;
        if !succeeds {
            return Err(());
        }
        lock(&history.succeeded).insert(guard.token().get());
        Ok(guard.token().get())
    };
    match once.run(work).await {
        Ok(Once::Ran(token)) => {
            assert!(history.is_recorded(world, token).await, "it is reported as recorded, and it is not");
            lock(&history.recorded).insert(token);
            history.count(Outcome::Ran);
        }
        Ok(Once::Skipped(success)) => {
            assert!(lock(&history.succeeded).contains(&success.token.get()), "it is skipped without a success");
            lock(&history.recorded).insert(success.token.get());
            history.count(Outcome::Skipped);
        }
        Ok(Once::Running(_)) => {}
        Err(OnceError::Work(())) => history.count(Outcome::Failed),
        Err(OnceError::Lost(_)) => history.count(Outcome::Lost),
        Err(OnceError::NotRecorded { output, error }) => {
            let is_certain = matches!(error, RecordError::Lost(_) | RecordError::Store(_));
            // A success that was recorded and reset since is reported in the same way.
            let is_recorded = done(world).await == Some(output);
            assert!(!is_certain || !is_recorded, "it is reported as not recorded, and it is: {error}");
            history.count(Outcome::NotRecorded);
        }
        Err(OnceError::Acquire(_)) => {}
        Err(error) => panic!("{error:?}"),
    }
}

/// Tries the work until the end of the history. The host crashes from time to time, and another one takes its place.
async fn tries(world: World, history: Arc<History>, mut rng: Rng) {
    while world.time() < LENGTH {
        let host = host_with_faults(&world, &mut rng);
        let life = rng.up_to(LENGTH);
        let lives = async {
            while world.time() < LENGTH {
                attempt(&world, &host, &history, &mut rng).await;
                sleep(rng.up_to(secs(10))).await;
            }
        };
        if timeout(life, lives).await.is_err() {
            // Nothing that the process still sends arrives, also not the release of its dropped guard.
            host.link.set_all(LinkFault::Hang);
        }
    }
}

/// Revokes runs, and resets successes.
async fn operates(world: World, history: Arc<History>, mut rng: Rng, mutant: Option<Mutant>) {
    let lock_of_operator = world.host().lock();
    while world.time() < LENGTH {
        sleep(rng.up_to(secs(40))).await;
        let Some(row) = world.row("a").await else { continue };
        let Some(token) = row.token() else { continue };
        if row.get(attr::DONE_TOKEN).is_some() {
            if mutant != Some(Mutant::UnnotedReset) {
                lock(&history.reset).insert(token.get());
            }
            lock_of_operator.reset_success(token).await.expect("only the operator resets");
            history.count(Outcome::Reset);
        } else if rng.chance(200) {
            let _ended_before = match mutant {
                Some(Mutant::ForcedRevoke) => lock_of_operator.force_revoke(token).await,
                _ => lock_of_operator.revoke(token).await,
            };
        }
    }
}

/// Plays the history of this seed, in virtual time. Returns its outcomes.
///
/// # Panics
/// If a promise is broken.
pub async fn play(seed: u64, mutant: Option<Mutant>) -> Counts {
    let (world, history, mut rng) = (World::new(), Arc::new(History::default()), Rng::mixed(seed));
    let mut tasks = vec![tokio::spawn(operates(world.clone(), history.clone(), rng.fork(), mutant))];
    tasks.extend((0..HOSTS).map(|_| tokio::spawn(tries(world.clone(), history.clone(), rng.fork()))));
    for task in tasks {
        task.await.unwrap_or_else(|error| resume_unwind(error.into_panic()));
    }
    // Without further faults, the next host has a success within the lease of the last run.
    let work_of_host = world.host().lock();
    let work = work_of_host.once(async |guard| Ok::<_, ()>(guard.token().get()));
    let Ok(end) = timeout(LEASE * 2, work).await else { panic!("it waits too long") };
    let token = match end.expect("no fault") {
        Once::Ran(token) => token,
        Once::Skipped(success) => success.token.get(),
        Once::Running(_) => panic!("it waits"),
    };
    sleep(secs(60)).await;
    assert_eq!(done(&world).await, Some(token), "the success is not kept");
    history.counts.each_ref().map(|count| count.load(Ordering::SeqCst))
}
