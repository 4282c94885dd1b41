//! Faults in the source of the machines and of the drive loop: text that occurs once, and what stands there instead.

/// One fault: where, what, and what it is bent to.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    pub name: &'static str,
    pub file: &'static str,
    /// Occurs once in the file: an expression, or whole statements.
    pub find: &'static str,
    pub bent: &'static str,
}

const fn mutant(name: &'static str, file: &'static str, find: &'static str, bent: &'static str) -> Mutant {
    Mutant { name, file, find, bent }
}

const TIME: &str = "crates/protocol/src/time.rs";
const CONFIG: &str = "crates/protocol/src/config.rs";
const SERVICE: &str = "crates/protocol/src/service_clock.rs";
const WATCH: &str = "crates/protocol/src/watch.rs";
const ACQUIRE: &str = "crates/protocol/src/acquire.rs";
const HELD: &str = "crates/protocol/src/held.rs";
const RELEASE: &str = "crates/protocol/src/release.rs";
const DRIVE: &str = "crates/dynamo-lock/src/drive.rs";
const ATTEMPT: &str = "crates/dynamo-lock/src/attempt.rs";
const GUARD: &str = "crates/dynamo-lock/src/guard.rs";
const LOCK: &str = "crates/dynamo-lock/src/lock.rs";

/// What some faults need: a field, or a moment kept. Always there in the copy, and without a meaning of its own.
pub const NEEDED: &[Mutant] = &[
    mutant(
        "",
        ACQUIRE,
        "    restarts: u32,\n    ",
        "    restarts: u32,\n    nonce: Option<LeaseId>,\n    asked_at: Option<ClockReading>,\n    ",
    ),
    mutant(
        "",
        ACQUIRE,
        "            restarts: 0,\n            ",
        "            restarts: 0,\n            nonce: None,\n            asked_at: None,\n            ",
    ),
    mutant(
        "",
        ACQUIRE,
        "        match &mut self.phase {\n            Phase::Read =>",
        "        self.asked_at = Some(now.at);\n        match &mut self.phase {\n            Phase::Read =>",
    ),
];

/// Every fault, file by file.
pub const ALL: &[&[Mutant]] = &[CLOCKS, CONSTANTS, SERVICE_CLOCK, ACQUIRING, HOLDING, RELEASING, LIBRARY];

/// R4, and margins.
const CLOCKS: &[Mutant] = &[
    mutant(
        "holder-smaller-clock",
        TIME,
        "boot.max(self.raw_ns.saturating_sub(earlier.raw_ns))",
        "boot.min(self.raw_ns.saturating_sub(earlier.raw_ns))",
    ),
    mutant(
        "waiter-larger-clock",
        TIME,
        "boot.min(self.raw_ns.saturating_sub(earlier.raw_ns))",
        "boot.max(self.raw_ns.saturating_sub(earlier.raw_ns))",
    ),
    mutant("no-wall-jump", TIME, "self.lease_elapsed_since(earlier).max(wall)", "self.lease_elapsed_since(earlier)"),
    mutant(
        "wall-extends",
        TIME,
        "self.lease_elapsed_since(earlier).max(wall)",
        "self.lease_elapsed_since(earlier).min(wall)",
    ),
    mutant("shorter-deadline", TIME, "other.left(now) > self.left(now)", "other.left(now) < self.left(now)"),
    mutant("no-margin", CONFIG, "lease.saturating_sub(margin(lease))", "lease"),
    mutant("half-margin", CONFIG, "lease.saturating_sub(margin(lease))", "lease.saturating_sub(margin(lease) / 2)"),
    mutant("double-margin", CONFIG, "lease.saturating_sub(margin(lease))", "lease.saturating_sub(margin(lease) * 2)"),
    mutant(
        "half-lease-watched",
        WATCH,
        "lease.saturating_sub(at.waiter_elapsed_since(self.since.0))",
        "(lease / 2).saturating_sub(at.waiter_elapsed_since(self.since.0))",
    ),
    mutant(
        "double-lease-watched",
        WATCH,
        "lease.saturating_sub(at.waiter_elapsed_since(self.since.0))",
        "(lease * 2).saturating_sub(at.waiter_elapsed_since(self.since.0))",
    ),
];

