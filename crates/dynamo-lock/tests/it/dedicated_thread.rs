//! `ClientBuilder::dedicated_thread`: programs whose runtime is not driven, or that have none.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use dynamo_lock::simulation::Clock;
use dynamo_lock::store::{Answer, BoxFuture, Consistency, Op, Outcome, Page, Row};
use dynamo_lock::{Client, ClientBuilder, LockName, LossReason, Memory, ReleaseError, Store};
use test_support::{acquire, kind_of, lock, ms, secs};

use crate::runtimes::{SteppedClock, runtime};

/// Store in memory that sends each request, with the name of its thread, to the test.
#[derive(Debug)]
struct ReportingStore {
    table: Memory,
    requests: Mutex<Sender<(String, Option<String>)>>,
    /// Whether writes hang.
    hangs: Arc<AtomicBool>,
}

impl ReportingStore {
    fn report(&self, request: &str) {
        // The test may have ended.
        let _ = lock(&self.requests).send((request.to_owned(), thread::current().name().map(str::to_owned)));
    }
}

impl Store for ReportingStore {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        self.report("read");
        self.table.read(name, consistency)
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        self.report(kind_of(op));
        if self.hangs.load(Ordering::SeqCst) { Box::pin(std::future::pending()) } else { self.table.write(op) }
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        self.report("list");
        self.table.list(after)
    }

    fn ready(&self) -> Option<BoxFuture<'_, ()>> {
        Some(Box::pin(async { self.report("ready") }))
    }
}

/// A client with a thread of its own, and the record of its requests.
struct Setup {
    client: Client,
    table: Memory,
    requests: Receiver<(String, Option<String>)>,
    hangs: Arc<AtomicBool>,
}

impl Setup {
    /// A client whose lease is long, so that it does not end while this test waits for a processor.
    fn new() -> Self {
        Self::of(|builder| builder.lease(secs(60)).heartbeat(ms(20)).dedicated_thread())
    }

    fn of(configure: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        let (sender, requests) = channel();
        let (table, hangs) = (Memory::new(), Arc::new(AtomicBool::new(false)));
        let store = ReportingStore { table: table.clone(), requests: Mutex::new(sender), hangs: hangs.clone() };
        let client = configure(Client::builder(store)).build().expect("a valid configuration");
        Self { client, table, requests, hangs }
    }

    /// Waits, without driving any runtime, until a request of this kind is sent.
    fn wait_for(&self, kind: &str) {
        while self.requests.recv_timeout(secs(60)).expect("another request follows").0 != kind {}
    }

    fn wait_until_free(&self) {
        let name = LockName::new("a").unwrap();
        while block_on(self.table.read(&name, Consistency::Strong)).result.unwrap().unwrap().whole("expiresOn")
            != Some(0)
        {
            thread::yield_now();
        }
    }
}

/// Wakes a thread that waits in `block_on`.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future without any runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park_timeout(secs(1));
    }
}

/// The runtime of this program is driven within `block_on` only.
#[test]
fn synchronous_program_keeps_its_lock() {
    let setup = Setup::new();
    let runtime = runtime();
    let guard = runtime.block_on(acquire(&setup.client));
    for _ in 0..10 {
        setup.wait_for("renew");
    }
    assert!(guard.is_valid());
    runtime.block_on(guard.release()).unwrap();
    setup.wait_until_free();
}

/// Control of the test above: without a thread of its own, nothing renews the lock.
#[test]
fn undriven_runtime_renews_nothing() {
    let clock = SteppedClock::default();
    let setup = Setup::of(|builder| builder.clock(clock.clone()));
    let idle = runtime();
    let guard = idle.block_on(acquire(&setup.client));
    while setup.requests.try_recv().is_ok() {}
    runtime().block_on(clock.sleep(secs(21)));
    assert_eq!(guard.loss().map(|lost| lost.reason), Some(LossReason::Expired));
    assert!(setup.requests.try_recv().is_err(), "no renewal was sent");
}

