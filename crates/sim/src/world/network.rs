//! The way between a host and the table: late, lossy, repeating. Each request has a time of taking effect and a time of
//! answering, and either may be never.

use std::sync::Arc;
use std::time::Duration;

use dynamo_lock::store::{Answer, BoxFuture, Consistency, Op, OpKind, Outcome, Page, Row, ServiceDate};
use dynamo_lock::{LockName, Store, StoreError, StoreErrorKind};
use tokio::time::sleep;

use super::host::Host;
use super::plan::Weather;
use super::store::show_op;
use super::{World, lock};
use crate::mutants::Fault;

/// Requests of one process in one second: forty polls for each of what may go on in it, and some.
const RATE_MAX: u64 = 400;

/// Between two polls of one waiter, at least; less what a clock may run fast.
const POLL_MIN: Duration = Duration::from_millis(24);

/// A host's way to the table.
#[derive(Clone, Debug)]
pub struct Link(pub Arc<Host>);

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// Until it takes effect; never if there is none.
    out: Option<Duration>,
    back: Duration,
    reply: Reply,
    /// Once more, so much later.
    again: Option<Duration>,
    /// It takes effect whoever still waits.
    detached: bool,
    dated: bool,
    service_host: usize,
}

/// What a sender hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Heard,
    /// An error says that no answer came.
    Lost,
    /// Nothing comes.
    Hung,
    Throttled,
    Refused,
}

/// A request that is over.
#[derive(Debug)]
pub struct Flown<T> {
    /// Never [`Reply::Hung`].
    pub reply: Reply,
    /// What came of it, heard or not; nothing if it took no effect.
    pub result: Option<T>,
    /// The service's.
    pub date: Option<ServiceDate>,
}

impl World {
    fn fate(&self, host: &Host) -> Fate {
        let time = self.time();
        let down = *lock(&host.down_until) > time;
        let burst = *lock(&self.burst_until) > time;
        let mut dice = lock(&self.dice);
        let calm = self.is_calm();
        let weather = if calm { Weather::default() } else { self.plan.weather };
        let latency = self.plan.latency;
        let mut fate = Fate {
            out: Some(dice.ms(1..=latency)),
            back: dice.ms(1..=latency),
            reply: Reply::Heard,
            again: None,
            detached: dice.chance(300),
            dated: calm || !dice.chance(self.plan.dateless),
            service_host: dice.range(0..=2) as usize,
        };
        if self.plan.edges {
            fate.service_host = host.machine.index % 3;
        }
        let late = self.plan.longest * 2;
        if burst && dice.chance(900) || dice.chance(weather.throttled) {
            return Fate { out: None, reply: Reply::Throttled, ..fate };
        }
        if down && dice.chance(950) || dice.chance(weather.lost) {
            let reply = if dice.chance(500) { Reply::Lost } else { Reply::Hung };
            return Fate { out: None, reply, ..fate };
        }
        if dice.chance(weather.refused) {
            return Fate { out: None, reply: Reply::Refused, ..fate };
        }
        if down || dice.chance(weather.unheard) {
            fate.reply = Reply::Lost;
        } else if dice.chance(weather.hung) {
            fate.reply = Reply::Hung;
        }
        if dice.chance(weather.late) {
            fate.detached = true;
            match dice.chance(500) {
                true => fate.out = Some(dice.upto(late)),
                false => fate.back = dice.upto(late),
            }
        }
        if dice.chance(weather.twice) {
            fate.again = Some(dice.upto(late));
        }
        fate
    }

    /// How old what a read shows is.
    pub fn staleness(&self, consistency: Consistency) -> Duration {
        match consistency {
            Consistency::Eventual if self.plan.stale > Duration::ZERO => lock(&self.dice).upto(self.plan.stale),
            _ => Duration::ZERO,
        }
    }

    fn date(&self, host: &Host, fate: &Fate) -> Option<ServiceDate> {
        let off = self.plan.service_hosts[fate.service_host];
        let off = match self.mutant.fault {
            Some(Fault::WildDates) => off + [10_000, -10_000, 0][fate.service_host],
            Some(Fault::DatesOff(seconds)) => off + seconds * 1000,
            Some(Fault::DatesFromWall) => host.machine.moment(self).wall_ms as i64 - self.epoch_ms() as i64,
            _ => off,
        };
        let shown = self.epoch_ms().saturating_add_signed(off) / 1000;
        (self.plan.service_clock && fate.dated).then_some(ServiceDate(shown))
    }
}