/// Constants, halved and doubled at their use.
const CONSTANTS: &[Mutant] = &[
    mutant("half-poll", CONFIG, "POLL_MAX.min(lease / 20)", "POLL_MAX.min(lease / 20) / 2"),
    mutant("double-poll", CONFIG, "POLL_MAX.min(lease / 20)", "POLL_MAX.min(lease / 20) * 2"),
    mutant("spinning-poll", CONFIG, "POLL_MIN.min(poll_max)", "Duration::from_millis(1)"),
    mutant("half-heartbeat", CONFIG, "HEARTBEAT_MAX.min(lease / 4)", "HEARTBEAT_MAX.min(lease / 8)"),
    mutant("double-heartbeat", CONFIG, "HEARTBEAT_MAX.min(lease / 4)", "HEARTBEAT_MAX.min(lease / 2)"),
    mutant("late-heartbeat", CONFIG, "HEARTBEAT_MAX.min(lease / 4)", "HEARTBEAT_MAX.min(lease)"),
    mutant("half-attempt", CONFIG, "ATTEMPT_MAX.min(self.lease / 4)", "ATTEMPT_MAX.min(self.lease / 8)"),
    mutant("double-attempt", CONFIG, "ATTEMPT_MAX.min(self.lease / 4)", "ATTEMPT_MAX.min(self.lease / 2)"),
    mutant("endless-attempt", CONFIG, "ATTEMPT_MAX.min(self.lease / 4)", "self.lease * 1000"),
    mutant("half-pad", HELD, "millis(lease + EXPIRY_PAD)", "millis(lease + EXPIRY_PAD / 2)"),
    mutant("double-pad", HELD, "millis(lease + EXPIRY_PAD)", "millis(lease + EXPIRY_PAD * 2)"),
    mutant("no-pad", HELD, "millis(lease + EXPIRY_PAD)", "millis(lease)"),
    mutant("half-retries", HELD, "self.time_left(now.at) / RETRIES", "self.time_left(now.at) / (RETRIES / 2)"),
    mutant("double-retries", HELD, "self.time_left(now.at) / RETRIES", "self.time_left(now.at) / (RETRIES * 2)"),
    mutant(
        "half-skew",
        ACQUIRE,
        "millis(self.request.timing.legacy_skew())",
        "millis(self.request.timing.legacy_skew()) / 2",
    ),
    mutant(
        "double-skew",
        ACQUIRE,
        "millis(self.request.timing.legacy_skew())",
        "millis(self.request.timing.legacy_skew()) * 2",
    ),
    mutant("one-slice", DRIVE, "left.min(SLICE)", "left"),
];

