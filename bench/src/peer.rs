//! The libraries under test, their agents, and the tables that they need.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveSpecification,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::bench::Bench;
use crate::proxy::{Link, Port};
use crate::{Outcome, agent::library::connect};

/// A library with the settings under which it is tested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Peer {
    /// Two bare conditional `UpdateItem` calls that write one short attribute.
    Bare,
    /// Two bare calls that write the same bytes as this library.
    BareEqual,
    DynamoLock,
    /// This library, with the service's clock.
    DynamoLockClock,
    /// This library in Node.
    Node,
    Lease,
    /// dynamodb-lease with a pause of 25 ms between two attempts, in place of one second.
    LeaseTuned,
    Dlock,
    NpmDynamoLock,
    LockClient,
    LockClientTrust,
    Python,
}

impl Peer {
    /// Returns the name in tables and charts.
    pub fn label(self) -> &'static str {
        match self {
            Peer::Bare => "two bare calls",
            Peer::BareEqual => "two bare calls, same bytes",
            Peer::DynamoLock => "dynamo-lock",
            Peer::DynamoLockClock => "dynamo-lock, service clock",
            Peer::Node => "dynamo-lock, Node",
            Peer::Lease => "dynamodb-lease",
            Peer::LeaseTuned => "dynamodb-lease, 25 ms",
            Peer::Dlock => "dlock",
            Peer::NpmDynamoLock => "npm dynamo-lock",
            Peer::LockClient => "dynamodb-lock-client",
            Peer::LockClientTrust => "dynamodb-lock-client, trustLocalTime",
            Peer::Python => "python-dynamodb-lock",
        }
    }

    fn agent(self) -> &'static str {
        match self {
            Peer::Bare | Peer::BareEqual => "bare",
            Peer::DynamoLock | Peer::DynamoLockClock => "dynamo-lock",
            Peer::Node => "node",
            Peer::Lease | Peer::LeaseTuned => "dynamodb-lease",
            Peer::Dlock => "dlock",
            Peer::NpmDynamoLock => "npm-dynamo-lock",
            Peer::LockClient | Peer::LockClientTrust => "dynamodb-lock-client",
            Peer::Python => "python",
        }
    }

    fn table(self) -> &'static str {
        TABLES.iter().find(|table| table.agents.contains(&self.agent())).map_or("Lock", |table| table.name)
    }

    fn settings(self) -> &'static [&'static str] {
        match self {
            Peer::DynamoLockClock => &["service_clock=1"],
            Peer::LeaseTuned => &["pause=25"],
            Peer::LockClientTrust => &["trust=1"],
            _ => &[],
        }
    }
}

struct Table {
    name: &'static str,
    agents: &'static [&'static str],
    keys: &'static [&'static str],
    ttl: Option<&'static str>,
}

const TABLES: [Table; 6] = [
    Table { name: "Lock", agents: &["dynamo-lock", "node"], keys: &["name"], ttl: Some("ttl") },
    Table { name: "Bare", agents: &["bare", "npm-dynamo-lock"], keys: &["name"], ttl: None },
    Table { name: "Lease", agents: &["dynamodb-lease"], keys: &["key"], ttl: Some("lease_expiry") },
    Table { name: "Dlock", agents: &["dlock"], keys: &["lock_name"], ttl: None },
    Table { name: "LockClient", agents: &["dynamodb-lock-client"], keys: &["id"], ttl: None },
    Table { name: "Python", agents: &["python"], keys: &["lock_key", "sort_key"], ttl: None },
];

/// Creates the tables of all libraries on the server at `url`.
pub async fn create_tables(url: &str) -> Outcome<()> {
    let client = connect(url);
    for table in &TABLES {
        let mut request = client.create_table().table_name(table.name).billing_mode(BillingMode::PayPerRequest);
        for (key, kind) in table.keys.iter().zip([KeyType::Hash, KeyType::Range]) {
            let kind = KeySchemaElement::builder().attribute_name(*key).key_type(kind).build()?;
            let text = AttributeDefinition::builder().attribute_name(*key).attribute_type(ScalarAttributeType::S);
            request = request.key_schema(kind).attribute_definitions(text.build()?);
        }
        request.send().await?;
        if let Some(ttl) = table.ttl {
            let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(ttl).build()?;
            client.update_time_to_live().table_name(table.name).time_to_live_specification(ttl).send().await?;
        }
    }
    Ok(())
}

