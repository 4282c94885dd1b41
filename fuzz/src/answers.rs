//! HTTP responses with any content, through the AWS SDK to the DynamoDB store and to the interpretation of rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use dynamo_lock::{Client, DynamoDb, Store};
use dynamo_lock_protocol::Kind;

/// Status codes that the input selects by one byte.
const STATUS: [u16; 8] = [200, 200, 200, 400, 413, 500, 503, 999];

/// Values of the header `Date` that the input selects by one byte.
const DATES: [&str; 5] =
    ["", "Sun, 29 Nov 2026 12:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "12:00"];

/// Longest message of an error, in bytes, for a response of at most 4 KB.
const MESSAGE_MAX: usize = 2_000;

/// Number of responses, because each page of a list can name a page after it.
const RESPONSES: usize = 20;

/// A server that sends one response to each request, at most [`RESPONSES`] times.
#[derive(Clone, Debug)]
struct OneResponse {
    status: u16,
    date: &'static str,
    body: Vec<u8>,
    sent: Arc<AtomicUsize>,
}

impl HttpConnector for OneResponse {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        if self.sent.fetch_add(1, Ordering::Relaxed) >= RESPONSES {
            return HttpConnectorFuture::ready(Err(ConnectorError::io("no more responses".into())));
        }
        let status = self.status.try_into().expect("a valid status");
        let mut response = HttpResponse::new(status, SdkBody::from(self.body.clone()));
        response.headers_mut().insert("x-amzn-requestid", "ABC");
        if !self.date.is_empty() {
            response.headers_mut().insert("date", self.date);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl HttpClient for OneResponse {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Inspects a lock, lists all, and writes one, while the server answers everything with the input. Its first byte selects
/// the status, the second the date. No response causes a panic, and each error is one line of limited length.
pub fn check(data: &[u8]) {
    let [status, date, body @ ..] = data else { return };
    let (status, date) = (STATUS[usize::from(*status) % STATUS.len()], DATES[usize::from(*date) % DATES.len()]);
    let server = OneResponse { status, date, body: body.to_vec(), sent: Arc::default() };
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "fuzz"))
        .http_client(server);
    let store = DynamoDb::new(aws_sdk_dynamodb::Client::from_conf(config.build()), "Lock").service_clock(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let written = store.write(&super::rows::acquire(Kind::Mutex)).await.result;
        check_message(written.err());
        let client = Client::builder(store).build().expect("a valid client");
        check_message(client.lock("a").expect("a valid name").inspect().await.err());
        let mut rows = client.list();
        while let Some(listed) = rows.try_next().await.map_err(|error| check_message(Some(error))).ok().flatten() {
            check_message(listed.inspection.err());
        }
    });
}

fn check_message(error: Option<impl std::fmt::Display>) {
    let message = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(!message.contains('\n') && message.len() <= MESSAGE_MAX, "{message:?}");
}
