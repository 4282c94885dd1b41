//! Many tasks with a lock each, on a table that admits 1,000 writes a second.

use crate::Outcome;
use crate::bench::Bench;
use crate::peer::{Peer, number};
use crate::proxy::Link;
use crate::report::Report;

pub async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let seconds = bench.options.choose(2, 5, 10);
    let link = Link { writes_per_second: Some(1_000), ..Link::default() };
    for peer in [Peer::DynamoLock, Peer::Lease] {
        let mut agent = bench.agent(peer, "throttled", link).await?;
        let result = agent.call(&format!("spread 64 {seconds}")).await?;
        let elapsed = number(&result, "ns")? / 1e9;
        let counts = agent.port.counts();
        let per_second = |count: f64| count / elapsed;
        report.figure("throttled", peer.label(), "cycles per second", per_second(number(&result, "cycles")?));
        report.figure("throttled", peer.label(), "throttled writes per second", per_second(counts.throttled as f64));
        report.figure("throttled", peer.label(), "errors", number(&result, "errors")?);
    }
    Ok(())
}
