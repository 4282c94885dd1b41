//! Programs that acquire several locks together, and leaders with terms.

use std::time::Duration;

use dynamo_lock::{AcquireError, Guard, LockName};

use super::worker::{Worker, lock_name};
use crate::world::checks::validity::SpanId;

impl Worker {
    /// Acquires several locks together, works, and releases them.
    pub async fn work_under_several(&self) {
        let world = &self.process.world;
        let locks = world.plan.locks as u64;
        let (limit, hold, drops) = self.process.draw(|rng| {
            let limit = rng.chance(400).then(|| rng.up_to(self.lease * 3));
            let hold = rng.up_to(self.lease * world.plan.hold_percent as u32 / 100);
            (limit, hold, rng.chance(world.plan.drops).then(|| rng.up_to(self.lease * 2)))
        });
        // Each worker names the locks in another order.
        let first = self.process.draw(|rng| rng.range(1..=locks));
        let names: Vec<_> = (0..locks.min(2)).map(|next| lock_name((first - 1 + next) % locks + 1)).collect();
        names.iter().for_each(|name| self.process.record_call(name));
        self.process.record_other_work();
        let called = world.time();
        let set = self.client.lock_all(names).expect("valid");
        let acquiring = async {
            match limit {
                Some(limit) => set.acquire_within(limit).await,
                None => set.acquire().await,
            }
        };
        let acquired = tokio::select! {
            biased;
            acquired = acquiring => acquired,
            () = self.process.sleep(drops.unwrap_or(Duration::MAX)) => return world.count("set: future dropped"),
        };
        let guards = match acquired {
            Ok(guards) => guards,
            Err(error) => {
                let is_time_limit = matches!(error.error, AcquireError::TimedOut { .. });
                return world.count(if is_time_limit { "set: timed out" } else { "set: acquire failed" });
            }
        };
        world.count("set: acquired");
        let live = guards.is_valid();
        world.check(live, "A (R5)", || "a set was lost when it was reported".to_owned());
        let record = |(name, token): &(LockName, dynamo_lock::FencingToken)| {
            world.acquire_returned(name.as_str(), token.get(), called);
            world.record_reported(&self.process, name, token.get(), None, None)
        };
        let spans: Vec<SpanId> = guards.tokens().iter().map(record).collect();
        for _ in 0..3 {
            let live = guards.is_valid();
            spans.iter().filter(|_| live).for_each(|id| world.record_validity(id, true));
            tokio::select! {
                biased;
                _ = guards.lost() => break,
                () = self.process.sleep(hold / 3) => {}
            }
        }
        let live = guards.is_valid();
        spans.iter().filter(|_| live).for_each(|id| world.record_validity(id, true));
        let (tokens, releasing) = (guards.tokens().to_vec(), world.time());
        let answer = guards.release().await;
        for (name, token) in tokens.iter().filter(|_| answer.is_ok()) {
            world.release_returned(name.as_str(), token.get(), releasing);
        }
        spans.iter().for_each(|id| world.record_guard_gone(id));
        world.count(if answer.is_ok() { "set: released" } else { "set: lost or not released" });
        world.check(answer.is_err() || live, "E (release)", || "a lost set was released without an error".to_owned());
        world.check(answer.is_ok() || !world.plan.fault_free, "fault_free", || format!("the release: {answer:?}"));
    }

    /// Leads in terms until one ends by itself.
    pub async fn lead(&self) {
        let world = &self.process.world;
        let name = lock_name(self.process.draw(|rng| rng.range(1..=world.plan.locks as u64)));
        self.process.record_call(&name);
        self.process.record_other_work();
        let lock = self.client.lock(name).expect("valid");
        let (process, longest, called, mut last) = (self.process.clone(), self.lease * 2, world.time(), 0);
        let work = async move |guard: &Guard| {
            let (world, token) = (process.world.clone(), guard.token().get());
            world.check(token > last, "F (terms)", || format!("a term has token {token} after {last}"));
            last = token;
            world.count("term begun");
            world.acquire_returned(guard.name().as_str(), token, called);
            let id = world.record_reported(&process, guard.name(), token, None, None);
            let hold = process.draw(|rng| rng.up_to(longest));
            world.record_validity(&id, guard.is_valid());
            process.sleep(hold).await;
            world.record_validity(&id, guard.is_valid());
        };
        let answer = lock.lead(work).await;
        world.count(if answer.is_ok() { "led to the end" } else { "leader failed" });
    }
}
