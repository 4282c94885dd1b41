//! The small worlds. Each is there for something; together they have to kill every mutant.

use dynamo_lock_protocol::{Renewal, WaitMode};

use super::{Budget, Client, Config, Legacy, Wild, Work, clocks::Clocks, shared_configs};

const DAY_MS: u64 = 24 * 3600 * 1000;
/// Time at which the `ttl` of an idle row has passed, by all clocks.
const NINE_DAYS_MS: u64 = 9 * DAY_MS + 60_000;

/// Returns a client that waits, with a lease of one second and correct clocks, for this number of acquisitions.
pub const fn client(acquisitions: u8) -> Client {
    Client {
        access: None,
        lease_ms: 1000,
        renewal: Renewal::Disabled,
        wait_mode: WaitMode::Wait,
        clocks: Clocks { rate: 0, slew: 0, wall_ms: 0 },
        acquisitions,
        reads_first: false,
        hold_ms: None,
        next_lease_ms: None,
    }
}

/// Returns a client whose guards the library renews.
fn renewed(acquisitions: u8) -> Client {
    Client { renewal: Renewal::Automatic, ..client(acquisitions) }
}

/// Returns a client with several users, each of which acquires the lock once or receives it from the one before. The
/// first has a lease of one second.
fn local(users: u8, next_lease_ms: u64) -> Client {
    Client { next_lease_ms: Some(next_lease_ms), ..client(users) }
}

fn hold(hold_ms: u64) -> Client {
    Client { hold_ms: Some(hold_ms), ..client(1) }
}

/// Returns a client whose wall clock is off by this number of milliseconds.
pub fn wall(wall_ms: i64, client: Client) -> Client {
    Client { clocks: Clocks { wall_ms, ..client.clocks }, ..client }
}

pub fn ticks(step_ms: u64, until_ms: u64) -> Vec<u64> {
    (0..=until_ms / step_ms).map(|n| n * step_ms).collect()
}

pub fn config<const N: usize>(
    name: &'static str,
    about: &'static str,
    grid: impl Into<Vec<u64>>,
    clients: [Client; N],
) -> Config {
    Config { name, about, grid: grid.into(), clients: clients.into(), ..Config::default() }
}

impl Config {
    /// Returns whether a client uses a shared row.
    pub fn is_shared(&self) -> bool {
        self.clients.iter().any(|client| client.access.is_some())
    }

    pub fn budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// Delays only the client with this number.
    pub fn slow(self, host: u8) -> Self {
        Self { slow: Some(host), ..self }
    }

    pub fn dates(self, dates: &[Option<i64>]) -> Self {
        Self { dates: dates.to_vec(), ..self }
    }

    pub fn jump(self, jump_ms: u64) -> Self {
        Self { jump_ms, ..self }
    }

    fn legacy(self, wall_ms: i64, lease_ms: u64) -> Self {
        Self { legacy: Some(Legacy { wall_ms, lease_ms }), ..self }
    }

    fn wild(self, seconds: i64, first: bool) -> Self {
        Self { wild: Some(Wild { seconds, first }), ..self }
    }

    fn once(self, lasts_ms: Option<u64>) -> Self {
        Self { work: Work::Once(lasts_ms), ..self }
    }

    fn hold_keys(self) -> Self {
        Self { hold_keys: true, ..self }
    }
}

/// Returns all configurations, the quick ones first.
pub fn all() -> Vec<Config> {
    let locks = [clocks(), faults(), service(), wrong(), holds(), inspections(), refusals(), handovers()].concat();
    [locks, once(), shared_configs::all()].concat()
}

/// Returns the configuration with this name.
pub fn find(name: &str) -> Option<Config> {
    all().into_iter().find(|config| config.name == name)
}

