use std::time::Duration;

use super::rng::Rng;
use super::samples::free_row;
use crate::store::{
    Done, DoneUntil, EndedHold, Ends, FencingToken, HoldEnd, HoldHistory, Kind, Lease, LeaseId, LockName, NextLease,
    Number, Op, OpKind, RecordVersion, Row, Target, Value, Verdict, apply,
};

/// Maximum number of ops in a case.
const OPS_MAX: u32 = 6;

/// A row that any program may have left, and ops that are written to it one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Row before the first op.
    pub row: Option<Row>,
    /// Ops, all with the same name.
    pub ops: Vec<Op>,
}

/// Returns attributes that are unknown to the protocol, of every type, as DynamoDB returns them.
fn unknown_attributes() -> [(&'static str, Value); 13] {
    let other = |json: &str| Value::Other(json.to_owned());
    [
        ("note", Value::from("it's \"here\" % _ \\ \u{1F512}")),
        ("count", number("12345678901234567890.5")),
        ("map", Value::Map([("a".to_owned(), 1.into()), ("b".to_owned(), other(r#"{"NULL":true}"#))].into())),
        ("holders", Value::Map([("note".to_owned(), Value::Bool(false))].into())),
        ("list", other(r#"{"L":[{"S":"x"},{"NULL":true}]}"#)),
        ("flag", Value::Bool(true)),
        ("nothing", other(r#"{"NULL":true}"#)),
        ("texts", other(r#"{"SS":["a","b"]}"#)),
        ("numbers", other(r#"{"NS":["7"]}"#)),
        ("bytes", other(r#"{"B":"AQID"}"#)),
        ("Guid", Value::from("not the record version")),
        ("a.b[0] #x :y", Value::from("")),
        ("wanted", 0.into()),
    ]
}

/// Returns replacements of native attributes by invalid values. `None` removes the attribute.
fn malformed_attributes() -> Vec<(&'static str, Option<Value>)> {
    let other = |json: &str| Some(Value::Other(json.to_owned()));
    let num = |text: &str| Some(number(text));
    let text = |text: &str| Some(Value::from(text));
    let attributes = [
        ("leaseId", vec![None, num("7"), other(r#"{"SS":["a"]}"#)]),
        ("guid", vec![None, num("7")]),
        ("renewalSeq", vec![None, text("1"), num("1.5")]),
        ("token", vec![None, text("5"), num("0"), num("-5"), other(r#"{"L":[]}"#)]),
        ("expiresOn", vec![None, text("1700000000000"), num("0.5"), num("-1"), num(HUGE)]),
        ("v", vec![num("2"), text("1"), num("1.5")]),
        ("kind", vec![text("semaphore"), other(r#"{"NULL":true}"#)]),
        ("doneToken", vec![text("5"), num("0.5"), num(HUGE), other(r#"{"NULL":true}"#)]),
        ("handovers", vec![text("1"), num("0"), num("-1"), num("1.5"), num(HUGE), other(r#"{"L":[]}"#)]),
        ("leaseMs", vec![num(HUGE)]),
        ("expiryClock", vec![text("sundial")]),
    ];
    attributes.into_iter().flat_map(|(name, values)| values.into_iter().map(move |value| (name, value))).collect()
}

pub(super) const HUGE: &str = "99999999999999999999999999999999999999";

pub(super) fn number(text: &str) -> Value {
    // The callers pass constants of this file, all of which are numbers.
    Value::N(Number::parse(text).unwrap_or_else(|| 0.into()))
}

impl Case {
    /// Generates a case for a lock with this name.
    pub fn generate(name: &LockName, rng: &mut Rng) -> Self {
        let row = rng.row();
        Self::with_ops(row, rng, |rng, nth, row| rng.op(name, nth, row))
    }

    /// Generates ops for `row`, each with knowledge of the row that the earlier ones leave.
    pub(super) fn with_ops(row: Option<Row>, rng: &mut Rng, op: impl Fn(&mut Rng, usize, Option<&Row>) -> Op) -> Self {
        let mut ops: Vec<Op> = Vec::new();
        let mut now = row.clone();
        for _ in 0..=rng.below(OPS_MAX) {
            let repeats = !ops.is_empty() && rng.once_in(4);
            // Some ops are written again, as after a lost response.
            let op = if repeats { rng.one_of(&ops) } else { op(rng, ops.len(), now.as_ref()) };
            if let Verdict::Applied(next) = apply(now.as_ref(), &op) {
                now = Some(next);
            }
            ops.push(op);
        }
        Self { row, ops }
    }
}

impl Rng {
    pub(super) fn row(&mut self) -> Option<Row> {
        let mut row = match self.below(14) {
            0 => return None,
            1 | 2 => self.free(),
            3 | 4 => self.held(),
            5 => self.revoked(),
            6 | 7 => self.legacy(),
            8 => self.malformed(),
            9 | 10 => self.once(),
            11 => self.done(),
            _ => self.unusual_token(),
        };
        for _ in 0..self.below(4) {
            let (name, value) = self.one_of(&unknown_attributes());
            row.set(name, value);
        }
        Some(row)
    }

    fn free(&mut self) -> Row {
        let (version, lease_id) = (self.version(), self.lease_id());
        let mut row = free_row(self.token());
        row.set("guid", version.as_str().into());
        row.set("leaseId", lease_id.as_str().into());
        if self.once_in(3) {
            row.set("data", "payload of the last holder".into());
        }
        if self.once_in(3) {
            row.set("recentHoldsMs", "5 2000".into());
            row.set("waiterEstimate", 150.into());
        }
        row
    }

    fn held(&mut self) -> Row {
        let mut row = self.free();
        row.set("expiresOn", self.one_of(&[1_700_000_000_000u64, 1]).into());
        row.set("renewalSeq", self.one_of(&[0u64, 1, 2, 9]).into());
        row.set("leaseMs", self.one_of(&[20_000u64, 1_000]).into());
        row.set("owner", "worker-7".into());
        row.set("acquiredOn", 1_699_999_990_000.into());
        if self.once_in(2) {
            row.set("expiryClock", "service".into());
        }
        if self.once_in(3) {
            row.set("livenessKey", 3.into());
        }
        if self.once_in(3) {
            row.set("handovers", self.one_of(&[1u64, 41]).into());
        }
        row
    }

    /// Returns a row of a lock on work that runs until it has succeeded once.
    fn once(&mut self) -> Row {
        let mut row = if self.once_in(3) { self.free() } else { self.held() };
        row.set("kind", "once".into());
        row
    }

    /// Returns a finished row.
    fn done(&mut self) -> Row {
        let mut row = self.free();
        row.set("kind", "once".into());
        row.set("expiresOn", 253_402_300_799_000.into());
        row.remove("ttl");
        let token = row.get("token").cloned();
        row.set("doneToken", token.filter(|_| !self.once_in(6)).unwrap_or_else(|| 4.into()));
        row.set("doneOn", 1_700_000_000_000.into());
        row.set("doneBy", "worker-7".into());
        if self.once_in(2) {
            row.set("doneUntil", 1_700_000_060_000.into());
            row.set("doneClock", "service".into());
            row.set("ttl", 1_800_000_000.into());
        }
        row
    }

    fn revoked(&mut self) -> Row {
        let mut row = if self.once_in(3) { self.free() } else { self.held() };
        row.set("revokedToken", 1.into());
        row
    }

    fn legacy(&mut self) -> Row {
        let mut row = Row::default();
        row.set("guid", self.one_of(&["6f1c9c1e-1f0c-4cf1-8c7d-000000000001", "x", ""]).into());
        let times = ["1700000000000", "1700000000000.25", HUGE, "0", "-5", "1"].map(number);
        let text_or_missing = [Some("1700000000000".into()), None];
        let times: Vec<_> = times.map(Some).into_iter().chain(text_or_missing).collect();
        if let Some(expires_on) = self.one_of(&times) {
            row.set("expiresOn", expires_on);
        }
        if self.once_in(3) {
            row.set("token", self.token().into());
        }
        if self.once_in(3) {
            row.set("data", "".into());
        }
        row
    }

    fn malformed(&mut self) -> Row {
        let mut row = match self.below(3) {
            0 => self.held(),
            1 => self.free(),
            _ => self.once(),
        };
        match self.one_of(&malformed_attributes()) {
            (name, Some(value)) => row.set(name, value),
            (name, None) => row.remove(name),
        }
        row
    }

    /// Returns a row with a token that this protocol never writes. Adding one to a fraction is possible; the conditions
    /// exclude texts and numbers from 2^53 on.
    fn unusual_token(&mut self) -> Row {
        let mut row = if self.once_in(4) { self.held() } else { self.free() };
        let numbers = ["1.5", "9007199254740990.5", "9007199254740992", "18446744073709551615", HUGE];
        row.set("token", if self.once_in(6) { "5".into() } else { number(self.one_of(&numbers)) });
        row
    }

    /// Returns one of a few versions, so that ops of different clients have the same version now and then.
    fn version(&mut self) -> RecordVersion {
        RecordVersion::from_random(1 + u128::from(self.below(3)))
    }

    fn lease_id(&mut self) -> LeaseId {
        LeaseId::from_random(101 + u128::from(self.below(3)))
    }

    fn token(&mut self) -> u64 {
        self.one_of(&[5, 1, 1_700_000_000 << 20, (1 << 53) - 1])
    }

    /// Returns a value of the row, or sometimes another one.
    pub(super) fn seen<T>(&mut self, value: Option<T>, other: impl FnOnce(&mut Self) -> T) -> T {
        let stale = self.once_in(5);
        value.filter(|_| !stale).unwrap_or_else(|| other(self))
    }

    pub(super) fn seen_version(&mut self, row: Option<&Row>) -> RecordVersion {
        self.seen(row.and_then(Row::version), Self::version)
    }

    fn seen_lease_id(&mut self, row: Option<&Row>) -> LeaseId {
        self.seen(row.and_then(|row| row.text("leaseId")).map(LeaseId::from), Self::lease_id)
    }

    /// Returns the token in the row, or sometimes another one.
    pub(super) fn seen_token(&mut self, row: Option<&Row>) -> FencingToken {
        match (row.and_then(Row::token), self.below(6)) {
            (Some(token), 0..=3) => token,
            (Some(token), 4) => FencingToken::new(token.get() + 1),
            _ => FencingToken::new(self.token()),
        }
    }

    fn op(&mut self, name: &LockName, nth: usize, row: Option<&Row>) -> Op {
        // Fresh IDs, which are not in the row yet.
        let version = RecordVersion::from_random(1_001 + nth as u128);
        let lease_id = LeaseId::from_random(2_001 + nth as u128);
        let is_free = row.is_none_or(|row| row.whole("expiresOn") == Some(0));
        let is_once = row.is_some_and(|row| row.text("kind") == Some("once"));
        let row_kind = if is_once == self.once_in(8) { Kind::Mutex } else { Kind::Once };
        let kind = match self.below(10) {
            2 | 5 | 7 | 8 if is_once && !is_free => return Op { row_kind: Kind::Once, ..self.once_op(name, nth, row) },
            // Choices 6 to 9 give ops that suit the row, so that more writes are applied.
            choice @ (0 | 6 | 7) if choice == 0 || is_free => OpKind::Acquire(self.lease(lease_id, row)),
            6 | 9 if row.is_some_and(|row| row.get("v").is_none()) => self.revoke(lease_id, row),
            2 | 6 => self.renew(row),
            1 | 7 => self.take_over(lease_id, row),
            3 => {
                let token = (!self.once_in(3)).then(|| self.seen_token(row));
                OpKind::Release {
                    lease_id: self.seen_lease_id(row),
                    token,
                    ttl: 1_800_000_002,
                    history: self.history(),
                    ended: self.ended(),
                }
            }
            8 => self.legacy_get(row),
            9 => self.hand_over(lease_id, row),
            _ => self.revoke(lease_id, row),
        };
        Op { name: name.clone(), version, row_kind, kind }
    }

    /// Returns an op that belongs to locks on work that runs until it has succeeded once.
    fn once_op(&mut self, name: &LockName, nth: usize, row: Option<&Row>) -> Op {
        let version = RecordVersion::from_random(1_001 + nth as u128);
        let lease_id = LeaseId::from_random(2_001 + nth as u128);
        let is_done = row.is_some_and(|row| row.get("doneToken").is_some());
        let kind = match self.below(6) {
            0 => OpKind::Reset { token: self.seen_token(row), lease_id, ttl: 1_800_000_004 },
            1 | 2 if is_done => OpKind::Reset { token: self.seen_token(row), lease_id, ttl: 1_800_000_004 },
            3 | 4 if is_done => self.start_anew(lease_id, row),
            5 => self.start_anew(lease_id, row),
            _ => OpKind::Finish {
                lease_id: self.seen_lease_id(row),
                token: self.seen_token(row),
                done: self.success(),
                next_lease_id: lease_id,
                ended: self.ended(),
            },
        };
        Op { name: name.clone(), version, row_kind: Kind::Once, kind }
    }

    fn start_anew(&mut self, lease_id: LeaseId, row: Option<&Row>) -> OpKind {
        let (lease, seen, token) = (self.lease(lease_id, row), self.seen_version(row), self.seen_token(row));
        OpKind::StartAnew { lease, seen, token }
    }

    fn success(&mut self) -> Done {
        let until = DoneUntil { ms: 1_700_000_090_000, service_timestamp: self.once_in(2), ttl: 1_800_000_005 };
        let until = (!self.once_in(3)).then_some(until);
        Done { done_on: 1_700_000_050_000, done_by: self.one_of(&["worker-8", ""]).to_owned(), until }
    }

    fn history(&mut self) -> Option<HoldHistory> {
        let holds: Vec<_> = (0..self.below(18)).map(|_| Duration::from_millis(self.below(100_000).into())).collect();
        (!self.once_in(3)).then(|| HoldHistory::new(holds, self.below(100_000)))
    }

    fn ended(&mut self) -> Option<EndedHold> {
        let end = self.one_of(&[HoldEnd::Released, HoldEnd::Expired, HoldEnd::Revoked, HoldEnd::Forced]);
        let exit_code = self.one_of(&[None, Some(0), Some(143)]);
        (!self.once_in(3)).then_some(EndedHold { end, ended_on: 1_700_000_030_000, exit_code })
    }

    /// Returns a legacy get, mostly one that has seen the current row. Stores do not check whether the lease in it has
    /// expired.
    fn legacy_get(&mut self, row: Option<&Row>) -> OpKind {
        let mut seen = row.cloned();
        match (&mut seen, self.below(6)) {
            (None, 5) => seen = Some(self.legacy()),
            (Some(_), 5) => seen = None,
            (Some(seen), 4) => seen.set("guid", self.version().as_str().into()),
            (Some(seen), 3) => seen.set("token", self.token().into()),
            _ => {}
        }
        OpKind::LegacyGet { seen, expires_on: self.one_of(&[1_700_000_060_000, 1]) }
    }

    fn revoke(&mut self, lease_id: LeaseId, row: Option<&Row>) -> OpKind {
        let (target, ended) = (self.target(row), self.ended());
        match self.below(2) {
            0 => OpKind::Revoke { target, lease_id, ended },
            _ => OpKind::ForceRevoke { target, lease_id, ttl: 1_800_000_003, ended },
        }
    }

    fn take_over(&mut self, lease_id: LeaseId, row: Option<&Row>) -> OpKind {
        let stale = self.once_in(5);
        let seen_token = if stale { Some(self.seen_token(row)) } else { row.and_then(Row::token) };
        OpKind::TakeOver {
            lease: self.lease(lease_id, row),
            seen: self.seen_version(row),
            seen_token,
            ended: self.ended(),
        }
    }

    fn lease(&mut self, fresh: LeaseId, row: Option<&Row>) -> Lease {
        Lease {
            // Sometimes the lease ID of an earlier acquisition.
            lease_id: if self.once_in(5) { self.seen_lease_id(row) } else { fresh },
            token_floor: FencingToken::new(self.one_of(&[1_700_000_001 << 20, 0])),
            lease_ms: self.one_of(&[20_000, 1_000, 2_592_000_000]),
            ends: self.ends(),
            owner: self.one_of(&["worker-8", "", "o'brien \u{1F512}"]).to_owned(),
            acquired_on: 1_700_000_000_000,
            data: self.data(),
            liveness_key: self.once_in(3).then(|| "4".to_owned()),
        }
    }

    fn renew(&mut self, row: Option<&Row>) -> OpKind {
        let renewal_seq = row.and_then(|row| row.whole("renewalSeq")).unwrap_or(0);
        OpKind::Renew {
            lease_id: self.seen_lease_id(row),
            token: self.seen_token(row),
            renewal_seq: self.one_of(&[renewal_seq + 1, renewal_seq + 7, renewal_seq, renewal_seq.saturating_sub(1)]),
            lease_ms: self.one_of(&[20_000, 1_000]),
            ends: self.ends(),
            data: self.data(),
        }
    }

    fn hand_over(&mut self, fresh: LeaseId, row: Option<&Row>) -> OpKind {
        let Lease { lease_id, lease_ms, ends, owner, data, liveness_key, .. } = self.lease(fresh, row);
        let next = NextLease { lease_id, lease_ms, ends, owner, data, liveness_key };
        OpKind::HandOver { lease_id: self.seen_lease_id(row), token: self.seen_token(row), next }
    }

    fn ends(&mut self) -> Ends {
        let expires_on = self.one_of(&[1_700_000_060_000, 1, u64::from(u32::MAX) + 1]);
        Ends { expires_on, service_timestamp: self.once_in(2), ttl: 1_800_000_001 }
    }

    fn data(&mut self) -> Option<String> {
        self.one_of(&[None, Some("payload"), Some("")]).map(str::to_owned)
    }

    fn target(&mut self, row: Option<&Row>) -> Target {
        let has_token = row.is_none_or(|row| row.get("token").is_some());
        // Sometimes the kind of target that does not suit the row.
        if has_token != self.once_in(5) {
            return Target::Token(self.seen_token(row));
        }
        let expires_on = row.and_then(|row| row.number("expiresOn")).cloned();
        let expires_on = self.seen(expires_on, |_| 1_700_000_000_001.into());
        Target::Version { version: self.seen_version(row), expires_on }
    }
}
