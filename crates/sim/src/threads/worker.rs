//! A task that acquires locks and treats their guards badly.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dynamo_lock::{AcquireError, Client, Guard, Lock, LossReason, Lost, ReleaseError};
use test_support::{Rng, secs};
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::{Environment, link::Link};

/// One task of a run.
pub struct Worker {
    shared: Arc<Environment>,
    rng: Rng,
}

impl Worker {
    pub fn new(shared: &Arc<Environment>, rng: Rng) -> Self {
        Self { shared: shared.clone(), rng }
    }

    pub async fn run(mut self) {
        while self.shared.goes_on() {
            let number = self.rng.below(self.shared.resources.len() as u64) as usize;
            let (client, link) = self.shared.clients[self.rng.below(self.shared.clients.len() as u64) as usize].clone();
            let lock = client.lock(number.to_string()).expect("a valid name");
            let Some(guard) = self.acquire(&lock).await else { continue };
            self.shared.rounds.fetch_add(1, SeqCst);
            self.shared.count("acquired");
            self.shared.check(self.shared.resources[number].acquired(guard.token().get()));
            if self.shared.config.delete_rows {
                self.shared.delete_row(lock.name().as_str());
            }
            self.use_resource(number, &guard).await;
            self.end(number, guard, &client, &link).await;
        }
    }

    /// Acquires the lock on one of several runtimes, or drops the acquisition.
    async fn acquire(&mut self, lock: &Lock) -> Option<Guard> {
        let limit = self.rng.ms(1..=3_000);
        let (shared, lock) = (self.shared.clone(), lock.clone());
        match self.rng.below(10) {
            0 => {
                // The future is dropped at any point.
                let dropped = timeout(self.rng.ms(1..=50), lock.acquire()).await;
                dropped.ok().and_then(|result| shared.acquired(result))
            }
            // The runtime ends, or is not driven, while the guard is used.
            1 => self.acquire_elsewhere(lock, limit, RuntimeEnd::Drop).await,
            2 => self.acquire_elsewhere(lock, limit, RuntimeEnd::Background).await,
            3 => self.acquire_elsewhere(lock, limit, RuntimeEnd::Idle).await,
            _ => {
                let result = shared.ends("acquire_within", lock.acquire_within(limit)).await?;
                shared.acquired(result)
            }
        }
    }

    async fn acquire_elsewhere(&mut self, lock: Lock, limit: Duration, end: RuntimeEnd) -> Option<Guard> {
        let (is_multi, shared) = (self.rng.chance(500), self.shared.clone());
        let work = spawn_blocking(move || {
            let runtime = runtime(is_multi);
            let guard = shared.acquired(runtime.block_on(lock.acquire_within(limit)));
            end.apply(runtime);
            guard
        });
        let guard = self.shared.ends("acquire_within on another runtime", work).await?.expect("no panic")?;
        self.shared.count("acquired on another runtime");
        Some(guard)
    }

    /// Uses the resource several times, and checks that no other guard is valid meanwhile.
    async fn use_resource(&mut self, number: usize, guard: &Guard) {
        for _ in 0..self.rng.range(1..=4) {
            if !guard.is_valid() {
                return;
            }
            let resource = &self.shared.resources[number];
            let used = resource.enter(guard.token().get());
            if self.rng.chance(300) {
                sleep(self.rng.ms(1..=200)).await;
            } else {
                tokio::task::yield_now().await;
            }
            self.shared.check(resource.leave(&used, || guard.is_valid()));
        }
    }

