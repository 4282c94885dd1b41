//! The DynamoDB store, on an in-process DynamoDB that records requests, and on a server over HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::base64;
use dynamo_lock::conformance::{InsertError, Options, run};
use dynamo_lock::simulation::{Random, SystemRandom};
use dynamo_lock::store::{BoxFuture, Consistency};
use dynamo_lock::{DynamoDb, LockName, TableOptions};
use dynamo_lock_protocol::{Row, Value, attr};
use serde_json::{Value as Json, json};

use crate::conformance::TestStore;
use test_support::{LocalDynamoDb, ObservedStore, Request, skip};

const TABLE: &str = "Lock";

/// Returns fewer cases than the default, because each case sends some ten requests through the whole SDK. Far fewer
/// would leave gaps in the coverage.
fn options() -> Options {
    Options { cases: 300, ..Options::default() }
}

/// A call of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read(Consistency),
    /// Whether the writer needs the row that the write leaves.
    Write(bool),
    List,
}

impl From<test_support::Call> for Call {
    fn from(call: test_support::Call) -> Self {
        match call {
            test_support::Call::Read(_, consistency) => Self::Read(consistency),
            test_support::Call::Write(op) => Self::Write(op.kind.returns_row()),
            test_support::Call::List => Self::List,
        }
    }
}

/// Checks that each call became exactly one request of its kind, with the fields that the protocol needs. Calls and
/// requests have the same order, because only writes are sent concurrently.
fn check_one_request_each(calls: &[Call], requests: &[Request]) -> Result<(), String> {
    if calls.len() != requests.len() {
        return Err(format!("{} calls became {} requests", calls.len(), requests.len()));
    }
    for (call, request) in calls.iter().zip(requests) {
        let has = |field: &str, value: Json| request.body.get(field) == Some(&value);
        let strong = request.body.get("ConsistentRead").and_then(Json::as_bool).unwrap_or(false);
        let right = match (call, request.operation.as_str()) {
            (Call::Read(consistency), "GetItem") => strong == (*consistency == Consistency::Strong),
            (Call::Write(returns_row), "UpdateItem") => {
                // Only acquisitions and takeovers of plain locks write a token floor.
                let update = request.body.get("UpdateExpression").and_then(Json::as_str).unwrap_or("");
                let returned = request.body.get("ReturnValues").and_then(Json::as_str);
                let needs_row = match update.contains("#holders") {
                    true => *returns_row,
                    false => update.contains("#token = if_not_exists"),
                };
                (returned == Some("ALL_NEW")) == needs_row
                    && (returned.is_none() || returned == Some("ALL_NEW"))
                    && has("ReturnValuesOnConditionCheckFailure", json!("ALL_OLD"))
                    && request.body.get("ConditionExpression").is_some()
            }
            // A legacy get. PutItem cannot return the new row.
            (Call::Write(_), "PutItem") => {
                has("ReturnValuesOnConditionCheckFailure", json!("ALL_OLD"))
                    && request.body.get("ConditionExpression").is_some()
            }
            (Call::List, "Scan") => !strong,
            _ => false,
        };
        if !right {
            return Err(format!("{call:?} became {} {}", request.operation, request.body));
        }
    }
    Ok(())
}

#[tokio::test]
async fn dynamodb_conforms_with_one_request_per_call() {
    let server = LocalDynamoDb::new();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let recorded = |store: DynamoDb| {
        let calls = calls.clone();
        Arc::new(ObservedStore::new(store, move |call| calls.lock().unwrap().push(Call::from(call))))
    };
    let store = recorded(server.store(TABLE).await);
    let other = recorded(DynamoDb::new(server.client(), TABLE));
    let rows = server.clone();
    let insert_raw = move |name: LockName, row: Option<Row>| -> BoxFuture<'static, Result<(), InsertError>> {
        rows.set_row(TABLE, name.as_str(), row.as_ref());
        Box::pin(async { Ok(()) })
    };
    run(&TestStore { store, other, insert_raw }, options()).await.assert_passed();
    let calls = calls.lock().unwrap();
    for kind in [
        Call::Read(Consistency::Strong),
        Call::Read(Consistency::Eventual),
        Call::Write(true),
        Call::Write(false),
        Call::List,
    ] {
        assert!(calls.contains(&kind), "{kind:?}");
    }
    assert_eq!(check_one_request_each(&calls, &server.requests()), Ok(()));
}