/// §5 and R6: the service's time.
const SERVICE_CLOCK: &[Mutant] = &[
    mutant("upper-without-delta", SERVICE, "self.0 * 1000 + 1000 + DELTA.as_millis() as u64", "self.0 * 1000 + 1000"),
    mutant(
        "upper-double-delta",
        SERVICE,
        "self.0 * 1000 + 1000 + DELTA.as_millis() as u64",
        "self.0 * 1000 + 1000 + 2 * DELTA.as_millis() as u64",
    ),
    mutant(
        "upper-without-second",
        SERVICE,
        "self.0 * 1000 + 1000 + DELTA.as_millis() as u64",
        "self.0 * 1000 + DELTA.as_millis() as u64",
    ),
    mutant("lower-without-delta", SERVICE, "(self.0 * 1000).saturating_sub(DELTA.as_millis() as u64)", "self.0 * 1000"),
    mutant(
        "lower-ahead",
        SERVICE,
        "(self.0 * 1000).saturating_sub(DELTA.as_millis() as u64)",
        "self.0 * 1000 + 1000 + 2 * DELTA.as_millis() as u64",
    ),
    mutant("upper-not-widened", SERVICE, "(passed * 1000).div_ceil(1000 - DRIFT_PER_MILLE) + 1", "passed"),
    mutant("lower-not-widened", SERVICE, "passed * 1000 / (1000 + DRIFT_PER_MILLE)", "passed"),
    mutant(
        "lower-by-larger-clock",
        SERVICE,
        "now.waiter_elapsed_since(self.received_at.0)",
        "now.lease_elapsed_since(self.received_at.0)",
    ),
    mutant(
        "upper-by-smaller-clock",
        SERVICE,
        "now.lease_elapsed_since(sent_at.0)",
        "now.waiter_elapsed_since(sent_at.0)",
    ),
    mutant(
        "sample-swapped",
        DRIVE,
        "lock(service).observe(date, sent_at, ReceivedAt(self.clock.now()))",
        "lock(service).observe(date, SentAt(self.clock.now()), ReceivedAt(sent_at.0))",
    ),
    mutant("old-samples-stay", SERVICE, "now.lease_elapsed_since(sample.received_at.0) <= AGE_MAX", "true"),
    mutant("disjoint-stay", SERVICE, "self.bounds(now).is_some_and(|(lower, upper)| lower > upper)", "false"),
    mutant(
        "no-interval",
        HELD,
        "now.service_interval().map(|(_, upper)| upper)",
        "now.service.map(|_| now.at.wall_ms)",
    ),
    mutant(
        "stamp-by-lower",
        HELD,
        "now.service_interval().map(|(_, upper)| upper)",
        "now.service_interval().map(|(lower, _)| lower)",
    ),
    mutant(
        "without_timestamp-is-over",
        ACQUIRE,
        "held.service_timestamp && date.is_some_and(|date| date.lower_when_received() > held.expires_on)",
        "date.is_some_and(|date| date.lower_when_received() > held.expires_on)",
    ),
    mutant(
        "reader-by-upper",
        ACQUIRE,
        "held.service_timestamp && date.is_some_and(|date| date.lower_when_received() > held.expires_on)",
        "held.service_timestamp && date.is_some_and(|date| date.upper_when_sent() > held.expires_on)",
    ),
    mutant(
        "reader-eager",
        ACQUIRE,
        "held.service_timestamp && date.is_some_and(|date| date.lower_when_received() > held.expires_on)",
        "held.service_timestamp && date.is_some_and(|date| date.upper_when_sent() + 5000 > held.expires_on)",
    ),
    mutant("never-long-dead", ACQUIRE, "has_expired_by_date(&held, date)", "false"),
    mutant(
        "no-r6-later",
        HELD,
        "self.stamp.map_or(Duration::MAX, |stamp| stamp.left(at)).min(self.sent.left(at))",
        "self.sent.left(at)",
    ),
    mutant(
        "no-r6",
        HELD,
        "row.whole(attr::EXPIRES_ON)?.saturating_sub(date.upper_when_sent())",
        "(row.whole(attr::EXPIRES_ON)?.saturating_sub(date.upper_when_sent())) + 1_000_000_000",
    ),
    mutant(
        "confirmed-unread",
        HELD,
        "let unconfirmed = unknown ||",
        "let unconfirmed = !crate::mutated(\"confirmed-unread\") && unknown ||",
    ),
    mutant("short-is-reported", HELD, "stamp.left(now.at) < timing.heartbeat() && !service_timestamp", "false"),
    mutant(
        "renewal-confirms-unread",
        HELD,
        "if unknown || stamp",
        "if unknown && !crate::mutated(\"renewal-confirms-unread\") || stamp",
    ),
];

/// R2, R5, nonces, seeds.
const ACQUIRING: &[Mutant] = &[
    mutant("waiter-own-lease", ACQUIRE, "Some(held.lease)", "Some(self.request.timing.lease())"),
    mutant("watch-from-request", ACQUIRE, "ReceivedAt(now.at)", "ReceivedAt(self.asked_at.unwrap_or(now.at))"),
    mutant(
        "watch-goes-on",
        ACQUIRE,
        "ReceivedAt(now.at)",
        "self.watch.as_ref().map_or(ReceivedAt(now.at), |watch| watch.since)",
    ),
    mutant("watch-begins-anew", ACQUIRE, "watch.version == *version && watch.token == token", "false"),
    mutant(
        "no-r5-retry",
        ACQUIRE,
        "{\n            // Landed after",
        "&& !crate::mutated(\"no-r5-retry\") {\n            // Landed after",
    ),
    mutant(
        "no-r5-report",
        ACQUIRE,
        "Phase::Won(held) => match held.next(now) {",
        "Phase::Won(held) if crate::mutated(\"no-r5-report\") => Step::Acquired(held.clone()),\n            Phase::Won(held) => match held.next(now) {",
    ),
    mutant(
        "nonce-per-acquisition",
        ACQUIRE,
        "LeaseId::from_random(now.entropy.lease_id)",
        "self.nonce.get_or_insert(LeaseId::from_random(now.entropy.lease_id)).clone()",
    ),
    mutant(
        "same-version-again",
        ACQUIRE,
        "RecordVersion::from_random(now.entropy.version)",
        "RecordVersion::from_random(7)",
    ),
    mutant("abandoned-is-foreign", ACQUIRE, "self.abandoned.contains(&held.lease_id)", "false"),
    mutant("all-is-abandoned", ACQUIRE, "self.abandoned.contains(&held.lease_id)", "true"),
    mutant("landed-before-is-foreign", ACQUIRE, "row.has_lease_id(&operation.lease_id) && !row.says_free()", "false"),
    mutant(
        "spent-is-won",
        ACQUIRE,
        "row.has_lease_id(&operation.lease_id) && !row.says_free()",
        "row.has_lease_id(&operation.lease_id)",
    ),
    mutant(
        "no-skew",
        ACQUIRE,
        "i128::from(time) > i128::from(legacy.expires_on) + i128::from(skew)",
        "i128::from(time) > i128::from(legacy.expires_on)",
    ),
    mutant("legacy-by-wall", ACQUIRE, "date.map(ServiceDate::lower_when_received)", "date.map(|_| now.at.wall_ms)"),
    mutant("seed-at-once", ACQUIRE, "lower >= since + 2", "lower > 0 && since > 0"),
    mutant(
        "seed-by-wall",
        ACQUIRE,
        "now.service_interval().map_or(now.at.wall_ms, |(lower, _)| lower) / 1000",
        "now.at.wall_ms / 1000",
    ),
    mutant("seed-not-ahead", ACQUIRE, "second + FLOOR_AHEAD.as_secs()", "second"),
    mutant("tokenless-once", ACQUIRE, "watch.tokenless_since = watch.tokenless_since.or(tokenless_since);", ""),
    mutant(
        "no-backoff",
        ACQUIRE,
        "operation.retry = Some(Pause::after(operation.retry, base, cap, now));",
        "let _ = (base, cap);",
    ),
    mutant("restarts-without-end", ACQUIRE, "self.restarts > RESTARTS_MAX", "false"),
    mutant(
        "abandons-quietly",
        ACQUIRE,
        "self.clean_up = Some(Release::clean_up(self.request.name.clone(), lease_id.clone(), until, now));",
        "let _ = until;",
    ),
];

