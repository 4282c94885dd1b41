//! Who uses locks on a host: acquires in all ways, works, looks, gives back, forgets.

use std::sync::Arc;
use std::time::Duration;

use dynamo_lock::simulation::ClockReading;
use dynamo_lock::{
    AcquireError, Client, Guard, HoldError, Lock, LockName, LockOptions, ReleaseError, Renewal, TryAcquire,
};
use dynamo_lock_protocol::attr;
use tokio::time::sleep;

use super::checks::{Ear, SpanId};
use super::dice::Dice;
use super::host::{Host, Inside};
use super::{World, lock};
use crate::mutants::Fault;

impl Host {
    pub fn client(self: &Arc<Self>, lease: Duration) -> Client {
        let inside = Inside(self.clone());
        let builder = Client::builder(self.store(lease));
        let builder = match self.world.mutant.fault {
            Some(Fault::LegacySkew(ms)) => builder.legacy_skew(Duration::from_millis(ms)),
            // Twice the default.
            Some(Fault::SlowPolls) => builder.poll(lease / 20..=lease / 10),
            _ => builder,
        };
        builder
            .owner("simulated")
            .lease(lease)
            .clock(inside.clone())
            .random(inside.clone())
            .observer(Ear(inside))
            .build()
            .expect("a plan's leases are within bounds")
    }
}

pub fn lock_name(index: u64) -> String {
    format!("lock-{index}")
}

/// On which terms a lock was asked for.
struct Terms {
    renewed: bool,
    max_hold: Option<Duration>,
}

/// One program on a host, until the act is over.
pub struct Worker {
    pub host: Arc<Host>,
    pub client: Client,
    pub lease: Duration,
}

impl Worker {
    fn world(&self) -> &World {
        &self.host.world
    }

    pub async fn work(self) {
        while !self.world().is_stopping() {
            let name = lock_name(self.host.roll(|dice| dice.range(1..=self.world().plan.locks as u64)));
            let lock = self.client.lock(name).expect("a name");
            self.host.begins();
            let (hold, with) = self.host.roll(|dice| (dice.chance(self.world().plan.holds), dice.chance(100)));
            match (hold, with) {
                (true, _) => self.hold(&lock).await,
                (false, true) => self.with(&lock).await,
                (false, false) => self.acquire(&lock).await,
            }
            let rest = self.host.roll(|dice| dice.upto(self.lease / 2));
            self.host.sleep(rest).await;
        }
    }

    fn options(&self, lock: &Lock) -> (LockOptions, Terms) {
        let mut options = lock.options();
        let (by_hand, data, lease, max) = self.host.roll(|dice| {
            let by_hand = dice.chance(self.world().plan.by_hand).then(|| dice.chance(500));
            (by_hand, dice.chance(200), dice.chance(100).then(|| dice.ms(1000..=3000)), dice.chance(100))
        });
        options = match by_hand {
            Some(true) => options.renewal(Renewal::Manual),
            Some(false) => options.renewal(Renewal::Disabled),
            None => options,
        };
        if data {
            options = options.data("begun");
        }
        if let Some(lease) = lease {
            options = options.lease(lease);
        }
        let max_hold = max.then(|| self.lease.max(Duration::from_secs(1)) * 2);
        if let Some(max_hold) = max_hold {
            options = options.max_hold(max_hold);
        }
        (options, Terms { renewed: by_hand.is_none(), max_hold })
    }

    /// A length of time on the scale of this host's lease.
    fn spell(&self) -> Duration {
        self.host.roll(|dice| dice.upto(self.lease * self.world().plan.busy as u32 / 100))
    }

    async fn acquire(&self, lock: &Lock) {
        let (options, terms) = self.options(lock);
        // Some limits end in the middle of the first requests.
        let moments = Duration::from_millis(self.world().plan.latency * 6);
        let limit = |dice: &mut Dice| {
            let most = if dice.chance(300) { moments } else { self.lease * 2 };
            dice.upto(most)
        };
        let drops = self.world().plan.drops;
        let (way, limit, wait_mode) =
            self.host.roll(|dice| (dice.range(0..=9), limit(dice), dice.chance(drops).then(|| limit(dice))));
        let began = self.world().time();
        let acquiring = async {
            match way {
                0..=1 => options.try_acquire().await,
                2..=4 => options.acquire_within(limit).await.map(TryAcquire::Acquired),
                _ => options.acquire().await.map(TryAcquire::Acquired),
            }
        };
        let answer = tokio::select! {
            biased;
            answer = acquiring => answer,
            () = self.host.sleep(wait_mode.unwrap_or(Duration::MAX)) => {
                self.world().count("future dropped");
                self.world().trace(|| format!("{:?} {} acquire dropped", self.host, lock.name()));
                return;
            }
        };
        match answer {
            Ok(TryAcquire::Acquired(guard)) => {
                self.world().waited(lock.name(), began);
                self.world().told_acquired(lock.name().as_str(), guard.token().get(), began);
                self.keep(guard, terms).await;
            }
            Ok(TryAcquire::Held(_)) => {
                self.world().count("contended");
                self.world().told_contended(lock.name().as_str(), began);
            }
            Err(AcquireError::TimedOut { .. }) => self.world().count("timed out"),
            Err(AcquireError::Store(error)) => {
                self.world().trace(|| format!("{:?} {} not acquired: {error}", self.host, lock.name()));
                self.world().count("acquire failed");
                self.world().check(!self.world().plan.well, "well", || format!("{} failed: {error}", lock.name()));
            }
            Err(error) => self.world().violation("acquire", format!("{}: {error}", lock.name())),
        }
    }

