//! Acquisition of the locks for `run`.

use std::time::Duration;

use dynamo_lock::{
    AcquireAllError, AcquireError, Client, Holder, Inspection, Lock, LockName, LockOptions, OnceStart, TryAcquire,
    TryAcquireAll,
};
use nix::sys::signal::Signal;

use super::{awaited::AwaitedLock, held::Held, rehearsal::Rehearsal, sharing};
use crate::ui::{format, progress};
use crate::{env::EnclosingRun, failure::Failure, plan::OnceTask, plan::RunTask, signals::Signals, store::OpenStore};

/// Result of an acquisition that did not fail.
pub enum Acquisition {
    Acquired(Held),
    /// Another client holds a lock, as the message describes.
    Held(String),
    /// The work of the command has succeeded before, as the message describes.
    Done(String),
    Interrupted(Signal),
}

/// The client that acquires the locks of a task.
pub struct Locks {
    pub client: Client,
    /// The lock that is awaited, if there are several.
    awaited: Option<AwaitedLock>,
    /// The drill, if one was requested.
    pub rehearsal: Option<Rehearsal>,
}

impl Locks {
    /// Creates the client. Sends no request.
    pub fn new(store: &OpenStore, task: &RunTask) -> Result<Self, Failure> {
        let rehearsal = task.drill.map(Rehearsal::new);
        let builder = match &rehearsal {
            Some(rehearsal) => Client::builder(rehearsal.store(store.shared())),
            None => store.client(),
        };
        let builder = builder.owner(&task.owner).lease(task.lease);
        let awaited = task.all.as_ref().map(AwaitedLock::new);
        let client = match &awaited {
            Some(awaited) => builder.observer(awaited.clone()).build()?,
            None => builder.build()?,
        };
        Ok(Self { client, awaited, rehearsal })
    }

    fn lock(&self, name: &LockName) -> Result<Lock, Failure> {
        self.client.lock(name.as_str()).map_err(Failure::usage)
    }
}

/// Acquires the locks, and waits for them as long as the task allows. A signal ends the wait at once.
pub async fn acquire(
    store: &OpenStore,
    locks: &Locks,
    task: &RunTask,
    signals: &mut Signals,
) -> Result<Acquisition, Failure> {
    let acquisition = async {
        for name in task.names() {
            if is_held_by_enclosing_run(store, &locks.lock(name)?, task).await? {
                return Ok(Acquisition::Held(format!(
                    "lock {:?} is held by a `dynamo-lock run` around this one, so waiting for it would never end; use \
                     another lock name for the inner run",
                    name.as_str()
                )));
            }
        }
        match (&task.all, task.once) {
            (Some(_), _) => wait_for_all(&locks.client, task).await,
            (None, Some(once)) => wait_for_work(&locks.lock(&task.name)?, task, once).await,
            (None, None) => sharing::wait(&locks.client, task).await,
        }
    };
    locks.awaited.iter().for_each(AwaitedLock::reset);
    let lock = locks.lock(&task.name)?;
    let awaited = || match &locks.awaited {
        Some(awaited) => locks.lock(awaited.name()).unwrap_or_else(|_| lock.clone()),
        None => lock.clone(),
    };
    // A candidate for years outlives signals that are meant for the command. Before the first run, the default action of
    // SIGTSTP stops this process.
    let signal = async { if task.forever { signals.next_to_end().await } else { signals.next().await } };
    tokio::select! {
        biased;
        signal = signal => Ok(Acquisition::Interrupted(signal)),
        result = acquisition => result,
        never = progress::report(store, &awaited, task.quiet) => match never {},
    }
}

/// Waits for one lock with these options, as long as `limit` allows.
pub async fn wait_for_lock(
    options: LockOptions,
    task: &RunTask,
    limit: Option<Duration>,
) -> Result<Acquisition, AcquireError> {
    let options = match task.max_hold {
        Some(max_hold) => options.max_hold(max_hold),
        None => options,
    };
    let acquired = |guard| Acquisition::Acquired(Held::One(guard));
    let holder = match limit {
        None => return Ok(acquired(options.acquire().await?)),
        // The response that the lock is held contains the holder, so no further request is needed.
        Some(Duration::ZERO) => match options.try_acquire().await? {
            TryAcquire::Acquired(guard) => return Ok(acquired(guard)),
            TryAcquire::Held(holder) => Some(holder),
        },
        Some(limit) => match options.acquire_within(limit).await {
            Ok(guard) => return Ok(acquired(guard)),
            Err(AcquireError::TimedOut { holder, .. }) => holder,
            Err(error) => return Err(error),
        },
    };
    Ok(Acquisition::Held(describe_held(&task.name, holder.as_ref(), task.wait_limit)))
}

