//! [`Lock`]: a handle to one named lock, and the options of one acquisition.

use std::fmt;
use std::time::Duration;

use dynamo_lock_protocol::{
    Acquire, ConfigError, DATA_MAX, FencingToken, Held, Holder, LEASE_MIN, LockName, Renewal, Request, Revoke,
    RevokeEnd, RowState, Target, Timing, WaitMode,
};

use crate::acquisition::Acquired;
use crate::client::Client;
use crate::error::{AcquireError, InspectError, RevokeError, WithError};
use crate::guard::Guard;
use crate::inspect::Inspection;
use crate::observer::Event;
use crate::run::Run;
use crate::store::Consistency;

/// One named lock. A handle: making it does nothing, and it may be kept, cloned and used again.
#[derive(Clone, Debug)]
pub struct Lock {
    pub(crate) client: Client,
    pub(crate) name: LockName,
}

impl Lock {
    pub(crate) fn new(client: Client, name: LockName) -> Self {
        Self { client, name }
    }

    /// Its name.
    pub fn name(&self) -> &LockName {
        &self.name
    }

    /// Options for one acquisition.
    pub fn options(&self) -> LockOptions {
        LockOptions { lock: self.clone(), lease: None, renewal: Renewal::Automatic, max_hold: None, data: None }
    }

    /// Waits until the lock is ours. The library renews it until its [`Guard`] is dropped or released.
    ///
    /// # Errors
    /// [`AcquireError`]; never `TimedOut`: it waits as long as others hold the lock. A store that has answered nothing
    /// for a whole lease is an error.
    ///
    /// # Cancel safety
    /// Safe: dropped at any await, it leaves nothing behind. The background waits for the request in flight, and gives
    /// back what it may have taken; [`Client::close`] waits for that.
    pub async fn acquire(&self) -> Result<Guard, AcquireError> {
        self.options().acquire().await
    }

    /// Like [`acquire`](Lock::acquire), for at most `limit`, and one request.
    ///
    /// # Errors
    /// [`AcquireError::TimedOut`], never while holding: a request in flight at the limit is waited for, at most a
    /// quarter of the lease, and what an unanswered one may have taken is given back first. If that goes unanswered too,
    /// it goes on in the background; nobody believes in what it may have left, for at most a lease.
    ///
    /// # Cancel safety
    /// As [`acquire`](Lock::acquire).
    pub async fn acquire_within(&self, limit: Duration) -> Result<Guard, AcquireError> {
        self.options().acquire_within(limit).await
    }

    /// Acquires the lock if it is free or its lease has expired, without waiting.
    ///
    /// # Errors
    /// [`AcquireError`], never for contention.
    ///
    /// # Cancel safety
    /// As [`acquire`](Lock::acquire).
    pub async fn try_acquire(&self) -> Result<TryAcquire, AcquireError> {
        self.options().try_acquire().await
    }

    /// Acquires, works, releases. The work is dropped at its next await if the lock is lost.
    ///
    /// # Errors
    /// [`WithError`]: nothing is swallowed, neither the output of the work nor the error of the release.
    ///
    /// # Cancel safety
    /// As safe as the work: dropping this drops it, and releases in the background.
    pub async fn with<T: fmt::Debug>(&self, work: impl AsyncFnOnce(&Guard) -> T) -> Result<T, WithError<T>> {
        self.options().with(work).await
    }

    /// What can be known of the lock from outside, by one strongly consistent read.
    ///
    /// # Errors
    /// [`InspectError`] if the row is not a lock's, or could not be read.
    ///
    /// # Cancel safety
    /// Safe: it only reads.
    pub async fn inspect(&self) -> Result<Inspection, InspectError> {
        let core = &self.client.core;
        let answer = core.read(&self.name, Consistency::Strong, core.timing.attempt_timeout()).await;
        let row = answer.result?;
        let inspection = core.inspection(row.as_ref(), answer.date);
        inspection.map_err(|error| InspectError::Row { name: self.name.clone(), error })
    }

    /// Revokes exactly the reign with this token: its holder's renewals fail, and others wait its lease out, so that
    /// nobody is in before its holder has stopped believing.
    ///
    /// # Errors
    /// [`RevokeError::Ended`] if that reign has ended before.
    ///
    /// # Cancel safety
    /// Dropped, the revocation may or may not take effect.
    pub async fn revoke(&self, token: FencingToken) -> Result<(), RevokeError> {
        self.take_away(token, false).await
    }

    /// Like [`revoke`](Lock::revoke), but the lock is free at once. **Unsafe if the holder lives**: it goes on until its
    /// next renewal fails, and others may be in meanwhile; only a resource that checks tokens is safe then.
    ///
    /// # Errors
    /// As [`revoke`](Lock::revoke).
    ///
    /// # Cancel safety
    /// As [`revoke`](Lock::revoke).
    pub async fn force_revoke(&self, token: FencingToken) -> Result<(), RevokeError> {
        self.take_away(token, true).await
    }

    async fn take_away(&self, token: FencingToken, force: bool) -> Result<(), RevokeError> {
        let core = &self.client.core;
        let revoke = core.now(|now| Revoke::new(self.name.clone(), Target::Token(token), force, now));
        match Run::new(core, &self.name, revoke, core.timing.attempt_timeout()).to_end().await? {
            RevokeEnd::Done => Ok(()),
            RevokeEnd::Ended(None) => Err(RevokeError::Ended { token, holder: None }),
            RevokeEnd::Ended(Some(row)) => match row.state() {
                Err(error) => Err(RevokeError::Row { name: self.name.clone(), error }),
                Ok(RowState::Free) => Err(RevokeError::Ended { token, holder: None }),
                Ok(_) => Err(RevokeError::Ended { token, holder: Some(Box::new(Holder::of(&row))) }),
            },
            _ => Err(RevokeError::Unknown),
        }
    }
}

