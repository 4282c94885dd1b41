//! Writes to a shared row, as data. Each concerns one entry of its holders.

use std::collections::BTreeMap;

use crate::{
    Change, Condition, EntryKey, FencingToken, Kind, LeaseId, Path, RecordVersion, Value, attr, change::increment,
    change::remove, change::set, condition::Condition::Exists, condition::Condition::IsMap,
    condition::Condition::SizeBelow, condition::Condition::SizeIs, condition::above, condition::below,
    condition::differs, condition::equals, condition::missing, npm_format::NEVER_MS,
};

/// A conditional write to a shared row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedWrite {
    /// Time for DynamoDB's TTL, in seconds since 1970. `None` removes it, so that the row is not deleted: a wall clock
    /// that is slow could otherwise end the entries of others.
    pub ttl: Option<u64>,
    /// Meaning of the write.
    pub op: SharedOp,
}

/// Meaning of a [`SharedWrite`]. The table in `docs/protocol-shared.md` has a line for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SharedOp {
    /// Creates the row with one holder.
    Create {
        /// Maximum number of holders. Only for display.
        limit: u64,
        /// Token floor: the first token is this plus one.
        token_floor: FencingToken,
        /// Whether the holder holds the row alone.
        exclusive: bool,
        /// The holder.
        entry: NewEntry,
    },
    /// Adds a shared holder.
    Join {
        /// Maximum number of holders.
        limit: u64,
        /// The holder.
        entry: NewEntry,
    },
    /// Adds a writer to a row without holders.
    TakeExclusive {
        /// The writer.
        entry: NewEntry,
    },
    /// Adds a writer that waits until the readers have left. Further readers cannot join beside it.
    Announce {
        /// The writer.
        entry: NewEntry,
    },
    /// Makes the waiting writer the holder, once it is alone.
    Promote {
        /// Lease ID of the writer.
        lease_id: LeaseId,
        /// New lease of the entry.
        lease: EntryLease,
        /// Time of the acquisition on the writer's wall clock, in milliseconds since 1970.
        acquired_on: u64,
    },
    /// Renews the lease of an entry.
    Renew {
        /// The entry.
        holder: SharedHolder,
        /// Token of the holder. A waiting writer has none.
        token: Option<FencingToken>,
        /// New lease of the entry.
        lease: EntryLease,
    },
    /// Removes the writer's own entry: a holder leaves, or a waiting writer withdraws.
    Leave {
        /// The entry.
        holder: SharedHolder,
    },
    /// Removes an expired entry, if it is still the one that was observed.
    Evict {
        /// The entry.
        holder: SharedHolder,
        /// Renewal sequence number that was observed.
        seen_seq: u64,
    },
    /// Makes the renewals of a holder fail. Other clients wait until its lease has expired.
    Revoke {
        /// The entry.
        holder: SharedHolder,
    },
    /// Removes the entry of a holder at once. Unsafe while the holder is alive.
    ForceOut {
        /// The entry.
        holder: SharedHolder,
    },
}

/// An entry of a shared row, by its owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedHolder {
    /// Lease ID of the owner.
    pub lease_id: LeaseId,
    /// Role of the entry.
    pub role: Role,
}

/// Role of an entry of a shared row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Holds the row beside others.
    Shared,
    /// Holds the row alone.
    Exclusive,
    /// Waits to hold the row alone, and holds nothing yet.
    Waiting,
}

impl Role {
    /// Returns whether this is the role of a writer, whose entry has a key of its own.
    pub(crate) fn is_writer(self) -> bool {
        self != Self::Shared
    }
}

/// Entry that an acquisition adds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NewEntry {
    /// Lease ID of this operation.
    pub lease_id: LeaseId,
    /// Lease of the holder, in milliseconds.
    pub lease_ms: u64,
    /// End of the lease as a service timestamp, in milliseconds since 1970. `None` if the service time is not known.
    pub expires_on: Option<u64>,
    /// Human-readable label of the holder.
    pub owner: String,
    /// Time of the acquisition on the holder's wall clock, in milliseconds since 1970.
    pub acquired_on: u64,
    /// Liveness key, with which the SQLite store finds out whether the holder is alive.
    pub liveness_key: Option<String>,
}

