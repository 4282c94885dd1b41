//! Programs that use locks with several holders: semaphores and read/write locks.

use std::{sync::Arc, time::Duration};

use dynamo_lock::{
    AcquireError, Guard, Inspection, LeaseId, LossReason, Permit, ReleaseError, RevokeError, TryAcquire, TryPermit,
};

use super::worker::Worker;
use crate::world::{World, checks::sharing::Access, checks::sharing::entries, lock};

/// Name of the semaphore of a world.
pub const SEMAPHORE: &str = "semaphore";
/// Name of the read/write lock of a world.
pub const RW_LOCK: &str = "rw-lock";

/// A held slot, or a guard of a read/write lock.
#[derive(Debug)]
pub enum SharedHold {
    Permit(Permit),
    Guard(Guard),
}

impl SharedHold {
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Permit(permit) => permit.is_valid(),
            Self::Guard(guard) => guard.is_valid(),
        }
    }

    pub fn lease_id(&self) -> Option<LeaseId> {
        match self {
            Self::Permit(permit) => permit.lease_id(),
            Self::Guard(guard) => guard.lease_id(),
        }
    }

    /// Returns the fencing token, which permits do not have.
    pub fn token(&self) -> Option<u64> {
        match self {
            Self::Permit(_) => None,
            Self::Guard(guard) => Some(guard.token().get()),
        }
    }

    async fn lost(&self) -> LossReason {
        match self {
            Self::Permit(permit) => permit.lost().await,
            Self::Guard(guard) => guard.lost().await,
        }
    }

    async fn renew(&self) -> bool {
        match self {
            Self::Permit(permit) => permit.renew().await.is_ok(),
            Self::Guard(guard) => guard.renew().await.is_ok(),
        }
    }

    async fn release(self) -> Result<(), ReleaseError> {
        match self {
            Self::Permit(permit) => permit.release().await,
            Self::Guard(guard) => guard.release().await,
        }
    }
}

/// Way of an acquisition.
#[derive(Clone, Copy)]
enum Way {
    Try,
    Within(Duration),
    Wait,
}

impl Worker {
    /// Acquires a lock with several holders in one of several ways, works, and releases it.
    pub async fn share(&self) {
        let world = &self.process.world;
        let most = self.lease * 2;
        let (access, way, drops, operates) = self.process.draw(|rng| {
            let access = match rng.range(0..=9) {
                0..=4 => Access::Permit(rng.range(1..=3)),
                5..=7 => Access::Read,
                _ => Access::Write,
            };
            let way = match rng.range(0..=9) {
                0..=1 => Way::Try,
                2..=4 => Way::Within(rng.up_to(most)),
                _ => Way::Wait,
            };
            let drops = rng.chance(world.plan.drops).then(|| rng.up_to(most));
            (access, way, drops, world.plan.operator && rng.chance(60))
        });
        if operates {
            let operator = Self { process: self.process.clone(), client: self.client.clone(), lease: self.lease };
            // In a task of its own, because a task may not read one row twice without a pause.
            self.process.spawn(async move { operator.revoke_a_holder(access.name()).await });
        }
        let acquired = tokio::select! {
            biased;
            acquired = self.acquire_shared(access, way) => acquired,
            () = self.process.sleep(drops.unwrap_or(Duration::MAX)) => return world.count("shared: future dropped"),
        };
        match acquired {
            Ok(Some(hold)) => self.keep_shared(hold, access).await,
            Ok(None) => world.count("shared: contended"),
            Err(AcquireError::TimedOut { .. }) => world.count("shared: timed out"),
            Err(AcquireError::Store(error)) => {
                world.count("shared: acquire failed");
                world.check(!world.plan.fault_free, "fault_free", || format!("{} failed: {error}", access.name()));
            }
            Err(error) => world.violation("acquire", format!("{}: {error}", access.name())),
        }
    }

    async fn acquire_shared(&self, access: Access, way: Way) -> Result<Option<SharedHold>, AcquireError> {
        let options = match access {
            Access::Permit(slots) => {
                let semaphore = self.client.semaphore(SEMAPHORE, slots).expect("valid");
                let permit = match way {
                    Way::Try => match semaphore.try_acquire().await? {
                        TryPermit::Acquired(permit) => permit,
                        TryPermit::Full(_) => return Ok(None),
                    },
                    Way::Within(limit) => semaphore.acquire_within(limit).await?,
                    Way::Wait => semaphore.acquire().await?,
                };
                return Ok(Some(SharedHold::Permit(permit)));
            }
            Access::Read => self.client.rw_lock(RW_LOCK).expect("valid").read_options(),
            Access::Write => self.client.rw_lock(RW_LOCK).expect("valid").write_options(),
        };
        let guard = match way {
            Way::Try => match options.try_acquire().await? {
                TryAcquire::Acquired(guard) => guard,
                TryAcquire::Held(_) => return Ok(None),
            },
            Way::Within(limit) => options.acquire_within(limit).await?,
            Way::Wait => options.acquire().await?,
        };
        Ok(Some(SharedHold::Guard(guard)))
    }

