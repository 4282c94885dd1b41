//! A proxy in front of the DynamoDB server: counts the requests of each client, delays them, and throttles writes.
//!
//! Every client gets a port of its own, which identifies it. The proxy understands as much of HTTP/1.1 as the SDKs
//! use: requests and responses with a `Content-Length`, one after the other on a connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Outcome, clock};

/// Requests of one client, counted since its port was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub reads: u64,
    /// Strongly consistent reads, which cost twice as much; included in `reads`.
    pub strong: u64,
    pub writes: u64,
    /// Writes whose condition failed; included in `writes`.
    pub failed: u64,
    /// Writes that the token bucket refused; not included in `writes`.
    pub throttled: u64,
}

impl std::ops::Sub for Counts {
    type Output = Counts;
    fn sub(self, before: Counts) -> Counts {
        Counts {
            reads: self.reads - before.reads,
            strong: self.strong - before.strong,
            writes: self.writes - before.writes,
            failed: self.failed - before.failed,
            throttled: self.throttled - before.throttled,
        }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(all: I) -> Counts {
        all.fold(Counts::default(), |sum, one| Counts {
            reads: sum.reads + one.reads,
            strong: sum.strong + one.strong,
            writes: sum.writes + one.writes,
            failed: sum.failed + one.failed,
            throttled: sum.throttled + one.throttled,
        })
    }
}

#[derive(Default)]
struct Seen {
    counts: Counts,
    operations: BTreeMap<String, u64>,
    /// When the last write that succeeded was answered by the server.
    wrote: u64,
    /// Bodies of the requests, if they are recorded.
    bodies: Option<Vec<(String, Vec<u8>)>>,
    /// Times of the successful writes of each key, if they are recorded. `PutItem` has no key.
    times: Option<BTreeMap<String, Vec<u64>>>,
}

/// Settings of a port.
#[derive(Clone, Copy, Default)]
pub struct Link {
    /// Added before each request and before each response.
    pub delay: Duration,
    /// Writes a second that a token bucket lets pass, shared by the clients of this port. Others are throttled.
    pub writes_per_second: Option<u32>,
}

/// A port for one client. Dropping it closes the port.
pub struct Port {
    pub url: String,
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Port {
    /// Opens a port in front of the server at `server`.
    pub async fn open(server: SocketAddr, link: Link) -> Outcome<Port> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let bucket = link.writes_per_second.map(|rate| Arc::new(Mutex::new(Bucket::new(rate))));
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new(); // ends them with this task
            while let Ok((client, _)) = listener.accept().await {
                let (seen, bucket) = (shared.clone(), bucket.clone());
                // An error means that one of the two sides has closed the connection.
                connections.spawn(async move { _ = serve(client, server, link.delay, &seen, bucket.as_deref()).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Port { url, seen, task })
    }

    pub fn counts(&self) -> Counts {
        lock(&self.seen).counts
    }

    /// Returns the number of requests of each operation, such as `UpdateItem`.
    pub fn operations(&self) -> BTreeMap<String, u64> {
        lock(&self.seen).operations.clone()
    }

    /// Returns when the last successful write took effect, in nanoseconds of [`clock::now`].
    pub fn wrote(&self) -> u64 {
        lock(&self.seen).wrote
    }

    /// Starts to record the bodies of requests, and the times of the writes of each key.
    pub fn record(&self, bodies: bool, times: bool) {
        let mut seen = lock(&self.seen);
        seen.bodies = bodies.then(Vec::new);
        seen.times = times.then(BTreeMap::new);
    }

    /// Returns the recorded operations with their bodies.
    pub fn bodies(&self) -> Vec<(String, Vec<u8>)> {
        lock(&self.seen).bodies.clone().unwrap_or_default()
    }

    /// Returns the recorded times of the writes of each key.
    pub fn times(&self) -> BTreeMap<String, Vec<u64>> {
        lock(&self.seen).times.clone().unwrap_or_default()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Bucket {
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn new(rate: u32) -> Bucket {
        Bucket { rate: f64::from(rate), tokens: 0.0, filled: Instant::now() }
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + gained).min(self.rate / 10.0); // no longer burst than a tenth of a second
        self.filled = now;
        let taken = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(taken));
        taken
    }
}

/// A request or a response: its head, which ends with an empty line, and its body.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Message {
    /// Returns the value of the header `name`, which must be lower case.
    fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.head).ok()?;
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Reads a message; `left` keeps the bytes that follow it. `None` is the end of the connection.
    async fn read(stream: &mut TcpStream, left: &mut Vec<u8>) -> std::io::Result<Option<Message>> {
        let end = loop {
            if let Some(end) = left.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(left).await? == 0 {
                return Ok(None);
            }
        };
        let mut message = Message { head: left.drain(..end).collect(), body: Vec::new() };
        let length = message.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while left.len() < length {
            if stream.read_buf(left).await? == 0 {
                return Ok(None);
            }
        }
        message.body = left.drain(..length).collect();
        Ok(Some(message))
    }

    async fn write(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(&[&self.head[..], &self.body[..]].concat()).await
    }
}

/// Serves one connection of a client until one side closes it.
async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    delay: Duration,
    seen: &Mutex<Seen>,
    bucket: Option<&Mutex<Bucket>>,
) -> std::io::Result<()> {
    let mut upstream = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    while let Some(request) = Message::read(&mut client, &mut from_client).await? {
        let operation = request.header("x-amz-target").and_then(|target| target.split('.').nth(1)).unwrap_or("?");
        let writes = matches!(operation, "UpdateItem" | "PutItem" | "DeleteItem");
        pause(delay).await;
        if writes && bucket.is_some_and(|bucket| !lock(bucket).take()) {
            lock(seen).counts.throttled += 1;
            pause(delay).await;
            throttled().write(&mut client).await?;
            continue;
        }
        request.write(&mut upstream).await?;
        let Some(response) = Message::read(&mut upstream, &mut from_server).await? else { break };
        lock(seen).add(operation, writes, &request.body, &response);
        pause(delay).await;
        response.write(&mut client).await?;
    }
    Ok(())
}

impl Seen {
    fn add(&mut self, operation: &str, writes: bool, body: &[u8], response: &Message) {
        let ok = response.head.starts_with(b"HTTP/1.1 200");
        *self.operations.entry(operation.to_owned()).or_default() += 1;
        self.counts.writes += u64::from(writes);
        if operation == "GetItem" {
            self.counts.reads += 1;
            let strong = |key| matches!(serde_json::from_slice(body), Ok(Value::Object(body)) if body.get(key) == Some(&Value::Bool(true)));
            self.counts.strong += u64::from(strong("ConsistentRead"));
        }
        let failed = || response.body.windows(22).any(|text| text == b"ConditionalCheckFailed");
        self.counts.failed += u64::from(writes && !ok && failed());
        if let Some(bodies) = &mut self.bodies {
            bodies.push((operation.to_owned(), body.to_vec()));
        }
        if !(writes && ok) {
            return;
        }
        self.wrote = clock::now();
        if let Some(times) = &mut self.times
            && let Ok(body) = serde_json::from_slice::<Value>(body)
            && let Some(key) = body.get("Key")
        {
            times.entry(key.to_string()).or_default().push(self.wrote);
        }
    }
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

fn throttled() -> Message {
    let body = br#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"The level of configured provisioned throughput for the table was exceeded"}"#;
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: bench\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    Message { head: head.into_bytes(), body: body.to_vec() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
