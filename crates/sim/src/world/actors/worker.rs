//! Workers: programs that acquire locks in all ways, work under them, and release them.

use std::{sync::Arc, time::Duration};

use dynamo_lock::simulation::{ClockReading, Turns};
use dynamo_lock::{
    AcquireError, Client, Guard, HoldError, Lock, LockName, LockOptions, ReleaseError, Renewal, TryAcquire,
};
use dynamo_lock_protocol::attr;
use tokio::time::sleep;

use crate::mutants::Fault;
use crate::world::{
    Process, ProcessEnv, World, checks::validity::LossChecker, checks::validity::SpanId, lock, table::Entry,
};
use test_support::Rng;

impl Process {
    pub fn client(self: &Arc<Self>, lease: Duration) -> Client {
        let inside = ProcessEnv(self.clone());
        let builder = Client::builder(self.store(lease));
        let builder = match self.world.mutant.fault {
            Some(Fault::LegacySkew(ms)) => builder.legacy_skew(Duration::from_millis(ms)),
            _ => builder,
        };
        let turns = Turns::default();
        let turns = match self.world.mutant.fault {
            Some(Fault::HandoversUnlimited) => Turns { handovers_max: u8::MAX, ..turns },
            Some(Fault::SeriesWithoutEnd) => Turns { leases_max: u32::MAX, ..turns },
            Some(Fault::NoRest) => Turns { rests: false, ..turns },
            _ => turns,
        };
        builder
            .turns(turns)
            .owner("simulated")
            .lease(lease)
            .clock(inside.clone())
            .random(inside.clone())
            .observer(LossChecker(inside))
            .build()
            .expect("a plan's leases are within bounds")
    }
}

pub fn lock_name(index: u64) -> String {
    format!("lock-{index}")
}

/// Options with which a lock was acquired.
struct Terms {
    lease: Duration,
    renewed: bool,
    max_hold: Option<Duration>,
}

/// One program on a process, which runs until the phase ends.
pub struct Worker {
    pub process: Arc<Process>,
    pub client: Client,
    pub lease: Duration,
}

impl Worker {
    fn world(&self) -> &World {
        &self.process.world
    }

    pub async fn work(self) {
        while !self.world().is_stopping() {
            if self.world().plan.shared && self.process.draw(|rng| rng.chance(800)) {
                match self.process.draw(|rng| rng.range(0..=9)) {
                    0..=1 => self.work_under_several().await,
                    2 => self.lead().await,
                    _ => self.share().await,
                }
                let rest = self.process.draw(|rng| rng.up_to(self.lease / 2));
                self.process.sleep(rest).await;
                continue;
            }
            let name = lock_name(self.process.draw(|rng| rng.range(1..=self.world().plan.locks as u64)));
            self.process.record_call(&name);
            let lock = self.client.lock(name).expect("the name is valid");
            self.process.record_other_work();
            let (hold, with) = self.process.draw(|rng| (rng.chance(self.world().plan.holds), rng.chance(100)));
            match (hold, with) {
                (true, _) => self.hold(&lock).await,
                (false, true) => self.with(&lock).await,
                (false, false) => self.acquire(&lock).await,
            }
            let rest = self.process.draw(|rng| rng.up_to(self.lease / 2));
            self.process.sleep(rest).await;
        }
    }

