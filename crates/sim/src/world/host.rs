//! Hosts: clocks that run wrong, and a process that stops, crashes and starts again.
//!
//! The product's code between two awaits cannot be stopped; every await of a host ends at its [`Host::gate`], which is
//! shut while the host is paused and for ever once its process has crashed.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamo_lock::LockName;
use dynamo_lock::simulation::{Clock, ClockReading, Random};
use dynamo_lock::store::BoxFuture;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::dice::Dice;
use super::{EPOCH_MS, World, lock};
use crate::mutants::Fault;

/// More readings of the clock than this, with no time passing, and somebody turns in a circle.
const SPIN_MAX: u64 = 50_000;
/// Reading of the lease clocks at which every world begins.
const BOOT_NS: u64 = 1_000_000_000_000;
const LONG: Duration = Duration::from_secs(3600 * 24 * 365);

/// The machine: what outlives a crash of the process.
#[derive(Debug)]
pub struct Machine {
    pub index: usize,
    /// Rates, in millionths more or less than real time.
    raw_ppm: i64,
    boot_ppm: i64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wall_ms: i64,
    paused_until: Duration,
    /// Its clocks jumped, or it began to run again.
    stirred: Duration,
    suspended: Halts,
    frozen: Halts,
    last_read: Duration,
    reads: u64,
    /// For the mutant whose clocks stand still while it waits for an answer.
    flights: u64,
    took_off: Duration,
    flown: Duration,
}

/// How long something has stood still in all.
#[derive(Debug, Default)]
struct Halts {
    /// The one that goes on, or the last one: from, to.
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

/// How a machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its programs; its clocks go on.
    Pause,
    /// As a closed laptop: one lease clock counts it.
    Suspend,
    /// As a virtual machine that is moved: no lease clock counts it, and the wall clock is right afterwards.
    Freeze,
}

impl State {
    fn awake(&self, time: Duration) -> Duration {
        time - self.suspended.until(time) - self.frozen.until(time)
    }
}

impl Machine {
    pub fn new(index: usize, world: &World, dice: &mut Dice) -> Self {
        let raw_ppm = dice.pick(&[-5000, 0, 5000, 4000, -4000]);
        // chrony may slew this one by 8 %; a machine that also sleeps would be outside A2.
        let raw_ppm = if world.mutant.is(Fault::WildClocks) { raw_ppm * 16 } else { raw_ppm };
        let boot_ppm = match !world.plan.suspends && !world.plan.well && dice.chance(100) {
            true => dice.pick(&[-80_000, 80_000]),
            false => raw_ppm,
        };
        let state = State { wall_ms: world.plan.wall(dice), ..State::default() };
        Self { index, raw_ppm, boot_ppm, state: Mutex::new(state) }
    }

    pub fn right(index: usize) -> Self {
        Self { index, raw_ppm: 0, boot_ppm: 0, state: Mutex::default() }
    }

    /// Stops all that runs here for a while.
    pub fn stop(&self, world: &World, length: Duration, how: Stop) {
        let time = world.time();
        let mut state = lock(&self.state);
        if state.paused_until > time {
            return;
        }
        state.paused_until = time + length;
        state.stirred = time + length;
        match how {
            Stop::Pause => {}
            Stop::Suspend => state.suspended.begin(time, length),
            Stop::Freeze => state.frozen.begin(time, length),
        }
    }

    /// By when it runs.
    pub fn paused_until(&self) -> Duration {
        lock(&self.state).paused_until
    }

    /// Sets the wall clock so far from the true time.
    pub fn set_wall(&self, world: &World, ms: i64) {
        let mut state = lock(&self.state);
        state.wall_ms = ms;
        state.stirred = state.stirred.max(world.time());
    }

    pub fn is_paused(&self, world: &World) -> bool {
        lock(&self.state).paused_until > world.time()
    }

    /// When it last began to run again, or its wall clock jumped.
    pub fn stirred(&self) -> Duration {
        lock(&self.state).stirred
    }

    pub fn moment(&self, world: &World) -> ClockReading {
        let time = world.time();
        let mut state = lock(&self.state);
        if state.last_read == time {
            state.reads += 1;
            if state.reads == SPIN_MAX {
                // What is dropped because of it may look at the clock, too.
                state.reads = 0;
                panic!("the clock of host {} is read without end", self.index);
            }
        } else {
            (state.last_read, state.reads) = (time, 0);
        }
        let (time, awake) = (time - state.frozen.until(time), state.awake(time));
        let flying = if state.flights > 0 { world.time() - state.took_off } else { Duration::ZERO };
        let (time, awake) = match world.mutant.is(Fault::HolderCountsFromAnswer) {
            true => (time.saturating_sub(state.flown + flying), awake.saturating_sub(state.flown + flying)),
            false => (time, awake),
        };
        ClockReading {
            boot_ns: scaled(time, self.boot_ppm),
            raw_ns: scaled(awake, self.raw_ppm),
            wall_ms: world.epoch_ms().saturating_add_signed(state.wall_ms),
        }
    }

