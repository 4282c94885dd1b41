//! The list of mutants.

use dynamo_lock_protocol::{Change, EXPIRY_PAD, Op, OpKind, Path, Value, attr};

use super::{
    ChangeFault, Expected, Fault, Mutant, MutantConfig, OpTag, Unchecked, entries, entry_list, equivalent::EQUIVALENT,
    equivalent::RARE, equivalent::of_entries, kebab, set_name,
};

/// Attributes that each kind of write checks: each conjunct of the conditions in `docs/protocol.md`, section 3.
const CHECKED: &[(OpTag, &[&str])] = &[
    (
        OpTag::Acquire,
        &[attr::V, attr::KIND, attr::GUID, attr::EXPIRES_ON, attr::TOKEN, attr::LEASE_ID, attr::DONE_TOKEN],
    ),
    (OpTag::TakeOver, &[attr::GUID, attr::TOKEN, attr::KIND, attr::DONE_TOKEN]),
    (OpTag::StartAnew, &[attr::GUID, attr::TOKEN, attr::KIND, attr::DONE_TOKEN]),
    (OpTag::Renew, &[attr::V, attr::LEASE_ID, attr::TOKEN, attr::EXPIRES_ON, attr::RENEWAL_SEQ, attr::KIND]),
    (OpTag::HandOver, &[attr::V, attr::LEASE_ID, attr::TOKEN, attr::EXPIRES_ON, attr::KIND, attr::HANDOVERS]),
    (OpTag::Finish, &[attr::V, attr::LEASE_ID, attr::TOKEN, attr::EXPIRES_ON, attr::KIND, attr::DONE_TOKEN]),
    (OpTag::Reset, &[attr::V, attr::KIND, attr::GUID, attr::TOKEN, attr::DONE_TOKEN, attr::LEASE_ID]),
    (OpTag::Release, &[attr::V, attr::LEASE_ID, attr::TOKEN, attr::EXPIRES_ON, attr::KIND]),
    (OpTag::CleanUp, &[attr::V, attr::LEASE_ID, attr::EXPIRES_ON, attr::KIND]),
    (
        OpTag::Revoke,
        &[attr::V, attr::LEASE_ID, attr::KIND, attr::GUID, attr::TOKEN, attr::EXPIRES_ON, attr::DONE_TOKEN],
    ),
    (
        OpTag::ForceRevoke,
        &[attr::V, attr::LEASE_ID, attr::KIND, attr::GUID, attr::TOKEN, attr::EXPIRES_ON, attr::DONE_TOKEN],
    ),
    (OpTag::LegacyGet, &[attr::GUID, attr::TOKEN]),
    (OpTag::Check, &[attr::V, attr::LEASE_ID, attr::TOKEN, attr::EXPIRES_ON]),
];

/// Pairs of attributes of which each alone suffices, so that both have to be unchecked.
const UNCHECKED: &[(&str, Unchecked)] = &[
    ("renew-without-owner", Unchecked { tag: OpTag::Renew, attributes: &[attr::LEASE_ID, attr::TOKEN] }),
    ("hand-over-without-owner", Unchecked { tag: OpTag::HandOver, attributes: &[attr::LEASE_ID, attr::TOKEN] }),
    ("release-without-owner", Unchecked { tag: OpTag::Release, attributes: &[attr::LEASE_ID, attr::TOKEN] }),
    ("finish-without-owner", Unchecked { tag: OpTag::Finish, attributes: &[attr::LEASE_ID, attr::TOKEN] }),
    ("check-without-owner", Unchecked { tag: OpTag::Check, attributes: &[attr::LEASE_ID, attr::TOKEN] }),
    // A free row has no renewal sequence number.
    ("renew-without-held", Unchecked { tag: OpTag::Renew, attributes: &[attr::EXPIRES_ON, attr::RENEWAL_SEQ] }),
];

