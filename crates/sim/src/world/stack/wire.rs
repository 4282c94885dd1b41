//! Connector of the SDK: HTTP over the simulated network, with errors of services and changes by proxies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

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
use dynamo_lock::store::{Number, Outcome, Row, ServiceDate, Value};
use dynamo_lock::{LockName, StoreErrorKind};
use serde_json::{Map, Value as Json, json};

use super::response::Response;
use super::sdk::{CALL, Call, Served, Table};
use crate::world::host::Process;
use crate::world::lock;
use crate::world::network::{Exchange, Link, Reply};

/// Answers that a proxy has changed, per thousand.
const PROXIED: u64 = 30;
/// Upper bound of the error of a date that does not count, in seconds.
const WILD_S: i64 = 24 * 3600;

/// Connection of one process to the table.
#[derive(Clone)]
pub struct HttpLink {
    link: Link,
    table: Arc<Table>,
}

impl HttpLink {
    pub fn new(process: &Arc<Process>, table: &Arc<Table>) -> Self {
        Self { link: Link(process.clone()), table: table.clone() }
    }

    async fn exchange(self, call: Arc<Call>, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        call.sent.fetch_add(1, Relaxed);
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let (process, table, store_request) = (self.link.0.clone(), self.table.clone(), call.clone());
        let exchange = self.link.carry(move || table.serve(&process, &store_request, &operation, &body)).await;
        let (expected, date, response) = self.respond(exchange);
        *lock(&call.received) = Some((expected, date));
        response
    }

    /// Returns the HTTP response of a request, and the result that the store should derive from it.
    fn respond(
        &self,
        exchange: Exchange<Served>,
    ) -> (Response, Option<ServiceDate>, Result<HttpResponse, ConnectorError>) {
        let process = &self.link.0;
        let (expected, status, body) = match (exchange.reply, exchange.result) {
            (Reply::Answered, Some(served)) => (served.response, served.status, served.body),
            (Reply::Throttled, _) => {
                let code = process.draw(|rng| rng.pick(&THROTTLES));
                (Response::Error(StoreErrorKind::Throttled), 400, error(code, "throttled"))
            }
            (Reply::Refused, _) => {
                (Response::Error(StoreErrorKind::AccessDenied), 400, error("AccessDeniedException", "access denied"))
            }
            (_, result) => match self.lost(result) {
                Ok((status, body)) => (Response::Error(StoreErrorKind::Unanswered), status, body),
                Err(broken) => return (Response::Error(StoreErrorKind::Unanswered), None, Err(broken)),
            },
        };
        let (date, response) = self.headed(response(status, body), exchange.date);
        (expected, date, Ok(response))
    }

    /// Returns a response without information about the result, or an error.
    fn lost(&self, result: Option<Served>) -> Result<(u16, String), ConnectorError> {
        let process = &self.link.0;
        let (way, cut) = process.draw(|rng| (rng.range(0..=6), rng.next()));
        let way = if way == 6 && result.is_none() { 0 } else { way };
        process.world.count(LOST_ANSWERS[way as usize]);
        process.world.trace(|| format!("{process:?} receives no result: {}", LOST_ANSWERS[way as usize]));
        Ok(match way {
            0 => return Err(ConnectorError::io("connection reset by peer".into())),
            1 => return Err(ConnectorError::timeout("timed out".into())),
            2 => (500, error("InternalServerError", "?")),
            3 => (503, error("ServiceUnavailable", "?")),
            // The code would mean a conflict, but the status does not.
            4 => (500, error("ConditionalCheckFailedException", "?")),
            5 => (502, "<html>Bad Gateway</html>".to_owned()),
            _ => {
                let (status, mut body) = result.map_or((502, String::new()), |served| (served.status, served.body));
                // At least one byte, and at least one less than all.
                let length = 1 + cut as usize % body.len().saturating_sub(1).max(1);
                body.truncate(body.floor_char_boundary(length));
                (status, body)
            }
        })
    }

    /// Returns the response with its headers, and the date in them that counts.
    fn headed(&self, mut response: HttpResponse, date: Option<ServiceDate>) -> (Option<ServiceDate>, HttpResponse) {
        let process = &self.link.0;
        let world = &process.world;
        let (wild, proxied, way) =
            process.draw(|rng| (rng.signed(WILD_S), rng.chance(PROXIED) && !world.is_quiescent(), rng.range(0..=4)));
        let wild = ServiceDate((world.epoch_ms() / 1000).saturating_add_signed(wild));
        let headers = response.headers_mut();
        headers.insert("content-type", "application/x-amz-json-1.0");
        headers.insert("x-amzn-requestid", "REQUEST");
        match date {
            Some(date) if !proxied => {
                headers.insert("date", http_date(date));
                return (Some(date), response);
            }
            // Some clock, which the client must not take for the service's.
            None if !world.plan.service_clock => {
                headers.insert("date", http_date(wild));
                return (Some(wild), response);
            }
            _ => world.count("ignored date"),
        }
        match way {
            0 => return (None, response),
            1 => drop(headers.remove("x-amzn-requestid")),
            2 => drop(headers.insert("age", "7")),
            3 => drop(headers.insert("date", http_date(ServiceDate(wild.0 + 1)))),
            _ => {
                headers.insert("date", "yesterday");
                return (None, response);
            }
        }
        headers.append("date", http_date(wild));
        (None, response)
    }
}

