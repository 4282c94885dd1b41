//! The HTTP server on the loopback interface: connections, with bounds on their number, size and duration.

use std::net::{Ipv4Addr, SocketAddr};
use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use hyper::{server::conn::http1::Builder, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
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
                Ok((stream, _)) => _ = connections.spawn(serve_connection(stream, api.clone())),
                Err(_) => clock::sleep(ACCEPT_PAUSE).await,
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, api: Arc<Api>) {
    let service = service_fn(|request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(api.respond(request).await) }
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