    fn options(&self, lock: &Lock) -> (LockOptions, Terms) {
        let mut options = lock.options();
        let (manual, data, lease, max) = self.process.draw(|rng| {
            let manual = rng.chance(self.world().plan.manual).then(|| rng.chance(500));
            (manual, rng.chance(200), rng.chance(100).then(|| rng.ms(1000..=3000)), rng.chance(100))
        });
        options = match manual {
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
        (options, Terms { lease: lease.unwrap_or(self.lease), renewed: manual.is_none(), max_hold })
    }

    /// Draws a duration on the scale of this client's lease.
    fn draw_length(&self) -> Duration {
        self.process.draw(|rng| rng.up_to(self.lease * self.world().plan.hold_percent as u32 / 100))
    }

    async fn acquire(&self, lock: &Lock) {
        let (options, terms) = self.options(lock);
        // Some limits end in the middle of the first requests.
        let moments = Duration::from_millis(self.world().plan.latency * 6);
        let limit = |rng: &mut Rng| {
            let most = if rng.chance(300) { moments } else { self.lease * 2 };
            rng.up_to(most)
        };
        let drops = self.world().plan.drops;
        let (way, limit, drop_after) =
            self.process.draw(|rng| (rng.range(0..=9), limit(rng), rng.chance(drops).then(|| limit(rng))));
        let began = self.world().time();
        // The last attempt before a limit has no rest before it.
        let _hasty = (way <= 4).then(|| self.process.begin_hasty_call());
        let acquiring = async {
            match way {
                0..=1 => options.try_acquire().await,
                2..=4 => options.acquire_within(limit).await.map(TryAcquire::Acquired),
                _ => options.acquire().await.map(TryAcquire::Acquired),
            }
        };
        let acquiring = self.process.or_given_up(Fault::RefusalEndsAcquire, acquiring);
        let acquiring = self.process.or_given_up(Fault::HandoverFailureEndsWait, acquiring);
        let answer = tokio::select! {
            biased;
            answer = acquiring => answer,
            () = self.process.sleep(drop_after.unwrap_or(Duration::MAX)) => {
                self.world().count("future dropped");
                self.world().trace(|| format!("{:?} {} acquire dropped", self.process, lock.name()));
                return;
            }
        };
        match answer {
            Ok(TryAcquire::Acquired(guard)) => {
                self.world().check_wait(lock.name(), began, terms.lease);
                self.world().acquire_returned(lock.name().as_str(), guard.token().get(), began);
                self.keep(guard, terms).await;
            }
            Ok(TryAcquire::Held(_)) => {
                self.world().count("contended");
                self.world().attempt_refused(lock.name().as_str(), began);
            }
            Err(AcquireError::TimedOut { .. }) => self.world().count("timed out"),
            Err(AcquireError::Store(error)) => {
                self.world().trace(|| format!("{:?} {} not acquired: {error}", self.process, lock.name()));
                self.world().count("acquire failed");
                // A wait with a limit ends with the last error of its attempt, which may have begun before it.
                if way >= 5 {
                    self.world().check_asked(&self.process, lock.name().as_str(), began);
                }
                // At its limit an acquisition sends one release only, which may be lost.
                if !(2..=4).contains(&way) || self.world().time() - began < limit * 9 / 10 {
                    self.world().check_failed(&self.process, lock.name().as_str(), began, terms.max_hold);
                }
                self.world()
                    .check(!self.world().plan.fault_free, "fault_free", || format!("{} failed: {error}", lock.name()));
            }
            Err(error) => self.world().violation("acquire", format!("{}: {error}", lock.name())),
        }
    }

    /// Works under a guard, and releases it in one of several ways.
    async fn keep(&self, guard: Guard, terms: Terms) {
        let name = guard.name().clone();
        let token = guard.token().get();
        let guard = Arc::new(guard);
        let world = self.world();
        let from = self.process.host.clock(world);
        let id = world.record_reported(&self.process, &name, token, Some(guard.clone()), None);
        let live = guard.is_valid();
        world.check(live, "A (R5)", || format!("{name} with {token} was lost when it was reported"));
        world.record_validity(&id, live);
        for _ in 0..self.process.draw(|rng| rng.range(0..=4)) {
            if !self.step(&guard, &id).await {
                break;
            }
        }
        let live = guard.is_valid();
        world.record_validity(&id, live);
        self.check_terms(&name, live, &terms, from);
        world.record_guard_gone(&id);
        let Ok(guard) = Arc::try_unwrap(guard) else {
            return world.violation("simulator", "a guard is still referenced".to_owned());
        };
        match self.process.draw(|rng| rng.range(0..=9)) {
            0..=1 => {
                world.trace(|| format!("{:?} {name} drops {token}", self.process));
                world.count("guard dropped");
                drop(guard);
            }
            2 => {
                let drop_after = self.draw_length() / 4;
                tokio::select! {
                    biased;
                    answer = self.release(guard) => world.check_release(&self.process, &name, token, live, &answer),
                    () = self.process.sleep(drop_after) => world.count("release dropped"),
                }
            }
            _ => {
                let called = world.time();
                let answer = self.release(guard).await;
                world.check_release(&self.process, &name, token, live, &answer);
                if answer.is_ok() {
                    world.release_returned(name.as_str(), token, called);
                }
            }
        }
    }

    async fn release(&self, guard: Guard) -> Result<(), ReleaseError> {
        let answer = self.process.or_given_up(Fault::RefusalEndsRelease, guard.release()).await;
        match (self.world().mutant.fault, &answer) {
            (Some(Fault::UnknownReleaseIsOk), Err(ReleaseError::Unknown))
            | (Some(Fault::LostReleaseIsOk), Err(ReleaseError::Lost(_))) => Ok(()),
            _ => answer,
        }
    }

    /// Checks the lock at the end of its work: the library must have kept a lock that it renews, if this world has no
    /// faults, and `max_hold` must have ended it.
    fn check_terms(&self, name: &LockName, live: bool, terms: &Terms, from: ClockReading) {
        let world = self.world();
        let held = self.process.host.clock(world).waiter_elapsed_since(from);
        let kept = live || !terms.renewed || terms.max_hold.is_some() || !world.plan.fault_free;
        world.check(kept, "kept", || format!("{name} was lost although the library renewed it without faults"));
        // §5: half a second after the acquisition the library renews a row without a service timestamp.
        let known = !world.plan.fault_free || !world.plan.service_clock || !terms.renewed || terms.max_hold.is_some();
        let soon = Duration::from_millis(600 + world.plan.latency * 4);
        let service_timestamp = known || !live || held < soon || {
            let table = lock(&world.table);
            let row = table.locks.get(name.as_str()).and_then(|entry| entry.row.as_ref());
            row.is_some_and(|row| row.text(attr::EXPIRY_CLOCK).is_some())
        };
        world.check(service_timestamp, "§5 (has a timestamp)", || {
            format!("{name} has been held for {held:?}, and its row has no service timestamp")
        });
        let over = live && terms.max_hold.is_some_and(|max| held >= max);
        world.check(!over, "max_hold", || {
            format!("{name} has been held for {held:?}, at most {:?} are allowed", terms.max_hold)
        });
    }

    /// Does one thing under the guard. Returns whether to go on.
    async fn step(&self, guard: &Arc<Guard>, id: &SpanId) -> bool {
        let world = self.world();
        let draw_length = self.draw_length();
        match self.process.draw(|rng| rng.range(0..=9)) {
            0 => {
                let data = self.process.draw(|rng| format!("more {}", rng.next_u64()));
                tokio::select! {
                    biased;
                    answer = guard.update_data(data.as_str()) => self.check_data(guard, &data, answer.is_ok()),
                    () = self.process.sleep(draw_length) => {}
                }
            }
            1 => {
                tokio::select! {
                    biased;
                    _ = guard.renew() => world.count("renewed manually"),
                    () = self.process.sleep(draw_length) => {}
                }
            }
            2..=4 if !self.increment_counter(guard).await => return false,
            2..=4 => {}
            5 => self.process.sleep(draw_length).await,
            // The worker does not check the guard: the library reports the loss.
            6..=7 => {
                let stop = guard.cancellation();
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = self.process.sleep(draw_length) => {}
                }
            }
            _ => {
                tokio::select! {
                    biased;
                    _ = guard.lost() => {}
                    () = self.process.sleep(draw_length) => {}
                }
            }
        }
        let live = guard.is_valid();
        world.record_validity(id, live);
        if live {
            world.fence(guard.name().as_str(), guard.token().get());
        }
        live
    }