impl Link {
    /// Carries one request there and its answer back.
    pub async fn carry<T: Send + 'static>(&self, work: impl Fn() -> T + Send + Sync + 'static) -> Flown<T> {
        let host = &self.0;
        let world = host.world.clone();
        host.gate().await;
        self.within_budget();
        let fate = world.fate(host);
        let flight = host.machine.takes_off(&world);
        let flown = self.fly(world, fate, work).await;
        host.gate().await;
        drop(flight);
        flown
    }

    async fn fly<T: Send + 'static>(
        &self,
        world: Arc<World>,
        fate: Fate,
        work: impl Fn() -> T + Send + Sync + 'static,
    ) -> Flown<T> {
        let Some(out) = fate.out else {
            world.trace(|| format!("{:?} request does not arrive: {:?}", self.0, fate.reply));
            let date = world.date(&self.0, &fate);
            sleep(fate.back).await;
            return landed(fate.reply, None, date).await;
        };
        let host = self.0.clone();
        let there = async move {
            sleep(out).await;
            let answer = (work(), world.date(&host, &fate));
            if let Some(later) = fate.again {
                tokio::spawn(async move {
                    sleep(later).await;
                    work();
                });
            }
            answer
        };
        let (result, date) = match fate.detached || fate.again.is_some() {
            false => there.await,
            true => match tokio::spawn(there).await {
                Ok(answer) => answer,
                Err(gone) if gone.is_panic() => std::panic::resume_unwind(gone.into_panic()),
                Err(_) => return landed(Reply::Hung, None, None).await,
            },
        };
        sleep(fate.back).await;
        landed(fate.reply, Some(result), date).await
    }

    /// §6: nobody asks without end.
    fn within_budget(&self) {
        let host = &self.0;
        let second = host.world.time().as_secs();
        let mut rate = lock(&host.rate);
        if rate.0 != second {
            *rate = (second, 0);
        }
        rate.1 += 1;
        host.world.check(rate.1 != RATE_MAX, "§6 (requests)", || format!("{host:?} sent {RATE_MAX} in a second"));
    }
}

impl Host {
    /// §6: whoever reads the same row again has waited for a while. Each waiter is a task of its own.
    pub fn asks_again(&self, name: &LockName) {
        let Some(task) = tokio::task::try_id() else { return };
        let Some((read, at)) = lock(&self.reads).remove(&task) else { return };
        let pause = self.world.time().saturating_sub(at);
        let early = read == *name && pause < POLL_MIN;
        self.world.check(!early, "§6 (polls)", || format!("{self:?} reads {name} again after {pause:?}"));
    }

    pub fn has_read(&self, name: LockName) {
        if let Some(task) = tokio::task::try_id() {
            lock(&self.reads).insert(task, (name, self.world.time()));
        }
    }

    /// §6: whoever sends the same once more has waited for a while. A renewal may be asked for at any time.
    pub fn tries(&self, op: &Op) {
        let Some(at) = lock(&self.failed).remove(op.version.as_str()) else { return };
        self.world.still_tries(self, op);
        let pause = self.world.time().saturating_sub(at);
        let early = pause < POLL_MIN && !matches!(op.kind, OpKind::Renew { .. });
        self.world.check(!early, "§6 (retries)", || format!("{self:?} sends {} again after {pause:?}", show_op(op)));
    }

    pub fn has_tried(&self, op: &Op, outcome: Option<&Outcome>) {
        match outcome {
            None | Some(Outcome::Unknown | Outcome::Throttled) => {
                lock(&self.failed).insert(op.version.as_str().to_owned(), self.world.time());
            }
            Some(Outcome::Conflict(row)) => self.world.told_lost(op, row.as_ref()),
            Some(_) => {}
        }
    }

    /// This task does something else than to poll.
    pub fn begins(&self) {
        if let Some(task) = tokio::task::try_id() {
            lock(&self.reads).remove(&task);
        }
    }
}

/// Nothing ever comes of a request that hangs.
async fn landed<T>(reply: Reply, result: Option<T>, date: Option<ServiceDate>) -> Flown<T> {
    if reply == Reply::Hung {
        std::future::pending::<()>().await;
    }
    Flown { reply, result, date }
}

impl<T> Flown<T> {
    /// As a store says it.
    fn answer(self) -> Answer<T> {
        let (kind, message) = match (self.reply, self.result) {
            (Reply::Heard, Some(result)) => return Answer { result: Ok(result), date: self.date },
            (Reply::Throttled, _) => (StoreErrorKind::Throttled, "slow down"),
            (Reply::Refused, _) => (StoreErrorKind::AccessDenied, "not you"),
            _ => (StoreErrorKind::Unanswered, "no answer came"),
        };
        Err(StoreError::new(kind, message)).into()
    }
}

impl Store for Link {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            let (host, name) = (self.0.clone(), name.clone());
            host.asks_again(&name);
            let asked = name.clone();
            let flown = self.carry(move || {
                let stale = host.world.staleness(consistency);
                host.world.looked(&host, &asked, stale)
            });
            let answer = flown.await.answer();
            if let Ok(row) = &answer.result {
                self.0.world.note_heard(&self.0, row.as_ref());
            }
            self.0.world.count("read");
            self.0.has_read(name);
            answer
        })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            self.0.begins();
            self.0.tries(op);
            self.0.world.note_sent(&self.0, op);
            let (host, asked) = (self.0.clone(), op.clone());
            let answer = self.carry(move || host.world.performed(&host, &asked)).await.answer();
            if let Ok(Outcome::Conflict(row)) = &answer.result {
                self.0.world.note_heard(&self.0, row.as_ref());
            }
            self.0.has_tried(op, answer.result.as_ref().ok());
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
}
