//! Observations of held locks, kept between acquisitions.

use std::{collections::BTreeMap, sync::Mutex};

use dynamo_lock_protocol::Watch;

use crate::{LockName, sync::lock};

/// Maximum number of observations that are kept.
const WATCHES_MAX: usize = 1024;

/// The latest observation of each held lock, so that several short acquisitions add up to one long observation.
#[derive(Debug, Default)]
pub(crate) struct WatchCache {
    watches: Mutex<BTreeMap<LockName, Watch>>,
}

impl WatchCache {
    /// Returns the observation of a lock.
    pub(crate) fn get(&self, name: &LockName) -> Option<Watch> {
        lock(&self.watches).get(name).cloned()
    }

    /// Stores the observation of a lock. A full cache drops the entry with the smallest name.
    pub(crate) fn insert(&self, name: &LockName, watch: &Watch) {
        let mut watches = lock(&self.watches);
        if watches.len() >= WATCHES_MAX && !watches.contains_key(name) {
            watches.pop_first();
        }
        watches.insert(name.clone(), watch.clone());
    }

    /// Forgets the observation of a lock, because this client has acquired it.
    pub(crate) fn remove(&self, name: &LockName) {
        lock(&self.watches).remove(name);
    }
}
