//! Acquisition of a lock for a guard.

use std::{sync::Arc, time::Duration};

use dynamo_lock_protocol::{Acquire, AcquireEnd, Machine, Request};

use crate::{
    AcquireError, Event, Guard, LockName, RowError, StoreError, StoreErrorKind, TryAcquire, core::Core, run::Run,
};

impl Core {
    /// Acquires a lock, or returns its holder if the request does not wait. With a `limit` it waits at most that long.
    ///
    /// If it is dropped, the background waits for the write in flight and gives back what it may have acquired.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        request: Request,
        limit: Option<Duration>,
    ) -> Result<TryAcquire, AcquireError> {
        let (name, timeout) = (request.name.clone(), request.timing.attempt_timeout());
        let machine = Acquire::new(request, self.watches.get(&name));
        let mut run = Run::new(self, &name, machine, timeout);
        let began = self.clock.now();
        match run.complete_within(limit).await? {
            Some(AcquireEnd::Acquired(held)) => {
                self.watches.remove(&name);
                let waited = self.clock.now().holder_elapsed_since(began);
                self.observer.event(Event::Acquired { name: &name, token: held.token(), waited });
                Ok(TryAcquire::Acquired(Guard::new(self.clone(), *held)))
            }
            Some(AcquireEnd::Contended(holder)) => Ok(TryAcquire::Held(holder)),
            Some(AcquireEnd::RowError(error)) => Err(row_error(&name, error)),
            // Only a hold is lost before it is reported.
            Some(AcquireEnd::Unanswered | AcquireEnd::Lost { .. }) => {
                Err(run.last_error.take().unwrap_or_else(unanswered).into())
            }
            None => {
                let holder = run.machine.watch().map(|watch| watch.holder().clone());
                let waited = run.waited(began);
                // If no row was read, the lock may be free, and the store is the reason.
                let unread = run.last_error.take().filter(|_| !run.has_row);
                run.give_back().await;
                Err(unread.map_or(AcquireError::TimedOut { holder, waited }, AcquireError::Store))
            }
        }
    }
}

/// Returns the error for a row that cannot be used as a lock.
pub(crate) fn row_error(name: &LockName, error: RowError) -> AcquireError {
    AcquireError::Row { name: name.clone(), error }
}

/// Returns the error for a store that has not answered for a whole lease, without an error of its own.
pub(crate) fn unanswered() -> StoreError {
    StoreError::new(StoreErrorKind::Unanswered, "the store did not send a usable response for a whole lease").with_fix(
        "check the network and the status of the store; if its responses have no `Date` of their own, turn the service \
         clock off",
    )
}
