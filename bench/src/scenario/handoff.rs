//! Handoffs between processes: from the moment a release takes effect to the answer that the next holder receives.
//!
//! A world has N waiters and a holder, each a process of its own. A process that has released asks again 1 ms after
//! the next one has acquired, so that always N wait. The driver draws the holds. Several worlds may have the same library,
//! distribution and N, so that a short run shows many handoffs. Their figures are added up.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use crate::bench::{Bench, LEASE, network};
use crate::peer::{Agent, Peer, number};
use crate::proxy::Counts;
use crate::report::Report;
use crate::stats::{Holds, Sequence, mean, quantile};
use crate::{Outcome, clock};

/// Handoffs of this library at the start of a world that are not counted, because there is no history of holds yet.
const DISCARDED: usize = 4;
/// The same with 20 waiters, which know how many they are once each has seen about that number of handoffs.
const DISCARDED_BY_CROWD: usize = 24;

pub async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    report.figure("handoff", "round trip", "ms", bench.round_trip(network()).await?);
    let all = &Holds::ALL[..];
    let few = &[Holds::Uniform, Holds::Exponential][..];
    // This library first, and alone, because the load of the others would disturb it.
    let own = &[Peer::DynamoLock][..];
    // With one or two waiters the latencies are spread most, so that their median needs most handoffs.
    batch(bench, report, own, &[1, 2], all, bench.options.choose(1, 3, 3)).await?;
    batch(bench, report, own, &[20], all, 1).await?;
    let others = &[Peer::Lease, Peer::LeaseTuned, Peer::Dlock, Peer::LockClient, Peer::Python][..];
    batch(bench, report, others, &[2], bench.options.choose(few, all, all), 1).await?;
    if !bench.options.quick {
        for peer in others {
            // One library at a time, because 20 waiters of some of them send hundreds of requests a second.
            let holds = bench.options.choose(few, &few[..1], all);
            batch(bench, report, &[*peer], &[20], holds, 1).await?;
        }
    }
    Ok(())
}

/// Runs the worlds of several libraries and distributions at the same time.
async fn batch(
    bench: &Bench,
    report: &mut Report,
    peers: &[Peer],
    waiters: &[usize],
    holds: &[Holds],
    copies: u64,
) -> Outcome<()> {
    let seconds = match (peers, waiters) {
        ([Peer::DynamoLock], [20]) => 130,
        // About 120 handoffs with long holds.
        ([Peer::DynamoLock], _) => 160,
        (_, [20]) => 30,
        _ => 65,
    };
    let time = Duration::from_secs(bench.options.choose(12, seconds, 240));
    let mut worlds = Vec::new();
    for peer in peers.iter().copied().filter(|peer| bench.has(*peer)) {
        for waiters in waiters {
            for holds in holds {
                // Short holds show enough handoffs, and would be most of the load.
                for copy in 0..if *holds == Holds::Short { 1 } else { copies } {
                    worlds.push(World::start(bench, peer, *waiters, *holds, copy).await?);
                }
            }
        }
    }
    for agent in worlds.iter_mut().flat_map(|world| &mut world.agents) {
        agent.read().await?; // it is ready
    }
    let mut running = tokio::task::JoinSet::new();
    for world in worlds {
        running.spawn(world.run(time));
    }
    let mut results: Vec<Shown> = Vec::new();
    while let Some(done) = running.join_next().await {
        let shown = done??;
        match results.iter_mut().find(|other| other.is_copy_of(&shown)) {
            Some(other) => other.add_copy(shown),
            None => results.push(shown),
        }
    }
    let order = |peer: Peer| peers.iter().position(|other| *other == peer);
    let place = |holds: Holds| Holds::ALL.iter().position(|other| *other == holds);
    results.sort_by_key(|result| (result.waiters, place(result.holds), order(result.peer)));
    results.iter().for_each(|result| result.add(report));
    Ok(())
}

struct World {
    peer: Peer,
    holds: Holds,
    copy: u64,
    agents: Vec<Agent>,
}

/// What a world has shown.
struct Shown {
    peer: Peer,
    waiters: usize,
    holds: Holds,
    /// Milliseconds from release to acquisition.
    latencies: Vec<f64>,
    waited: Duration,
    counts: Counts,
}

impl World {
    async fn start(bench: &Bench, peer: Peer, waiters: usize, holds: Holds, copy: u64) -> Outcome<World> {
        let lock = format!("handoff {peer:?} {waiters} {} {copy}", holds.name());
        let mut agents = Vec::new();
        for _ in 0..=waiters {
            agents.push(Agent::launch(bench, peer, &lock, LEASE, network(), &[]).await?);
        }
        Ok(World { peer, holds, copy, agents })
    }

