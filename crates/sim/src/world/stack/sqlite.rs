//! The product's SQLite store on a file of this world's own. Each process has its own handle, with its own connection
//! and thread. Whoever asks waits here, without an await: virtual time stands still until the thread has answered.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use dynamo_lock::store::{Consistency, Op, Outcome, Row};
use dynamo_lock::{LockName, Sqlite, Store, StoreError};
use tempfile::TempDir;

use super::Real;
use super::told::Told;
use crate::world::host::Host;
use crate::world::lock;
use crate::world::store::show_op;

/// How often a process has opened its store anew before a request, in thousandths.
const REOPENED: u64 = 5;

/// One machine's disk, with one database.
pub struct Disk {
    handles: Mutex<BTreeMap<u64, (Weak<Host>, Sqlite)>>,
    directory: TempDir,
}

impl Disk {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a place for temporary files");
        Self { handles: Mutex::default(), directory }
    }

    /// A process's handle. Those of processes that have crashed are gone; so is the file's log, if it was the last.
    fn handle(&self, host: &Arc<Host>) -> Result<Sqlite, StoreError> {
        let mut handles = lock(&self.handles);
        let reopened = host.roll(|dice| dice.chance(REOPENED));
        handles.retain(|id, (owner, _)| {
            let lives = owner.upgrade().is_some_and(|owner| !owner.is_dead());
            lives && !(reopened && *id == host.id)
        });
        if let Some((_, store)) = handles.get(&host.id) {
            return Ok(store.clone());
        }
        host.world.count("store opened");
        let store = Sqlite::open(self.directory.path().join("locks.db"))?;
        handles.insert(host.id, (Arc::downgrade(host), store.clone()));
        Ok(store)
    }
}

impl Real for Disk {
    fn performed(&self, host: &Arc<Host>, op: &Op, model: Outcome) -> Outcome {
        let real = self.handle(host).and_then(|store| answered(store.write(op)).result);
        let told = real.as_ref().map_or_else(|error| Told::Error(error.kind()), |real| Told::Outcome(real.clone()));
        host.world.agree(show_op(op), &told, &Told::Outcome(model.clone()));
        real.unwrap_or(model)
    }

    fn looked(&self, host: &Arc<Host>, name: &LockName, model: Option<Row>) -> Option<Row> {
        let real = self.handle(host).and_then(|store| answered(store.read(name, Consistency::Strong)).result);
        let told = real.as_ref().map_or_else(|error| Told::Error(error.kind()), |real| Told::Row(real.clone()));
        host.world.agree(format_args!("{name} read"), &told, &Told::Row(model.clone()));
        real.unwrap_or(model)
    }
}

/// Waits for an answer on this thread, in real time.
fn answered<T>(request: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    // The runtime's task that this happens in has no say in it: out of budget, the request would never be polled again.
    let mut request = pin!(tokio::task::unconstrained(request));
    loop {
        match request.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}
