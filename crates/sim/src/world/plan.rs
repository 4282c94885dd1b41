//! What kind of world a seed makes: who is in it, and how bad the weather is.

use std::time::Duration;

use super::dice::Dice;

/// Faults in the requests of a world, in thousandths of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Never arrives.
    pub lost: u64,
    /// Takes effect, and its answer is lost.
    pub unheard: u64,
    /// Takes effect once more, later.
    pub twice: u64,
    /// Is late, up to two leases, on its way or on the way back.
    pub late: u64,
    /// No answer and no error.
    pub hung: u64,
    /// Throttled, outside bursts.
    pub throttled: u64,
    /// Refused, for a moment.
    pub refused: u64,
}

/// One world, before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    pub hosts: usize,
    pub locks: usize,
    pub leases: Vec<Duration>,
    pub longest: Duration,
    pub act: Duration,
    /// Whether answers carry the service's `Date` at all.
    pub service_clock: bool,
    /// Dates that are missing, in thousandths.
    pub dateless: u64,
    /// How far the clocks of the service's hosts are off, ms.
    pub service_hosts: [i64; 3],
    pub latency: u64,
    pub stale: Duration,
    pub weather: Weather,
    /// Nothing but crashes: waiting times can be checked.
    pub well: bool,
    pub crashes: bool,
    pub pauses: bool,
    pub suspends: bool,
    /// Stops that no clock but the wall counts, as of a virtual machine.
    pub freezes: bool,
    pub partitions: bool,
    pub bursts: bool,
    pub wall_steps: bool,
    pub wall_off: i64,
    /// None is fast.
    pub walls_slow: bool,
    pub starved: bool,
    pub operator: bool,
    pub legacy: usize,
    /// So many of these are our own, in the original's format.
    pub heirs: usize,
    /// A second act, nine days later.
    pub ttl: bool,
    /// A second act, nearly ten minutes later: what is known of the service's time is as old as it may be.
    pub lull: bool,
    /// Each host hears one host of the service all the time.
    pub edges: bool,
    /// How far the wall clocks of clients of the original's protocol are off, ms; else anything within the skew.
    pub legacy_wall: Option<i64>,
    /// They ask often, and for short.
    pub legacy_hasty: bool,
    /// Guards are asked at every acquisition, also on hosts that are paused.
    pub eager: bool,
    pub drops: u64,
    /// Acquisitions for a fixed time, in thousandths.
    pub holds: u64,
    /// How long locks are held, of a lease, in hundredths.
    pub busy: u64,
    /// Acquisitions whose renewals are left to the program, in thousandths.
    pub by_hand: u64,
}

/// Worlds in which one thing that is rare elsewhere comes up all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// Rows without a stamp, by wall clocks far behind, beside clients of the original protocol.
    SlowWalls,
    /// Hosts that stand still between learning the time and writing it.
    Freezes,
    /// All is well, but that wall clocks are behind by about a lease.
    Behind,
    /// Rows that lose their token to clients of the original protocol again and again, and are taken by hosts whose dates
    /// are far apart.
    Overwritten,
}

const DAY_MS: i64 = 24 * 3600 * 1000;

