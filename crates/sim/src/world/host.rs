//! Hosts with inaccurate clocks, and processes on them that pause, crash and start again.
//!
//! The product's code between two awaits cannot be interrupted. Every await of a process ends at its
//! [`Process::gate`], which is closed while the host is paused, and for ever once the process has crashed.

use std::{
    collections::HashMap, collections::HashSet, fmt, sync::Arc, sync::Mutex, sync::atomic::AtomicBool,
    sync::atomic::AtomicU64, sync::atomic::Ordering::Relaxed, time::Duration,
};

use dynamo_lock::simulation::{Clock, ClockReading, Random};
use dynamo_lock::store::BoxFuture;
use dynamo_lock::{LockName, StoreError, StoreErrorKind};
use tokio::{sync::Notify, task::AbortHandle, time::sleep};

use super::{EPOCH_MS, World, lock, wild::WildDates};
use crate::mutants::Fault;
use test_support::Rng;

/// Upper bound of the clock readings at one instant. More of them mean an endless loop.
const SPIN_MAX: u64 = 50_000;
/// Reading of the lease clocks at which every world begins.
const BOOT_NS: u64 = 1_000_000_000_000;
const LONG: Duration = Duration::from_secs(3600 * 24 * 365);
/// Maximum delay of a timer on hosts that are short of CPU time.
pub const TIMER_DELAY_MAX: Duration = Duration::from_secs(1);

/// A host: the part that survives a crash of the process.
#[derive(Debug)]
pub struct Host {
    pub index: usize,
    /// Rates, in millionths more or less than real time.
    raw_ppm: i64,
    boot_ppm: i64,
    /// Reading of the lease clocks at the beginning, in nanoseconds. No two hosts were started at the same time.
    start_ns: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wall_ms: i64,
    paused_until: Duration,
    /// Last time at which its wall clock was set or it resumed.
    disturbed_at: Duration,
    suspended: Halts,
    frozen: Halts,
    last_read: Duration,
    reads: u64,
    /// Requests in flight, for the mutant whose clocks stop while it waits for an answer.
    in_flight: u64,
    in_flight_since: Duration,
    in_flight_total: Duration,
}

/// Total length of stops of one kind.
#[derive(Debug, Default)]
struct Halts {
    /// Begin and end of the current or last stop.
    last: (Duration, Duration),
    before: Duration,
}

impl Halts {
    fn until(&self, time: Duration) -> Duration {
        let (from, to) = self.last;
        self.before + time.min(to).saturating_sub(from)
    }

    fn begin(&mut self, time: Duration, length: Duration) {
        self.before = self.until(time);
        self.last = (time, time + length);
    }
}

/// Kind of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Processes stop, and all clocks continue.
    Pause,
    /// Suspension, as of a closed laptop: one lease clock counts it.
    Suspend,
    /// Freeze, as of a virtual machine that is migrated: no lease clock counts it, and the wall clock is right
    /// afterwards.
    Freeze,
}

impl State {
    fn awake(&self, time: Duration) -> Duration {
        time - self.suspended.until(time) - self.frozen.until(time)
    }
}

impl Host {
    pub fn new(index: usize, world: &World, rng: &mut Rng) -> Self {
        let raw_ppm = rng.pick(&[-5000, 0, 5000, 4000, -4000]);
        // chrony may slew the boot clock by 8 %. A host that is also suspended would violate A2.
        let raw_ppm = if world.mutant.is(Fault::WildClocks) { raw_ppm * 16 } else { raw_ppm };
        let boot_ppm = match !world.plan.suspends && !world.plan.fault_free && rng.chance(100) {
            true => rng.pick(&[-80_000, 80_000]),
            false => raw_ppm,
        };
        let state = State { wall_ms: world.plan.wall(rng), ..State::default() };
        Self { index, raw_ppm, boot_ppm, start_ns: start_ns(index), state: Mutex::new(state) }
    }

