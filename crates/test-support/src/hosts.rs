//! A world in virtual time: hosts with clocks of their own, one table, and a link to it that can be cut, slowed and
//! made to repeat itself. Use under `#[tokio::test(start_paused = true)]`.
#![allow(clippy::disallowed_methods)]

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamo_lock::simulation::{Clock, ClockReading, Random};
use dynamo_lock::store::{Answer, BoxFuture, Consistency, Op, Outcome, Page, Row, ServiceDate};
use dynamo_lock::{
    Client, ClientBuilder, Event, Guard, LockName, Memory, Observer, Store, StoreError, StoreErrorKind, TryAcquire,
};
use tokio::time::{Instant, sleep};

/// Epoch ms of the true time at which every world begins.
pub const EPOCH_MS: u64 = 1_800_000_000_000;
/// One way on the network.
pub const LATENCY: Duration = Duration::from_millis(5);

/// Turns a [`TryAcquire`] into the guard that it may contain.
pub trait IntoGuard {
    /// Returns the guard, `None` if another client holds the lock.
    fn into_guard(self) -> Option<Guard>;
}

impl IntoGuard for TryAcquire {
    fn into_guard(self) -> Option<Guard> {
        match self {
            TryAcquire::Acquired(guard) => Some(guard),
            TryAcquire::Held(_) => None,
        }
    }
}

/// Everything there is: the true time and the table.
#[derive(Clone, Debug)]
pub struct World {
    begin: Instant,
    pub table: Memory,
    dates: bool,
    bits: Arc<Mutex<u128>>,
}

impl World {
    /// A table whose answers carry the service's `Date`.
    pub fn new() -> Self {
        Self { begin: Instant::now(), table: Memory::new(), dates: true, bits: Arc::default() }
    }

    /// A table whose answers carry no date.
    pub fn without_dates() -> Self {
        Self { dates: false, ..Self::new() }
    }

    /// True time since the world began.
    pub fn time(&self) -> Duration {
        self.begin.elapsed()
    }

    /// True time, epoch ms.
    pub fn epoch_ms(&self) -> u64 {
        EPOCH_MS + self.time().as_millis() as u64
    }

    /// A host with right clocks and a link of its own.
    pub fn host(&self) -> Host {
        let clock = HostClock { world: self.clone(), state: Arc::default() };
        Host { clock, link: Link::new(self), bits: Bits(self.bits.clone()) }
    }

    /// The row as it is in the table.
    pub async fn row(&self, name: &str) -> Option<Row> {
        let name = LockName::new(name).unwrap();
        self.table.read(&name, Consistency::Strong).await.result.unwrap()
    }

    /// Puts a row there as somebody else would.
    pub fn plant(&self, name: &str, row: Option<Row>) {
        self.table.plant(&LockName::new(name).unwrap(), row);
    }

    /// Whether the row says that nobody holds the lock.
    pub async fn is_free(&self, name: &str) -> bool {
        self.row(name).await.is_none_or(|row| row.whole("expiresOn") == Some(0))
    }
}

/// One machine: its clocks, its link to the table.
#[derive(Clone, Debug)]
pub struct Host {
    pub clock: HostClock,
    pub link: Link,
    bits: Bits,
}

impl Host {
    /// A client with a lease of 10 s.
    pub fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    /// A client's beginnings: lease 10 s, this host's clocks and link.
    pub fn builder(&self) -> ClientBuilder {
        Client::builder(self.link.clone())
            .owner("test")
            .lease(Duration::from_secs(10))
            .clock(self.clock.clone())
            .random(self.bits.clone())
    }
}

#[derive(Clone, Debug, Default)]
struct Bits(Arc<Mutex<u128>>);

impl Random for Bits {
    fn bits(&self) -> u128 {
        let mut bits = self.0.lock().unwrap();
        *bits += 1;
        // Any bijection that spreads small numbers.
        bits.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }
}

/// A host's clocks: they can run fast or slow, jump, and miss a suspension.
#[derive(Clone, Debug)]
pub struct HostClock {
    world: World,
    state: Arc<Mutex<Skew>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Skew {
    boot_ahead: Duration,
    raw_ahead: Duration,
    slew_per_mille: i64,
    stopped: bool,
    frozen: Duration,
    wall_ms: i64,
}

impl HostClock {
    /// Suspends the host: CLOCK_BOOTTIME and the wall clock count it, CLOCK_MONOTONIC_RAW does not. True time is
    /// advanced by whoever calls this.
    pub fn suspended(&self, length: Duration) {
        self.state.lock().unwrap().boot_ahead += length;
        self.step_wall(length.as_millis() as i64);
    }

