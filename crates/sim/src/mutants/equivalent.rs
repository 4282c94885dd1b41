//! Mutants that no check of the simulator can notice, with the argument.

const FORMAT: &str = "no client of these worlds writes rows of another format; the conformance checks of the stores do";
const REDUNDANT: &str = "each acquisition has one lease ID and one token, so checking either is enough; see the mutants \
                         …-without-owner, which check neither";
const TWICE: &str = "a row with this lease ID is free only after its own release, which then is applied twice";

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
pub const RARE: &[(&str, &str)] = &[("legacy-get-without-token", "seen_version_with_another_token_is_not_overwritten")];
