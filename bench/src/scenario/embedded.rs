//! The embedded store: throughput of 1, 2 and 8 processes, and handoffs between `run`s against those of `flock`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::bench::Bench;
use crate::peer::Agent;
use crate::report::Report;
use crate::{Outcome, clock, process_tree};

pub async fn run(bench: &Bench, report: &mut Report) -> Outcome<()> {
    for (place, directory) in bench.places() {
        for processes in [1, 2, 8] {
            throughput(bench, report, place, directory, processes).await?;
        }
    }
    let Some(cli) = &bench.paths.cli else {
        report.notes.push("embedded: the command line is not built".into());
        return Ok(());
    };
    let rounds = bench.options.rounds;
    for (place, directory) in bench.places() {
        let scenario = format!("embedded handoff, file {place}");
        let programs = [Program { cli: None, directory }, Program { cli: Some(cli), directory }];
        // The programs take turns, so that other load on the machine affects both equally.
        let mut alternate = |waiters: usize, count: usize, word: &str| -> Outcome<()> {
            let mut times = programs.map(|_| Vec::new());
            for round in 0..count {
                for (program, times) in programs.into_iter().zip(&mut times) {
                    times.extend(handoffs(program, waiters, &format!("{waiters} {round}"))?);
                }
            }
            for (program, times) in programs.into_iter().zip(times) {
                report.add(&scenario, &format!("{}, {waiters} {word}", program.label()), "ms", times);
            }
            Ok(())
        };
        alternate(1, rounds * bench.options.choose(1, 3, 6), "waiter")?;
        alternate(20, bench.options.choose(1, 3, rounds), "waiters")?;
        let kills = rounds * bench.options.choose(1, 2, 4);
        let killed: Outcome<Vec<f64>> = (0..kills).map(|kill| kill_holder(programs[1], kill)).collect();
        report.add(&scenario, "dynamo-lock run after kill -9", "ms", killed?);
    }
    waiters(bench, report, Program { cli: Some(cli), directory: bench.scratch.path() })
}

/// Processes that ask for one lock without a pause.
async fn throughput(
    bench: &Bench,
    report: &mut Report,
    place: &str,
    directory: &Path,
    processes: usize,
) -> Outcome<()> {
    let file = directory.join(format!("throughput {processes}.db")).display().to_string();
    let mut agents = Vec::new();
    for _ in 0..processes {
        agents.push(Agent::embedded(bench, &file, "throughput").await?);
    }
    let (mut rates, mut waits) = (Vec::new(), Vec::new());
    for _ in 0..bench.options.rounds {
        for agent in &mut agents {
            agent.send("ask 1 1 0").await?;
        }
        let mut count = 0;
        let mut longest = 0.0;
        for agent in &mut agents {
            let result = agent.read().await?;
            let acquired = result["acquired"].as_array().into_iter().flatten();
            let waited = acquired.filter_map(|entry| entry[1].as_f64());
            longest = waited.inspect(|_| count += 1).fold(longest, f64::max);
        }
        rates.push(f64::from(count));
        waits.push(longest / 1e6);
    }
    let plural = if processes == 1 { "" } else { "es" };
    let subject = format!("{processes} process{plural}, file {place}");
    report.add("embedded store", &subject, "acquisitions per second", rates);
    report.add("embedded store", &subject, "longest wait, ms", waits);
    Ok(())
}

/// A program that runs commands under a lock: the command line, or `flock`.
#[derive(Clone, Copy)]
struct Program<'a> {
    cli: Option<&'a Path>,
    directory: &'a Path,
}