/// Result of [`Lock::try_acquire`].
///
/// There is no method that only tells whether the lock was acquired, because calling it on a temporary value would
/// drop the guard, which releases the lock. Match on the value and keep the guard.
#[derive(Debug)]
#[must_use = "the lock is released when the guard in it is dropped"]
pub enum TryAcquire {
    /// The lock was acquired.
    Acquired(Guard),
    /// Another client holds the lock. The holder was read by the same request.
    Held(Holder),
}

/// Options of one acquisition, and the ways to acquire with them.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until something is acquired with them"]
pub struct LockOptions {
    lock: Lock,
    lease: Option<Duration>,
    renewal: Renewal,
    max_hold: Option<Duration>,
    data: Option<String>,
}

impl LockOptions {
    /// Another lease than the client's, 1 s to 1 h. Heartbeat and polls follow it.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Who renews the lock: the library by default.
    pub fn renewal(mut self, renewal: Renewal) -> Self {
        self.renewal = renewal;
        self
    }

    /// How long it may be held at most, 1 s or more: it is lost by then, however well renewals go.
    pub fn max_hold(mut self, max_hold: Duration) -> Self {
        self.max_hold = Some(max_hold);
        self
    }

    /// A payload for the row, at most 4 KiB. It survives the release until it is replaced.
    pub fn data(mut self, data: impl Into<String>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// As [`Lock::acquire`].
    ///
    /// # Errors
    /// As [`Lock::acquire`], and [`AcquireError::Config`] if the options cannot be.
    ///
    /// # Cancel safety
    /// As [`Lock::acquire`].
    pub async fn acquire(self) -> Result<Guard, AcquireError> {
        self.wait(None).await
    }

    /// As [`Lock::acquire_within`].
    ///
    /// # Errors
    /// As [`Lock::acquire_within`], and [`AcquireError::Config`] if the options cannot be.
    ///
    /// # Cancel safety
    /// As [`Lock::acquire`].
    pub async fn acquire_within(self, limit: Duration) -> Result<Guard, AcquireError> {
        self.wait(Some(limit)).await
    }

    /// As [`Lock::try_acquire`].
    ///
    /// # Errors
    /// As [`Lock::try_acquire`], and [`AcquireError::Config`] if the options cannot be.
    ///
    /// # Cancel safety
    /// As [`Lock::acquire`].
    pub async fn try_acquire(self) -> Result<TryAcquire, AcquireError> {
        match self.drive(WaitMode::Try, None).await? {
            Acquired::Held(held) => Ok(TryAcquire::Acquired(self.guard(*held))),
            Acquired::Contended(holder) => Ok(TryAcquire::Held(holder)),
        }
    }

    /// As [`Lock::with`].
    ///
    /// # Errors
    /// As [`Lock::with`], and [`AcquireError::Config`] if the options cannot be.
    ///
    /// # Cancel safety
    /// As [`Lock::with`].
    pub async fn with<T: fmt::Debug>(self, work: impl AsyncFnOnce(&Guard) -> T) -> Result<T, WithError<T>> {
        let guard = self.acquire().await?;
        let output = guard.run(work(&guard)).await.map_err(WithError::Lost)?;
        match guard.release().await {
            Ok(()) => Ok(output),
            Err(error) => Err(WithError::Release { output, error }),
        }
    }

    async fn wait(self, limit: Option<Duration>) -> Result<Guard, AcquireError> {
        match self.drive(WaitMode::Wait, limit).await? {
            Acquired::Held(held) => Ok(self.guard(*held)),
            // A machine that waits does not say so.
            Acquired::Contended(holder) => {
                Err(AcquireError::TimedOut { holder: Some(holder), waited: limit.unwrap_or_default() })
            }
        }
    }

    async fn drive(&self, wait_mode: WaitMode, limit: Option<Duration>) -> Result<Acquired, AcquireError> {
        let core = &self.lock.client.core;
        let timing = match self.lease {
            Some(lease) => core.timing.with_lease(lease)?,
            None => core.timing.clone(),
        };
        if let Some(max_hold) = self.max_hold.filter(|max_hold| *max_hold < LEASE_MIN) {
            return Err(ConfigError::MaxHold { max_hold }.into());
        }
        if let Some(bytes) = self.data.as_ref().map(String::len).filter(|bytes| *bytes > DATA_MAX) {
            return Err(ConfigError::Data { bytes }.into());
        }
        let machine = Acquire::new(self.request(timing, wait_mode), core.watches.get(&self.lock.name));
        let began = core.clock.now();
        let acquired = core.acquire(machine, limit).await?;
        if let Acquired::Held(held) = &acquired {
            let waited = core.clock.now().holder_elapsed_since(began);
            core.observer.event(Event::Acquired { name: held.name(), token: held.token(), waited });
        }
        Ok(acquired)
    }

    pub(crate) fn request(&self, timing: Timing, wait_mode: WaitMode) -> Request {
        Request {
            name: self.lock.name.clone(),
            owner: self.lock.client.core.owner.clone(),
            timing,
            renewal: self.renewal,
            max_hold: self.max_hold,
            data: self.data.clone(),
            liveness_key: self.lock.client.core.store.liveness_key().map(str::to_owned),
            wait_mode,
        }
    }

    fn guard(&self, held: Held) -> Guard {
        Guard::new(self.lock.client.core.clone(), held)
    }
}