    /// Works with a guard, and gives it back in one way or another.
    async fn keep(&self, guard: Guard, terms: Terms) {
        let name = guard.name().clone();
        let token = guard.token().get();
        let guard = Arc::new(guard);
        let world = self.world();
        let from = self.host.machine.moment(world);
        let id = world.reported(&self.host, &name, token, Some(guard.clone()));
        let live = guard.is_valid();
        world.check(live, "A (R5)", || format!("{name} with {token} was lost when it was reported"));
        world.saw(&id, live);
        for _ in 0..self.host.roll(|dice| dice.range(0..=4)) {
            if !self.step(&guard, &id).await {
                break;
            }
        }
        let live = guard.is_valid();
        world.saw(&id, live);
        self.on_terms(&name, live, &terms, from);
        world.gone(&id);
        let Ok(guard) = Arc::try_unwrap(guard) else {
            return world.violation("simulator", "a guard is kept".to_owned());
        };
        match self.host.roll(|dice| dice.range(0..=9)) {
            0..=1 => {
                world.trace(|| format!("{:?} {name} drops {token}", self.host));
                world.count("guard dropped");
                drop(guard);
            }
            2 => {
                let wait_mode = self.spell() / 4;
                tokio::select! {
                    biased;
                    answer = self.release(guard) => world.released(&self.host, &name, token, live, &answer),
                    () = self.host.sleep(wait_mode) => world.count("release dropped"),
                }
            }
            _ => {
                let called = world.time();
                let answer = self.release(guard).await;
                world.released(&self.host, &name, token, live, &answer);
                if answer.is_ok() {
                    world.told_released(name.as_str(), token, called);
                }
            }
        }
    }

    async fn release(&self, guard: Guard) -> Result<(), ReleaseError> {
        let answer = guard.release().await;
        match (self.world().mutant.fault, &answer) {
            (Some(Fault::UnknownReleaseIsOk), Err(ReleaseError::Unknown))
            | (Some(Fault::LostReleaseIsOk), Err(ReleaseError::Lost(_))) => Ok(()),
            _ => answer,
        }
    }

    /// Where all is well a lock that the library renews is kept; and none is held for longer than was asked for.
    fn on_terms(&self, name: &LockName, live: bool, terms: &Terms, from: ClockReading) {
        let world = self.world();
        let held = self.host.machine.moment(world).waiter_elapsed_since(from);
        let kept = live || !terms.renewed || terms.max_hold.is_some() || !world.plan.well;
        world.check(kept, "kept", || format!("{name} was lost, though all was well and the library renewed it"));
        // §5: half a second after it was acquired the library renews what bears no stamp.
        let known = !world.plan.well || !world.plan.service_clock || !terms.renewed || terms.max_hold.is_some();
        let soon = Duration::from_millis(600 + world.plan.latency * 4);
        let service_timestamp = known || !live || held < soon || {
            let table = lock(&world.table);
            let row = table.locks.get(name.as_str()).and_then(|entry| entry.row.as_ref());
            row.is_some_and(|row| row.text(attr::EXPIRY_CLOCK).is_some())
        };
        world.check(service_timestamp, "§5 (stamped)", || {
            format!("{name} is held since {held:?}, and its row bears no stamp")
        });
        let over = live && terms.max_hold.is_some_and(|max| held >= max);
        world.check(!over, "max_hold", || {
            format!("{name} is held since {held:?}, and {:?} were allowed", terms.max_hold)
        });
    }

