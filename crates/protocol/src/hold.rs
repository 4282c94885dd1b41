//! A hold: a lock for a fixed time that nothing renews and nothing releases.

use std::time::Duration;

use crate::{
    Acquire, AcquireEnd, Body, ConfigError, Deadline, EXPIRY_PAD, FencingToken, Held, HeldStep, Holder, LossReason,
    Machine, Now, Release, Renewal, Request, Response, RowError, SentAt, Step, Timing, WaitMode, Watch,
};

/// Maximum number of renewals that make the row last as long as the hold. Two are enough where the dates are correct (A4)
/// and the host keeps running.
const EXTENSIONS_MAX: u64 = 4;
/// Maximum length of one pause, so that a loss is noticed soon after the host has resumed (R4).
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Result of a [`Hold`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// The lock is held for the requested time.
    Held(Box<Held>),
    /// The lock was acquired but lost before the row lasted as long as the hold.
    Lost {
        /// Token of the lost acquisition.
        token: FencingToken,
        /// Reason of the loss.
        reason: LossReason,
    },
    /// Another client holds the lock.
    Contended(Holder),
    /// The row cannot be used as a lock.
    RowError(RowError),
    /// No request was answered for a whole lease.
    Unanswered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Acquiring(Acquire),
    Extending(Extension),
    Held(Box<Held>),
    Lost(FencingToken, LossReason),
}

/// A lock that is held, with a row that does not last for the whole hold yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Extension {
    held: Held,
    /// Number of renewals at the start of the extension.
    before: u64,
    /// Number of renewals at the last look.
    seen: u64,
}

/// State machine that acquires a lock for a fixed time. [`Machine`] describes how to call it.
///
/// Nothing renews a hold, so its row must last for the whole time before the hold is reported (§3):
///
/// 1. It reads first if no service time is known, so that the acquire can have a service timestamp.
/// 2. It acquires the lock without waiting. The lease is at most the client's own, so that an orphaned lease of this step
///    ends soon.
/// 3. If the hold is longer, if the row has no service timestamp, or if the row would expire before the lease (R6), it
///    renews the lease, up to four times.
///
/// If step 3 fails, the lock is released in the background.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    duration: Duration,
    /// Lease of the acquisition. A longer hold is extended by a renewal.
    lease: Duration,
    attempt_timeout: Duration,
    /// Latest time for reporting the hold, if its liveness key contains the end of the hold.
    in_time: Option<Deadline>,
    phase: Phase,
}

impl Hold {
    /// Starts a hold of `duration`, from 1 s to 30 days. `request.timing` is the client's timing. A liveness key in the
    /// request contains the end of the hold and must have been created just now, with [`EXPIRY_PAD`] for the acquisition.
    ///
    /// # Errors
    /// [`ConfigError::Lease`] if the duration is out of range.
    pub fn new(request: Request, duration: Duration, watch: Option<Watch>, now: &Now<'_>) -> Result<Self, ConfigError> {
        let client = &request.timing;
        let own = Timing::for_hold(duration)?;
        let timing =
            if duration > client.lease() { client.clone() } else { own.with_legacy_skew(client.legacy_skew()) };
        let (lease, attempt_timeout) = (client.lease(), timing.attempt_timeout());
        let in_time = request.liveness_key.is_some().then(|| Deadline::new(SentAt(now.at), EXPIRY_PAD));
        let request =
            Request { timing, renewal: Renewal::Disabled, max_hold: None, wait_mode: WaitMode::Try, ..request };
        let mut acquire = Acquire::new(request, watch);
        if now.service.is_some() && now.service_interval().is_none() {
            acquire = acquire.reading_first();
        }
        Ok(Self { duration, lease, attempt_timeout, in_time, phase: Phase::Acquiring(acquire) })
    }

    /// Returns the maximum time for one try of a request.
    pub fn attempt_timeout(&self) -> Duration {
        self.attempt_timeout
    }

    /// Returns whether the lock is acquired, even if the hold cannot be reported yet.
    pub fn has_won(&self) -> bool {
        match &self.phase {
            Phase::Acquiring(acquire) => acquire.has_won(),
            Phase::Extending(_) | Phase::Held(_) | Phase::Lost(..) => true,
        }
    }

    /// Decides whether the row of the acquired lock lasts as long as the hold.
    fn acquired(&mut self, mut held: Held, now: &Now<'_>) -> Step<HoldEnd, Release> {
        let without_timestamp = now.service.is_some() && !held.has_service_timestamp();
        if self.duration <= self.lease && !without_timestamp && !held.outlasts_row(now.at) {
            return self.finish(&held, now);
        }
        held.request_lease(self.duration);
        let renewals = held.renewals();
        self.phase = Phase::Extending(Extension { held, before: renewals, seen: renewals });
        self.extend(now)
    }

