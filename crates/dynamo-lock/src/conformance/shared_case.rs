//! Generated rows with several holders, and ops for them.

use std::collections::BTreeMap;

use super::case::{Case, HUGE, number};
use super::rng::Rng;
use crate::store::{
    Convert, EntryLease, FencingToken, Kind, LeaseId, LockName, NewEntry, Op, OpKind, Path, RecordVersion, Role, Row,
    SharedHolder, SharedOp, SharedWrite, Value,
};

type Fields = BTreeMap<String, Value>;

/// Time for DynamoDB's TTL in the ops.
const TTL: u64 = 1_800_000_004;

impl Case {
    /// Generates a case with a shared row for a lock with this name.
    pub fn generate_shared(name: &LockName, rng: &mut Rng) -> Self {
        let row = match rng.below(12) {
            0 => None,
            1 => rng.row(),
            2 | 3 => Some(rng.malformed_shared()),
            _ => Some(rng.shared()),
        };
        Self::with_ops(row, rng, |rng, nth, row| rng.shared_op(name, nth, row))
    }
}

impl Rng {
    fn shared(&mut self) -> Row {
        let mut row = Row::default();
        row.set("v", 1.into());
        row.set("kind", self.one_of(&["semaphore", "rwlock"]).into());
        row.set("guid", RecordVersion::from_random(1).as_str().into());
        row.set("token", self.one_of(&[5u64, 5, 1_700_000_000 << 20, 5, (1 << 53) - 1]).into());
        row.set("expiresOn", 253_402_300_799_000.into());
        let forced = self.holder_id();
        row.set("forcedLeaseId", self.one_of(&["none", forced.as_str()]).into());
        row.set("limit", 3.into());
        let mut holders = Fields::new();
        for _ in 0..self.below(4) {
            let (key, entry) = (self.holder_id(), self.entry());
            holders.insert(key.as_str().to_owned(), Value::Map(entry));
        }
        if self.once_in(2) {
            let mut entry = self.entry();
            entry.insert("leaseId".to_owned(), self.holder_id().as_str().into());
            if self.once_in(2) {
                entry.insert("held".to_owned(), Value::Bool(true));
            }
            // Mostly alone, because a writer is promoted only then.
            if !self.once_in(3) {
                holders.clear();
            }
            holders.insert("x".to_owned(), Value::Map(entry));
        }
        row.set("holders", Value::Map(holders));
        if self.once_in(2) {
            row.set("ttl", 1_800_000_000.into());
        }
        if self.once_in(3) {
            row.set("note", "of another program".into());
        }
        row
    }

    fn entry(&mut self) -> Fields {
        let mut entry = Fields::new();
        entry.insert("renewalSeq".to_owned(), self.one_of(&[0u64, 1, 2]).into());
        entry.insert("leaseMs".to_owned(), 20_000.into());
        entry.insert("owner".to_owned(), "worker-7".into());
        if self.once_in(2) {
            entry.insert("expiresOn".to_owned(), 1_700_000_000_000.into());
        }
        if self.once_in(4) {
            entry.insert("revoked".to_owned(), Value::Bool(true));
        }
        if self.once_in(4) {
            entry.insert("livenessKey".to_owned(), "4".into());
        }
        entry
    }