/// A pooled connection is served by the runtime that opened it, so that no request may run elsewhere.
#[test]
fn all_requests_run_on_the_dedicated_thread() {
    let setup = Setup::new();
    let runtime = runtime();
    runtime.block_on(async {
        let lock = setup.client.lock("a").unwrap();
        let guard = lock.acquire().await.unwrap();
        assert!(lock.try_acquire().await.is_ok());
        guard.update_data("x").await.unwrap();
        lock.inspect().await.unwrap();
        assert!(setup.client.list().try_next().await.unwrap().is_some());
        lock.revoke(guard.token()).await.unwrap();
        drop(guard);
        setup.client.lock("b").unwrap().hold(secs(5)).await.unwrap();
        drop(setup.client.lock("c").unwrap().acquire().await.unwrap());
        setup.client.close().await;
    });
    let requests: Vec<_> = setup.requests.try_iter().collect();
    for kind in ["ready", "acquire", "read", "renew", "list", "revoke", "release"] {
        assert!(requests.iter().any(|(request, _)| request == kind), "no {kind} in {requests:?}");
    }
    for (request, thread) in requests {
        // `ready` is called on the thread of the caller too, which returns a future and sends nothing.
        assert!(request == "ready" || thread.as_deref() == Some("dynamo-lock"), "{request} on {thread:?}");
    }
}

#[test]
fn calls_need_no_runtime() {
    let setup = Setup::new();
    let lock = setup.client.lock("a").unwrap();
    let guard = block_on(lock.acquire()).unwrap();
    block_on(guard.renew()).unwrap();
    // It waits for the holder by the timer of the thread.
    assert!(block_on(lock.acquire_within(ms(100))).is_err());
    block_on(guard.release()).unwrap();
    drop(block_on(lock.acquire()).unwrap());
    block_on(setup.client.close());
    setup.wait_until_free();
}

/// Lesson 15. The request in flight runs on the thread, and the clean-up follows there.
#[test]
fn dropped_acquire_leaves_lock_free() {
    let setup = Setup::of(|builder| builder.lease(secs(1)).dedicated_thread());
    let lock = setup.client.lock("a").unwrap();
    setup.hangs.store(true, Ordering::SeqCst);
    let mut acquire = Box::pin(lock.acquire());
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    while !setup.requests.try_recv().is_ok_and(|(request, _)| request == "acquire") {
        assert!(acquire.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        thread::yield_now();
    }
    setup.hangs.store(false, Ordering::SeqCst);
    drop(acquire);
    setup.wait_for("release");
    block_on(setup.client.close());
    assert!(block_on(lock.try_acquire()).is_ok());
}

/// Nothing answers, and the thread of the client gives up at the end of the lease.
#[test]
fn release_on_the_thread_ends_with_the_lease() {
    let setup = Setup::of(|builder| builder.lease(secs(1)).dedicated_thread());
    let guard = block_on(acquire(&setup.client));
    setup.hangs.store(true, Ordering::SeqCst);
    let error = block_on(guard.release()).unwrap_err();
    assert!(matches!(error, ReleaseError::Unknown), "{error}");
}

/// Value that reports when its thread ends.
struct ThreadEnd(#[allow(dead_code)] Sender<()>);

thread_local!(static END: Mutex<Option<ThreadEnd>> = const { Mutex::new(None) });

/// Store whose first request marks its thread.
#[derive(Debug)]
struct MarkingStore(Memory, Mutex<Option<Sender<()>>>);

impl Store for MarkingStore {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        self.0.read(name, consistency)
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        if let Some(sender) = lock(&self.1).take() {
            END.with(|end| *lock(end) = Some(ThreadEnd(sender)));
        }
        self.0.write(op)
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        self.0.list(after)
    }
}

#[test]
fn thread_ends_after_client_guards_and_releases() {
    let (sender, end) = channel();
    let store = MarkingStore(Memory::new(), Mutex::new(Some(sender)));
    let client = Client::builder(store).dedicated_thread().build().unwrap();
    let guard = block_on(acquire(&client));
    drop(client);
    assert!(end.try_recv().is_err_and(|error| error == std::sync::mpsc::TryRecvError::Empty), "the guard keeps it");
    drop(guard);
    let ended = end.recv_timeout(secs(60));
    assert_eq!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected), "the thread has ended");
}

/// The limit of descriptors applies to a process of its own, because other tests need theirs.
#[cfg(unix)]
#[test]
fn thread_that_cannot_start_is_an_error_of_build() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    const CHILD: &str = "DYNAMO_LOCK_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(CHILD).is_none() {
        let test = "dedicated_thread::thread_that_cannot_start_is_an_error_of_build";
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let output = command.args([test, "--exact", "--nocapture"]).env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let build = || Client::builder(Memory::new()).dedicated_thread().build();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let error = build().expect_err("no descriptor is left");
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().starts_with("cannot start the thread of the client: "), "{error}");
    block_on(acquire(&build().expect("a later call succeeds"))).is_valid();
}