/// A running agent with its port. Dropping it kills its process.
pub struct Agent {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    pub port: Arc<Port>,
}

impl Agent {
    /// Starts the agent of `peer` for the lock `lock`, and waits until it is ready.
    pub async fn start(
        bench: &Bench,
        peer: Peer,
        lock: &str,
        lease: Duration,
        link: Link,
        extra: &[String],
    ) -> Outcome<Agent> {
        let mut agent = Agent::launch(bench, peer, lock, lease, link, extra).await?;
        agent.read().await?;
        Ok(agent)
    }

    /// Starts an agent without waiting. The first line that it prints shows that it is ready.
    pub async fn launch(
        bench: &Bench,
        peer: Peer,
        lock: &str,
        lease: Duration,
        link: Link,
        extra: &[String],
    ) -> Outcome<Agent> {
        let port = Port::open(bench.server.address, link).await?;
        let mut command = match peer.agent() {
            "node" => bench.node(&bench.paths.node_package)?,
            "npm-dynamo-lock" | "dynamodb-lock-client" => bench.node(&bench.paths.npm)?,
            "python" => bench.python()?,
            _ => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("agent");
                command
            }
        };
        if peer != Peer::Python {
            command.arg(peer.agent());
        }
        let packages = match peer.agent() {
            "node" => &bench.paths.node_package,
            "python" => &bench.paths.pypi,
            _ => &bench.paths.npm,
        };
        command.args([format!("url={}", port.url), format!("table={}", peer.table()), format!("lock={lock}")]);
        command.args([format!("lease={}", lease.as_millis()), format!("packages={}", text(packages))]);
        if peer == Peer::BareEqual {
            command.arg(format!("recorded={}", bench.scratch.path().join("recorded.json").display()));
        }
        command.args(peer.settings()).args(extra);
        Agent::spawn(command, port)
    }

    /// Starts an agent of the embedded store on the file `file`.
    pub async fn embedded(bench: &Bench, file: &str, lock: &str) -> Outcome<Agent> {
        let port = Port::open(bench.server.address, Link::default()).await?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["agent", "embedded", &format!("file={file}"), &format!("lock={lock}")]);
        let mut agent = Agent::spawn(command, port)?;
        agent.read().await?;
        Ok(agent)
    }

    fn spawn(mut command: Command, port: Port) -> Outcome<Agent> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or("no standard input")?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        Ok(Agent { child, stdin, lines: BufReader::new(stdout).lines(), port: Arc::new(port) })
    }

    /// Sends a command.
    pub async fn send(&mut self, command: &str) -> Outcome<()> {
        Ok(self.stdin.write_all(format!("{command}\n").as_bytes()).await?)
    }

    /// Waits for the next line of JSON. Other lines are log messages of the library.
    pub async fn read(&mut self) -> Outcome<Value> {
        loop {
            let line = self.lines.next_line().await?.ok_or("an agent has ended early; see its message above")?;
            if line.starts_with('{') {
                return Ok(serde_json::from_str(&line)?);
            }
        }
    }

    /// Sends a command and returns its result.
    pub async fn call(&mut self, command: &str) -> Outcome<Value> {
        self.send(command).await?;
        self.read().await
    }

    /// Kills the process with SIGKILL and waits for its end.
    pub async fn kill(&mut self) -> Outcome<()> {
        Ok(self.child.kill().await?)
    }
}

fn text(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
}

/// Returns the number in `value` under `key`.
pub fn number(value: &Value, key: &str) -> Outcome<f64> {
    value[key].as_f64().ok_or_else(|| format!("an agent answered {value} without `{key}`").into())
}
