//! Ops, rows and responses as JSON, with every field, for [`RemoteStore`](super::remote_store::RemoteStore).

use std::time::Duration;

use dynamo_lock::store::Page;
use dynamo_lock::{FencingToken, LockName, StoreError, StoreErrorKind};
use dynamo_lock_protocol::{
    Done, DoneUntil, EndedHold, Ends, HoldEnd, HoldHistory, Lease, NextLease, Number, Op, OpKind, Outcome, Row, Target,
    Value,
};
use serde_json::{Value as Json, json};

#[path = "json_shared.rs"]
mod shared;

const KINDS: [StoreErrorKind; 5] = [
    StoreErrorKind::Unanswered,
    StoreErrorKind::Throttled,
    StoreErrorKind::AccessDenied,
    StoreErrorKind::Misconfigured,
    StoreErrorKind::Refused,
];

fn text(json: &Json) -> &str {
    json.as_str().expect("text")
}

fn whole(json: &Json) -> u64 {
    json.as_u64().expect("a whole number")
}

fn maybe_text(json: &Json) -> Option<String> {
    json.as_str().map(str::to_owned)
}

pub fn name_of(json: &Json) -> LockName {
    LockName::new(text(json)).expect("a lock name")
}

pub fn error(error: &StoreError) -> Json {
    json!([format!("{:?}", error.kind()), error.to_string()])
}

pub fn error_of(json: &Json) -> StoreError {
    let kind = KINDS.into_iter().find(|kind| format!("{kind:?}") == text(&json[0]));
    StoreError::new(kind.expect("a kind of error"), text(&json[1]))
}

pub fn row(row: &Row) -> Json {
    values(row.attributes())
}

pub fn row_of(json: &Json) -> Row {
    Row::new(values_of(json))
}

fn values<'a>(values: impl Iterator<Item = (&'a str, &'a Value)>) -> Json {
    values.map(|(name, stored)| (name.to_owned(), value(stored))).collect::<serde_json::Map<_, _>>().into()
}

fn values_of(json: &Json) -> impl Iterator<Item = (String, Value)> {
    json.as_object().expect("values").iter().map(|(name, stored)| (name.clone(), value_of(stored)))
}

fn value(value: &Value) -> Json {
    match value {
        Value::S(text) => json!(["S", text]),
        Value::N(number) => json!(["N", number.as_str()]),
        Value::Bool(value) => json!(["BOOL", value]),
        Value::Map(map) => json!(["M", values(map.iter().map(|(name, part)| (name.as_str(), part)))]),
        Value::Other(text) => json!(["other", text]),
    }
}

fn value_of(json: &Json) -> Value {
    let stored = &json[1];
    match text(&json[0]) {
        "S" => Value::from(text(stored)),
        "N" => Value::N(Number::parse(text(stored)).expect("a number")),
        "BOOL" => Value::Bool(stored == true),
        "M" => Value::Map(values_of(stored).collect()),
        _ => Value::Other(text(stored).to_owned()),
    }
}

pub fn maybe_row(stored: Option<&Row>) -> Json {
    stored.map_or(Json::Null, row)
}

pub fn maybe_row_of(json: &Json) -> Option<Row> {
    (!json.is_null()).then(|| row_of(json))
}

pub fn outcome(outcome: &Outcome) -> Json {
    match outcome {
        Outcome::Applied(stored) => json!({ "applied": maybe_row(stored.as_ref()) }),
        Outcome::Conflict(stored) => json!({ "conflict": maybe_row(stored.as_ref()) }),
        odd => panic!("no store returns Ok({odd:?})"),
    }
}

pub fn outcome_of(json: &Json) -> Outcome {
    match (json.get("applied"), json.get("conflict")) {
        (Some(stored), None) => Outcome::Applied(maybe_row_of(stored)),
        (None, Some(stored)) => Outcome::Conflict(maybe_row_of(stored)),
        _ => panic!("no outcome: {json}"),
    }
}

pub fn page(page: &Page) -> Json {
    let rows: Vec<_> = page.rows.iter().map(|(name, stored)| json!([name, row(stored)])).collect();
    json!({ "rows": rows, "next": page.next })
}

pub fn page_of(json: &Json) -> Page {
    let rows = json["rows"].as_array().expect("rows").iter();
    let rows = rows.map(|pair| (text(&pair[0]).to_owned(), row_of(&pair[1]))).collect();
    Page { rows, next: maybe_text(&json["next"]) }
}

