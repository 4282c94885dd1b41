//! Writes to the row of a lock, as data.

use crate::{
    Condition, Convert, FencingToken, HoldHistory, LeaseId, LockName, Now, Number, Path, RecordVersion, Row,
    SharedWrite, Value, attr, condition::Condition::All, condition::Condition::Any, condition::above, condition::below,
    condition::differs, condition::equals, condition::missing, npm_format::npm_row, schema::HELD_ONLY,
};

/// A conditional write to one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    /// Name of the lock.
    pub name: LockName,
    /// Record version that the write leaves: fresh for every operation, the same in its retries.
    pub version: RecordVersion,
    /// Meaning of the write.
    pub kind: OpKind,
}

/// Meaning of an [`Op`]. The table in `docs/protocol.md` §3 has a line for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// Acquires a free lock.
    Acquire(Lease),
    /// Acquires a lock after its lease has expired, if the row is still the one that was observed.
    TakeOver {
        /// The new lease.
        lease: Lease,
        /// Record version that was observed.
        seen: RecordVersion,
        /// Token that was observed with it.
        seen_token: Option<FencingToken>,
    },
    /// Renews the lease.
    Renew {
        /// Lease ID of the holder.
        lease_id: LeaseId,
        /// Token of the holder.
        token: FencingToken,
        /// Number of the renewal within the acquisition, from 1.
        renewal_seq: u64,
        /// New lease, in milliseconds.
        lease_ms: u64,
        /// End of the new lease.
        ends: Ends,
        /// New payload. `None` keeps the present one.
        data: Option<String>,
    },
    /// Passes the lock to the next waiter of the same client.
    HandOver {
        /// Lease ID of the holder.
        lease_id: LeaseId,
        /// Token of the holder. The next holder's token is greater by one.
        token: FencingToken,
        /// Lease of the next holder.
        next: NextLease,
    },
    /// Releases the lock.
    Release {
        /// Lease ID of the holder.
        lease_id: LeaseId,
        /// Token of the holder. `None` when cleaning up after an acquire that never received its token.
        token: Option<FencingToken>,
        /// Time for DynamoDB's TTL, in seconds since 1970.
        ttl: u64,
        /// History with the hold that ends. `None` keeps the present one.
        history: Option<HoldHistory>,
    },
    /// Revokes an acquisition. Other clients wait until its lease has expired.
    Revoke {
        /// The acquisition to revoke.
        target: Target,
        /// A fresh lease ID that no client owns, so that the holder's conditional writes fail.
        lease_id: LeaseId,
    },
    /// Revokes an acquisition and frees the lock at once. Unsafe while the holder is alive.
    ForceRevoke {
        /// The acquisition to revoke.
        target: Target,
        /// A fresh lease ID that no client owns, so that the holder's conditional writes fail.
        lease_id: LeaseId,
        /// Time for DynamoDB's TTL, in seconds since 1970.
        ttl: u64,
    },
    /// Writes to a row with several holders.
    Shared(SharedWrite),
    /// Makes a free row one of another kind.
    Convert(Convert),
    /// Replaces the row by one in the format of npm dynamo-lock, as its `getLock` does. This is a put: of the previous
    /// row only the parts remain that a strongly consistent read had returned.
    LegacyGet {
        /// Row that was read. Its lock had expired.
        seen: Option<Row>,
        /// End of the lock, in milliseconds since 1970 on the wall clock of the caller.
        expires_on: u64,
    },
}

/// Attributes that an acquisition writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Lease ID of this operation.
    pub lease_id: LeaseId,
    /// Token floor: if the row has no token, the new token is this plus one.
    pub token_floor: FencingToken,
    /// Lease of the holder, in milliseconds.
    pub lease_ms: u64,
    /// End of the lease.
    pub ends: Ends,
    /// Human-readable label of the holder.
    pub owner: String,
    /// Time of the acquisition on the holder's wall clock, in milliseconds since 1970.
    pub acquired_on: u64,
    /// Payload. `None` keeps the present one.
    pub data: Option<String>,
    /// Liveness key, with which the SQLite store finds out whether the holder is alive.
    pub liveness_key: Option<String>,
}

