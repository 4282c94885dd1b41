//! Values of the library as JSON.
//!
//! Tokens are strings, because a JavaScript number cannot represent every 64-bit integer.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck};
use dynamo_lock::{FencingToken, Holder, Inspection, LastHold, LeaseId, Role, SharedHolder, SharedInspection, Success};
use serde_json::{Map, Value as Json, json};

/// Returns a duration in whole milliseconds, rounded down.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).floor()
}

/// Returns a point in time in milliseconds since 1970, or `None` if it is earlier.
fn epoch_ms(time: SystemTime) -> Option<f64> {
    time.duration_since(UNIX_EPOCH).ok().map(millis)
}

pub(crate) fn holder(holder: &Holder) -> Json {
    json!({
        "owner": holder.owner,
        "token": token(holder.token),
        "acquiredAtMs": holder.acquired_at.and_then(epoch_ms),
        "leaseMs": holder.lease.map(millis),
        "expiresAtMs": holder.expires_at.and_then(epoch_ms),
        "data": holder.data,
        "revoked": holder.revoked,
    })
}

fn token(token: Option<FencingToken>) -> Option<String> {
    token.map(|token| token.to_string())
}

pub(crate) fn success(success: &Success) -> Json {
    json!({
        "token": success.token.to_string(),
        "by": success.by,
        "startedAtMs": success.started_at.and_then(epoch_ms),
        "finishedAtMs": success.finished_at.and_then(epoch_ms),
        "untilMs": success.until.and_then(epoch_ms),
    })
}

pub(crate) fn inspection(inspection: &Inspection) -> Json {
    match inspection {
        Inspection::Free { token: of, data, last } => {
            json!({ "state": "free", "token": token(*of), "data": data, "last": last_hold(last.as_ref()) })
        }
        Inspection::Held { holder: by, may_end: range, last } => json!({
            "state": "held",
            "holder": holder(by),
            "mayEndMs": may_end(range),
            "last": last_hold(last.as_ref()),
        }),
        Inspection::Expired { holder: by, last } => {
            json!({ "state": "expired", "holder": holder(by), "last": last_hold(last.as_ref()) })
        }
        Inspection::Done { success: done, data, last } => {
            let mut json = success(done);
            json["state"] = "done".into();
            json["data"] = json!(data);
            json["last"] = last_hold(last.as_ref());
            json
        }
        Inspection::Shared(shared) => shared_inspection(shared),
        other => json!({ "state": format!("{other:?}") }),
    }
}

/// Returns the last hold with the keys of `dynamo-lock show --json`.
fn last_hold(last: Option<&LastHold>) -> Json {
    let Some(last) = last else { return Json::Null };
    json!({
        "owner": last.owner,
        "acquiredAtMs": last.acquired_at.and_then(epoch_ms),
        "heldMs": last.held.map(millis),
        "end": last.end.as_str(),
        "exitCode": last.exit_code,
    })
}

/// Returns a state with the keys of `dynamo-lock show --json`.
fn shared_inspection(shared: &SharedInspection) -> Json {
    json!({
        "state": if shared.is_held() { "held" } else { "free" },
        "kind": shared.kind.to_string(),
        "token": shared.token.to_string(),
        "slots": shared.slots,
        "holders": shared.holders.iter().map(shared_holder).collect::<Json>(),
    })
}

fn shared_holder(entry: &SharedHolder) -> Json {
    let mut json = holder(&entry.holder);
    json["id"] = lease_id(entry.holder.lease_id.as_ref());
    json["role"] = match entry.role {
        Role::Shared => "shared",
        Role::Exclusive => "exclusive",
        Role::Waiting => "waiting",
    }
    .into();
    json["revoked"] = entry.revoked.into();
    json["mayEndMs"] = entry.may_end.as_ref().map(may_end).into();
    json
}

pub(crate) fn lease_id(id: Option<&LeaseId>) -> Json {
    id.map(LeaseId::as_str).into()
}

fn may_end(range: &RangeInclusive<Duration>) -> Json {
    json!({ "earliest": millis(*range.start()), "latest": millis(*range.end()) })
}

/// Returns a condition check in DynamoDB's wire format. The library only uses string and number attributes in it.
pub(crate) fn condition_check(check: &ConditionCheck) -> Json {
    let attribute = |value: &AttributeValue| match value {
        AttributeValue::N(number) => json!({ "N": number }),
        other => json!({ "S": other.as_s().map(String::as_str).unwrap_or_default() }),
    };
    let attributes = |values: &HashMap<String, AttributeValue>| -> Map<String, Json> {
        values.iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
    };
    let mut json = json!({
        "TableName": check.table_name(),
        "Key": attributes(check.key()),
        "ConditionExpression": check.condition_expression(),
    });
    if let Some(names) = check.expression_attribute_names() {
        json["ExpressionAttributeNames"] = names.iter().map(|(key, name)| (key.clone(), json!(name))).collect();
    }
    if let Some(values) = check.expression_attribute_values() {
        json["ExpressionAttributeValues"] = attributes(values).into();
    }
    json
}