fn clocks() -> Vec<Config> {
    let none = Budget::default();
    let [delay, delays] = [1, 2].map(|delay| Budget { delay, ..none });
    let at_rate = |rate, slew| Client { clocks: Clocks { rate, slew, wall_ms: 0 }, ..client(1) };
    let (slewed, long) = (at_rate(0, 80), Client { lease_ms: 2000, ..client(1) });
    vec![
        config("basics", "two clients, one comes twice", ticks(500, 1500), [client(2), client(1)]).budget(delays),
        config("drift", "clocks 0.5 % slow and fast", ticks(500, 1500), [at_rate(-5, 0), at_rate(5, 0)]).budget(delays),
        config("slewed", "a waiter's clock slewed by 8 %", [0, 450, 950, 1000, 1450, 1950], [client(1), slewed])
            .budget(delays),
        config("leases", "leases of two seconds and of one", ticks(500, 2000), [long, client(1)]).budget(delays),
        config("hold", "a hold of two seconds with a lease of one", ticks(500, 2500), [hold(2000), client(1)])
            .budget(Budget { unknown: 1, ..delay }),
        config("hints", "hints of the store at any time", [0, 30, 500, 1000, 1030, 1500], [renewed(1), client(1)])
            .budget(Budget { hints: 2, ..delay }),
        config("sleep", "a host sleeps for a lease", ticks(500, 2500), [client(1), client(1)])
            .budget(Budget { sleeps: 1, ..delay })
            .jump(1000),
    ]
}

fn faults() -> Vec<Config> {
    let half = |until| ticks(500, until);
    let delay = Budget { delay: 1, ..Budget::default() };
    let unknown = Budget { unknown: 1, ..delay };
    let late = Budget { late: 1, ..unknown };
    vec![
        config("drops", "acquires dropped at every await", half(1500), [client(1), client(1)])
            .budget(Budget { drops: 1, ..late }),
        config("release", "releases beside lost answers and late requests", half(1000), [renewed(1), client(1)])
            .budget(late),
        config("renewals", "renewals of both, one of them late", half(1500), [renewed(1), renewed(1)]).budget(late),
        config("copies", "renewals, and a copy of one request", half(1500), [renewed(1), client(1)])
            .budget(Budget { copies: 1, ..delay }),
        config("revoke", "an operator revokes, answers are lost", half(1000), [renewed(1), client(1)])
            .budget(Budget { revokes: 1, ..unknown }),
        config("force", "an operator revokes by force, answers are lost", half(1000), [renewed(1), client(1)])
            .budget(Budget { forces: 1, ..unknown }),
        config("crash", "hosts crash and start again, a stale read", half(1500), [renewed(1), client(1)])
            .budget(Budget { crashes: 1, late: 1, stale: 1, ..delay }),
        config("abandoned", "abandoned operations that are applied later", half(1500), [client(1), client(2)])
            .budget(late),
        config("ghost", "an acquire is applied twice, its orphaned lease stays", half(1000), [renewed(1), client(1)])
            .budget(Budget { delay: 2, copies: 1, ..Budget::default() }),
        config("three", "three clients, a copy of one request", ticks(1000, 1000), [client(1), client(1), client(1)])
            .budget(Budget { copies: 1, ..Budget::default() }),
    ]
}

fn service() -> Vec<Config> {
    let none = Budget::default();
    let idle = [0, 500, NINE_DAYS_MS, NINE_DAYS_MS + 500];
    let days = [1, -1].map(|days| wall(days * DAY_MS as i64, client(2)));
    let reading = Client { reads_first: true, ..client(1) };
    let late = |wall_ms| wall(wall_ms, Client { lease_ms: 12_000, ..client(1) });
    vec![
        config("service", "dates two seconds off, a crash", [0, 500, 9000], [renewed(1), client(1)])
            .budget(Budget { crashes: 1, ..none })
            .dates(&[Some(-2), Some(2)]),
        config("freeze", "a host freezes between sample and write", [0, 500, 1000], [reading, client(1)])
            .budget(Budget { freezes: 1, ..none })
            .dates(&[Some(0)])
            .jump(12_000),
        config("ttl", "an idle row is deleted, wall clocks a day fast and slow", idle, days)
            .budget(Budget { crashes: 1, purges: 1, ..none })
            .dates(&[Some(0)]),
        config("unsure", "a release without an answer, a legacy client", [0, 3500, 3700], [late(-10_000)])
            .budget(Budget { delay: 1, unknown: 1, legacy: 1, ..none })
            .dates(&[Some(-2)])
            .legacy(2000, 5000),
        config("dateless", "answers without a date, a legacy client", ticks(3000, 9000), [late(-40_000), client(1)])
            .budget(Budget { legacy: 1, ..none })
            .dates(&[None, Some(0)])
            .legacy(-10_000, 0),
        config("legacy", "a legacy client, a slow wall clock", ticks(3000, 9000), [late(-40_000), client(1)])
            .budget(Budget { delay: 1, legacy: 1, ..none })
            .dates(&[Some(0)])
            .legacy(-10_000, 0),
    ]
}