/// Changes that a write omits or makes differently.
const CHANGES: &[(&str, ChangeFault)] = &[
    ("renew-same-guid", |op, _, changes| omit(is(op, OpTag::Renew), attr::GUID, changes)),
    ("take-over-same-guid", |op, _, changes| omit(is(op, OpTag::TakeOver), attr::GUID, changes)),
    ("revoke-same-guid", |op, _, changes| omit(is(op, OpTag::Revoke), attr::GUID, changes)),
    ("release-same-guid", |op, row, changes| omit(frees(op) && row.is_some(), attr::GUID, changes)),
    ("same-token", |op, row, changes| {
        changes.retain(|change| !acquires(op) || row.is_none() || !matches!(change, Change::Next(..)));
    }),
    ("token-restarts", |_, _, changes| {
        for change in changes {
            if let Change::Next(token, floor) = change {
                *change = Change::Set(token.clone(), Value::from(*floor + 1));
            }
        }
    }),
    ("hand-over-same-guid", |op, _, changes| omit(is(op, OpTag::HandOver), attr::GUID, changes)),
    ("hand-over-same-token", |op, _, changes| omit(is(op, OpTag::HandOver), attr::TOKEN, changes)),
    ("hand-over-same-lease-id", |op, _, changes| omit(is(op, OpTag::HandOver), attr::LEASE_ID, changes)),
    ("hand-over-old-number", |op, _, changes| omit(is(op, OpTag::HandOver), attr::RENEWAL_SEQ, changes)),
    ("hand-over-old-lease", |op, _, changes| omit(is(op, OpTag::HandOver), attr::LEASE_MS, changes)),
    ("hand-over-uncounted", |op, _, changes| omit(is(op, OpTag::HandOver), attr::HANDOVERS, changes)),
    ("renew-old-lease", |op, _, changes| omit(is(op, OpTag::Renew), attr::LEASE_MS, changes)),
    ("renew-old-end", |op, _, changes| omit(is(op, OpTag::Renew), attr::EXPIRES_ON, changes)),
    ("renew-drops-data", |op, _, changes| remove(is(op, OpTag::Renew), attr::DATA, changes)),
    ("timestamp-stays", |op, _, changes| {
        changes.retain(|change| frees(op) || !matches!(change, Change::Remove(Path::Attribute(attr::EXPIRY_CLOCK))));
    }),
    ("always-timestamped", |op, _, changes| {
        for change in changes.iter_mut().filter(|_| !frees(op)) {
            if matches!(change, Change::Remove(Path::Attribute(attr::EXPIRY_CLOCK))) {
                *change = Change::Set(attr::EXPIRY_CLOCK.into(), attr::SERVICE_CLOCK.into());
            }
        }
    }),
    ("no-pad", |_, _, changes| shorten(changes, EXPIRY_PAD.as_millis() as u64)),
    ("half-pad", |_, _, changes| shorten(changes, EXPIRY_PAD.as_millis() as u64 / 2)),
    ("release-holds", |op, _, changes| omit(frees(op), attr::EXPIRES_ON, changes)),
    ("release-drops-token", |op, _, changes| remove(frees(op), attr::TOKEN, changes)),
    ("revoke-frees", |op, _, changes| {
        changes.extend(is(op, OpTag::Revoke).then(|| Change::Set(attr::EXPIRES_ON.into(), 0.into())));
    }),
    ("revoke-unmarked", |_, _, changes| omit(true, attr::REVOKED_TOKEN, changes)),
    ("revoke-same-lease-id", |op, _, changes| {
        let is_other =
            |change: &Change| !matches!(change, Change::Set(Path::Attribute(attr::LEASE_ID | attr::TOKEN), _));
        changes.retain(|change| !is(op, OpTag::Revoke) || is_other(change));
    }),
    ("revoke-drops-lease", |op, _, changes| remove(is(op, OpTag::Revoke), attr::LEASE_MS, changes)),
    ("force-revoke-holds", |op, _, changes| omit(is(op, OpTag::ForceRevoke), attr::EXPIRES_ON, changes)),
    ("mark-stays", |_, _, changes| {
        changes.retain(|change| !matches!(change, Change::Remove(Path::Attribute(attr::REVOKED_TOKEN))))
    }),
    ("purge-at-once", |op, _, changes| omit(!acquires(op), attr::TTL, changes)),
    ("purge-soon", |_, _, changes| {
        for change in changes {
            if let Change::Set(Path::Attribute(attr::TTL), on) = change {
                *on = 1_700_000_002.into();
            }
        }
    }),
    ("finish-unrecorded", |op, _, changes| {
        omit(is(op, OpTag::Finish), attr::DONE_TOKEN, changes);
        omit(is(op, OpTag::Finish), attr::EXPIRES_ON, changes);
        changes.extend(is(op, OpTag::Finish).then(|| Change::Set(attr::EXPIRES_ON.into(), 0.into())));
    }),
    ("finish-same-lease-id", |op, _, changes| omit(is(op, OpTag::Finish), attr::LEASE_ID, changes)),
    ("finish-same-guid", |op, _, changes| omit(is(op, OpTag::Finish), attr::GUID, changes)),
    ("finish-until-stays-out", |op, _, changes| omit(is(op, OpTag::Finish), attr::DONE_UNTIL, changes)),
    ("finish-soon", |op, _, changes| {
        for change in changes.iter_mut().filter(|_| is(op, OpTag::Finish)) {
            if let Change::Set(Path::Attribute(attr::TTL), on) = change {
                *on = 1_700_000_001.into();
            }
        }
    }),
    ("reset-same-token", |op, _, changes| omit(is(op, OpTag::Reset), attr::TOKEN, changes)),
    ("start-anew-keeps-success", |op, _, changes| {
        let is_success = |change: &Change| matches!(change, Change::Remove(Path::Attribute(attr::DONE_TOKEN)));
        changes.retain(|change| !is(op, OpTag::StartAnew) || !is_success(change));
    }),
    ("release-unrecorded", |op, _, changes| changes.retain(|change| !is(op, OpTag::Release) || !is_record(change))),
    ("take-over-unrecorded", |op, _, changes| changes.retain(|change| !is(op, OpTag::TakeOver) || !is_record(change))),
    ("take-over-records-itself", |op, _, changes| {
        let OpKind::TakeOver { lease, .. } = &op.kind else { return };
        for change in changes.iter_mut().filter(|change| set_name(change) == Some(attr::LAST_OWNER)) {
            *change = Change::Set(attr::LAST_OWNER.into(), lease.owner.as_str().into());
        }
    }),
    ("revoke-unrecorded", |op, _, changes| changes.retain(|change| !is(op, OpTag::Revoke) || !is_record(change))),
    ("force-revoke-as-revoke", |op, _, changes| {
        for change in changes.iter_mut().filter(|change| is(op, OpTag::ForceRevoke) && is_record(change)) {
            if let Change::Set(Path::Attribute(attr::LAST_END), end) = change {
                *end = "revoked".into();
            }
        }
    }),
    ("clean-up-recorded", |op, _, changes| record(is(op, OpTag::CleanUp), changes)),
    ("hand-over-recorded", |op, _, changes| record(is(op, OpTag::HandOver), changes)),
    ("exit-code-stays", |_, _, changes| {
        changes.retain(|change| !matches!(change, Change::Remove(Path::Attribute(attr::LAST_EXIT_CODE))));
    }),
    ("legacy-drops-token", |_, _, changes| strip(changes, attr::TOKEN)),
    ("legacy-drops-data", |_, _, changes| strip(changes, attr::DATA)),
];

