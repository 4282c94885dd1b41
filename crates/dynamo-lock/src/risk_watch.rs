//! [`RiskWatch`]: the warning before the end of a lease, for a task that does not own the guard.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::at_risk::{falls_below, reaches};
use crate::renewal::{Holding, SLICE};
use crate::{Guard, GuardSet, Permit};

/// Watch of a held lock, or of several, that does not borrow their guard. It does not end when the guard is released
/// or dropped; wait for [`Guard::cancellation`] too.
#[doc(hidden)] // for the Node package
pub struct RiskWatch(Box<[Arc<Holding>]>);

impl Guard {
    /// Returns a watch of this guard.
    #[doc(hidden)] // for the Node package
    pub fn risk_watch(&self) -> RiskWatch {
        RiskWatch([self.holding.clone()].into())
    }
}

impl Permit {
    /// Returns a watch of this permit.
    #[doc(hidden)] // for the Node package
    pub fn risk_watch(&self) -> RiskWatch {
        self.guard().risk_watch()
    }
}

impl GuardSet {
    /// Returns a watch of this guard, whose first lease to end counts.
    #[doc(hidden)] // for the Node package
    pub fn risk_watch(&self) -> RiskWatch {
        RiskWatch(self.holdings().into())
    }
}

impl RiskWatch {
    /// Returns the lease of the locks.
    pub fn lease(&self) -> Duration {
        self.0.iter().map(|holding| holding.lease.with(|held| held.timing().lease())).min().unwrap_or_default()
    }

    /// Like [`Guard::at_risk`]. Returns `None` if a lock is lost.
    ///
    /// # Cancel safety
    /// Safe. The wait has no side effects.
    pub async fn at_risk(&self, margin: Duration) -> Option<Duration> {
        self.until(falls_below(margin)).await
    }

    /// Like [`Guard::recovered`], within 250 ms. Returns `None` if a lock is lost.
    ///
    /// # Cancel safety
    /// Safe. The wait has no side effects.
    pub async fn recovered(&self, margin: Duration) -> Option<()> {
        self.until(reaches(margin)).await
    }

    /// Calls `step` with the time left, until it returns a result or a lock is lost. It returns the time until its next
    /// call otherwise.
    async fn until<T>(&self, step: impl Fn(Duration) -> ControlFlow<T, Duration>) -> Option<T> {
        loop {
            let left = self.0.iter().map(|holding| holding.time_left()).min()?;
            if self.0.iter().any(|holding| holding.check().is_some()) {
                return None;
            }
            match step(left) {
                ControlFlow::Break(result) => return Some(result),
                ControlFlow::Continue(rest) => self.0[0].core.pause(rest.min(SLICE)).await,
            }
        }
    }
}

impl fmt::Debug for RiskWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|holding| &holding.name)).finish()
    }
}
