//! Mutants: faults that are put into a simulation on purpose, to prove that its checks notice them.
//!
//! A [`Mutant`] leaves the product's code as it is. It changes the meaning of the writes in the table, or the clocks,
//! dates, random bits and answers that the product receives, so the compiler checks every mutant. [`list::all`] lists
//! them with the expected result, and [`command::main`] searches for each. `cargo-mutants` generates the mutants of the
//! product's own code (`.cargo/mutants.toml`).

pub mod command;
pub mod entries;
mod entry_list;
mod equivalent;
pub mod list;

use std::fmt;

use dynamo_lock_protocol::{Change, Condition, Op, OpKind, Row, Value, Verdict, apply, holds};

/// A named fault with its expected result.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Name for the command line, unique in the list.
    pub name: String,
    /// The fault itself.
    pub config: MutantConfig,
    /// Configuration in which the explorer finds a counterexample. `None` if the explorer has no hook for the fault.
    pub explore: Option<&'static str>,
    /// Whether the worlds have a hook for the fault.
    pub worlds: bool,
    /// Result that a search must have.
    pub expected: Expected,
}

/// Result of the search for a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A check notices the fault.
    Killed,
    /// No check can notice the fault, for this reason.
    Equivalent(&'static str),
    /// The fault has an effect too rarely for the simulator. This test of the product notices it.
    Rare(&'static str),
}

/// Fault of one simulation. The default has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct MutantConfig {
    /// Part of a condition that the table does not check.
    pub unchecked: Option<Unchecked>,
    /// Replacement of the changes that a write makes.
    pub changes: Option<ChangeFault>,
    /// Fault outside the meaning of the writes.
    pub fault: Option<Fault>,
}

/// Attributes that the condition of one kind of write does not check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unchecked {
    /// Kind of write.
    pub tag: OpTag,
    /// Names of the attributes.
    pub attributes: &'static [&'static str],
}

/// Function that replaces the changes of a write. It receives the row before the write.
pub type ChangeFault = fn(&Op, Option<&Row>, &mut Vec<Change>);

/// Kind of a conditional write, and the condition check of a user's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpTag {
    Acquire,
    TakeOver,
    StartAnew,
    Renew,
    HandOver,
    Finish,
    Reset,
    Release,
    /// Release of an acquisition whose token is not known.
    CleanUp,
    Revoke,
    ForceRevoke,
    LegacyGet,
    /// Write to a shared row, by its name.
    Shared(&'static str),
    Convert,
    /// Condition that a user puts into a transaction.
    Check,
}

impl OpTag {
    /// Returns the tag of `op`.
    pub fn of(op: &Op) -> Self {
        match &op.kind {
            OpKind::Acquire(_) => Self::Acquire,
            OpKind::TakeOver { .. } => Self::TakeOver,
            OpKind::StartAnew { .. } => Self::StartAnew,
            OpKind::Renew { .. } => Self::Renew,
            OpKind::HandOver { .. } => Self::HandOver,
            OpKind::Finish { .. } => Self::Finish,
            OpKind::Reset { .. } => Self::Reset,
            OpKind::Release { token: Some(_), .. } => Self::Release,
            OpKind::Release { token: None, .. } => Self::CleanUp,
            OpKind::Revoke { .. } => Self::Revoke,
            OpKind::ForceRevoke { .. } => Self::ForceRevoke,
            OpKind::LegacyGet { .. } => Self::LegacyGet,
            OpKind::Shared(write) => Self::Shared(write.name()),
            OpKind::Convert(_) => Self::Convert,
        }
    }
}

impl fmt::Display for OpTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared(name) => f.write_str(&kebab(name)),
            tag => f.write_str(&kebab(&format!("{tag:?}"))),
        }
    }
}

