//! The small worlds. Each is there for something; together they have to kill every mutant.

use dynamo_lock_protocol::{Renewal, WaitMode};

use super::clocks::Clocks;
use super::world::{Budget, Client, Config, Legacy};

const DAY_MS: u64 = 24 * 3600 * 1000;
/// When `purgeOn` has passed, by all clocks.
const NINE_DAYS_MS: u64 = 9 * DAY_MS + 60_000;

/// Waits, with a lease of one second, and acquires so often.
fn client(acquisitions: u8) -> Client {
    Client {
        lease_ms: 1000,
        renewal: Renewal::Disabled,
        wait_mode: WaitMode::Wait,
        clocks: Clocks::default(),
        acquisitions,
        reads_first: false,
        hold_ms: None,
    }
}

/// Renewed by the library.
fn renewed(acquisitions: u8) -> Client {
    Client { renewal: Renewal::Automatic, ..client(acquisitions) }
}

fn ticks(step_ms: u64, until_ms: u64) -> Vec<u64> {
    (0..=until_ms / step_ms).map(|n| n * step_ms).collect()
}

fn config(name: &'static str, about: &'static str, grid: Vec<u64>, clients: Vec<Client>, budget: Budget) -> Config {
    Config { name, about, grid, clients, budget, dates: Vec::new(), legacy: None, hold_keys: false, jump_ms: 0 }
}

/// All configurations, the quick ones first.
pub fn all() -> Vec<Config> {
    let mut all = clocks();
    all.extend(faults());
    all.extend(service());
    all.extend(holds());
    all.extend(inspections());
    all
}

fn clocks() -> Vec<Config> {
    let half = || ticks(500, 2500);
    let slow = Client { clocks: Clocks { rate: -5, ..Clocks::default() }, ..client(1) };
    let fast = Client { clocks: Clocks { rate: 5, ..Clocks::default() }, ..client(1) };
    let slewed = Client { clocks: Clocks { slew: 80, ..Clocks::default() }, ..client(1) };
    let long = Client { lease_ms: 2000, ..client(1) };
    let delay = |delay| Budget { delay, ..Budget::default() };
    let sleep = Config {
        jump_ms: 1000,
        ..config(
            "sleep",
            "a host sleeps for a lease",
            half(),
            vec![client(1), client(1)],
            Budget { delay: 1, sleeps: 1, ..Budget::default() },
        )
    };
    vec![
        config("basics", "two clients, one comes twice", ticks(500, 1500), vec![client(2), client(1)], delay(2)),
        config("drift", "clocks 0.5 % slow and fast", ticks(500, 1500), vec![slow, fast], delay(2)),
        config(
            "slewed",
            "a waiter's clock slewed by 8 %",
            vec![0, 450, 950, 1000, 1450, 1950],
            vec![client(1), slewed],
            delay(2),
        ),
        config("leases", "leases of two seconds and of one", ticks(500, 2000), vec![long, client(1)], delay(2)),
        config(
            "hold",
            "a hold of two seconds with a lease of one",
            ticks(500, 2500),
            vec![Client { hold_ms: Some(2000), ..client(1) }, client(1)],
            Budget { delay: 1, unknown: 1, ..Budget::default() },
        ),
        sleep,
    ]
}

fn faults() -> Vec<Config> {
    let half = |until| ticks(500, until);
    vec![
        config(
            "drops",
            "acquires dropped at every await",
            half(1500),
            vec![client(1), client(1)],
            Budget { delay: 1, drops: 1, unknown: 1, late: 1, ..Budget::default() },
        ),
        config(
            "release",
            "releases beside lost answers and late requests",
            half(1000),
            vec![renewed(1), client(1)],
            Budget { delay: 1, unknown: 1, late: 1, ..Budget::default() },
        ),
        config(
            "renewals",
            "renewals of both, one of them late",
            half(1500),
            vec![renewed(1), renewed(1)],
            Budget { delay: 1, unknown: 1, late: 1, ..Budget::default() },
        ),
        config(
            "copies",
            "renewals, and a copy of one request",
            half(1500),
            vec![renewed(1), client(1)],
            Budget { delay: 1, copies: 1, ..Budget::default() },
        ),
        config(
            "revoke",
            "an operator revokes, answers are lost",
            half(1000),
            vec![renewed(1), client(1)],
            Budget { delay: 1, unknown: 1, revokes: 1, ..Budget::default() },
        ),
        config(
            "force",
            "an operator frees by force, answers are lost",
            half(1000),
            vec![renewed(1), client(1)],
            Budget { delay: 1, unknown: 1, forces: 1, ..Budget::default() },
        ),
        config(
            "crash",
            "hosts crash and start again",
            half(1500),
            vec![renewed(1), client(1)],
            Budget { delay: 1, crashes: 1, late: 1, stale: 1, ..Budget::default() },
        ),
        config(
            "abandoned",
            "operations given up that land later",
            half(1500),
            vec![client(1), client(2)],
            Budget { delay: 1, unknown: 1, late: 1, ..Budget::default() },
        ),
        config(
            "ghost",
            "an acquire lands twice, its guard lingers",
            half(1000),
            vec![renewed(1), client(1)],
            Budget { delay: 2, copies: 1, ..Budget::default() },
        ),
        config(
            "three",
            "three clients, a lost answer, a copy",
            ticks(1000, 1000),
            vec![client(1), client(1), client(1)],
            Budget { copies: 1, ..Budget::default() },
        ),
    ]
}

