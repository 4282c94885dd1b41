//! What is written: [`Op`] and its meaning, [`apply`]. Stores translate [`Op::condition`] and [`Op::changes`], or call
//! [`apply`]; they are tested against it on generated rows and ops.

use std::cmp::Ordering;
use std::time::Duration;

use crate::{FencingToken, LeaseId, LockName, Number, RecordVersion, Row, Value};

/// Names of the row's attributes.
pub mod attr {
    #![allow(missing_docs)] // named as in the row; their meaning is the table in docs/protocol.md
    /// The partition key, under whatever name the table has it. Never among a [`crate::Row`]'s attributes.
    pub const NAME: &str = "name";
    pub const V: &str = "v";
    pub const KIND: &str = "kind";
    pub const GUID: &str = "guid";
    pub const LEASE_ID: &str = "leaseId";
    pub const TOKEN: &str = "token";
    pub const EXPIRES_ON: &str = "expiresOn";
    pub const EXPIRY_CLOCK: &str = "expiryClock";
    pub const REVOKED_TOKEN: &str = "revokedToken";
    pub const RENEWAL_SEQ: &str = "renewalSeq";
    pub const LEASE_MS: &str = "leaseMs";
    pub const OWNER: &str = "owner";
    pub const ACQUIRED_ON: &str = "acquiredOn";
    pub const DATA: &str = "data";
    pub const TTL: &str = "ttl";
    pub const LIVENESS_KEY: &str = "livenessKey";
    /// The one value of `stamp`.
    pub const SERVICE_CLOCK: &str = "service";
}

/// One conditional write on one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    /// The lock.
    pub name: LockName,
    /// The record version that it leaves: fresh for every operation, the same in its retries.
    pub version: RecordVersion,
    /// What it does.
    pub kind: OpKind,
}

/// What an [`Op`] does. The table in `docs/protocol.md` §3 has a line for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// Take a lock that is free.
    Acquire(Lease),
    /// Take a lock whose lease has ended, exactly as it was seen.
    TakeOver {
        /// The new reign.
        lease: Lease,
        /// The record version that was watched.
        seen: RecordVersion,
        /// The token beside it.
        seen_token: Option<FencingToken>,
    },
    /// Move our lease's end.
    Renew {
        /// Our reign.
        lease_id: LeaseId,
        /// Our token.
        token: FencingToken,
        /// The renewal's number within the reign, from 1.
        renewal_seq: u64,
        /// The lease from now on.
        lease_ms: u64,
        /// When it ends.
        ends: Ends,
        /// A new payload.
        data: Option<String>,
    },
    /// Give up our lock.
    Release {
        /// Our reign.
        lease_id: LeaseId,
        /// Our token; absent when cleaning up after an acquire that never learned it.
        token: Option<FencingToken>,
        /// Epoch seconds for DynamoDB's TTL.
        ttl: u64,
    },
    /// Take a reign away by hand. Others wait its lease out.
    Revoke {
        /// What is revoked.
        target: Target,
        /// Nobody's reign.
        lease_id: LeaseId,
    },
    /// Take a reign away and free the lock at once: unsafe if the holder lives.
    ForceRevoke {
        /// What is freed.
        target: Target,
        /// Nobody's reign.
        lease_id: LeaseId,
        /// Epoch seconds for DynamoDB's TTL.
        ttl: u64,
    },
    /// Write the row anew in the format of the original npm `dynamo-lock`, as its `getLock` does: a put, which leaves of
    /// what was there only what a strongly consistent read saw.
    LegacyGet {
        /// The row that was read; its lock was over.
        seen: Option<Row>,
        /// Until when, epoch ms on the wall clock of whoever asks.
        expires_on: u64,
    },
}

/// What an acquisition writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The nonce of this operation.
    pub lease_id: LeaseId,
    /// What the token follows on if the row has none.
    pub token_floor: FencingToken,
    /// The holder's lease.
    pub lease_ms: u64,
    /// When it ends.
    pub ends: Ends,
    /// Who, for people.
    pub owner: String,
    /// Epoch ms, for people.
    pub acquired_on: u64,
    /// The payload; what was there stays if there is none.
    pub data: Option<String>,
    /// By what the embedded store knows whether this client lives.
    pub liveness_key: Option<String>,
}

