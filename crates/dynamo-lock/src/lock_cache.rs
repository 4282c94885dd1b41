//! Facts about locks that a client keeps between acquisitions.

use std::{collections::BTreeMap, fmt, sync::Mutex};

use crate::{LockName, sync::lock};

/// Maximum number of locks of which a cache contains facts.
const LOCKS_MAX: usize = 1024;

/// One fact about each of some locks.
///
/// A client keeps the latest observation of each held lock, so that several short acquisitions add up to one long
/// observation, and the last hold of each lock that it has held.
pub(crate) struct LockCache<T> {
    facts: Mutex<BTreeMap<LockName, T>>,
}

impl<T: Clone> LockCache<T> {
    /// Returns the fact about a lock.
    pub(crate) fn get(&self, name: &LockName) -> Option<T> {
        lock(&self.facts).get(name).cloned()
    }

    /// Stores the fact about a lock. A full cache drops the entry with the smallest name.
    pub(crate) fn insert(&self, name: &LockName, fact: &T) {
        let mut facts = lock(&self.facts);
        if facts.len() >= LOCKS_MAX && !facts.contains_key(name) {
            facts.pop_first();
        }
        facts.insert(name.clone(), fact.clone());
    }

    /// Forgets the fact about a lock.
    pub(crate) fn remove(&self, name: &LockName) {
        lock(&self.facts).remove(name);
    }
}

impl<T> Default for LockCache<T> {
    fn default() -> Self {
        Self { facts: Mutex::default() }
    }
}

impl<T> fmt::Debug for LockCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockCache").finish_non_exhaustive()
    }
}
