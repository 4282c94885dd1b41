//! Scenario of a world: phases with faults, each followed by quiescence, in which every lock must become free.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use dynamo_lock::{Client, LockName};
use dynamo_lock_protocol::attr;
use tokio::{task::JoinHandle, time::sleep};

use super::{Host, Process, Stop, World, actors::external_writers, actors::worker::Worker, lock};

use super::actors::{
    FINISH,
    sharing::{RW_LOCK, SEMAPHORE},
};
/// Samples of the service clock count for ten minutes. The idle gap is almost as long, from the beginning of
/// quiescence.
const IDLE_GAP: Duration = Duration::from_secs(595);
/// Shortest life of a table, and of each series of tokens in it, so that the tokens in the next one are larger.
const DELETION_GAP: Duration = Duration::from_secs(10);
const NINE_DAYS: Duration = Duration::from_secs(9 * 24 * 3600);

/// A running process with its client and its workers.
struct Running {
    process: Arc<Process>,
    client: Client,
    lease: Duration,
    workers: Vec<JoinHandle<()>>,
}

struct Scenario {
    world: Arc<World>,
    hosts: Vec<Arc<Host>>,
    running: Vec<Option<Running>>,
    others: Vec<JoinHandle<()>>,
    crashed: bool,
    /// Time at which the table was last created.
    created_at: Duration,
}

/// Runs the world to its end.
pub async fn run(world: &Arc<World>) {
    let hosts: Vec<_> = {
        let mut rng = lock(&world.rng);
        (0..world.plan.hosts).map(|index| Arc::new(Host::new(index, world, &mut rng))).collect()
    };
    let mut scenario = Scenario {
        world: world.clone(),
        running: hosts.iter().map(|_| None).collect(),
        hosts,
        others: Vec::new(),
        crashed: false,
        created_at: Duration::ZERO,
    };
    world.trace(|| format!("{:?}", world.plan));
    scenario.phase(world.plan.phase).await;
    let quiet = world.time();
    scenario.quiesce().await;
    if world.plan.idle_gap {
        sleep((quiet + IDLE_GAP).saturating_sub(world.time())).await;
        scenario.phase(world.plan.phase / 2).await;
        scenario.quiesce().await;
    }
    if world.plan.ttl {
        sleep(NINE_DAYS).await;
        external_writers::purge(world);
        scenario.phase(world.plan.phase / 2).await;
        scenario.quiesce().await;
    }
    scenario.end().await;
}

impl Scenario {
    async fn phase(&mut self, length: Duration) {
        let world = self.world.clone();
        world.set_phase(false, world.plan.fault_free);
        for index in 0..self.hosts.len() {
            self.start(index);
        }
        if !world.plan.service_clock && world.plan.legacy > 0 {
            world.count("legacy clients without dates");
        }
        for index in 0..world.plan.legacy {
            let mut rng = lock(&world.rng).fork();
            if index < world.plan.legacy_gets {
                let host = Host::right(92 + index);
                let wall = world.plan.legacy_wall.unwrap_or_else(|| rng.signed(external_writers::LEGACY_SKEW_MS));
                host.set_wall(&world, wall);
                let process = Process::new(&world, &Arc::new(host));
                let client = process.client(world.plan.longest);
                self.others.push(tokio::spawn(external_writers::run_legacy_get(process, client)));
            } else {
                self.others.push(tokio::spawn(external_writers::run_legacy_client(world.clone(), rng)));
            }
        }
        if world.plan.operator {
            let process = Process::new(&world, &Arc::new(Host::right(90)));
            let client = process.client(world.plan.longest);
            self.others.push(tokio::spawn(external_writers::run_operator(process, client)));
        }
        let until = world.time() + length;
        while world.time() < until {
            let draw_length = lock(&world.rng).up_to(world.plan.longest * 2);
            sleep(draw_length).await;
            self.make_fault();
        }
    }

    fn start(&mut self, index: usize) {
        let process = Process::new(&self.world, &self.hosts[index]);
        let lease = self.world.plan.leases[index];
        if self.running[index].is_none() {
            self.world.trace(|| format!("{process:?} starts, lease {lease:?}"));
            let client = process.client(lease);
            self.running[index] = Some(Running { process, client, lease, workers: Vec::new() });
        }
        let Some(running) = &mut self.running[index] else { return };
        for _ in 0..lock(&self.world.rng).range(1..=self.world.plan.workers) {
            let worker = Worker { process: running.process.clone(), client: running.client.clone(), lease };
            running.workers.push(running.process.spawn(worker.work()));
        }
    }