/// Attributes that a handover writes. The time of the acquisition stays, because the client still holds the lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextLease {
    /// Lease ID of the next holder.
    pub lease_id: LeaseId,
    /// Lease of the next holder, in milliseconds.
    pub lease_ms: u64,
    /// End of the lease.
    pub ends: Ends,
    /// Human-readable label of the next holder.
    pub owner: String,
    /// Payload. `None` keeps the present one.
    pub data: Option<String>,
    /// Liveness key, with which the SQLite store finds out whether the holder is alive.
    pub liveness_key: Option<String>,
}

/// End of a lease as written to the row. The attributes `expiresOn`, `expiryClock` and `ttl` always change together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// End of the lease, in milliseconds since 1970.
    pub expires_on: u64,
    /// Whether `expires_on` is a service timestamp: an upper bound of the lease's end on the service clock.
    pub service_timestamp: bool,
    /// Time for DynamoDB's TTL, in seconds since 1970.
    pub ttl: u64,
}

/// Exactly one acquisition, chosen by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The acquisition with this token.
    Token(FencingToken),
    /// This version of a row that has no token.
    Version {
        /// Record version of the row.
        version: RecordVersion,
        /// Value of its `expiresOn`.
        expires_on: Number,
    },
}

/// Change that a write makes to one value. All other values stay as they are.
///
/// The condition of the write ensures that the map around an entry, or around a field of an entry, exists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Sets a value.
    Set(Path, Value),
    /// Sets a number to its value plus one. If it is missing: to this number plus one, for a token the token floor.
    Next(Path, u64),
    /// Removes a value.
    Remove(Path),
    /// Replaces the whole row by this one. An op with this change has no other changes.
    Replace(Row),
}

use Change::{Next, Remove, Replace, Set};

pub(crate) fn set(path: impl Into<Path>, value: Value) -> Change {
    Set(path.into(), value)
}

pub(crate) fn increment(path: impl Into<Path>, floor: u64) -> Change {
    Next(path.into(), floor)
}

pub(crate) fn remove(path: impl Into<Path>) -> Change {
    Remove(path.into())
}

/// Result of a write, as far as the protocol distinguishes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The write took effect and left this row, which is `None` unless [`OpKind::returns_row`] is `true`.
    Applied(Option<Row>),
    /// The condition did not hold on this row.
    Conflict(Option<Row>),
    /// No usable response: the write may have taken effect, or may still do so.
    Unknown,
    /// The write certainly took no effect. Try again later.
    Throttled,
}

impl Op {
    /// Returns a write with a fresh record version.
    pub(crate) fn new(name: &LockName, kind: OpKind, now: &Now<'_>) -> Self {
        Self { name: name.clone(), version: RecordVersion::from_random(now.entropy.version), kind }
    }

