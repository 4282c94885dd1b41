//! Blocking of signals while the supervisor is started.
//!
//! Between the fork and the installation of its handlers, a signal would end the supervisor by its default action. In
//! the same way, a signal for the command would be lost in a copy of its parent's handlers. Blocked signals stay
//! pending until the handlers exist.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow};

use crate::signals::SUPERVISED;

/// Guard during which the signals that the supervisor handles are blocked, for this thread and for processes that it
/// starts. Dropping it restores the previous mask.
pub struct SignalMask {
    previous: SigSet,
}

impl SignalMask {
    /// Blocks the signals.
    pub fn block() -> io::Result<Self> {
        let signals: SigSet = SUPERVISED.into_iter().collect();
        Ok(Self { previous: signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)? })
    }

    /// Takes over the mask of the parent process, which has blocked the signals and passes on the bits of
    /// [`blocked_before`](Self::blocked_before).
    pub fn inherited(blocked_before: u64) -> io::Result<Self> {
        let mut previous = SigSet::thread_get_mask()?;
        let unblocked = SUPERVISED.into_iter().filter(|signal| blocked_before & 1 << *signal as i32 == 0);
        unblocked.for_each(|signal| previous.remove(signal));
        Ok(Self { previous })
    }

    /// Returns a bit set of the signals that had been blocked before, by the process that started this one.
    pub fn blocked_before(&self) -> u64 {
        SUPERVISED.into_iter().filter(|signal| self.previous.contains(*signal)).map(|signal| 1 << signal as i32).sum()
    }

    /// Returns the mask that is restored when this guard is dropped.
    pub fn previous(&self) -> SigSet {
        self.previous
    }
}

impl Drop for SignalMask {
    fn drop(&mut self) {
        let _cannot_fail = self.previous.thread_set_mask();
    }
}
