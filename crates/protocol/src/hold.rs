//! A hold: a lock for a fixed time that nothing renews and nothing releases.

use std::time::Duration;

use crate::{
    Acquire, AcquireEnd, ClockReading, ConfigError, Deadline, EXPIRY_PAD, Held, HeldStep, LossReason, Machine, Now,
    Release, Renewal, Request, Response, SentAt, Step, Timing, WaitMode, Watch,
};

/// Maximum number of renewals that make the row last as long as the hold. Two are enough where the dates are correct
/// (A4) and the host keeps running.
const EXTENSIONS_MAX: u64 = 4;
/// Maximum length of one pause, so that a loss is noticed soon after the host has resumed (R4).
const PAUSE_MAX: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Acquiring(Acquire),
    /// The lock is held. The hold is reported when its row lasts for the whole time.
    Extending {
        held: Box<Held>,
        /// Number of extensions that were requested.
        extensions: u64,
        /// Number of renewals at the last look at the row.
        seen: Option<u64>,
    },
    Ended(AcquireEnd),
}

/// State machine that acquires a lock for a fixed time. [`Machine`] describes how to call it.
///
/// [`AcquireEnd::Acquired`] reports the hold. Nothing renews it, so its row must last for the whole time before the
/// hold is reported (§3):
///
/// 1. It reads first if no service time is known, so that the acquire can have a service timestamp.
/// 2. It acquires the lock without waiting. The lease is at most the client's own, so that an orphaned lease of this
///    step ends soon.
/// 3. If the hold is longer, if the row has no service timestamp, or if the row would expire before the lease (R6), it
///    renews the lease, up to four times.
///
/// If step 3 fails, the lock is released in the background.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    duration: Duration,
    /// Lease of the acquisition. A longer hold is extended by a renewal.
    lease: Duration,
    /// Latest time for reporting the hold, if its liveness key contains the end of the hold.
    in_time: Option<Deadline>,
    phase: Phase,
}

impl Hold {
    /// Starts a hold of `duration`, from 1 s to 30 days. `request.timing` is the client's timing. A liveness key in the
    /// request contains the end of the hold and must have been created just now, with [`EXPIRY_PAD`] for the
    /// acquisition.
    ///
    /// # Errors
    /// [`ConfigError::Lease`] if the duration is out of range.
    pub fn new(request: Request, duration: Duration, watch: Option<Watch>, now: &Now<'_>) -> Result<Self, ConfigError> {
        let client = &request.timing;
        let own = Timing::for_hold(duration)?;
        let timing =
            if duration > client.lease() { client.clone() } else { own.with_legacy_skew(client.legacy_skew()) };
        let lease = client.lease();
        let in_time = request.liveness_key.is_some().then(|| Deadline::new(SentAt(now.at), EXPIRY_PAD));
        let request =
            Request { timing, renewal: Renewal::Disabled, max_hold: None, wait_mode: WaitMode::Try, ..request };
        let mut acquire = Acquire::new(request, watch);
        if now.service.is_some() && now.service_interval().is_none() {
            acquire = acquire.reading_first();
        }
        Ok(Self { duration, lease, in_time, phase: Phase::Acquiring(acquire) })
    }

    /// Reports the hold if its row lasts for the whole time, or renews the row.
    fn extend(&mut self, now: &Now<'_>) -> Step<AcquireEnd, Release> {
        let Phase::Extending { held, extensions, seen } = &mut self.phase else { return self.next(now) };
        let mut failed = held.check(now.at); // R5
        if failed.is_none() && *seen != Some(held.renewals()) {
            *seen = Some(held.renewals());
            let lasts = (*extensions > 0 || self.duration <= self.lease) && held.row_outlasts_lease(now);
            // If the acquisition took too long, the liveness key would end before the hold does.
            if lasts && self.in_time.is_none_or(|in_time| !in_time.passed(now.at)) {
                self.phase = Phase::Ended(AcquireEnd::Acquired(held.clone()));
                return self.next(now);
            }
            // After the last extension: each date came with a standstill of the host, or the dates are wrong.
            failed = (lasts || *extensions == EXTENSIONS_MAX).then_some(LossReason::Expired);
            *extensions += 1;
            // The last response had a date for the service timestamp of this renewal.
            held.request_lease(self.duration);
        }
        let reason = match failed {
            Some(reason) => reason,
            None => match held.next(now) {
                HeldStep::Lost(reason) => reason,
                HeldStep::Sleep(length) => return Step::Pause(length.min(PAUSE_MAX)),
                HeldStep::Write(op) => return Step::Write(op),
            },
        };
        let (token, release) = (held.token(), Release::of_hold(held, self.duration, now));
        self.phase = Phase::Ended(AcquireEnd::Lost { token, reason });
        Step::CleanUp(release)
    }
}

impl Machine for Hold {
    type End = AcquireEnd;
    type CleanUp = Release;

    fn next(&mut self, now: &Now<'_>) -> Step<AcquireEnd, Release> {
        match &mut self.phase {
            Phase::Acquiring(acquire) => match acquire.next(now) {
                Step::Done(AcquireEnd::Acquired(held)) => {
                    self.phase = Phase::Extending { held, extensions: 0, seen: None };
                    self.next(now)
                }
                step => step,
            },
            Phase::Extending { .. } => self.extend(now),
            Phase::Ended(end) => Step::Done(end.clone()),
        }
    }

    fn handle(&mut self, now: &Now<'_>, response: Response<'_>) {
        match &mut self.phase {
            Phase::Acquiring(acquire) => acquire.handle(now, response),
            Phase::Extending { held, .. } => held.handle(now, response),
            Phase::Ended(_) => {}
        }
    }

    fn may_acquire(&self) -> bool {
        true
    }

    fn request_limit(&self, at: ClockReading) -> Duration {
        match &self.phase {
            Phase::Acquiring(acquire) => acquire.request_limit(at),
            Phase::Extending { held, .. } => held.attempt_timeout(),
            Phase::Ended(_) => Duration::MAX,
        }
    }

    fn cancel(&mut self, now: &Now<'_>) -> Option<Release> {
        match &mut self.phase {
            Phase::Acquiring(acquire) => acquire.cancel(now),
            Phase::Extending { held, .. } => Some(Release::of_hold(held, self.duration, now)),
            Phase::Ended(_) => None,
        }
    }

    fn watch(&self) -> Option<&Watch> {
        match &self.phase {
            Phase::Acquiring(acquire) => acquire.watch(),
            _ => None,
        }
    }
}
