//! A store in another process: this test binary started again as its own test `second_process`. Each request is a line
//! of JSON on its standard input, each answer one on its standard output.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use dynamo_lock::store::{Answer, BoxFuture, Consistency, Page};
use dynamo_lock::{LockName, Sqlite, Store, StoreError, StoreErrorKind};
use dynamo_lock_protocol::{Op, Outcome, Row};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;

use crate::conformance::json as wire;

/// Tells a child which database it serves.
const PATH: &str = "DYNAMO_LOCK_TEST_SERVES";
/// Lines of a child's own begin with this; libtest prints others.
const MARK: &str = "served: ";

type Request = (Json, oneshot::Sender<Json>);

/// A `Sqlite` that another process has open. One request at a time: a thread of ours has the pipe.
pub struct Elsewhere {
    requests: Option<mpsc::Sender<Request>>,
    pipe: Option<JoinHandle<()>>,
    pub pid: u32,
}

impl Elsewhere {
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
            carry(&mut child, queue);
            child.wait().expect("ends");
        });
        Self { requests: Some(requests), pipe: Some(pipe), pid }
    }

    async fn ask(&self, request: Json) -> Result<Json, StoreError> {
        let (sender, answer) = oneshot::channel();
        let gone = |why: &str| StoreError::new(StoreErrorKind::Unanswered, format!("the other process is gone: {why}"));
        self.requests.as_ref().and_then(|queue| queue.send((request, sender)).ok()).ok_or_else(|| gone("unsent"))?;
        let answer = answer.await.map_err(|_| gone("no answer"))?;
        match answer.get("error") {
            Some(error) => Err(wire::error_of(error)),
            None => Ok(answer["ok"].clone()),
        }
    }
}

/// Until there are no more requests, or the other process ends.
fn carry(child: &mut Child, queue: mpsc::Receiver<Request>) {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return };
    let mut lines = BufReader::new(stdout).lines();
    for (request, sender) in queue {
        if writeln!(stdin, "{request}").is_err() {
            return;
        }
        let own = |line: std::io::Result<String>| Some(line.ok()?.split_once(MARK)?.1.to_owned());
        let Some(line) = lines.by_ref().find_map(own) else { return };
        // Nobody waits for the answer if the future was dropped.
        let _ = sender.send(serde_json::from_str(&line).expect("JSON"));
    }
    // The end, for it; what libtest has to say then is read too, or it would fail on a broken pipe.
    drop(stdin);
    lines.for_each(drop);
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // Its standard input ends, and so it does.
        self.requests = None;
        if let Some(pipe) = self.pipe.take() {
            let _ = pipe.join();
        }
    }
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Elsewhere({})", self.pid)
    }
}

impl Store for Elsewhere {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            let strong = consistency == Consistency::Strong;
            let answer = self.ask(json!({ "read": name.as_str(), "strong": strong })).await;
            answer.map(|row| wire::maybe_row_of(&row)).into()
        })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            let answer = self.ask(json!({ "write": wire::op(op) })).await;
            answer.map(|outcome| wire::outcome_of(&outcome)).into()
        })
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        Box::pin(async move { self.ask(json!({ "list": after })).await.map(|page| wire::page_of(&page)).into() })
    }
}

/// The body of `second_process`: nothing, unless it is told by its environment what to serve.
pub fn serve_if_child() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let store = Sqlite::open(Path::new(&path)).expect("opens");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for line in std::io::stdin().lines() {
        let request: Json = serde_json::from_str(&line.expect("reads")).expect("JSON");
        let answer = match runtime.block_on(answer(&store, &request)) {
            Ok(said) => json!({ "ok": said }),
            Err(error) => json!({ "error": wire::error(&error) }),
        };
        println!("{MARK}{answer}");
    }
}

async fn answer(store: &Sqlite, request: &Json) -> Result<Json, StoreError> {
    if let Some(op) = request.get("write") {
        return store.write(&wire::op_of(op)).await.result.map(|outcome| wire::outcome(&outcome));
    }
    if let Some(name) = request.get("read") {
        let strong = request["strong"] == json!(true);
        let consistency = if strong { Consistency::Strong } else { Consistency::Eventual };
        let row = store.read(&wire::name_of(name), consistency).await.result?;
        return Ok(wire::maybe_row(row.as_ref()));
    }
    store.list(request["list"].as_str()).await.result.map(|page| wire::page(&page))
}
