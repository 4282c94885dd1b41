//! [`Members`]: the locks of a guard, and the state that the guard shares with the task that watches them.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::LockSetOptions;
use crate::boxed_future::BoxFuture;
use crate::renewal::Holding;
use crate::sync::lock;
use crate::{Guard, LockName, LossReason, ReleaseError};

type Release = BoxFuture<'static, Result<(), ReleaseError>>;

/// The locks of a [`GuardSet`](crate::GuardSet). The loss of one is the loss of all: the others are released.
pub(super) struct Members {
    /// State of each lock, sorted by name.
    pub(super) holdings: Box<[Arc<Holding>]>,
    /// Cancelled when one of the locks is lost, and when they are released or dropped.
    pub(super) stop: CancellationToken,
    guards: Mutex<Guards>,
    /// First loss that was noticed, with the index of its lock.
    loss: OnceLock<(usize, LossReason)>,
    /// Whether the remaining locks are kept after a loss.
    keep_after_loss: bool,
}

/// The guards of all locks, in the same order.
enum Guards {
    Held(Vec<Guard>),
    /// The releases have begun. They continue if these futures are dropped.
    Released(Vec<Release>),
}

impl Members {
    /// Creates the members of locks that were acquired, and starts the task that watches them. `stop` is the token that
    /// their losses cancel.
    pub(super) fn new(options: &LockSetOptions, guards: Vec<Guard>, stop: CancellationToken) -> Arc<Self> {
        let at = options.core.clock.now();
        let holdings: Box<[_]> = guards.iter().map(|guard| guard.holding.clone()).collect();
        if let Some(max_hold) = options.max_hold {
            holdings.iter().for_each(|holding| holding.lease.with(|held| held.limit_hold(at, max_hold)));
        }
        let runtime = guards.last().map(|guard| guard.runtime.clone());
        let members = Arc::new(Self {
            holdings,
            stop,
            guards: Mutex::new(Guards::Held(guards)),
            loss: OnceLock::new(),
            keep_after_loss: options.keep_after_loss,
        });
        if let Some(runtime) = runtime {
            // The renewal tasks, which run there too, notice losses. This task ends with the first loss or the release.
            runtime.spawn(watch(members.clone()));
        }
        members
    }

    /// Returns the first loss that was noticed, with the index of its lock, if a lock is lost now (R3). The others are
    /// then being released.
    pub(super) fn check(&self) -> Option<(usize, LossReason)> {
        if let Some(loss) = self.loss.get() {
            return Some(*loss);
        }
        let found = self.holdings.iter().enumerate().find_map(|(index, holding)| Some((index, holding.check()?)))?;
        // The set is invalid for all threads before the first lock is released.
        let loss = *self.loss.get_or_init(|| found);
        if !self.keep_after_loss {
            self.begin_release();
        }
        Some(loss)
    }

    /// Returns the time until the first lease ends if no further renewal succeeds, zero once one is lost.
    pub(super) fn time_left(&self) -> Duration {
        let left = self.holdings.iter().map(|holding| holding.time_left()).min();
        if self.check().is_some() { Duration::ZERO } else { left.unwrap_or_default() }
    }

    /// Begins to release all locks, unless that has begun. The results are returned by [`release`](Self::release).
    fn begin_release(&self) {
        let mut guards = lock(&self.guards);
        if let Guards::Held(held) = &mut *guards {
            // All are invalid before the first request is sent.
            self.stop.cancel();
            let held = std::mem::take(held);
            *guards = Guards::Released(held.into_iter().map(Guard::start_release).collect());
        }
    }

    /// Releases all locks, and waits for the results.
    pub(super) async fn release(&self) -> Vec<(LockName, Result<(), ReleaseError>)> {
        self.begin_release();
        let releases = match &mut *lock(&self.guards) {
            Guards::Released(releases) => std::mem::take(releases),
            Guards::Held(_) => Vec::new(),
        };
        let names = self.holdings.iter().map(|holding| holding.name.clone());
        names.zip(join_all(releases).await).collect()
    }

    /// Releases all locks in the background.
    pub(super) fn drop_in_background(&self) {
        let held = match &mut *lock(&self.guards) {
            Guards::Held(held) => std::mem::take(held),
            Guards::Released(_) => return,
        };
        held.into_iter().for_each(Guard::drop_in_background);
    }
}

/// Waits for the first loss, and releases the other locks.
async fn watch(members: Arc<Members>) {
    members.stop.cancelled().await;
    members.check();
}

/// Completes all futures, and returns their outputs in the same order.
pub(super) async fn join_all<T>(mut futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(done) = future.as_mut().poll(cx) {
                *output = Some(done);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
