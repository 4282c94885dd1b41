//! Takeover of the lock of a process that was killed, by a waiter that watches and by one that arrives later.

use std::time::Duration;

use crate::bench::{Bench, network};
use crate::peer::{Agent, Peer, number};
use crate::report::Report;
use crate::{Failure, Outcome, clock};

const LEASE: Duration = Duration::from_secs(10);
/// From the end of the lease to the arrival of the newcomer.
const LATER: Duration = Duration::from_secs(30);
const PEERS: [Peer; 8] = [
    Peer::DynamoLock,
    Peer::DynamoLockClock,
    Peer::Lease,
    Peer::Dlock,
    Peer::NpmDynamoLock,
    Peer::LockClient,
    Peer::LockClientTrust,
    Peer::Python,
];

pub async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let rounds = bench.options.choose(1, 3, 5);
    let mut pairs = Vec::new();
    for peer in PEERS.into_iter().filter(|peer| bench.has(*peer)) {
        for round in 0..rounds {
            let name = |kind: &str| format!("takeover {peer:?} {round} {kind}");
            let (watched, later) = (name("watched"), name("later"));
            let start = async |lock: &str| Agent::launch(bench, peer, lock, LEASE, network(), &[]).await;
            let watching = [start(&watched).await?, start(&watched).await?];
            let newcoming = [start(&later).await?, start(&later).await?];
            // The holders are killed at different times since their last heartbeat.
            let phase = Duration::from_millis(5_500 + 2_500 * round as u64 / rounds as u64);
            pairs.push((peer, "watching", phase, watching));
            pairs.push((peer, "newcomer", phase, newcoming));
        }
    }
    for agent in pairs.iter_mut().flat_map(|(_, _, _, agents)| agents) {
        agent.read().await?; // it is ready
    }
    let mut running = tokio::task::JoinSet::new();
    for (peer, kind, phase, agents) in pairs {
        running.spawn(async move {
            let figures = match kind {
                "watching" => watch(agents, phase).await?,
                _ => newcomer(agents, phase).await?,
            };
            Ok::<_, Failure>((peer, kind, figures))
        });
    }
    let mut results = Vec::new();
    while let Some(done) = running.join_next().await {
        results.push(done??);
    }
    for peer in PEERS {
        let of = |kind: &str, part: fn(&[f64; 3]) -> f64| {
            let found = results.iter().filter(|(other, other_kind, _)| *other == peer && *other_kind == kind);
            found.map(|(_, _, figures)| part(figures)).collect::<Vec<_>>()
        };
        report.add("takeover", peer.label(), "kill to acquired by a waiter, s", of("watching", |figures| figures[0]));
        report.add("takeover", peer.label(), "newcomer 30 s after the lease, s", of("newcomer", |figures| figures[0]));
        report.add("takeover", peer.label(), "its reads", of("newcomer", |figures| figures[1]));
        report.add("takeover", peer.label(), "its writes", of("newcomer", |figures| figures[2]));
    }
    Ok(())
}

/// Returns seconds, reads and writes of the acquisition by a waiter that was there before the kill.
async fn watch([mut holder, mut waiter]: [Agent; 2], phase: Duration) -> Outcome<[f64; 3]> {
    holder.call("hold 600000").await?;
    waiter.send("hold 0").await?;
    tokio::time::sleep(phase).await;
    holder.kill().await?;
    acquired(&mut waiter).await
}

async fn newcomer([mut holder, mut newcomer]: [Agent; 2], phase: Duration) -> Outcome<[f64; 3]> {
    holder.call("hold 600000").await?;
    tokio::time::sleep(phase).await;
    holder.kill().await?;
    tokio::time::sleep(LEASE + LATER).await;
    newcomer.send("hold 0").await?;
    acquired(&mut newcomer).await
}

async fn acquired(agent: &mut Agent) -> Outcome<[f64; 3]> {
    let (from, before) = (clock::now(), agent.port.counts());
    let acquired = number(&agent.read().await?, "acquired")?;
    let counts = agent.port.counts() - before;
    Ok([(acquired - from as f64) / 1e9, counts.reads as f64, counts.writes as f64])
}