/// Fault in the times, dates, random bits and answers that the product receives, or in its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// R1: the validity of a holder counts from the answer. Explorer and worlds.
    HolderCountsFromAnswer,

    /// §5: without a service clock, the pad beside legacy clients is that of a store without them. Explorer and worlds.
    ShortPad,

    // Explorer: faults of the driver, one machine at a time.
    /// R1: `sent_at` is read this number of milliseconds late, which uses up the margin.
    SentLate(i64),
    /// R2: a watch counts from the request.
    WaiterCountsFromRequest,
    /// R2: a waiter uses its own lease instead of the row's.
    WaiterUsesOwnLease,
    /// R2: a waiter waits for this percentage of the row's lease.
    WaiterLeasePercent(u64),
    /// R4: a waiter counts with the faster of its clocks.
    WaiterUsesLargerClock,
    /// R4: a holder counts with the slower of its clocks.
    HolderUsesSmallerClock,
    /// R4: both lease clocks stop while the host is suspended.
    SuspensionNotCounted,
    /// R2: a waiter takes a hint of the store for the end of the lease.
    HintIsExpiry,
    /// R5: an acquisition is reported with the time of its answer, without a look at the clock.
    ReportsWithoutCheck,
    /// R6: a holder takes the end of its row for this number of seconds later.
    HolderRowLater(i64),
    /// §5: a reader takes the end of a row for this number of seconds earlier.
    ReaderRowEarlier(i64),
    /// §5: a single date that contradicts the others replaces them.
    DoubtEvicts,
    /// §5: a date that contradicts the others permits a takeover.
    DoubtDecides,
    /// R6: a date that contradicts the others extends the validity.
    DoubtExtends,
    /// §5: the wall clock agrees with every date.
    WallIsNoWitness,
    /// §5: a reader ignores dates.
    ReaderIgnoresDates,
    /// R6: an answer without a date counts as one with a date long ago.
    DatelessConfirms,
    /// An answer after the deadline counts as if it had arrived when the request was sent.
    LateAnswersCount,
    /// All operations of one acquisition use the same lease ID (lesson 40).
    LeaseIdPerAcquisition,
    /// All writes of a host have the same record version.
    VersionPerHost,
    /// A dropped acquire cleans up nothing (lesson 15).
    DropWithoutCleanUp,
    /// The machine asks for a clean-up, and the driver forgets it.
    CleanUpForgotten,
    /// A guard stays valid until its release is answered.
    ValidUntilReleased,
    /// A release forgets that a try had no answer (lesson 33).
    UnknownReleaseIsThrottled,
    /// A task goes on renewing a guard that was dropped.
    RenewsAfterRelease,
    /// A refused attempt ends an acquire, although an earlier one may have been applied. Explorer and worlds.
    RefusalEndsAcquire,
    /// A refused attempt ends a release, although the lease goes on. Explorer and worlds.
    RefusalEndsRelease,
    /// A refused attempt ends a revocation, although an earlier one may have been applied. Worlds.
    RefusalEndsRevoke,
    /// A holder takes the answer that its table does not exist for a passing refusal. Explorer and worlds.
    MissingTableIsRefusal,

    /// A handover without an answer is followed by no release.
    HandoverNotCleanedUp,
    /// A handover without an answer is followed by the release of the old lease alone.
    HandoverReleasesOldOnly,
    /// A handover without an answer is followed by the release of the new lease alone.
    HandoverReleasesNewOnly,
    /// A handover without an answer is repeated under a fresh lease ID.
    HandoverRepeatsFreshly,
    /// A handover does not recognise its own lease ID in the row.
    HandoverNotRecognised,
    /// A conflict after an unanswered attempt of a handover counts as a loss.
    HandoverUnknownIsLost,
    /// A handover without an answer reports the release as successful.
    UnansweredIsReleased,
    /// R1: the old guard is valid until its handover is answered.
    ValidUntilHandedOver,

    /// The clean-up of a writer's entry tries one of leave and withdraw only.
    CleanUpTriesOneRole,
    /// An acquisition adopts its own entry although it is revoked.
    RevokedIsAdopted,
    /// A leave ignores the last holder that was forced out.
    ForcedIsIgnored,
    /// A waiter respects an announcement for ever.
    AnnouncementNeverExpires,

    /// A refusal or a conflict of a handover ends the waits of its client. Worlds.
    HandoverFailureEndsWait,

    /// A record of a success does not recognise its own token in the row.
    SuccessNotRecognised,
    /// A record of a success takes any success in the row for its own.
    AnySuccessIsOwn,
    /// A waiter takes a finished row for a free one.
    SuccessIgnored,
    /// A waiter takes the end of a success for 8 s earlier.
    SuccessCountsShort,

    /// A hold is reported when its lock is acquired, without an extension.
    HoldIsNotExtended,
    /// The liveness key of a hold has no pad for the time until its acquire is sent.
    HoldKeyWithoutPad,

    // Worlds: faults of the environment of a client.
    /// A4: the dates of one service host are 10 s fast, those of another 10 s slow.
    WildDates,
    /// §5: the wild host of the service answers a process first, and twice in a row.
    WildDatesRepeat,
    /// A2: the rates of the lease clocks are wrong by up to 8 %.
    WildClocks,
    /// Dates are off by this number of seconds: the bounds of the service's time are too small or too large.
    DatesOff(i64),
    /// The date of an answer is the wall clock of the client's host.
    DatesFromWall,
    /// R4: jumps of the wall clock do not count.
    WallJumpsNotCounted,
    /// R4: the lease clocks go back with the wall clock.
    WallExtends,
    /// Timers of 100 ms and more fire a second late.
    TimersLate,
    /// Timers fire after a millisecond.
    TimersAtOnce,
    /// Timers of more than a second never fire, so a request has no timeout.
    LongTimersNever,
    /// The random source returns the same bits each time.
    RandomRepeats,
    /// The clients tolerate this number of milliseconds of skew of legacy clients.
    LegacySkew(u64),
    /// The pauses between polls are 3 seconds longer.
    SlowPolls,
    /// §5: a store that answers that it has written has now and then written nothing.
    StoreForgets,
    /// A renewal that conflicts counts as unanswered.
    RenewalConflictIgnored,
    /// A release with an unknown outcome reports success.
    UnknownReleaseIsOk,
    /// A release of a lost lock reports success.
    LostReleaseIsOk,
    /// A revocation of a lease that had ended reports success.
    EndedRevokeIsOk,
    /// The child of a crashed holder counts as the holder itself, whose lease decides. Worlds over SQLite.
    ChildIsIgnored,
    /// A client hands a lock over any number of times in a row.
    HandoversUnlimited,
    /// A client hands a lock over for any time after its acquisition.
    SeriesWithoutEnd,
    /// A client does not rest after a release.
    NoRest,
}

