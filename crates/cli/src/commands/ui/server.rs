//! The HTTP server on the loopback interface: connections, with bounds on their number, size and duration.

use std::net::{Ipv4Addr, SocketAddr};
use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, server::conn::http1::Builder, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::api::Api;
use crate::{clock, failure::Failure, failure::FailureKind};

/// Maximum number of open connections. Further ones wait until another has ended.
const CONNECTIONS_MAX: usize = 64;
/// Maximum size of the head of a request, in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// Maximum number of headers of a request.
const HEADERS_MAX: usize = 64;
/// Time in which the head of a request has to arrive, and maximum time between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Time after which a connection accepts no further request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// Time to end the response that is in progress then.
const END_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause after a failure to accept a connection, for example because there are too few descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on this port of the loopback interface, or on a free one if it is 0. Returns the port in addition.
pub async fn listen(port: u16) -> Result<(TcpListener, u16), Failure> {
    let failure = |error| {
        let message = format!("cannot listen on port {port} of 127.0.0.1: {error}; choose another with --port");
        Failure::new(FailureKind::Unavailable, message)
    };
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.map_err(failure)?;
    let port = listener.local_addr().map_err(failure)?.port();
    Ok((listener, port))
}

/// Answers requests until it is dropped.
pub async fn serve(listener: TcpListener, api: Arc<Api>) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    let api = api.clone();
                    let respond = move |request| {
                        let api = api.clone();
                        async move { api.respond(request).await }
                    };
                    connections.spawn(serve_connection(stream, respond));
                }
                Err(_) => clock::sleep(ACCEPT_PAUSE).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// Answers the requests of one connection, which ends after a bounded time.
async fn serve_connection<F>(stream: impl AsyncRead + AsyncWrite + Unpin, respond: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Response<Full<Bytes>>>,
{
    let service = service_fn(|request| {
        let response = respond(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let mut http = Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(HEADERS_MAX).max_buf_size(HEAD_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _closed = connection.as_mut() => return,
        () = clock::sleep(CONNECTION_TIMEOUT) => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _closed = connection => {}
        () = clock::sleep(END_TIMEOUT) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// Starts a connection in virtual time. Returns its other end.
    fn connect(length: usize) -> DuplexStream {
        let (own, other) = duplex(64 * 1024);
        tokio::spawn(serve_connection(
            own,
            move |_| async move { Response::new(Full::new(vec![b'x'; length].into())) },
        ));
        other
    }

    async fn request(connection: &mut DuplexStream) -> std::io::Result<String> {
        connection.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await?;
        let mut response = vec![0; 1024];
        let length = connection.read(&mut response).await?;
        Ok(String::from_utf8_lossy(&response[..length]).into_owned())
    }

    #[allow(clippy::disallowed_methods)] // the clock of the runtime is virtual here
    #[tokio::test(start_paused = true)]
    async fn connection_without_a_whole_request_is_closed() {
        for head in ["", "GET / HTTP/1.1\r\nHost: a\r\n"] {
            let mut connection = connect(1);
            let start = tokio::time::Instant::now();
            connection.write_all(head.as_bytes()).await.expect("it is open");
            let mut rest = Vec::new();
            connection.read_to_end(&mut rest).await.expect("it is closed in the end");
            assert!(!rest.starts_with(b"HTTP/1.1 200"), "{head:?}");
            assert!(start.elapsed() <= 2 * HEAD_TIMEOUT, "{head:?}: {:?}", start.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn busy_connection_ends_after_its_time() {
        let mut connection = connect(1);
        let mut responses = 0;
        while request(&mut connection).await.is_ok_and(|response| response.starts_with("HTTP/1.1 200")) {
            responses += 1;
            assert!(responses <= 1_000, "it does not end");
            clock::sleep(Duration::from_secs(1)).await;
        }
        assert!(responses > 60, "{responses}");
    }

    /// The response does not fit into the buffers, so that the server waits for its reader.
    #[tokio::test(start_paused = true)]
    async fn connection_whose_response_is_not_read_is_closed() {
        let mut connection = connect(10_000_000);
        assert!(request(&mut connection).await.expect("a part").starts_with("HTTP/1.1 200"));
        clock::sleep(CONNECTION_TIMEOUT + END_TIMEOUT).await;
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).await.expect("it is closed");
        assert!(rest.len() < 10_000_000, "{}", rest.len());
    }
}
