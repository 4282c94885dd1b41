//! [`AwaitedLock`]: the lock that `run` waits for, if it acquires several.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dynamo_lock::{Event, LockName, Observer};
use dynamo_lock_protocol::LockNames;

/// Observer of a client that acquires several locks in the order of their names. Clones share the state.
#[derive(Clone, Debug)]
pub struct AwaitedLock {
    names: LockNames,
    /// Index of the lock that is awaited.
    index: Arc<AtomicUsize>,
}

impl AwaitedLock {
    pub fn new(names: &LockNames) -> Self {
        Self { names: names.clone(), index: Arc::default() }
    }

    /// Begins a new acquisition.
    pub fn reset(&self) {
        self.index.store(0, Ordering::Relaxed);
    }

    /// Returns the name of the lock that is awaited, or of the last one.
    pub fn name(&self) -> &LockName {
        let names = self.names.as_slice();
        &names[self.index.load(Ordering::Relaxed).min(names.len() - 1)]
    }
}

impl Observer for AwaitedLock {
    fn event(&self, event: Event<'_>) {
        let acquired = |name| self.names.as_slice().iter().position(|known| known == name);
        match event {
            Event::Acquired { name, .. } => {
                self.index.store(acquired(name).map_or(0, |index| index + 1), Ordering::Relaxed);
            }
            // All are given back, and the acquisition begins anew.
            Event::Lost { .. } => self.reset(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use dynamo_lock::{Client, Memory};

    use super::*;

    #[tokio::test]
    async fn awaited_lock_is_the_first_that_is_not_held() {
        let (store, names) = (Memory::new(), LockNames::new(["b", "a", "c"]).expect("valid names"));
        let awaited = AwaitedLock::new(&names);
        let client = Client::builder(store.clone()).observer(awaited.clone()).build().expect("valid");
        assert_eq!(awaited.name().as_str(), "a");
        let mut guards = Vec::new();
        for (name, next) in [("a", "b"), ("b", "c"), ("c", "c")] {
            guards.push(client.lock(name).expect("valid").acquire().await.expect("free"));
            assert_eq!(awaited.name().as_str(), next);
        }
        // After a loss, the first lock is awaited again.
        let other = Client::builder(store).build().expect("valid");
        other.lock("b").expect("valid").revoke(guards[1].token()).await.expect("held");
        guards[1].renew().await.expect_err("revoked");
        assert_eq!(awaited.name().as_str(), "a");
    }
}