impl MutantConfig {
    /// No fault.
    pub const NONE: Self = Self { unchecked: None, changes: None, fault: None };

    /// Returns whether this is the fault.
    pub fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Returns whether a condition of this kind of write holds, without the parts that are unchecked.
    pub fn holds(&self, tag: OpTag, row: Option<&Row>, condition: Condition) -> bool {
        match self.unchecked.filter(|unchecked| unchecked.tag == tag) {
            Some(unchecked) => holds(row, &without(condition, unchecked.attributes)),
            None => holds(row, &condition),
        }
    }

    /// Returns the verdict of the table on `op`: that of the protocol's `apply`, with this fault.
    pub fn apply(&self, row: Option<&Row>, op: &Op) -> Verdict {
        if self.unchecked.is_none() && self.changes.is_none() {
            return apply(row, op);
        }
        if !self.holds(OpTag::of(op), row, op.condition()) {
            return Verdict::Conflict(row.cloned());
        }
        let mut next = row.cloned().unwrap_or_default();
        let mut possible = true;
        for change in self.changes(row, op) {
            match change {
                Change::Set(path, value) => possible &= entries::change_at(&mut next, &path, Some(value)),
                Change::Copy { to, from, default } => {
                    let value = row.and_then(|row| row.at(&from)).cloned().unwrap_or(default);
                    possible &= entries::change_at(&mut next, &to, Some(value));
                }
                Change::Remove(path) => possible &= entries::change_at(&mut next, &path, None),
                Change::Replace(row) => next = row,
                Change::Next(path, floor) => {
                    let value = path.attribute().and_then(|name| next.whole(name)).unwrap_or(floor) + 1;
                    entries::change_at(&mut next, &path, Some(Value::from(value)));
                }
            }
        }
        if possible { Verdict::Applied(next) } else { Verdict::Conflict(row.cloned()) }
    }

    fn changes(&self, row: Option<&Row>, op: &Op) -> Vec<Change> {
        let mut changes = op.changes();
        if let Some(fault) = self.changes {
            fault(op, row, &mut changes);
        }
        changes
    }

    /// Returns the attributes that `op` sets without the fault and does not set with it.
    pub fn lost_changes(&self, op: &Op) -> Vec<&'static str> {
        let names = |changes: Vec<Change>| changes.into_iter().filter_map(|change| set_name(&change)).collect();
        let (all, left): (Vec<_>, Vec<_>) = (names(op.changes()), names(self.changes(Some(&Row::default()), op)));
        all.into_iter().filter(|name| !left.contains(name)).collect()
    }
}

/// Returns a name in camel case in lower case with hyphens, for example `take-over`.
fn kebab(name: &str) -> String {
    let hyphenated = name.chars().map(|c| match c {
        c if c.is_ascii_uppercase() => format!("-{c}"),
        ' ' | '.' => "-".to_owned(),
        c => c.to_string(),
    });
    hyphenated.collect::<String>().trim_start_matches('-').to_ascii_lowercase()
}

/// Returns the attribute that a change sets.
fn set_name(change: &Change) -> Option<&'static str> {
    match change {
        Change::Set(path, _) | Change::Next(path, _) | Change::Copy { to: path, .. } => path.attribute(),
        Change::Remove(_) | Change::Replace(_) => None,
    }
}

fn is_about(condition: &Condition, names: &[&str]) -> bool {
    match condition {
        // "Missing, or this value" is a condition on one attribute.
        Condition::Any(any) => any.iter().all(|part| is_about(part, names)),
        other => other.path().map(entries::place).is_some_and(|place| names.contains(&place.as_str())),
    }
}

/// Returns the condition without the parts that are about one of these attributes.
fn without(condition: Condition, names: &[&str]) -> Condition {
    let rest = |parts: Vec<Condition>| {
        let parts = parts.into_iter().filter(|part| !is_about(part, names));
        parts.map(|part| without(part, names)).collect()
    };
    match condition {
        Condition::All(parts) => Condition::All(rest(parts)),
        Condition::Any(parts) => Condition::Any(rest(parts)),
        other => other,
    }
}