/// Lease of an entry, as a renewal writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryLease {
    /// Number of the renewal, from 1. A number that was sent is used up.
    pub renewal_seq: u64,
    /// Lease of the holder, in milliseconds.
    pub lease_ms: u64,
    /// End of the lease as a service timestamp, in milliseconds since 1970. `None` if the service time is not known.
    pub expires_on: Option<u64>,
}

/// Value of `forcedLeaseId` in a row of which no holder was forced out.
pub(crate) const NOT_FORCED: &str = "none";

const WRITER: EntryKey = EntryKey::Exclusive;

impl SharedWrite {
    /// Returns the name of the write, as in `docs/protocol-shared.md`.
    pub fn name(&self) -> &'static str {
        let of = |role: Role, names: [&'static str; 3]| match role {
            Role::Shared => names[0],
            Role::Exclusive => names[1],
            Role::Waiting => names[2],
        };
        match &self.op {
            SharedOp::Create { exclusive: false, .. } => "create shared",
            SharedOp::Create { exclusive: true, .. } => "create exclusive",
            SharedOp::Join { .. } => "join",
            SharedOp::TakeExclusive { .. } => "take exclusive",
            SharedOp::Announce { .. } => "announce",
            SharedOp::Promote { .. } => "promote",
            SharedOp::Renew { holder, .. } => {
                of(holder.role, ["renew shared", "renew exclusive", "renew announcement"])
            }
            SharedOp::Leave { holder } => of(holder.role, ["leave shared", "leave exclusive", "withdraw"]),
            SharedOp::Evict { holder, .. } => {
                of(holder.role, ["evict shared", "evict exclusive", "evict announcement"])
            }
            SharedOp::Revoke { holder } => {
                of(holder.role, ["revoke shared", "revoke exclusive", "revoke announcement"])
            }
            SharedOp::ForceOut { holder } => {
                of(holder.role, ["force out shared", "force out exclusive", "force out announcement"])
            }
        }
    }

    /// Returns the condition under which the write takes effect. `version` is the record version of the write.
    pub(crate) fn conditions(&self, kind: Kind, version: &RecordVersion) -> Vec<Condition> {
        if matches!(self.op, SharedOp::Create { .. }) {
            return vec![missing(attr::NAME)];
        }
        let mut all = vec![equals(attr::V, 1.into()), kind.condition()];
        all.extend(self.op.conditions());
        if let SharedOp::Join { entry, .. } | SharedOp::TakeExclusive { entry } | SharedOp::Announce { entry } =
            &self.op
        {
            // A row without a record version is not a lock. This operation's own version cannot be in the row yet.
            all.push(differs(attr::GUID, version.as_str().into()));
            all.push(differs(attr::FORCED_LEASE_ID, entry.lease_id.as_str().into()));
            all.extend(usable_token());
        } else if self.op.increases_token() {
            all.extend(usable_token());
        }
        all
    }

    /// Returns the changes besides the record version.
    pub(crate) fn changes(&self, kind: Kind) -> Vec<Change> {
        let mut changes = self.op.changes(kind);
        if self.op.increases_token() {
            changes.push(increment(attr::TOKEN, self.op.token_floor()));
        }
        changes.push(self.ttl.map_or(remove(attr::TTL), |ttl| set(attr::TTL, ttl.into())));
        changes
    }
}

impl SharedOp {
    /// Returns whether the writer needs the row that the write leaves: for its token, or to observe the other entries.
    pub(crate) fn returns_row(&self) -> bool {
        match self {
            Self::Create { .. } | Self::Join { .. } | Self::TakeExclusive { .. } | Self::Announce { .. } => true,
            Self::Promote { .. } | Self::Evict { .. } => true,
            Self::Renew { holder, .. } => holder.role == Role::Waiting,
            Self::Leave { .. } | Self::Revoke { .. } | Self::ForceOut { .. } => false,
        }
    }

    /// Returns whether the write removes an entry, so that another client may acquire.
    pub(crate) fn frees(&self) -> bool {
        matches!(self, Self::Leave { .. } | Self::Evict { .. } | Self::ForceOut { .. })
    }

