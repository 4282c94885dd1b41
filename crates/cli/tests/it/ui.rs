//! `ui`: the requests that its server answers and refuses. `tests/browser` has the tests of the page.
#![cfg(feature = "ui")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};

use serde_json::{Value, json};

use crate::support::{Fixture, Running, wait_until};

/// A running server, and the parts of its address.
struct Server {
    running: Running,
    host: String,
    token: String,
}

/// A response: its status, the lines of its head, and its body.
struct Response {
    status: u16,
    head: String,
    body: String,
}

impl Server {
    fn start(fixture: &Fixture, arguments: &[&str]) -> Self {
        let mut child = fixture.command(&[&["ui"], arguments].concat()).spawn().expect("it starts");
        let mut address = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut address).expect("it prints its address");
        let address = address.trim_end().strip_prefix("http://").expect("an address of HTTP");
        let (host, path) = address.split_once('/').expect("a path");
        let token = path.strip_suffix('/').expect("it ends with a slash");
        Self { running: Running::from_child(child), host: host.to_owned(), token: token.to_owned() }
    }

    fn port(&self) -> u16 {
        self.host.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Sends a request with these headers, and `Host` unless they have it.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        let has_host = headers.iter().any(|(name, _)| *name == "Host");
        let host = [("Host", self.host.as_str())];
        for (name, value) in headers.iter().chain(host.iter().filter(|_| !has_host)) {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        self.send_raw(&format!("{request}\r\n{body}"))
    }

    fn send_raw(&self, request: &str) -> Response {
        let mut stream = TcpStream::connect(&self.host).expect("it listens");
        // The server may respond and close the connection before it has read all.
        let _closed = stream.write_all(request.as_bytes());
        let mut response = Vec::new();
        let _reset = stream.read_to_end(&mut response);
        let response = String::from_utf8(response).expect("text");
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Response { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", &format!("/{}/{path}", self.token), headers, "")
    }

    /// Sends a revocation as the page does.
    fn revoke(&self, body: &Value) -> Response {
        let origin = format!("http://{}", self.host);
        let headers = [("Origin", origin.as_str()), ("Content-Type", "application/json")];
        self.send("POST", &format!("/{}/api/revoke", self.token), &headers, &body.to_string())
    }
}

#[test]
fn page_and_its_locks_are_served_with_a_strict_policy() {
    let fixture = Fixture::new();
    fixture.run(&["hold", "a", "10m", "--owner", "ops"]).exits_with(0);
    let server = Server::start(&fixture, &[]);
    for (path, kind) in
        [("", "text/html"), ("page.js", "text/javascript"), ("theme.css", "text/css"), ("icon.svg", "image/svg")]
    {
        let response = server.get(path, &[]);
        assert_eq!(response.status, 200, "{path}");
        assert!(response.head.contains(&format!("content-type: {kind}")), "{}", response.head);
        let policy =
            response.head.lines().find(|line| line.starts_with("content-security-policy: ")).expect("a policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains("data:"), "{policy}");
        for header in ["x-content-type-options: nosniff", "referrer-policy: no-referrer", "cache-control: no-store"] {
            assert!(response.head.contains(header), "{header} is missing in {}", response.head);
        }
        assert!(!response.head.contains("access-control-"), "{}", response.head);
        assert!(!response.body.contains("https://") && !response.body.contains("style=\""), "{path}");
    }
    let shown: Value = serde_json::from_str(&fixture.run(&["show", "a", "--json"]).exits_with(0).stdout).expect("JSON");
    let scan: Value = serde_json::from_str(&server.get("api/locks", &[]).body).expect("JSON");
    let keys = |value: &Value| value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
    assert_eq!((keys(&scan["locks"][0]), &scan["locks"][0]["owner"]), (keys(&shown), &shown["owner"]));
    assert_eq!((&scan["complete"], &scan["readUnits"]), (&json!(true), &Value::Null));
    let settings: Value = serde_json::from_str(&server.get("api/settings", &[]).body).expect("JSON");
    assert_eq!((&settings["allowRevoke"], &settings["store"]), (&json!(false), &json!(fixture.store())));
    assert_eq!(server.get("nonsense", &[]).status, 404);
}

#[test]
fn request_with_missing_or_wrong_token_is_refused() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, &[]);
    let wrong = format!("/{}0/", &server.token[1..]);
    let cases = ["/", "/favicon.ico", "/api/locks", "/page.js", wrong.as_str(), &server.token[..8], "/../", "//"];
    for path in cases.iter().filter(|path| path.starts_with('/')) {
        let response = server.send("GET", path, &[], "");
        assert_eq!(response.status, 403, "{path}");
        assert!(!response.body.contains(&server.token) && response.body.contains("token"), "{}", response.body);
    }
    assert_eq!(server.token.len(), 32);
    // A second server has another token.
    assert_ne!(Server::start(&fixture, &[]).token, server.token);
}

