//! Rows and ops that the checks write.

use crate::FencingToken;
use crate::store::{Ends, Kind, Lease, LeaseId, LockName, Op, OpKind, RecordVersion, Row, Value};

/// Returns a free native row with this token.
pub(super) fn free_row(token: u64) -> Row {
    Row::new([
        ("v".to_owned(), 1.into()),
        ("guid".to_owned(), Value::from(RecordVersion::from_random(1).as_str())),
        ("leaseId".to_owned(), Value::from(LeaseId::from_random(1).as_str())),
        ("token".to_owned(), token.into()),
        ("expiresOn".to_owned(), 0.into()),
        ("ttl".to_owned(), 1_800_000_000.into()),
    ])
}

/// Returns a held native row with this lease ID and token.
pub(super) fn held_row(lease_id: u128, token: u64) -> Row {
    let mut row = free_row(token);
    row.set("leaseId", LeaseId::from_random(lease_id).as_str().into());
    row.set("renewalSeq", 0.into());
    row.set("leaseMs", 20_000.into());
    row.set("owner", "holder".into());
    row.set("acquiredOn", 1_700_000_000_000.into());
    row.set("expiresOn", 1_700_000_023_000.into());
    row
}

pub(super) fn ends() -> Ends {
    Ends { expires_on: 1_700_000_060_000, service_timestamp: false, ttl: 1_800_000_001 }
}

/// Returns the lease of an acquisition with this lease ID.
pub(super) fn lease(id: u128) -> Lease {
    Lease {
        lease_id: LeaseId::from_random(id),
        token_floor: FencingToken::new(1_000),
        lease_ms: 20_000,
        ends: ends(),
        owner: format!("writer {id}"),
        acquired_on: 1_700_000_040_000,
        data: None,
        liveness_key: None,
    }
}

/// Returns an op that writes this record version.
pub(super) fn op(name: &LockName, version: u128, kind: OpKind) -> Op {
    Op { name: name.clone(), version: RecordVersion::from_random(version), row_kind: Kind::Mutex, kind }
}

/// Returns an acquisition with the same number in its record version and its lease ID.
pub(super) fn acquire(name: &LockName, id: u128) -> Op {
    op(name, id, OpKind::Acquire(lease(id)))
}

pub(super) fn renew(name: &LockName, version: u128, lease_id: u128, token: u64, renewal_seq: u64) -> Op {
    let (lease_id, token) = (LeaseId::from_random(lease_id), FencingToken::new(token));
    op(name, version, OpKind::Renew { lease_id, token, renewal_seq, lease_ms: 20_000, ends: ends(), data: None })
}

pub(super) fn release(name: &LockName, version: u128, lease_id: u128, token: u64) -> Op {
    let (lease_id, token) = (LeaseId::from_random(lease_id), Some(FencingToken::new(token)));
    op(name, version, OpKind::Release { lease_id, token, ttl: 1_800_000_002, history: None, ended: None })
}
