use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::sleep;

use crate::{LocalDynamoDb, World, skip};

/// Directory with the installed npm package. `cargo xtask test` sets it.
const MODULES: &str = "DYNAMO_LOCK_TEST_NPM";

/// npm dynamo-lock 0.1.3, running in a process of Node.js. Its database, its clock and its pauses come from this
/// process.
#[derive(Debug)]
pub struct NpmClient {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl NpmClient {
    /// Returns the directory of the installed package. Without one, it reports that `test` is skipped.
    pub fn modules(test: &str) -> Option<PathBuf> {
        let modules = std::env::var_os(MODULES).map(|dir| PathBuf::from(dir).join("node_modules"));
        if modules.is_none() {
            skip(test, "`cargo xtask test` installs npm dynamo-lock");
        }
        modules
    }

    /// Starts a client with the package in `modules`.
    ///
    /// # Panics
    /// If `node` cannot be started.
    pub fn start(modules: &PathBuf) -> Self {
        let mut child = Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/npm/npm_client.js"))
            .arg(modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, stdin, stdout: BufReader::new(stdout) }
    }

    /// Sends a line and returns the next line of the client. It blocks the thread, so that virtual time stands still.
    fn exchange(&mut self, line: Json) -> Json {
        writeln!(self.stdin, "{line}").expect("the client reads");
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).expect("the client writes");
        serde_json::from_str(&answer).expect("JSON")
    }

    /// Calls `getLock("a", duration_ms)` on the table and returns the arguments of its callback. The wall clock of the
    /// client is ahead by `ahead_ms`, and the client stops for `pause` between its read and its write.
    pub async fn get_lock(
        &mut self,
        world: &World,
        table: &LocalDynamoDb,
        ahead_ms: i64,
        duration_ms: u64,
        pause: Duration,
    ) -> Json {
        let now = || world.epoch_ms().saturating_add_signed(ahead_ms);
        let mut line = self.exchange(json!({ "now": now(), "getLock": "a", "ms": duration_ms }));
        while let Some(operation) = line["operation"].as_str().map(str::to_owned) {
            let mut reply = match table.call(&operation, line["params"].clone()) {
                Ok(data) => json!({ "data": data }),
                Err(error) => json!({ "error": format!("{error:?}") }),
            };
            reply["now"] = now().into();
            line = self.exchange(reply);
            if operation == "GetItem" {
                // The client has computed its write from the clock of before the pause.
                sleep(pause).await;
            }
        }
        line
    }
}

impl Drop for NpmClient {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _ended_before = self.child.wait();
    }
}
