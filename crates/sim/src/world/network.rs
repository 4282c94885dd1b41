//! Network between a process and the table: it delays, loses and repeats requests. A request is applied at one time
//! and answered at another, and either may never happen.

use std::{sync::Arc, time::Duration};

use dynamo_lock::store::{
    Answer, BoxFuture, Consistency, Op, OpKind, Outcome, Page, Row, ServiceDate, StoreErrorCause,
};
use dynamo_lock::{LockName, Store, StoreError, StoreErrorKind};
use dynamo_lock_protocol::{SharedOp, attr};
use test_support::Rng;
use tokio::time::sleep;

use super::{Process, World, host::SentRead, lock, plan::FaultRates, show_op};
use crate::mutants::Fault;

/// Upper bound of the requests of one process in one second: forty polls for each of its tasks, and a reserve.
const RATE_MAX: u64 = 400;

/// Shortest time from one poll of a waiter to the next, less the drift of a fast clock.
const POLL_MIN: Duration = Duration::from_millis(24);

/// Number of attempts that one acquisition of a worker may begin.
const FIRST_READS: u32 = 2;

/// Store of a process, which sends its requests over the network.
#[derive(Clone, Debug)]
pub struct Link(pub Arc<Process>);

/// Delivery of one request.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    /// Time until it is applied. `None`: never.
    until_applied: Option<Duration>,
    until_answered: Duration,
    reply: ReplyKind,
    /// Time until it is applied again.
    applied_again: Option<Duration>,
    /// It is applied even if its sender has stopped waiting.
    detached: bool,
    dated: bool,
    service_host: usize,
}

/// Kind of the reply that a sender receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    Answered,
    /// An error: there was no answer.
    Lost,
    /// Neither an answer nor an error.
    Hung,
    Throttled,
    Refused,
    /// The table does not exist.
    NoTable,
}

/// A request that has ended.
#[derive(Debug)]
pub struct Exchange<T> {
    /// Kind of the reply that the sender receives, never [`ReplyKind::Hung`].
    pub reply: ReplyKind,
    /// Result of the request, received or not. `None` if it was not applied.
    pub result: Option<T>,
    /// Date of the service.
    pub date: Option<ServiceDate>,
}

impl World {
    fn delivery(&self, process: &Process) -> Delivery {
        let time = self.time();
        let down = *lock(&process.down_until) > time;
        let denied = *lock(&process.denied_until) > time && !self.is_quiescent();
        let burst = *lock(&self.burst_until) > time;
        let mut rng = lock(&self.rng);
        let quiescent = self.is_quiescent();
        let fault_rates = if quiescent { FaultRates::default() } else { self.plan.fault_rates };
        let latency = self.plan.latency;
        let mut delivery = Delivery {
            until_applied: Some(rng.ms(1..=latency)),
            until_answered: rng.ms(1..=latency),
            reply: ReplyKind::Answered,
            applied_again: None,
            detached: rng.chance(300),
            dated: quiescent || !rng.chance(self.plan.dateless),
            service_host: rng.range(0..=2) as usize,
        };
        if self.plan.fixed_service_host {
            delivery.service_host = process.host.index % 3;
        }
        let late = self.plan.longest * 2;
        if denied && rng.chance(950) {
            return Delivery { until_applied: None, reply: ReplyKind::Refused, ..delivery };
        }
        if burst && rng.chance(900) || rng.chance(fault_rates.throttled) {
            return Delivery { until_applied: None, reply: ReplyKind::Throttled, ..delivery };
        }
        if down && rng.chance(950) || rng.chance(fault_rates.lost) {
            let reply = if rng.chance(500) { ReplyKind::Lost } else { ReplyKind::Hung };
            return Delivery { until_applied: None, reply, ..delivery };
        }
        if rng.chance(fault_rates.refused) {
            return Delivery { until_applied: None, reply: ReplyKind::Refused, ..delivery };
        }
        if down || rng.chance(fault_rates.unanswered) {
            delivery.reply = ReplyKind::Lost;
        } else if rng.chance(fault_rates.hung) {
            delivery.reply = ReplyKind::Hung;
        }
        if rng.chance(fault_rates.late) {
            delivery.detached = true;
            match rng.chance(500) {
                true => delivery.until_applied = Some(rng.up_to(late)),
                false => delivery.until_answered = rng.up_to(late),
            }
        }
        if rng.chance(fault_rates.duplicated) {
            delivery.applied_again = Some(rng.up_to(late));
        }
        delivery
    }