impl Plan {
    pub fn of(dice: &mut Dice) -> Self {
        let hosts = dice.range(2..=4) as usize;
        let scale = dice.pick(&[1, 1, 2, 3, 5, 10, 20]);
        let mixed = dice.chance(400);
        let leases: Vec<_> = (0..hosts)
            .map(|_| match mixed {
                true => dice.ms(1000..=4000 * scale.min(5)),
                false => Duration::from_secs(scale),
            })
            .collect();
        let longest = leases.iter().copied().max().unwrap_or_default();
        let well = dice.chance(150);
        let service_clock = dice.chance(800);
        let legacy = if service_clock && !well && dice.chance(250) { dice.range(1..=2) as usize } else { 0 };
        let storm = if well { 0 } else { dice.pick(&[0, 1, 3, 10]) };
        let weather = Weather {
            lost: storm * dice.range(0..=15),
            unheard: storm * dice.range(3..=20),
            twice: storm * dice.range(0..=10),
            late: storm * dice.range(0..=10),
            hung: storm * dice.range(0..=8),
            throttled: storm * dice.range(0..=10),
            refused: if dice.chance(200) { storm.min(3) } else { 0 },
        };
        let mut maybe = |per_mille| !well && dice.chance(per_mille);
        let (pauses, suspends, partitions) = (maybe(500), maybe(300), maybe(400));
        let (bursts, wall_steps, starved, operator) = (maybe(250), maybe(300), maybe(250), maybe(350));
        let crashes = dice.chance(500);
        let scaled = longest.as_millis() as u64;
        let mut plan = Self {
            hosts,
            locks: dice.pick(&[1, 1, 1, 2, 3]),
            longest,
            act: Duration::from_millis((scaled * dice.range(8..=16)).clamp(20_000, 160_000)),
            service_clock,
            dateless: if well { 0 } else { dice.pick(&[0, 0, 50, 500]) },
            service_hosts: match [dice.signed(2000), dice.pick(&[-2000, 2000, 0]), dice.signed(2000)] {
                // The pad of 3 s is less than the 1 s + 2δ by which a `Date` can mislead: a lease of less than 2 s may
                // go unconfirmed (R6) though every request is answered. Where all is to be well, δ is a quarter.
                off if well => off.map(|off| off / 4),
                off => off,
            },
            latency: dice.pick(&[2, 10, 40]),
            stale: Duration::from_millis(dice.pick(&[0, 100, 1000, 5000])),
            weather,
            well,
            crashes,
            pauses,
            suspends,
            freezes: false,
            partitions,
            bursts,
            wall_steps,
            wall_off: dice.pick(&[0, 100, 3000, 60_000, DAY_MS]),
            walls_slow: false,
            starved,
            operator,
            legacy,
            heirs: dice.range(0..=legacy as u64) as usize,
            ttl: service_clock && dice.chance(100),
            lull: false,
            edges: false,
            legacy_wall: None,
            legacy_hasty: false,
            eager: dice.chance(400),
            drops: dice.pick(&[0, 50, 200]),
            busy: dice.pick(&[10, 30, 100, 200]),
            by_hand: 200,
            holds: 50,
            leases,
        };
        match dice.range(0..=99) {
            0..=4 => plan.aim(Aim::SlowWalls, dice),
            5..=9 => plan.aim(Aim::Freezes, dice),
            10..=12 => plan.aim(Aim::Overwritten, dice),
            13..=39 if plan.well => plan.aim(Aim::Behind, dice),
            _ => {}
        }
        plan
    }

    fn aim(&mut self, aim: Aim, dice: &mut Dice) {
        self.well &= aim == Aim::Behind;
        self.service_clock = true;
        self.longest = Duration::from_secs(dice.range(8..=20));
        self.leases.fill(self.longest);
        self.act = Duration::from_secs(160);
        match aim {
            Aim::SlowWalls => {
                (self.legacy, self.dateless, self.by_hand, self.holds) = (dice.pick(&[0, 2]), 500, 800, 200);
                (self.wall_off, self.walls_slow, self.crashes) = (12_000, true, true);
                (self.legacy_wall, self.legacy_hasty) = (Some(2000), true);
                self.weather.lost = self.weather.lost.max(50);
            }
            Aim::Freezes => {
                (self.freezes, self.wall_steps, self.crashes) = (true, false, true);
                (self.dateless, self.legacy) = (dice.pick(&[0, 0, 200]), 0);
                (self.pauses, self.suspends, self.partitions) = (false, false, false);
                // Who acquires after a standstill hears a service host that is slow, and renews nothing; who waits, one
                // that is fast.
                self.service_hosts = [-2000, 2000, dice.pick(&[-2000, 2000])];
                (self.busy, self.by_hand) = (dice.pick(&[30, 100]), 600);
                (self.locks, self.holds, self.edges) = (2, 300, dice.chance(500));
            }
            Aim::Behind => {
                (self.wall_off, self.walls_slow) = (self.longest.as_millis() as i64, true);
                (self.crashes, self.act, self.latency) = (true, self.longest * 5, 100);
            }
            Aim::Overwritten => {
                self.longest = Duration::from_secs(dice.pick(&[1, 2, 20]));
                self.leases.fill(self.longest);
                (self.edges, self.lull) = (true, dice.chance(500));
                (self.legacy_wall, self.legacy_hasty) = (Some(-10_000), true);
                (self.locks, self.legacy, self.heirs) = (1, 3, 0);
                (self.busy, self.pauses, self.stale) = (10, true, Duration::ZERO);
                (self.crashes, self.dateless) = (true, dice.pick(&[0, 900]));
                self.service_hosts = [-2000, 2000, dice.pick(&[-2000, 2000])];
            }
        }
    }

    /// How long a client of the original's protocol rests, or asks for, at the most.
    pub fn legacy_longest(&self) -> Duration {
        if self.legacy_hasty { Duration::from_millis(300) } else { self.longest }
    }

    /// How far a host's wall clock is off.
    pub fn wall(&self, dice: &mut Dice) -> i64 {
        let off = dice.signed(self.wall_off);
        if self.walls_slow { -off.abs() } else { off }
    }
}
