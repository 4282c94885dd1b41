//! Plan of a world, drawn from its seed: who is in it, and how many faults.

use std::time::Duration;

use dynamo_lock_protocol::WALL_CLOCK_PAD;
use test_support::Rng;

/// Rates of the faults of requests, per thousand requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultRates {
    /// The request never arrives.
    pub lost: u64,
    /// The request is applied, and its answer is lost.
    pub unanswered: u64,
    /// The request is applied twice, the second time later.
    pub duplicated: u64,
    /// The request or its answer is late, by up to two leases.
    pub late: u64,
    /// There is neither an answer nor an error.
    pub hung: u64,
    /// The request is throttled, outside bursts.
    pub throttled: u64,
    /// Access is denied, for a moment.
    pub refused: u64,
    /// Access is denied for up to a lease after an answer was lost, per thousand lost answers.
    pub denied: u64,
}

/// Plan of one world.
#[derive(Clone, Debug)]
pub struct Plan {
    pub hosts: usize,
    pub locks: usize,
    pub leases: Vec<Duration>,
    pub longest: Duration,
    pub phase: Duration,
    /// Whether answers have the service's `Date` at all.
    pub service_clock: bool,
    /// Answers without a date, per thousand.
    pub dateless: u64,
    /// Offsets of the clocks of the service's hosts, in milliseconds.
    pub service_hosts: [i64; 3],
    /// Offset of the clock of one more host of the service, in seconds. It never answers a process twice in a row, and
    /// never first. 0: there is no such host.
    pub wild_host: i64,
    pub latency: u64,
    pub stale: Duration,
    pub fault_rates: FaultRates,
    /// No faults except crashes, so that waiting times can be checked.
    pub fault_free: bool,
    pub crashes: bool,
    /// A process that crashes may leave a child behind.
    pub children: bool,
    pub pauses: bool,
    pub suspends: bool,
    /// Stops that only the wall clock counts, as of a virtual machine that is migrated.
    pub freezes: bool,
    pub partitions: bool,
    pub bursts: bool,
    pub wall_steps: bool,
    pub wall_offset: i64,
    /// No wall clock is fast.
    pub slow_walls: bool,
    /// All processes draw the same random bits, as virtual machines do that were resumed from one snapshot.
    pub clones: bool,
    pub starved: bool,
    pub operator: bool,
    pub legacy: usize,
    /// Number of the legacy clients that are this library's `legacy_get`.
    pub legacy_gets: usize,
    /// A second phase follows nine days later, after TTL has deleted rows.
    pub ttl: bool,
    /// A second phase follows almost ten minutes later, when the samples of the service clock are as old as they may
    /// be.
    pub idle_gap: bool,
    /// Each host always receives the dates of the same host of the service.
    pub fixed_service_host: bool,
    /// Offset of the wall clocks of legacy clients, in milliseconds. `None`: any offset within the allowed skew.
    pub legacy_wall: Option<i64>,
    /// Legacy clients acquire often, and for a short time.
    pub legacy_frequent: bool,
    /// Every acquisition checks all guards, also those on paused hosts.
    pub checks_all: bool,
    pub drops: u64,
    /// Holds, per thousand acquisitions.
    pub holds: u64,
    /// Time for which locks are held, in percent of a lease.
    pub hold_percent: u64,
    /// Acquisitions that the library does not renew, per thousand.
    pub manual: u64,
    /// The table is deleted, and created again soon.
    pub deletions: bool,
    /// Upper bound of the workers that a process starts with. They contend for the same locks.
    pub workers: u64,
    /// Workers also use locks with several holders.
    pub shared: bool,
    /// The store gives waiters hints at random times, per thousand subscriptions.
    pub hints: u64,
}

/// Profile of a world in which one rare situation occurs all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    /// Rows without a service timestamp, written by wall clocks that are far behind, beside legacy clients.
    SlowWalls,
    /// Hosts that freeze between reading the time and writing it.
    Freezes,
    /// No faults, but wall clocks are behind by about a lease.
    WallsBehind,
    /// Rows that lose their token to legacy clients again and again, and are acquired by hosts that receive dates far
    /// apart.
    LostTokens,
}

const DAY_MS: i64 = 24 * 3600 * 1000;
/// Upper bound of the difference between the wall clocks of two hosts beside legacy clients, where there is no service
/// clock, in milliseconds: the pad, less a reserve.
const WALLS_APART_MS: i64 = WALL_CLOCK_PAD.as_millis() as i64 - 20_000;

