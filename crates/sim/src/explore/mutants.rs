//! Ways to break the protocol from outside of it: in what the table checks and changes, in the times and answers that
//! the machines are told, and in their luck. The search has to notice each.

use dynamo_lock_protocol::{Change, Condition, Number, Op, OpKind, Value, attr};

/// What a write's condition is instead.
pub type BendCondition = fn(&Op, Condition) -> Condition;
/// What a write changes instead.
pub type BendChanges = fn(&Op, Vec<Change>) -> Vec<Change>;

/// What is bent. The default bends nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bend {
    pub condition: Option<BendCondition>,
    pub changes: Option<BendChanges>,
    /// R1: belief counts from the answer.
    pub holder_counts_from_answer: bool,
    /// R1: the margin is gone: `sent_at` is read so much too late.
    pub sent_late_ms: i64,
    /// R2: a watch counts from the request.
    pub waiter_counts_from_request: bool,
    /// R2: the waiter's own lease is used.
    pub waiter_uses_own_lease: bool,
    /// R4: a waiter counts with the larger clock.
    pub waiter_uses_larger_clock: bool,
    /// R4: only a clock that stops in sleep is read.
    pub sleep_is_not_counted: bool,
    /// R5: what was won is reported by the time of the answer.
    pub reports_without_asking_again: bool,
    /// R6: a holder takes the service for so many seconds younger than it is.
    pub own_date_back_s: u64,
    /// §5: a reader takes the service for so many seconds older.
    pub reader_date_ahead_s: u64,
    /// An answer counts as if it had come when its request was sent.
    pub late_answers_count: bool,
    pub nonce_per_acquisition: bool,
    pub drops_without_clean_up: bool,
    pub believes_until_released: bool,
    /// Lesson 33: a release forgets that a try of its went unanswered.
    pub unknown_release_is_throttled: bool,
    /// R2: a waiter takes leases for twice as long.
    pub waiter_waits_twice: bool,
    /// §5: a reader makes nothing of dates.
    pub reader_ignores_dates: bool,
    /// R6: an answer without a date is one of long ago.
    pub dateless_confirms: bool,
    pub renews_after_letting_go: bool,
    /// A hold is reported when its lock is acquired, without an extension.
    pub hold_is_not_extended: bool,
    /// The liveness key of a hold has no pad for the time until the acquire is sent.
    pub hold_key_without_pad: bool,
    /// §5: a reader compares `expiresOn` from a wall clock with service time.
    pub reader_trusts_wall_clocks: bool,
}

/// A named way to break it.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    pub name: &'static str,
    pub about: &'static str,
    /// Where a counterexample is looked for.
    pub config: &'static str,
    pub bend: Bend,
}

/// Nothing is bent.
pub const NONE: Bend = Bend {
    condition: None,
    changes: None,
    holder_counts_from_answer: false,
    sent_late_ms: 0,
    waiter_counts_from_request: false,
    waiter_uses_own_lease: false,
    waiter_uses_larger_clock: false,
    sleep_is_not_counted: false,
    reports_without_asking_again: false,
    own_date_back_s: 0,
    reader_date_ahead_s: 0,
    late_answers_count: false,
    nonce_per_acquisition: false,
    drops_without_clean_up: false,
    believes_until_released: false,
    unknown_release_is_throttled: false,
    waiter_waits_twice: false,
    reader_ignores_dates: false,
    dateless_confirms: false,
    renews_after_letting_go: false,
    hold_is_not_extended: false,
    hold_key_without_pad: false,
    reader_trusts_wall_clocks: false,
};

const fn mutant(name: &'static str, about: &'static str, config: &'static str, bend: Bend) -> Mutant {
    Mutant { name, about, config, bend }
}

fn is_renewal(op: &Op) -> bool {
    matches!(op.kind, OpKind::Renew { .. })
}

fn is_release(op: &Op) -> bool {
    matches!(op.kind, OpKind::Release { .. })
}

/// Drops the parts of a condition that are about one of these attributes.
fn without(condition: Condition, names: &[&str]) -> Condition {
    let is_about = |condition: &Condition| match condition {
        Condition::Missing(name)
        | Condition::Equals(name, _)
        | Condition::Differs(name, _)
        | Condition::Below(name, _)
        | Condition::Above(name, _) => names.contains(name),
        Condition::All(_) | Condition::Any(_) => false,
    };
    let rest = |parts: Vec<Condition>| {
        let parts = parts.into_iter().filter(|part| !is_about(part));
        parts.map(|part| without(part, names)).collect()
    };
    match condition {
        Condition::All(parts) => Condition::All(rest(parts)),
        Condition::Any(parts) => Condition::Any(rest(parts)),
        other => other,
    }
}

fn sets(change: &Change, name: &str) -> bool {
    matches!(change, Change::Set(set, _) | Change::Next(set, _) if *set == name)
}