#[test]
fn control_extra_or_wrong_request_is_detected() {
    let request = |operation: &str, body: Json| Request { operation: operation.to_owned(), body };
    let strong = request("GetItem", json!({ "ConsistentRead": true }));
    let eventual = request("GetItem", json!({ "ConsistentRead": false }));
    let update = |text: &str, returned: Option<&str>, on_failure: &str| {
        let mut body = json!({ "UpdateExpression": text, "ReturnValuesOnConditionCheckFailure": on_failure, "ConditionExpression": "c" });
        returned.into_iter().for_each(|returned| body["ReturnValues"] = returned.into());
        request("UpdateItem", body)
    };
    let acquisition =
        |returned, on_failure: &str| update("SET #token = if_not_exists(#token, :0)", returned, on_failure);
    let write = |on_failure: &str| acquisition(Some("ALL_NEW"), on_failure);
    let renewal = |returned| update("SET a = b", returned, "ALL_OLD");
    let (read, wait) = (Call::Read(Consistency::Strong), Call::Read(Consistency::Eventual));
    let good = [strong.clone(), eventual.clone(), write("ALL_OLD"), renewal(None)];
    assert_eq!(check_one_request_each(&[read, wait, Call::Write(true), Call::Write(false)], &good), Ok(()));
    for (calls, requests) in [
        (vec![read], vec![eventual.clone()]),
        (vec![read], vec![request("GetItem", json!({}))]),
        (vec![wait], vec![strong.clone()]),
        (vec![read], vec![strong.clone(), strong.clone()]),
        (vec![Call::Write(true)], vec![write("NONE")]),
        (vec![Call::Write(true)], vec![acquisition(None, "ALL_OLD")]),
        (vec![Call::Write(true)], vec![renewal(Some("ALL_NEW"))]),
        (vec![Call::Write(true)], vec![renewal(Some("ALL_OLD"))]),
        (vec![Call::Write(true)], vec![request("PutItem", json!({}))]),
        (vec![Call::Write(true), Call::List], vec![request("Scan", json!({})), write("ALL_OLD")]),
    ] {
        assert!(check_one_request_each(&calls, &requests).is_err(), "{calls:?} {requests:?}");
    }
}

#[tokio::test]
async fn dynamodb_server_conforms() {
    const ENDPOINT: &str = "DYNAMO_LOCK_TEST_ENDPOINT";
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        skip("dynamodb_server_conforms", &format!("{ENDPOINT} is not set"));
        return;
    };
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest()).endpoint_url(endpoint).load().await;
    let client = aws_sdk_dynamodb::Client::new(&config);
    let table = format!("conformance-{:032x}", SystemRandom.bits());
    let store = DynamoDb::new(client.clone(), &table);
    store.create_table(TableOptions::default()).await.expect("creates the table");
    let other = DynamoDb::new(aws_sdk_dynamodb::Client::new(&config), &table);
    let insert_raw = insert_raw(client, table);
    let subject = TestStore { store: Arc::new(store.clone()), other: Arc::new(other), insert_raw };
    let report = run(&subject, options()).await;
    store.delete_table().await.expect("deletes the table");
    report.assert_passed();
}

/// Returns a function that replaces items of the table without the store.
fn insert_raw(
    client: aws_sdk_dynamodb::Client,
    table: String,
) -> impl Fn(LockName, Option<Row>) -> BoxFuture<'static, Result<(), InsertError>> {
    move |name, row| {
        let (client, table) = (client.clone(), table.clone());
        Box::pin(async move {
            let key = HashMap::from([(attr::NAME.to_owned(), AttributeValue::S(name.to_string()))]);
            let Some(row) = row else {
                client.delete_item().table_name(table).set_key(Some(key)).send().await?;
                return Ok(());
            };
            let mut item = key;
            for (name, value) in row.attributes() {
                let value = attribute(value).ok_or_else(|| format!("{value:?} is not DynamoDB's JSON"))?;
                item.insert(name.to_owned(), value);
            }
            client.put_item().table_name(table).set_item(Some(item)).send().await?;
            Ok(())
        })
    }
}

fn attribute(value: &Value) -> Option<AttributeValue> {
    match value {
        Value::S(text) => Some(AttributeValue::S(text.clone())),
        Value::N(number) => Some(AttributeValue::N(number.to_string())),
        Value::Bool(value) => Some(AttributeValue::Bool(*value)),
        Value::Map(map) => {
            let parts = map.iter().map(|(name, part)| Some((name.clone(), attribute(part)?)));
            parts.collect::<Option<_>>().map(AttributeValue::M)
        }
        Value::Other(text) => typed(&serde_json::from_str(text).ok()?),
    }
}

/// Parses a value in DynamoDB's JSON. The parser of the library is under test here, so it is not used.
fn typed(json: &Json) -> Option<AttributeValue> {
    let (kind, json) = json.as_object()?.iter().next()?;
    let text = |json: &Json| json.as_str().map(str::to_owned);
    Some(match kind.as_str() {
        "S" => AttributeValue::S(text(json)?),
        "N" => AttributeValue::N(text(json)?),
        "B" => AttributeValue::B(Blob::new(base64::decode(json.as_str()?).ok()?)),
        "BOOL" => AttributeValue::Bool(json.as_bool()?),
        "NULL" => AttributeValue::Null(json.as_bool()?),
        "SS" => AttributeValue::Ss(json.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "NS" => AttributeValue::Ns(json.as_array()?.iter().map(text).collect::<Option<_>>()?),
        "L" => AttributeValue::L(json.as_array()?.iter().map(typed).collect::<Option<_>>()?),
        "M" => {
            let fields = json.as_object()?.iter().map(|(name, json)| Some((name.clone(), typed(json)?)));
            AttributeValue::M(fields.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}