    pub fn right(index: usize) -> Self {
        Self { index, raw_ppm: 0, boot_ppm: 0, start_ns: start_ns(index), state: Mutex::default() }
    }

    /// Stops all processes on this host for a while.
    pub fn stop(&self, world: &World, length: Duration, how: Stop) {
        let time = world.time();
        let mut state = lock(&self.state);
        if state.paused_until > time {
            return;
        }
        state.paused_until = time + length;
        state.disturbed_at = time + length;
        match how {
            Stop::Pause => {}
            Stop::Suspend => state.suspended.begin(time, length),
            Stop::Freeze => state.frozen.begin(time, length),
        }
    }

    /// Returns the time at which the host resumes, or has resumed.
    pub fn paused_until(&self) -> Duration {
        lock(&self.state).paused_until
    }

    /// Sets the wall clock to this offset from the true time.
    pub fn set_wall(&self, world: &World, ms: i64) {
        let mut state = lock(&self.state);
        state.wall_ms = ms;
        state.disturbed_at = state.disturbed_at.max(world.time());
    }

    /// Returns the time by which the wall clock is fast, zero if it is slow.
    pub fn wall_ahead(&self) -> Duration {
        Duration::from_millis(lock(&self.state).wall_ms.max(0).unsigned_abs())
    }

    pub fn is_paused(&self, world: &World) -> bool {
        lock(&self.state).paused_until > world.time()
    }

    /// Returns the time at which the host last resumed or set its wall clock.
    pub fn disturbed_at(&self) -> Duration {
        lock(&self.state).disturbed_at
    }

    pub fn clock(&self, world: &World) -> ClockReading {
        let time = world.time();
        let mut state = lock(&self.state);
        if state.last_read == time {
            state.reads += 1;
            if state.reads == SPIN_MAX {
                // Destructors that run because of this panic may read the clock, too.
                state.reads = 0;
                panic!("the clock of host {} is read in an endless loop", self.index);
            }
        } else {
            (state.last_read, state.reads) = (time, 0);
        }
        let (time, awake) = (time - state.frozen.until(time), state.awake(time));
        let flying = if state.in_flight > 0 { world.time() - state.in_flight_since } else { Duration::ZERO };
        let (time, awake) = match world.mutant.is(Fault::HolderCountsFromAnswer) {
            true => (
                time.saturating_sub(state.in_flight_total + flying),
                awake.saturating_sub(state.in_flight_total + flying),
            ),
            false => (time, awake),
        };
        ClockReading {
            boot_ns: scaled(time, self.boot_ppm) + self.start_ns,
            raw_ns: scaled(awake, self.raw_ppm) + self.start_ns,
            wall_ms: world.epoch_ms().saturating_add_signed(state.wall_ms),
        }
    }

    /// Records that a request of this host is in flight until the result is dropped.
    pub fn begin_request(self: &Arc<Self>, world: &Arc<World>) -> InFlight {
        let mut state = lock(&self.state);
        if state.in_flight == 0 {
            state.in_flight_since = world.time();
        }
        state.in_flight += 1;
        InFlight(self.clone(), world.clone())
    }

    fn awake(&self, world: &World) -> Duration {
        lock(&self.state).awake(world.time())
    }
}

/// A request in flight, until it is dropped.
pub struct InFlight(Arc<Host>, Arc<World>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.in_flight -= 1;
        if state.in_flight == 0 {
            let in_flight_total = self.1.time() - state.in_flight_since;
            state.in_flight_total += in_flight_total;
        }
    }
}

fn start_ns(index: usize) -> u64 {
    index as u64 * 1_000_003
}

fn scaled(time: Duration, ppm: i64) -> u64 {
    let ns = time.as_nanos() as i128 + i128::from(BOOT_NS);
    (ns + ns * i128::from(ppm) / 1_000_000) as u64
}