    /// Checks that the payload of an update that returned `Ok` is in the row while the lock is held.
    fn check_data(&self, guard: &Guard, data: &str, ok: bool) {
        let world = self.world();
        world.count("data updated");
        let token = guard.token().get();
        let table = lock(&world.table);
        let Some(entry) = table.locks.get(guard.name().as_str()) else { return };
        let there = entry.row.as_ref().and_then(|row| row.text(attr::DATA)) == Some(data);
        let ours = ok && entry.is_held_by(token);
        drop(table);
        world.check(!ours || there, "E (data)", || {
            format!("{}: the update to {data:?} returned Ok, but the row does not contain it", guard.name())
        });
    }

    /// Reads a counter and writes it back in a transaction with the guard's condition check. The transaction may be
    /// applied much later, after the release. Then this guard must write no more: returns whether to go on.
    async fn increment_counter(&self, guard: &Arc<Guard>) -> bool {
        let (name, token) = (guard.name().as_str().to_owned(), guard.token().get());
        let world = self.process.world.clone();
        if !guard.is_valid() {
            return true;
        }
        let (read, lease_id) = {
            let table = lock(&world.table);
            let own = |entry: &Entry| entry.acquisition_of(&self.process, token).map(|own| own.lease_id.clone());
            let lease_id = table.entries(&name).find_map(own).unwrap_or_default();
            (table.locks.get(&name).map_or(0, |entry| entry.counter), lease_id)
        };
        let (late, delay) = self.process.draw(|rng| (rng.chance(100), rng.up_to(self.lease * 2)));
        let thinking = self.process.draw(|rng| rng.up_to(self.lease / 4));
        self.process.sleep(thinking).await;
        let write = async move {
            sleep(if late { delay } else { Duration::from_millis(5) }).await;
            let mut table = lock(&world.table);
            let Some(entry) = table.locks.get_mut(&name) else { return };
            if !entry.passes_check(&world.mutant, &name, &lease_id, token) {
                drop(table);
                return world.count("guarded write refused");
            }
            (entry.counter, entry.updates) = (read + 1, entry.updates + 1);
            let lost = entry.counter != entry.updates;
            let over =
                entry.acquisitions.get(&token).is_some_and(|acquisition| acquisition.released || acquisition.revoked);
            drop(table);
            world.count("guarded write");
            world.check(!over, "B (condition)", || {
                format!("the counter of {name} was written under {token}, which had ended")
            });
            world.check(!lost, "B (condition)", || format!("an update of the counter of {name} was lost"));
        };
        let written = tokio::spawn(write);
        // Two transactions of one guard may conflict: this one is awaited, or it was the last.
        if !late {
            let _done = written.await;
            self.process.gate().await;
        }
        !late
    }

