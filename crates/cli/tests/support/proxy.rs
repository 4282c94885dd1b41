//! A proxy between the program and a DynamoDB server, which records the operations and can inject faults.

use std::io::{BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::server::{Request, dynamodb_error, respond};

/// Operations and bodies of requests.
type Requests = Mutex<Vec<(String, Vec<u8>)>>;

/// A proxy that listens on a free loopback port until the test process ends.
pub struct Proxy {
    address: SocketAddr,
    requests: Arc<Requests>,
    fault: Arc<Mutex<Option<Fault>>>,
}

/// Fault of all requests: they are not forwarded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The proxy sends no response and keeps the connection open.
    Hang,
    /// The proxy closes the connection.
    Refuse,
    /// The proxy responds that the table's throughput is exceeded.
    Throttle,
}

impl Proxy {
    /// Starts a proxy for the server at this URL.
    pub fn to(url: &str) -> Self {
        let upstream = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let proxy = Self { address, requests: Arc::default(), fault: Arc::default() };
        let (requests, fault) = (proxy.requests.clone(), proxy.fault.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (upstream, requests, fault) = (upstream.clone(), requests.clone(), fault.clone());
                // The client notices a broken connection.
                std::thread::spawn(move || _ = forward(client, &upstream, &requests, &fault));
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets or removes the fault of the requests from now on.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Returns the operations that were requested since the last call, in order.
    pub fn take_operations(&self) -> Vec<String> {
        self.take_requests().into_iter().map(|(operation, _)| operation).collect()
    }

    /// Returns the operations and bodies of the requests since the last call, in order.
    pub fn take_requests(&self) -> Vec<(String, serde_json::Value)> {
        let requests = std::mem::take(&mut *self.requests.lock().unwrap());
        let parsed = requests.into_iter().map(|(operation, body)| (operation, serde_json::from_slice(&body)));
        parsed.map(|(operation, body)| (operation, body.expect("a body in JSON"))).collect()
    }
}

/// Forwards one request and its response, and closes the connection.
fn forward(
    mut client: TcpStream,
    upstream: &str,
    requests: &Requests,
    fault: &Mutex<Option<Fault>>,
) -> std::io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let request = Request::read(&mut from)?;
    requests.lock().unwrap().push((request.operation, request.body.clone()));
    let fault = *fault.lock().unwrap();
    match fault {
        None => {
            let mut server = TcpStream::connect(upstream)?;
            server.write_all(format!("{}Connection: close\r\n\r\n", request.head).as_bytes())?;
            server.write_all(&request.body)?;
            std::io::copy(&mut server, &mut client)?;
        }
        // Returns when the client closes the connection.
        Some(Fault::Hang) => return std::io::copy(&mut from, &mut std::io::sink()).map(drop),
        Some(Fault::Refuse) => {}
        Some(Fault::Throttle) => {
            let error = dynamodb_error("ProvisionedThroughputExceededException", "throttled");
            respond(&client, "400 Bad Request", &error)?;
        }
    }
    client.shutdown(std::net::Shutdown::Both)
}