/// A process on a host.
pub struct Process {
    pub world: Arc<World>,
    pub host: Arc<Host>,
    pub id: u64,
    dead: AtomicBool,
    pub down_until: Mutex<Duration>,
    pub wild: Mutex<WildDates>,
    /// Time until which access is denied to this process.
    pub denied_until: Mutex<Duration>,
    /// Notified when the store has refused a write that a mutant gives up then.
    pub given_up: Notify,
    rng: Mutex<Rng>,
    /// Source of the random bits that the client draws.
    bits: Mutex<Rng>,
    actors: Mutex<Vec<AbortHandle>>,
    /// Current second, and the number of requests in it.
    pub rate: Mutex<(u64, u64)>,
    /// The last request of each task, if it was a read.
    pub reads: Mutex<HashMap<tokio::task::Id, SentRead>>,
    /// Time before the look that an acquire follows was sent, by record version.
    looks: Mutex<HashMap<String, ClockReading>>,
    /// Number of first reads of attempts that may still follow, by lock.
    pub first_reads: Mutex<HashMap<String, u32>>,
    /// Time at which a try of a write failed or had no answer, by record version.
    pub failed: Mutex<HashMap<String, Duration>>,
    /// Time at which an attempt to acquire a lock last sent a request, by lock.
    pub asked: Mutex<HashMap<String, Duration>>,
    /// Number of running calls that do not rest: holds, and acquisitions that do not wait or have a limit.
    hasty_calls: AtomicU64,
    /// Record versions of acquires that were sent during such calls.
    hasty_writes: Mutex<HashSet<String>>,
}

/// A read of a row that a task has sent.
#[derive(Debug)]
pub struct SentRead {
    pub name: LockName,
    pub time: Duration,
    /// Clocks of the host.
    pub clock: ClockReading,
}

