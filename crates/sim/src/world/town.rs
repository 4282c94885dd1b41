//! A world from its beginning to its end: acts full of trouble, each followed by quiet in which everything must come
//! to rest.

use std::sync::Arc;
use std::time::Duration;

use dynamo_lock::{Client, LockName};
use dynamo_lock_protocol::attr;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::actors::Worker;
use super::host::{Host, Machine, Stop};
use super::{World, lock, others};

/// By when everybody must have finished what they do, once nothing disturbs them.
const FINISH: Duration = Duration::from_secs(400);
/// Samples of the service's time count for ten minutes: a lull is nearly as long, from when quiet began.
const LULL: Duration = Duration::from_secs(595);
const NINE_DAYS: Duration = Duration::from_secs(9 * 24 * 3600);

/// A host's process, its client, and who works on it.
struct Living {
    host: Arc<Host>,
    client: Client,
    lease: Duration,
    workers: Vec<JoinHandle<()>>,
}

struct Town {
    world: Arc<World>,
    machines: Vec<Arc<Machine>>,
    living: Vec<Option<Living>>,
    others: Vec<JoinHandle<()>>,
    crashed: bool,
}

/// Lives through the world.
pub async fn live(world: &Arc<World>) {
    let machines: Vec<_> = {
        let mut dice = lock(&world.dice);
        (0..world.plan.hosts).map(|index| Arc::new(Machine::new(index, world, &mut dice))).collect()
    };
    let mut town = Town {
        world: world.clone(),
        living: machines.iter().map(|_| None).collect(),
        machines,
        others: Vec::new(),
        crashed: false,
    };
    world.trace(|| format!("{:?}", world.plan));
    town.act(world.plan.act).await;
    let quiet = world.time();
    town.quiet().await;
    if world.plan.lull {
        sleep((quiet + LULL).saturating_sub(world.time())).await;
        town.act(world.plan.act / 2).await;
        town.quiet().await;
    }
    if world.plan.ttl {
        sleep(NINE_DAYS).await;
        others::purge(world);
        town.act(world.plan.act / 2).await;
        town.quiet().await;
    }
    town.end().await;
}

impl Town {
    async fn act(&mut self, length: Duration) {
        let world = self.world.clone();
        world.set_stopping(false);
        world.set_calm(world.plan.well);
        for index in 0..self.machines.len() {
            self.start(index);
        }
        for index in 0..world.plan.legacy {
            let mut dice = lock(&world.dice).fork();
            if index < world.plan.heirs {
                let machine = Machine::right(92);
                let wall = world.plan.legacy_wall.unwrap_or_else(|| dice.signed(others::LEGACY_SKEW_MS));
                machine.set_wall(&world, wall);
                let host = Host::new(&world, &Arc::new(machine));
                let client = host.client(world.plan.longest);
                self.others.push(tokio::spawn(others::heir(host, client)));
            } else {
                self.others.push(tokio::spawn(others::legacy(world.clone(), dice)));
            }
        }
        if world.plan.operator {
            let host = Host::new(&world, &Arc::new(Machine::right(90)));
            let client = host.client(world.plan.longest);
            self.others.push(tokio::spawn(others::operator(host, client)));
        }
        let until = world.time() + length;
        while world.time() < until {
            let spell = lock(&world.dice).upto(world.plan.longest * 2);
            sleep(spell).await;
            self.trouble();
        }
    }

    fn start(&mut self, index: usize) {
        let host = Host::new(&self.world, &self.machines[index]);
        let lease = self.world.plan.leases[index];
        if self.living[index].is_none() {
            self.world.trace(|| format!("{host:?} starts, lease {lease:?}"));
            let client = host.client(lease);
            self.living[index] = Some(Living { host, client, lease, workers: Vec::new() });
        }
        let Some(living) = &mut self.living[index] else { return };
        for _ in 0..lock(&self.world.dice).range(1..=2) {
            let worker = Worker { host: living.host.clone(), client: living.client.clone(), lease };
            living.workers.push(living.host.spawn(worker.work()));
        }
    }

    /// One bad thing, if this world has such.
    fn trouble(&mut self) {
        let world = self.world.clone();
        let plan = &world.plan;
        let (kind, index, length, ms) = {
            let mut dice = lock(&world.dice);
            let index = dice.range(0..=plan.hosts as u64 - 1) as usize;
            (dice.range(0..=6), index, dice.upto(plan.longest * 3), plan.wall(&mut dice))
        };
        let machine = self.machines[index].clone();
        match kind {
            0 if plan.pauses => {
                world.trace(|| format!("h{index} is paused for {length:?}"));
                world.count("pause");
                machine.stop(&world, length, Stop::Pause);
            }
            1 if plan.suspends => {
                world.trace(|| format!("h{index} is suspended for {length:?}"));
                world.count("suspend");
                machine.stop(&world, length, Stop::Suspend);
            }
            2 if plan.crashes => self.crash_or_start(index),
            3 if plan.partitions => {
                if let Some(living) = &self.living[index] {
                    world.trace(|| format!("h{index} is cut off for {length:?}"));
                    world.count("partition");
                    *lock(&living.host.down_until) = world.time() + length;
                }
            }
            4 if plan.bursts => {
                world.count("throttling burst");
                *lock(&world.burst_until) = world.time() + length / 2;
            }
            5 if plan.wall_steps => {
                world.trace(|| format!("h{index} sets its wall clock {ms} ms off"));
                world.count("wall step");
                machine.set_wall(&world, ms);
            }
            0 | 1 | 3 | 6 if plan.freezes => {
                world.trace(|| format!("h{index} is frozen for {length:?}"));
                world.count("freeze");
                machine.stop(&world, length, Stop::Freeze);
            }
            _ => {}
        }
    }

