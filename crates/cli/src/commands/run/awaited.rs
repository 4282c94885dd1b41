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
#[allow(clippy::disallowed_methods)] // tokio's time is paused here
mod tests {
    use std::time::Duration;

    use dynamo_lock::{Client, Memory};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn awaited_lock_is_the_first_that_is_not_held() {
        let (store, names) = (Memory::new(), LockNames::new(["b", "a", "c"]).expect("valid names"));
        let other = Client::builder(store.clone()).build().expect("valid");
        let held = other.lock("b").expect("valid").acquire().await.expect("free");
        let awaited = AwaitedLock::new(&names);
        let client = Client::builder(store).observer(awaited.clone()).build().expect("valid");
        let locks = client.lock_all(["a", "b", "c"]).expect("valid");
        assert_eq!(awaited.name().as_str(), "a");
        let waiter = tokio::spawn(async move { locks.acquire().await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(awaited.name().as_str(), "b");
        // After a loss, the first lock is awaited again.
        let token = waiter_token(&other).await;
        other.lock("a").expect("valid").revoke(token).await.expect("held");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(awaited.name().as_str(), "a");
        held.release().await.expect("held");
        let _guards = waiter.await.expect("no panic").expect("all are free");
        assert_eq!(awaited.name().as_str(), "c");
    }

    async fn waiter_token(other: &Client) -> dynamo_lock::FencingToken {
        match other.lock("a").expect("valid").inspect().await.expect("a row") {
            dynamo_lock::Inspection::Held { holder, .. } => holder.token.expect("a token"),
            state => panic!("{state:?}"),
        }
    }
}