impl Process {
    pub fn new(world: &Arc<World>, host: &Arc<Host>) -> Arc<Self> {
        let mut rng = lock(&world.rng).fork();
        let bits = if world.plan.clones { Rng::new(0) } else { rng.fork() };
        Arc::new(Self {
            world: world.clone(),
            host: host.clone(),
            id: world.next_id(),
            dead: AtomicBool::new(false),
            down_until: Mutex::default(),
            denied_until: Mutex::default(),
            given_up: Notify::new(),
            wild: Mutex::default(),
            rng: Mutex::new(rng),
            bits: Mutex::new(bits),
            actors: Mutex::default(),
            rate: Mutex::default(),
            reads: Mutex::default(),
            looks: Mutex::default(),
            first_reads: Mutex::default(),
            failed: Mutex::default(),
            asked: Mutex::default(),
            hasty_calls: AtomicU64::new(0),
            hasty_writes: Mutex::default(),
        })
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    pub fn draw<T>(&self, f: impl FnOnce(&mut Rng) -> T) -> T {
        f(&mut lock(&self.rng))
    }

    pub fn spawn(self: &Arc<Self>, actor: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        let handle = tokio::spawn(actor);
        lock(&self.actors).push(handle.abort_handle());
        handle
    }

    /// Crashes the process: none of its tasks runs, sends or receives again.
    pub fn crash(&self) {
        self.dead.store(true, Relaxed);
        self.world.set_dead(self.id);
        lock(&self.actors).drain(..).for_each(|actor| actor.abort());
    }

    /// Records a call that does not rest, until the result is dropped.
    pub fn begin_hasty_call(self: &Arc<Self>) -> HastyCall {
        self.hasty_calls.fetch_add(1, Relaxed);
        HastyCall(self.clone())
    }

    /// Records an acquire that may be that of a call that does not rest.
    pub fn record_hasty_write(&self, version: &str) {
        if self.hasty_calls.load(Relaxed) > 0 {
            lock(&self.hasty_writes).insert(version.to_owned());
        }
    }

    /// Records the look that an acquire follows.
    pub fn record_look(&self, version: &str) {
        let look = tokio::task::try_id().and_then(|task| Some(lock(&self.reads).get(&task)?.clock));
        look.into_iter().for_each(|clock| _ = lock(&self.looks).insert(version.to_owned(), clock));
    }

    /// Returns the time before the look that an acquire follows was sent.
    pub fn look_before(&self, version: &str) -> Option<ClockReading> {
        lock(&self.looks).get(version).copied()
    }

    /// Returns whether an acquire may be that of a call that does not rest.
    pub fn is_hasty_write(&self, version: &str) -> bool {
        lock(&self.hasty_writes).contains(version)
    }

    /// Waits for a result. With this fault it ends at the first refusal.
    pub async fn or_given_up<T, E: From<StoreError>>(
        &self,
        fault: Fault,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        if !self.world.mutant.is(fault) {
            return work.await;
        }
        tokio::select! {
            biased;
            answer = work => answer,
            () = self.given_up.notified() => {
                Err(StoreError::new(StoreErrorKind::AccessDenied, "access denied").into())
            }
        }
    }

    /// Waits until the host is not paused.
    pub async fn gate(&self) {
        loop {
            if self.is_dead() {
                std::future::pending::<()>().await;
            }
            let left = lock(&self.host.state).paused_until.saturating_sub(self.world.time());
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    /// Sleeps on the clock of this host.
    pub async fn sleep(self: &Arc<Self>, length: Duration) {
        let length = length.min(LONG);
        let real = length.as_nanos() as i128 * 1_000_000 / i128::from(1_000_000 + self.host.raw_ppm);
        let late = match self.world.plan.starved && !self.world.is_quiescent() {
            true => self.draw(|rng| if rng.chance(50) { rng.up_to(TIMER_DELAY_MAX) } else { Duration::ZERO }),
            false => Duration::ZERO,
        };
        let until = self.host.awake(&self.world) + Duration::from_nanos(real as u64) + late;
        loop {
            self.gate().await;
            let left = until.saturating_sub(self.host.awake(&self.world));
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}.{}", self.host.index, self.id)
    }
}

/// A call that does not rest, until it is dropped.
pub struct HastyCall(Arc<Process>);

impl Drop for HastyCall {
    fn drop(&mut self) {
        self.0.hasty_calls.fetch_sub(1, Relaxed);
    }
}

/// Environment of a client: the clocks and the random source of its process.
#[derive(Clone, Debug)]
pub struct ProcessEnv(pub Arc<Process>);

impl Clock for ProcessEnv {
    fn now(&self) -> ClockReading {
        let (world, mut at) = (&self.0.world, self.0.host.clock(&self.0.world));
        match world.mutant.fault {
            Some(Fault::WallJumpsNotCounted) => at.wall_ms = EPOCH_MS + at.boot_ns.saturating_sub(BOOT_NS) / 1_000_000,
            Some(Fault::WallExtends) => {
                let wall_ns = BOOT_NS.saturating_add_signed((at.wall_ms as i64 - EPOCH_MS as i64) * 1_000_000);
                (at.boot_ns, at.raw_ns) = (at.boot_ns.min(wall_ns), at.raw_ns.min(wall_ns));
            }
            _ => {}
        }
        at
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let process = self.0.clone();
        let second = Duration::from_secs(1);
        let duration = match process.world.mutant.fault {
            Some(Fault::TimersLate) if duration >= second / 10 => duration + second,
            Some(Fault::TimersAtOnce) => Duration::from_millis(1),
            Some(Fault::LongTimersNever) if duration > second => Duration::MAX,
            Some(Fault::SlowPolls) if process.is_polling() => duration + 3 * second,
            _ => duration,
        };
        Box::pin(async move { process.sleep(duration).await })
    }
}

impl Random for ProcessEnv {
    fn bits(&self) -> u128 {
        if self.0.world.mutant.is(Fault::RandomRepeats) { 7 } else { lock(&self.0.bits).bits() }
    }
}
