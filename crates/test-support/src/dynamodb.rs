use std::{collections::VecDeque, fmt, sync::Arc, sync::Mutex, time::Duration, time::SystemTime, time::UNIX_EPOCH};

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

use crate::lock;

/// A request, as the SDK sent it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the operation, for example `UpdateItem`.
    pub operation: String,
    /// Body of the request.
    pub body: Json,
}

/// Fault of one request to a [`LocalDynamoDb`].
#[derive(Clone, Debug)]
pub enum ServerFault {
    /// The request never arrives, and the connection breaks.
    LoseRequest,
    /// The request is applied, and the connection breaks.
    LoseAnswer,
    /// The request arrives twice. The second response is returned.
    Twice,
    /// The request arrives after this time.
    DelayRequest(Duration),
    /// The request is applied, and the response arrives after this time.
    DelayAnswer(Duration),
    /// HTTP 500, not applied.
    ErrorBefore,
    /// HTTP 500, applied.
    ErrorAfter,
    /// Throttled, not applied.
    Throttle,
    /// Access denied, not applied.
    Deny,
    /// The request never arrives, and no response comes.
    Hang,
    /// The request is applied, and no response comes.
    HangAfter,
    /// This response, not applied.
    Reply(Reply),
    /// The connector fails with this message, not applied.
    Connector(&'static str),
    /// Applied. The response has this header in addition, or lacks it if there is no value.
    Header(&'static str, Option<&'static str>),
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body of the response.
    pub body: String,
}

impl ServerFault {
    /// Returns an error response as DynamoDB sends it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Reply(Reply::error(status, code, message))
    }
}

impl Reply {
    /// Returns an error response as DynamoDB sends it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message });
        Self { status, body: body.to_string() }
    }

    /// Returns the response with the headers that DynamoDB sends. `date` is in seconds since 1970.
    pub fn into_http(self, date: u64) -> HttpResponse {
        let status = StatusCode::try_from(self.status).expect("an HTTP status");
        let mut response = HttpResponse::new(status, SdkBody::from(self.body));
        let headers = response.headers_mut();
        headers.insert("content-type", "application/x-amz-json-1.0");
        headers.insert("x-amzn-requestid", "REQUEST");
        headers.insert("date", http_date(date));
        response
    }
}

/// Returns the `Date` header for this number of seconds since 1970.
pub fn http_date(seconds: u64) -> String {
    DateTime::from_secs(seconds as i64).fmt(Format::HttpDate).expect("a date")
}

type ChooseFault = Box<dyn FnMut(&Request) -> Option<ServerFault> + Send>;
type Clock = Box<dyn Fn() -> u64 + Send>;

/// Faults of the requests to come. Clones share them.
#[derive(Clone, Default)]
pub struct RequestFaults(Arc<Mutex<FaultPlan>>);

#[derive(Default)]
struct FaultPlan {
    /// Queued faults, each with the operation that it waits for.
    queue: VecDeque<(Option<String>, ServerFault)>,
    /// Chooses the fault of a request for which nothing is queued.
    choose: Option<ChooseFault>,
}

impl RequestFaults {
    /// Queues a fault for the next request.
    pub fn push(&self, fault: ServerFault) -> &Self {
        lock(&self.0).queue.push_back((None, fault));
        self
    }

    /// Queues a fault for the next request of this operation.
    pub fn push_for(&self, operation: &str, fault: ServerFault) -> &Self {
        lock(&self.0).queue.push_back((Some(operation.to_owned()), fault));
        self
    }

    /// Chooses the faults of requests for which nothing is queued.
    pub fn choose(&self, choose: impl FnMut(&Request) -> Option<ServerFault> + Send + 'static) {
        lock(&self.0).choose = Some(Box::new(choose));
    }

    /// Applies this fault to all requests of this operation for which nothing is queued.
    pub fn set_all_of(&self, operation: &'static str, fault: ServerFault) {
        self.choose(move |request| (request.operation == operation).then(|| fault.clone()));
    }

    /// Removes all faults.
    pub fn clear(&self) {
        *lock(&self.0) = FaultPlan::default();
    }

    fn take(&self, request: &Request) -> Option<ServerFault> {
        let FaultPlan { queue, choose } = &mut *lock(&self.0);
        let is_for = |operation: &Option<String>| operation.as_ref().is_none_or(|name| *name == request.operation);
        match queue.iter().position(|(operation, _)| is_for(operation)) {
            Some(at) => queue.remove(at).map(|(_, fault)| fault),
            None => choose.as_mut().and_then(|choose| choose(request)),
        }
    }
}

/// DynamoDB in this process, behind the HTTP connector of the AWS SDK. Clones share it.
///
/// This server uses no sockets, threads or real time, so it works while tokio's time is paused. It records its
/// requests.
#[derive(Clone)]
pub struct LocalDynamoDb(Arc<Inner>);

struct Inner {
    database: Database,
    seconds: Mutex<Clock>,
    requests: Mutex<Vec<Request>>,
    faults: RequestFaults,
}

impl LocalDynamoDb {
    /// Creates a server without tables. The `Date` of its responses is the time of this machine.
    #[allow(clippy::new_without_default)] // every test wants to see that it creates a server
    pub fn new() -> Self {
        let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        Self(Arc::new(Inner {
            database: Database::memory().expect("SQLite in memory"),
            seconds: Mutex::new(Box::new(seconds)),
            requests: Mutex::default(),
            faults: RequestFaults::default(),
        }))
    }

    /// Takes the `Date` of responses from this clock, in seconds since 1970.
    pub fn set_clock(&self, seconds: impl Fn() -> u64 + Send + 'static) {
        *lock(&self.0.seconds) = Box::new(seconds);
    }

