//! One process that holds 1,000 locks: CPU time, memory, and punctuality of the heartbeats.

use std::time::Duration;

use crate::Outcome;
use crate::bench::{Bench, LEASE};
use crate::peer::{Agent, Peer, number};
use crate::proxy::Link;
use crate::report::Report;

const HEARTBEAT: f64 = 5.0;

pub async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let locks = bench.options.choose(200, 1_000, 1_000);
    let scenario = "1,000 held locks";
    for peer in [Peer::DynamoLock, Peer::Lease] {
        let extra = [format!("heartbeat={}", HEARTBEAT * 1e3)];
        let mut agent = Agent::start(bench, peer, "held", LEASE, Link::default(), &extra).await?;
        let held = agent.call(&format!("held {locks}")).await?;
        report.figure(scenario, peer.label(), "bytes per lock", number(&held, "bytes")?);
        tokio::time::sleep(Duration::from_secs_f64(HEARTBEAT)).await;
        agent.port.record(false, true);
        let mut used = Vec::new();
        let first = agent.port.counts();
        let mut before = agent.call("cpu").await?;
        for _ in 0..bench.options.choose(2, 5, 10) {
            tokio::time::sleep(Duration::from_secs_f64(HEARTBEAT)).await;
            let after = agent.call("cpu").await?;
            let cpu = number(&after, "cpu")? - number(&before, "cpu")?;
            used.push(cpu / (number(&after, "at")? - number(&before, "at")?) * 100.0);
            before = after;
        }
        let counts = agent.port.counts() - first;
        report.figure(
            scenario,
            peer.label(),
            "writes per lock and heartbeat",
            counts.writes as f64 / f64::from(locks) / used.len() as f64,
        );
        report.add(scenario, peer.label(), "CPU, % of a core", used);
        let late = agent.port.times().iter().flat_map(|times| lateness(times)).fold(0.0, f64::max);
        report.figure(scenario, peer.label(), "latest heartbeat, % of its period", late);
    }
    Ok(())
}

/// Returns by how much each interval exceeds the heartbeat, in percent of it.
fn lateness(times: &[u64]) -> Vec<f64> {
    times.windows(2).map(|pair| ((pair[1] - pair[0]) as f64 / 1e9 / HEARTBEAT - 1.0) * 100.0).collect()
}
