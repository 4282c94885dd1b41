//! Mutants that no check of the simulator can notice, with the argument.

const FORMAT: &str = "no client of these worlds writes rows of another format; the conformance checks of the stores do";
const REDUNDANT: &str = "each acquisition has one lease ID and one token, so checking either is enough; see the mutants \
                         …-without-owner, which check neither";
const TWICE: &str = "a row with this lease ID is free only after its own release, which then is applied twice";

const CONVERTED: &str = "a conversion leaves no entry in the row, and the write requires one";
const NUMBERED: &str =
    "numbers of one lease ID only increase, and the state of a writer's entry follows from its number";
const ORDERED: &str = "the token increases when a writer's entry is removed, so checking either is enough; see \
                       renew-exclusive-without-owner, which checks neither";
const ANNOUNCED: &str = "a writer relies on nothing while it waits, and announces again if its announcement has gone";

/// Returns the argument for a mutant of a write to a shared row, `None` if a search must notice the mutant.
pub fn of_entries(name: &str) -> Option<&'static str> {
    let is_own = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    let changes_entry = ["promote-", "renew-", "leave-", "withdraw-", "evict-", "revoke-", "force-out-"];
    match name {
        _ if ENTRIES.iter().any(|(known, _)| *known == name) => {
            ENTRIES.iter().find(|(known, _)| *known == name).map(|(_, reason)| *reason)
        }
        "convert-without-v" => Some(FORMAT),
        _ if !name.contains("-without-") => None,
        _ if is_own(&["-without-v", "-without-guid"]) && !name.starts_with("convert") => Some(FORMAT),
        "announce-without-holders" => Some(FORMAT),
        "join-without-token" | "take-exclusive-without-token" | "announce-without-token" => Some(FORMAT),
        "promote-without-token" | "leave-exclusive-without-token" | "evict-exclusive-without-token" => Some(FORMAT),
        "force-out-exclusive-without-token" => Some(FORMAT),
        _ if name.ends_with("-without-kind") && changes_entry.iter().any(|start| name.starts_with(start)) => {
            Some(CONVERTED)
        }
        _ => None,
    }
}

/// Mutants of shared rows without an effect on what is promised. `tests/it/shared_ops.rs` checks each conjunct on rows.
const ENTRIES: &[(&str, &str)] = &[
    ("convert-without-token", "the record version, which a conversion checks, too, changes with every write"),
    ("renew-announcement-without-x-held", NUMBERED),
    ("leave-exclusive-without-x-held", NUMBERED),
    ("force-out-exclusive-without-x-held", NUMBERED),
    ("withdraw-without-x-held", NUMBERED),
    ("withdraw-without-x-lease-id", ANNOUNCED),
    ("renew-exclusive-without-x-lease-id", ORDERED),
    ("renew-exclusive-without-token", ORDERED),
    (
        "renew-shared-without-token",
        "the token changes only while a writer is alone in the row, so the reader's entry was removed before. A copy of \
         its join may add the entry again, but no guard relies on that: an eviction follows the deadline of the guard, \
         after which an answer extends nothing",
    ),
    ("revoke-shared-without-e", "without the entry there is nothing that could be marked, so the write is impossible"),
    ("force-out-shared-without-e", "a release that cannot know its outcome returns Unknown once more than it must"),
    ("promote-old-end", "a promotion returns the row, and R6 bounds the validity by the end in it"),
    ("entry-adopts-revoked", "the renewals of a revoked entry fail, so it is lost by its deadline"),
];
const IDENTIFIED: &str = "the record version and the token of a success each identify the row alone; a test of `apply` \
                          checks every conjunct";
const FINISHED: &str = "a finished row has a lease ID that no client owns, and its `expiresOn` is not 0; a test of \
                        `apply` checks every conjunct";

/// Mutants without an effect on what is promised, by name.
pub const EQUIVALENT: &[(&str, &str)] = &[
    ("acquire-without-v", FORMAT),
    ("acquire-without-kind", FORMAT),
    ("acquire-without-guid", FORMAT),
    ("acquire-without-token", FORMAT),
    ("acquire-without-done-token", FINISHED),
    ("take-over-without-kind", IDENTIFIED),
    ("take-over-without-done-token", IDENTIFIED),
    ("start-anew-without-guid", IDENTIFIED),
    ("start-anew-without-token", IDENTIFIED),
    ("start-anew-without-kind", IDENTIFIED),
    ("start-anew-without-done-token", IDENTIFIED),
    ("renew-without-kind", FORMAT),
    ("release-without-kind", FORMAT),
    ("clean-up-without-kind", FORMAT),
    ("finish-without-v", FORMAT),
    ("finish-without-kind", FORMAT),
    ("finish-without-lease-id", REDUNDANT),
    ("finish-without-token", REDUNDANT),
    ("finish-without-expires-on", "the user of a guard records its success or releases it, and never does both"),
    ("finish-without-done-token", FINISHED),
    ("finish-same-lease-id", "a finished row has no renewal sequence number, and its holder sends no release"),
    ("finish-same-guid", "a takeover checks that no success is recorded, too"),
    ("reset-without-v", FORMAT),
    ("reset-without-kind", FORMAT),
    ("reset-without-guid", FORMAT),
    ("reset-without-lease-id", FORMAT),
    ("reset-without-token", IDENTIFIED),
    ("reset-without-done-token", IDENTIFIED),
    ("reset-same-token", "the acquisition that follows increases the token, too"),
    ("renew-without-v", FORMAT),
    ("hand-over-without-v", FORMAT),
    ("hand-over-without-kind", FORMAT),
    ("hand-over-without-handovers", FORMAT),
    ("release-without-v", FORMAT),
    ("clean-up-without-v", FORMAT),
    ("revoke-without-v", FORMAT),
    ("revoke-without-lease-id", FORMAT),
    ("revoke-without-kind", FORMAT),
    ("revoke-without-guid", FORMAT),
    ("force-revoke-without-v", FORMAT),
    ("force-revoke-without-lease-id", FORMAT),
    ("force-revoke-without-kind", FORMAT),
    ("force-revoke-without-guid", FORMAT),
    ("check-without-v", FORMAT),
    ("renew-without-lease-id", REDUNDANT),
    ("hand-over-without-lease-id", REDUNDANT),
    ("hand-over-without-token", REDUNDANT),
    ("release-without-lease-id", REDUNDANT),
    ("release-without-token", REDUNDANT),
    ("check-without-lease-id", REDUNDANT),
    ("renew-without-expires-on", "a free row has no renewal sequence number, which a renewal checks, too"),
    ("release-without-expires-on", TWICE),
    ("clean-up-without-expires-on", TWICE),
    (
        "take-over-without-token",
        "a version occurs twice only if its acquire is applied twice, and no client believes in that orphaned lease",
    ),
    ("hand-over-same-guid", "the token, which a takeover checks, too, has changed"),
    ("revoke-same-guid", "the token, which a takeover checks, too, has changed"),
    ("mark-stays", "a release that cannot know its outcome returns Unknown once more than it must"),
    ("purge-at-once", "no lease of these worlds lasts for the eight days; the test of lesson 23 has one that does"),
];

/// Mutants that have an effect too rarely for the simulator, each with the test of the product that notices it.
pub const RARE: &[(&str, &str)] = &[
    ("legacy-get-without-token", "seen_version_with_another_token_is_not_overwritten"),
    ("child-is-ignored", "child_that_is_ignored_is_noticed_over_sqlite"),
];
