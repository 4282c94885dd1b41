use std::{sync::Arc, sync::Mutex, time::Duration};

use dynamo_lock::simulation::{Clock, ClockReading};
use dynamo_lock::store::BoxFuture;
use tokio::time::sleep;

use crate::{World, ms};

/// Clocks of one host. They can run fast or slow, jump, and miss a suspension.
#[derive(Clone, Debug)]
pub struct HostClock {
    world: World,
    state: Arc<Mutex<Skew>>,
}

/// Difference between the clocks of a host and true time.
#[derive(Clone, Copy, Debug, Default)]
struct Skew {
    boot_ahead: Duration,
    slew_per_mille: i64,
    stopped: bool,
    frozen: Duration,
    wall_ms: i64,
}

impl HostClock {
    pub(crate) fn new(world: &World) -> Self {
        Self { world: world.clone(), state: Arc::default() }
    }

    /// Suspends the host for `length`: CLOCK_BOOTTIME and the wall clock advance, CLOCK_MONOTONIC_RAW does not. The
    /// caller advances true time.
    pub fn suspend(&self, length: Duration) {
        self.state.lock().unwrap().boot_ahead += length;
        self.step_wall(length.as_millis() as i64);
    }

    /// Stops all clocks and timers of the host for `length`, as the migration of a virtual machine may do. The caller
    /// advances true time.
    pub fn freeze(&self, length: Duration) {
        self.state.lock().unwrap().frozen += length;
    }

    /// Steps the wall clock by `ms` milliseconds.
    pub fn step_wall(&self, ms: i64) {
        self.state.lock().unwrap().wall_ms += ms;
    }

    /// Slews CLOCK_BOOTTIME and the wall clock since the beginning of the world, as chrony does. They run fast by
    /// `per_mille` thousandths, or slow if it is negative.
    pub fn slew(&self, per_mille: i64) {
        self.state.lock().unwrap().slew_per_mille = per_mille;
    }

    /// Stops the process, as SIGSTOP does: the clocks go on, but no timer fires before [`resume`](Self::resume).
    pub fn stop(&self) {
        self.state.lock().unwrap().stopped = true;
    }

    /// Resumes the process, as SIGCONT does.
    pub fn resume(&self) {
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
            raw_ns: time,
            wall_ms: self.world.epoch_ms().saturating_add_signed(skew.wall_ms + slewed / 1_000_000),
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (state, frozen) = (self.state.clone(), self.state.lock().unwrap().frozen);
        Box::pin(async move {
            sleep(duration).await;
            let mut waited = frozen;
            loop {
                let Skew { stopped, frozen, .. } = *state.lock().unwrap();
                if frozen == waited && !stopped {
                    return;
                }
                // A timer does not count the time of a freeze.
                sleep((frozen - waited).max(ms(1))).await;
                waited = frozen;
            }
        })
    }
}
