//! Writes to shared rows as JSON.

use dynamo_lock::FencingToken;
use dynamo_lock::store::{Convert, EntryLease, Kind, NewEntry, Role, SharedHolder, SharedOp, SharedWrite};
use serde_json::{Value as Json, json};

use super::{maybe_text, text, whole};

const KINDS: [Kind; 4] = [Kind::Mutex, Kind::Semaphore, Kind::RwLock, Kind::Once];
const ROLES: [Role; 3] = [Role::Shared, Role::Exclusive, Role::Waiting];

pub fn write(write: &SharedWrite) -> Json {
    json!({ "ttl": write.ttl, "op": op(&write.op) })
}

pub fn write_of(json: &Json) -> SharedWrite {
    SharedWrite { ttl: json["ttl"].as_u64(), op: op_of(&json["op"]) }
}

pub fn convert(convert: &Convert) -> Json {
    let Convert { seen, seen_token, lease_id, ttl } = convert;
    json!({
        "seen": seen.as_str(), "seenToken": seen_token.get(), "leaseId": lease_id.as_str(), "ttl": ttl,
    })
}

pub fn convert_of(json: &Json) -> Convert {
    Convert {
        seen: text(&json["seen"]).into(),
        seen_token: FencingToken::new(whole(&json["seenToken"])),
        lease_id: text(&json["leaseId"]).into(),
        ttl: json["ttl"].as_u64(),
    }
}

pub fn kind(kind: Kind) -> String {
    kind.to_string()
}

pub fn kind_of(json: &Json) -> Kind {
    KINDS.into_iter().find(|kind| kind.to_string() == text(json)).expect("a kind")
}

fn op(op: &SharedOp) -> Json {
    match op {
        SharedOp::Create { limit, token_floor, exclusive, entry } => json!({
            "is": "create", "limit": limit, "tokenFloor": token_floor.get(), "exclusive": exclusive,
            "entry": new_entry(entry),
        }),
        SharedOp::Join { limit, entry } => json!({ "is": "join", "limit": limit, "entry": new_entry(entry) }),
        SharedOp::TakeExclusive { entry } => json!({ "is": "take", "entry": new_entry(entry) }),
        SharedOp::Announce { entry } => json!({ "is": "announce", "entry": new_entry(entry) }),
        SharedOp::Promote { lease_id, lease, acquired_on } => json!({
            "is": "promote", "leaseId": lease_id.as_str(), "lease": entry_lease(lease), "acquiredOn": acquired_on,
        }),
        SharedOp::Renew { holder: of, token, lease } => json!({
            "is": "renew", "holder": holder(of), "token": token.map(FencingToken::get), "lease": entry_lease(lease),
        }),
        SharedOp::Leave { holder: of } => json!({ "is": "leave", "holder": holder(of) }),
        SharedOp::Evict { holder: of, seen_seq } => {
            json!({ "is": "evict", "holder": holder(of), "seenSeq": seen_seq })
        }
        SharedOp::Revoke { holder: of } => json!({ "is": "revoke", "holder": holder(of) }),
        SharedOp::ForceOut { holder: of } => json!({ "is": "force out", "holder": holder(of) }),
    }
}

fn op_of(json: &Json) -> SharedOp {
    let (entry, holder) = (|| new_entry_of(&json["entry"]), || holder_of(&json["holder"]));
    match text(&json["is"]) {
        "create" => SharedOp::Create {
            limit: whole(&json["limit"]),
            token_floor: FencingToken::new(whole(&json["tokenFloor"])),
            exclusive: json["exclusive"] == true,
            entry: entry(),
        },
        "join" => SharedOp::Join { limit: whole(&json["limit"]), entry: entry() },
        "take" => SharedOp::TakeExclusive { entry: entry() },
        "announce" => SharedOp::Announce { entry: entry() },
        "promote" => SharedOp::Promote {
            lease_id: text(&json["leaseId"]).into(),
            lease: entry_lease_of(&json["lease"]),
            acquired_on: whole(&json["acquiredOn"]),
        },
        "renew" => SharedOp::Renew {
            holder: holder(),
            token: json["token"].as_u64().map(FencingToken::new),
            lease: entry_lease_of(&json["lease"]),
        },
        "leave" => SharedOp::Leave { holder: holder() },
        "evict" => SharedOp::Evict { holder: holder(), seen_seq: whole(&json["seenSeq"]) },
        "revoke" => SharedOp::Revoke { holder: holder() },
        "force out" => SharedOp::ForceOut { holder: holder() },
        odd => panic!("no such op: {odd}"),
    }
}

fn holder(holder: &SharedHolder) -> Json {
    json!([holder.lease_id.as_str(), format!("{:?}", holder.role)])
}

fn holder_of(json: &Json) -> SharedHolder {
    let role = ROLES.into_iter().find(|role| format!("{role:?}") == text(&json[1]));
    SharedHolder { lease_id: text(&json[0]).into(), role: role.expect("a role") }
}

fn new_entry(entry: &NewEntry) -> Json {
    let NewEntry { lease_id, lease_ms, expires_on, owner, acquired_on, liveness_key } = entry;
    json!({
        "leaseId": lease_id.as_str(), "leaseMs": lease_ms, "expiresOn": expires_on, "owner": owner,
        "acquiredOn": acquired_on, "livenessKey": liveness_key,
    })
}

fn new_entry_of(json: &Json) -> NewEntry {
    NewEntry {
        lease_id: text(&json["leaseId"]).into(),
        lease_ms: whole(&json["leaseMs"]),
        expires_on: json["expiresOn"].as_u64(),
        owner: text(&json["owner"]).to_owned(),
        acquired_on: whole(&json["acquiredOn"]),
        liveness_key: maybe_text(&json["livenessKey"]),
    }
}

fn entry_lease(lease: &EntryLease) -> Json {
    json!([lease.renewal_seq, lease.lease_ms, lease.expires_on])
}

fn entry_lease_of(json: &Json) -> EntryLease {
    EntryLease { renewal_seq: whole(&json[0]), lease_ms: whole(&json[1]), expires_on: json[2].as_u64() }
}