/// R1, renewals, loss.
const HOLDING: &[Mutant] = &[
    mutant(
        "counts-from-last-try",
        HELD,
        "Deadline::new(renewal.sent_at, Timing::validity(lease))",
        "Deadline::new(sent_at, Timing::validity(lease))",
    ),
    mutant(
        "counts-from-answer",
        HELD,
        "Deadline::new(renewal.sent_at, Timing::validity(lease))",
        "Deadline::new(SentAt(now.at), Timing::validity(lease))",
    ),
    mutant("acquire-counts-from-last-try", ACQUIRE, "operation.sent_at", "sent_at"),
    mutant("acquire-counts-from-answer", ACQUIRE, "operation.sent_at", "SentAt(now.at)"),
    mutant(
        "late-answers-count",
        HELD,
        "if self.check(now.at).is_some() {\n            return;",
        "if crate::mutated(\"late-answers-count\") {\n            self.lost = None;\n        } else if self.check(now.at).is_some() {\n            return;",
    ),
    mutant(
        "loss-is-forgotten",
        HELD,
        "if self.lost.is_none() {",
        "if crate::mutated(\"loss-is-forgotten\") {\n            self.lost = None;\n        }\n        if self.lost.is_none() {",
    ),
    mutant("same-renewal_seq", HELD, "self.renewal_seq += 1;", ""),
    mutant(
        "payload-is-forgotten",
        HELD,
        "self.renewal = Some(Renewal { op: op.clone(), sent_at: SentAt(now.at) });",
        "self.renewal = Some(Renewal { op: op.clone(), sent_at: SentAt(now.at) }); self.data = None;",
    ),
    mutant("payload-is-confirmed", HELD, "self.data == data", "true"),
    mutant("no-max-hold", HELD, "self.max_hold.is_some_and(|d| d.passed(at))", "false"),
    mutant(
        "one-failure-is-a-loss",
        HELD,
        "self.renewal = Some(renewal);\n                self.pause_retry(now);",
        "self.lost = Some(LossReason::Expired);",
    ),
    mutant("without_timestamp-goes-back", HELD, "ends.expires_on = ends.expires_on.max(self.expires_on);", ""),
    mutant("without_timestamp-stays", HELD, "!self.service_timestamp && now.service_interval().is_some()", "false"),
    mutant(
        "conflict-is-ignored",
        HELD,
        "self.lost = Some(why(row.as_ref(), self.token))",
        "let _ = why(row.as_ref(), self.token);",
    ),
    mutant("landed-before-is-lost", HELD, "self.landed_before(&renewal, row)", "false"),
];

