//! Writes to the row of a lock, as data.

use crate::{
    Change, Condition, Convert, Done, EndedHold, Ends, FencingToken, HoldHistory, Kind, Lease, LeaseId, LockName,
    NextLease, Now, Path, RecordVersion, Row, SharedWrite, Target, attr, change::increment, change::remove,
    change::set, condition::Condition::All, condition::Condition::Any, condition::above, condition::below,
    condition::differs, condition::equals, condition::missing, npm_format::npm_row, schema::DONE_ONLY,
    schema::HELD_ONLY,
};

use Change::{Replace, Set};

/// A conditional write to one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    /// Name of the lock.
    pub name: LockName,
    /// Record version that the write leaves: fresh for every operation, the same in its retries.
    pub version: RecordVersion,
    /// Kind of the row that the operation is for.
    pub row_kind: Kind,
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
        /// Record of the hold that ends. `None` keeps the present record.
        ended: Option<EndedHold>,
    },
    /// Starts work anew after its success has ceased to count, if the row is still the one that was observed.
    StartAnew {
        /// The new lease.
        lease: Lease,
        /// Record version that was observed.
        seen: RecordVersion,
        /// Token of the success.
        token: FencingToken,
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
        /// Record of the hold that ends. `None` keeps the present record.
        ended: Option<EndedHold>,
    },
    /// Records the success of the holder's work, in place of the release. The row stays until the success is reset.
    Finish {
        /// Lease ID of the holder.
        lease_id: LeaseId,
        /// Token of the holder.
        token: FencingToken,
        /// The success.
        done: Done,
        /// A fresh lease ID that no client owns, so that late writes of the holder fail.
        next_lease_id: LeaseId,
        /// Record of the hold that ends. `None` keeps the present record.
        ended: Option<EndedHold>,
    },
    /// Forgets a success, so that the work may run again.
    Reset {
        /// Token of the success.
        token: FencingToken,
        /// A fresh lease ID that no client owns.
        lease_id: LeaseId,
        /// Time for DynamoDB's TTL, in seconds since 1970.
        ttl: u64,
    },
    /// Revokes an acquisition. Other clients wait until its lease has expired.
    Revoke {
        /// The acquisition to revoke.
        target: Target,
        /// A fresh lease ID that no client owns, so that the holder's conditional writes fail.
        lease_id: LeaseId,
        /// Record of the hold that ends. `None` keeps the present record.
        ended: Option<EndedHold>,
    },
    /// Revokes an acquisition and frees the lock at once. Unsafe while the holder is alive.
    ForceRevoke {
        /// The acquisition to revoke.
        target: Target,
        /// A fresh lease ID that no client owns, so that the holder's conditional writes fail.
        lease_id: LeaseId,
        /// Time for DynamoDB's TTL, in seconds since 1970.
        ttl: u64,
        /// Record of the hold that ends. `None` keeps the present record.
        ended: Option<EndedHold>,
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
    pub(crate) fn new(name: &LockName, row_kind: Kind, kind: OpKind, now: &Now<'_>) -> Self {
        Self { name: name.clone(), version: RecordVersion::from_random(now.entropy.version), row_kind, kind }
    }

    /// Returns the condition under which the write takes effect.
    pub fn condition(&self) -> Condition {
        match &self.kind {
            OpKind::Acquire(lease) => self.free_condition(lease),
            OpKind::TakeOver { seen, seen_token, .. } => {
                let token = match seen_token {
                    Some(token) => equals(attr::TOKEN, token.get().into()),
                    None => missing(attr::TOKEN),
                };
                let mut all = vec![equals(attr::GUID, seen.as_str().into()), token];
                all.extend(self.own_kind());
                all.extend(self.unfinished());
                All(all)
            }
            OpKind::StartAnew { seen, token, .. } => All(vec![
                equals(attr::GUID, seen.as_str().into()),
                equals(attr::TOKEN, token.get().into()),
                self.row_kind.condition(),
                equals(attr::DONE_TOKEN, token.get().into()),
            ]),
            OpKind::Renew { lease_id, token, renewal_seq, .. } => {
                let mut all = Condition::held_under(lease_id, Some(*token));
                all.push(below(attr::RENEWAL_SEQ, *renewal_seq));
                all.extend(self.own_kind());
                All(all)
            }
            OpKind::Finish { lease_id, token, .. } => {
                let mut all = Condition::held_under(lease_id, Some(*token));
                all.push(self.row_kind.condition());
                all.extend(self.unfinished());
                All(all)
            }
            OpKind::Reset { token, lease_id, .. } => All(vec![
                equals(attr::V, 1.into()),
                self.row_kind.condition(),
                self.row_is_lock(),
                equals(attr::TOKEN, token.get().into()),
                equals(attr::DONE_TOKEN, token.get().into()),
                differs(attr::LEASE_ID, lease_id.as_str().into()),
            ]),
            OpKind::HandOver { lease_id, token, .. } => {
                let mut all = Condition::held_under(lease_id, Some(*token));
                // A row with a malformed counter is released instead. Stores would refuse to increase it.
                all.extend([missing(attr::KIND), Condition::counts_handovers()]);
                All(all)
            }
            OpKind::Release { lease_id, token, .. } => {
                let mut all = Condition::held_under(lease_id, *token);
                all.extend(self.own_kind());
                All(all)
            }
            OpKind::Revoke { target, lease_id, .. } | OpKind::ForceRevoke { target, lease_id, .. } => {
                self.revocable_condition(target, lease_id)
            }
            OpKind::Shared(write) => All(write.conditions(self.row_kind, &self.version)),
            OpKind::Convert(convert) => All(convert.conditions()),
            OpKind::LegacyGet { seen, .. } => legacy_condition(seen.as_ref()),
        }
    }

    /// Returns the condition of an acquisition of a free lock.
    fn free_condition(&self, lease: &Lease) -> Condition {
        let mut free = vec![
            equals(attr::V, 1.into()),
            self.row_kind.condition(),
            self.row_is_lock(),
            equals(attr::EXPIRES_ON, 0.into()),
            above(attr::TOKEN, 0),
            below(attr::TOKEN, FencingToken::MAX.get()),
            differs(attr::LEASE_ID, lease.lease_id.as_str().into()),
        ];
        free.extend(self.unfinished());
        Any(vec![missing(attr::NAME), All(free)])
    }

    /// Returns the condition of a revocation of this target.
    fn revocable_condition(&self, target: &Target, lease_id: &LeaseId) -> Condition {
        // A native row without a lease ID has the attributes of an unreleased version, which is never changed.
        let native = All(vec![equals(attr::V, 1.into()), differs(attr::LEASE_ID, lease_id.as_str().into())]);
        let known_format = Any(vec![missing(attr::V), native]);
        // A token is that of one acquisition, whatever its kind, so that an operator need not know the kind.
        let known_kind = Any(vec![Kind::Mutex.condition(), Kind::Once.condition()]);
        let mut all = vec![known_format, known_kind, self.row_is_lock(), missing(attr::DONE_TOKEN)];
        all.extend(target.conditions());
        All(all)
    }

    /// Returns the conjunct that a row has this operation's kind. Rows of plain locks need none where the lease ID or
    /// the record version identifies the row.
    fn own_kind(&self) -> Option<Condition> {
        (self.row_kind != Kind::Mutex).then(|| self.row_kind.condition())
    }

    /// Returns the conjunct that a success is not recorded, for kinds that record one.
    fn unfinished(&self) -> Option<Condition> {
        (self.row_kind == Kind::Once).then_some(missing(attr::DONE_TOKEN))
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

    /// Returns the record of the hold that the write ends.
    pub(crate) fn ended(&self) -> Option<&EndedHold> {
        match &self.kind {
            OpKind::TakeOver { ended, .. } | OpKind::Release { ended, .. } | OpKind::Finish { ended, .. } => {
                ended.as_ref()
            }
            OpKind::Revoke { ended, .. } | OpKind::ForceRevoke { ended, .. } => ended.as_ref(),
            _ => None,
        }
    }

    /// Returns the changes that the write makes if its condition holds.
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = vec![set(attr::GUID, self.version.as_str().into())];
        changes.extend(self.ended().into_iter().flat_map(EndedHold::changes));
        match &self.kind {
            OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } => changes.extend(lease.changes()),
            OpKind::StartAnew { lease, .. } => {
                changes.extend(lease.changes());
                changes.extend(DONE_ONLY.map(remove));
            }
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
            OpKind::Finish { token, done, next_lease_id, .. } => {
                changes.push(set(attr::LEASE_ID, next_lease_id.as_str().into()));
                changes.extend(done.changes(*token));
            }
            OpKind::Reset { token, lease_id, ttl } => {
                changes.push(set(attr::LEASE_ID, lease_id.as_str().into()));
                changes.push(set(attr::TOKEN, token.next().get().into()));
                changes.extend(free(*ttl));
                changes.extend(DONE_ONLY.map(remove));
            }
            OpKind::Revoke { target, lease_id, .. } => changes.extend(target.changes(lease_id)),
            OpKind::ForceRevoke { target, lease_id, ttl, .. } => {
                changes.extend(target.changes(lease_id));
                changes.retain(|change| *change != set(attr::RENEWAL_SEQ, 0.into()));
                changes.extend(free(*ttl));
            }
            OpKind::Shared(write) => changes.extend(write.changes(self.row_kind)),
            OpKind::Convert(convert) => changes.extend(convert.changes(self.row_kind)),
            OpKind::LegacyGet { seen, expires_on } => {
                return vec![Replace(npm_row(seen.as_ref(), &self.version, *expires_on))];
            }
        }
        let is_acquisition =
            matches!(self.kind, OpKind::Acquire(_) | OpKind::TakeOver { .. } | OpKind::StartAnew { .. });
        changes.extend(self.row_kind.value().filter(|_| is_acquisition).map(|kind| set(attr::KIND, kind.into())));
        changes
    }
}