    async fn with(&self, lock: &Lock) {
        let (process, draw_length) = (self.process.clone(), self.draw_length());
        let called = self.world().time();
        let answer = lock
            .with(async |guard: &Guard| {
                let (world, token) = (process.world.clone(), guard.token().get());
                world.acquire_returned(guard.name().as_str(), token, called);
                let id = world.record_reported(&process, guard.name(), token, None, None);
                world.record_validity(&id, guard.is_valid());
                process.sleep(draw_length).await;
                world.record_validity(&id, guard.is_valid());
            })
            .await;
        self.world().trace(|| format!("{:?} {} with: {answer:?}", self.process, lock.name()));
        self.world().count(if answer.is_ok() { "with done" } else { "with failed" });
    }

    async fn hold(&self, lock: &Lock) {
        let world = self.world();
        let length = self.process.draw(|rng| rng.ms(1000..=(2 * self.lease.as_millis() as u64).min(30_000)));
        let (from, called) = (self.process.host.clock(world), world.time());
        let _hasty = self.process.begin_hasty_call();
        match lock.hold(length).await {
            Ok(token) => {
                let validity = length - length / 100 - Duration::from_millis(10);
                world.acquire_returned(lock.name().as_str(), token.get(), called);
                world.record_reported(&self.process, lock.name(), token.get(), None, Some((from, validity)));
                world.count("hold");
            }
            Err(HoldError::Held { .. }) => {
                world.count("contended");
                world.attempt_refused(lock.name().as_str(), called);
            }
            Err(error) => {
                world.trace(|| format!("{:?} {} hold failed: {error}", self.process, lock.name()));
                world.count("hold failed");
                if matches!(error, HoldError::Acquire(AcquireError::Store(_))) {
                    world.check_failed(&self.process, lock.name().as_str(), called, None);
                }
            }
        }
    }
}

impl World {
    /// Writes to a resource that checks fencing tokens, under a guard that is valid at this instant.
    fn fence(&self, name: &str, token: u64) {
        let mut table = lock(&self.table);
        let Some(entry) = table.locks.get_mut(name) else { return };
        // The resource of a new table does not know the tokens of a deleted one.
        let Some(acquisition) = entry.acquisitions.get(&token) else { return };
        let taken = entry.fence <= token || acquisition.forced;
        entry.fence = entry.fence.max(token);
        let largest_token = entry.fence;
        drop(table);
        self.count("fenced write");
        self.check(taken, "C (fence)", || format!("{name}: the valid token {token} was refused after {largest_token}"));
    }
}
