//! What the library says, as JSON. Tokens are text: a number of JavaScript could not hold each of them.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck};
use dynamo_lock::{FencingToken, Holder, Inspection};
use serde_json::{Map, Value as Json, json};

pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).floor()
}

pub(crate) fn epoch_ms(time: SystemTime) -> Option<f64> {
    time.duration_since(UNIX_EPOCH).ok().map(millis)
}

pub(crate) fn holder(by: &Holder) -> Json {
    json!({
        "owner": by.owner, "lockToken": token(by.token), "sinceMs": by.acquired_at.and_then(epoch_ms), "leaseMs": by.lease.map(millis),
        "expiresMs": by.expires_at.and_then(epoch_ms), "data": by.data,
    })
}

fn token(token: Option<FencingToken>) -> Option<String> {
    token.map(|token| token.to_string())
}

pub(crate) fn inspection(said: &Inspection) -> Json {
    match said {
        Inspection::Free { token: last, data } => {
            json!({ "state": "free", "lockToken": token(*last), "data": data })
        }
        Inspection::Held { holder: by, may_end } => json!({
            "state": "held", "by": holder(by), "lockToken": token(by.token), "sinceMs": by.acquired_at.and_then(epoch_ms),
            "mayEndMs": { "earliest": millis(*may_end.start()), "latest": millis(*may_end.end()) },
        }),
        Inspection::Expired { holder: by } => {
            json!({ "state": "surelyOver", "by": holder(by), "lockToken": token(by.token) })
        }
        other => json!({ "state": format!("{other:?}") }),
    }
}

/// Only names, texts and numbers are in ours.
pub(crate) fn condition_check(check: &ConditionCheck) -> Json {
    let attribute = |value: &AttributeValue| match value {
        AttributeValue::N(number) => json!({ "N": number }),
        other => json!({ "S": other.as_s().map(String::as_str).unwrap_or_default() }),
    };
    let attributes = |of: &HashMap<String, AttributeValue>| -> Map<String, Json> {
        of.iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
    };
    let mut json = json!({
        "TableName": check.table_name(), "Key": attributes(check.key()),
        "ConditionExpression": check.condition_expression(),
    });
    if let Some(names) = check.expression_attribute_names() {
        json["ExpressionAttributeNames"] = names.iter().map(|(name, of)| (name.clone(), json!(of))).collect();
    }
    if let Some(values) = check.expression_attribute_values() {
        json["ExpressionAttributeValues"] = attributes(values).into();
    }
    json
}
