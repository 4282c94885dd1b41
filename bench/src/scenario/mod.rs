//! The scenarios. Each one adds its samples to the report.

mod cycle;
mod embedded;
mod fairness;
mod handoff;
mod held;
mod run;
mod takeover;
mod tasks;
mod throttle;

pub use embedded::stamp;

use std::time::Instant;

use crate::Outcome;
use crate::bench::Bench;
use crate::report::Report;

/// Names of the scenarios, in the order in which they run.
pub const NAMES: [&str; 10] =
    ["cycle", "renewal", "tasks", "fairness", "held", "throttle", "handoff", "takeover", "run", "embedded"];

/// Runs the scenario `name`.
pub async fn run(name: &str, bench: &Bench, report: &mut Report) -> Outcome<()> {
    let start = Instant::now();
    match name {
        "cycle" => cycle::run(bench, report).await?,
        "renewal" => cycle::renewal(bench, report).await?,
        "tasks" => tasks::run(bench, report).await?,
        "fairness" => fairness::run(bench, report).await?,
        "held" => held::run(bench, report).await?,
        "throttle" => throttle::run(bench, report).await?,
        "handoff" => handoff::run(bench, report).await?,
        "takeover" => takeover::run(bench, report).await?,
        "run" => run::run(bench, report)?,
        "embedded" => embedded::run(bench, report).await?,
        _ => return Err(format!("there is no scenario {name}; there are {}", NAMES.join(", ")).into()),
    }
    eprintln!("{name}: {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