    /// Denies access to a process for a while after an answer to it was lost, as when its credentials expire then.
    fn deny_after_loss(&self, process: &Process, reply: ReplyKind) {
        let denied = self.plan.fault_rates.denied;
        if denied == 0 || !matches!(reply, ReplyKind::Lost | ReplyKind::Hung) || self.is_quiescent() {
            return;
        }
        let mut rng = lock(&self.rng);
        if rng.chance(denied) {
            *lock(&process.denied_until) = self.time() + rng.up_to(self.plan.longest);
        }
    }

    /// Draws the age of the row that a read returns.
    pub fn staleness(&self, consistency: Consistency) -> Duration {
        match consistency {
            Consistency::Eventual if self.plan.stale > Duration::ZERO => lock(&self.rng).up_to(self.plan.stale),
            _ => Duration::ZERO,
        }
    }

    fn date(&self, process: &Process, delivery: &Delivery) -> Option<ServiceDate> {
        let arrives = delivery.until_applied.is_some() && delivery.reply == ReplyKind::Answered;
        if let Some(date) = arrives.then(|| process.wild_date()).flatten() {
            return Some(date);
        }
        let off = self.plan.service_hosts[delivery.service_host];
        let off = match self.mutant.fault {
            Some(Fault::WildDates) => off + [10_000, -10_000, 0][delivery.service_host],
            Some(Fault::DatesOff(seconds)) => off + seconds * 1000,
            Some(Fault::DatesFromWall) => process.host.clock(self).wall_ms as i64 - self.epoch_ms() as i64,
            _ => off,
        };
        let shown = self.epoch_ms().saturating_add_signed(off) / 1000;
        (self.plan.service_clock && delivery.dated).then_some(ServiceDate(shown))
    }
}

impl Link {
    /// Sends one request, and returns when its answer has arrived.
    pub async fn carry<T: Send + 'static>(&self, work: impl Fn() -> T + Send + Sync + 'static) -> Exchange<T> {
        let process = &self.0;
        let world = process.world.clone();
        process.gate().await;
        self.check_request_rate();
        let delivery = world.delivery(process);
        world.deny_after_loss(process, delivery.reply);
        let flight = process.host.begin_request(&world);
        let exchange = self.deliver(world, delivery, work).await;
        process.gate().await;
        drop(flight);
        exchange
    }

    async fn deliver<T: Send + 'static>(
        &self,
        world: Arc<World>,
        delivery: Delivery,
        work: impl Fn() -> T + Send + Sync + 'static,
    ) -> Exchange<T> {
        let Some(until_applied) = delivery.until_applied else {
            world.trace(|| format!("{:?} request is lost: {:?}", self.0, delivery.reply));
            let date = world.date(&self.0, &delivery);
            sleep(delivery.until_answered).await;
            return finish(delivery.reply, None, date).await;
        };
        let process = self.0.clone();
        let there = async move {
            sleep(until_applied).await;
            if world.has_no_table() {
                return (None, world.date(&process, &delivery));
            }
            let answer = (Some(work()), world.date(&process, &delivery));
            if let Some(later) = delivery.applied_again {
                tokio::spawn(async move {
                    sleep(later).await;
                    if !world.has_no_table() {
                        work();
                    }
                });
            }
            answer
        };
        let (result, date) = match delivery.detached || delivery.applied_again.is_some() {
            false => there.await,
            true => match tokio::spawn(there).await {
                Ok(answer) => answer,
                Err(record_guard_gone) if record_guard_gone.is_panic() => {
                    std::panic::resume_unwind(record_guard_gone.into_panic())
                }
                Err(_) => return finish(ReplyKind::Hung, None, None).await,
            },
        };
        sleep(delivery.until_answered).await;
        match (delivery.reply, &result) {
            (ReplyKind::Answered, None) => finish(ReplyKind::NoTable, None, date).await,
            (reply, _) => finish(reply, result, date).await,
        }
    }

    /// Checks that a process does not send requests without end (§6).
    fn check_request_rate(&self) {
        let process = &self.0;
        let second = process.world.time().as_secs();
        let mut rate = lock(&process.rate);
        if rate.0 != second {
            *rate = (second, 0);
        }
        rate.1 += 1;
        process
            .world
            .check(rate.1 != RATE_MAX, "§6 (requests)", || format!("{process:?} sent {RATE_MAX} in a second"));
    }
}