/// All mutants that a search must catch.
pub fn all() -> Vec<Mutant> {
    let mut all = table();
    all.extend(times());
    all.extend(luck());
    all.extend(ends());
    all.extend(holds_and_inspections());
    all
}

fn table() -> Vec<Mutant> {
    let condition = |f: BendCondition| Bend { condition: Some(f), ..NONE };
    let changes = |f: BendChanges| Bend { changes: Some(f), ..NONE };
    vec![
        mutant(
            "renew-any-beat",
            "a renewal lands whatever beat the row has",
            "copies",
            condition(|op, c| if is_renewal(op) { without(c, &[attr::RENEWAL_SEQ]) } else { c }),
        ),
        mutant(
            "renew-released",
            "a renewal lands on a row that is free",
            "release",
            condition(|op, c| if is_renewal(op) { without(c, &[attr::EXPIRES_ON, attr::RENEWAL_SEQ]) } else { c }),
        ),
        mutant(
            "renew-any-reign",
            "a renewal lands in whatever reign",
            "renewals",
            condition(|op, c| if is_renewal(op) { without(c, &[attr::LEASE_ID, attr::TOKEN]) } else { c }),
        ),
        mutant(
            "release-any-reign",
            "a release frees whatever reign holds the row",
            "release",
            condition(|op, c| if is_release(op) { without(c, &[attr::LEASE_ID, attr::TOKEN]) } else { c }),
        ),
        mutant(
            "acquire-spent",
            "an acquire may follow on its own reign",
            "release",
            condition(|op, c| if matches!(op.kind, OpKind::Acquire(_)) { without(c, &[attr::LEASE_ID]) } else { c }),
        ),
        mutant(
            "takeover-any-version",
            "a takeover does not compare the version that was watched",
            "copies",
            condition(|op, c| if matches!(op.kind, OpKind::TakeOver { .. }) { without(c, &[attr::GUID]) } else { c }),
        ),
        mutant(
            "renew-same-guid",
            "renewals leave the version as it is",
            "copies",
            changes(|op, mut all| {
                all.retain(|change| !(is_renewal(op) && sets(change, attr::GUID)));
                all
            }),
        ),
        mutant(
            "renew-old-lease",
            "a renewal leaves leaseMs as it is (lesson 48)",
            "hold",
            changes(|op, mut all| {
                all.retain(|change| !(is_renewal(op) && sets(change, attr::LEASE_MS)));
                all
            }),
        ),
        mutant(
            "token-restarts",
            "each acquisition begins with the seed",
            "basics",
            changes(|_, all| {
                let restart = |change| match change {
                    Change::Next(name, seed) => Change::Set(name, Value::N(Number::from(seed + 1))),
                    other => other,
                };
                all.into_iter().map(restart).collect()
            }),
        ),
        mutant(
            "revoke-frees",
            "a revocation frees the row at once (lesson 31)",
            "revoke",
            changes(|op, mut all| {
                if matches!(op.kind, OpKind::Revoke { .. }) {
                    all.push(Change::Set(attr::EXPIRES_ON, 0.into()));
                }
                all
            }),
        ),
        mutant(
            "revoke-unmarked",
            "a revocation leaves no mark (lesson 50)",
            "revoke",
            changes(|_, mut all| {
                all.retain(|change| !sets(change, attr::REVOKED_TOKEN));
                all
            }),
        ),
    ]
}

fn times() -> Vec<Mutant> {
    vec![
        mutant(
            "holder-from-answer",
            "R1: belief counts from the answer",
            "basics",
            Bend { holder_counts_from_answer: true, ..NONE },
        ),
        mutant("no-margin", "R1: no margin for drift", "drift", Bend { sent_late_ms: 20, ..NONE }),
        mutant(
            "waiter-from-request",
            "R2: a watch counts from the request",
            "basics",
            Bend { waiter_counts_from_request: true, ..NONE },
        ),
        mutant(
            "waiter-own-lease",
            "R2: the waiter's own lease is waited for, not the row's",
            "leases",
            Bend { waiter_uses_own_lease: true, ..NONE },
        ),
        mutant(
            "waiter-larger-clock",
            "R4: a waiter counts with the larger clock",
            "slewed",
            Bend { waiter_uses_larger_clock: true, ..NONE },
        ),
        mutant(
            "sleep-uncounted",
            "R4: only a clock that stops in sleep is read",
            "sleep",
            Bend { sleep_is_not_counted: true, ..NONE },
        ),
        mutant(
            "no-r5",
            "R5: what was won is reported by the time of its answer",
            "basics",
            Bend { reports_without_asking_again: true, ..NONE },
        ),
        mutant(
            "no-r6",
            "R6: no bound by the row's own expiresOn, a host frozen",
            "freeze",
            Bend { own_date_back_s: 1000, ..NONE },
        ),
        mutant(
            "no-r6-legacy",
            "R6: the same beside the original client",
            "legacy",
            Bend { own_date_back_s: 1000, ..NONE },
        ),
        mutant(
            "reader-eager",
            "§5: a reader takes the service for 8 s older",
            "service",
            Bend { reader_date_ahead_s: 8, ..NONE },
        ),
        mutant(
            "late-answers",
            "an answer after the deadline counts, and a renewal compares no token",
            "ghost",
            Bend {
                late_answers_count: true,
                condition: Some(|op, c| if is_renewal(op) { without(c, &[attr::TOKEN]) } else { c }),
                ..NONE
            },
        ),
    ]
}