    fn extend(&mut self, now: &Now<'_>) -> Step<HoldEnd, Release> {
        let Phase::Extending(Extension { held, before, seen }) = &mut self.phase else { return self.next(now) };
        let mut failed = held.check(now.at); // R5
        if failed.is_none() && held.renewals() > *seen {
            *seen = held.renewals();
            let with_timestamp = now.service.is_none() || held.has_service_timestamp();
            if with_timestamp && !held.outlasts_row(now.at) {
                let held = held.clone();
                return self.finish(&held, now);
            }
            // Each date came with a standstill of the host, or the dates are wrong.
            failed = (*seen - *before == EXTENSIONS_MAX).then_some(LossReason::Expired);
            // The row has no service timestamp or an old one. The last response had the date for the next one.
            held.request_renewal();
        }
        if failed.is_none() {
            match held.next(now) {
                HeldStep::Lost(reason) => failed = Some(reason),
                HeldStep::Sleep(length) => return Step::Pause(length.min(PAUSE_MAX)),
                HeldStep::Write(op) => return Step::Write(op),
            }
        }
        let held = held.clone();
        self.fail(&held, failed.unwrap_or(LossReason::Expired), now)
    }

    /// Reports the hold, unless it took too long: its liveness key would end before the hold does.
    fn finish(&mut self, held: &Held, now: &Now<'_>) -> Step<HoldEnd, Release> {
        if self.in_time.is_some_and(|in_time| in_time.passed(now.at)) {
            return self.fail(held, LossReason::Expired, now);
        }
        self.phase = Phase::Held(Box::new(held.clone()));
        Step::Done(HoldEnd::Held(Box::new(held.clone())))
    }

    fn fail(&mut self, held: &Held, reason: LossReason, now: &Now<'_>) -> Step<HoldEnd, Release> {
        self.phase = Phase::Lost(held.token(), reason);
        Step::CleanUp(Release::of_hold(held, self.duration, now))
    }
}

impl Machine for Hold {
    type End = HoldEnd;
    type CleanUp = Release;

    fn next(&mut self, now: &Now<'_>) -> Step<HoldEnd, Release> {
        match &mut self.phase {
            Phase::Acquiring(acquire) => match acquire.next(now) {
                Step::Done(AcquireEnd::Acquired(held)) => self.acquired(*held, now),
                Step::Done(AcquireEnd::Contended(holder)) => Step::Done(HoldEnd::Contended(holder)),
                Step::Done(AcquireEnd::RowError(error)) => Step::Done(HoldEnd::RowError(error)),
                Step::Done(AcquireEnd::Unanswered) => Step::Done(HoldEnd::Unanswered),
                Step::Read { strong } => Step::Read { strong },
                Step::Write(op) => Step::Write(op),
                Step::Pause(length) => Step::Pause(length),
                Step::CleanUp(release) => Step::CleanUp(release),
            },
            Phase::Extending(_) => self.extend(now),
            Phase::Held(held) => Step::Done(HoldEnd::Held(held.clone())),
            Phase::Lost(token, reason) => Step::Done(HoldEnd::Lost { token: *token, reason: *reason }),
        }
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        match &mut self.phase {
            Phase::Acquiring(acquire) => acquire.handle(now, response),
            Phase::Extending(Extension { held, .. }) => {
                if let Body::Outcome { sent_at, outcome } = response.body {
                    held.handle_outcome(now, sent_at, outcome, response.date);
                }
            }
            Phase::Held(_) | Phase::Lost(..) => {}
        }
    }

    fn may_acquire(&self) -> bool {
        true
    }

    fn cancel(&mut self, now: &Now<'_>) -> Option<Release> {
        match &mut self.phase {
            Phase::Acquiring(acquire) => acquire.cancel(now),
            Phase::Extending(Extension { held, .. }) => Some(Release::of_hold(held, self.duration, now)),
            Phase::Held(_) | Phase::Lost(..) => None,
        }
    }

    /// A hold that is being extended retries until its lease ends. An acquisition ends with the refusal.
    fn retries_refusals(&self) -> bool {
        matches!(self.phase, Phase::Extending(_))
    }

    fn watch(&self) -> Option<&Watch> {
        match &self.phase {
            Phase::Acquiring(acquire) => acquire.watch(),
            _ => None,
        }
    }
}