/// Like [`wait_for_lock`], for work that runs until it has succeeded once.
async fn wait_for_work(lock: &Lock, task: &RunTask, once: OnceTask) -> Result<Acquisition, Failure> {
    let mut options = lock.options();
    if let Some(max_hold) = task.max_hold {
        options = options.max_hold(max_hold);
    }
    let mut options = options.once();
    if let Some(lasts) = once.lasts {
        options = options.counts_for(lasts);
    }
    options = match task.wait_limit {
        None => options,
        Some(Duration::ZERO) => options.no_wait(),
        Some(limit) => options.wait_within(limit),
    };
    let holder = match options.start().await {
        Ok(OnceStart::Started(guard)) => return Ok(Acquisition::Acquired(Held::Once(guard))),
        Ok(OnceStart::Done(success)) => {
            let name = task.name.as_str();
            return Ok(Acquisition::Done(format!("the work {name:?} {}; skipped", format::success(&success))));
        }
        Ok(OnceStart::Running(holder)) => Some(holder),
        Err(AcquireError::TimedOut { holder, .. }) => holder,
        Err(error) => return Err(error.into()),
    };
    Ok(Acquisition::Held(describe_held(&task.name, holder.as_ref(), task.wait_limit)))
}

/// Like [`wait_for_lock`], for several locks.
async fn wait_for_all(client: &Client, task: &RunTask) -> Result<Acquisition, Failure> {
    let names = task.names().iter().map(LockName::as_str);
    // The command is ended after the loss of one lock, and before another client can acquire the others.
    let mut options = client.lock_all(names).map_err(Failure::usage)?.options().keep_after_loss();
    if let Some(max_hold) = task.max_hold {
        options = options.max_hold(max_hold);
    }
    let acquired = |guards| Ok(Acquisition::Acquired(Held::All(guards)));
    let result = match task.wait_limit {
        None => options.acquire().await,
        Some(Duration::ZERO) => match options.try_acquire().await? {
            TryAcquireAll::Acquired(guards) => return acquired(guards),
            TryAcquireAll::Held { name, holder } => {
                return Ok(Acquisition::Held(describe_held(&name, Some(&holder), task.wait_limit)));
            }
        },
        Some(limit) => options.acquire_within(limit).await,
    };
    match result {
        Ok(guards) => acquired(guards),
        Err(AcquireAllError { name, error: AcquireError::TimedOut { holder, .. }, .. }) => {
            Ok(Acquisition::Held(describe_held(&name, holder.as_ref(), task.wait_limit)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the message that the lock was not acquired.
fn describe_held(name: &LockName, holder: Option<&Holder>, limit: Option<Duration>) -> String {
    let name = name.as_str();
    match holder.map(format::holder) {
        Some(holder) => format!("lock {name:?} is held by {holder}; {}", later(limit)),
        None => format!("lock {name:?} was not acquired in time: its last holder had just released it; try again"),
    }
}

/// Returns the advice to a user after a run did not get the lock in a wait of at most `limit`.
pub fn later(limit: Option<Duration>) -> String {
    match limit.filter(|limit| !limit.is_zero()) {
        None => "use -w to wait, which also works if the holder has crashed".to_owned(),
        Some(limit) => format!("waited for {}; try again later, or wait longer with -w", format::given(limit)),
    }
}

/// Returns whether an enclosing run holds the lock.
///
/// The environment is not sufficient, because it may have been inherited from a run that has ended.
async fn is_held_by_enclosing_run(store: &OpenStore, lock: &Lock, task: &RunTask) -> Result<bool, Failure> {
    let has_same_lock = |run: &&EnclosingRun| run.name == lock.name().as_str() && run.store == store.url;
    let mut enclosing = task.enclosing_runs.iter().filter(has_same_lock).peekable();
    if enclosing.peek().is_none() {
        return Ok(false);
    }
    let holders = match lock.inspect().await? {
        Inspection::Held { holder, .. } => vec![holder],
        Inspection::Shared(shared) => shared.holders.into_iter().map(|entry| entry.holder).collect(),
        _ => return Ok(false),
    };
    let ids: Vec<_> = holders.into_iter().filter_map(|holder| holder.lease_id).collect();
    Ok(enclosing.any(|run| ids.iter().any(|id| run.lease_id == id.as_str())))
}