    /// Returns a shared row in which an attribute or a part of an entry is missing or invalid.
    fn malformed_shared(&mut self) -> Row {
        let mut row = self.shared();
        let other = |json: &str| Some(Value::Other(json.to_owned()));
        let attributes = [
            ("v", Some(2.into())),
            ("kind", None),
            ("kind", Some("sundial".into())),
            ("guid", None),
            ("guid", Some(7.into())),
            ("token", None),
            ("token", Some("5".into())),
            ("token", Some(0.into())),
            ("token", Some(number(HUGE))),
            ("holders", None),
            ("holders", Some("".into())),
            ("holders", Some(2.into())),
            ("holders", other(r#"{"L":[]}"#)),
            ("forcedLeaseId", None),
            ("forcedLeaseId", Some(1.into())),
        ];
        let fields = [
            ("renewalSeq", None),
            ("renewalSeq", Some("1".into())),
            ("renewalSeq", Some(number("0.5"))),
            ("leaseId", None),
            ("leaseId", Some(7.into())),
            ("held", Some(Value::Bool(false))),
            ("held", Some("true".into())),
            ("revoked", other(r#"{"NULL":true}"#)),
            ("", Some("no map".into())),
            ("", other(r#"{"SS":["a"]}"#)),
        ];
        if self.once_in(2) {
            let (name, value) = self.one_of(&attributes);
            match value {
                Some(value) => row.set(name, value),
                None => row.remove(name),
            }
            return row;
        }
        let Some(Value::Map(mut holders)) = row.get("holders").cloned() else { return row };
        let (name, value) = self.one_of(&fields);
        for entry in holders.values_mut() {
            match (entry, &value) {
                (entry, Some(value)) if name.is_empty() => *entry = value.clone(),
                (Value::Map(fields), Some(value)) => drop(fields.insert(name.to_owned(), value.clone())),
                (Value::Map(fields), None) => drop(fields.remove(name)),
                _ => {}
            }
        }
        row.set("holders", Value::Map(holders));
        row
    }

    /// Returns one of a few lease IDs, so that ops often concern an entry that is there.
    fn holder_id(&mut self) -> LeaseId {
        LeaseId::from_random(301 + u128::from(self.below(3)))
    }

    fn shared_op(&mut self, name: &LockName, nth: usize, row: Option<&Row>) -> Op {
        let version = RecordVersion::from_random(1_001 + nth as u128);
        if self.once_in(8) {
            let row_kind = self.one_of(&[Kind::Mutex, Kind::Semaphore, Kind::RwLock, Kind::Once]);
            return Op { name: name.clone(), version, row_kind, kind: OpKind::Convert(self.convert(row)) };
        }
        let stored = row.and_then(|row| row.text("kind")).unwrap_or_default();
        let kinds = if stored == "rwlock" { [Kind::RwLock, Kind::Semaphore] } else { [Kind::Semaphore, Kind::RwLock] };
        let row_kind = if self.once_in(8) { kinds[1] } else { kinds[0] };
        let ttl = self.once_in(2).then_some(TTL);
        let op = match row {
            None if !self.once_in(3) => self.create(),
            _ => self.op_on_holders(row),
        };
        Op { name: name.clone(), version, row_kind, kind: OpKind::Shared(SharedWrite { ttl, op }) }
    }

    fn create(&mut self) -> SharedOp {
        let (limit, exclusive, entry) = (3, self.once_in(2), self.new_entry());
        SharedOp::Create { limit, token_floor: FencingToken::new(1_700_000_001 << 20), exclusive, entry }
    }

    /// Returns a limit that the row has often just reached.
    fn limit(&mut self, row: Option<&Row>) -> u64 {
        let holders = match row.and_then(|row| row.get("holders")) {
            Some(Value::Map(holders)) => holders.len() as u64,
            _ => 0,
        };
        self.one_of(&[holders.max(1), holders + 1, 1, 64])
    }

    fn op_on_holders(&mut self, row: Option<&Row>) -> SharedOp {
        let seq = self.one_of(&[1, 2, 3, 9]);
        match self.below(23) {
            0 => self.create(),
            1 | 2 | 17 => SharedOp::Join { limit: self.limit(row), entry: self.new_entry() },
            3 => SharedOp::TakeExclusive { entry: self.new_entry() },
            4 => SharedOp::Announce { entry: self.new_entry() },
            5 | 19 | 20 => SharedOp::Promote {
                lease_id: self.present(row).lease_id,
                lease: self.entry_lease(seq),
                acquired_on: 1_700_000_000_001,
            },
            6..=9 => {
                let (holder, token) = (self.present(row), self.seen_token(row));
                let token = (holder.role != Role::Waiting).then_some(token);
                SharedOp::Renew { holder, token, lease: self.entry_lease(seq) }
            }
            10..=12 => SharedOp::Leave { holder: self.present(row) },
            13 | 14 => {
                let holder = self.present(row);
                let stored = row.and_then(|row| row.at(&Path::Field(holder.key(), "renewalSeq")));
                let stored = if let Some(Value::N(number)) = stored { number.whole() } else { None };
                SharedOp::Evict { holder, seen_seq: self.seen(stored, |rng| rng.one_of(&[0, 1, 2])) }
            }
            15 | 16 => SharedOp::Revoke { holder: self.present(row) },
            _ => SharedOp::ForceOut { holder: self.present(row) },
        }
    }

    /// Returns an entry of the row, or sometimes another one or another role.
    fn present(&mut self, row: Option<&Row>) -> SharedHolder {
        let holders = match row.and_then(|row| row.get("holders")) {
            Some(Value::Map(holders)) => holders.iter().collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        let other = SharedHolder {
            lease_id: self.holder_id(),
            role: self.one_of(&[Role::Shared, Role::Exclusive, Role::Waiting]),
        };
        if holders.is_empty() || self.once_in(6) {
            return other;
        }
        let (key, entry) = self.one_of(&holders);
        let field = |name: &str| if let Value::Map(fields) = entry { fields.get(name) } else { None };
        match (key.as_str(), field("leaseId")) {
            ("x", Some(Value::S(lease_id))) => SharedHolder {
                lease_id: lease_id.as_str().into(),
                role: if field("held").is_some() { Role::Exclusive } else { Role::Waiting },
            },
            ("x", _) => other,
            (key, _) => SharedHolder { lease_id: key.into(), role: Role::Shared },
        }
    }

    fn new_entry(&mut self) -> NewEntry {
        NewEntry {
            lease_id: self.holder_id(),
            lease_ms: self.one_of(&[20_000, 1_000]),
            expires_on: self.one_of(&[None, Some(1_700_000_060_000)]),
            owner: self.one_of(&["worker-8", "", "o'brien \u{1F512}"]).to_owned(),
            acquired_on: 1_700_000_000_000,
            liveness_key: self.once_in(3).then(|| "5".to_owned()),
        }
    }

    fn entry_lease(&mut self, renewal_seq: u64) -> EntryLease {
        EntryLease { renewal_seq, lease_ms: 30_000, expires_on: self.one_of(&[None, Some(1_700_000_070_000)]) }
    }

    fn convert(&mut self, row: Option<&Row>) -> Convert {
        let stale = self.once_in(4);
        let seen_token = row.and_then(Row::token).filter(|_| !stale);
        Convert {
            seen: self.seen_version(row),
            seen_token: seen_token.unwrap_or_else(|| FencingToken::new(5)),
            lease_id: LeaseId::from_random(2_001),
            ttl: self.once_in(2).then_some(TTL),
        }
    }
}
