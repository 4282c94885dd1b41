//! The small worlds with shared rows: semaphores, and read/write locks.

use dynamo_lock_protocol::{Access, Renewal};

use super::{
    Budget, Client, Config,
    clocks::Clocks,
    configs::{client, config, ticks, wall},
};

/// Returns a client that acquires an entry once. The library does not renew it.
fn entry(access: Access) -> Client {
    Client { access: Some(access), ..client(1) }
}

/// Returns a client whose entry the library renews.
fn renewed(access: Access) -> Client {
    Client { renewal: Renewal::Automatic, ..entry(access) }
}

fn twice(client: Client) -> Client {
    Client { acquisitions: 2, ..client }
}

/// Returns the newcomers of a configuration: a writer and a reader, and two readers of an endless stream.
fn newcomers(access: Access) -> Vec<Client> {
    let slow = |access| Client { clocks: Clocks { rate: -5, slew: 0, wall_ms: 0 }, ..entry(access) };
    match access.kind().value() {
        Some("semaphore") => vec![slow(access), entry(access), entry(access)],
        _ => vec![slow(Access::write()), slow(Access::read()), entry(Access::read()), entry(Access::read())],
    }
}

fn shared<const N: usize>(
    name: &'static str,
    about: &'static str,
    grid: impl Into<Vec<u64>>,
    clients: [Client; N],
    budget: Budget,
) -> Config {
    let access = clients.iter().find_map(|client| client.access);
    let newcomers = access.map(newcomers).unwrap_or_default();
    Config { newcomers, ..config(name, about, grid, clients).budget(budget) }
}

/// Returns the configurations of shared rows.
pub fn all() -> Vec<Config> {
    [semaphores(), semaphore_clocks(), locks(), lock_faults(), lock_clocks(), conversions()].concat()
}

fn half(until_ms: u64) -> Vec<u64> {
    ticks(500, until_ms)
}

const NONE: Budget = Budget {
    delay: 0,
    unknown: 0,
    late: 0,
    copies: 0,
    drops: 0,
    crashes: 0,
    revokes: 0,
    stale: 0,
    freezes: 0,
    sleeps: 0,
    legacy: 0,
    forces: 0,
    purges: 0,
    inspections: 0,
    wild: 0,
    refusals: 0,
    deletions: 0,
    resets: 0,
    hints: 0,
    conversions: 0,
};
const DELAY: Budget = Budget { delay: 1, ..NONE };
const UNKNOWN: Budget = Budget { unknown: 1, ..DELAY };
const LATE: Budget = Budget { late: 1, ..UNKNOWN };

fn semaphores() -> Vec<Config> {
    let (one, two) = (Access::permit(1), Access::permit(2));
    let pair = || [renewed(one), entry(one)];
    let three = [entry(two), entry(two), entry(two)];
    let again = [renewed(one), twice(entry(one))];
    let limits = [entry(one), entry(two), entry(two)];
    vec![
        shared("sem", "two clients, one permit, slow requests", half(1500), [twice(entry(one)), entry(one)], DELAY),
        shared("sem-delays", "the same, each once", half(1500), [entry(one), entry(one)], Budget { delay: 2, ..NONE }),
        shared("sem-late", "renewals, lost answers, late requests", half(1500), pair(), LATE),
        shared("sem-copies", "a request that is applied twice", half(1500), again, Budget { copies: 1, ..NONE }),
        shared("sem-drops", "dropped acquires", [0, 500, 1000], pair(), Budget { drops: 1, ..LATE }),
        shared(
            "sem-crash",
            "hosts crash, old reads",
            half(1500),
            pair(),
            Budget { crashes: 1, late: 1, stale: 1, ..DELAY },
        ),
        shared("sem-revoke", "a holder is revoked", [0, 500], pair(), Budget { revokes: 1, ..UNKNOWN }),
        shared("sem-force", "a holder is forced out", [0, 500], pair(), Budget { forces: 1, ..UNKNOWN }),
        shared("sem-refused", "requests are refused", half(1000), pair(), Budget { refusals: 2, ..UNKNOWN }),
        shared(
            "sem-force-copies",
            "the same, copies",
            [0],
            pair(),
            Budget { forces: 1, copies: 1, unknown: 1, ..NONE },
        ),
        shared("sem-deleted", "the table is deleted", [0, 500], pair(), Budget { deletions: 1, ..UNKNOWN }),
        shared("sem-three", "three clients, two permits, one is slow", [0, 1000], three.clone(), DELAY).slow(0),
        shared("sem-three-lost", "the same, lost answers", [0, 1000], three, Budget { unknown: 1, ..NONE }),
        shared("sem-limits", "three clients with unequal limits", [0, 1000], limits, NONE),
    ]
}

