//! Development commands: `cargo xtask test`, `check`, `api`, `sim`, `bench`, `book`, `recording`, `node`, `release`,
//! `ministack`.
//!
//! Uses only the standard library, because every other command waits for this crate to compile.

mod api;
mod aws_tools;
mod bench;
mod blocks;
mod book;
mod browser;
mod checks;
mod inventory;
mod language;
mod links;
mod markdown;
mod ministack;
mod node;
mod npm;
mod recording;
mod release;
mod sh;
mod sim;
mod tally;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--endpoint URL] [FILTER]   run the checks and all tests, with a DynamoDB server; the last line is the sum
  check [FILTER]                   run the checks alone
  api [--check] [TOOLCHAIN]        write or compare the lists of the public API, with a nightly toolchain
  sim [--from N] [--seeds M]       run random worlds with the real client; --seed N --trace prints one
  sim shrink SEED [--mutant M]     reduce a failing world to a smaller one that breaks the same promise
  sim explore [--all | CONFIG]     search small configurations exhaustively
  sim sets [--mutant NAME]         search all orders of events of several locks that are acquired together
  sim once [--seeds N]             play random histories of work that runs once
  sim handoff [--quick]            measure how quickly waiters notice a release, and check the bounds on their reads
  sim threads [--minutes N]        run the real client on real threads and clocks
  sim mutants [NAME...]            insert faults on purpose and report which check notices them
  sim mutants --generated [ARGS]   the same with the mutants that cargo-mutants generates from the product's code
  bench [OPTIONS]                  compare speed and cost with other lock libraries; --help lists the options
  book                             build the book of docs/ with mdBook, which is installed once
  recording                        run two terminals and draw them as the picture of the README
  node [--release]                 build the addon, so that require('./bindings/node') works
  node-bench                       compare the cost of acquire and release in JavaScript and in Rust
  release [--quick | --source]     build every artefact of a release and use each once, see docs/releasing.md
  ministack                        run a DynamoDB server for manual work; ctrl-C ends it

  --endpoint URL   run the tests against this DynamoDB (http or https) instead of starting ministack
  FILTER           run only checks and tests whose name contains it";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["test"] => test::run(None, None),
        ["test", filter] if !filter.starts_with('-') => test::run(None, Some(filter)),
        ["test", "--endpoint", url] if url.starts_with("http") => test::run(Some(url), None),
        ["test", "--endpoint", url, filter] | ["test", filter, "--endpoint", url] if url.starts_with("http") => {
            test::run(Some(url), Some(filter))
        }
        ["check"] => checks::run(None),
        ["check", filter] if !filter.starts_with('-') => checks::run(Some(filter)),
        ["api"] => api::run(false, "nightly"),
        ["api", "--check"] => api::run(true, "nightly"),
        ["api", "--check", toolchain] => api::run(true, toolchain),
        ["api", toolchain] => api::run(false, toolchain),
        ["sim", ref rest @ ..] => sim::run(rest),
        ["bench", ref rest @ ..] => bench::run(rest),
        ["book"] => book::build(),
        ["recording"] => recording::write(),
        ["node"] => node::build(false),
        ["node", "--release"] => node::build(true),
        ["node-bench"] => node::bench(),
        ["release", "--source"] => release::source::prepare().map(|()| true),
        ["release"] => release::run(false),
        ["release", "--quick"] => release::run(true),
        ["ministack"] => ministack::run_until_interrupted(),
        [] | ["-h" | "--help" | "help", ..] => {
            println!("{USAGE}");
            Ok(true)
        }
        _ => {
            eprintln!("xtask: cannot understand `{}`\n\n{USAGE}", args.join(" "));
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
