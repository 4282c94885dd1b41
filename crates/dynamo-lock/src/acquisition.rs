//! Acquisition of a lock for a guard.

use std::sync::Arc;
use std::time::Duration;

use dynamo_lock_protocol::{
    Access, Acquire, AcquireEnd, ClockReading, DATA_MAX, Holder, LEASE_MIN, Request, SharedAcquire, Success, WaitMode,
};
use tracing::Instrument;

use crate::core::Core;
use crate::{
    AcquireError, ConfigError, Event, Guard, LockName, LockOptions, RowError, StoreError, TryAcquire, log, queue,
    run::Run, run::Task, run::unanswered,
};

/// Result of an acquisition that did not fail.
pub(crate) enum Acquisition {
    Acquired(Guard),
    /// Another client holds the lock, and the mode is not to wait.
    Held(Holder),
    /// The work of the lock has succeeded. Only for [`Kind::Once`](crate::Kind::Once).
    Done(Success),
}

impl LockOptions {
    /// Checks the options and acquires the lock. Returns the holder if the mode is not to wait. With a `limit` it waits
    /// at most that long. A caller that waits does so in the queue of its client.
    pub(crate) async fn start(self, wait_mode: WaitMode, limit: Option<Duration>) -> Result<TryAcquire, AcquireError> {
        let access = self.access;
        let (core, request) = self.checked(wait_mode)?;
        let span = log::acquire_span(&core, &request.name);
        let result = start(core, request, access, limit).instrument(span.clone()).await;
        match &result {
            Ok(TryAcquire::Acquired(guard)) => log::record_token(&span, guard.token()),
            Ok(TryAcquire::Held(_)) => log::record_held(&span),
            Err(error) => log::record_error(&span, error),
        }
        result
    }

    /// Checks the options.
    pub(crate) fn checked(self, wait_mode: WaitMode) -> Result<(Arc<Core>, Request), ConfigError> {
        let (core, mut request) = (self.core, Request { wait_mode, ..self.request });
        if let Some(lease) = self.lease {
            request.timing = request.timing.with_lease(lease)?;
        }
        if let Some(max_hold) = request.max_hold.filter(|max_hold| *max_hold < LEASE_MIN) {
            return Err(ConfigError::MaxHold { max_hold });
        }
        if self.access.is_some() && request.data.is_some() {
            return Err(ConfigError::SharedData);
        }
        if let Some(bytes) = request.data.as_ref().map(String::len).filter(|bytes| *bytes > DATA_MAX) {
            return Err(ConfigError::Data { bytes });
        }
        Ok((core, request))
    }
}

impl Acquisition {
    /// Returns the result for a plain lock, which has no success.
    pub(crate) fn into_try(self) -> Result<TryAcquire, StoreError> {
        match self {
            Self::Acquired(guard) => Ok(TryAcquire::Acquired(guard)),
            Self::Held(holder) => Ok(TryAcquire::Held(holder)),
            Self::Done(_) => Err(unanswered()),
        }
    }
}

/// Acquires a lock or an entry of a row with several holders.
async fn start(
    core: Arc<Core>,
    request: Request,
    access: Option<Access>,
    limit: Option<Duration>,
) -> Result<TryAcquire, AcquireError> {
    let began = core.clock.now();
    if let Some(access) = access {
        return Ok(Box::pin(acquire_entry(core, request, access, limit, began)).await?.into_try()?);
    }
    if request.wait_mode == WaitMode::Wait && !core.queues.is_forked() {
        return queue::acquire(core, request, limit).await;
    }
    // In a box, so that the future of a waiter is small.
    Ok(Box::pin(acquire_directly(core, request, limit, began)).await?.into_try()?)
}

/// Acquires the lock beside the queue of its waiters.
///
/// If it is dropped, the background waits for the write in flight and gives back what it may have acquired.
pub(crate) async fn acquire_directly(
    core: Arc<Core>,
    request: Request,
    limit: Option<Duration>,
    began: ClockReading,
) -> Result<Acquisition, AcquireError> {
    let (name, timeout) = (request.name.clone(), request.timing.attempt_timeout());
    let machine = Acquire::new(request, core.watches.get(&name)).after(core.own_holds.get(&name));
    finish(Run::new(&core, &name, machine, timeout), core, name, limit, began).await
}

/// Acquires an entry of a row with several holders. Its waiters form no queue, because each of them may acquire at the
/// same time.
async fn acquire_entry(
    core: Arc<Core>,
    request: Request,
    access: Access,
    limit: Option<Duration>,
    began: ClockReading,
) -> Result<Acquisition, AcquireError> {
    let (name, timeout) = (request.name.clone(), request.timing.attempt_timeout());
    let machine = SharedAcquire::new(request, access);
    finish(Run::new(&core, &name, machine, timeout), core, name, limit, began).await
}

/// Runs an acquisition to its end.
async fn finish<M: Task<End = AcquireEnd>>(
    mut run: Run<M>,
    core: Arc<Core>,
    name: LockName,
    limit: Option<Duration>,
    began: ClockReading,
) -> Result<Acquisition, AcquireError> {
    run.reports_wait = true;
    match run.complete_within(limit).await {
        Some(AcquireEnd::Acquired(held)) => {
            core.watches.remove(&name);
            let waited = core.clock.now().holder_elapsed_since(began);
            core.event(Event::Acquired { name: &name, token: held.token(), waited });
            Ok(Acquisition::Acquired(Guard::new(core.clone(), *held)))
        }
        Some(AcquireEnd::Contended(holder)) => {
            core.event(Event::Contended { name: &name, holder: Some(&holder), waited: run.waited(began) });
            Ok(Acquisition::Held(holder))
        }
        Some(AcquireEnd::Done(success)) => Ok(Acquisition::Done(success)),
        Some(AcquireEnd::RowError(error)) => Err(row_error(&name, error)),
        // Only a hold is lost before it is reported.
        Some(AcquireEnd::Unanswered | AcquireEnd::Refused | AcquireEnd::Lost { .. }) => {
            Err(run.take_last_error().into())
        }
        None => {
            let holder = run.machine.holder();
            let waited = run.waited(began);
            // If no row was read, the lock may be free, and the store is the reason.
            let unread = run.last_error.take().filter(|_| !run.has_row);
            let wait = run.give_back().await;
            if unread.is_none() {
                core.event(Event::Contended { name: &name, holder: holder.as_ref(), waited });
            }
            drop(wait);
            Err(unread.map_or(AcquireError::TimedOut { holder, waited }, AcquireError::Store))
        }
    }
}

/// Returns the error for a row that cannot be used as a lock.
pub(crate) fn row_error(name: &LockName, error: RowError) -> AcquireError {
    AcquireError::Row { name: name.clone(), error }
}