    /// The host stood still for so long, as a virtual machine that is moved: only the wall clock counts it. True time is
    /// advanced by whoever calls this.
    pub fn frozen(&self, length: Duration) {
        self.state.lock().unwrap().frozen += length;
    }

    /// Steps the wall clock.
    pub fn step_wall(&self, ms: i64) {
        self.state.lock().unwrap().wall_ms += ms;
    }

    /// Slews CLOCK_BOOTTIME and the wall clock since the world began, as chrony does: fast by so many thousandths, slow
    /// if negative.
    pub fn slew(&self, per_mille: i64) {
        self.state.lock().unwrap().slew_per_mille = per_mille;
    }

    /// Stops the process, as SIGSTOP does: clocks go on, and no timer of it fires before [`go_on`](HostClock::go_on).
    pub fn stop(&self) {
        self.state.lock().unwrap().stopped = true;
    }

    /// Ends the stop.
    pub fn go_on(&self) {
        self.state.lock().unwrap().stopped = false;
    }
}

impl Clock for HostClock {
    fn now(&self) -> ClockReading {
        let skew = *self.state.lock().unwrap();
        let time = (self.world.time() - skew.frozen).as_nanos() as u64;
        let slewed = time as i64 / 1000 * skew.slew_per_mille;
        ClockReading {
            boot_ns: time.saturating_add_signed(slewed) + skew.boot_ahead.as_nanos() as u64,
            raw_ns: time + skew.raw_ahead.as_nanos() as u64,
            wall_ms: self.world.epoch_ms().saturating_add_signed(skew.wall_ms + slewed / 1_000_000),
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let state = self.state.clone();
        Box::pin(async move {
            sleep(duration).await;
            while state.lock().unwrap().stopped {
                sleep(Duration::from_millis(1)).await;
            }
        })
    }
}

/// What happens to one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// Nothing, but that its answer bears no date.
    Undated,
    /// It never arrives; an error says that no answer came.
    LoseRequest,
    /// It takes effect; an error says that no answer came.
    LoseAnswer,
    /// It never arrives, and no error comes either.
    Hang,
    /// It takes effect, and no answer ever comes.
    HangAfter,
    /// It takes effect after this time, whoever still waits; the answer comes then.
    Late(Duration),
    /// It takes effect now, and once more after this time.
    Twice(Duration),
    /// An error says that no answer came, and it takes effect after this time.
    LoseAnswerAndLand(Duration),
    /// Throttled.
    Throttle,
    /// Refused.
    Refuse(StoreErrorKind),
}

/// One request as the link saw it.
#[derive(Clone, Debug)]
pub enum Call {
    Read(LockName, Consistency),
    Write(Op),
    List,
}

impl Call {
    /// "acquire", "take over", "renew", "release", "revoke", "force free", "legacy get", "read" or "list".
    pub fn kind(&self) -> &'static str {
        use dynamo_lock_protocol::OpKind;
        match self {
            Self::Read(..) => "read",
            Self::List => "list",
            Self::Write(op) => match op.kind {
                OpKind::Acquire(_) => "acquire",
                OpKind::TakeOver { .. } => "take over",
                OpKind::Renew { .. } => "renew",
                OpKind::Release { .. } => "release",
                OpKind::Revoke { .. } => "revoke",
                OpKind::ForceRevoke { .. } => "force free",
                OpKind::LegacyGet { .. } => "legacy get",
            },
        }
    }
}

type Rule = Box<dyn FnMut(&Call) -> Fault + Send>;

/// A host's link to the table: a store that can be made to fail, and that remembers what was asked.
#[derive(Clone)]
pub struct Link {
    world: World,
    rule: Arc<Mutex<Rule>>,
    calls: Arc<Mutex<Vec<(Duration, Call)>>>,
    /// How stale an eventually consistent read is; a copy of the row from then.
    stale: Arc<Mutex<Option<Option<Row>>>>,
    /// How far off the service host is that answers here.
    dates_off: Arc<Mutex<i64>>,
}

impl Link {
    fn new(world: &World) -> Self {
        let rule: Rule = Box::new(|_| Fault::None);
        let rule = Arc::new(Mutex::new(rule));
        let (calls, stale, dates_off) = Default::default();
        Self { world: world.clone(), rule, calls, stale, dates_off }
    }

