use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::Fixture;

/// Returns a directory whose store is a table at a server that answers every request with this status and body.
pub fn server_with_response(status: &'static str, body: &str) -> Fixture {
    recording_server(status, body).0
}

/// Like [`server_with_response`], and returns the bodies of the requests in addition.
pub fn recording_server(status: &'static str, body: &str) -> (Fixture, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let recorded = requests.clone();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let body = body.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut from = BufReader::new(&stream);
            let (mut line, mut length) = (String::new(), 0);
            while from.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut request = vec![0; length];
            let _client_reports_errors = from.read_exact(&mut request);
            recorded.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close");
            let _client_reports_errors = write!(&stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    (Fixture::with_store(&table_url(port)), requests)
}

/// Returns a directory whose store is a table at a server that accepts connections and never responds.
pub fn silent_server() -> (Fixture, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    (Fixture::with_store(&table_url(port)), listener)
}

fn table_url(port: u16) -> String {
    format!("dynamodb://Lock?region=us-east-1&endpoint=http://127.0.0.1:{port}")
}

/// Returns the body of an error response as DynamoDB sends it.
pub fn dynamodb_error(code: &str, message: &str) -> String {
    serde_json::json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message }).to_string()
}