pub fn op(op: &Op) -> Json {
    let kind = match &op.kind {
        OpKind::Acquire(new) => json!({ "is": "acquire", "lease": lease(new) }),
        OpKind::TakeOver { lease: new, seen, seen_token, ended: end } => {
            let seen_token = seen_token.map(FencingToken::get);
            json!({
                "is": "take over", "lease": lease(new), "seen": seen.as_str(), "seenToken": seen_token, "ended": ended(end),
            })
        }
        OpKind::StartAnew { lease: new, seen, token } => {
            json!({ "is": "start anew", "lease": lease(new), "seen": seen.as_str(), "token": token.get() })
        }
        OpKind::Finish { lease_id, token, done: new, next_lease_id, ended: end } => json!({
            "is": "finish", "leaseId": lease_id.as_str(), "token": token.get(), "done": done(new),
            "nextLeaseId": next_lease_id.as_str(), "ended": ended(end),
        }),
        OpKind::Reset { token, lease_id, ttl } => {
            json!({ "is": "reset", "token": token.get(), "leaseId": lease_id.as_str(), "ttl": ttl })
        }
        OpKind::Renew { lease_id, token, renewal_seq, lease_ms, ends: new, data } => json!({
            "is": "renew", "leaseId": lease_id.as_str(), "token": token.get(), "renewalSeq": renewal_seq, "leaseMs": lease_ms,
            "ends": ends(new), "data": data,
        }),
        OpKind::HandOver { lease_id, token, next } => json!({
            "is": "hand over", "leaseId": lease_id.as_str(), "token": token.get(), "next": next_lease(next),
        }),
        OpKind::Release { lease_id, token, ttl, history, ended: end } => {
            let token = token.map(FencingToken::get);
            let history = history.map(|history| json!([history.holds_ms(), history.waiters()]));
            json!({
                "is": "release", "leaseId": lease_id.as_str(), "token": token, "ttl": ttl, "history": history,
                "ended": ended(end),
            })
        }
        OpKind::Revoke { target: of, lease_id, ended: end } => {
            json!({ "is": "revoke", "target": target(of), "leaseId": lease_id.as_str(), "ended": ended(end) })
        }
        OpKind::ForceRevoke { target: of, lease_id, ttl, ended: end } => json!({
            "is": "force revoke", "target": target(of), "leaseId": lease_id.as_str(), "ttl": ttl, "ended": ended(end),
        }),
        OpKind::Shared(write) => json!({ "is": "shared", "write": shared::write(write) }),
        OpKind::Convert(convert) => json!({ "is": "convert", "convert": shared::convert(convert) }),
        OpKind::LegacyGet { seen, expires_on } => {
            json!({ "is": "legacy get", "seen": seen.as_ref().map(row), "expiresOn": expires_on })
        }
    };
    json!({ "name": op.name.as_str(), "version": op.version.as_str(), "rowKind": shared::kind(op.row_kind), "kind": kind })
}

pub fn op_of(json: &Json) -> Op {
    let kind = &json["kind"];
    let lease_id = || text(&kind["leaseId"]).into();
    let maybe_token = |json: &Json| json.as_u64().map(FencingToken::new);
    let kind = match text(&kind["is"]) {
        "acquire" => OpKind::Acquire(lease_of(&kind["lease"])),
        "take over" => OpKind::TakeOver {
            lease: lease_of(&kind["lease"]),
            seen: text(&kind["seen"]).into(),
            seen_token: maybe_token(&kind["seenToken"]),
            ended: ended_of(&kind["ended"]),
        },
        "start anew" => OpKind::StartAnew {
            lease: lease_of(&kind["lease"]),
            seen: text(&kind["seen"]).into(),
            token: FencingToken::new(whole(&kind["token"])),
        },
        "finish" => OpKind::Finish {
            lease_id: lease_id(),
            token: FencingToken::new(whole(&kind["token"])),
            done: done_of(&kind["done"]),
            next_lease_id: text(&kind["nextLeaseId"]).into(),
            ended: ended_of(&kind["ended"]),
        },
        "reset" => OpKind::Reset {
            token: FencingToken::new(whole(&kind["token"])),
            lease_id: lease_id(),
            ttl: whole(&kind["ttl"]),
        },
        "renew" => OpKind::Renew {
            lease_id: lease_id(),
            token: FencingToken::new(whole(&kind["token"])),
            renewal_seq: whole(&kind["renewalSeq"]),
            lease_ms: whole(&kind["leaseMs"]),
            ends: ends_of(&kind["ends"]),
            data: maybe_text(&kind["data"]),
        },
        "hand over" => OpKind::HandOver {
            lease_id: lease_id(),
            token: FencingToken::new(whole(&kind["token"])),
            next: next_lease_of(&kind["next"]),
        },
        "release" => {
            let token = maybe_token(&kind["token"]);
            OpKind::Release {
                lease_id: lease_id(),
                token,
                ttl: whole(&kind["ttl"]),
                history: history_of(&kind["history"]),
                ended: ended_of(&kind["ended"]),
            }
        }
        "revoke" => {
            OpKind::Revoke { target: target_of(&kind["target"]), lease_id: lease_id(), ended: ended_of(&kind["ended"]) }
        }
        "force revoke" => OpKind::ForceRevoke {
            target: target_of(&kind["target"]),
            lease_id: lease_id(),
            ttl: whole(&kind["ttl"]),
            ended: ended_of(&kind["ended"]),
        },
        "shared" => OpKind::Shared(shared::write_of(&kind["write"])),
        "convert" => OpKind::Convert(shared::convert_of(&kind["convert"])),
        "legacy get" => OpKind::LegacyGet { seen: maybe_row_of(&kind["seen"]), expires_on: whole(&kind["expiresOn"]) },
        odd => panic!("no such op: {odd}"),
    };
    let row_kind = shared::kind_of(&json["rowKind"]);
    Op { name: name_of(&json["name"]), version: text(&json["version"]).into(), row_kind, kind }
}