    /// Returns whether the write increases the token: it begins or ends a time in which a writer holds the row.
    fn increases_token(&self) -> bool {
        match self {
            Self::Create { .. } | Self::TakeExclusive { .. } | Self::Promote { .. } => true,
            Self::Leave { holder } | Self::Evict { holder, .. } | Self::ForceOut { holder } => {
                holder.role == Role::Exclusive
            }
            Self::Join { .. } | Self::Announce { .. } | Self::Renew { .. } | Self::Revoke { .. } => false,
        }
    }

    fn token_floor(&self) -> u64 {
        if let Self::Create { token_floor, .. } = self { token_floor.get() } else { 0 }
    }

    fn conditions(&self) -> Vec<Condition> {
        match self {
            Self::Create { .. } => Vec::new(),
            Self::Join { limit, entry } => vec![
                missing(Path::Entry(WRITER)),
                SizeBelow(attr::HOLDERS.into(), *limit),
                missing(Path::Entry(EntryKey::Shared(entry.lease_id.clone()))),
            ],
            Self::TakeExclusive { .. } => vec![SizeIs(attr::HOLDERS.into(), 0)],
            Self::Announce { .. } => vec![IsMap(attr::HOLDERS.into()), missing(Path::Entry(WRITER))],
            Self::Promote { lease_id, lease, .. } => vec![
                SizeIs(attr::HOLDERS.into(), 1),
                writer_is(lease_id),
                below(Path::Field(WRITER, attr::RENEWAL_SEQ), lease.renewal_seq),
                missing(Path::Field(WRITER, attr::REVOKED)),
            ],
            Self::Renew { holder, token, lease } => {
                let mut all: Vec<_> = token.iter().map(|token| equals(attr::TOKEN, token.get().into())).collect();
                all.extend(holder.is_there());
                all.push(below(holder.field(attr::RENEWAL_SEQ), lease.renewal_seq));
                all.push(missing(holder.field(attr::REVOKED)));
                all.extend((holder.role == Role::Waiting).then(|| missing(holder.field(attr::HELD))));
                all
            }
            Self::Leave { holder } | Self::ForceOut { holder } => match holder.role {
                Role::Shared => vec![Exists(Path::Entry(holder.key()))],
                Role::Exclusive => {
                    vec![writer_is(&holder.lease_id), equals(holder.field(attr::HELD), Value::Bool(true))]
                }
                Role::Waiting => vec![writer_is(&holder.lease_id), missing(holder.field(attr::HELD))],
            },
            Self::Evict { holder, seen_seq } => {
                // The number shows whether a writer held or waited, because a promotion changes it.
                let mut all: Vec<_> = holder.is_there().into_iter().collect();
                all.push(equals(holder.field(attr::RENEWAL_SEQ), (*seen_seq).into()));
                all
            }
            // Without the type, a store would refuse to set a field of an entry that is no map.
            Self::Revoke { holder } => vec![holder.is_there().unwrap_or(IsMap(Path::Entry(holder.key())))],
        }
    }

    fn changes(&self, kind: Kind) -> Vec<Change> {
        match self {
            Self::Create { limit, exclusive, entry, .. } => {
                let role = if *exclusive { Role::Exclusive } else { Role::Shared };
                let (key, value) = entry.with_role(role);
                let holders = BTreeMap::from([(key.as_str().to_owned(), value)]);
                let mut changes = vec![set(attr::V, 1.into()), set(attr::LIMIT, (*limit).into())];
                changes.extend(kind.value().map(|kind| set(attr::KIND, kind.into())));
                changes.extend([set(attr::EXPIRES_ON, NEVER_MS.into()), set(attr::HOLDERS, Value::Map(holders))]);
                changes.push(set(attr::FORCED_LEASE_ID, NOT_FORCED.into()));
                changes
            }
            Self::Join { limit, entry } => vec![set(attr::LIMIT, (*limit).into()), entry.change(Role::Shared)],
            Self::TakeExclusive { entry } => vec![entry.change(Role::Exclusive)],
            Self::Announce { entry } => vec![entry.change(Role::Waiting)],
            Self::Promote { lease, acquired_on, .. } => {
                let mut changes = lease.changes(&WRITER);
                changes.push(set(Path::Field(WRITER, attr::HELD), Value::Bool(true)));
                changes.push(set(Path::Field(WRITER, attr::ACQUIRED_ON), (*acquired_on).into()));
                changes
            }
            Self::Renew { holder, lease, .. } => lease.changes(&holder.key()),
            Self::Leave { holder } | Self::Evict { holder, .. } => vec![remove(Path::Entry(holder.key()))],
            Self::Revoke { holder } => vec![set(holder.field(attr::REVOKED), Value::Bool(true))],
            Self::ForceOut { holder } => {
                let forced = set(attr::FORCED_LEASE_ID, holder.lease_id.as_str().into());
                vec![remove(Path::Entry(holder.key())), forced]
            }
        }
    }
}