/// Returns the configurations with one wrong clock among right ones.
fn wrong() -> Vec<Config> {
    let none = Budget::default();
    let reading = Client { reads_first: true, ..client(1) };
    let long = |wall_ms| wall(wall_ms, Client { lease_ms: 12_000, ..client(1) });
    vec![
        config(
            "walls",
            "no service clock, a legacy client, a wall clock 15 minutes slow",
            ticks(3000, 18_000),
            [long(-900_000), client(1)],
        )
        .budget(Budget { delay: 1, legacy: 1, ..none })
        .legacy(0, 0),
        config("wild-late", "two dates that are a minute late", [0, 500, 1000, 9000], [renewed(1), client(1)])
            .budget(Budget { wild: 2, ..none })
            .dates(&[Some(0)])
            .wild(60, true),
        config(
            "wild-inspect",
            "inspections with dates that are a minute late",
            [0, 500, 9000],
            [renewed(1), client(0)],
        )
        .budget(Budget { inspections: 1, wild: 2, ..none })
        .dates(&[Some(0)])
        .wild(60, true),
        config("wild-freeze", "a host freezes, and a date is a minute early", [0, 500, 1000], [reading, client(1)])
            .budget(Budget { freezes: 1, wild: 1, ..none })
            .dates(&[Some(0)])
            .jump(12_000)
            .wild(-60, false),
        config("wild-legacy", "a legacy client, and a date that is a minute late", [0, 9000], [long(0), client(1)])
            .budget(Budget { legacy: 1, wild: 1, ..none })
            .dates(&[Some(0)])
            .legacy(20_000, 0)
            .wild(60, false),
    ]
}

fn holds() -> Vec<Config> {
    let (none, slow) = (Budget::default(), wall(-40_000, hold(12_000)));
    vec![
        config("hold-drops", "a hold dropped at every await, a lost answer", ticks(500, 2500), [hold(2000), client(1)])
            .budget(Budget { delay: 1, drops: 1, unknown: 1, late: 1, ..none }),
        config("hold-dates", "a hold without dates, a slow wall clock, a legacy client", [0, 9000], [slow, client(1)])
            .budget(Budget { legacy: 1, ..none })
            .dates(&[None, Some(0)])
            .legacy(-10_000, 0),
        config("hold-freeze", "a host freezes in each step of a hold", [0, 500], [hold(2000), client(1)])
            .budget(Budget { unknown: 1, freezes: 1, ..none })
            .dates(&[Some(0)])
            .jump(12_000),
        config("hold-sleep", "a host sleeps in each step of a hold", ticks(1000, 2000), [hold(2000), client(1)])
            .budget(Budget { unknown: 1, sleeps: 1, ..none })
            .jump(1000),
        config("hold-key", "a hold, and clients on one machine", [0, 500, 2000, 5500], [hold(2000), client(1)])
            .budget(Budget { delay: 1, ..none })
            .hold_keys(),
    ]
}