    async fn run(self, time: Duration) -> Outcome<Shown> {
        let (peer, holds, waiters) = (self.peer, self.holds, self.agents.len() - 1);
        let (ports, mut asks, mut events) = split(self.agents);
        let discarded = match (peer, waiters) {
            (Peer::DynamoLock, 20) => DISCARDED_BY_CROWD,
            (Peer::DynamoLock, _) => DISCARDED,
            _ => 1,
        };
        let mut sequence = Sequence::new(holds, 1 + self.copy);
        let mut shown =
            Shown { peer, waiters, holds, latencies: vec![], waited: Duration::ZERO, counts: Counts::default() };
        for ask in &mut asks {
            ask.send(sequence.next().unwrap_or(0.0))?;
        }
        let count = || ports.iter().map(|port| port.counts()).sum::<Counts>();
        let (mut handoffs, mut before, mut started) = (0, count(), clock::now());
        let (mut effect, mut acquired, mut resting, mut first) = (None, None, None, true);
        let deadline = tokio::time::Instant::now() + time;
        while let Ok(Some(event)) = tokio::time::timeout_at(deadline, events.recv()).await {
            let (index, event) = event?;
            if let Ok(at) = number(&event, "acquired") {
                // The first holder takes over from none.
                acquired = (!std::mem::take(&mut first)).then_some(at);
            } else if event.get("released").is_some() {
                effect = Some(ports[index].wrote() as f64);
                resting = Some(index);
            }
            // The next holder may report before the previous one, which still waits for its answer.
            if let (Some(at), Some(from), Some(index)) = (acquired, effect, resting) {
                (acquired, effect, resting) = (None, None, None);
                handoffs += 1;
                if handoffs > discarded {
                    shown.latencies.push((at - from).max(0.0) / 1e6);
                    // Up to the last handoff, so that each one counts with the wait before it.
                    shown.counts = count() - before;
                    shown.waited = Duration::from_nanos(clock::now() - started) * waiters as u32;
                } else {
                    (before, started) = (count(), clock::now());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                asks[index].send(sequence.next().unwrap_or(0.0))?;
            }
        }
        Ok(shown)
    }
}

/// Sends an agent the command to acquire, hold and release.
struct Ask(mpsc::UnboundedSender<f64>);

impl Ask {
    fn send(&mut self, hold: f64) -> Outcome<()> {
        Ok(self.0.send(hold)?)
    }
}

type Events = mpsc::UnboundedReceiver<Outcome<(usize, Value)>>;

/// Starts a task for each agent, which sends its commands and passes its events on.
fn split(agents: Vec<Agent>) -> (Vec<std::sync::Arc<crate::proxy::Port>>, Vec<Ask>, Events) {
    let (sender, events) = mpsc::unbounded_channel();
    let (mut ports, mut asks) = (Vec::new(), Vec::new());
    for (index, mut agent) in agents.into_iter().enumerate() {
        let (ask, mut asked) = mpsc::unbounded_channel::<f64>();
        ports.push(agent.port.clone());
        asks.push(Ask(ask));
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Some(hold) = asked.recv().await {
                let sent = agent.send(&format!("hold {hold}")).await;
                let mut failed = sent.is_err();
                while !failed {
                    let event = agent.read().await.map(|event| (index, event));
                    failed = event.is_err();
                    let released = event.as_ref().is_ok_and(|(_, event)| event.get("released").is_some());
                    // The world has ended if this fails.
                    failed |= sender.send(event).is_err();
                    if released {
                        break;
                    }
                }
                if failed {
                    break;
                }
            }
        });
    }
    (ports, asks, events)
}

impl Shown {
    fn is_copy_of(&self, other: &Shown) -> bool {
        (self.peer, self.waiters, self.holds) == (other.peer, other.waiters, other.holds)
    }

    fn add_copy(&mut self, copy: Shown) {
        self.latencies.extend(copy.latencies);
        self.waited += copy.waited;
        self.counts = [self.counts, copy.counts].into_iter().sum();
    }

    fn add(&self, report: &mut Report) {
        let plural = if self.waiters == 1 { "" } else { "s" };
        let scenario = format!("handoff, {} waiter{plural}, {} holds", self.waiters, self.holds.name());
        let label = self.peer.label();
        let waited = self.waited.as_secs_f64();
        if self.latencies.is_empty() {
            report.notes.push(format!("{scenario}: {label} had no handoff that counts"));
            return;
        }
        let handoffs = self.latencies.len() as f64;
        report.add(&scenario, label, "release to acquired, ms", &self.latencies[..]);
        report.figure(&scenario, label, "mean, ms", mean(&self.latencies));
        report.figure(&scenario, label, "p99, ms", quantile(&self.latencies, 0.99));
        report.figure(&scenario, label, "reads per waiter-second", self.counts.reads as f64 / waited);
        report.figure(&scenario, label, "failed writes per handoff", self.counts.failed as f64 / handoffs);
        // An eventually consistent read costs half a read unit, and a write as much as five read units.
        let units = 0.5 * self.counts.reads as f64 + 0.5 * self.counts.strong as f64 + 5.0 * self.counts.failed as f64;
        report.figure(&scenario, label, "read units per waiter-second", units / waited);
        report.figure(&scenario, label, "handoffs", handoffs);
    }
}