/// Faults that only the explorer can make, with the configuration that finds them.
const EXPLORER: &[(&str, &str, Fault)] = &[
    ("no-margin", "drift", Fault::SentLate(20)),
    ("waiter-from-request", "basics", Fault::WaiterCountsFromRequest),
    ("waiter-own-lease", "leases", Fault::WaiterUsesOwnLease),
    ("waiter-larger-clock", "slewed", Fault::WaiterUsesLargerClock),
    ("holder-smaller-clock", "sleep", Fault::HolderUsesSmallerClock),
    ("suspension-not-counted", "sleep", Fault::SuspensionNotCounted),
    ("hint-is-expiry", "hints", Fault::HintIsExpiry),
    ("no-r5", "basics", Fault::ReportsWithoutCheck),
    ("no-r6", "freeze", Fault::HolderRowLater(1000)),
    ("no-r6-legacy", "legacy", Fault::HolderRowLater(1000)),
    ("no-r6-dateless", "dateless", Fault::DatelessConfirms),
    ("reader-eager", "service", Fault::ReaderRowEarlier(8)),
    ("reader-dateless", "service", Fault::ReaderIgnoresDates),
    ("doubt-evicts", "wild-legacy", Fault::DoubtEvicts),
    ("doubt-decides", "wild-legacy", Fault::DoubtDecides),
    ("doubt-extends", "wild-freeze", Fault::DoubtExtends),
    ("wall-is-no-witness", "wild-late", Fault::WallIsNoWitness),
    ("wall-is-no-witness-inspect", "wild-inspect", Fault::WallIsNoWitness),
    ("waits-twice", "drift", Fault::WaiterLeasePercent(200)),
    ("waits-half", "drift", Fault::WaiterLeasePercent(50)),
    ("lease-id-per-acquisition", "abandoned", Fault::LeaseIdPerAcquisition),
    ("version-per-host", "copies", Fault::VersionPerHost),
    ("drop-leaves-row", "drops", Fault::DropWithoutCleanUp),
    ("clean-up-is-forgotten", "drops", Fault::CleanUpForgotten),
    ("hold-not-extended", "hold", Fault::HoldIsNotExtended),
    ("hold-drop-leaves-row", "hold-drops", Fault::DropWithoutCleanUp),
    ("hold-no-r6", "hold-freeze", Fault::HolderRowLater(1000)),
    ("hold-key-without-pad", "hold-key", Fault::HoldKeyWithoutPad),
    ("inspect-eager", "inspect", Fault::ReaderRowEarlier(8)),
    ("valid-until-released", "basics", Fault::ValidUntilReleased),
    ("release-forgets", "release", Fault::UnknownReleaseIsThrottled),
    ("renews-released", "release", Fault::RenewsAfterRelease),
    ("refusal-ends-hold", "refused-hold", Fault::RefusalEndsAcquire),
    ("success-not-recognised", "once", Fault::SuccessNotRecognised),
    ("any-success-is-own", "once-delays", Fault::AnySuccessIsOwn),
    ("success-ignored", "once", Fault::SuccessIgnored),
    ("success-counts-short", "once-for", Fault::SuccessCountsShort),
    ("handover-not-cleaned-up", "handover-drops", Fault::HandoverNotCleanedUp),
    ("handover-releases-old-only", "handover-drops", Fault::HandoverReleasesOldOnly),
    ("handover-releases-new-only", "handover", Fault::HandoverReleasesNewOnly),
    ("handover-repeats-freshly", "handover", Fault::HandoverRepeatsFreshly),
    ("handover-not-recognised", "handover-drops", Fault::HandoverNotRecognised),
    ("handover-unknown-is-lost", "handover-revoke", Fault::HandoverUnknownIsLost),
    ("unanswered-is-released", "handover", Fault::UnansweredIsReleased),
    ("handover-from-answer", "handover-delays", Fault::HolderCountsFromAnswer),
    ("handover-without-r5", "handover-delays", Fault::ReportsWithoutCheck),
    ("valid-until-handed-over", "handover-shorter", Fault::ValidUntilHandedOver),
];

