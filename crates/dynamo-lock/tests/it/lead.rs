//! `Lock::lead`: terms of a leader.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamo_lock::{AcquireError, Guard, LossReason, StoreErrorKind, WithError};
use test_support::{Host, LEASE, LinkFault, POLL_MAX, World, lock, ms, secs};
use tokio::time::{sleep, timeout};

/// Longest pause after a loss: a twentieth of the lease.
const PAUSE_MAX: Duration = ms(500);

/// Terms that have begun, with their tokens, and the number of those that run.
#[derive(Clone, Default)]
struct Terms {
    tokens: Arc<Mutex<Vec<u64>>>,
    running: Arc<AtomicUsize>,
}

/// A term that runs until it is dropped.
struct Term(Arc<AtomicUsize>);

impl Drop for Term {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Terms {
    fn begin(&self, token: u64) -> Term {
        assert_eq!(self.running.fetch_add(1, Ordering::SeqCst), 0, "two terms at once");
        lock(&self.tokens).push(token);
        Term(self.running.clone())
    }

    fn tokens(&self) -> Vec<u64> {
        lock(&self.tokens).clone()
    }

    async fn wait_for(&self, count: usize) {
        let waits = async {
            while self.tokens().len() < count {
                sleep(ms(10)).await;
            }
        };
        timeout(secs(120), waits).await.unwrap_or_else(|_| panic!("{count} terms: {:?}", self.tokens()));
    }