    /// A request of this machine is under way.
    pub fn takes_off(self: &Arc<Self>, world: &Arc<World>) -> Flight {
        let mut state = lock(&self.state);
        if state.flights == 0 {
            state.took_off = world.time();
        }
        state.flights += 1;
        Flight(self.clone(), world.clone())
    }

    fn awake(&self, world: &World) -> Duration {
        lock(&self.state).awake(world.time())
    }
}

/// A request under way, until it is dropped.
pub struct Flight(Arc<Machine>, Arc<World>);

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.flights -= 1;
        if state.flights == 0 {
            let flown = self.1.time() - state.took_off;
            state.flown += flown;
        }
    }
}

fn scaled(time: Duration, ppm: i64) -> u64 {
    let ns = time.as_nanos() as i128 + i128::from(BOOT_NS);
    (ns + ns * i128::from(ppm) / 1_000_000) as u64
}

/// One process on a machine.
pub struct Host {
    pub world: Arc<World>,
    pub machine: Arc<Machine>,
    pub id: u64,
    dead: AtomicBool,
    pub down_until: Mutex<Duration>,
    dice: Mutex<Dice>,
    actors: Mutex<Vec<AbortHandle>>,
    /// Requests in the second that goes on.
    pub rate: Mutex<(u64, u64)>,
    /// By task: what it last read, and when it was answered.
    pub reads: Mutex<HashMap<tokio::task::Id, (LockName, Duration)>>,
    /// By record version: when a try of it failed, or was not answered.
    pub failed: Mutex<HashMap<String, Duration>>,
}

impl Host {
    pub fn new(world: &Arc<World>, machine: &Arc<Machine>) -> Arc<Self> {
        let dice = Mutex::new(lock(&world.dice).fork());
        Arc::new(Self {
            world: world.clone(),
            machine: machine.clone(),
            id: world.next_id(),
            dead: AtomicBool::new(false),
            down_until: Mutex::default(),
            dice,
            actors: Mutex::default(),
            rate: Mutex::default(),
            reads: Mutex::default(),
            failed: Mutex::default(),
        })
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    pub fn roll<T>(&self, f: impl FnOnce(&mut Dice) -> T) -> T {
        f(&mut lock(&self.dice))
    }

    pub fn spawn(self: &Arc<Self>, actor: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        let handle = tokio::spawn(actor);
        lock(&self.actors).push(handle.abort_handle());
        handle
    }

    /// The process is gone: nothing of it runs, sends or hears again.
    pub fn crash(&self) {
        self.dead.store(true, Relaxed);
        self.world.set_dead(self.id);
        lock(&self.actors).drain(..).for_each(|actor| actor.abort());
    }

    /// Waits until the host runs.
    pub async fn gate(&self) {
        loop {
            if self.is_dead() {
                std::future::pending::<()>().await;
            }
            let left = lock(&self.machine.state).paused_until.saturating_sub(self.world.time());
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    /// Waits on this host, as its programs do.
    pub async fn sleep(self: &Arc<Self>, length: Duration) {
        let length = length.min(LONG);
        let real = length.as_nanos() as i128 * 1_000_000 / i128::from(1_000_000 + self.machine.raw_ppm);
        let late = match self.world.plan.starved && !self.world.is_calm() {
            true => self.roll(|dice| if dice.chance(50) { dice.upto(Duration::from_secs(1)) } else { Duration::ZERO }),
            false => Duration::ZERO,
        };
        let until = self.machine.awake(&self.world) + Duration::from_nanos(real as u64) + late;
        loop {
            self.gate().await;
            let left = until.saturating_sub(self.machine.awake(&self.world));
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}.{}", self.machine.index, self.id)
    }
}

/// A host as its client sees it: clocks and luck.
#[derive(Clone, Debug)]
pub struct Inside(pub Arc<Host>);

impl Clock for Inside {
    fn now(&self) -> ClockReading {
        let (world, mut at) = (&self.0.world, self.0.machine.moment(&self.0.world));
        match world.mutant.fault {
            Some(Fault::WallJumpsNotCounted) => at.wall_ms = EPOCH_MS + (at.boot_ns - BOOT_NS) / 1_000_000,
            Some(Fault::WallExtends) => {
                let wall_ns = BOOT_NS.saturating_add_signed((at.wall_ms as i64 - EPOCH_MS as i64) * 1_000_000);
                (at.boot_ns, at.raw_ns) = (at.boot_ns.min(wall_ns), at.raw_ns.min(wall_ns));
            }
            _ => {}
        }
        at
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let host = self.0.clone();
        let second = Duration::from_secs(1);
        let duration = match host.world.mutant.fault {
            Some(Fault::TimersLate) if duration >= second / 10 => duration + second,
            Some(Fault::TimersAtOnce) => Duration::from_millis(1),
            Some(Fault::LongTimersNever) if duration > second => Duration::MAX,
            _ => duration,
        };
        Box::pin(async move { host.sleep(duration).await })
    }
}

impl Random for Inside {
    fn bits(&self) -> u128 {
        if self.0.world.mutant.is(Fault::RandomRepeats) { 7 } else { self.0.roll(Dice::bits) }
    }
}