    /// Makes one fault, if the plan of this world has faults of the kind that was drawn.
    fn make_fault(&mut self) {
        let world = self.world.clone();
        world.end_children(world.time());
        let plan = &world.plan;
        let (kind, index, length, ms) = {
            let mut rng = lock(&world.rng);
            let index = rng.range(0..=plan.hosts as u64 - 1) as usize;
            (rng.range(0..=6), index, rng.up_to(plan.longest * 3), plan.wall(&mut rng))
        };
        let is_old = world.time() > self.created_at + DELETION_GAP && world.tokens_are_older_than(DELETION_GAP);
        if plan.deletions && is_old && lock(&world.rng).chance(100) {
            self.created_at = world.time() + lock(&world.rng).up_to(plan.longest);
            return world.delete_table(self.created_at);
        }
        let host = self.hosts[index].clone();
        let stop = match kind {
            0 if plan.pauses => Some(("pause", Stop::Pause)),
            1 if plan.suspends => Some(("suspend", Stop::Suspend)),
            0 | 1 | 3 | 6 if plan.freezes => Some(("freeze", Stop::Freeze)),
            _ => None,
        };
        if let Some((what, stop)) = stop {
            world.trace(|| format!("h{index}: {what} for {length:?}"));
            world.count(what);
            return host.stop(&world, length, stop);
        }
        match kind {
            2 if plan.crashes => self.crash_or_start(index),
            3 if plan.partitions => {
                if let Some(running) = &self.running[index] {
                    world.trace(|| format!("h{index} is cut off for {length:?}"));
                    world.count("partition");
                    *lock(&running.process.down_until) = world.time() + length;
                }
            }
            4 if plan.bursts => {
                world.count("throttling burst");
                *lock(&world.burst_until) = world.time() + length / 2;
            }
            5 if plan.wall_steps => {
                world.trace(|| format!("h{index} sets its wall clock {ms} ms off"));
                world.count("wall step");
                host.set_wall(&world, ms);
            }
            _ => {}
        }
    }

    fn crash_or_start(&mut self, index: usize) {
        let Some(running) = self.running[index].take() else { return self.start(index) };
        self.world.trace(|| format!("{:?} crashes", running.process));
        self.world.count("crash");
        self.crashed = true;
        let child = self.start_child(&running.process);
        running.process.crash();
        // The process has ended, so the releases of its guards are never sent.
        let (guards, shared) = (self.world.take_guards(&running.process), self.world.take_shared(&running.process));
        if let Some((liveness, until)) = child {
            self.world.record_child(&running.process, liveness, until, &guards, &shared);
        }
    }

    /// Starts a child of a process that is about to crash, in some worlds. A process that is stopped starts none.
    fn start_child(&self, process: &Arc<Process>) -> Option<(OwnedFd, Duration)> {
        let world = &self.world;
        let length = {
            let mut rng = lock(&world.rng);
            (world.plan.children && rng.chance(500)).then(|| rng.up_to(world.plan.longest * 4))
        };
        let length = length.filter(|_| !process.host.is_paused(world))?;
        let liveness = world.real_store.as_ref()?.start_child(process)?;
        Some((liveness, world.time() + length))
    }

    /// Turns faults off and waits until all workers have finished and all requests have arrived.
    async fn quiesce(&mut self) {
        let world = self.world.clone();
        world.trace(|| "quiescence".to_owned());
        world.set_phase(true, true);
        world.end_children(Duration::MAX);
        for host in &self.hosts {
            sleep(host.paused_until().saturating_sub(world.time())).await;
        }
        let finish = FINISH + self.correct_wall_clocks();
        // In a crowded world each worker waits for all others, some of which lead for up to two leases.
        let finish = if world.plan.workers > 6 { finish * 4 } else { finish };
        *lock(&world.burst_until) = Duration::ZERO;
        sleep(self.created_at.saturating_sub(world.time())).await;
        for running in self.running.iter().flatten() {
            *lock(&running.process.down_until) = Duration::ZERO;
        }
        let workers = self.running.iter_mut().flatten().flat_map(|running| running.workers.drain(..));
        let mut all: Vec<_> = workers.chain(self.others.drain(..)).collect();
        let finished = tokio::time::timeout(finish, async {
            for task in &mut all {
                if let Err(error) = task.await
                    && error.is_panic()
                {
                    world.violation("no panic", "a worker panicked".to_owned());
                }
            }
        });
        let finished = finished.await.is_ok();
        world.check(finished, "D (an end)", || format!("a worker has not finished {finish:?} after the last fault"));
        all.iter().for_each(JoinHandle::abort);
        for running in self.running.iter().flatten() {
            let before = world.time();
            let _ended = tokio::time::timeout(FINISH, running.client.close()).await;
            let took = world.time() - before;
            let most = running.lease * 1006 / 1000 + Duration::from_millis(2);
            world.check(took <= most, "close() is bounded", || format!("{:?} took {took:?}", running.process));
        }
        // Requests in flight arrive, and every lease ends.
        sleep(world.plan.longest * 4 + Duration::from_secs(31)).await;
        self.check_final_state().await;
    }

