//! A proxy between the program and a DynamoDB server that counts requests by operation, or injects faults.
#![allow(dead_code)] // each test file uses its part

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A proxy that listens on a free loopback port until the test ends.
pub struct Proxy {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    fault: Arc<Mutex<Option<Fault>>>,
}

/// Fault that replaces the forwarding of requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Neither a response nor an error.
    Hang,
    /// The connection is closed.
    Refuse,
    /// The service throttles the request.
    Throttle,
}

const THROTTLED: &str =
    r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"too many"}"#;

impl Proxy {
    /// Starts a proxy in front of the server at this URL.
    pub fn to(url: &str) -> Self {
        let upstream = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let fault: Arc<Mutex<Option<Fault>>> = Arc::default();
        let (all, now) = (seen.clone(), fault.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (upstream, seen, fault) = (upstream.clone(), all.clone(), now.clone());
                // The client notices a broken connection by itself.
                std::thread::spawn(move || _ = pass(client, &upstream, &seen, &fault));
            }
        });
        Self { address, seen, fault }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Applies this fault from now on.
    pub fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Returns the operations that were forwarded since the last call, in order.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Forwards one request and its response, and then closes the connection.
fn pass(
    client: TcpStream,
    upstream: &str,
    seen: &Mutex<Vec<String>>,
    fault: &Mutex<Option<Fault>>,
) -> std::io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if let Some(target) = lower.strip_prefix("x-amz-target:") {
            let operation = line[line.len() - target.len()..].trim().rsplit('.').next().unwrap_or_default().to_owned();
            seen.lock().unwrap().push(operation);
        }
        if line == "\r\n" {
            break;
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    let fault = *fault.lock().unwrap();
    match fault {
        None => {}
        // The hanging request ends when the client closes the connection.
        Some(Fault::Hang) => return std::io::copy(&mut from, &mut std::io::sink()).map(drop),
        Some(Fault::Refuse) => return client.shutdown(std::net::Shutdown::Both),
        Some(Fault::Throttle) => {
            let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close";
            write!(&client, "{head}\r\nContent-Length: {}\r\n\r\n{THROTTLED}", THROTTLED.len())?;
            return client.shutdown(std::net::Shutdown::Both);
        }
    }
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    server.write_all(&body)?;
    let mut client = client;
    std::io::copy(&mut server, &mut client)?;
    client.shutdown(std::net::Shutdown::Both)
}