#[test]
fn request_with_foreign_host_or_origin_is_refused() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, &[]);
    let (port, own) = (server.port(), format!("http://{}", server.host));
    assert_eq!(server.get("api/locks", &[("Origin", &own)]).status, 200);
    assert_eq!(server.get("", &[("Host", &format!("localhost:{port}"))]).status, 200);
    // A name that an attacker has made an alias of 127.0.0.1, and the address without its port.
    let rebound =
        [format!("evil.example:{port}"), format!("127.0.0.1.nip.io:{port}"), "127.0.0.1".to_owned(), String::new()];
    for host in &rebound {
        assert_eq!(server.get("", &[("Host", host)]).status, 403, "{host}");
        assert_eq!(server.get("api/locks", &[("Host", host)]).status, 403, "{host}");
    }
    for origin in ["null", "http://evil.example", "https://127.0.0.1", &format!("http://localhost:{port}")] {
        assert_eq!(server.get("api/locks", &[("Origin", origin)]).status, 403, "{origin}");
    }
    for site in ["cross-site", "same-site"] {
        assert_eq!(server.get("api/locks", &[("Sec-Fetch-Site", site)]).status, 403, "{site}");
    }
    let without = server.send_raw(&format!("GET /{}/ HTTP/1.1\r\nConnection: close\r\n\r\n", server.token));
    assert_eq!(without.status, 403);
}

#[test]
fn revocation_by_the_page_needs_flag_and_typed_name() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m"]).exits_with(0).stdout.trim().parse::<u64>().expect("a token");
    let body = |typed: &str| json!({ "name": "a", "token": held, "typed": typed });
    let server = Server::start(&fixture, &[]);
    let refused = server.revoke(&body("a"));
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("--allow-revoke"), "{}", refused.body);
    let server = Server::start(&fixture, &["--allow-revoke"]);
    for typed in ["", "A", "a ", "b"] {
        assert_eq!(server.revoke(&body(typed)).status, 409, "{typed:?}");
    }
    assert_eq!(fixture.token("a"), held.to_string());
    let revoked = server.revoke(&body("a"));
    assert_eq!((revoked.status, revoked.body.contains("is revoked")), (200, true), "{}", revoked.body);
    assert_eq!(fixture.token("a"), (held + 1).to_string());
    // The lock stays held until its lease has expired, as after the command `revoke`.
    fixture.run(&["run", "-n", "a", "true"]).exits_with(75);
    // An acquisition that has ended is not revoked.
    let ended = server.revoke(&json!({ "name": "a", "token": held + 5, "typed": "a" }));
    assert_eq!((ended.status, ended.body.contains("has ended")), (409, true), "{}", ended.body);
}

#[test]
fn page_revokes_one_of_several_holders() {
    let fixture = Fixture::new();
    let run = fixture.start(&["run", "--lease", "2", "--slots", "3", "a", "-c", "touch ready; exec sleep 100"]);
    let shown: Value = serde_json::from_str(&fixture.run(&["show", "a", "--json"]).exits_with(0).stdout).expect("JSON");
    let server = Server::start(&fixture, &["--allow-revoke"]);
    let body = json!({ "name": "a", "holder": shown["holders"][0]["id"], "typed": "a" });
    assert_eq!(server.revoke(&body).status, 200);
    run.wait().exits_with(76).prints("revoked");
    let ended = server.revoke(&json!({ "name": "a", "holder": "0123", "typed": "a" }));
    assert_eq!((ended.status, ended.body.contains("does not hold")), (409, true), "{}", ended.body);
}

