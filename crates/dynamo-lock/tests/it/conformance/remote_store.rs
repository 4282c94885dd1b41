//! A store in another process, which is this test binary running its own test `second_process`. Each request is a line
//! of JSON on its standard input, and each response is a line on its standard output.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use dynamo_lock::store::{Answer, BoxFuture, Consistency, Page};
use dynamo_lock::{LockName, Sqlite, Store, StoreError, StoreErrorKind};
use dynamo_lock_protocol::{Op, Outcome, Row};
use serde_json::{Value as Json, json as value};
use tokio::sync::oneshot;

use crate::conformance::json;

/// Environment variable with the path of the database that a child process serves.
const PATH: &str = "DYNAMO_LOCK_TEST_SERVES";
/// Prefix of the lines of a child process. libtest prints other lines.
const MARK: &str = "served: ";

type Request = (Json, oneshot::Sender<Json>);

/// A `Sqlite` in another process. A thread of this process forwards one request at a time.
pub struct RemoteStore {
    requests: Option<mpsc::Sender<Request>>,
    pipe: Option<JoinHandle<()>>,
    pub pid: u32,
}

impl RemoteStore {
    pub fn start(path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this test binary"))
            .args(["conformance::second_process", "--exact", "--nocapture", "--test-threads=1"])
            .env(PATH, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let pid = child.id();
        let (requests, queue) = mpsc::channel();
        let pipe = std::thread::spawn(move || {
            forward(&mut child, queue);
            child.wait().expect("ends");
        });
        Self { requests: Some(requests), pipe: Some(pipe), pid }
    }

    async fn send(&self, request: Json) -> Result<Json, StoreError> {
        let (sender, answer) = oneshot::channel();
        let gone =
            |why: &str| StoreError::new(StoreErrorKind::Unanswered, format!("the other process has ended: {why}"));
        self.requests.as_ref().and_then(|queue| queue.send((request, sender)).ok()).ok_or_else(|| gone("unsent"))?;
        let answer = answer.await.map_err(|_| gone("no answer"))?;
        match answer.get("error") {
            Some(error) => Err(json::error_of(error)),
            None => Ok(answer["ok"].clone()),
        }
    }
}

/// Forwards requests until there are no more of them, or until the other process has ended.
fn forward(child: &mut Child, queue: mpsc::Receiver<Request>) {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return };
    let mut lines = BufReader::new(stdout).lines();
    for (request, sender) in queue {
        if writeln!(stdin, "{request}").is_err() {
            return;
        }
        let own = |line: std::io::Result<String>| Some(line.ok()?.split_once(MARK)?.1.to_owned());
        let Some(line) = lines.by_ref().find_map(own) else { return };
        // The receiver is gone if the future was dropped.
        let _ = sender.send(serde_json::from_str(&line).expect("JSON"));
    }
    // Closing its standard input ends the process. libtest prints a summary then, and would fail on a closed pipe.
    drop(stdin);
    lines.for_each(drop);
}

impl Drop for RemoteStore {
    fn drop(&mut self) {
        // This closes the standard input of the process, which ends it.
        self.requests = None;
        if let Some(pipe) = self.pipe.take() {
            let _ = pipe.join();
        }
    }
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteStore({})", self.pid)
    }
}

impl Store for RemoteStore {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            let strong = consistency == Consistency::Strong;
            let answer = self.send(value!({ "read": name.as_str(), "strong": strong })).await;
            answer.map(|row| json::maybe_row_of(&row)).into()
        })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            let answer = self.send(value!({ "write": json::op(op) })).await;
            answer.map(|outcome| json::outcome_of(&outcome)).into()
        })
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        Box::pin(async move { self.send(value!({ "list": after })).await.map(|page| json::page_of(&page)).into() })
    }
}

/// Serves the database that the environment names. Does nothing if it names none.
pub fn serve_if_child() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let store = Sqlite::open(Path::new(&path)).expect("opens");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for line in std::io::stdin().lines() {
        let request: Json = serde_json::from_str(&line.expect("reads")).expect("JSON");
        let answer = match runtime.block_on(answer(&store, &request)) {
            Ok(body) => value!({ "ok": body }),
            Err(error) => value!({ "error": json::error(&error) }),
        };
        println!("{MARK}{answer}");
    }
}

async fn answer(store: &Sqlite, request: &Json) -> Result<Json, StoreError> {
    if let Some(op) = request.get("write") {
        return store.write(&json::op_of(op)).await.result.map(|outcome| json::outcome(&outcome));
    }
    if let Some(name) = request.get("read") {
        let strong = request["strong"] == value!(true);
        let consistency = if strong { Consistency::Strong } else { Consistency::Eventual };
        let row = store.read(&json::name_of(name), consistency).await.result?;
        return Ok(json::maybe_row(row.as_ref()));
    }
    store.list(request["list"].as_str()).await.result.map(|page| json::page(&page))
}