    /// Sets all wall clocks right if waiters depend on them. Returns the largest time by which one is set back, because
    /// its host takes a row without a token over only when the clock shows a later second than at its observation.
    fn correct_wall_clocks(&self) -> Duration {
        let world = &self.world;
        if world.plan.service_clock || world.plan.legacy == 0 {
            return Duration::ZERO;
        }
        let set_back = self.hosts.iter().map(|host| host.wall_ahead()).max();
        // A host whose wall clock is slow would wait for the rows of legacy clients for many minutes.
        self.hosts.iter().for_each(|host| host.set_wall(world, 0));
        set_back.unwrap_or_default()
    }

    /// Checks that every lock is free or expired, and that a new client acquires it in time.
    async fn check_final_state(&self) {
        let world = &self.world;
        world.check_unreported();
        let names: Vec<_> = lock(&world.table).locks.keys().cloned().collect();
        for name in names {
            let (row, quiet) = {
                let table = lock(&world.table);
                let entry = &table.locks[&name];
                (entry.row.clone(), world.time() - entry.written)
            };
            if [SEMAPHORE, RW_LOCK].contains(&name.as_str()) {
                let process = Process::new(world, &Arc::new(Host::right(91)));
                let client = process.client(world.plan.longest);
                let worker = Worker { process, client: client.clone(), lease: world.plan.longest };
                world.check_shared_end(&worker, &name).await;
                let _ended = tokio::time::timeout(FINISH, client.close()).await;
                continue;
            }
            let lease = Duration::from_millis(row.as_ref().and_then(|row| row.whole(attr::LEASE_MS)).unwrap_or(0));
            world.check(quiet >= lease, "E (orphaned leases)", || format!("{name} is still held at the end"));
            let process = Process::new(world, &Arc::new(Host::right(91)));
            let client = process.client(world.plan.longest);
            let service_timestamp = row.as_ref().is_some_and(|row| row.text(attr::EXPIRY_CLOCK).is_some());
            let free = row.as_ref().is_none_or(|row| row.whole(attr::EXPIRES_ON) == Some(0));
            let expected = if service_timestamp && world.plan.service_clock || free { Duration::ZERO } else { lease };
            let tokenless = row.as_ref().is_some_and(|row| row.token().is_none());
            // A token floor above all earlier tokens is known only after some seconds.
            let expected = if tokenless { Duration::from_secs(9) } else { expected };
            let before = world.time();
            let handle = client.lock(name.as_str()).expect("the name is valid");
            let Ok(Ok(guard)) = tokio::time::timeout(FINISH, handle.acquire()).await else {
                world.violation("D (newcomer)", format!("{name} cannot be acquired"));
                continue;
            };
            let token = guard.token().get();
            world.acquire_returned(&name, token, before);
            let id = world.record_reported(
                &process,
                &LockName::new(name.as_str()).expect("the name is valid"),
                token,
                None,
                None,
            );
            world.record_validity(&id, guard.is_valid());
            let waited = world.time() - before;
            let most =
                expected * 1011 / 1000 + Duration::from_millis(1600 + world.plan.latency * 12) + world.plan.stale;
            world.check(waited <= most, "D (newcomer)", || {
                format!("{name}: waited for {waited:?}, at most {most:?} are allowed")
            });
            if free {
                let writes = *lock(&process.rate);
                world.check(writes.1 <= 3, "§6 (requests)", || format!("{} requests for a free lock", writes.1));
            }
            let Ok(answer) = tokio::time::timeout(FINISH, guard.release()).await else {
                world.violation("E (release)", format!("the release of {name} does not end"));
                continue;
            };
            world.check(answer.is_ok(), "E (release)", || format!("{name}: {answer:?} without a fault"));
            let _ended = tokio::time::timeout(FINISH, client.close()).await;
        }
    }

    /// Checks that no task is left, and that the results of all calls are linearizable.
    async fn end(&mut self) {
        self.running.clear();
        sleep(Duration::from_secs(1)).await;
        let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        // The scenario itself is one task.
        if !self.world.plan.deletions {
            self.world.check_linearizable();
        }
        let none = self.crashed || left <= 1;
        self.world.check(none, "close()", || format!("{left} tasks are left after the end"));
    }
}
