//! [`Wait`]: the wait of one acquisition for the holder of its lock, as observers see it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use dynamo_lock_protocol::Holder;

use crate::core::Core;
use crate::{Event, LockName};

/// A wait that was reported. Its drop reports the end.
pub(crate) struct Wait {
    core: Arc<Core>,
    name: LockName,
}

impl Wait {
    /// Reports that an acquisition waits for this holder.
    pub(crate) fn begin(core: &Arc<Core>, name: &LockName, holder: &Holder) -> Self {
        core.event(Event::Waiting { name, holder });
        Self { core: core.clone(), name: name.clone() }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if !self.core.queues.is_forked() {
            // A panic of an observer during another panic would abort the process.
            let report = || self.core.event(Event::WaitEnded { name: &self.name });
            let _reported_by_the_panic_hook = catch_unwind(AssertUnwindSafe(report));
        }
    }
}