fn at_rate(rate: i64, client: Client) -> Client {
    Client { clocks: Clocks { rate, ..client.clocks }, ..client }
}

fn long(client: Client) -> Client {
    Client { lease_ms: 2000, ..client }
}

/// Returns the configurations of clocks for two clients with these accesses.
fn clocks(names: [&'static str; 4], first: Access, second: Access) -> Vec<Config> {
    let days = |days: i64, access| wall(days * DAY_MS as i64, twice(entry(access)));
    let days_later = 32 * DAY_MS;
    // A writer has more states, so that fewer instants must do.
    let idle = if second.is_exclusive() { vec![0, days_later] } else { vec![0, 500, days_later, days_later + 500] };
    let dated = Budget { crashes: 1, ..NONE };
    let purge = Budget { purges: 1, ..NONE };
    let drifting = [at_rate(-5, entry(first)), at_rate(5, entry(second))];
    vec![
        shared(names[0], "leases of two seconds and of one", half(2000), [long(entry(first)), entry(second)], DELAY),
        shared(names[1], "clocks 0.5 % slow and fast", half(1500), drifting, DELAY),
        shared(names[2], "dates two seconds off, a crash", [0, 500, 9000], [renewed(first), entry(second)], dated)
            .dates(&[Some(-2), Some(2)]),
        shared(
            names[3],
            "an idle row is deleted, wall clocks days off",
            idle,
            [days(1, first), days(-1, second)],
            purge,
        )
        .dates(&[Some(0)]),
    ]
}

const DAY_MS: u64 = 24 * 3600 * 1000;

fn semaphore_clocks() -> Vec<Config> {
    let freeze = Budget { freezes: 1, ..NONE };
    let pair = [twice(entry(Access::permit(1))), entry(Access::permit(1))];
    let frozen = shared("sem-freeze", "a host freezes between sample and write", [0, 500], pair, freeze);
    let stamped = [Client { lease_ms: 20_000, ..twice(renewed(Access::permit(1))) }, entry(Access::permit(1))];
    let stamps = shared("sem-stamps", "a renewal extends a service timestamp", [0, 15_000, 30_000], stamped, NONE);
    let mut all = vec![frozen.dates(&[Some(0)]).jump(12_000), stamps.dates(&[Some(0)])];
    all.extend(clocks(["sem-leases", "sem-drift", "sem-dates", "sem-ttl"], Access::permit(1), Access::permit(1)));
    all
}

fn lock_clocks() -> Vec<Config> {
    clocks(["rw-leases", "rw-drift", "rw-dates", "rw-ttl"], Access::read(), Access::write())
}

/// Returns the configurations with rows that an operator converts from one kind to another.
fn conversions() -> Vec<Config> {
    let (late, twice) = (Budget { conversions: 1, ..LATE }, Budget { conversions: 2, ..NONE });
    let locks = || [client(1), entry(Access::write())];
    vec![
        shared("convert", "a plain lock and a semaphore", [0, 1000], [client(1), entry(Access::permit(1))], late),
        shared("convert-rw", "a plain lock and a writer", [0, 1000], locks(), late),
        shared(
            "convert-shared",
            "a reader and a writer",
            [0, 500],
            [entry(Access::read()), entry(Access::write())],
            late,
        ),
        shared("convert-twice", "the same, two conversions", [0, 1000], locks(), twice),
    ]
}

fn locks() -> Vec<Config> {
    let (read, write) = (Access::read(), Access::write());
    let writers = [twice(entry(write)), entry(write)];
    let readers = [entry(read), entry(read), entry(write)];
    let both = [entry(read), entry(write), entry(write)];
    vec![
        shared("rw", "a reader and a writer, slow requests", half(1500), [twice(entry(read)), entry(write)], DELAY),
        shared("rw-writers", "two writers, slow requests", half(1500), writers, DELAY),
        shared("rw-three", "two readers, one of them slow, and a writer", [0, 1000], readers.clone(), DELAY).slow(0),
        shared("rw-three-slow", "the same, the writer is slow", [0, 1000], readers.clone(), DELAY).slow(2),
        shared("rw-three-lost", "the same, lost answers", [0, 1000], readers, Budget { unknown: 1, ..NONE }),
        shared("rw-two-writers", "a reader, a writer and a slow writer", [0, 1000], both.clone(), DELAY).slow(2),
        shared("rw-two-writers-slow", "the same, the reader is slow", [0, 1000], both.clone(), DELAY).slow(0),
        shared("rw-two-writers-lost", "the same, lost answers", [0, 1000], both, Budget { unknown: 1, ..NONE }),
    ]
}

fn lock_faults() -> Vec<Config> {
    let (read, write) = (Access::read(), Access::write());
    let pair = || [renewed(read), renewed(write)];
    let writers = || [renewed(write), entry(write)];
    let again = [twice(renewed(read)), entry(write)];
    let crashes = Budget { crashes: 1, late: 1, stale: 1, ..DELAY };
    vec![
        shared("rw-lost", "a reader and a writer, lost answers", half(1000), [entry(read), entry(write)], UNKNOWN),
        shared("rw-late", "renewals, lost answers, late requests", half(1000), pair(), LATE),
        shared("rw-writers-late", "two writers, the same", half(1500), writers(), LATE),
        shared("rw-copies", "a request that is applied twice", half(1000), again, Budget { copies: 1, ..DELAY }),
        shared("rw-drops", "dropped acquires", half(1000), pair(), Budget { drops: 1, ..LATE }),
        shared("rw-crash", "hosts crash, old reads", half(1000), pair(), crashes),
        shared("rw-revoke", "a holder is revoked", [0, 500], pair(), Budget { revokes: 1, ..UNKNOWN }),
        shared("rw-force", "a holder is forced out", [0, 500], pair(), Budget { forces: 1, ..UNKNOWN }),
        shared("rw-refused", "requests are refused", half(1000), pair(), Budget { refusals: 2, ..UNKNOWN }),
        shared("rw-force-copies", "the same, copies", [0], pair(), Budget { forces: 1, copies: 1, unknown: 1, ..NONE }),
        shared(
            "rw-revoke-writers",
            "two writers, one is revoked",
            [0, 500],
            writers(),
            Budget { revokes: 1, ..UNKNOWN },
        ),
        shared(
            "rw-force-writers",
            "two writers, one is forced out",
            [0, 500],
            writers(),
            Budget { forces: 1, ..UNKNOWN },
        ),
        shared("rw-writers-copies", "two writers, a copy", half(1500), writers(), Budget { copies: 1, ..DELAY }),
        shared(
            "rw-again",
            "a reader and a writer, twice each, dropped acquires, a late request",
            [0, 500],
            [twice(entry(read)), twice(entry(write))],
            Budget { drops: 1, unknown: 1, late: 1, ..NONE },
        ),
        shared(
            "rw-again-operator",
            "a reader and a writer twice, dropped acquires, an operator",
            [0],
            [entry(read), twice(entry(write))],
            Budget { drops: 1, revokes: 1, forces: 1, ..NONE },
        ),
        shared(
            "rw-again-copies",
            "a reader twice and a writer, a copy",
            [0, 500, 1000],
            [twice(entry(read)), entry(write)],
            Budget { copies: 1, ..DELAY },
        ),
        shared(
            "rw-readers-copies",
            "two readers, a copy",
            half(1000),
            [renewed(read), entry(read)],
            Budget { copies: 1, ..DELAY },
        ),
        shared(
            "rw-two-copies",
            "a reader and a writer, two copies",
            [0],
            [twice(entry(read)), entry(write)],
            Budget { copies: 2, ..NONE },
        ),
        shared("rw-deleted", "the table is deleted", [0, 500], pair(), Budget { deletions: 1, ..UNKNOWN }),
    ]
}
