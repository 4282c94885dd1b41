//! The benchmark: compares dynamo-lock with other lock libraries, side by side. `cargo xtask bench` builds and runs it.
#![allow(clippy::disallowed_methods)] // it measures real time

mod agent;
mod bench;
mod bounds;
mod chart;
mod clock;
mod memory;
mod page;
mod peer;
mod process_tree;
mod proxy;
mod report;
mod scenario;
mod server;
mod stats;

use std::path::{Path, PathBuf};

use bench::{Bench, Options, Paths};
use report::Report;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Error of anything in the benchmark; it ends the run.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// Result of anything in the benchmark.
pub type Outcome<T> = Result<T, Failure>;

const USAGE: &str = "\
usage: cargo xtask bench [OPTIONS]

  --scenario NAME     run only this scenario; can be repeated
  --rounds N          rounds of the scenarios that repeat short blocks (default 5)
  --quick             shorter and fewer rounds, to try it out
  --full              longer runs, with every distribution for every library (about an hour)
  --out DIR           write report.md, report.json and the charts there (default target/bench)
  --charts DIR        write the charts there instead, for example docs/performance
  --page FILE         replace the tables in this document, for example docs/performance.md
  --baseline-cli PATH compare `run` with this older binary too
  --render FILE       draw tables and charts from a report.json of an earlier run, and run nothing";

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some("server") => server::run(),
        Some("agent") if arguments.len() > 1 => agent::run(&arguments[1], &arguments[2..]),
        Some("stamp") => {
            scenario::stamp(arguments.get(1).and_then(|millis| millis.parse().ok()).unwrap_or(0));
            Ok(())
        }
        Some("-h" | "--help") => {
            println!("{USAGE}\n\nscenarios: {}", scenario::NAMES.join(", "));
            Ok(())
        }
        _ => drive(&arguments),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// A parsed command line.
struct Arguments {
    options: Options,
    scenarios: Vec<String>,
    out: PathBuf,
    charts: Option<PathBuf>,
    page: Option<PathBuf>,
    render: Option<PathBuf>,
    baseline_cli: Option<PathBuf>,
}

impl Arguments {
    fn parse(arguments: &[String]) -> Outcome<Arguments> {
        let out = variable("BENCH_OUT").unwrap_or_else(|| "target/bench".into());
        let options = Options { rounds: 5, quick: false, full: false };
        let mut parsed = Arguments {
            options,
            scenarios: Vec::new(),
            out,
            charts: None,
            page: None,
            render: None,
            baseline_cli: None,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or_else(|| format!("{argument} needs a value\n\n{USAGE}"));
            match argument.as_str() {
                "--quick" => parsed.options.quick = true,
                "--full" => parsed.options.full = true,
                "--rounds" => parsed.options.rounds = value()?.parse::<usize>()?.max(1),
                "--scenario" => parsed.scenarios.push(value()?.clone()),
                "--out" => parsed.out = value()?.into(),
                "--charts" => parsed.charts = Some(value()?.into()),
                "--page" => parsed.page = Some(value()?.into()),
                "--render" => parsed.render = Some(value()?.into()),
                "--baseline-cli" => parsed.baseline_cli = Some(value()?.into()),
                _ => return Err(format!("cannot understand `{argument}`\n\n{USAGE}").into()),
            }
        }
        if parsed.options.quick {
            parsed.options.rounds = parsed.options.rounds.min(2);
        }
        if let Some(unknown) = parsed.scenarios.iter().find(|name| !scenario::NAMES.contains(&name.as_str())) {
            return Err(format!("there is no scenario {unknown}; there are {}", scenario::NAMES.join(", ")).into());
        }
        if parsed.scenarios.is_empty() {
            parsed.scenarios = scenario::NAMES.map(str::to_owned).to_vec();
        }
        Ok(parsed)
    }
}

/// Runs the scenarios, or reads an earlier report, and writes tables and charts.
fn drive(arguments: &[String]) -> Outcome<()> {
    let arguments = Arguments::parse(arguments)?;
    let report = match &arguments.render {
        Some(path) => Report::parse(&serde_json::from_slice(&std::fs::read(path)?)?),
        None => measure(&arguments)?,
    };
    write(&report, &arguments.out, arguments.charts.as_ref().unwrap_or(&arguments.out))?;
    match &arguments.page {
        Some(path) => fill(&report, path),
        None => Ok(()),
    }
}

#[tokio::main]
async fn measure(arguments: &Arguments) -> Outcome<Report> {
    let paths = Paths {
        cli: variable("BENCH_CLI"),
        baseline_cli: arguments.baseline_cli.clone(),
        node_package: variable("BENCH_NODE_PACKAGE"),
        npm: variable("BENCH_NPM"),
        pypi: variable("BENCH_PYPI"),
        python: variable("BENCH_PYTHON"),
        agents: variable("BENCH_AGENTS"),
    };
    let bench = Bench::start(paths, arguments.options.clone()).await?;
    let mut report = Report::default();
    for name in &arguments.scenarios {
        if let Err(error) = scenario::run(name, &bench, &mut report).await {
            eprintln!("{name}: {error}");
            report.notes.push(format!("{name} ended early: {error}"));
        }
    }
    Ok(report)
}

/// Replaces the tables in the document at `path`.
fn fill(report: &Report, path: &Path) -> Outcome<()> {
    let mut page = std::fs::read_to_string(path)?;
    let texts = [
        ("summary", page::summary(report)),
        ("tables", report.tables()),
        ("bounds", list(&bounds::lines(report))),
        ("notes", list(&report.notes)),
    ];
    for (name, text) in texts {
        page = page::fill(&page, name, &text)?;
    }
    Ok(std::fs::write(path, page)?)
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("- {line}\n")).collect()
}

fn write(report: &Report, out: &Path, charts: &Path) -> Outcome<()> {
    std::fs::create_dir_all(out)?;
    std::fs::create_dir_all(charts)?;
    let bounds = bounds::lines(report);
    let mut text = report.tables() + "### Bounds\n\n" + &list(&bounds);
    if !report.notes.is_empty() {
        text += &format!("\n### Notes\n\n{}", list(&report.notes));
    }
    println!("{text}");
    std::fs::write(out.join("report.md"), text)?;
    std::fs::write(out.join("report.json"), format!("{:#}\n", report.json()))?;
    for (name, chart) in [("cycle.svg", chart::cycle(report)), ("handoff.svg", chart::handoff(report))] {
        if let Some(chart) = chart {
            std::fs::write(charts.join(name), chart)?;
        }
    }
    println!("written to {}", out.display());
    Ok(())
}

/// Returns the path in an environment variable that `cargo xtask bench` sets.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