impl std::fmt::Debug for HttpLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpLink({:?})", self.link)
    }
}

impl HttpConnector for HttpLink {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().exchange(CALL.with(Arc::clone), request))
    }
}

impl HttpClient for HttpLink {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

const LOST_ANSWERS: [&str; 7] = [
    "connection reset",
    "connection timed out",
    "HTTP 500",
    "HTTP 503",
    "HTTP 500 with a wrong code",
    "HTTP 502 of a proxy",
    "answer cut short",
];

/// Error codes of requests that were not applied and may be retried.
const THROTTLES: [&str; 5] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TransactionConflictException",
    "LimitExceededException",
];

fn error(code: &str, message: &str) -> String {
    json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message }).to_string()
}

fn response(status: u16, body: String) -> HttpResponse {
    HttpResponse::new(StatusCode::try_from(status).expect("the status is valid"), SdkBody::from(body))
}

fn http_date(date: ServiceDate) -> String {
    DateTime::from_secs(date.0 as i64).fmt(Format::HttpDate).expect("the date is valid")
}

/// Returns a row as the attributes of an item, without its key.
pub fn item(row: &Row) -> Json {
    let value = |value: &Value| match value {
        Value::S(text) => json!({ "S": text }),
        Value::N(number) => json!({ "N": number.as_str() }),
        Value::Other(json) => serde_json::from_str(json).expect("the value is JSON"),
    };
    row.attributes().map(|(name, there)| (name.to_owned(), value(there))).collect::<Map<_, _>>().into()
}

fn row(item: &Json) -> Option<Row> {
    let value = |json: &Json| match (&json["S"], &json["N"]) {
        (Json::String(text), _) => Some(Value::S(text.clone())),
        (_, Json::String(number)) => Number::parse(number).map(Value::N),
        _ => Some(Value::Other(json.to_string())),
    };
    let attributes = item.as_object()?.iter().filter(|(name, _)| *name != "name");
    attributes.map(|(name, json)| Some((name.clone(), value(json)?))).collect::<Option<Vec<_>>>().map(Row::new)
}

/// Returns the outcome in the answer to an `UpdateItem`, if there is one.
pub fn outcome(status: u16, body: &str) -> Option<Outcome> {
    let body: Json = serde_json::from_str(body).ok()?;
    let failed = || body["__type"].as_str().is_some_and(|code| code.ends_with("#ConditionalCheckFailedException"));
    match status {
        200 => row(&body["Attributes"]).map(Outcome::Applied),
        400 if failed() && body["Item"].is_null() => Some(Outcome::Conflict(None)),
        400 if failed() => row(&body["Item"]).map(|row| Outcome::Conflict(Some(row))),
        _ => None,
    }
}

/// Returns the row in the answer to a `GetItem`, if it is a valid answer.
pub fn read(status: u16, body: &str) -> Option<Option<Row>> {
    let body: Json = serde_json::from_str(body).ok().filter(|_| status == 200)?;
    if body["Item"].is_null() { Some(None) } else { row(&body["Item"]).map(Some) }
}

/// Returns the answer to a `GetItem`.
pub fn found(name: &LockName, row: Option<&Row>) -> String {
    let Some(row) = row else { return "{}".to_owned() };
    let mut item = item(row);
    item["name"] = json!({ "S": name.as_str() });
    json!({ "Item": item }).to_string()
}

/// Returns a request without the part of an expression that begins with `part`, and without its unused placeholders.
pub fn without(body: &str, expression: &str, separator: &str, part: &str) -> String {
    let mut body: Json = serde_json::from_str(body).expect("the SDK sends JSON");
    let text = body[expression].as_str().unwrap_or_default();
    let Some(from) = text.find(part) else { return body.to_string() };
    let (before, rest) = text.split_at(from);
    let text = match rest.split_once(separator) {
        Some((_, after)) => format!("{before}{after}"),
        None => before.trim_end_matches(separator).to_owned(),
    };
    body[expression] = text.into();
    let used: BTreeSet<String> = ["ConditionExpression", "UpdateExpression"]
        .iter()
        .flat_map(|name| {
            body[*name].as_str().unwrap_or_default().split(|c: char| !c.is_alphanumeric() && c != '#' && c != ':')
        })
        .map(str::to_owned)
        .collect();
    for placeholders in ["ExpressionAttributeNames", "ExpressionAttributeValues"] {
        if let Some(there) = body[placeholders].as_object_mut() {
            there.retain(|name, _| used.contains(name));
        }
    }
    body.to_string()
}