impl Process {
    /// Records that a worker begins to acquire a lock.
    pub fn record_call(&self, name: &str) {
        *lock(&self.first_reads).entry(name.to_owned()).or_default() += FIRST_READS;
    }

    /// Checks that a task pauses before it reads the same row again (§6). The first read of an attempt has no pause before
    /// it, and one task may drive several attempts of a client.
    pub fn check_poll(&self, name: &LockName) {
        let now = self.world.time();
        lock(&self.asked).insert(name.as_str().to_owned(), now);
        let Some(task) = tokio::task::try_id() else { return };
        let read = SentRead { name: name.clone(), time: now, clock: self.host.clock(&self.world) };
        let Some(last) = lock(&self.reads).insert(task, read) else { return };
        let pause = now.saturating_sub(last.time);
        let mut early = last.name == *name && pause < POLL_MIN;
        if let Some(left) = lock(&self.first_reads).get_mut(name.as_str()).filter(|left| early && **left > 0) {
            (early, *left) = (false, *left - 1);
        }
        self.world.check(!early, "§6 (polls)", || format!("{self:?} reads {name} again after {pause:?}"));
    }

    /// Returns whether the last request of this task was a read.
    pub fn is_polling(&self) -> bool {
        tokio::task::try_id().is_some_and(|task| lock(&self.reads).contains_key(&task))
    }

    /// Checks that a process pauses before it sends the same write again (§6). A renewal may be requested at any time.
    /// Returns whether an attempt of this write has failed before.
    pub fn check_retry(&self, op: &Op) -> bool {
        let Some(at) = lock(&self.failed).remove(op.version.as_str()) else { return false };
        self.world.check_retry_deadline(self, op);
        let pause = self.world.time().saturating_sub(at);
        let is_renewal = match &op.kind {
            OpKind::Renew { .. } => true,
            OpKind::Shared(write) => matches!(write.op, SharedOp::Renew { token: Some(_), .. }),
            _ => false,
        };
        let early = pause < POLL_MIN && !is_renewal;
        self.world.check(!early, "§6 (retries)", || format!("{self:?} sends {} again after {pause:?}", show_op(op)));
        true
    }

    pub fn record_result(&self, op: &Op, outcome: Option<&Outcome>) {
        match outcome {
            None | Some(Outcome::Unknown | Outcome::Throttled) => {
                lock(&self.failed).insert(op.version.as_str().to_owned(), self.world.time());
            }
            Some(Outcome::Conflict(row)) => self.world.record_loss(op, row.as_ref()),
            Some(_) => {}
        }
    }

    /// Records that this task does something else than polling.
    pub fn record_other_work(&self) {
        if let Some(task) = tokio::task::try_id() {
            lock(&self.reads).remove(&task);
        }
    }
}

/// Ends a request. A request that hangs never ends.
async fn finish<T>(reply: ReplyKind, result: Option<T>, date: Option<ServiceDate>) -> Exchange<T> {
    if reply == ReplyKind::Hung {
        std::future::pending::<()>().await;
    }
    Exchange { reply, result, date }
}