/// Truthful answers.
const RELEASING: &[Mutant] = &[
    mutant(
        "release-guesses",
        RELEASE,
        "(true, true) => ReleaseEnd::Unknown,",
        "(true, true) if crate::mutated(\"release-guesses\") => ReleaseEnd::Released,\n            (true, true) => ReleaseEnd::Unknown,",
    ),
    mutant("release-forgets", RELEASE, "self.ambiguous |= *outcome == Outcome::Unknown;", ""),
    mutant("release-guesses-legacy", RELEASE, "legacy || row.is_none()", "false"),
    mutant(
        "release-guesses-twice-revoked",
        RELEASE,
        "row.is_some_and(|row| row.get(attr::REVOKED_TOKEN).is_some())",
        "false",
    ),
    mutant(
        "release-overlooks-itself",
        RELEASE,
        "row.version().as_ref() == Some(&self.op.version) || ours(row)",
        "{ let _ = (&ours, row); false }",
    ),
    mutant("release-for-ever", RELEASE, "self.retry.is_some() && passed", "false"),
    mutant(
        "release-after-loss-is-ok",
        RELEASE,
        "Some(loss) => ReleaseEnd::Lost(loss),\n            None => end,",
        "Some(loss) if !crate::mutated(\"release-after-loss-is-ok\") => ReleaseEnd::Lost(loss),\n            _ => end,",
    ),
    mutant("revoke-for-ever", RELEASE, "self.end.is_none() && self.retry.is_some()", "false"),
    mutant(
        "revoke-says-done",
        RELEASE,
        "Some(RevokeEnd::Ended(row.clone()))",
        "{ let _ = row; Some(RevokeEnd::Done) }",
    ),
];

/// The drive loop, guards, and who cleans up.
const LIBRARY: &[Mutant] = &[
    mutant(
        "late-timer",
        DRIVE,
        "loss = self.until_lost(&holding) =>",
        "loss = self.until_lost(&holding), if !crate::mutated(\"late-timer\") && !crate::mutated(\"late-answers-count\") =>",
    ),
    mutant("pause-of-nothing", DRIVE, "length.max(Duration::from_millis(1))", "length"),
    mutant(
        "no-timeout",
        DRIVE,
        "() = self.pause(timeout) =>",
        "() = self.pause(timeout), if !crate::mutated(\"no-timeout\") =>",
    ),
    mutant(
        "drop-leaves-row",
        ATTEMPT,
        "        if self.finished {",
        "        if self.finished || crate::mutated(\"drop-leaves-row\") {",
    ),
    mutant(
        "drop-does-not-wait",
        ATTEMPT,
        "let reply = flight.await;\n            core.now",
        "if crate::mutated(\"drop-does-not-wait\") {\n                return;\n            }\n            let reply = flight.await;\n            core.now",
    ),
    mutant(
        "time-out-leaves-row",
        ATTEMPT,
        "if let Some(mut release) = self.core.now(|now| self.machine.cancel(now)) {",
        "if let Some(mut release) = self.core.now(|now| self.machine.cancel(now)).filter(|_| !crate::mutated(\"time-out-leaves-row\")) {",
    ),
    mutant(
        "clean-up-is-forgotten",
        ATTEMPT,
        "if let Err(error) = core.release(release, timeout)",
        "if crate::mutated(\"clean-up-is-forgotten\") {\n                return;\n            }\n            if let Err(error) = core.release(release, timeout)",
    ),
    mutant(
        "drop-does-not-release",
        GUARD,
        "if !self.released && !self.is_forked() {",
        "if !self.released && !self.is_forked() && !crate::mutated(\"drop-does-not-release\") {",
    ),
    mutant(
        "liveness-is-signalled",
        GUARD,
        "self.holding.held().check(at)",
        "{ let _ = at; self.holding.told.load(Ordering::Relaxed).then_some(LossReason::Expired) }",
    ),
    mutant("validity-until-released", GUARD, "self.holding.ended.cancel();", ""),
    mutant(
        "hold-without_timestamp",
        LOCK,
        "duration > core.timing.lease() || without_timestamp",
        "duration > core.timing.lease()",
    ),
    mutant("hold-outlasts-row", LOCK, "hold.held.outlasts_row(core.clock.now())", "false"),
    mutant("hold-by-old-samples", HELD, "self.heard.filter(|_| self.afresh)", "self.heard.filter(|_| false)"),
    mutant(
        "hold-written-once",
        DRIVE,
        "service_timestamp && !extension.held.outlasts_row(self.clock.now())",
        "service_timestamp",
    ),
    mutant(
        "hold-tried-without-rest",
        DRIVE,
        "                landed = extension.held.landed();\n",
        "if !crate::mutated(\"hold-tried-without-rest\") { landed = extension.held.landed(); }\n",
    ),
    mutant("undated-takes-the-date", HELD, "self.heard = heard.or(self.heard);", "self.heard = heard;"),
    mutant("hold-not-extended", LOCK, "duration > core.timing.lease() || without_timestamp", "without_timestamp"),
];
