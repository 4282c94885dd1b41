//! The bounds that this library has set itself, each with the figure of this run.

use crate::peer::Peer;
use crate::report::{Report, short};
use crate::stats::{median, quantile};

/// `run -- true` as a multiple of `flock -- true` before this benchmark existed.
const RUN_BEFORE: f64 = 3.58;

/// A figure and its upper bound.
struct Bound {
    text: String,
    figure: f64,
    most: f64,
}

/// Returns one line per bound. Bounds of scenarios that did not run are left out.
pub fn lines(report: &Report) -> Vec<String> {
    let line = |bound: Bound| {
        let verdict = if bound.figure <= bound.most { "met" } else { "NOT MET" };
        format!("{verdict}: {}: {} (at most {})", bound.text, short(bound.figure), short(bound.most))
    };
    [cycle(report), tasks(report), handoff(report), held(report), embedded(report)]
        .into_iter()
        .flatten()
        .flatten()
        .map(line)
        .collect()
}

fn bound(text: impl Into<String>, figure: Option<f64>, most: f64) -> Option<Bound> {
    Some(Bound { text: text.into(), figure: figure?, most })
}

fn cycle(report: &Report) -> Vec<Option<Bound>> {
    let of = |scenario, measure| report.median(scenario, Peer::DynamoLock.label(), measure);
    vec![
        bound("acquire + release: writes", of("cycle", "writes"), 2.0),
        bound("acquire + release: reads", of("cycle", "reads"), 0.0),
        bound("acquire + release: time / two bare calls, same bytes", of("cycle", "time / same bytes"), 1.10),
        bound("acquire + release: time / two minimal bare calls", of("cycle", "time / minimal"), 1.15),
        bound("renewal: CPU / bare call, same bytes", of("renewal", "CPU / same bytes"), 1.15),
        bound("Node: time / Rust", report.median("cycle", Peer::Node.label(), "time / Rust"), 1.15),
    ]
}

fn tasks(report: &Report) -> Vec<Option<Bound>> {
    let label = Peer::DynamoLock.label();
    let of = |measure| report.median("50 tasks", label, measure);
    let trip = report.median("50 tasks", "round trip", "ms").unwrap_or(f64::NAN);
    let many = |tasks: u32, measure| report.median("1,000 tasks", &format!("{label}: {tasks} tasks"), measure);
    let linear = |measure| many(1000, measure).zip(many(250, measure)).map(|(many, few)| many / few);
    let fair = |measure| report.median("2 processes of 25 tasks", label, measure);
    let largest = fair("smallest share of 100").map(|share| 100.0 - share);
    vec![
        bound("50 tasks: writes per acquisition", of("writes per acquisition"), 1.1),
        bound("50 tasks: reads", of("reads"), 0.0),
        bound("50 tasks of 10 ms: ms", of("ms"), 1.15 * 50.0 * (10.0 + trip)),
        bound("1,000 tasks: time per task / that of 250 tasks", linear("ms per task"), 1.15),
        bound("1,000 tasks: CPU time per task / that of 250 tasks", linear("CPU ms per task"), 1.15),
        bound("1,000 tasks: bytes per waiter", many(1000, "bytes per waiter"), 2048.0),
        bound("2 processes of 25 tasks: largest share of 100 acquisitions, %", largest, 70.0),
        bound(
            "2 processes of 25 tasks: longest wait before second 5, s",
            fair("longest wait of a process before second 5, s"),
            5.0,
        ),
    ]
}

fn handoff(report: &Report) -> Vec<Option<Bound>> {
    let label = Peer::DynamoLock.label();
    let trip = report.median("handoff", "round trip", "ms").unwrap_or(f64::NAN);
    let mut bounds = Vec::new();
    for waiters in ["1 waiter", "2 waiters", "20 waiters"] {
        for (holds, most) in [("constant", 45.0), ("uniform", 45.0), ("exponential", 95.0), ("bimodal", f64::INFINITY)]
        {
            let scenario = format!("handoff, {waiters}, {holds} holds");
            let latency = report.median(&scenario, label, "release to acquired, ms");
            let reads = report.median(&scenario, label, "reads per waiter-second");
            if most.is_finite() {
                bounds.push(bound(format!("{scenario}: median, ms"), latency, most + 1.5 * trip));
            }
            bounds.push(bound(format!("{scenario}: reads per waiter-second"), reads, 6.0));
        }
    }
    for holds in ["constant", "uniform", "exponential", "bimodal", "short"] {
        let scenario = format!("handoff, 20 waiters, {holds} holds");
        let failed = report.median(&scenario, label, "failed writes per handoff");
        bounds.push(bound(format!("{scenario}: failed writes per handoff"), failed, 2.0));
    }
    bounds
}

fn held(report: &Report) -> Vec<Option<Bound>> {
    let of = |peer: Peer, measure| report.median("1,000 held locks", peer.label(), measure);
    let cpu = |peer| of(peer, "CPU, % of a core");
    let ratio = cpu(Peer::DynamoLock).zip(cpu(Peer::Lease)).map(|(own, lease)| own / lease);
    vec![
        bound("1,000 held locks: bytes per lock", of(Peer::DynamoLock, "bytes per lock"), 1024.0),
        bound("1,000 held locks: CPU / dynamodb-lease", ratio, 1.2),
        bound(
            "1,000 held locks: latest heartbeat, % of its period",
            of(Peer::DynamoLock, "latest heartbeat, % of its period"),
            50.0,
        ),
    ]
}

fn embedded(report: &Report) -> Vec<Option<Bound>> {
    let crowd = report.samples("embedded store", "100 waiters", "CPU, % of a core");
    let mut bounds = vec![bound("100 waiters on the embedded store: CPU, % of a core", crowd.map(median), 2.0)];
    for place in ["on disk", "in memory"] {
        let scenario = format!("embedded handoff, file {place}");
        let handoff = |subject| report.samples(&scenario, subject, "ms");
        let flock = handoff("flock, 1 waiter").map_or(f64::NAN, median);
        let run = |subject| report.median(&format!("run, file {place}"), subject, "time / flock");
        let before = run("older dynamo-lock run -- true").unwrap_or(RUN_BEFORE);
        bounds.extend([
            bound(format!("{scenario}, 1 waiter: ms"), handoff("dynamo-lock run, 1 waiter").map(median), 4.0 * flock),
            bound(format!("{scenario}, 20 waiters: ms"), handoff("dynamo-lock run, 20 waiters").map(median), 15.0),
            bound(
                format!("{scenario}, after kill -9: ms, slowest"),
                handoff("dynamo-lock run after kill -9").map(|times| quantile(times, 1.0)),
                100.0,
            ),
            bound(
                format!("run -- true, file {place}: time / flock -- true"),
                run("dynamo-lock run -- true"),
                0.9 * before,
            ),
        ]);
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_above_its_limit_is_not_met() {
        let mut report = Report::default();
        report.figure("cycle", Peer::DynamoLock.label(), "writes", 2.0);
        report.figure("cycle", Peer::DynamoLock.label(), "time / minimal", 1.31);
        assert_eq!(
            lines(&report),
            [
                "met: acquire + release: writes: 2 (at most 2)",
                "NOT MET: acquire + release: time / two minimal bare calls: 1.31 (at most 1.15)",
            ]
        );
    }
}