fn inspections() -> Vec<Config> {
    let (inspect, slow) = (Budget { delay: 1, inspections: 1, ..Budget::default() }, wall(-40_000, renewed(1)));
    vec![
        config("inspect", "inspections with dates two seconds off", [0, 500, 9000], [renewed(1), client(0)])
            .budget(inspect)
            .dates(&[Some(-2), Some(2)]),
        config("inspect-slow", "inspections beside a slow wall clock", [0, 500, 1000, 9000], [slow, client(0)])
            .budget(inspect)
            .dates(&[None, Some(0)]),
        config("inspect-key", "inspections of a hold", [0, 500, 2000, 2500, 4000, 5500], [hold(2000), client(0)])
            .budget(Budget { delay: 2, unknown: 1, ..inspect })
            .hold_keys(),
    ]
}

fn refusals() -> Vec<Config> {
    let half = |until| ticks(500, until);
    let unknown = Budget { delay: 1, unknown: 1, ..Budget::default() };
    let refusals = Budget { refusals: 2, ..unknown };
    let late = |wall_ms| wall(wall_ms, Client { lease_ms: 12_000, ..client(1) });
    vec![
        config("refusals", "acquires, answers are lost, requests refused", half(1500), [client(1), client(1)])
            .budget(refusals),
        config("refused-renewals", "renewals, answers are lost, requests refused", half(1500), [renewed(1), client(1)])
            .budget(refusals),
        config("refused-hold", "a hold, answers are lost, requests refused", half(2500), [hold(2000), client(1)])
            .budget(refusals),
        config("refused-dates", "a refusal before a lock is confirmed", ticks(3000, 9000), [late(-40_000)])
            .budget(refusals)
            .dates(&[None, Some(0)]),
        config("deleted", "the table is deleted and created again", half(1000), [renewed(1), client(1)])
            .budget(Budget { deletions: 1, ..unknown }),
        config("deleted-hold", "the same beside a hold", half(1500), [hold(2000), client(1)])
            .budget(Budget { deletions: 1, ..unknown }),
    ]
}

/// Returns the configurations with work that runs until it has succeeded once. Each guard may succeed or be released.
fn once() -> Vec<Config> {
    let none = Budget::default();
    let half = |until| ticks(500, until);
    let delay = Budget { delay: 1, ..none };
    let unknown = Budget { unknown: 1, ..none };
    let late = Budget { late: 1, ..unknown };
    let (one, two) = (|| [client(1), client(1)], || [client(2), client(1)]);
    let trying = Client { wait_mode: WaitMode::Try, ..client(2) };
    let idle = [0, 500, NINE_DAYS_MS, NINE_DAYS_MS + 500];
    vec![
        config("once", "successes, lost answers, late requests", half(1000), two()).budget(late).once(None),
        config("once-delays", "successes, slow requests", half(1500), two())
            .budget(Budget { delay: 2, ..none })
            .once(None),
        config("once-crash", "hosts crash, a late request, a stale read", half(1000), two())
            .budget(Budget { crashes: 1, stale: 1, ..late })
            .once(None),
        config("once-copies", "renewals, a copy of one request", half(1000), [renewed(2), client(1)])
            .budget(Budget { copies: 1, ..delay })
            .once(None),
        config("once-revoke", "an operator revokes, answers are lost", half(1000), [renewed(1), client(1)])
            .budget(Budget { revokes: 1, ..unknown })
            .once(None),
        config("once-force", "an operator revokes by force", half(500), two())
            .budget(Budget { forces: 1, ..unknown })
            .once(None),
        config("once-reset", "an operator resets a success, a stale read", half(1000), two())
            .budget(Budget { resets: 1, stale: 1, ..late })
            .once(None),
        config("once-reset-copies", "an operator resets a success, a copy of one request", half(1000), two())
            .budget(Budget { resets: 1, copies: 1, ..none })
            .once(None),
        config("once-for", "a success that counts for 2 s, dates two seconds off", [0, 500, 4500, 9000], one())
            .budget(Budget { stale: 1, ..none })
            .dates(&[Some(-2), Some(2)])
            .once(Some(2000)),
        config("once-for-lost", "the same, answers are lost", [0, 500, 9000], one())
            .budget(unknown)
            .dates(&[Some(-2), Some(2)])
            .once(Some(2000)),
        config("once-for-wall", "the same without a service clock, a stale read", half(2000), two())
            .budget(Budget { stale: 1, ..unknown })
            .once(Some(1000)),
        config("once-for-late", "the same, late requests", [0, 500, 1500], two()).budget(late).once(Some(1000)),
        config("once-try", "attempts that do not wait, stale reads", half(1000), [trying, client(1)])
            .budget(Budget { stale: 2, ..late })
            .once(None),
        config("once-refused", "answers are lost, requests are refused", half(1000), two())
            .budget(Budget { refusals: 2, ..unknown })
            .once(None),
        config("once-deleted", "the table is deleted and created again", half(500), two())
            .budget(Budget { deletions: 1, ..unknown })
            .once(None),
        config("once-ttl", "rows are deleted, a success counts for ten days", idle, two())
            .budget(Budget { crashes: 1, purges: 1, ..none })
            .dates(&[Some(0)])
            .once(Some(10 * DAY_MS)),
        config("once-ttl-ended", "the row of a success that has ended is deleted", idle, one())
            .budget(Budget { purges: 1, stale: 1, ..none })
            .dates(&[Some(0)])
            .once(Some(3_600_000)),
    ]
}