/// Faults that only the worlds can make.
const WORLDS: &[(&str, Fault)] = &[
    ("wild-dates", Fault::WildDates),
    ("wild-dates-repeat", Fault::WildDatesRepeat),
    ("wild-clocks", Fault::WildClocks),
    ("upper-without-delta", Fault::DatesOff(-2)),
    ("upper-without-second", Fault::DatesOff(-1)),
    ("timestamp-by-lower", Fault::DatesOff(-5)),
    ("lower-without-delta", Fault::DatesOff(2)),
    ("lower-ahead", Fault::DatesOff(5)),
    ("dates-from-wall", Fault::DatesFromWall),
    ("no-wall-jump", Fault::WallJumpsNotCounted),
    ("wall-extends", Fault::WallExtends),
    ("late-timer", Fault::TimersLate),
    ("spinning", Fault::TimersAtOnce),
    ("no-timeout", Fault::LongTimersNever),
    ("random-repeats", Fault::RandomRepeats),
    ("no-skew", Fault::LegacySkew(0)),
    ("half-skew", Fault::LegacySkew(1000)),
    ("slow-polls", Fault::SlowPolls),
    ("store-forgets", Fault::StoreForgets),
    ("conflict-is-ignored", Fault::RenewalConflictIgnored),
    ("release-guesses", Fault::UnknownReleaseIsOk),
    ("release-after-loss-is-ok", Fault::LostReleaseIsOk),
    ("revoke-reports-done", Fault::EndedRevokeIsOk),
    ("refusal-ends-revoke", Fault::RefusalEndsRevoke),
    ("child-is-ignored", Fault::ChildIsIgnored),
    ("handovers-unlimited", Fault::HandoversUnlimited),
    ("series-without-end", Fault::SeriesWithoutEnd),
    ("no-rest", Fault::NoRest),
    ("handover-failure-ends-wait", Fault::HandoverFailureEndsWait),
];

