//! The product's SQLite store, on a file of its own for each world.
//!
//! Each process has its own handle with its own connection and thread. A request is awaited here by blocking the
//! thread, so virtual time does not advance until the store has answered.

use std::{
    collections::BTreeMap, collections::btree_map::Entry, fmt, os::fd::OwnedFd, pin::pin, sync::Arc, sync::Mutex,
    sync::Weak, task::Context, task::Poll, task::Wake, task::Waker, thread, thread::Thread, time::Duration,
};

use dynamo_lock::store::{Answer, BoxFuture, Consistency, Liveness, Op, Outcome, Page, Row};
use dynamo_lock::{LockName, Sqlite, Store, StoreError};
use tempfile::TempDir;

use crate::mutants::Fault;
use crate::world::{Link, Process, lock, show_op, stack::RealStore, stack::response::Response};

/// Requests before which a process opens its store once more, per thousand.
const REOPENED: u64 = 5;

/// Disk of one host, with one database.
pub struct Disk {
    handles: Mutex<BTreeMap<u64, Handles>>,
    directory: TempDir,
}

/// Handles of one process.
struct Handles {
    owner: Weak<Process>,
    /// Shows that the process is alive, so it is open until the process ends.
    first: Sqlite,
    /// Performs the requests. It is reopened now and then.
    current: Sqlite,
}

impl Disk {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be created");
        Self { handles: Mutex::default(), directory }
    }

    fn open(&self, process: &Process) -> Result<Sqlite, StoreError> {
        process.world.count("store opened");
        Sqlite::open(self.directory.path().join("locks.db"))
    }

    /// Returns the result of `use_handles` for the handles of a process. Handles of crashed processes are closed.
    fn with_handles<T>(
        &self,
        process: &Arc<Process>,
        use_handles: impl FnOnce(&mut Handles) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut handles = lock(&self.handles);
        handles.retain(|_, handles| handles.owner.upgrade().is_some_and(|owner| !owner.is_dead()));
        match handles.entry(process.id) {
            Entry::Occupied(mut occupied) => use_handles(occupied.get_mut()),
            Entry::Vacant(vacant) => {
                let first = self.open(process)?;
                let current = first.clone();
                use_handles(vacant.insert(Handles { owner: Arc::downgrade(process), first, current }))
            }
        }
    }

    /// Returns the handle for a request of a process.
    fn handle(&self, process: &Arc<Process>) -> Result<Sqlite, StoreError> {
        let reopened = process.draw(|rng| rng.chance(REOPENED));
        self.with_handles(process, |handles| {
            if reopened {
                handles.current = self.open(process)?;
            }
            Ok(handles.current.clone())
        })
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

/// Store of one process: requests go over the network, and checks of liveness to the kernel.
#[derive(Debug)]
struct Local {
    link: Link,
    disk: Arc<Disk>,
    liveness_key: Option<String>,
}

impl Store for Local {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        self.link.read(name, consistency)
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        self.link.write(op)
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        self.link.list(after)
    }

    fn service_clock(&self) -> bool {
        self.link.service_clock()
    }

    fn changed(&self, name: &LockName) -> Option<BoxFuture<'static, ()>> {
        self.link.changed(name)
    }

    fn npm_clients(&self) -> bool {
        self.link.npm_clients()
    }

    fn liveness_key(&self) -> Option<&str> {
        self.liveness_key.as_deref()
    }

    fn liveness(&self, liveness_key: &str) -> Liveness {
        let process = &self.link.0;
        let liveness = self.disk.with_handles(process, |handles| Ok(handles.first.liveness(liveness_key)));
        match liveness.unwrap_or(Liveness::Unknown) {
            Liveness::ChildAlive if process.world.mutant.is(Fault::ChildIsIgnored) => Liveness::ProcessAlive,
            liveness => liveness,
        }
    }
}

impl RealStore for Disk {
    fn store(self: Arc<Self>, process: &Arc<Process>, _: Duration) -> Arc<dyn Store> {
        let liveness_key = self.with_handles(process, |handles| Ok(handles.first.liveness_key().map(str::to_owned)));
        let liveness_key = liveness_key.expect("a database in a new directory can be opened");
        Arc::new(Local { link: Link(process.clone()), disk: self, liveness_key })
    }

    fn start_child(&self, process: &Arc<Process>) -> Option<OwnedFd> {
        self.with_handles(process, |handles| handles.first.child_liveness()).expect("the process has no other child")
    }

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