fn ended(ended: &Option<EndedHold>) -> Json {
    json!(ended.map(|EndedHold { end, ended_on, exit_code }| json!([end.as_str(), ended_on, exit_code])))
}

fn ended_of(json: &Json) -> Option<EndedHold> {
    let ends = [HoldEnd::Released, HoldEnd::Expired, HoldEnd::Revoked, HoldEnd::Forced];
    (!json.is_null()).then(|| EndedHold {
        end: ends.into_iter().find(|end| json[0] == end.as_str()).expect("an end"),
        ended_on: whole(&json[1]),
        exit_code: json[2].as_u64().map(|code| code.try_into().expect("an exit code")),
    })
}

fn done(done: &Done) -> Json {
    let until = done.until.map(|DoneUntil { ms, service_timestamp, ttl }| json!([ms, service_timestamp, ttl]));
    json!([done.done_on, done.done_by, until])
}

fn done_of(json: &Json) -> Done {
    let until = |json: &Json| DoneUntil {
        ms: whole(&json[0]),
        service_timestamp: json[1] == json!(true),
        ttl: whole(&json[2]),
    };
    let until = (!json[2].is_null()).then(|| until(&json[2]));
    Done { done_on: whole(&json[0]), done_by: text(&json[1]).to_owned(), until }
}

fn lease(lease: &Lease) -> Json {
    let Lease { lease_id, token_floor, lease_ms, ends: new, owner, acquired_on, data, liveness_key } = lease;
    json!({
        "leaseId": lease_id.as_str(), "tokenFloor": token_floor.get(), "leaseMs": lease_ms, "ends": ends(new), "owner": owner,
        "acquiredOn": acquired_on, "data": data, "livenessKey": liveness_key,
    })
}

fn next_lease(next: &NextLease) -> Json {
    let NextLease { lease_id, lease_ms, ends: new, owner, data, liveness_key } = next;
    json!({
        "leaseId": lease_id.as_str(), "leaseMs": lease_ms, "ends": ends(new), "owner": owner, "data": data,
        "livenessKey": liveness_key,
    })
}

fn next_lease_of(json: &Json) -> NextLease {
    NextLease {
        lease_id: text(&json["leaseId"]).into(),
        lease_ms: whole(&json["leaseMs"]),
        ends: ends_of(&json["ends"]),
        owner: text(&json["owner"]).to_owned(),
        data: maybe_text(&json["data"]),
        liveness_key: maybe_text(&json["livenessKey"]),
    }
}

fn lease_of(json: &Json) -> Lease {
    Lease {
        lease_id: text(&json["leaseId"]).into(),
        token_floor: FencingToken::new(whole(&json["tokenFloor"])),
        lease_ms: whole(&json["leaseMs"]),
        ends: ends_of(&json["ends"]),
        owner: text(&json["owner"]).to_owned(),
        acquired_on: whole(&json["acquiredOn"]),
        data: maybe_text(&json["data"]),
        liveness_key: maybe_text(&json["livenessKey"]),
    }
}

fn history_of(json: &Json) -> Option<HoldHistory> {
    let holds = json[0].as_array()?.iter().map(|ms| Duration::from_millis(whole(ms)));
    Some(HoldHistory::new(holds, whole(&json[1]) as u32))
}

fn ends(ends: &Ends) -> Json {
    let Ends { expires_on, service_timestamp, ttl } = ends;
    json!([expires_on, service_timestamp, ttl])
}

fn ends_of(json: &Json) -> Ends {
    Ends { expires_on: whole(&json[0]), service_timestamp: json[1] == json!(true), ttl: whole(&json[2]) }
}

fn target(target: &Target) -> Json {
    match target {
        Target::Token(token) => json!([token.get()]),
        Target::Version { version, expires_on } => json!([version.as_str(), expires_on.as_str()]),
    }
}

fn target_of(json: &Json) -> Target {
    match json[0].as_u64() {
        Some(token) => Target::Token(FencingToken::new(token)),
        None => Target::Version {
            version: text(&json[0]).into(),
            expires_on: Number::parse(text(&json[1])).expect("a number"),
        },
    }
}