    async fn keep_shared(&self, hold: SharedHold, access: Access) {
        let world = &self.process.world;
        let (name, lease_id) = (access.name(), hold.lease_id().expect("not forked"));
        let hold = Arc::new(hold);
        world.count(access.event());
        world.record_shared(&self.process, access, &hold);
        for _ in 0..self.process.draw(|rng| rng.range(0..=3)) {
            let length = self.process.draw(|rng| rng.up_to(self.lease * world.plan.hold_percent as u32 / 100));
            match self.process.draw(|rng| rng.range(0..=3)) {
                0 => {
                    tokio::select! {
                        biased;
                        _ = hold.renew() => {}
                        () = self.process.sleep(length) => {}
                    }
                }
                1 => self.process.sleep(length).await,
                _ => {
                    tokio::select! {
                        biased;
                        _ = hold.lost() => {}
                        () = self.process.sleep(length) => {}
                    }
                }
            }
            world.check_shared(name);
            if !hold.is_valid() {
                break;
            }
        }
        let live = hold.is_valid();
        world.check_shared(name);
        world.check(live || !world.plan.fault_free, "kept", || {
            format!("{name} was lost although the library renewed it without faults")
        });
        world.record_shared_gone(&lease_id);
        let Ok(hold) = Arc::try_unwrap(hold) else {
            return world.violation("simulator", "a hold is still referenced".to_owned());
        };
        if self.process.draw(|rng| rng.chance(200)) {
            return drop(hold);
        }
        let answer = hold.release().await;
        world.trace(|| format!("{:?} {name} release of {}: {answer:?}", self.process, lease_id.as_str()));
        world.check_shared_release(name, &lease_id, live, &answer);
    }

    /// Revokes one of the holders, by force or not.
    async fn revoke_a_holder(&self, name: &str) {
        let world = &self.process.world;
        let lock = self.client.rw_lock(name).expect("valid");
        let Ok(Inspection::Shared(shared)) = lock.inspect().await else { return };
        let (index, force) = self.process.draw(|rng| (rng.range(0..=2) as usize, rng.chance(300)));
        self.process.sleep(Duration::from_millis(50)).await;
        let Some(id) = shared.holders.get(index).and_then(|holder| holder.holder.lease_id.clone()) else { return };
        let answer = if force { lock.force_revoke(&id).await } else { lock.revoke(&id).await };
        world.trace(|| format!("{:?} {name} revoke of {} by force {force}: {answer:?}", self.process, id.as_str()));
        match answer {
            Ok(()) => world.count(if force { "shared: force revoke Ok" } else { "shared: revoke Ok" }),
            Err(RevokeError::HolderEnded { .. }) => world.count("shared: revoke Ended"),
            Err(_) => world.count("shared: revoke failed"),
        }
    }
}

impl World {
    /// Checks at quiescence that no expired entry keeps a new client from a lock with several holders, and that a writer
    /// leaves an empty row.
    pub async fn check_shared_end(self: &Arc<Self>, worker: &Worker, name: &str) {
        let began = self.time();
        let access = if name == SEMAPHORE { Access::Permit(1) } else { Access::Write };
        let row = lock(&self.table).locks.get(name).and_then(|entry| entry.row.clone());
        let expected = self.shared_rest(row.as_ref());
        let Ok(Ok(Some(hold))) = tokio::time::timeout(super::FINISH, worker.acquire_shared(access, Way::Wait)).await
        else {
            return self.violation("D (newcomer)", format!("{name} cannot be acquired"));
        };
        let waited = self.time() - began;
        let most = expected * 1011 / 1000 + Duration::from_millis(1600 + self.plan.latency * 60) + self.plan.stale;
        self.check(waited <= most, "D (newcomer)", || {
            format!("{name}: waited for {waited:?}, at most {most:?} are allowed")
        });
        let answer = hold.release().await;
        self.check(answer.is_ok(), "E (release)", || format!("{name}: {answer:?} without a fault"));
        let left = lock(&self.table).locks[name].row.as_ref().map_or(0, entries);
        self.check(access != Access::Write || left == 0, "E (entries)", || {
            format!("{name}: {left} entries are left after a writer")
        });
    }
}