impl Program<'_> {
    fn label(self) -> &'static str {
        if self.cli.is_some() { "dynamo-lock run" } else { "flock" }
    }

    /// Starts `bench stamp MS` under the lock `lock`.
    fn start(self, lock: &str, hold: Duration) -> Outcome<Running> {
        let path = self.directory.join(format!("{lock} {}", self.label()));
        let mut command = match self.cli {
            Some(cli) => {
                let mut command = Command::new(cli);
                command.args(["run", "--quiet", "--store", &format!("sqlite://{}.db", path.display()), lock, "--"]);
                command
            }
            None => {
                let mut command = Command::new("flock");
                command.arg(path);
                command
            }
        };
        command.arg(std::env::current_exe()?).args(["stamp", &hold.as_millis().to_string()]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        Ok(Running { child, stdout: BufReader::new(stdout) })
    }
}

/// A program under a lock. Dropping it kills all its processes.
struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Waits for the next time that the command prints, in nanoseconds.
    fn stamp(&mut self) -> Outcome<f64> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        let value: Value = serde_json::from_str(&line).map_err(|error| format!("{error}: {line:?}"))?;
        value.as_f64().ok_or_else(|| "a command printed no time".into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            process_tree::kill_all(&process_tree::all(self.child.id()));
        }
        let _ = self.child.wait();
    }
}

/// Prints the time, sleeps, and prints the time again: the command that runs under a lock.
pub fn stamp(millis: u64) {
    println!("{}", clock::now());
    std::thread::sleep(Duration::from_millis(millis));
    println!("{}", clock::now());
}

/// Returns the milliseconds from the end of each command to the start of the next one.
fn handoffs(program: Program<'_>, waiters: usize, lock: &str) -> Outcome<Vec<f64>> {
    let mut holder = program.start(lock, Duration::from_millis(if waiters > 1 { 1_500 } else { 400 }))?;
    let mut times = vec![(holder.stamp()?, 0.0)];
    let mut running = Vec::new();
    for _ in 0..waiters {
        running.push(program.start(lock, Duration::from_millis(20))?);
    }
    times[0].1 = holder.stamp()?;
    for waiter in &mut running {
        times.push((waiter.stamp()?, waiter.stamp()?));
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(times.windows(2).map(|pair| (pair[1].0 - pair[0].1) / 1e6).collect())
}

/// Returns the milliseconds from the kill of the holder and its processes to the start of the next command.
fn kill_holder(program: Program<'_>, round: usize) -> Outcome<f64> {
    let lock = format!("kill {round}");
    let mut holder = program.start(&lock, Duration::from_secs(600))?;
    holder.stamp()?;
    let mut waiter = program.start(&lock, Duration::ZERO)?;
    std::thread::sleep(Duration::from_millis(500 + 70 * round as u64));
    let processes = process_tree::all(holder.child.id());
    let from = clock::now();
    process_tree::kill_all(&processes);
    Ok((waiter.stamp()? - from as f64) / 1e6)
}

/// Measures the CPU time of 100 waiters.
fn waiters(bench: &Bench, report: &mut Report, program: Program<'_>) -> Outcome<()> {
    let count = bench.options.choose(20, 100, 100);
    let mut holder = program.start("crowd", Duration::from_secs(600))?;
    holder.stamp()?;
    let waiting: Outcome<Vec<Running>> = (0..count).map(|_| program.start("crowd", Duration::ZERO)).collect();
    let waiting = waiting?;
    std::thread::sleep(Duration::from_secs(bench.options.choose(2, 5, 5)));
    let processes: Vec<u32> = waiting.iter().flat_map(|running| process_tree::all(running.child.id())).collect();
    let used = || processes.iter().map(|pid| process_tree::cpu(*pid)).sum::<f64>();
    let mut samples = Vec::new();
    for _ in 0..bench.options.rounds {
        let (before, from) = (used(), clock::now());
        std::thread::sleep(Duration::from_secs(2));
        samples.push((used() - before) / ((clock::now() - from) as f64 / 1e9) * 100.0);
    }
    report.add("embedded store", &format!("{count} waiters"), "CPU, % of a core", samples);
    process_tree::kill_all(&processes);
    Ok(())
}
