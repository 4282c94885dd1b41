//! Connector of the SDK: HTTP over the simulated network, with errors of services and changes by proxies.

use std::{collections::BTreeSet, sync::Arc, sync::atomic::Ordering::Relaxed};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use dynamo_lock::store::{Number, Outcome, Row, ServiceDate, Value};
use dynamo_lock::{LockName, StoreErrorKind};
use serde_json::{Value as Json, json};
use test_support::{Reply, http_date, item};

use crate::world::{
    Link, Process, lock, network::Exchange, network::ReplyKind, stack::response::Response, stack::sdk::CALL,
    stack::sdk::Call, stack::sdk::Served, stack::sdk::Table,
};

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
        let (expected, reply) = match (exchange.reply, exchange.result) {
            (ReplyKind::Answered, Some(served)) => (served.response, served.reply),
            (ReplyKind::Throttled, _) => {
                let code = process.draw(|rng| rng.pick(&THROTTLES));
                (Response::Error(StoreErrorKind::Throttled), Reply::error(400, code, "throttled"))
            }
            (ReplyKind::Refused, _) => (
                Response::Error(StoreErrorKind::AccessDenied),
                Reply::error(400, "AccessDeniedException", "access denied"),
            ),
            (_, result) => match self.lost(result) {
                Ok(reply) => (Response::Error(StoreErrorKind::Unanswered), reply),
                Err(broken) => return (Response::Error(StoreErrorKind::Unanswered), None, Err(broken)),
            },
        };
        let (date, response) = self.dated(reply, exchange.date);
        (expected, date, Ok(response))
    }

    /// Returns a reply without information about the result, or an error.
    fn lost(&self, result: Option<Served>) -> Result<Reply, ConnectorError> {
        let process = &self.link.0;
        let (way, cut) = process.draw(|rng| (rng.range(0..=6), rng.next_u64()));
        let way = if way == 6 && result.is_none() { 0 } else { way };
        process.world.count(LOST_ANSWERS[way as usize]);
        process.world.trace(|| format!("{process:?} receives no result: {}", LOST_ANSWERS[way as usize]));
        let bad_gateway = |body: &str| Reply { status: 502, body: body.to_owned() };
        Ok(match way {
            0 => return Err(ConnectorError::io("connection reset by peer".into())),
            1 => return Err(ConnectorError::timeout("timed out".into())),
            2 => Reply::error(500, "InternalServerError", "?"),
            3 => Reply::error(503, "ServiceUnavailable", "?"),
            // The code would mean a conflict, but the status does not.
            4 => Reply::error(500, "ConditionalCheckFailedException", "?"),
            5 => bad_gateway("<html>Bad Gateway</html>"),
            _ => {
                let Reply { status, mut body } = result.map_or_else(|| bad_gateway(""), |served| served.reply);
                // At least one byte, and at least one less than all.
                let length = 1 + cut as usize % body.len().saturating_sub(1).max(1);
                body.truncate(body.floor_char_boundary(length));
                Reply { status, body }
            }
        })
    }

    /// Returns the response, and the date in its headers that counts.
    fn dated(&self, reply: Reply, date: Option<ServiceDate>) -> (Option<ServiceDate>, HttpResponse) {
        let process = &self.link.0;
        let world = &process.world;
        let (wild, proxied, way) =
            process.draw(|rng| (rng.signed(WILD_S), rng.chance(PROXIED) && !world.is_quiescent(), rng.range(0..=4)));
        let wild = ServiceDate((world.epoch_ms() / 1000).saturating_add_signed(wild));
        let counts = match date {
            Some(date) if !proxied => Some(date),
            // Some clock, which the client must not take for the service's.
            None if !world.plan.service_clock => Some(wild),
            _ => None,
        };
        let mut response = reply.into_http(counts.unwrap_or(wild).0);
        if counts.is_none() {
            world.count("ignored date");
            let headers = response.headers_mut();
            match way {
                0 => drop(headers.remove("date")),
                1 => drop(headers.remove("x-amzn-requestid")),
                2 => drop(headers.insert("age", "7")),
                3 => drop(headers.append("date", http_date(wild.0 + 1))),
                _ => drop(headers.insert("date", "yesterday")),
            }
        }
        (counts, response)
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

/// Returns the row in an item, without its key.
pub fn row(item: &Json) -> Option<Row> {
    let attributes = item.as_object()?.iter().filter(|(name, _)| *name != "name");
    attributes.map(|(name, json)| Some((name.clone(), value(json)?))).collect::<Option<Vec<_>>>().map(Row::new)
}

fn value(json: &Json) -> Option<Value> {
    match (&json["S"], &json["N"], &json["BOOL"], &json["M"]) {
        (Json::String(text), ..) => Some(Value::S(text.clone())),
        (_, Json::String(number), ..) => Number::parse(number).map(Value::N),
        (_, _, Json::Bool(value), _) => Some(Value::Bool(*value)),
        (_, _, _, Json::Object(map)) => {
            let parts = map.iter().map(|(name, part)| Some((name.clone(), value(part)?)));
            parts.collect::<Option<_>>().map(Value::Map)
        }
        _ => Some(Value::Other(json.to_string())),
    }
}

/// Returns the outcome in the answer to an `UpdateItem` or a `PutItem`, if there is one.
pub fn outcome(reply: &Reply) -> Option<Outcome> {
    let body: Json = serde_json::from_str(&reply.body).ok()?;
    let failed = || body["__type"].as_str().is_some_and(|code| code.ends_with("#ConditionalCheckFailedException"));
    match reply.status {
        200 if body["Attributes"].is_null() => Some(Outcome::Applied(None)),
        200 => row(&body["Attributes"]).map(|row| Outcome::Applied(Some(row))),
        400 if failed() && body["Item"].is_null() => Some(Outcome::Conflict(None)),
        400 if failed() => row(&body["Item"]).map(|row| Outcome::Conflict(Some(row))),
        _ => None,
    }
}

/// Returns the row in the answer to a `GetItem`, if it is a valid answer.
pub fn read(reply: &Reply) -> Option<Option<Row>> {
    let body: Json = serde_json::from_str(&reply.body).ok().filter(|_| reply.status == 200)?;
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