fn luck() -> Vec<Mutant> {
    vec![
        mutant(
            "nonce-per-acquisition",
            "one nonce for all operations of an acquisition (lesson 40)",
            "abandoned",
            Bend { nonce_per_acquisition: true, ..NONE },
        ),
        mutant(
            "drop-leaves-row",
            "a dropped acquire cleans nothing up (lesson 15)",
            "drops",
            Bend { drops_without_clean_up: true, ..NONE },
        ),
        mutant(
            "believes-until-released",
            "belief ends after the release, not before it is sent",
            "basics",
            Bend { believes_until_released: true, ..NONE },
        ),
        mutant(
            "release-forgets",
            "a release forgets its unanswered try (lesson 33)",
            "release",
            Bend { unknown_release_is_throttled: true, ..NONE },
        ),
    ]
}

/// What only shows in the end, or where an operator or the service interferes.
fn ends() -> Vec<Mutant> {
    let changes = |f: BendChanges| Bend { changes: Some(f), ..NONE };
    vec![
        mutant(
            "waits-twice",
            "R2: a waiter waits for two leases: safe, and too long",
            "drift",
            Bend { waiter_waits_twice: true, ..NONE },
        ),
        mutant(
            "reader-dateless",
            "§5: a lease that is long over is waited for even so",
            "service",
            Bend { reader_ignores_dates: true, ..NONE },
        ),
        mutant(
            "revoke-loses-lease",
            "a revocation takes the lease away that others have to wait for",
            "revoke",
            changes(|op, mut all| {
                if matches!(op.kind, OpKind::Revoke { .. }) {
                    all.push(Change::Remove(attr::LEASE_MS));
                }
                all
            }),
        ),
        mutant(
            "renews-let-go",
            "renewals go on after a guard was let go of: the ghost of a lost release never ends",
            "release",
            Bend { renews_after_letting_go: true, ..NONE },
        ),
        mutant(
            "force-holds",
            "a lock that is freed by force stays held",
            "force",
            changes(|op, mut all| {
                let forces = matches!(op.kind, OpKind::ForceRevoke { .. });
                all.retain(|change| !(forces && sets(change, attr::EXPIRES_ON)));
                all
            }),
        ),
        mutant(
            "purge-soon",
            "purgeOn is the end of the lease on a wall clock: tokens begin anew too early",
            "ttl",
            changes(|_, mut all| {
                for change in &mut all {
                    if let Change::Set(attr::TTL, on) = change {
                        *on = 1_700_000_002.into();
                    }
                }
                all
            }),
        ),
        mutant(
            "no-r6-dateless",
            "R6: an answer without a date confirms a belief",
            "dateless",
            Bend { dateless_confirms: true, ..NONE },
        ),
    ]
}

fn holds_and_inspections() -> Vec<Mutant> {
    vec![
        mutant(
            "hold-not-extended",
            "a hold is reported with the lease of its acquisition",
            "hold",
            Bend { hold_is_not_extended: true, ..NONE },
        ),
        mutant(
            "hold-drop-leaves-row",
            "a dropped hold is not released",
            "hold-drops",
            Bend { drops_without_clean_up: true, ..NONE },
        ),
        mutant(
            "hold-no-r6",
            "R6: a hold is not bounded by its row's own expiresOn, and its host stands still",
            "hold-freeze",
            Bend { own_date_back_s: 1000, ..NONE },
        ),
        mutant(
            "hold-dateless",
            "R6: a response without a date confirms a hold",
            "hold-dates",
            Bend { dateless_confirms: true, ..NONE },
        ),
        mutant(
            "hold-key-without-pad",
            "the liveness key of a hold ends with its duration, counted from before it was sent",
            "hold-key",
            Bend { hold_key_without_pad: true, ..NONE },
        ),
        mutant(
            "inspect-eager",
            "§5: an inspection takes the service time for 8 s later",
            "inspect",
            Bend { reader_date_ahead_s: 8, ..NONE },
        ),
        mutant(
            "inspect-wall-clock",
            "§5: an inspection compares the expiresOn of a slow wall clock with service time",
            "inspect-slow",
            Bend { reader_trusts_wall_clocks: true, ..NONE },
        ),
    ]
}