fn service() -> Vec<Config> {
    let steps = || vec![0, 500, 9000];
    let reading = |n| Client { reads_first: true, ..client(n) };
    let day = |n, days| Client { clocks: Clocks { wall_ms: days * DAY_MS as i64, ..Clocks::default() }, ..client(n) };
    let behind = |wall_ms, lease_ms| Client { clocks: Clocks { wall_ms, ..Clocks::default() }, lease_ms, ..client(1) };
    vec![
        Config {
            dates: vec![Some(-2), Some(2)],
            ..config(
                "service",
                "dates two seconds off, a crash",
                steps(),
                vec![renewed(1), client(1)],
                Budget { crashes: 1, ..Budget::default() },
            )
        },
        Config {
            dates: vec![Some(0)],
            jump_ms: 12_000,
            ..config(
                "freeze",
                "a host stands still between sample and write",
                vec![0, 500, 1000],
                vec![reading(1), client(1)],
                Budget { freezes: 1, ..Budget::default() },
            )
        },
        Config {
            dates: vec![Some(0)],
            ..config(
                "ttl",
                "an idle row is deleted, wall clocks a day fast and slow",
                vec![0, 500, NINE_DAYS_MS, NINE_DAYS_MS + 500],
                vec![day(2, 1), day(2, -1)],
                Budget { crashes: 1, purges: 1, ..Budget::default() },
            )
        },
        Config {
            dates: vec![Some(-2)],
            legacy: Some(Legacy { wall_ms: 2000, lease_ms: 5000 }),
            ..config(
                "unsure",
                "a release without an answer, beside an original client that is early",
                vec![0, 3500, 3700],
                vec![behind(-10_000, 12_000)],
                Budget { delay: 1, unknown: 1, legacy: 1, ..Budget::default() },
            )
        },
        Config {
            dates: vec![None, Some(0)],
            legacy: Some(Legacy { wall_ms: -10_000, lease_ms: 0 }),
            ..config(
                "dateless",
                "answers without a date, beside the original client",
                ticks(3000, 9000),
                vec![behind(-40_000, 12_000), client(1)],
                Budget { legacy: 1, ..Budget::default() },
            )
        },
        Config {
            dates: vec![Some(0)],
            legacy: Some(Legacy { wall_ms: -10_000, lease_ms: 0 }),
            ..config(
                "legacy",
                "the original client overwrites what a slow wall clock wrote",
                ticks(3000, 9000),
                vec![behind(-40_000, 12_000), client(1)],
                Budget { delay: 1, legacy: 1, ..Budget::default() },
            )
        },
    ]
}

fn holds() -> Vec<Config> {
    let hold = |hold_ms| Client { hold_ms: Some(hold_ms), ..client(1) };
    let behind = |wall_ms, client| Client { clocks: Clocks { wall_ms, ..Clocks::default() }, ..client };
    vec![
        config(
            "hold-drops",
            "a hold dropped at every await, a lost answer",
            ticks(500, 2500),
            vec![hold(2000), client(1)],
            Budget { delay: 1, drops: 1, unknown: 1, late: 1, ..Budget::default() },
        ),
        Config {
            dates: vec![None, Some(0)],
            legacy: Some(Legacy { wall_ms: -10_000, lease_ms: 0 }),
            ..config(
                "hold-dates",
                "a hold with responses without a date and a slow wall clock, beside the original client",
                vec![0, 9000],
                vec![behind(-40_000, hold(12_000)), client(1)],
                Budget { legacy: 1, ..Budget::default() },
            )
        },
        Config {
            dates: vec![Some(0)],
            jump_ms: 12_000,
            ..config(
                "hold-freeze",
                "a host stands still in each step of a hold",
                vec![0, 500],
                vec![hold(2000), client(1)],
                Budget { unknown: 1, freezes: 1, ..Budget::default() },
            )
        },
        Config {
            jump_ms: 1000,
            ..config(
                "hold-sleep",
                "a host sleeps in each step of a hold",
                ticks(1000, 2000),
                vec![hold(2000), client(1)],
                Budget { unknown: 1, sleeps: 1, ..Budget::default() },
            )
        },
        Config {
            hold_keys: true,
            ..config(
                "hold-key",
                "a hold on a store whose clients share the clocks of one machine",
                vec![0, 500, 2000, 5500],
                vec![hold(2000), client(1)],
                Budget { delay: 1, ..Budget::default() },
            )
        },
    ]
}

fn inspections() -> Vec<Config> {
    let behind = |client| Client { clocks: Clocks { wall_ms: -40_000, ..Clocks::default() }, ..client };
    vec![
        Config {
            dates: vec![Some(-2), Some(2)],
            ..config(
                "inspect",
                "inspections with dates two seconds off",
                vec![0, 500, 9000],
                vec![renewed(1), client(0)],
                Budget { delay: 1, inspections: 1, ..Budget::default() },
            )
        },
        Config {
            dates: vec![None, Some(0)],
            ..config(
                "inspect-slow",
                "inspections beside a slow wall clock, responses without a date",
                vec![0, 500, 1000, 9000],
                vec![behind(renewed(1)), client(0)],
                Budget { delay: 1, inspections: 1, ..Budget::default() },
            )
        },
        Config {
            hold_keys: true,
            ..config(
                "inspect-key",
                "inspections of a hold whose row contains its end",
                vec![0, 500, 2000, 2500, 4000, 5500],
                vec![Client { hold_ms: Some(2000), ..client(1) }, client(0)],
                Budget { delay: 2, unknown: 1, inspections: 1, ..Budget::default() },
            )
        },
    ]
}