    /// Returns the configuration of a client, as for AWS but with this server as its HTTP client.
    pub fn config(&self) -> Builder {
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .http_client(self.clone())
    }

    /// Returns a client of the SDK.
    pub fn client(&self) -> Client {
        Client::from_conf(self.config().build())
    }

    /// Creates a table and returns the store on it. The record of requests is cleared.
    pub async fn store(&self, table: &str) -> DynamoDb {
        let store = DynamoDb::new(self.client(), table);
        store.create_table(TableOptions::default()).await.expect("a new table");
        self.clear_requests();
        store
    }

    /// Replaces the item of `name`, as another program would, or deletes it.
    pub fn set_row(&self, table: &str, name: &str, row: Option<&Row>) {
        let key = json!({ "S": name });
        let Some(row) = row else {
            self.call("DeleteItem", json!({ "TableName": table, "Key": { attr::NAME: key } })).expect("deletes");
            return;
        };
        let mut item = item(row);
        item[attr::NAME] = key;
        self.call("PutItem", json!({ "TableName": table, "Item": item })).expect("puts");
    }

    /// Returns the item of `name` in DynamoDB's JSON, or `null`.
    pub fn item(&self, table: &str, name: &str) -> Json {
        let key = json!({ "TableName": table, "Key": { attr::NAME: { "S": name } } });
        self.call("GetItem", key).expect("gets")["Item"].clone()
    }

    /// Performs one operation directly: without a fault, and without recording it.
    pub fn call(&self, operation: &str, body: Json) -> Result<Json, DynoxideError> {
        let text = dispatch(&self.0.database, operation, &body.to_string())?;
        Ok(serde_json::from_str(&text).expect("JSON"))
    }

    /// Returns the faults of the requests to come.
    pub fn faults(&self) -> &RequestFaults {
        &self.0.faults
    }

    /// Returns all requests since the last [`clear_requests`](Self::clear_requests).
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.0.requests).clone()
    }

    /// Returns the number of these requests that have this operation.
    pub fn count(&self, operation: &str) -> usize {
        lock(&self.0.requests).iter().filter(|request| request.operation == operation).count()
    }

    /// Clears the record of requests.
    pub fn clear_requests(&self) {
        lock(&self.0.requests).clear();
    }

    async fn respond(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let request = Request { operation, body: serde_json::from_str(&body).unwrap_or_default() };
        lock(&self.0.requests).push(request.clone());
        let apply = || match dispatch(&self.0.database, &request.operation, &body) {
            Ok(body) => self.response(200, body),
            Err(error) => self.response(error.status_code(), error.to_json()),
        };
        let broken = || ConnectorError::io("connection reset by peer".into());
        let failed = || self.response(500, r#"{"__type":"InternalServerError","message":"?"}"#.to_owned());
        let Some(fault) = self.0.faults.take(&request) else { return Ok(apply()) };
        match fault {
            ServerFault::LoseRequest => Err(broken()),
            ServerFault::LoseAnswer => {
                apply();
                Err(broken())
            }
            ServerFault::Twice => {
                apply();
                Ok(apply())
            }
            ServerFault::DelayRequest(delay) => {
                tokio::time::sleep(delay).await;
                Ok(apply())
            }
            ServerFault::DelayAnswer(delay) => {
                let response = apply();
                tokio::time::sleep(delay).await;
                Ok(response)
            }
            ServerFault::ErrorBefore => Ok(failed()),
            ServerFault::ErrorAfter => {
                apply();
                Ok(failed())
            }
            ServerFault::Throttle => Ok(self.refuse("ThrottlingException", "Rate exceeded")),
            ServerFault::Deny => Ok(self.refuse("AccessDeniedException", "User: u is not authorized")),
            ServerFault::Hang => std::future::pending().await,
            ServerFault::HangAfter => {
                apply();
                std::future::pending().await
            }
            ServerFault::Reply(reply) => Ok(self.response(reply.status, reply.body)),
            ServerFault::Connector(message) => Err(ConnectorError::io(message.into())),
            ServerFault::Header(name, value) => {
                let mut response = apply();
                match value {
                    Some(value) => drop(response.headers_mut().append(name, value)),
                    None => drop(response.headers_mut().remove(name)),
                }
                Ok(response)
            }
        }
    }

    fn refuse(&self, code: &str, message: &str) -> HttpResponse {
        self.response(400, json!({ "__type": code, "message": message }).to_string())
    }

    fn response(&self, status: u16, body: String) -> HttpResponse {
        Reply { status, body }.into_http(lock(&self.0.seconds)())
    }
}

impl fmt::Debug for LocalDynamoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalDynamoDb")
    }
}

impl HttpConnector for LocalDynamoDb {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().respond(request))
    }
}

impl HttpClient for LocalDynamoDb {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Returns a row in DynamoDB's JSON, without its key.
pub fn item(row: &Row) -> Json {
    row.attributes().map(|(name, stored)| (name.to_owned(), typed(stored))).collect::<serde_json::Map<_, _>>().into()
}

fn typed(value: &Value) -> Json {
    match value {
        Value::S(text) => json!({ "S": text }),
        Value::N(number) => json!({ "N": number.as_str() }),
        Value::Bool(value) => json!({ "BOOL": value }),
        Value::Map(map) => {
            let parts = map.iter().map(|(name, part)| (name.clone(), typed(part)));
            json!({ "M": parts.collect::<serde_json::Map<_, _>>() })
        }
        Value::Other(json) => serde_json::from_str(json).expect("DynamoDB's JSON"),
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
