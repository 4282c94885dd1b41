//! The way between a host and the table: late, lossy, repeating. Each request has a time of taking effect and a time of
//! answering, and either may be never.

use std::sync::Arc;
use std::time::Duration;

use dynamo_lock::store::{Answer, BoxFuture, Op, Outcome, Page, Row, ServiceDate};
use dynamo_lock::{Consistency, LockName, Store, StoreError, StoreErrorKind};
use tokio::time::sleep;

use super::host::Host;
use super::mutant::Mutant;
use super::plan::Weather;
use super::store::show;
use super::{World, lock};

/// Requests of one process in one second: forty polls for each of what may go on in it, and some.
const RATE_MAX: u64 = 400;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Heard,
    /// An error says that no answer came.
    Lost,
    /// Nothing comes.
    Hung,
    Throttled,
    Refused,
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

    fn date(&self, fate: &Fate) -> Option<ServiceDate> {
        let mut off = self.plan.service_hosts[fate.service_host];
        if self.mutant == Some(Mutant::WildDates) {
            off += [10_000, -10_000, 0][fate.service_host];
        }
        let shown = self.epoch_ms().saturating_add_signed(off) / 1000;
        (self.plan.service_clock && fate.dated).then_some(ServiceDate(shown))
    }
}

impl Link {
    /// Carries one request there and its answer back.
    async fn carry<T: Send + 'static>(&self, work: impl Fn() -> T + Send + Sync + 'static) -> Answer<T> {
        let host = &self.0;
        let world = host.world.clone();
        host.gate().await;
        self.within_budget();
        let fate = world.fate(host);
        let flight = host.machine.takes_off(&world);
        let answer = self.fly(world, fate, work).await;
        host.gate().await;
        drop(flight);
        answer
    }

    async fn fly<T: Send + 'static>(
        &self,
        world: Arc<World>,
        fate: Fate,
        work: impl Fn() -> T + Send + Sync + 'static,
    ) -> Answer<T> {
        let Some(out) = fate.out else {
            world.trace(|| format!("{:?} request does not arrive: {:?}", self.0, fate.reply));
            sleep(fate.back).await;
            return failure(fate.reply).await;
        };
        let there = async move {
            sleep(out).await;
            let answer = (work(), world.date(&fate));
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
                Err(_) => return failure(Reply::Hung).await,
            },
        };
        sleep(fate.back).await;
        match fate.reply {
            Reply::Heard => Answer { result: Ok(result), date },
            reply => failure(reply).await,
        }
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

async fn failure<T>(reply: Reply) -> Answer<T> {
    let (kind, message) = match reply {
        Reply::Hung | Reply::Heard => std::future::pending().await,
        Reply::Lost => (StoreErrorKind::Unanswered, "no answer came"),
        Reply::Throttled => (StoreErrorKind::Throttled, "slow down"),
        Reply::Refused => (StoreErrorKind::AccessDenied, "not you"),
    };
    Err(StoreError::new(kind, message)).into()
}

impl Store for Link {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            let (host, name) = (self.0.clone(), name.clone());
            let answer = self
                .carry(move || {
                    let world = &host.world;
                    let stale = match consistency {
                        Consistency::Eventual if world.plan.stale > Duration::ZERO => {
                            lock(&world.dice).upto(world.plan.stale)
                        }
                        _ => Duration::ZERO,
                    };
                    let row = world.row(&name, stale);
                    world.trace(|| format!("{host:?} {name} read {stale:?} old: {}", show(row.as_ref())));
                    row
                })
                .await;
            if let Ok(row) = &answer.result {
                self.0.world.note_heard(&self.0, row.as_ref());
            }
            self.0.world.count("read");
            answer
        })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            self.0.world.note_sent(&self.0, op);
            let (host, op) = (self.0.clone(), op.clone());
            let answer = self.carry(move || host.world.apply(&host, &op)).await;
            if let Ok(Outcome::Conflict(row)) = &answer.result {
                self.0.world.note_heard(&self.0, row.as_ref());
            }
            self.0.world.count("write");
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
