//! Losses of locks, for tests of code that uses locks (feature `simulation`).

use dynamo_lock_protocol::LossReason;

use crate::{Guard, Permit};

/// Loses the lock of a guard in this process, so that a test can check how code reacts to a loss.
///
/// The guard behaves as if the runtime that renews it had stopped: it is invalid at once, [`Guard::lost`],
/// [`Guard::cancellation`] and [`Guard::run`] report the loss with [`LossReason::RenewalStopped`], and
/// [`Guard::release`] returns an error. No request is sent, so other clients can acquire the lock after its lease.
///
/// For a loss that the store reports, revoke the lock with [`Lock::revoke`](crate::Lock::revoke) and renew it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dynamo_lock::{Client, LossReason, Memory, testing};
///
/// let client = Client::builder(Memory::new()).build()?;
/// let guard = client.lock("orders")?.acquire().await?;
/// testing::lose(&guard);
/// assert!(!guard.is_valid());
/// assert_eq!(guard.lost().await, LossReason::RenewalStopped);
/// # Ok(())
/// # }
/// ```
pub fn lose(guard: &Guard) {
    let holding = &guard.holding;
    holding.lease.stop_renewing(holding.core.clock.now());
    let _reported: Option<LossReason> = holding.check();
}

/// Loses a permit in this process, as [`lose`] does with a lock.
pub fn lose_permit(permit: &Permit) {
    lose(permit.guard());
}