    /// Returns the condition under which the write takes effect.
    pub fn condition(&self) -> Condition {
        match &self.kind {
            OpKind::Acquire(lease) => Any(vec![
                missing(attr::NAME),
                All(vec![
                    equals(attr::V, 1.into()),
                    missing(attr::KIND),
                    self.row_is_lock(),
                    equals(attr::EXPIRES_ON, 0.into()),
                    above(attr::TOKEN, 0),
                    below(attr::TOKEN, FencingToken::MAX.get()),
                    differs(attr::LEASE_ID, lease.lease_id.as_str().into()),
                ]),
            ]),
            OpKind::TakeOver { seen, seen_token, .. } => All(vec![
                equals(attr::GUID, seen.as_str().into()),
                match seen_token {
                    Some(token) => equals(attr::TOKEN, token.get().into()),
                    None => missing(attr::TOKEN),
                },
            ]),
            OpKind::Renew { lease_id, token, renewal_seq, .. } => {
                let mut all = Condition::held_under(lease_id, Some(*token));
                all.push(below(attr::RENEWAL_SEQ, *renewal_seq));
                All(all)
            }
            OpKind::HandOver { lease_id, token, .. } => {
                let mut all = Condition::held_under(lease_id, Some(*token));
                // A row with a malformed counter is released instead. Stores would refuse to increase it.
                all.extend([missing(attr::KIND), Condition::counts_handovers()]);
                All(all)
            }
            OpKind::Release { lease_id, token, .. } => All(Condition::held_under(lease_id, *token)),
            OpKind::Revoke { target, lease_id } | OpKind::ForceRevoke { target, lease_id, .. } => {
                // A native row without a lease ID has the attributes of an unreleased version, which is never changed.
                let native = All(vec![equals(attr::V, 1.into()), differs(attr::LEASE_ID, lease_id.as_str().into())]);
                let known_format = Any(vec![missing(attr::V), native]);
                let mut all = vec![known_format, missing(attr::KIND), self.row_is_lock()];
                all.extend(target.conditions());
                All(all)
            }
            OpKind::Shared(write) => All(write.conditions(&self.version)),
            OpKind::Convert(convert) => All(convert.conditions()),
            OpKind::LegacyGet { seen: None, .. } => missing(attr::GUID),
            OpKind::LegacyGet { seen: Some(seen), .. } => {
                let version = seen.text(attr::GUID).unwrap_or_default();
                let mut all = vec![equals(attr::GUID, version.into())];
                // A version without a token never gets one, because every write that adds a token changes the version.
                all.extend(seen.token().map(|token| equals(attr::TOKEN, token.get().into())));
                All(all)
            }
        }
    }

    /// Returns a condition that holds if the row has a record version, because a row without one is not a lock. This
    /// operation's own version cannot be in the row yet.
    fn row_is_lock(&self) -> Condition {
        differs(attr::GUID, self.version.as_str().into())
    }

    /// Returns the attributes that the write sets, as a row without all others.
    pub(crate) fn written(&self) -> Row {
        let set = |change| match change {
            Set(Path::Attribute(name), value) => Some((name.to_owned(), value)),
            _ => None,
        };
        Row::new(self.changes().into_iter().filter_map(set))
    }

    /// Returns the changes that the write makes if its condition holds.
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = vec![set(attr::GUID, self.version.as_str().into())];
        match &self.kind {
            OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } => changes.extend(lease.changes()),
            OpKind::Renew { renewal_seq, lease_ms, ends, data, .. } => {
                let seq = set(attr::RENEWAL_SEQ, (*renewal_seq).into());
                changes.extend([seq, set(attr::LEASE_MS, (*lease_ms).into())]);
                changes.extend(ends.changes());
                changes.extend(data.as_deref().map(|data| set(attr::DATA, data.into())));
            }
            OpKind::HandOver { token, next, .. } => {
                changes.extend([set(attr::TOKEN, token.next().get().into()), increment(attr::HANDOVERS, 0)]);
                changes.extend(next.changes());
            }
            OpKind::Release { ttl, history, .. } => {
                changes.extend(free(*ttl));
                changes.extend(history.iter().flat_map(history_changes));
            }
            OpKind::Revoke { target, lease_id } => changes.extend(revoke(target, lease_id)),
            OpKind::ForceRevoke { target, lease_id, ttl } => {
                changes.extend(revoke(target, lease_id));
                changes.retain(|change| *change != set(attr::RENEWAL_SEQ, 0.into()));
                changes.extend(free(*ttl));
            }
            OpKind::Shared(write) => changes.extend(write.changes()),
            OpKind::Convert(convert) => changes.extend(convert.changes()),
            OpKind::LegacyGet { seen, expires_on } => {
                return vec![Replace(npm_row(seen.as_ref(), &self.version, *expires_on))];
            }
        }
        changes
    }
}

impl OpKind {
    /// Returns whether the writer needs the row that the write leaves, because the row contains its token or the other
    /// holders. Writes of the other kinds leave nothing that their writer needs to know.
    pub fn returns_row(&self) -> bool {
        match self {
            Self::Acquire(_) | Self::TakeOver { .. } => true,
            Self::Shared(write) => write.op.returns_row(),
            _ => false,
        }
    }

