//! Mutants that make no difference to what is promised, each with the argument.

const FORMAT: &str = "nobody in these worlds writes rows of another format; the stores' conformance checks and lessons 29 and 34 \
                      are about those";
const REDUNDANT: &str = "a reign has one token and a token one reign: either is enough. Without both it is killed: \
                         …-without-owner";
const TWICE: &str = "a row of that reign is free only by its own release, which then happens twice";
const PACE: &str = "a matter of pace, not of safety: within what `with_heartbeat`, `with_poll` and the lease allow";
const CAUTION: &str =
    "only more caution: a belief that ends earlier, a wait that lasts longer, within the promised time";

const WIDE: &str =
    "each sample is widened by all that A2 allows, however old it is; without that it is killed: …-not-widened";
const AGAIN: &str = "the next step asks the same again (`Held::next`); without that it is killed: no-r5-report";

/// Those that are too rare for worlds, each with the test that notices it.
pub const ELSEWHERE: &[(&str, &str)] = &[
    ("legacy-get-without-token", "lesson_51_a_version_that_came_back_with_another_token_is_not_overwritten"),
    ("unstamped-goes-back", "a_renewal_without_a_stamp_never_ends_a_row_earlier"),
    ("hold-by-old-samples", "hold_by_frozen_host_lasts_for_its_duration"),
    ("hold-written-once", "hold_frozen_during_its_renewal_is_renewed_again"),
    ("hold-tried-without-rest", "throttled_second_renewal_of_hold_is_paced"),
    ("undated-takes-the-date", "a_hold_that_is_renewed_once_more_still_counts_from_the_last_date_that_it_heard"),
    ("abandoned-is-foreign", "what_an_abandoned_request_of_our_own_left_does_not_wait_for_our_own_child"),
];

/// By name.
pub const ALL: &[(&str, &str)] = &[
    ("acquire-without-v", FORMAT),
    ("acquire-without-kind", FORMAT),
    ("acquire-without-guid", FORMAT),
    ("acquire-without-token", FORMAT),
    ("renew-without-v", FORMAT),
    ("release-without-v", FORMAT),
    ("clean-up-without-v", FORMAT),
    ("revoke-without-v", FORMAT),
    ("revoke-without-kind", FORMAT),
    ("revoke-without-guid", FORMAT),
    ("force-free-without-v", FORMAT),
    ("force-free-without-kind", FORMAT),
    ("force-free-without-guid", FORMAT),
    ("check-without-v", FORMAT),
    ("renew-without-reign", REDUNDANT),
    ("release-without-reign", REDUNDANT),
    ("release-without-token", REDUNDANT),
    ("check-without-reign", REDUNDANT),
    ("renew-without-expiresOn", "a free row has no beat, which a renewal compares too; without both it is killed"),
    ("release-without-expiresOn", TWICE),
    ("clean-up-without-expiresOn", TWICE),
    ("take-over-without-token", "a version repeats only if its acquire lands twice, and in that ghost nobody believes"),
    ("revoke-same-guid", "the token that a takeover compares too has changed"),
    ("mark-stays", "a release that cannot be sure says Unknown once more than it must"),
    ("purge-at-once", "no reign of these worlds lasts the eight days; lesson 23's test does"),
    ("double-margin", CAUTION),
    ("double-skew", CAUTION),
    ("double-pad", CAUTION),
    ("upper-double-delta", CAUTION),
    ("half-poll", PACE),
    ("half-heartbeat", PACE),
    (
        "double-heartbeat",
        "a renewal at half the lease leaves time for its tries, fewer of them; without any it is killed: late-heartbeat",
    ),
    ("half-attempt", PACE),
    ("double-attempt", PACE),
    ("half-retries", PACE),
    ("double-retries", PACE),
    (
        "restarts-without-end",
        "each beginning follows a race that somebody else has won, so they end as others' reigns do; the one row that is free \
         and can never be had, with the largest token there is, is refused by name",
    ),
    ("old-samples-stay", WIDE),
    ("no-r5-retry", AGAIN),
    (
        "spent-is-won",
        "nobody releases under a nonce whose operation is still being tried: clean-ups begin when it is given up",
    ),
    (
        "release-overlooks-itself",
        "an ambiguous release before its deadline says Released in either case, one after it may say Unknown",
    ),
];