impl Link {
    /// Returns the answer to a write, and records what its sender has received with it. Mutants change it.
    fn received(&self, op: &Op, is_retry: bool, mut exchange: Exchange<Outcome>) -> Answer<Outcome> {
        let world = &self.0.world;
        if exchange.reply == ReplyKind::NoTable {
            world.record_loss(op, None);
            if world.mutant.is(Fault::MissingTableIsRefusal) {
                exchange.reply = ReplyKind::Refused;
            }
        }
        let given_up = match &op.kind {
            OpKind::Acquire(_) | OpKind::TakeOver { .. } => world.mutant.is(Fault::RefusalEndsAcquire),
            OpKind::Release { .. } => world.mutant.is(Fault::RefusalEndsRelease),
            OpKind::Revoke { .. } | OpKind::ForceRevoke { .. } => world.mutant.is(Fault::RefusalEndsRevoke),
            OpKind::HandOver { .. } => world.mutant.is(Fault::HandoverFailureEndsWait),
            _ => false,
        };
        if exchange.reply == ReplyKind::Refused && is_retry {
            world.count("retry refused");
        }
        let is_other = match (&op.kind, &exchange.result) {
            (OpKind::HandOver { next, .. }, Some(Outcome::Conflict(row))) => {
                row.as_ref().and_then(|row| row.text(attr::LEASE_ID)) != Some(next.lease_id.as_str())
            }
            _ => false,
        };
        if given_up && (exchange.reply == ReplyKind::Refused || is_other) {
            self.0.given_up.notify_waiters();
        }
        exchange.answer()
    }
}

impl<T> Exchange<T> {
    /// Returns the answer of the store.
    fn answer(self) -> Answer<T> {
        let (kind, message) = match (self.reply, self.result) {
            (ReplyKind::Answered, Some(result)) => return Answer { result: Ok(result), date: self.date },
            (ReplyKind::Throttled, _) => (StoreErrorKind::Throttled, "throttled"),
            (ReplyKind::Refused, _) => (StoreErrorKind::AccessDenied, "access denied"),
            (ReplyKind::NoTable, _) => {
                let error = StoreError::new(StoreErrorKind::Misconfigured, "no table");
                return Err(error.with_cause(StoreErrorCause::MissingTable)).into();
            }
            _ => (StoreErrorKind::Unanswered, "no answer"),
        };
        Err(StoreError::new(kind, message)).into()
    }
}

impl Store for Link {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            let (process, name) = (self.0.clone(), name.clone());
            process.check_poll(&name);
            let store_request = name.clone();
            let exchange = self.carry(move || {
                let stale = process.world.staleness(consistency);
                process.world.read_row(&process, &store_request, stale)
            });
            let answer = exchange.await.answer();
            self.0.record_date(answer.date);
            match &answer.result {
                Ok(row) => self.0.world.record_received(&self.0, row.as_ref()),
                // A refusal ends the acquisition, and the task may begin another one.
                Err(error) if !error.is_retryable() => self.0.record_other_work(),
                Err(_) => {}
            }
            self.0.world.count("read");
            answer
        })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            let is_retry = self.0.check_retry(op);
            self.0.world.record_sent(&self.0, op);
            self.0.record_other_work();
            let (process, store_request) = (self.0.clone(), op.clone());
            let exchange = self.carry(move || process.world.write_row(&process, &store_request)).await;
            let answer = self.received(op, is_retry, exchange);
            self.0.record_date(answer.date);
            if let Ok(Outcome::Conflict(row)) = &answer.result {
                self.0.world.record_received(&self.0, row.as_ref());
            }
            self.0.record_result(op, answer.result.as_ref().ok());
            self.0.world.count("write");
            if self.0.world.mutant.is(Fault::RenewalConflictIgnored)
                && matches!((&op.kind, &answer.result), (OpKind::Renew { .. }, Ok(Outcome::Conflict(_))))
            {
                return Ok(Outcome::Unknown).into();
            }
            answer
        })
    }

    fn list<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        Box::pin(async move { Ok(Page::default()).into() })
    }

    fn service_clock(&self) -> bool {
        self.0.world.plan.service_clock
    }

    /// Hints have nothing to do with changes of the row, because they must not matter for a promise.
    fn changed(&self, _: &LockName) -> Option<BoxFuture<'static, ()>> {
        let world = &self.0.world;
        let hints = world.plan.hints;
        let draw = |rng: &mut Rng| rng.chance(hints).then(|| rng.up_to(Duration::from_secs(2)));
        let after = if hints == 0 { None } else { self.0.draw(draw) }?;
        world.count("hint");
        Some(Box::pin(sleep(after)))
    }

    fn npm_clients(&self) -> bool {
        !self.0.world.mutant.is(Fault::ShortPad)
    }
}