    fn crash_or_start(&mut self, index: usize) {
        let Some(living) = self.living[index].take() else { return self.start(index) };
        self.world.trace(|| format!("{:?} crashes", living.host));
        self.world.count("crash");
        self.crashed = true;
        living.host.crash();
        // What its guards would release never leaves the host.
        drop(self.world.forget_host(&living.host));
    }

    /// Nothing disturbs any more: everybody finishes, everything comes to rest.
    async fn quiet(&mut self) {
        let world = self.world.clone();
        world.trace(|| "quiet".to_owned());
        world.set_stopping(true);
        world.set_calm(true);
        for machine in &self.machines {
            sleep(machine.paused_until().saturating_sub(world.time())).await;
        }
        *lock(&world.burst_until) = Duration::ZERO;
        for living in self.living.iter().flatten() {
            *lock(&living.host.down_until) = Duration::ZERO;
        }
        let workers = self.living.iter_mut().flatten().flat_map(|living| living.workers.drain(..));
        let mut all: Vec<_> = workers.chain(self.others.drain(..)).collect();
        let finished = tokio::time::timeout(FINISH, async {
            for task in &mut all {
                if let Err(error) = task.await
                    && error.is_panic()
                {
                    world.violation("no panic", "an actor panicked".to_owned());
                }
            }
        });
        let finished = finished.await.is_ok();
        world.check(finished, "D (an end)", || format!("somebody is not done {FINISH:?} after everything was well"));
        all.iter().for_each(JoinHandle::abort);
        for living in self.living.iter().flatten() {
            let before = world.time();
            let _ended = tokio::time::timeout(FINISH, living.client.close()).await;
            let took = world.time() - before;
            let most = living.lease * 1006 / 1000 + Duration::from_millis(2);
            world.check(took <= most, "close() is bounded", || format!("{:?} took {took:?}", living.host));
        }
        // What is still under way arrives, and every lease ends.
        sleep(world.plan.longest * 4 + Duration::from_secs(31)).await;
        self.at_rest().await;
    }

    /// Every lock is free or over, and a newcomer gets it.
    async fn at_rest(&self) {
        let world = &self.world;
        world.nothing_forgotten();
        let names: Vec<_> = lock(&world.table).locks.keys().cloned().collect();
        for name in names {
            let (row, quiet) = {
                let table = lock(&world.table);
                let entry = &table.locks[&name];
                (entry.row.clone(), world.time() - entry.written)
            };
            let lease = Duration::from_millis(row.as_ref().and_then(|row| row.whole(attr::LEASE_MS)).unwrap_or(0));
            world.check(quiet >= lease, "E (ghosts)", || format!("{name} is still held after all is quiet"));
            let host = Host::new(world, &Arc::new(Machine::right(91)));
            let client = host.client(world.plan.longest);
            let service_timestamp = row.as_ref().is_some_and(|row| row.text(attr::EXPIRY_CLOCK).is_some());
            let free = row.as_ref().is_none_or(|row| row.whole(attr::EXPIRES_ON) == Some(0));
            let wait_mode = if service_timestamp && world.plan.service_clock || free { Duration::ZERO } else { lease };
            let tokenless = row.as_ref().is_some_and(|row| row.token().is_none());
            // A fresh seed above all that was given before takes some seconds to be sure of.
            let wait_mode = if tokenless { Duration::from_secs(9) } else { wait_mode };
            let before = world.time();
            let handle = client.lock(name.as_str()).expect("a name");
            let Ok(Ok(guard)) = tokio::time::timeout(FINISH, handle.acquire()).await else {
                world.violation("D (newcomer)", format!("{name} cannot be had"));
                continue;
            };
            let token = guard.token().get();
            world.told_acquired(&name, token, before);
            let id = world.reported(&host, &LockName::new(name.as_str()).expect("a name"), token, None);
            world.saw(&id, guard.is_valid());
            let waited = world.time() - before;
            let most =
                wait_mode * 1011 / 1000 + Duration::from_millis(1600 + world.plan.latency * 12) + world.plan.stale;
            world.check(waited <= most, "D (newcomer)", || format!("{name}: {waited:?} instead of {most:?}"));
            if free {
                let writes = *lock(&host.rate);
                world.check(writes.1 <= 3, "§6 (requests)", || format!("{} requests for a free lock", writes.1));
            }
            let Ok(answer) = tokio::time::timeout(FINISH, guard.release()).await else {
                world.violation("E (release)", format!("{name} cannot be given back"));
                continue;
            };
            world.check(answer.is_ok(), "E (release)", || format!("{name}: {answer:?} though all is well"));
            let _ended = tokio::time::timeout(FINISH, client.close()).await;
        }
    }

    /// Nothing goes on after the end.
    async fn end(&mut self) {
        self.living.clear();
        sleep(Duration::from_secs(1)).await;
        let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        // This one is left.
        self.world.in_one_order();
        let none = self.crashed || left <= 1;
        self.world.check(none, "close()", || format!("{left} tasks are left after the end"));
    }
}