impl Plan {
    pub fn of(rng: &mut Rng) -> Self {
        // Draws of its own, so that the other faults of a seed stay as they are.
        let mut refusals = rng.clone().fork();
        let hosts = rng.range(2..=4) as usize;
        let scale = rng.pick(&[1, 1, 2, 3, 5, 10, 20]);
        let mixed = rng.chance(400);
        let leases: Vec<_> = (0..hosts)
            .map(|_| match mixed {
                true => rng.ms(1000..=4000 * scale.min(5)),
                false => Duration::from_secs(scale),
            })
            .collect();
        let longest = leases.iter().copied().max().unwrap_or_default();
        let fault_free = rng.chance(150);
        let service_clock = rng.chance(800);
        let legacy = if !fault_free && rng.chance(250) { rng.range(1..=2) as usize } else { 0 };
        let storm = if fault_free { 0 } else { rng.pick(&[0, 1, 3, 10]) };
        let fault_rates = FaultRates {
            lost: storm * rng.range(0..=15),
            unanswered: storm * rng.range(3..=20),
            duplicated: storm * rng.range(0..=10),
            late: storm * rng.range(0..=10),
            hung: storm * rng.range(0..=8),
            throttled: storm * rng.range(0..=10),
            refused: if rng.chance(200) { storm.min(3) } else { 0 },
            denied: if storm > 0 && refusals.chance(300) { 300 } else { 0 },
        };
        let mut maybe = |per_mille| !fault_free && rng.chance(per_mille);
        let (pauses, suspends, partitions) = (maybe(500), maybe(300), maybe(400));
        let (bursts, wall_steps, starved, operator) = (maybe(250), maybe(300), maybe(250), maybe(350));
        let crashes = rng.chance(500);
        let scaled = longest.as_millis() as u64;
        let mut plan = Self {
            hosts,
            locks: rng.pick(&[1, 1, 1, 2, 3]),
            longest,
            phase: Duration::from_millis((scaled * rng.range(8..=16)).clamp(20_000, 160_000)),
            service_clock,
            dateless: if fault_free { 0 } else { rng.pick(&[0, 0, 50, 500]) },
            service_hosts: match [rng.signed(2000), rng.pick(&[-2000, 2000, 0]), rng.signed(2000)] {
                // The pad of 3 s is less than the 1 s + 2δ by which a `Date` can mislead. So a lease of less than 2 s
                // may not be confirmed (R6) although every request is answered. Without faults, δ is a quarter.
                off if fault_free => off.map(|off| off / 4),
                off => off,
            },
            // Beyond the widest interval that suspensions and old samples allow.
            wild_host: if service_clock && !fault_free && rng.chance(200) {
                rng.pick(&[-86_400, -1200, 1200, 3600, 86_400])
            } else {
                0
            },
            latency: rng.pick(&[2, 10, 40]),
            stale: Duration::from_millis(rng.pick(&[0, 100, 1000, 5000])),
            fault_rates,
            fault_free,
            crashes,
            children: false,
            pauses,
            suspends,
            freezes: false,
            partitions,
            bursts,
            wall_steps,
            wall_offset: rng.pick(&[0, 100, 3000, 60_000, 600_000, DAY_MS]),
            slow_walls: false,
            clones: rng.chance(100),
            starved,
            operator,
            legacy,
            legacy_gets: rng.range(0..=legacy as u64) as usize,
            ttl: service_clock && rng.chance(100),
            idle_gap: false,
            fixed_service_host: false,
            legacy_wall: None,
            legacy_frequent: false,
            checks_all: rng.chance(400),
            drops: rng.pick(&[0, 50, 200]),
            hold_percent: rng.pick(&[10, 30, 100, 200]),
            manual: 200,
            holds: 50,
            deletions: false,
            workers: 2,
            shared: false,
            hints: refusals.pick(&[0, 0, 500, 1000]),
            leases,
        };
        if !fault_free && plan.legacy == 0 && refusals.chance(150) {
            // The token floor must rise from one table to the next, so that a token identifies one acquisition,
            // unless a late duplicate makes the first row of the new table.
            (plan.deletions, plan.wall_offset, plan.wall_steps) = (true, 0, false);
        }
        plan.workers = refusals.pick(&[2, 2, 3, 6]);
        if plan.workers == 6 && plan.hold_percent == 10 {
            // Enough waiters for the longest series of handovers within one lease.
            (plan.workers, plan.hold_percent) = (20, 2);
        }
        match rng.range(0..=99) {
            0..=4 => plan.profile(Profile::SlowWalls, rng),
            5..=9 => plan.profile(Profile::Freezes, rng),
            10..=12 => plan.profile(Profile::LostTokens, rng),
            13..=39 if plan.fault_free => plan.profile(Profile::WallsBehind, rng),
            _ => {}
        }
        plan.limit_walls(rng);
        plan
    }