/// Returns the configurations with several users of one client. A released guard is handed over to the next one.
fn handovers() -> Vec<Config> {
    let none = Budget::default();
    let unknown = Budget { unknown: 1, ..none };
    let (late, delay) = (Budget { late: 1, ..unknown }, Budget { delay: 1, ..none });
    let two = local(2, 1000);
    let renewed = Client { renewal: Renewal::Automatic, ..two.clone() };
    let [short, leases] = [1000, 2000].map(|until| ticks(1000, until));
    let with = |name, about, grid: &[u64], budget| config(name, about, grid, [two.clone(), client(1)]).budget(budget);
    let shorter =
        |name, about| config(name, about, ticks(1000, 2000), [Client { lease_ms: 2000, ..local(2, 1000) }, client(1)]);
    let longer = |name, about| config(name, about, ticks(1000, 2000), [local(2, 2000), client(1)]);
    vec![
        with("handover", "two users of one client, lost answers, late requests", &leases, late),
        with("handover-delays", "two users of one client, slow requests", &[0, 500, 1000], Budget { delay: 2, ..none }),
        config("handover-three", "three users of one client", short.clone(), [local(3, 1000), client(1)])
            .budget(unknown),
        config("handover-copies", "two users of two clients, copies", short.clone(), [two.clone(), two.clone()])
            .budget(Budget { copies: 1, ..none }),
        config("handover-renewals", "handovers between renewals", ticks(500, 1000), [renewed, client(1)])
            .budget(unknown),
        shorter("handover-shorter", "a lease of two seconds, then of one, slow requests").budget(delay),
        shorter("handover-shorter-lost", "the same, lost answers, late requests").budget(late),
        longer("handover-longer", "a lease of one second, then of two, slow requests").budget(delay),
        longer("handover-longer-lost", "the same, lost answers, late requests").budget(late),
        with("handover-drops", "waiting users go away", &leases, Budget { drops: 1, ..late }),
        with("handover-crash", "hosts crash during handovers", &leases, Budget { crashes: 1, ..late }),
        with("handover-revoke", "an operator revokes the lock", &[0, 500], Budget { revokes: 1, ..unknown }),
        with("handover-force", "an operator revokes the lock by force", &[0, 500], Budget { forces: 1, ..unknown }),
        with("handover-refused", "answers are lost, requests are refused", &short, Budget { refusals: 2, ..unknown }),
        with("handover-deleted", "the table is deleted", &[0, 500], Budget { deletions: 1, ..unknown }),
        with("handover-dates", "handovers with and without dates", &[0, 500, 9000], unknown).dates(&[None, Some(0)]),
    ]
}
