//! A DynamoDB in this process, behind the SDK's HTTP connector: no sockets, no threads, no real time, so that it works
//! under tokio's paused clock. It keeps a record of its requests, and goes wrong as it is told.

#![allow(clippy::disallowed_methods)] // each test uses what it needs; its date and delays are real time's

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Config, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use dynamo_lock::{DynamoDb, TableOptions};
use dynamo_lock_protocol::{Row, Value, attr};
use dynoxide::{Database, DynoxideError};
use serde_json::{Value as Json, json};

/// One request, as it was sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// As in `UpdateItem`.
    pub operation: String,
    pub body: Json,
}

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It never arrives; the connection breaks.
    LoseRequest,
    /// It takes effect; the connection breaks.
    LoseAnswer,
    /// It arrives twice; the second answer is the one that comes back.
    Twice,
    /// It arrives late.
    DelayRequest(Duration),
    /// It takes effect, and its answer comes late.
    DelayAnswer(Duration),
    /// No effect, HTTP 500.
    ErrorBefore,
    /// It takes effect, HTTP 500.
    ErrorAfter,
    /// No effect, throttled.
    Throttle,
    /// No effect, not allowed.
    Deny,
    /// It never arrives, and nothing ever comes back.
    Hang,
    /// It takes effect, and nothing ever comes back.
    HangAfter,
    /// No effect; this answer.
    Answer(Answer),
    /// No effect; the connector fails with this text.
    Connector(&'static str),
    /// It takes effect; the answer has one header more, or one less where there is no value.
    Header(&'static str, Option<&'static str>),
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Fault {
    /// An error as DynamoDB sends it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message });
        Self::Answer(Answer { status, body: body.to_string() })
    }
}

type Decide = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;
type Clock = Box<dyn Fn() -> u64 + Send>;

/// The database. Clones share it.
#[derive(Clone)]
pub struct Dynoxide(Arc<Inner>);

struct Inner {
    database: Database,
    seconds: Mutex<Clock>,
    requests: Mutex<Vec<Request>>,
    faults: Faults,
}

/// What is to go wrong.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

/// Queued faults with the operations that they wait for, and what decides about the rest.
type Plan = (VecDeque<(Option<String>, Fault)>, Option<Decide>);

impl Faults {
    /// With the next request.
    pub fn next(&self, fault: Fault) -> &Self {
        locked(&self.0).0.push_back((None, fault));
        self
    }

    /// With the next request of this operation.
    pub fn next_of(&self, operation: &str, fault: Fault) -> &Self {
        locked(&self.0).0.push_back((Some(operation.to_owned()), fault));
        self
    }

    /// From now on, wherever nothing is queued for a request.
    pub fn decide(&self, decide: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        locked(&self.0).1 = Some(Box::new(decide));
    }

    /// Nothing any more.
    pub fn clear(&self) {
        *locked(&self.0) = Default::default();
    }

    fn take(&self, request: &Request) -> Option<Fault> {
        let (queue, decide) = &mut *locked(&self.0);
        let is_for = |operation: &Option<String>| operation.as_ref().is_none_or(|name| *name == request.operation);
        match queue.iter().position(|(operation, _)| is_for(operation)) {
            Some(at) => queue.remove(at).map(|(_, fault)| fault),
            None => decide.as_mut().and_then(|decide| decide(request)),
        }
    }
}

impl Dynoxide {
    /// An empty one, whose `Date` is this host's time.
    pub fn new() -> Self {
        let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        Self(Arc::new(Inner {
            database: Database::memory().expect("SQLite in memory"),
            seconds: Mutex::new(Box::new(seconds)),
            requests: Mutex::default(),
            faults: Faults::default(),
        }))
    }

    /// Takes its `Date` from here: seconds since 1970.
    pub fn set_clock(&self, seconds: impl Fn() -> u64 + Send + 'static) {
        *locked(&self.0.seconds) = Box::new(seconds);
    }

    /// A client's configuration: as for AWS, but nothing leaves this process.
    pub fn config(&self) -> Builder {
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .http_client(self.clone())
    }

    pub fn client(&self) -> Client {
        Client::from_conf(self.config().build())
    }

    /// A store in a table that is there.
    pub async fn store(&self, table: &str) -> DynamoDb {
        let store = DynamoDb::new(self.client(), table);
        store.create_table(TableOptions::default()).await.expect("a new table");
        self.forget();
        store
    }

    /// Puts a row there as it is, for tests of what others may have written.
    pub fn plant(&self, table: &str, name: &str, row: &Row) {
        let value = |value: &Value| match value {
            Value::S(text) => json!({ "S": text }),
            Value::N(number) => json!({ "N": number.as_str() }),
            Value::Other(json) => serde_json::from_str(json).expect("DynamoDB's JSON"),
        };
        let mut item: serde_json::Map<_, _> =
            row.attributes().map(|(name, there)| (name.to_owned(), value(there))).collect();
        item.insert(attr::NAME.to_owned(), json!({ "S": name }));
        self.call("PutItem", json!({ "TableName": table, "Item": item })).expect("a row");
    }

