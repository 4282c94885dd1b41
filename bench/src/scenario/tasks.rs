//! Tasks of one process that wait for one lock.

use std::time::Duration;

use crate::Outcome;
use crate::bench::{Bench, LEASE, network};
use crate::peer::{Agent, Peer, number};
use crate::proxy::Link;
use crate::report::Report;

/// A library that takes longer for 50 tasks is not measured further.
const LIMIT: Duration = Duration::from_secs(12);

pub async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let trip = bench.round_trip(network()).await?;
    report.figure("50 tasks", "round trip", "ms", trip);
    let peers = [Peer::DynamoLock, Peer::LeaseTuned, Peer::Lease, Peer::Dlock, Peer::LockClient, Peer::Python];
    for peer in peers.into_iter().filter(|peer| bench.has(*peer)) {
        let rounds = if matches!(peer, Peer::DynamoLock | Peer::LeaseTuned) { bench.options.rounds } else { 1 };
        let (mut times, mut writes, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let lock = format!("50 tasks {peer:?} {round}");
            let mut agent = Agent::start(bench, peer, &lock, LEASE, network(), &[]).await?;
            let Ok(result) = tokio::time::timeout(LIMIT, agent.call("tasks 50 10")).await else {
                report.notes.push(format!("50 tasks: {} did not finish within {LIMIT:?}", peer.label()));
                break;
            };
            times.push(number(&result?, "ns")? / 1e6);
            let counts = agent.port.counts();
            // The process itself acquires the lock first.
            writes.push(counts.writes as f64 / 51.0);
            reads.push(counts.reads as f64);
        }
        report.add("50 tasks", peer.label(), "ms", times);
        report.add("50 tasks", peer.label(), "writes per acquisition", writes);
        report.add("50 tasks", peer.label(), "reads", reads);
    }
    for peer in [Peer::DynamoLock, Peer::LeaseTuned] {
        for tasks in [250, 1000] {
            many(bench, report, peer, tasks).await?;
        }
    }
    Ok(())
}

/// Tasks that hold the lock for no time, without delays of the network.
async fn many(bench: &Bench, report: &mut Report, peer: Peer, tasks: u32) -> Outcome<()> {
    let (mut times, mut used, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.options.choose(1, 5, 5) {
        let lock = format!("{tasks} tasks {peer:?} {round}");
        let mut agent = Agent::start(bench, peer, &lock, LEASE, Link::default(), &[]).await?;
        let before = number(&agent.call("cpu").await?, "cpu")?;
        let result = agent.call(&format!("tasks {tasks} 0")).await?;
        used.push((number(&agent.call("cpu").await?, "cpu")? - before) / 1e6 / f64::from(tasks));
        times.push(number(&result, "ns")? / 1e6 / f64::from(tasks));
        bytes.push(number(&result, "bytes")?);
    }
    let subject = format!("{}: {tasks} tasks", peer.label());
    report.add("1,000 tasks", &subject, "ms per task", times);
    report.add("1,000 tasks", &subject, "CPU ms per task", used);
    report.add("1,000 tasks", &subject, "bytes per waiter", bytes);
    Ok(())
}