/// Mutants of writes that the explorer finds, too, with the configuration.
const EXPLORED_WRITES: &[(&str, &str)] = &[
    ("renew-without-renewal-seq", "copies"),
    ("renew-without-held", "release"),
    ("renew-without-owner", "renewals"),
    ("release-without-owner", "release"),
    ("acquire-without-lease-id", "release"),
    ("hand-over-without-owner", "handover-copies"),
    ("hand-over-without-expires-on", "handover-drops"),
    ("hand-over-same-token", "handover"),
    ("hand-over-same-lease-id", "handover"),
    ("hand-over-old-number", "handover-renewals"),
    ("hand-over-old-lease", "handover-longer"),
    ("hand-over-uncounted", "handover"),
    ("take-over-without-guid", "crash"),
    ("renew-same-guid", "copies"),
    ("renew-old-lease", "hold"),
    ("token-restarts", "basics"),
    ("revoke-frees", "revoke"),
    ("revoke-unmarked", "revoke"),
    ("revoke-drops-lease", "revoke"),
    ("force-revoke-holds", "force"),
    ("purge-soon", "ttl"),
    ("finish-unrecorded", "once"),
    ("finish-without-owner", "once"),
    ("revoke-without-done-token", "once-revoke"),
    ("force-revoke-without-done-token", "once-force"),
    ("finish-until-stays-out", "once-for-wall"),
    ("finish-soon", "once-ttl"),
    ("start-anew-keeps-success", "once-for-wall"),
    ("release-unrecorded", "release"),
    ("take-over-unrecorded", "crash"),
    ("take-over-records-itself", "crash"),
    ("revoke-unrecorded", "revoke"),
    ("force-revoke-as-revoke", "force"),
    ("clean-up-recorded", "drops"),
    ("hand-over-recorded", "handover"),
    ("exit-code-stays", "release"),
];

/// Returns all mutants.
pub fn all() -> Vec<Mutant> {
    let mut all = Vec::new();
    for (tag, attributes) in CHECKED {
        for attribute in *attributes {
            let unchecked = Unchecked { tag: *tag, attributes: std::slice::from_ref(attribute) };
            let config = MutantConfig { unchecked: Some(unchecked), ..MutantConfig::NONE };
            all.push(write(format!("{tag}-without-{}", kebab(attribute)), config));
        }
    }
    for (op, places) in entries::CHECKED {
        for place in *places {
            let unchecked = Unchecked { tag: OpTag::Shared(op), attributes: std::slice::from_ref(place) };
            let config = MutantConfig { unchecked: Some(unchecked), ..MutantConfig::NONE };
            all.push(entry(format!("{}-without-{}", kebab(op), kebab(place)), config));
        }
    }
    for (name, op, attributes) in entry_list::UNCHECKED {
        let unchecked = Unchecked { tag: OpTag::Shared(op), attributes };
        all.push(entry((*name).to_owned(), MutantConfig { unchecked: Some(unchecked), ..MutantConfig::NONE }));
    }
    for place in entry_list::CONVERT {
        let unchecked = Unchecked { tag: OpTag::Convert, attributes: std::slice::from_ref(place) };
        let config = MutantConfig { unchecked: Some(unchecked), ..MutantConfig::NONE };
        all.push(mutant(&format!("convert-without-{}", kebab(place)), config, Some("convert"), false));
    }
    for (name, changes) in entries::CHANGES {
        all.push(entry((*name).to_owned(), MutantConfig { changes: Some(*changes), ..MutantConfig::NONE }));
    }
    for (name, unchecked) in UNCHECKED {
        all.push(write((*name).to_owned(), MutantConfig { unchecked: Some(*unchecked), ..MutantConfig::NONE }));
    }
    for (name, changes) in CHANGES {
        all.push(write((*name).to_owned(), MutantConfig { changes: Some(*changes), ..MutantConfig::NONE }));
    }
    let fault = |fault| MutantConfig { fault: Some(fault), ..MutantConfig::NONE };
    all.push(mutant("holder-from-answer", fault(Fault::HolderCountsFromAnswer), Some("basics"), true));
    all.push(mutant("refusal-ends-acquire", fault(Fault::RefusalEndsAcquire), Some("refusals"), true));
    all.push(mutant("refusal-ends-release", fault(Fault::RefusalEndsRelease), Some("refusals"), true));
    all.push(mutant("missing-table-is-refusal", fault(Fault::MissingTableIsRefusal), Some("deleted"), true));
    all.push(mutant("short-pad", fault(Fault::ShortPad), Some("walls"), true));
    let unchecked = Unchecked { tag: OpTag::Renew, attributes: &[attr::TOKEN] };
    let late = MutantConfig { unchecked: Some(unchecked), ..fault(Fault::LateAnswersCount) };
    all.push(mutant("late-answers", late, Some("ghost"), false));
    all.extend(entry_list::FAULTS.iter().map(|(name, config, f)| mutant(name, fault(*f), Some(config), false)));
    all.extend(EXPLORER.iter().map(|(name, config, f)| mutant(name, fault(*f), Some(config), false)));
    all.extend(WORLDS.iter().map(|(name, f)| mutant(name, fault(*f), None, true)));
    all
}