    /// One thing that is done while holding; whether to go on.
    async fn step(&self, guard: &Arc<Guard>, id: &SpanId) -> bool {
        let world = self.world();
        let spell = self.spell();
        match self.host.roll(|dice| dice.range(0..=9)) {
            0 => {
                let data = self.host.roll(|dice| format!("more {}", dice.next()));
                tokio::select! {
                    biased;
                    answer = guard.update_data(data.as_str()) => self.updated(guard, &data, answer.is_ok()),
                    () = self.host.sleep(spell) => {}
                }
            }
            1 => {
                tokio::select! {
                    biased;
                    _ = guard.renew() => world.count("renewed by hand"),
                    () = self.host.sleep(spell) => {}
                }
            }
            2..=4 if !self.count_up(guard).await => return false,
            2..=4 => {}
            5 => self.host.sleep(spell).await,
            // Nobody asks the guard: it is the library that tells.
            6..=7 => {
                let stop = guard.cancellation();
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = self.host.sleep(spell) => {}
                }
            }
            _ => {
                tokio::select! {
                    biased;
                    _ = guard.lost() => {}
                    () = self.host.sleep(spell) => {}
                }
            }
        }
        let live = guard.is_valid();
        world.saw(id, live);
        if live {
            world.fence(guard.name().as_str(), guard.token().get());
        }
        live
    }

    /// What was said to be written is there, as long as the lock is ours.
    fn updated(&self, guard: &Guard, data: &str, ok: bool) {
        let world = self.world();
        world.count("data updated");
        let token = guard.token().get();
        let table = lock(&world.table);
        let Some(entry) = table.locks.get(guard.name().as_str()) else { return };
        let there = entry.row.as_ref().and_then(|row| row.text(attr::DATA)) == Some(data);
        let ours = ok && entry.is_held_by(token);
        drop(table);
        world.check(!ours || there, "E (data)", || {
            format!("{}: {data:?} was confirmed, and is not there", guard.name())
        });
    }

    /// Reads a counter, and writes it in one transaction with the guard's condition. The transaction may take effect
    /// much later, after the lock was given back; then this guard writes no more: whether to go on.
    async fn count_up(&self, guard: &Arc<Guard>) -> bool {
        let (name, token) = (guard.name().as_str().to_owned(), guard.token().get());
        let world = self.host.world.clone();
        if !guard.is_valid() {
            return true;
        }
        let read = lock(&world.table).locks.get(&name).map_or(0, |entry| entry.counter);
        let (late, delay) = self.host.roll(|dice| (dice.chance(100), dice.upto(self.lease * 2)));
        let thinking = self.host.roll(|dice| dice.upto(self.lease / 4));
        self.host.sleep(thinking).await;
        let write = async move {
            sleep(if late { delay } else { Duration::from_millis(5) }).await;
            let mut table = lock(&world.table);
            let Some(entry) = table.locks.get_mut(&name) else { return };
            if !entry.passes_check(&world.mutant, &name, token) {
                drop(table);
                return world.count("guarded write refused");
            }
            (entry.counter, entry.counted) = (read + 1, entry.counted + 1);
            let lost = entry.counter != entry.counted;
            let over = entry.lease_ids.get(&token).is_some_and(|lease_id| lease_id.released || lease_id.revoked);
            drop(table);
            world.count("guarded write");
            world.check(!over, "B (condition)", || format!("{name} was written under {token}, which had ended"));
            world.check(!lost, "B (condition)", || format!("an update of the counter of {name} was lost"));
        };
        let written = tokio::spawn(write);
        // Two of one guard would be its own fault: this one is waited for, or was the last.
        if !late {
            let _done = written.await;
            self.host.gate().await;
        }
        !late
    }

    async fn with(&self, lock: &Lock) {
        let (host, spell) = (self.host.clone(), self.spell());
        let called = self.world().time();
        let answer = lock
            .with(async |guard: &Guard| {
                let (world, token) = (host.world.clone(), guard.token().get());
                world.told_acquired(guard.name().as_str(), token, called);
                let id = world.reported(&host, guard.name(), token, None);
                world.saw(&id, guard.is_valid());
                host.sleep(spell).await;
                world.saw(&id, guard.is_valid());
            })
            .await;
        self.world().trace(|| format!("{:?} {} with: {answer:?}", self.host, lock.name()));
        self.world().count(if answer.is_ok() { "with done" } else { "with failed" });
    }

    async fn hold(&self, lock: &Lock) {
        let world = self.world();
        let length = self.host.roll(|dice| dice.ms(1000..=(2 * self.lease.as_millis() as u64).min(30_000)));
        let (from, called) = (self.host.machine.moment(world), world.time());
        match lock.hold(length).await {
            Ok(token) => {
                let validity = length - length / 100 - Duration::from_millis(10);
                world.told_acquired(lock.name().as_str(), token.get(), called);
                let _id = world.held(&self.host, lock.name(), token.get(), from, validity);
                world.count("hold");
            }
            Err(HoldError::Held { .. }) => {
                world.count("contended");
                world.told_contended(lock.name().as_str(), called);
            }
            Err(error) => {
                world.trace(|| format!("{:?} {} not put on hold: {error}", self.host, lock.name()));
                world.count("hold failed");
            }
        }
    }
}

impl World {
    /// A resource that checks tokens is written under a guard that is live at this instant.
    fn fence(&self, name: &str, token: u64) {
        let mut table = lock(&self.table);
        let Some(entry) = table.locks.get_mut(name) else { return };
        let forced = entry.lease_ids.get(&token).is_some_and(|lease_id| lease_id.forced);
        let taken = entry.fence <= token || forced;
        entry.fence = entry.fence.max(token);
        let top = entry.fence;
        drop(table);
        self.count("fenced write");
        self.check(taken, "C (fence)", || format!("{name}: {token} is live, and refused after {top}"));
    }
}