    /// One operation past the connector: no fault, no record.
    pub fn call(&self, operation: &str, body: Json) -> Result<Json, DynoxideError> {
        let text = dispatch(&self.0.database, operation, &body.to_string())?;
        Ok(serde_json::from_str(&text).expect("JSON"))
    }

    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// All requests since the last [`forget`](Self::forget).
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.0.requests).clone()
    }

    /// How many of them were of this operation.
    pub fn count(&self, operation: &str) -> usize {
        locked(&self.0.requests).iter().filter(|request| request.operation == operation).count()
    }

    pub fn forget(&self) {
        locked(&self.0.requests).clear();
    }

    async fn answer(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let request = Request { operation, body: serde_json::from_str(&body).unwrap_or_default() };
        locked(&self.0.requests).push(request.clone());
        let apply = || match dispatch(&self.0.database, &request.operation, &body) {
            Ok(body) => self.response(200, body),
            Err(error) => self.response(error.status_code(), error.to_json()),
        };
        let broken = || ConnectorError::io("connection reset by peer".into());
        let failed = || self.response(500, r#"{"__type":"InternalServerError","message":"?"}"#.to_owned());
        let fault = self.0.faults.take(&request);
        match fault {
            None => Ok(apply()),
            Some(Fault::LoseRequest) => Err(broken()),
            Some(Fault::LoseAnswer) => {
                apply();
                Err(broken())
            }
            Some(Fault::Twice) => {
                apply();
                Ok(apply())
            }
            Some(Fault::DelayRequest(by)) => {
                tokio::time::sleep(by).await;
                Ok(apply())
            }
            Some(Fault::DelayAnswer(by)) => {
                let answer = apply();
                tokio::time::sleep(by).await;
                Ok(answer)
            }
            Some(Fault::ErrorBefore) => Ok(failed()),
            Some(Fault::ErrorAfter) => {
                apply();
                Ok(failed())
            }
            Some(Fault::Throttle) => Ok(self.refuse("ThrottlingException", "Rate exceeded")),
            Some(Fault::Deny) => Ok(self.refuse("AccessDeniedException", "User: u is not authorized")),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::HangAfter) => {
                apply();
                std::future::pending().await
            }
            Some(Fault::Answer(answer)) => Ok(self.response(answer.status, answer.body)),
            Some(Fault::Connector(text)) => Err(ConnectorError::io(text.into())),
            Some(Fault::Header(name, value)) => {
                let mut answer = apply();
                match value {
                    Some(value) => drop(answer.headers_mut().append(name, value)),
                    None => drop(answer.headers_mut().remove(name)),
                }
                Ok(answer)
            }
        }
    }

    fn refuse(&self, code: &str, message: &str) -> HttpResponse {
        self.response(400, json!({ "__type": code, "message": message }).to_string())
    }

    fn response(&self, status: u16, body: String) -> HttpResponse {
        let date = DateTime::from_secs(locked(&self.0.seconds)() as i64);
        let status = StatusCode::try_from(status).expect("an HTTP status");
        let mut response = HttpResponse::new(status, SdkBody::from(body));
        let headers = response.headers_mut();
        headers.insert("content-type", "application/x-amz-json-1.0");
        headers.insert("x-amzn-requestid", "REQUEST");
        headers.insert("date", date.fmt(Format::HttpDate).expect("a date"));
        response
    }
}

impl fmt::Debug for Dynoxide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dynoxide")
    }
}

impl HttpConnector for Dynoxide {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().answer(request))
    }
}

impl HttpClient for Dynoxide {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

fn dispatch(database: &Database, operation: &str, body: &str) -> Result<String, DynoxideError> {
    macro_rules! dispatch {
        ($($name:literal => $method:ident),* $(,)?) => {
            match operation {
                $($name => {
                    let request = serde_json::from_str(body);
                    let request = request.map_err(|e| DynoxideError::SerializationException(e.to_string()))?;
                    Ok(serde_json::to_string(&database.$method(request)?).expect("JSON"))
                })*
                _ => Err(DynoxideError::SerializationException(format!("UnknownOperationException: {operation}"))),
            }
        };
    }
    dispatch! {
        "CreateTable" => create_table,
        "DeleteTable" => delete_table,
        "DescribeTable" => describe_table,
        "ListTables" => list_tables,
        "PutItem" => put_item,
        "GetItem" => get_item,
        "DeleteItem" => delete_item,
        "UpdateItem" => update_item,
        "Query" => query,
        "Scan" => scan,
        "TransactWriteItems" => transact_write_items,
        "TransactGetItems" => transact_get_items,
        "UpdateTimeToLive" => update_time_to_live,
        "DescribeTimeToLive" => describe_time_to_live,
        "ListTagsOfResource" => list_tags_of_resource,
    }
}

fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
