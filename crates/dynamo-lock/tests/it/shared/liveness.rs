//! Holders of shared rows whose processes are checked by the store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use dynamo_lock::store::{Answer, BoxFuture, Consistency, Op, Outcome, Page, Row};
use dynamo_lock::{Client, LockName, Store};
use dynamo_lock_protocol::Liveness;
use test_support::{Host, Link, LinkFault, World, secs};

/// Store that knows whether the processes of holders are alive.
#[derive(Clone, Debug)]
struct Checked {
    link: Link,
    /// Liveness of all holders with a key.
    liveness: Arc<Mutex<Liveness>>,
}

impl Store for Checked {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        self.link.read(name, consistency)
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        self.link.write(op)
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        self.link.list(after)
    }

    fn liveness_key(&self) -> Option<&str> {
        Some("key")
    }

    fn liveness(&self, _key: &str) -> Liveness {
        *self.liveness.lock().unwrap()
    }
}

fn client(host: &Host, liveness: &Arc<Mutex<Liveness>>) -> Client {
    let store = Checked { link: host.link.clone(), liveness: liveness.clone() };
    Client::builder(store).owner("test").lease(secs(10)).clock(host.clock.clone()).build().expect("valid")
}

/// A child process of a crashed holder may still work, so its entry stays however long it is observed: in the rows of
/// reads, and in those that the waiting writer's own writes return.
#[tokio::test(start_paused = true)]
async fn child_of_a_crashed_holder_keeps_its_entry() {
    let liveness = Arc::new(Mutex::new(Liveness::ChildAlive));
    let world = World::without_dates();
    let (crashed, others) = (world.host(), world.host());
    let (first, second) = (client(&crashed, &liveness), client(&others, &liveness));
    let _reader = first.rw_lock("l").unwrap().read().await.unwrap();
    let _permit = first.semaphore("s", 1).unwrap().acquire().await.unwrap();
    crashed.link.set_all(LinkFault::Hang);
    let done = Arc::new(AtomicBool::new(false));
    let (lock, semaphore, is_done) = (second.rw_lock("l").unwrap(), second.semaphore("s", 1).unwrap(), done.clone());
    let waiting = tokio::spawn(async move {
        let held = tokio::join!(lock.write(), semaphore.acquire());
        is_done.store(true, Ordering::SeqCst);
        (held.0.unwrap(), held.1.unwrap())
    });
    tokio::time::sleep(secs(100)).await;
    assert!(others.link.count("renew announcement") > 10);
    assert_eq!(others.link.count("evict shared"), 0);
    assert!(!done.load(Ordering::SeqCst));
    // Once the child has ended, the entries are removed at once.
    *liveness.lock().unwrap() = Liveness::Dead;
    tokio::time::sleep(secs(3)).await;
    assert!(done.load(Ordering::SeqCst));
    let (writer, permit) = waiting.await.unwrap();
    assert!(writer.is_valid() && permit.is_valid());
}