impl OpKind {
    /// Returns whether the writer needs the row that the write leaves, because the row contains its token or the other
    /// holders. Writes of the other kinds leave nothing that their writer needs to know.
    pub fn returns_row(&self) -> bool {
        match self {
            Self::Acquire(_) | Self::TakeOver { .. } | Self::StartAnew { .. } => true,
            Self::Shared(write) => write.op.returns_row(),
            _ => false,
        }
    }

    /// Returns whether waiters need not wait any longer after the write: the lock is free or has one holder less, or its
    /// work is done.
    pub fn frees_lock(&self) -> bool {
        match self {
            Self::Release { .. } | Self::Finish { .. } | Self::Reset { .. } | Self::ForceRevoke { .. } => true,
            Self::Shared(write) => write.op.frees(),
            _ => false,
        }
    }
}

/// Returns the condition of a put in the format of npm dynamo-lock over this row.
fn legacy_condition(seen: Option<&Row>) -> Condition {
    let Some(seen) = seen else { return missing(attr::GUID) };
    let version = seen.text(attr::GUID).unwrap_or_default();
    let mut all = vec![equals(attr::GUID, version.into())];
    // A version without a token never gets one, because every write that adds a token changes the version.
    all.extend(seen.token().map(|token| equals(attr::TOKEN, token.get().into())));
    All(all)
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
