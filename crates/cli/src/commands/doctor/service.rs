//! The checks of latency and service clock.

use std::time::Duration;

use dynamo_lock::store::Store;
use dynamo_lock::store::examination::{Probe, Reply};

use super::check::Checks;
use super::dynamodb::{Table, check_of};

/// Names of these checks.
pub const NAMES: [&str; 2] = ["latency", "service clock"];

/// Reads that are timed.
const READS: usize = 5;
/// Time of a read above which a short lease may be lost. A request fails after a quarter of the lease.
const SLOW: Duration = Duration::from_secs(1);

pub async fn check(table: &Table, checks: &mut Checks) {
    check_latency(table, checks).await;
    check_service_clock(table, checks);
}

async fn check_latency(table: &Table, checks: &mut Checks) {
    if let Err(error) = table.result(Probe::Get) {
        let reason = check_of(error).map(|other| format!("not possible before the fault of {other:?} is corrected"));
        return checks.untested("latency", reason.unwrap_or_else(|| "reads fail, so that none is timed".to_owned()));
    }
    let mut times = Vec::with_capacity(READS);
    for _ in 0..READS {
        let reply = table.examination.probe(Probe::Get, &table.row).await;
        times.push(time(&reply));
        if let Err(error) = reply.result {
            return checks.error("latency", error);
        }
    }
    times.sort_unstable();
    let (median, slowest) = (times[READS / 2], times[READS - 1]);
    let first = table.replies.first().map_or(Duration::ZERO, |(_, reply)| time(reply));
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let facts = format!(
        "median {} of {READS} reads, slowest {}, first {} with its connection",
        ms(median),
        ms(slowest),
        ms(first)
    );
    match slowest >= SLOW {
        true => checks.warning("latency", format!("{facts}; use a Region nearby, or leases of a minute or more")),
        false => checks.ok("latency", facts),
    }
}

fn time(reply: &Reply) -> Duration {
    reply.received.holder_elapsed_since(reply.sent)
}

fn check_service_clock(table: &Table, checks: &mut Checks) {
    let has_date = table.replies.iter().any(|(_, reply)| reply.date.is_some());
    let store: &dyn Store = table.examination.store();
    match (store.service_clock(), has_date) {
        (true, true) => checks.ok(
            "service clock",
            "on: the lock of a crashed holder can be acquired 7 to 9 s after its lease, without a wait",
        ),
        (true, false) => checks.warning(
            "service clock",
            "on, but responses have no Date of DynamoDB, so it has no effect; let proxies pass the Date on",
        ),
        (false, _) => checks.ok(
            "service clock",
            "off: a process that starts after a crash watches the lock for one lease before it acquires it",
        ),
    }
}
