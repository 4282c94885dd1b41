//! Signals that wait. From the fork on, until there are ears, one would end the supervisor by its default action; and
//! one for the command would be lost in a copy of its parent's handlers.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow};

use super::ears::HEARD;

/// While this lives, what the supervisor hears waits: for this thread, and for what it starts.
pub struct HeldBack {
    before: SigSet,
}

impl HeldBack {
    pub fn begin() -> io::Result<Self> {
        let heard: SigSet = HEARD.into_iter().collect();
        Ok(Self { before: heard.thread_swap_mask(SigmaskHow::SIG_BLOCK)? })
    }

    /// As the parent began it, who tells what was blocked `already`.
    pub fn inherited(already: u64) -> io::Result<Self> {
        let mut before = SigSet::thread_get_mask()?;
        HEARD.into_iter().filter(|signal| already & 1 << *signal as i32 == 0).for_each(|signal| before.remove(signal));
        Ok(Self { before })
    }

    /// What of it was blocked before, by whoever started us, a bit each.
    pub fn already(&self) -> u64 {
        HEARD.into_iter().filter(|signal| self.before.contains(*signal)).map(|signal| 1 << signal as i32).sum()
    }

    /// What is blocked without us.
    pub fn before(&self) -> SigSet {
        self.before
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        let _cannot_fail = self.before.thread_set_mask();
    }
}
