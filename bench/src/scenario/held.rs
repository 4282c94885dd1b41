//! One process that holds 1,000 locks: CPU time, memory, and punctuality of the heartbeats.

use std::time::Duration;

use crate::agent::library::WARM;
use crate::bench::{Bench, LEASE};
use crate::peer::{Agent, Peer, number};
use crate::proxy::Link;
use crate::report::Report;
use crate::stats::quantile;
use crate::{Outcome, clock};

const HEARTBEAT: f64 = 5.0;

pub async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let locks = bench.options.choose(200, 1_000, 1_000);
    let scenario = "1,000 held locks";
    for peer in [Peer::DynamoLock, Peer::Lease] {
        let extra = [format!("heartbeat={}", HEARTBEAT * 1e3)];
        let mut agent = Agent::start(bench, peer, "held", LEASE, Link::default(), &extra).await?;
        agent.port.record(false, true);
        let held = agent.call(&format!("held {locks}")).await?;
        report.figure(scenario, peer.label(), "bytes per lock", number(&held, "bytes")?);
        tokio::time::sleep(Duration::from_secs_f64(HEARTBEAT)).await;
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
        let late: Vec<f64> = agent
            .port
            .times()
            .into_iter()
            .filter(|(key, _)| !key.contains(WARM))
            .map(|(_, times)| lateness(&times, clock::now()))
            .collect();
        if late.len() != locks as usize {
            return Err(format!("{} of {locks} locks were renewed", late.len()).into());
        }
        report.figure(scenario, peer.label(), "latest heartbeat, % of its period", quantile(&late, 1.0));
    }
    Ok(())
}

/// Returns by how much the longest interval between two writes exceeds the heartbeat, in percent of it. The time from
/// the last write to `end` counts too, so that a heartbeat that is missing is late.
fn lateness(times: &[u64], end: u64) -> f64 {
    let ends = times.iter().skip(1).chain([&end]);
    let longest = times.iter().zip(ends).map(|(from, to)| to.saturating_sub(*from)).max().unwrap_or(0);
    ((longest as f64 / 1e9 / HEARTBEAT - 1.0) * 100.0).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_heartbeat_is_late() {
        let seconds = |times: &[u64]| times.iter().map(|time| time * 1_000_000_000).collect::<Vec<_>>();
        assert_eq!(lateness(&seconds(&[0, 5, 10]), 12_000_000_000), 0.0);
        assert_eq!(lateness(&seconds(&[0, 5, 11]), 12_000_000_000).round(), 20.0);
        assert_eq!(lateness(&seconds(&[0, 5]), 20_000_000_000), 200.0);
    }
}
