//! What a person or the CI runs, in one place: `cargo xtask test`, `check`, `sim`, `node`, `ministack`.
//!
//! Standard library only: everything waits for this crate to compile.

mod checks;
mod features;
mod leaks;
mod ministack;
mod mutants;
mod node;
mod npm;
mod scan;
mod sh;
mod sim;
mod tally;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--endpoint URL] [FILTER]   everything: the checks, a DynamoDB server, all tests; one summary line at the end
  check [FILTER]                   the checks alone
  sim [--from N] [--seeds M]       random worlds with the real client; --seed N --trace tells one
  sim shrink SEED [--mutant M]     a failing world with less in it that breaks the same promise
  sim mutants [NAME…]              faults put in on purpose, and what notices them
  sim explore [--all | --mutants]  small worlds, breadth first
  node [--release]                 builds the addon of the Node package, so that require('./bindings/node') works
  node-bench                       what acquire and release cost from JavaScript, beside Rust on the same server
  ministack                        a DynamoDB server for working by hand; ends with ctrl-C

  --endpoint URL   run the tests against this DynamoDB instead of starting ministack
  FILTER           only checks and tests whose name contains it";

/// A command line as it was meant.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Test { endpoint: Option<String>, filter: Option<String> },
    Check { filter: Option<String> },
    Sim(Vec<String>),
    Node { release: bool },
    NodeBench,
    Ministack,
    Help,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match parse(&args) {
        Ok(Command::Test { endpoint, filter }) => test::run(endpoint, filter.as_deref()),
        Ok(Command::Check { filter }) => checks::run(filter.as_deref()),
        Ok(Command::Sim(args)) => sim::run(&args),
        Ok(Command::Node { release }) => node::build(release),
        Ok(Command::NodeBench) => node::bench(),
        Ok(Command::Ministack) => ministack::by_hand(),
        Ok(Command::Help) => {
            println!("{USAGE}");
            Ok(true)
        }
        Err(wrong) => {
            eprintln!("xtask: {wrong}\n\n{USAGE}");
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

fn parse(args: &[String]) -> Result<Command, String> {
    let Some((name, rest)) = args.split_first() else { return Ok(Command::Help) };
    if name == "sim" {
        return Ok(Command::Sim(rest.to_vec()));
    }
    let (mut endpoint, mut filter, mut release) = (None, None, false);
    let mut rest = rest.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "-h" | "--help" => return Ok(Command::Help),
            "--endpoint" if name == "test" => {
                endpoint = Some(rest.next().ok_or("--endpoint needs a URL")?.clone());
            }
            "--release" if name == "node" => release = true,
            flag if flag.starts_with('-') => return Err(format!("`{name}` knows no option `{flag}`")),
            _ if filter.is_none() => filter = Some(arg.clone()),
            more => return Err(format!("one filter is enough, `{more}` is a second")),
        }
    }
    if let Some(url) = endpoint.as_deref().filter(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        return Err(format!("--endpoint needs a URL that starts with http:// or https://, not `{url}`"));
    }
    match name.as_str() {
        "test" => Ok(Command::Test { endpoint, filter }),
        "check" => Ok(Command::Check { filter }),
        "node" if filter.is_none() => Ok(Command::Node { release }),
        "node-bench" if filter.is_none() => Ok(Command::NodeBench),
        "node-bench" => Err("`node-bench` takes no filter".into()),
        "node" => Err("`node` takes no filter".into()),
        "ministack" if filter.is_none() => Ok(Command::Ministack),
        "ministack" => Err("`ministack` takes no filter".into()),
        "-h" | "--help" | "help" => Ok(Command::Help),
        other => Err(format!("there is no command `{other}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_test_run_takes_an_endpoint_and_a_filter_in_any_order() {
        let meant = Ok(Command::Test { endpoint: Some("http://localhost:1".into()), filter: Some("waiter".into()) });
        assert_eq!(typed("test --endpoint http://localhost:1 waiter"), meant);
        assert_eq!(typed("test waiter --endpoint http://localhost:1"), meant);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["tset", "test --endpoint", "test --endpoint here", "check --endpoint http://x", "test a b"] {
            assert!(typed(line).is_err(), "{line}");
        }
        assert!(typed("ministack now").is_err() && typed("node now").is_err() && typed("test --release").is_err());
        assert_eq!(typed("node --release"), Ok(Command::Node { release: true }));
    }

    #[test]
    fn nothing_asks_for_help() {
        assert_eq!(typed(""), Ok(Command::Help));
        assert_eq!(typed("test --help"), Ok(Command::Help));
    }
}