    /// Adds locks with several holders. The table is not deleted and no host freezes, because the checks do not excuse
    /// the holders of these locks then.
    pub fn share(&mut self) {
        (self.shared, self.deletions, self.freezes) = (true, false, false);
    }

    /// Limits wall clocks to what is promised beside legacy clients where there is no service clock. Promise C does not
    /// span a row whose token they drop, so all of them are this library's `legacy_get`, which keeps it.
    fn limit_walls(&mut self, rng: &mut Rng) {
        if self.service_clock || self.legacy == 0 {
            return;
        }
        self.legacy_gets = self.legacy;
        self.slow_walls |= rng.chance(500);
        let most = if self.slow_walls { WALLS_APART_MS } else { WALLS_APART_MS / 2 };
        self.wall_offset = self.wall_offset.min(most);
    }

    fn profile(&mut self, profile: Profile, rng: &mut Rng) {
        self.deletions = false;
        self.fault_free &= profile == Profile::WallsBehind;
        self.service_clock = true;
        self.longest = Duration::from_secs(rng.range(8..=20));
        self.leases.fill(self.longest);
        self.phase = Duration::from_secs(160);
        match profile {
            Profile::SlowWalls => {
                (self.legacy, self.dateless, self.manual, self.holds) = (rng.pick(&[0, 2]), 500, 800, 200);
                (self.service_clock, self.wall_offset) = rng.pick(&[(true, 12_000), (true, 12_000), (false, DAY_MS)]);
                (self.slow_walls, self.crashes, self.ttl) = (true, true, self.ttl && self.service_clock);
                (self.legacy_wall, self.legacy_frequent) = (Some(2000), true);
                self.fault_rates.lost = self.fault_rates.lost.max(50);
            }
            Profile::Freezes => {
                (self.freezes, self.wall_steps, self.crashes, self.wild_host) = (true, false, true, 0);
                (self.dateless, self.legacy) = (rng.pick(&[0, 0, 200]), 0);
                (self.pauses, self.suspends, self.partitions) = (false, false, false);
                // A host that acquires after a freeze receives the dates of a slow service host and renews nothing. A
                // waiting host receives those of a fast one.
                self.service_hosts = [-2000, 2000, rng.pick(&[-2000, 2000])];
                (self.hold_percent, self.manual) = (rng.pick(&[30, 100]), 600);
                (self.locks, self.holds, self.fixed_service_host) = (2, 300, rng.chance(500));
            }
            Profile::WallsBehind => {
                (self.wall_offset, self.slow_walls) = (self.longest.as_millis() as i64, true);
                (self.crashes, self.phase, self.latency) = (true, self.longest * 5, 100);
            }
            Profile::LostTokens => {
                self.longest = Duration::from_secs(rng.pick(&[1, 2, 20]));
                self.leases.fill(self.longest);
                (self.fixed_service_host, self.idle_gap) = (true, rng.chance(500));
                (self.legacy_wall, self.legacy_frequent) = (Some(-10_000), true);
                (self.locks, self.legacy, self.legacy_gets) = (1, 3, 0);
                (self.hold_percent, self.pauses, self.stale) = (10, true, Duration::ZERO);
                (self.crashes, self.dateless) = (true, rng.pick(&[0, 900]));
                self.service_hosts = [-2000, 2000, rng.pick(&[-2000, 2000])];
            }
        }
    }

    /// Returns the longest pause and the longest acquisition of a legacy client.
    pub fn legacy_longest(&self) -> Duration {
        if self.legacy_frequent { Duration::from_millis(300) } else { self.longest }
    }

    /// Draws the offset of a host's wall clock, in milliseconds.
    pub fn wall(&self, rng: &mut Rng) -> i64 {
        let off = rng.signed(self.wall_offset);
        if self.slow_walls { -off.abs() } else { off }
    }
}