    /// From now on, this decides what happens to each request.
    pub fn rule(&self, rule: impl FnMut(&Call) -> Fault + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// The next request of this kind meets this fault; all others are well.
    pub fn once(&self, kind: &'static str, fault: Fault) {
        let mut fault = Some(fault);
        self.rule(move |call| if call.kind() == kind { fault.take().unwrap_or(Fault::None) } else { Fault::None });
    }

    /// All requests of this kind meet this fault.
    pub fn always(&self, kind: &'static str, fault: Fault) {
        self.rule(move |call| if call.kind() == kind { fault.clone() } else { Fault::None });
    }

    /// All requests meet this fault.
    pub fn all(&self, fault: Fault) {
        self.rule(move |_| fault.clone());
    }

    /// All is well again.
    pub fn heal(&self) {
        self.rule(|_| Fault::None);
    }

    /// Eventually consistent reads show this from now on.
    pub fn stale_reads(&self, row: Option<Option<Row>>) {
        *self.stale.lock().unwrap() = row;
    }

    /// The kinds of all requests so far.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().iter().map(|(_, call)| call.kind()).collect()
    }

    /// All requests so far, with the time at which they were sent.
    pub fn calls(&self) -> Vec<(Duration, Call)> {
        self.calls.lock().unwrap().clone()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.calls.lock().unwrap().clear();
    }

    fn decide(&self, call: Call) -> Fault {
        let fault = (self.rule.lock().unwrap())(&call);
        self.calls.lock().unwrap().push((self.world.time(), call));
        fault
    }

    /// Answers here come from a service host whose clock is so many seconds ahead, or behind.
    pub fn dates_off(&self, seconds: i64) {
        *self.dates_off.lock().unwrap() = seconds;
    }

    fn date(&self) -> Option<ServiceDate> {
        let second = self.world.epoch_ms() / 1000;
        self.world.dates.then(|| ServiceDate(second.saturating_add_signed(*self.dates_off.lock().unwrap())))
    }

    /// Performs `work` as the fault has it, whoever still waits for the answer.
    async fn perform<T, F>(&self, fault: Fault, work: impl Fn() -> F + Send + 'static) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let lost = || Err(StoreError::new(StoreErrorKind::Unanswered, "no answer came"));
        sleep(LATENCY).await;
        let undated = matches!(fault, Fault::Undated);
        let result = match fault {
            Fault::None | Fault::Undated => work().await,
            Fault::LoseRequest => lost(),
            Fault::LoseAnswer => {
                let _unheard = work().await;
                lost()
            }
            Fault::Hang => std::future::pending().await,
            Fault::HangAfter => {
                let _unheard = work().await;
                std::future::pending().await
            }
            Fault::Late(delay) => tokio::spawn(async move {
                sleep(delay).await;
                work().await
            })
            .await
            .unwrap(),
            Fault::Twice(delay) => {
                let first = work().await;
                tokio::spawn(async move {
                    sleep(delay).await;
                    work().await
                });
                first
            }
            Fault::LoseAnswerAndLand(delay) => {
                tokio::spawn(async move {
                    sleep(delay).await;
                    work().await
                });
                lost()
            }
            Fault::Throttle => Err(StoreError::new(StoreErrorKind::Throttled, "slow down")),
            Fault::Refuse(kind) => Err(StoreError::new(kind, "no")),
        };
        let date = self.date().filter(|_| result.is_ok() && !undated);
        sleep(LATENCY).await;
        Answer { result, date }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

impl Store for Link {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            let fault = self.decide(Call::Read(name.clone(), consistency));
            let (table, name) = (self.world.table.clone(), name.clone());
            let stale = self.stale.lock().unwrap().clone().filter(|_| consistency == Consistency::Eventual);
            self.perform(fault, move || {
                let (table, name, stale) = (table.clone(), name.clone(), stale.clone());
                async move {
                    match stale {
                        Some(row) => Ok(row),
                        None => table.read(&name, consistency).await.result,
                    }
                }
            })
            .await
        })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move {
            let fault = self.decide(Call::Write(op.clone()));
            let (table, op) = (self.world.table.clone(), op.clone());
            self.perform(fault, move || {
                let (table, op) = (table.clone(), op.clone());
                async move { table.write(&op).await.result }
            })
            .await
        })
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        Box::pin(async move {
            let fault = self.decide(Call::List);
            let (table, after) = (self.world.table.clone(), after.map(str::to_owned));
            self.perform(fault, move || {
                let (table, after) = (table.clone(), after.clone());
                async move { table.list(after.as_deref()).await.result }
            })
            .await
        })
    }

    fn service_clock(&self) -> bool {
        self.world.dates
    }
}

/// A small generator (splitmix64), so that a failure names its seed.
pub fn dice(seed: u64) -> impl FnMut() -> u64 + Send {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Remembers what a client tells its observer.
#[derive(Clone, Debug, Default)]
pub struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Diary {
    fn event(&self, event: Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}
