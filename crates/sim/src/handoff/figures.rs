//! The figures of one world.

use std::time::Duration;

const SECOND: f64 = 1e9;
/// Shortest time between two looks.
const SPACING_MIN: u64 = 25_000_000;

/// Figures of one world. Handoffs at its beginning are not counted.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    skipped: usize,
    seen: usize,
    /// Time from which on all is counted.
    from: Option<u64>,
    latencies_ms: Vec<f64>,
    looks: u64,
    wasted: u64,
    waited_ns: f64,
    measured_ns: f64,
    held_s: f64,
    holds: u64,
    won_again: u64,
    longest_wait_ns: u64,
    /// Broken bounds on the rate of looks, which hold at any time.
    pub broken: Vec<String>,
}

impl Figures {
    pub fn new(skipped: usize) -> Self {
        Self { skipped, ..Self::default() }
    }

    /// Returns the number of handoffs that were counted.
    pub fn handoffs(&self) -> usize {
        self.latencies_ms.len()
    }

    /// Counts a look, number `k` of an attempt that began at `began`, and checks the bounds on its time.
    pub fn look(&mut self, time: u64, began: u64, k: u32, last: Option<u64>) {
        let waited = (time - began) as f64 / SECOND;
        if f64::from(k) > 4.0 + 11.0 * waited + 1e-3 {
            self.broken.push(format!("look {k} after {waited} s"));
        }
        if last.is_some_and(|last| time - last < SPACING_MIN) {
            self.broken.push(format!("a look {:?} after another", Duration::from_nanos(time - last.unwrap_or(0))));
        }
        self.looks += u64::from(self.from.is_some());
    }

    pub fn wasted_write(&mut self) {
        self.wasted += u64::from(self.from.is_some());
    }

    pub fn held(&mut self, seconds: f64) {
        self.held_s += seconds;
        self.holds += 1;
    }

    /// Counts a wait, as far as it lies in the time that counts.
    pub fn waited(&mut self, began: u64, ended: u64) {
        let Some(from) = self.from else { return };
        self.waited_ns += ended.saturating_sub(began.max(from)) as f64;
        self.longest_wait_ns = self.longest_wait_ns.max(ended - began);
    }

    pub fn handed_off(&mut self, latency_ms: f64, time: u64, is_same_client: bool) {
        self.seen += 1;
        if self.seen <= self.skipped {
            return;
        }
        if self.from.is_none() {
            self.from = Some(time);
            return;
        }
        self.measured_ns = (time - self.from.unwrap_or(time)) as f64;
        self.latencies_ms.push(latency_ms);
        self.won_again += u64::from(is_same_client);
    }

    pub fn mean_ms(&self) -> f64 {
        self.latencies_ms.iter().sum::<f64>() / self.handoffs() as f64
    }

    /// Returns the latency below which this share of the handoffs is.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * share) as usize]
    }

    pub fn looks_per_second(&self) -> f64 {
        self.looks as f64 * SECOND / self.waited_ns
    }

    pub fn wasted_per_handoff(&self) -> f64 {
        self.wasted as f64 / self.handoffs() as f64
    }

    pub fn looks_per_handoff(&self) -> f64 {
        self.looks as f64 / self.handoffs() as f64
    }

    /// Returns the cost of a handoff in looks. A wasted write costs as much as ten.
    pub fn cost(&self) -> f64 {
        self.looks_per_handoff() + 10.0 * self.wasted_per_handoff()
    }

    /// Returns the mean number of waiting processes.
    pub fn waiters_in_mean(&self) -> f64 {
        self.waited_ns / self.measured_ns
    }

    pub fn mean_hold_s(&self) -> f64 {
        self.held_s / self.holds as f64
    }

    /// Returns the share of handoffs to the client that had just released the lock.
    pub fn won_again(&self) -> f64 {
        self.won_again as f64 / self.handoffs() as f64
    }

    pub fn longest_wait_s(&self) -> f64 {
        self.longest_wait_ns as f64 / SECOND
    }
}