    /// Leads on `host`, with work that never ends.
    fn spawn(&self, host: &Host) -> tokio::task::JoinHandle<()> {
        let (lock, terms) = (host.lock(), self.clone());
        tokio::spawn(async move {
            let work = async move |term: &Guard| {
                let _term = terms.begin(term.token().get());
                std::future::pending::<()>().await;
            };
            lock.lead(work).await.unwrap();
        })
    }
}

#[tokio::test(start_paused = true)]
async fn output_of_work_ends_lead_and_releases_the_lock() {
    let world = World::new();
    let host = world.host();
    let token = host.lock().lead(async |term| term.token()).await.unwrap();
    assert_eq!(world.row("a").await.unwrap().token(), Some(token));
    assert!(world.is_free().await);
    assert_eq!(host.link.kinds(), ["acquire", "release"]);
}

#[tokio::test(start_paused = true)]
async fn loss_begins_a_new_term_with_a_larger_token() {
    let world = World::new();
    let (host, terms) = (world.host(), Terms::default());
    let task = terms.spawn(&host);
    for count in 1..=3 {
        terms.wait_for(count).await;
        let token = world.row("a").await.unwrap().token().unwrap();
        world.host().lock().revoke(token).await.unwrap();
    }
    terms.wait_for(4).await;
    assert!(terms.tokens().is_sorted_by(|a, b| a < b), "{:?}", terms.tokens());
    task.abort();
}

/// Each loss ends the term of its host before the other host leads.
#[tokio::test(start_paused = true)]
async fn terms_of_two_hosts_do_not_overlap() {
    let world = World::new();
    let (hosts, terms) = ([world.host(), world.host()], Terms::default());
    let tasks = hosts.each_ref().map(|host| terms.spawn(host));
    for count in 1..=6 {
        terms.wait_for(count).await;
        // The leader is the one that sends renewals.
        hosts.iter().for_each(|host| host.link.clear_calls());
        sleep(secs(3)).await;
        let leader = hosts.iter().find(|host| host.link.count("renew") > 0).expect("one leads");
        leader.link.set_all(LinkFault::Hang);
        terms.wait_for(count + 1).await;
        leader.link.heal();
    }
    assert!(terms.tokens().is_sorted_by(|a, b| a < b), "{:?}", terms.tokens());
    tasks.iter().for_each(|task| task.abort());
}

#[tokio::test(start_paused = true)]
async fn error_of_the_first_acquisition_is_returned() {
    let host = World::new().host();
    for (fault, kind) in [
        (LinkFault::Refuse(StoreErrorKind::AccessDenied), StoreErrorKind::AccessDenied),
        (LinkFault::Hang, StoreErrorKind::Unanswered),
    ] {
        host.link.set_all(fault);
        let error = host.lock().lead(async |_| panic!("it is not held")).await.unwrap_err();
        assert!(matches!(&error, WithError::Acquire(AcquireError::Store(e)) if e.kind() == kind), "{error}");
    }
}

/// The outage ends several acquisitions, each of which gives up after a lease.
#[tokio::test(start_paused = true)]
async fn candidate_outlives_an_outage_of_several_leases() {
    let world = World::new();
    let (host, terms) = (world.host(), Terms::default());
    let task = terms.spawn(&host);
    terms.wait_for(1).await;
    sleep(secs(3)).await; // until a renewal has written a service timestamp
    host.link.set_all(LinkFault::Hang);
    sleep(LEASE * 10).await;
    assert_eq!(terms.running.load(Ordering::SeqCst), 0);
    host.link.heal();
    let healed = world.time();
    terms.wait_for(2).await;
    assert!(world.time() - healed <= LEASE / 2 + PAUSE_MAX + POLL_MAX, "{:?}", world.time() - healed);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn lasting_error_after_a_loss_is_returned() {
    let host = World::new().host();
    let mut terms = 0;
    let work = async |_: &Guard| {
        terms += 1;
        host.link.set_all(LinkFault::NoTable);
        std::future::pending::<()>().await;
    };
    let error = host.lock().lead(work).await.unwrap_err();
    assert!(matches!(&error, WithError::Acquire(AcquireError::Store(e)) if !e.is_retryable()), "{error}");
    assert_eq!(terms, 1);
}

/// Work that was done must not be done again, although the lock was lost meanwhile.
#[tokio::test(start_paused = true)]
async fn work_completed_at_the_loss_does_not_run_again() {
    let host = World::new().host();
    let mut runs = 0;
    let work = async |_: &Guard| {
        runs += 1;
        host.link.set_all(LinkFault::Hang);
        host.clock.suspend(secs(20)); // while the work does not yield
        7
    };
    let error = host.lock().lead(work).await.unwrap_err();
    let WithError::Lost(lost) = error else { panic!("{error}") };
    assert_eq!((lost.output, lost.reason, runs), (Some(7), LossReason::Suspended, 1));
}

#[tokio::test(start_paused = true)]
async fn dropped_lead_releases_the_lock() {
    let world = World::new();
    let terms = Terms::default();
    let task = terms.spawn(&world.host());
    terms.wait_for(1).await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(terms.running.load(Ordering::SeqCst), 0, "the work is dropped too");
    drop(timeout(secs(1), world.host().acquire()).await.expect("it is released"));
}

/// A lead that is dropped while it waits, in its first acquisition or after a loss, leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn dropped_candidate_does_not_acquire() {
    let world = World::new();
    let holder = world.host().acquire().await;
    let task = Terms::default().spawn(&world.host());
    sleep(secs(2)).await;
    task.abort();
    holder.release().await.unwrap();
    sleep(secs(2)).await;
    assert!(world.is_free().await);
}

#[tokio::test(start_paused = true)]
async fn options_apply_to_each_term() {
    let world = World::new();
    let options = world.host().lock().options().max_hold(secs(3)).data("leader");
    let mut began = Vec::new();
    let work = async |term: &Guard| {
        began.push(world.time());
        assert_eq!(world.row("a").await.unwrap().text("data"), Some("leader"));
        term.update_data("other").await.unwrap();
        if began.len() < 3 {
            sleep(secs(60)).await;
        }
    };
    options.lead(work).await.unwrap();
    assert!(began.windows(2).all(|pair| pair[1] - pair[0] >= secs(3)), "{began:?}");
}

/// Otherwise all candidates would send their requests at the moment at which the store recovers.
#[tokio::test(start_paused = true)]
async fn candidates_wait_for_different_times_after_a_loss() {
    let world = World::new();
    let hosts: Vec<_> = (0..10).map(|_| world.host()).collect();
    for (index, host) in hosts.iter().enumerate() {
        let lock = host.client().lock(format!("lock {index}")).unwrap();
        tokio::spawn(async move {
            lock.options().max_hold(secs(2)).lead(async |_| std::future::pending::<()>().await).await
        });
    }
    sleep(secs(1)).await;
    hosts.iter().for_each(|host| host.link.clear_calls());
    sleep(secs(2)).await;
    let begin =
        |host: &Host| host.link.calls().into_iter().find(|(_, call)| call.kind() == "acquire").expect("it asks").0;
    let mut times: Vec<_> = hosts.iter().map(begin).collect();
    times.sort();
    assert!(times[0] >= secs(2) && times[9] - times[0] <= PAUSE_MAX, "{times:?}");
    times.dedup();
    assert!(times.len() > 5, "{times:?}");
}
