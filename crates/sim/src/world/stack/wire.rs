//! The SDK's connector: HTTP through the simulated network, where services fail in their own words and proxies rewrite
//! what they like.

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

use super::sdk::{CALL, Call, Served, Table};
use super::told::Told;
use crate::world::host::Host;
use crate::world::lock;
use crate::world::network::{Flown, Link, Reply};

/// Answers that a proxy has touched, in thousandths.
const PROXIED: u64 = 30;
/// How far a date that does not count may be from the truth.
const WILD_S: i64 = 24 * 3600;

/// One host's way to the table.
#[derive(Clone)]
pub struct Wire {
    link: Link,
    table: Arc<Table>,
}

impl Wire {
    pub fn new(host: &Arc<Host>, table: &Arc<Table>) -> Self {
        Self { link: Link(host.clone()), table: table.clone() }
    }

    async fn exchange(self, call: Arc<Call>, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        call.sent.fetch_add(1, Relaxed);
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let (host, table, asked) = (self.link.0.clone(), self.table.clone(), call.clone());
        let flown = self.link.carry(move || table.serve(&host, &asked, &operation, &body)).await;
        let (told, date, response) = self.respond(flown);
        *lock(&call.heard) = Some((told, date));
        response
    }

    /// How a request's end looks in HTTP, and what the store is to make of it.
    fn respond(&self, flown: Flown<Served>) -> (Told, Option<ServiceDate>, Result<HttpResponse, ConnectorError>) {
        let host = &self.link.0;
        let (told, status, body) = match (flown.reply, flown.result) {
            (Reply::Heard, Some(served)) => (served.told, served.status, served.body),
            (Reply::Throttled, _) => {
                let code = host.roll(|dice| dice.pick(&THROTTLES));
                (Told::Error(StoreErrorKind::Throttled), 400, error(code, "slow down"))
            }
            (Reply::Refused, _) => {
                (Told::Error(StoreErrorKind::AccessDenied), 400, error("AccessDeniedException", "not you"))
            }
            (_, result) => match self.lost(result) {
                Ok((status, body)) => (Told::Error(StoreErrorKind::Unanswered), status, body),
                Err(broken) => return (Told::Error(StoreErrorKind::Unanswered), None, Err(broken)),
            },
        };
        let (date, response) = self.headed(response(status, body), flown.date);
        (told, date, Ok(response))
    }

    /// An answer that does not tell, or none.
    fn lost(&self, result: Option<Served>) -> Result<(u16, String), ConnectorError> {
        let host = &self.link.0;
        let (way, cut) = host.roll(|dice| (dice.range(0..=6), dice.next()));
        let way = if way == 6 && result.is_none() { 0 } else { way };
        host.world.count(WAYS[way as usize]);
        host.world.trace(|| format!("{host:?} no answer that tells: {}", WAYS[way as usize]));
        Ok(match way {
            0 => return Err(ConnectorError::io("connection reset by peer".into())),
            1 => return Err(ConnectorError::timeout("timed out".into())),
            2 => (500, error("InternalServerError", "?")),
            3 => (503, error("ServiceUnavailable", "?")),
            // A code that would tell, were it not for the status.
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

    /// The answer with its headers, and the date in them that counts.
    fn headed(&self, mut response: HttpResponse, date: Option<ServiceDate>) -> (Option<ServiceDate>, HttpResponse) {
        let host = &self.link.0;
        let world = &host.world;
        let (wild, proxied, way) =
            host.roll(|dice| (dice.signed(WILD_S), dice.chance(PROXIED) && !world.is_calm(), dice.range(0..=4)));
        let wild = ServiceDate((world.epoch_ms() / 1000).saturating_add_signed(wild));
        let headers = response.headers_mut();
        headers.insert("content-type", "application/x-amz-json-1.0");
        headers.insert("x-amzn-requestid", "REQUEST");
        match date {
            Some(date) if !proxied => {
                headers.insert("date", http_date(date));
                return (Some(date), response);
            }
            // Some clock, which the client must know not to take for the service's.
            None if !world.plan.service_clock => {
                headers.insert("date", http_date(wild));
                return (Some(wild), response);
            }
            _ => world.count("date that does not count"),
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

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wire({:?})", self.link)
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().exchange(CALL.with(Arc::clone), request))
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

const WAYS: [&str; 7] = [
    "connection reset",
    "connection timed out",
    "HTTP 500",
    "HTTP 503",
    "HTTP 500 with a code that lies",
    "HTTP 502 of a proxy",
    "answer cut short",
];

/// As DynamoDB says that it took no effect, and may later.
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
    HttpResponse::new(StatusCode::try_from(status).expect("an HTTP status"), SdkBody::from(body))
}

fn http_date(date: ServiceDate) -> String {
    DateTime::from_secs(date.0 as i64).fmt(Format::HttpDate).expect("a date in these millennia")
}

/// A row as an item's attributes, without its key.
pub fn item(row: &Row) -> Json {
    let value = |value: &Value| match value {
        Value::S(text) => json!({ "S": text }),
        Value::N(number) => json!({ "N": number.as_str() }),
        Value::Other(json) => serde_json::from_str(json).expect("DynamoDB's JSON"),
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

/// What the answer to an `UpdateItem` says, if it says that.
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

/// What the answer to a `GetItem` says, if it says that.
pub fn read(status: u16, body: &str) -> Option<Option<Row>> {
    let body: Json = serde_json::from_str(body).ok().filter(|_| status == 200)?;
    if body["Item"].is_null() { Some(None) } else { row(&body["Item"]).map(Some) }
}

/// The answer to a `GetItem`.
pub fn found(name: &LockName, row: Option<&Row>) -> String {
    let Some(row) = row else { return "{}".to_owned() };
    let mut item = item(row);
    item["name"] = json!({ "S": name.as_str() });
    json!({ "Item": item }).to_string()
}

/// A request without that part of an expression which begins so, and without the placeholders that only it had.
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