    /// Loses, releases or drops the guard.
    async fn end(&mut self, number: usize, guard: Guard, client: &Client, link: &Link) {
        let shared = self.shared.clone();
        match self.rng.below(12) {
            0 => {
                link.cut();
                let reason = shared.ends("lost", guard.lost()).await;
                self.use_resource(number, &guard).await;
                link.restore();
                shared.check(check_reason(reason, guard.is_valid()));
                shared.count("link cut");
            }
            1 | 2 => {
                let (other, _) = &shared.clients[self.rng.below(shared.clients.len() as u64) as usize];
                let revoked = other.lock(guard.name().as_str()).expect("a valid name");
                let cancelled = guard.cancellation();
                if shared.ends("revoke", revoked.revoke(guard.token())).await.is_some_and(|result| result.is_ok()) {
                    // An idle runtime cancels no token, so that only the wait of this task can notice the loss.
                    let reason = shared.ends("lost", guard.lost()).await;
                    shared.check(check_reason(reason, guard.is_valid()));
                    shared.ends("cancellation", cancelled.cancelled()).await;
                }
                self.use_resource(number, &guard).await;
            }
            3 => {
                shared.count("dropped without a runtime");
                std::thread::spawn(move || drop(guard));
            }
            4 => {
                let is_multi = self.rng.chance(500);
                let release = spawn_blocking(move || runtime(is_multi).block_on(guard.release()));
                let result = shared.ends("release on another runtime", release).await;
                shared.released(result.map(|result| result.expect("no panic")));
            }
            5 => {
                let dropped = timeout(self.rng.ms(0..=20), guard.release()).await;
                shared.released(dropped.ok());
            }
            6 => {
                if let Some(Ok(())) = shared.ends("renew", guard.renew()).await {
                    self.use_resource(number, &guard).await;
                }
            }
            7 => {
                let _maybe_lost = shared.ends("update_data", guard.update_data("data")).await;
                let work = sleep(self.rng.ms(1..=1_200));
                let result: Option<Result<(), Lost<()>>> = shared.ends("run", guard.run(work)).await;
                shared.count(if matches!(result, Some(Ok(()))) { "work completed" } else { "work cancelled" });
            }
            8 => {
                drop(guard);
                shared.ends("close", client.close()).await;
            }
            _ => {
                let result = shared.ends("release", guard.release()).await;
                shared.released(result);
            }
        }
    }
}

/// Treatment of the runtime of an acquisition after it.
#[derive(Clone, Copy)]
enum RuntimeEnd {
    Drop,
    Background,
    /// It is kept for a few seconds, and is not driven if it has one thread only.
    Idle,
}

impl RuntimeEnd {
    fn apply(self, runtime: Runtime) {
        match self {
            Self::Drop => drop(runtime),
            Self::Background => runtime.shutdown_background(),
            Self::Idle => {
                std::thread::spawn(move || {
                    std::thread::sleep(secs(3));
                    drop(runtime);
                });
            }
        }
    }
}

fn runtime(is_multi: bool) -> Runtime {
    let mut builder = if is_multi { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.worker_threads(2).enable_all().build().expect("a runtime starts")
}

fn check_reason(reason: Option<LossReason>, is_valid: bool) -> Result<(), String> {
    match reason {
        Some(reason) if is_valid => Err(format!("a guard is valid after it was lost: {reason:?}")),
        _ => Ok(()),
    }
}

impl Environment {
    fn acquired(&self, result: Result<Guard, AcquireError>) -> Option<Guard> {
        match result {
            Ok(guard) => Some(guard),
            Err(AcquireError::TimedOut { .. } | AcquireError::Store(_)) => {
                self.count("not acquired");
                None
            }
            Err(error) => {
                self.check(Err(format!("acquire: {error}")));
                None
            }
        }
    }

    fn released(&self, result: Option<Result<(), ReleaseError>>) {
        self.count(match result {
            None => "release dropped",
            Some(Ok(())) => "released",
            Some(Err(ReleaseError::Lost(_))) => "release Lost",
            Some(Err(ReleaseError::Unknown)) => "release Unknown",
            Some(Err(_)) => "release refused",
        });
    }
}

/// Checks that each lock can be acquired after all tasks have ended.
pub async fn check_end(shared: &Environment) {
    for (client, _) in &shared.clients {
        shared.ends("close", client.close()).await;
    }
    let (client, _) = &shared.clients[0];
    for number in 0..shared.resources.len() {
        let lock = client.lock(number.to_string()).expect("a valid name");
        let result = shared.ends("acquire at the end", lock.acquire()).await;
        if let Some(guard) = result.and_then(|result| shared.acquired(result)) {
            shared.released(shared.ends("release at the end", guard.release()).await);
        }
    }
}