impl SharedHolder {
    /// Returns the key of the entry.
    pub fn key(&self) -> EntryKey {
        match self.role {
            Role::Shared => EntryKey::Shared(self.lease_id.clone()),
            Role::Exclusive | Role::Waiting => WRITER,
        }
    }

    fn field(&self, name: &'static str) -> Path {
        Path::Field(self.key(), name)
    }

    /// Returns the conjunct that the entry of a writer is its own. A shared entry has the lease ID as its key.
    fn is_there(&self) -> Option<Condition> {
        (self.role != Role::Shared).then(|| writer_is(&self.lease_id))
    }

    /// Returns the condition that holds on a row for as long as this entry holds it under `token`: the condition check
    /// for a user's own transaction.
    pub fn holds_under(&self, kind: Kind, token: FencingToken) -> Condition {
        let mut all = vec![equals(attr::V, 1.into()), kind.condition(), equals(attr::TOKEN, token.get().into())];
        match self.role {
            Role::Shared => all.push(Exists(Path::Entry(self.key()))),
            _ => all.extend([writer_is(&self.lease_id), equals(self.field(attr::HELD), Value::Bool(true))]),
        }
        all.push(missing(self.field(attr::REVOKED)));
        Condition::All(all)
    }
}

/// Returns the conjunct that the exclusive entry has this lease ID.
fn writer_is(lease_id: &LeaseId) -> Condition {
    equals(Path::Field(WRITER, attr::LEASE_ID), lease_id.as_str().into())
}

/// Returns the conjuncts that the row has a token, and that a greater one can follow.
fn usable_token() -> [Condition; 2] {
    [above(attr::TOKEN, 0), below(attr::TOKEN, FencingToken::MAX.get())]
}

impl NewEntry {
    /// Returns the key of the entry and its value.
    fn with_role(&self, role: Role) -> (EntryKey, Value) {
        let mut fields: BTreeMap<String, Value> = BTreeMap::new();
        let mut put = |name: &str, value| fields.insert(name.to_owned(), value);
        put(attr::RENEWAL_SEQ, 0.into());
        put(attr::LEASE_MS, self.lease_ms.into());
        put(attr::OWNER, self.owner.as_str().into());
        put(attr::ACQUIRED_ON, self.acquired_on.into());
        self.expires_on.map(|end| put(attr::EXPIRES_ON, end.into()));
        self.liveness_key.as_deref().map(|key| put(attr::LIVENESS_KEY, key.into()));
        if role != Role::Shared {
            put(attr::LEASE_ID, self.lease_id.as_str().into());
        }
        if role == Role::Exclusive {
            put(attr::HELD, Value::Bool(true));
        }
        (SharedHolder { lease_id: self.lease_id.clone(), role }.key(), Value::Map(fields))
    }

    fn change(&self, role: Role) -> Change {
        let (key, value) = self.with_role(role);
        set(Path::Entry(key), value)
    }
}

impl EntryLease {
    fn changes(&self, key: &EntryKey) -> Vec<Change> {
        let field = |name| Path::Field(key.clone(), name);
        let end = field(attr::EXPIRES_ON);
        vec![
            set(field(attr::RENEWAL_SEQ), self.renewal_seq.into()),
            set(field(attr::LEASE_MS), self.lease_ms.into()),
            self.expires_on.map_or(Change::Remove(end.clone()), |expires_on| set(end, expires_on.into())),
        ]
    }
}
