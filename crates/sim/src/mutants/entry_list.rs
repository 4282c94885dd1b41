//! Where the explorer finds the mutants of shared rows.

use dynamo_lock_protocol::attr;

use super::Fault;

/// Places that a conversion checks.
pub const CONVERT: &[&str] = &[attr::V, attr::GUID, attr::TOKEN];

/// Places of which each alone suffices, so that all of them have to be unchecked.
pub const UNCHECKED: &[(&str, &str, &[&str])] =
    &[("renew-exclusive-without-owner", "renew exclusive", &["x.leaseId", attr::TOKEN])];

/// Mutants of writes to shared rows, with the configuration that finds them. All others are searched in `rw-writers`.
pub const EXPLORED: &[(&str, &str)] = &[
    ("create-shared-without-name", "sem"),
    ("create-exclusive-without-name", "rw-writers"),
    ("leave-exclusive-same-token", "rw"),
    ("evict-exclusive-same-token", "rw"),
    ("take-exclusive-same-token", "rw"),
    ("promote-same-token", "rw"),
    ("force-out-exclusive-same-token", "rw-force"),
    ("withdraw-new-token", "rw-drops"),
    ("renew-shared-old-number", "sem-crash"),
    ("renew-exclusive-old-number", "rw-crash"),
    ("renew-announcement-old-number", "rw"),
    ("promote-old-number", "rw-crash"),
    ("renew-shared-old-end", "sem-stamps"),
    ("promote-old-end", "rw-dates"),
    ("force-out-unmarked", "sem-force"),
    ("revoke-removes-entry", "sem-revoke"),
    ("shared-purge-soon", "sem-ttl"),
    ("shared-purge-without-clock", "sem-ttl"),
    ("join-without-kind", "convert"),
    ("take-exclusive-without-kind", "convert-rw"),
    ("announce-without-kind", "convert-shared"),
    ("announce-without-forced-lease-id", "rw-force-copies"),
    ("force-out-shared-without-e", "sem-force"),
    ("force-out-announcement-without-x-lease-id", "rw-again-operator"),
    ("force-out-announcement-without-x-held", "rw-force"),
    ("revoke-exclusive-without-x-lease-id", "rw-revoke-writers"),
    ("renew-exclusive-without-x-renewal-seq", "rw-writers-copies"),
    ("renew-exclusive-without-owner", "rw-writers-copies"),
    ("join-without-x", "rw"),
    ("join-without-holders", "sem"),
    ("join-without-forced-lease-id", "sem-force-copies"),
    ("take-exclusive-without-holders", "rw-writers"),
    ("take-exclusive-without-forced-lease-id", "rw-force-copies"),
    ("announce-without-x", "rw-two-writers"),
    ("promote-without-x-revoked", "rw-revoke"),
    ("promote-without-x-renewal-seq", "rw-late"),
    ("promote-without-x-lease-id", "rw-again"),
    ("renew-announcement-without-x-lease-id", "rw-again"),
    ("renew-announcement-without-x-renewal-seq", "rw-copies"),
    ("revoke-announcement-without-x-lease-id", "rw-again-operator"),
    ("evict-announcement-without-x-lease-id", "rw-again-copies"),
    ("join-without-e", "rw-readers-copies"),
    ("promote-without-holders", "rw-two-copies"),
    ("renew-shared-without-e-renewal-seq", "sem-copies"),
    ("renew-shared-without-e-revoked", "sem-revoke"),
    ("renew-exclusive-without-x-revoked", "rw-revoke-writers"),
    ("renew-announcement-without-x-revoked", "rw-revoke"),
    ("leave-shared-without-e", "sem"),
    ("leave-exclusive-without-x-lease-id", "rw-writers"),
    ("evict-shared-without-e-renewal-seq", "sem-crash"),
    ("evict-exclusive-without-x-renewal-seq", "rw-crash"),
    ("evict-exclusive-without-x-lease-id", "rw-writers"),
    ("evict-announcement-without-x-renewal-seq", "rw"),
    ("force-out-exclusive-without-x-lease-id", "rw-force-writers"),
];

/// Faults of the driver for clients of shared rows, with the configuration that finds them.
pub const FAULTS: &[(&str, &str, Fault)] = &[
    ("entry-adopts-revoked", "sem-revoke", Fault::RevokedIsAdopted),
    ("entry-ignores-forced", "sem-force", Fault::ForcedIsIgnored),
    ("entry-clean-up-one-role", "rw-lost", Fault::CleanUpTriesOneRole),
    ("announcement-never-expires", "rw", Fault::AnnouncementNeverExpires),
    ("entry-from-answer", "sem", Fault::HolderCountsFromAnswer),
    ("entry-no-margin", "sem-drift", Fault::SentLate(20)),
    ("entry-no-r5", "sem-delays", Fault::ReportsWithoutCheck),
    ("entry-no-r6", "sem-freeze", Fault::HolderRowLater(1000)),
    ("entry-waiter-from-request", "sem", Fault::WaiterCountsFromRequest),
    ("entry-waiter-own-lease", "sem-leases", Fault::WaiterUsesOwnLease),
    ("entry-waits-twice", "sem-drift", Fault::WaiterLeasePercent(200)),
    ("entry-waits-half", "sem-drift", Fault::WaiterLeasePercent(50)),
    ("entry-reader-eager", "sem-dates", Fault::ReaderRowEarlier(8)),
    ("entry-reader-dateless", "sem-dates", Fault::ReaderIgnoresDates),
    ("entry-lease-id-per-acquisition", "sem-late", Fault::LeaseIdPerAcquisition),
    ("entry-drop-leaves-row", "sem-drops", Fault::DropWithoutCleanUp),
    ("entry-clean-up-is-forgotten", "sem-drops", Fault::CleanUpForgotten),
    ("entry-valid-until-released", "sem", Fault::ValidUntilReleased),
    ("entry-release-forgets", "sem-late", Fault::UnknownReleaseIsThrottled),
    ("entry-renews-released", "sem-late", Fault::RenewsAfterRelease),
    ("entry-refusal-ends-acquire", "sem-refused", Fault::RefusalEndsAcquire),
    ("entry-refusal-ends-release", "sem-refused", Fault::RefusalEndsRelease),
    ("entry-missing-table-is-refusal", "sem-deleted", Fault::MissingTableIsRefusal),
];
