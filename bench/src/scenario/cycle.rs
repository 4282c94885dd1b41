//! Cost and time of acquire + release, and of a renewal, against bare calls of the same SDK.
//!
//! The agents take turns in short blocks, so that other load on the machine affects all of them equally. A ratio is
//! the median over the blocks of one round.

use serde_json::Value;

use crate::Outcome;
use crate::bench::{Bench, LEASE};
use crate::peer::{Agent, Peer, number};
use crate::proxy::Link;
use crate::report::Report;
use crate::stats::median;

const CYCLES: u32 = 20;

pub async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    record(bench).await?;
    let peers = [
        Peer::Bare,
        Peer::BareEqual,
        Peer::DynamoLock,
        Peer::Lease,
        Peer::Dlock,
        Peer::Node,
        Peer::NpmDynamoLock,
        Peer::LockClient,
        Peer::Python,
    ];
    let mut sides = Vec::new();
    for peer in peers.into_iter().filter(|peer| bench.has(*peer)) {
        sides.push(Side::start(bench, peer, "cycle", &[]).await?);
    }
    for side in &mut sides {
        side.agent.call("cycle 100").await?;
        let (before, operations) = (side.agent.port.counts(), side.agent.port.operations());
        side.agent.call("cycle 100").await?;
        let counts = side.agent.port.counts() - before;
        report.figure("cycle", side.peer.label(), "writes", counts.writes as f64 / 100.0);
        report.figure("cycle", side.peer.label(), "reads", counts.reads as f64 / 100.0);
        for (operation, count) in side.agent.port.operations() {
            let count = count - operations.get(&operation).unwrap_or(&0);
            report.figure("requests of a cycle", side.peer.label(), &operation, count as f64 / 100.0);
        }
    }
    alternate(bench, &mut sides, "cycle", report).await?;
    ratio(&sides, Peer::Node, Peer::DynamoLock, "cycle", "time / Rust", report);
    Ok(())
}

/// Measures the CPU time of a renewal.
pub async fn renewal(bench: &Bench, report: &mut Report) -> Outcome<()> {
    record(bench).await?;
    let mut sides = Vec::new();
    for peer in [Peer::Bare, Peer::BareEqual, Peer::DynamoLock] {
        let mut side = Side::start(bench, peer, "renewal", &["heartbeat=6000".into()]).await?;
        side.agent.call("renew 100").await?;
        sides.push(side);
    }
    alternate(bench, &mut sides, "renew", report).await
}

/// One agent with its times of each block, grouped by round.
struct Side {
    peer: Peer,
    agent: Agent,
    time: Vec<Vec<f64>>,
    cpu: Vec<Vec<f64>>,
}

impl Side {
    async fn start(bench: &Bench, peer: Peer, lock: &str, extra: &[String]) -> Outcome<Side> {
        let agent = Agent::start(bench, peer, lock, LEASE, Link::default(), extra).await?;
        Ok(Side { peer, agent, time: Vec::new(), cpu: Vec::new() })
    }
}

/// Lets the agents take turns, and adds times and ratios.
async fn alternate(bench: &Bench, sides: &mut [Side], command: &str, report: &mut Report) -> Outcome<()> {
    let blocks = bench.options.choose(5, 25, 100);
    for _ in 0..bench.options.rounds {
        sides.iter_mut().for_each(|side| {
            side.time.push(Vec::new());
            side.cpu.push(Vec::new());
        });
        for _ in 0..blocks {
            for side in sides.iter_mut() {
                let result = side.agent.call(&format!("{command} {CYCLES}")).await?;
                side.time.last_mut().into_iter().try_for_each(|round| add(round, &result, "ns"))?;
                side.cpu.last_mut().into_iter().try_for_each(|round| add(round, &result, "cpu"))?;
            }
        }
    }
    let scenario = if command == "renew" { "renewal" } else { command };
    for side in &*sides {
        let medians = |rounds: &[Vec<f64>]| rounds.iter().map(|round| median(round)).collect::<Vec<_>>();
        report.add(scenario, side.peer.label(), "ms", medians(&side.time));
        report.add(scenario, side.peer.label(), "CPU ms", medians(&side.cpu));
    }
    for side in &*sides {
        for (floor, name) in [(Peer::Bare, "minimal"), (Peer::BareEqual, "same bytes")] {
            ratio(sides, side.peer, floor, scenario, &format!("time / {name}"), report);
            ratio(sides, side.peer, floor, scenario, &format!("CPU / {name}"), report);
        }
    }
    Ok(())
}

fn add(round: &mut Vec<f64>, result: &Value, key: &str) -> Outcome<()> {
    round.push(number(result, key)? / f64::from(CYCLES) / 1e6);
    Ok(())
}

/// Adds the ratio of `peer` to `floor` in each round.
fn ratio(sides: &[Side], peer: Peer, floor: Peer, scenario: &str, measure: &str, report: &mut Report) {
    let find = |peer| sides.iter().find(|side| side.peer == peer);
    let (Some(side), Some(floor)) = (find(peer), find(floor)) else { return };
    let (above, below) = match measure.starts_with("CPU") {
        true => (&side.cpu, &floor.cpu),
        false => (&side.time, &floor.time),
    };
    let blocks = |(above, below): (&Vec<f64>, &Vec<f64>)| {
        median(&above.iter().zip(below).map(|(above, below)| above / below).collect::<Vec<_>>())
    };
    report.add(scenario, peer.label(), measure, above.iter().zip(below).map(blocks).collect::<Vec<_>>());
}

/// Records an acquisition, a renewal and a release of this library, as the bare calls with the same bytes send them.
async fn record(bench: &Bench) -> Outcome<()> {
    let mut agent = bench.agent(Peer::DynamoLock, "cycle", Link::default()).await?;
    agent.port.record(true, false);
    agent.call("cycle 2").await?;
    agent.call("renew 2").await?;
    agent.call("cycle 1").await?;
    let bodies: Vec<Value> = agent
        .port
        .bodies()
        .iter()
        .filter(|(operation, _)| operation == "UpdateItem")
        .map(|(_, body)| serde_json::from_slice(body))
        .collect::<Result<_, _>>()?;
    let [_, _, _, _, acquire, _, renew, release, ..] = &bodies[..] else {
        return Err("an acquisition, a renewal and a release are expected".into());
    };
    let text = serde_json::to_vec_pretty(&[acquire, renew, release])?;
    Ok(std::fs::write(bench.scratch.path().join("recorded.json"), text)?)
}
