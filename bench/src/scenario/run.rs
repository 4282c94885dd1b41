//! `dynamo-lock run L -- true` on the embedded store against `flock FILE true`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Outcome;
use crate::bench::Bench;
use crate::report::Report;
use crate::stats::median;

pub fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    let Some(cli) = &bench.paths.cli else {
        report.notes.push("run: the command line is not built".into());
        return Ok(());
    };
    for (place, directory) in bench.places() {
        let mut sides = vec![Side::flock(directory), Side::run(directory, "dynamo-lock run -- true", cli)];
        if let Some(baseline) = &bench.paths.baseline_cli {
            sides.push(Side::run(directory, "older dynamo-lock run -- true", baseline));
        }
        let blocks = bench.options.choose(10, 30, 100);
        for _ in 0..bench.options.rounds {
            sides.iter_mut().for_each(|side| side.times.push(Vec::new()));
            for _ in 0..blocks {
                sides.iter_mut().try_for_each(Side::once)?;
            }
        }
        let scenario = format!("run, file {place}");
        for side in &sides {
            report.add(&scenario, side.name, "ms", side.times.iter().map(|round| median(round)).collect::<Vec<_>>());
            let ratios = side.times.iter().zip(&sides[0].times).map(|(round, flock)| {
                median(&round.iter().zip(flock).map(|(run, flock)| run / flock).collect::<Vec<_>>())
            });
            report.add(&scenario, side.name, "time / flock", ratios.collect::<Vec<_>>());
        }
    }
    Ok(())
}

struct Side {
    name: &'static str,
    command: Command,
    times: Vec<Vec<f64>>,
}

impl Side {
    fn flock(directory: &Path) -> Side {
        let mut command = Command::new("flock");
        command.arg(directory.join("flock")).arg("true").stdin(Stdio::null());
        Side { name: "flock FILE true", command, times: Vec::new() }
    }

    fn run(directory: &Path, name: &'static str, cli: &Path) -> Side {
        let mut command = Command::new(cli);
        let store = format!("sqlite://{}", directory.join(format!("{}.db", &name[..5])).display());
        command.args(["run", "--store", &store, "true", "--", "true"]).stdin(Stdio::null());
        Side { name, command, times: Vec::new() }
    }

    fn once(&mut self) -> Outcome<()> {
        let start = Instant::now();
        let status = self.command.status()?;
        if !status.success() {
            return Err(format!("{} ended with {status}", self.name).into());
        }
        self.times.last_mut().into_iter().for_each(|round| round.push(start.elapsed().as_secs_f64() * 1e3));
        Ok(())
    }
}
