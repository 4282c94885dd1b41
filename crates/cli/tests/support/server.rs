//! Servers that take the place of DynamoDB, and the HTTP that they need.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::Fixture;

/// Returns a directory whose store is a table at a server that answers every request with this status and body.
pub fn server_with_response(status: &'static str, body: &str) -> Fixture {
    recording_server(status, body).0
}

/// Like [`server_with_response`], and returns the bodies of the requests in addition.
pub fn recording_server(status: &'static str, body: &str) -> (Fixture, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let (recorded, body) = (requests.clone(), body.to_owned());
    let (fixture, listener) = silent_server();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(request) = Request::read(&mut BufReader::new(&stream)) else { continue };
            recorded.lock().unwrap().push(String::from_utf8_lossy(&request.body).into_owned());
            let _client_reports_errors = respond(&stream, status, &body);
        }
    });
    (fixture, requests)
}

/// Returns a directory whose store is a table at a server that answers each operation with this status and body.
pub fn server_by_operation(respond_to: impl Fn(&str) -> (&'static str, String) + Send + 'static) -> Fixture {
    let (fixture, listener) = silent_server();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(request) = Request::read(&mut BufReader::new(&stream)) else { continue };
            let (status, body) = respond_to(&request.operation);
            let _ = respond(&stream, status, &body);
        }
    });
    fixture
}

/// Returns a directory whose store is a table at a server that accepts connections and never responds.
pub fn silent_server() -> (Fixture, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    (Fixture::with_store(&table_url(port)), listener)
}

/// Returns the URL of a table at a server on this port.
pub fn table_url(port: u16) -> String {
    format!("dynamodb://Lock?region=us-east-1&endpoint=http://127.0.0.1:{port}")
}

/// Returns the body of an error response as DynamoDB sends it.
pub fn dynamodb_error(code: &str, message: &str) -> String {
    serde_json::json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message }).to_string()
}

/// A request over HTTP.
#[derive(Default)]
pub struct Request {
    /// Lines before the empty line, except the header `Connection`.
    pub head: String,
    /// Operation that the header `X-Amz-Target` names.
    pub operation: String,
    pub body: Vec<u8>,
}

impl Request {
    pub fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut request = Self::default();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            match name.to_ascii_lowercase().as_str() {
                "\r\n" => break,
                "connection" => continue,
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "x-amz-target" => {
                    value.trim().rsplit('.').next().unwrap_or_default().clone_into(&mut request.operation)
                }
                _ => {}
            }
            request.head.push_str(&line);
        }
        request.body.resize(length, 0);
        from.read_exact(&mut request.body)?;
        Ok(request)
    }
}

/// Sends a response.
pub fn respond(to: &TcpStream, status: &str, body: &str) -> io::Result<()> {
    respond_with(to, status, "Content-Type: application/x-amz-json-1.0", body)
}

/// Sends a response with these headers, separated by line ends.
pub fn respond_with(mut to: &TcpStream, status: &str, headers: &str, body: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}\r\nConnection: close");
    write!(to, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