/// The end of a lease as written: `expiresOn`, `stamp` and `purgeOn` go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Epoch ms.
    pub expires_on: u64,
    /// Whether `expires_on` is an upper bound on the service clock.
    pub service_timestamp: bool,
    /// Epoch seconds for DynamoDB's TTL.
    pub ttl: u64,
}

/// Exactly one reign, for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The reign with this token.
    Token(FencingToken),
    /// A row without a token: this version of it.
    Version {
        /// Its `version`.
        version: RecordVersion,
        /// Its `expiresOn`.
        expires_on: Number,
    },
}

/// When a write takes effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The attribute is not there. [`attr::NAME`]: there is no row.
    Missing(&'static str),
    /// The attribute is there and equal.
    Equals(&'static str, Value),
    /// The attribute is there and differs.
    Differs(&'static str, Value),
    /// The attribute is a number below.
    Below(&'static str, u64),
    /// The attribute is a number above.
    Above(&'static str, u64),
    /// Each holds.
    All(Vec<Condition>),
    /// One holds.
    Any(Vec<Condition>),
}

/// What a write changes. All other attributes stay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Sets an attribute.
    Set(&'static str, Value),
    /// Sets an attribute to one more than it is, or than the seed where it is missing.
    Next(&'static str, u64),
    /// Removes an attribute.
    Remove(&'static str),
    /// Puts this row in the place of the one that is there, of which nothing else stays.
    Replace(Row),
}

/// The answer to a write, as far as the protocol cares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It took effect; the row as it left it.
    Applied(Row),
    /// Its condition did not hold; the row that is there.
    Conflict(Option<Row>),
    /// No answer, or none that tells: it may have taken effect, or may yet.
    Unknown,
    /// It certainly took no effect; try later.
    Throttled,
}

/// What [`apply`] says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It takes effect, and leaves this row.
    Applied(Row),
    /// Its condition does not hold.
    Conflict(Option<Row>),
}

use Change::{Next, Remove, Replace, Set};
use Condition::{Above, All, Any, Below, Differs, Equals, Missing};

impl Op {
    /// The condition on which the write takes effect.
    pub fn condition(&self) -> Condition {
        match &self.kind {
            OpKind::Acquire(lease) => Any(vec![
                Missing(attr::NAME),
                All(vec![
                    Equals(attr::V, 1.into()),
                    Missing(attr::KIND),
                    self.is_a_lock(),
                    Equals(attr::EXPIRES_ON, 0.into()),
                    Above(attr::TOKEN, 0),
                    Below(attr::TOKEN, FencingToken::MAX.get()),
                    Differs(attr::LEASE_ID, lease.lease_id.as_str().into()),
                ]),
            ]),
            OpKind::TakeOver { seen, seen_token, .. } => All(vec![
                Equals(attr::GUID, seen.as_str().into()),
                match seen_token {
                    Some(token) => Equals(attr::TOKEN, token.get().into()),
                    None => Missing(attr::TOKEN),
                },
            ]),
            OpKind::Renew { lease_id, token, renewal_seq, .. } => {
                let mut all = lease_conditions(lease_id, Some(*token));
                all.push(Below(attr::RENEWAL_SEQ, *renewal_seq));
                All(all)
            }
            OpKind::Release { lease_id, token, .. } => All(lease_conditions(lease_id, *token)),
            OpKind::Revoke { target, .. } | OpKind::ForceRevoke { target, .. } => {
                let ours = Any(vec![Missing(attr::V), Equals(attr::V, 1.into())]);
                let mut all = vec![ours, Missing(attr::KIND), self.is_a_lock()];
                match target {
                    Target::Token(token) => {
                        all.extend([Equals(attr::TOKEN, token.get().into()), Above(attr::EXPIRES_ON, 0)]);
                    }
                    Target::Version { version, expires_on } => all.extend([
                        Missing(attr::TOKEN),
                        Equals(attr::GUID, version.as_str().into()),
                        Equals(attr::EXPIRES_ON, Value::N(expires_on.clone())),
                    ]),
                }
                All(all)
            }
            OpKind::LegacyGet { seen: None, .. } => Missing(attr::GUID),
            OpKind::LegacyGet { seen: Some(seen), .. } => {
                let mut all = vec![Equals(attr::GUID, version_of(seen))];
                // A version that had no token has none for ever: whoever gives one writes a fresh guid.
                all.extend(seen.token().map(|token| Equals(attr::TOKEN, token.get().into())));
                All(all)
            }
        }
    }

    /// A row without `version` is somebody's data. Ours cannot be there yet.
    fn is_a_lock(&self) -> Condition {
        Differs(attr::GUID, self.version.as_str().into())
    }

    /// What the write changes if its condition holds.
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = vec![Set(attr::GUID, self.version.as_str().into())];
        match &self.kind {
            OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } => lease.changes(&mut changes),
            OpKind::Renew { renewal_seq, lease_ms, ends, data, .. } => {
                changes
                    .extend([Set(attr::RENEWAL_SEQ, (*renewal_seq).into()), Set(attr::LEASE_MS, (*lease_ms).into())]);
                ends.changes(&mut changes);
                changes.extend(data.as_deref().map(|data| Set(attr::DATA, data.into())));
            }
            OpKind::Release { ttl, .. } => free(&mut changes, *ttl),
            OpKind::Revoke { target, lease_id } => revoke(&mut changes, target, lease_id),
            OpKind::ForceRevoke { target, lease_id, ttl } => {
                revoke(&mut changes, target, lease_id);
                changes.retain(|change| *change != Set(attr::RENEWAL_SEQ, 0.into()));
                free(&mut changes, *ttl);
            }
            OpKind::LegacyGet { seen, expires_on } => {
                return vec![Replace(legacy(seen.as_ref(), &self.version, *expires_on))];
            }
        }
        changes
    }
}

impl Op {
    /// The whole row that it puts, if it is a put.
    pub fn put(&self) -> Option<Row> {
        self.changes().into_iter().find_map(|change| match change {
            Replace(row) => Some(row),
            _ => None,
        })
    }
}

/// A row of the original's format; the token and all that is not ours are carried on, and so is the payload.
fn legacy(seen: Option<&Row>, version: &RecordVersion, expires_on: u64) -> Row {
    const OURS: [&str; 11] = [
        attr::V,
        attr::LEASE_ID,
        attr::TOKEN,
        attr::EXPIRY_CLOCK,
        attr::REVOKED_TOKEN,
        attr::RENEWAL_SEQ,
        attr::LEASE_MS,
        attr::OWNER,
        attr::ACQUIRED_ON,
        attr::TTL,
        attr::LIVENESS_KEY,
    ];
    let mut row = seen.cloned().unwrap_or_default();
    OURS.iter().for_each(|name| row.remove(name));
    if let Some(token) = seen.and_then(Row::token) {
        row.set(attr::TOKEN, token.next().get().into());
    }
    row.set(attr::GUID, version.as_str().into());
    row.set(attr::EXPIRES_ON, expires_on.into());
    row
}

fn version_of(row: &Row) -> Value {
    // A row without one is never asked for: it is no lock.
    Value::from(row.text(attr::GUID).unwrap_or_default())
}

impl Lease {
    fn changes(&self, changes: &mut Vec<Change>) {
        changes.extend([
            Set(attr::V, 1.into()),
            Set(attr::LEASE_ID, self.lease_id.as_str().into()),
            Next(attr::TOKEN, self.token_floor.get()),
            Set(attr::RENEWAL_SEQ, 0.into()),
            Set(attr::LEASE_MS, self.lease_ms.into()),
            Set(attr::OWNER, self.owner.as_str().into()),
            Set(attr::ACQUIRED_ON, self.acquired_on.into()),
        ]);
        self.ends.changes(changes);
        changes.extend(self.data.as_deref().map(|data| Set(attr::DATA, data.into())));
        changes.push(
            self.liveness_key
                .as_deref()
                .map_or(Remove(attr::LIVENESS_KEY), |liveness_key| Set(attr::LIVENESS_KEY, liveness_key.into())),
        );
        changes.push(Remove(attr::REVOKED_TOKEN));
    }
}

impl Ends {
    fn changes(&self, changes: &mut Vec<Change>) {
        changes.push(Set(attr::EXPIRES_ON, self.expires_on.into()));
        changes.push(if self.service_timestamp {
            Set(attr::EXPIRY_CLOCK, attr::SERVICE_CLOCK.into())
        } else {
            Remove(attr::EXPIRY_CLOCK)
        });
        changes.push(Set(attr::TTL, self.ttl.into()));
    }
}

/// That a row is held by this reign: the condition of every write of a holder, and of a user's own transaction.
pub(crate) fn lease_conditions(lease_id: &LeaseId, token: Option<FencingToken>) -> Vec<Condition> {
    let mut all = vec![Equals(attr::V, 1.into()), Equals(attr::LEASE_ID, lease_id.as_str().into())];
    all.extend(token.map(|token| Equals(attr::TOKEN, token.get().into())));
    all.push(Above(attr::EXPIRES_ON, 0));
    all
}

fn free(changes: &mut Vec<Change>, ttl: u64) {
    changes.extend([Set(attr::EXPIRES_ON, 0.into()), Set(attr::TTL, ttl.into())]);
    let held_only =
        [attr::EXPIRY_CLOCK, attr::RENEWAL_SEQ, attr::LEASE_MS, attr::OWNER, attr::ACQUIRED_ON, attr::LIVENESS_KEY];
    changes.extend(held_only.map(Remove));
}

fn revoke(changes: &mut Vec<Change>, target: &Target, lease_id: &LeaseId) {
    changes.extend([Set(attr::LEASE_ID, lease_id.as_str().into()), Set(attr::RENEWAL_SEQ, 0.into())]);
    if let Target::Token(token) = target {
        changes.extend([Set(attr::TOKEN, token.next().get().into()), Set(attr::REVOKED_TOKEN, token.get().into())]);
    }
}

/// The meaning of an op on a row: the specification that every store is tested against.
pub fn apply(row: Option<&Row>, op: &Op) -> Verdict {
    if !holds(row, &op.condition()) {
        return Verdict::Conflict(row.cloned());
    }
    let mut next = row.cloned().unwrap_or_default();
    for change in op.changes() {
        match change {
            Set(name, value) => next.set(name, value),
            Remove(name) => next.remove(name),
            Replace(row) => next = row,
            Next(name, token_floor) => match next.get(name) {
                None => next.set(name, token_floor.saturating_add(1).into()),
                Some(Value::N(number)) => {
                    let number = number.plus_one();
                    next.set(name, Value::N(number));
                }
                // No condition that comes before a `Next` holds on another type.
                Some(_) => return Verdict::Conflict(row.cloned()),
            },
        }
    }
    Verdict::Applied(next)
}

/// Whether a condition holds on a row. A comparison with a missing attribute, or one of another type, does not.
pub fn holds(row: Option<&Row>, condition: &Condition) -> bool {
    let get = |name: &str| row.and_then(|row| row.get(name));
    let compare = |name: &str, to: u64| match get(name) {
        Some(Value::N(number)) => Some(number.compare(to)),
        _ => None,
    };
    match condition {
        Missing(attr::NAME) => row.is_none(),
        Missing(name) => get(name).is_none(),
        Equals(name, Value::N(to)) if to.whole().is_some() => {
            to.whole().is_some_and(|to| compare(name, to) == Some(Ordering::Equal))
        }
        Equals(name, value) => get(name) == Some(value),
        Differs(name, value) => get(name).is_some_and(|there| there != value),
        Below(name, to) => compare(name, *to) == Some(Ordering::Less),
        Above(name, to) => compare(name, *to) == Some(Ordering::Greater),
        All(all) => all.iter().all(|c| holds(row, c)),
        Any(any) => any.iter().any(|c| holds(row, c)),
    }
}

/// A lease in whole milliseconds, as the row has it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