/// Returns the mutant with this name.
///
/// # Errors
/// A message for the user if there is none.
pub fn find(name: &str) -> Result<Mutant, String> {
    let found = all().into_iter().find(|mutant| mutant.name == name);
    found.ok_or_else(|| format!("unknown mutant {name:?}; `dynamo-lock-sim mutants --list` lists them"))
}

fn write(name: String, config: MutantConfig) -> Mutant {
    let explore = EXPLORED_WRITES.iter().find(|(known, _)| *known == name).map(|(_, config)| *config);
    mutant(&name, config, explore, true)
}

/// Returns a mutant of writes to shared rows, which only the explorer searches.
fn entry(name: String, config: MutantConfig) -> Mutant {
    let explore =
        entry_list::EXPLORED.iter().find(|(known, _)| *known == name).map_or("rw-writers", |(_, config)| *config);
    mutant(&name, config, Some(explore), false)
}

fn mutant(name: &str, config: MutantConfig, explore: Option<&'static str>, worlds: bool) -> Mutant {
    let of = |table: &[(&str, &'static str)]| table.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let equivalent = of(EQUIVALENT).or_else(|| of_entries(name).filter(|_| !worlds));
    let expected = match (equivalent, of(RARE)) {
        (Some(reason), _) => Expected::Equivalent(reason),
        (None, Some(test)) => Expected::Rare(test),
        (None, None) => Expected::Killed,
    };
    Mutant { name: name.to_owned(), config, explore, worlds, expected }
}

fn acquires(op: &Op) -> bool {
    matches!(op.kind, OpKind::Acquire(_) | OpKind::TakeOver { .. } | OpKind::StartAnew { .. })
}

fn frees(op: &Op) -> bool {
    matches!(op.kind, OpKind::Release { .. })
}

fn is(op: &Op, tag: OpTag) -> bool {
    OpTag::of(op) == tag
}

/// Omits the change that sets an attribute, if the fault applies.
fn omit(applies: bool, attribute: &str, changes: &mut Vec<Change>) {
    changes.retain(|change| !applies || set_name(change) != Some(attribute));
}

/// Removes an attribute, if the fault applies.
fn remove(applies: bool, attribute: &'static str, changes: &mut Vec<Change>) {
    omit(applies, attribute, changes);
    changes.extend(applies.then_some(Change::Remove(attribute.into())));
}

/// Returns whether a change is part of the record of a hold that ends.
fn is_record(change: &Change) -> bool {
    let to = match change {
        Change::Remove(path) => path.attribute(),
        other => set_name(other),
    };
    to.is_some_and(|name| name.starts_with("last"))
}

/// Records the present hold as released, if the fault applies.
fn record(applies: bool, changes: &mut Vec<Change>) {
    let copy =
        |to: &'static str, from: &'static str| Change::Copy { to: to.into(), from: from.into(), default: 0.into() };
    changes.extend(applies.then(|| copy(attr::LAST_OWNER, attr::OWNER)));
    changes.extend(applies.then(|| Change::Set(attr::LAST_END.into(), "released".into())));
}

/// Ends a row with a service timestamp this much earlier.
fn shorten(changes: &mut [Change], ms: u64) {
    if !changes.iter().any(|change| set_name(change) == Some(attr::EXPIRY_CLOCK)) {
        return;
    }
    for change in changes {
        if let Change::Set(Path::Attribute(attr::EXPIRES_ON), Value::N(end)) = change {
            let end = end.parse_int().unwrap_or_default() as u64;
            *change = Change::Set(attr::EXPIRES_ON.into(), end.saturating_sub(ms).into());
        }
    }
}

/// Removes an attribute from the row that replaces another.
fn strip(changes: &mut [Change], attribute: &str) {
    for change in changes {
        if let Change::Replace(row) = change {
            row.remove(attribute);
        }
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