    /// Returns whether the write may let a waiter acquire: it leaves the lock free, or removes one of its holders.
    pub fn frees_lock(&self) -> bool {
        match self {
            Self::Release { .. } | Self::ForceRevoke { .. } => true,
            Self::Shared(write) => write.op.frees(),
            _ => false,
        }
    }
}

impl Target {
    fn conditions(&self) -> Vec<Condition> {
        match self {
            Self::Token(token) => vec![equals(attr::TOKEN, token.get().into()), above(attr::EXPIRES_ON, 0)],
            Self::Version { version, expires_on } => vec![
                missing(attr::TOKEN),
                equals(attr::GUID, version.as_str().into()),
                equals(attr::EXPIRES_ON, Value::N(expires_on.clone())),
            ],
        }
    }
}

impl Lease {
    fn changes(&self) -> Vec<Change> {
        let mut changes = vec![
            set(attr::V, 1.into()),
            set(attr::LEASE_ID, self.lease_id.as_str().into()),
            increment(attr::TOKEN, self.token_floor.get()),
            set(attr::RENEWAL_SEQ, 0.into()),
            set(attr::LEASE_MS, self.lease_ms.into()),
            set(attr::OWNER, self.owner.as_str().into()),
            set(attr::ACQUIRED_ON, self.acquired_on.into()),
        ];
        changes.extend(self.ends.changes());
        changes.extend(self.data.as_deref().map(|data| set(attr::DATA, data.into())));
        changes.extend([liveness_key(self.liveness_key.as_deref()), remove(attr::REVOKED_TOKEN)]);
        changes
    }
}

impl NextLease {
    fn changes(&self) -> Vec<Change> {
        let mut changes = vec![
            set(attr::LEASE_ID, self.lease_id.as_str().into()),
            set(attr::RENEWAL_SEQ, 0.into()),
            set(attr::LEASE_MS, self.lease_ms.into()),
            set(attr::OWNER, self.owner.as_str().into()),
        ];
        changes.extend(self.ends.changes());
        changes.extend(self.data.as_deref().map(|data| set(attr::DATA, data.into())));
        changes.extend([liveness_key(self.liveness_key.as_deref()), remove(attr::REVOKED_TOKEN)]);
        changes
    }
}

/// Returns the change that sets or removes the liveness key.
fn liveness_key(key: Option<&str>) -> Change {
    key.map_or(remove(attr::LIVENESS_KEY), |key| set(attr::LIVENESS_KEY, key.into()))
}

impl Ends {
    fn changes(&self) -> [Change; 3] {
        let clock = match self.service_timestamp {
            true => set(attr::EXPIRY_CLOCK, attr::SERVICE_CLOCK.into()),
            false => remove(attr::EXPIRY_CLOCK),
        };
        [set(attr::EXPIRES_ON, self.expires_on.into()), clock, set(attr::TTL, self.ttl.into())]
    }
}

/// Returns the changes that free a lock. Token, lease ID and payload stay.
fn free(ttl: u64) -> Vec<Change> {
    let mut changes = vec![set(attr::EXPIRES_ON, 0.into()), set(attr::TTL, ttl.into())];
    changes.extend(HELD_ONLY.map(remove));
    changes
}

/// Returns the changes that store a history.
fn history_changes(history: &HoldHistory) -> [Change; 2] {
    [
        set(attr::RECENT_HOLDS_MS, history.holds_text().as_str().into()),
        set(attr::WAITER_ESTIMATE, u64::from(history.waiters()).into()),
    ]
}

/// Returns the changes that make the holder's writes fail. The end of the lease stays.
fn revoke(target: &Target, lease_id: &LeaseId) -> Vec<Change> {
    let mut changes = vec![set(attr::LEASE_ID, lease_id.as_str().into()), set(attr::RENEWAL_SEQ, 0.into())];
    if let Target::Token(token) = target {
        changes.extend([set(attr::TOKEN, token.next().get().into()), set(attr::REVOKED_TOKEN, token.get().into())]);
    }
    changes
}