#[test]
fn post_needs_json_and_the_origin_of_the_page() {
    let fixture = Fixture::new();
    let held = fixture.run(&["hold", "a", "10m"]).exits_with(0).stdout.trim().parse::<u64>().expect("a token");
    let server = Server::start(&fixture, &["--allow-revoke"]);
    let (path, own) = (format!("/{}/api/revoke", server.token), format!("http://{}", server.host));
    let body = json!({ "name": "a", "token": held, "typed": "a" }).to_string();
    let (origin, json) = (("Origin", own.as_str()), ("Content-Type", "application/json"));
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        assert_eq!(server.send("POST", &path, &[origin, ("Content-Type", kind)], &body).status, 415, "{kind}");
    }
    assert_eq!(server.send("POST", &path, &[origin], &body).status, 415);
    assert_eq!(server.send("POST", &path, &[json], &body).status, 403);
    assert_eq!(server.send("POST", &path, &[json, ("Origin", "http://evil.example")], &body).status, 403);
    assert_eq!(server.send("PUT", &path, &[json, origin], &body).status, 405);
    for invalid in ["nonsense", "{}", "[]", r#"{"name":"a","typed":"a"}"#, r#"{"name":1,"token":1,"typed":"a"}"#] {
        assert_eq!(server.send("POST", &path, &[json, origin], invalid).status, 400, "{invalid}");
    }
    assert_eq!(server.send("POST", &format!("/{}/nonsense", server.token), &[json, origin], "{}").status, 404);
    assert_eq!(fixture.token("a"), held.to_string());
    // Control: the same request with both is accepted.
    assert_eq!(server.send("POST", &path, &[json, origin], &body).status, 200);
}

#[test]
fn oversize_request_is_refused() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, &["--allow-revoke"]);
    let long = "x".repeat(100_000);
    assert_eq!(server.get("", &[("X-Long", &long)]).status, 431);
    assert!([414, 431].contains(&server.get(&long, &[]).status));
    let names: Vec<String> = (0..200).map(|number| format!("X-{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(server.get("", &many).status, 431);
    let body = json!({ "name": "a", "token": 1, "typed": long });
    assert_eq!(server.revoke(&body).status, 413);
    assert_eq!(server.get("", &[]).status, 200);
}

/// Returns the number of TCP connections of the server that it has accepted.
fn accepted(server: &Server) -> usize {
    let descriptors = format!("/proc/{}/fd", server.running.pid());
    let sockets: Vec<String> = std::fs::read_dir(descriptors)
        .expect("it is running")
        .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel reports connections");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // State 01 is ESTABLISHED.
    rows.filter(|row| row.len() > 9 && row[3] == "01" && sockets.contains(&row[9].to_owned())).count()
}

#[test]
fn number_of_connections_is_bounded() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, &[]);
    let mut open: Vec<TcpStream> = (0..70).map(|_| TcpStream::connect(&server.host).expect("it listens")).collect();
    wait_until("the server has accepted as many as it may", || accepted(&server) == 64);
    // The last one is answered after others have ended.
    open.drain(..10);
    let mut last = open.pop().expect("there are some");
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.host);
    last.write_all(request.as_bytes()).expect("it is open");
    let mut response = String::new();
    last.read_to_string(&mut response).expect("text");
    assert!(response.starts_with("HTTP/1.1 403"), "{response}");
}

/// Control: a socket of another address shows that connections to this machine are possible at all.
#[test]
fn server_listens_on_loopback_alone() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, &[]);
    let port = format!(":{:04X}", server.port());
    let mut listening = Vec::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let sockets = std::fs::read_to_string(file).unwrap_or_default();
        let fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        // State 0A is LISTEN.
        let own = fields.filter(|fields| fields.get(3) == Some(&"0A") && fields[1].ends_with(&port));
        listening.extend(own.map(|fields| fields[1].to_owned()));
    }
    assert_eq!(listening, [format!("0100007F{port}")]);
    // No packet is sent: `connect` of UDP only selects the address of this machine.
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let address = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    if let Ok(address) =
        address.map(|address| address.ip()).map_err(drop).and_then(|ip| if ip.is_loopback() { Err(()) } else { Ok(ip) })
    {
        assert!(TcpStream::connect((address, server.port())).is_err(), "{address}");
    }
}

#[test]
fn interrupt_ends_the_server() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, &[]);
    // An open connection does not delay the end.
    let _open = TcpStream::connect(&server.host).expect("it listens");
    server.running.signal("INT");
    server.running.wait().exits_with(130).prints_line("Ctrl-C ends it");
}

#[test]
fn port_in_use_is_reported() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, &[]);
    let port = server.port().to_string();
    fixture.run(&["ui", "--port", &port]).exits_with(69).prints_line("choose another with --port");
    fixture.run(&["ui", "--interval", "0.5"]).exits_with(64).prints("1 s to 1 h");
}

#[test]
fn store_that_fails_is_reported_to_the_page() {
    let fixture = crate::support::server_with_response(
        "400 Bad Request",
        &crate::support::dynamodb_error("ResourceNotFoundException", "none"),
    );
    let server = Server::start(&fixture, &[]);
    let response = server.get("api/locks", &[]);
    let body: Value = serde_json::from_str(&response.body).expect("JSON");
    assert_eq!(response.status, 503);
    assert!(body["error"].as_str().expect("an error").contains("table create"), "{body}");
    assert!(body["nextMs"].is_u64(), "{body}");
}
