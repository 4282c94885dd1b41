//! Rows with any content: their interpretation, and the writes of an acquisition.

use std::collections::BTreeMap;

use dynamo_lock_protocol::{
    Ends, FencingToken, HoldHistory, Kind, LastHold, Lease, LockName, Number, Op, OpKind, Row, RowState, Value,
    Verdict, apply, attr,
};

/// Names that the input selects by one byte; `note` is unknown to the protocol.
const NAMES: [&str; 36] = [
    attr::V,
    attr::KIND,
    attr::GUID,
    attr::LEASE_ID,
    attr::TOKEN,
    attr::EXPIRES_ON,
    attr::EXPIRY_CLOCK,
    attr::REVOKED_TOKEN,
    attr::RENEWAL_SEQ,
    attr::HANDOVERS,
    attr::LEASE_MS,
    attr::OWNER,
    attr::ACQUIRED_ON,
    attr::RECENT_HOLDS_MS,
    attr::WAITER_ESTIMATE,
    attr::LAST_OWNER,
    attr::LAST_ACQUIRED_ON,
    attr::LAST_ENDED_ON,
    attr::LAST_END,
    attr::LAST_EXIT_CODE,
    attr::DONE_TOKEN,
    attr::DONE_ON,
    attr::DONE_BY,
    attr::DONE_UNTIL,
    attr::DONE_CLOCK,
    attr::HOLDERS,
    attr::LIMIT,
    attr::FORCED_LEASE_ID,
    attr::DATA,
    attr::TTL,
    attr::LIVENESS_KEY,
    attr::HELD,
    attr::REVOKED,
    "x",
    "0123456789abcdef0123456789abcdef",
    "note",
];

/// Values that the input selects by one byte: texts with a meaning, and numbers around the limits.
const TEXTS: [&str; 9] = ["", "service", "semaphore", "rwlock", "once", "released", "none", "17 20", "a"];
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "2",
    "-1",
    "1.5",
    "1e3",
    "256",
    "2592000000",
    "2592000001",
    "9007199254740990",
    "9007199254740991",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999",
];

/// Depth of maps in maps.
const DEPTH: usize = 2;

/// Bytes of the input, read from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<usize> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(usize::from(*first))
    }

    fn one_of(&mut self, of: &[&'static str]) -> Option<&'static str> {
        Some(of[self.byte()? % of.len()])
    }

    fn text(&mut self) -> Option<String> {
        let length = (self.byte()? % 16).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        Some(match self.byte()? % 8 {
            0 | 1 => self.one_of(&TEXTS)?.into(),
            2 => Value::S(self.text()?),
            3 | 4 => Value::N(Number::parse(self.one_of(&NUMBERS)?)?),
            5 => Value::N(Number::parse(&self.text()?).unwrap_or_else(|| 7.into())),
            6 if depth > 0 => Value::Map(self.attributes(depth - 1).into_iter().collect()),
            6 => Value::Other(r#"{"NULL":true}"#.to_owned()),
            _ => Value::Bool(self.byte()? % 2 == 0),
        })
    }

    fn attributes(&mut self, depth: usize) -> BTreeMap<String, Value> {
        let count = self.byte().unwrap_or(0) % 24;
        let next = |_| Some((self.one_of(&NAMES)?.to_owned(), self.value(depth)?));
        (0..count).map_while(next).collect()
    }
}

/// Returns an acquisition of a lock of this kind.
pub fn acquire(kind: Kind) -> Op {
    let lease = Lease {
        lease_id: "new".into(),
        token_floor: FencingToken::new(7),
        lease_ms: 20_000,
        ends: Ends { expires_on: 1_800_000_023_000, service_timestamp: true, ttl: 1_800_700_000 },
        owner: "worker".into(),
        acquired_on: 1_800_000_000_000,
        data: None,
        liveness_key: None,
    };
    let name = LockName::new("lock").expect("a valid name");
    Op { name, version: "new version".into(), row_kind: kind, kind: OpKind::Acquire(lease) }
}

/// Reads a row in every way, and acquires it. A refused row is never changed, and an acquired one is held.
pub fn check(data: &[u8]) {
    let row = Row::new(Input(data).attributes(DEPTH));
    let _ = (LastHold::of(&row), HoldHistory::of(&row));
    let _ = row.liveness_keys().count();
    for kind in [Kind::Semaphore, Kind::RwLock] {
        let _ = row.shared(kind);
    }
    for kind in [Kind::Mutex, Kind::Once] {
        let Verdict::Applied(next) = apply(Some(&row), &acquire(kind)) else { continue };
        let before = row.state_for(kind);
        // Conditions compare values and not their form, so that an acquisition does not refuse these. The last token, of
        // the year 2242, has no successor.
        let has_text = |name| row.text(name).is_some();
        let is_last = |token| token >= FencingToken::MAX.get() - 1;
        if !has_text(attr::GUID) || !has_text(attr::LEASE_ID) || row.whole(attr::TOKEN).is_none_or(is_last) {
            continue;
        }
        assert!(matches!(before, Ok(RowState::Free)), "{before:?}: an acquisition changed {row:?}");
        assert!(matches!(next.state_for(kind), Ok(RowState::Held(_))), "{next:?} is not held");
        assert!(next.token() > row.token(), "the token of {next:?} is not greater");
        assert_eq!(next.get("note"), row.get("note"));
    }
}
