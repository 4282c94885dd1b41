//! The product's SQLite store, on a file of its own for each world.
//!
//! Each process has its own handle with its own connection and thread. A request is awaited here by blocking the
//! thread, so virtual time does not advance until the store has answered.

use std::{
    collections::BTreeMap, pin::pin, sync::Arc, sync::Mutex, sync::Weak, task::Context, task::Poll, task::Wake,
    task::Waker, thread, thread::Thread, time::Duration,
};

use dynamo_lock::store::{Consistency, Op, Outcome, Row};
use dynamo_lock::{LockName, Sqlite, Store, StoreError};
use tempfile::TempDir;

use crate::world::{Process, lock, show_op, stack::RealStore, stack::response::Response};

/// Requests before which a process reopens its store, per thousand.
const REOPENED: u64 = 5;

/// Disk of one host, with one database.
pub struct Disk {
    handles: Mutex<BTreeMap<u64, (Weak<Process>, Sqlite)>>,
    directory: TempDir,
}

impl Disk {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be created");
        Self { handles: Mutex::default(), directory }
    }

    /// Returns the handle of a process. Handles of crashed processes are closed, and the last one deletes the log of
    /// the file.
    fn handle(&self, process: &Arc<Process>) -> Result<Sqlite, StoreError> {
        let mut handles = lock(&self.handles);
        let reopened = process.draw(|rng| rng.chance(REOPENED));
        handles.retain(|id, (owner, _)| {
            let lives = owner.upgrade().is_some_and(|owner| !owner.is_dead());
            lives && !(reopened && *id == process.id)
        });
        if let Some((_, store)) = handles.get(&process.id) {
            return Ok(store.clone());
        }
        process.world.count("store opened");
        let store = Sqlite::open(self.directory.path().join("locks.db"))?;
        handles.insert(process.id, (Arc::downgrade(process), store.clone()));
        Ok(store)
    }
}

impl RealStore for Disk {
    fn write_row(&self, process: &Arc<Process>, op: &Op, model: Outcome) -> Outcome {
        let handle = self.handle(process);
        let real = handle.clone().and_then(|store| block_on(store.write(op)).result);
        let response =
            real.as_ref().map_or_else(|error| Response::Error(error.kind()), |real| Response::Outcome(real.clone()));
        process.world.check_agreement(show_op(op), &response, &Response::Outcome(model.clone()));
        if let (Ok(store), Ok(Outcome::Applied(None))) = (&handle, &real) {
            let row = block_on(store.read(&op.name, Consistency::Strong)).result;
            let row = row.map_or_else(|error| Response::Error(error.kind()), Response::Row);
            process.world.check_agreement(
                show_op(op),
                &row,
                &Response::Row(process.world.row(&op.name, Duration::ZERO)),
            );
        }
        real.unwrap_or(model)
    }

    fn read_row(&self, process: &Arc<Process>, name: &LockName, model: Option<Row>) -> Option<Row> {
        let real = self.handle(process).and_then(|store| block_on(store.read(name, Consistency::Strong)).result);
        let response =
            real.as_ref().map_or_else(|error| Response::Error(error.kind()), |real| Response::Row(real.clone()));
        process.world.check_agreement(format_args!("{name} read"), &response, &Response::Row(model.clone()));
        real.unwrap_or(model)
    }
}

/// Waits for an answer on this thread, in real time.
fn block_on<T>(request: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    // The task of the runtime must not limit it: without a budget the request would never be polled again.
    let mut request = pin!(tokio::task::unconstrained(request));
    loop {
        match request.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}
