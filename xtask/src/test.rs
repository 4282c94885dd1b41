//! `cargo xtask test`: the checks, a server, all tests, one line at the end.

use crate::ministack::Server;
use crate::tally::{Tally, Verdict};
use crate::{checks, node, npm, sh};
use std::io::BufReader;
use std::process::{Command, Stdio};

/// Where tests look for a DynamoDB over HTTP.
const ENDPOINT: &str = "DYNAMO_LOCK_TEST_ENDPOINT";

/// Where a test looks for the original npm client.
const NPM: &str = "DYNAMO_LOCK_TEST_NPM";

/// What the SDK needs to sign anything at all; a local server takes every key.
const DUMMIES: [(&str, &str); 6] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
    ("AWS_REGION", "us-east-1"),
    // Nobody's own settings, which may name another endpoint.
    ("AWS_CONFIG_FILE", "/dev/null"),
    ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    // Nobody's instance is asked for credentials.
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// Settings of the machine that would change what is tested.
const UNSET: [&str; 6] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "DYNAMO_LOCK_STORE",
];

/// Runs everything; whether all of it passed.
pub fn run(endpoint: Option<String>, filter: Option<&str>) -> Result<bool, String> {
    let mut tally = Tally::default();
    checks::all(filter, &mut tally)?;
    // The worlds over the real stores, for which the rest of the workspace is built with the same features anyway.
    let mut cargo = sh::cargo("test --workspace --features dynamo-lock-sim/stacks --locked --no-fail-fast");
    if let Some(filter) = filter {
        cargo.args(["--", filter]);
    }
    let server = match &endpoint {
        Some(url) => {
            // Somebody's own server, perhaps AWS itself: their credentials and Region count.
            cargo.env(ENDPOINT, url);
            None
        }
        None => there(&mut tally, SERVER, Server::start(), sh::ci()),
    };
    if let Some(server) = &server {
        UNSET.iter().for_each(|name| _ = cargo.env_remove(name));
        cargo.envs(DUMMIES).env(ENDPOINT, server.url());
    }
    if let Some(original) = there(&mut tally, ORIGINAL, npm::ORIGINAL.install(), sh::ci()) {
        cargo.env(NPM, original);
    }
    tests(&mut cargo, &mut tally)?;
    if let Some(packages) = there(&mut tally, PACKAGES, npm::NODE.install(), sh::ci()) {
        let there = there(&mut tally, ADDON, node::place_tested(), true).is_some();
        let url = server.as_ref().map(Server::url).or(endpoint.as_deref());
        if there {
            node::tests(&packages, filter, &environment(server.is_some(), url), &mut tally)?;
        }
    }
    drop(server);
    println!();
    tally.reasons.iter().for_each(|reason| println!("skipped: {reason}"));
    if !tally.good() && tally.failed == 0 {
        println!("nothing ran: does any test match the filter?");
        tally.failed = 1;
    }
    println!("{tally}");
    Ok(tally.good())
}

/// What the tests of the Node package are told.
pub fn environment(is_ours: bool, url: Option<&str>) -> Vec<(&'static str, &str)> {
    let mut environment = if is_ours { DUMMIES.to_vec() } else { Vec::new() };
    environment.extend(url.map(|url| (ENDPOINT, url)));
    environment
}

const SERVER: &str = "a DynamoDB server for the tests over HTTP starts (--endpoint URL takes another)";
const ORIGINAL: &str = "the original npm client for the test that pauses it is installed";

const PACKAGES: &str = "the npm packages that the tests of the Node package drive are installed";
const ADDON: &str = "the addon of the Node package is built";

/// Counts something that tests need as a check. Without it they do not run: that is a failure in the CI, where nobody
/// reads what was left out.
fn there<T>(tally: &mut Tally, name: &str, needed: Result<T, String>, ci: bool) -> Option<T> {
    let (needed, verdict) = match needed {
        Ok(needed) => (Some(needed), Verdict::Passed),
        Err(why) if ci => (None, Verdict::Failed(why)),
        Err(why) => (None, Verdict::Skipped(why)),
    };
    tally.check(name, verdict);
    needed
}

/// Runs `cargo test`, passes its output through and counts.
fn tests(cargo: &mut Command, tally: &mut Tally) -> Result<(), String> {
    let failed = tally.failed;
    let mut child = cargo.stdout(Stdio::piped()).spawn().map_err(|error| sh::cannot_start(cargo, &error))?;
    if let Some(output) = child.stdout.take() {
        sh::pass_on(BufReader::new(output), &mut std::io::stdout(), |line| tally.line(line))
            .map_err(|error| error.to_string())?;
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() && tally.failed == failed {
        // A build that failed, or a test binary that died before its result line.
        println!("cargo test ended with {status} and no failed test: see above");
        tally.failed += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_passed_on_as_it_is_and_counted() {
        let said = b"caf\xe9\ntest result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured\nno newline";
        let (mut passed_on, mut tally) = (Vec::new(), Tally::default());
        sh::pass_on(&said[..], &mut passed_on, |line| tally.line(line)).expect("no I/O");
        assert_eq!(passed_on, said);
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_server_that_does_not_start_is_a_failure_in_the_ci_and_a_skip_elsewhere() {
        for (ci, sum) in [(true, "0 passed, 1 failed, 0 skipped"), (false, "0 passed, 0 failed, 1 skipped")] {
            let mut tally = Tally::default();
            assert_eq!(there::<()>(&mut tally, SERVER, Err("no Python".into()), ci), None);
            assert_eq!(tally.to_string(), sum);
        }
    }

    #[test]
    fn a_test_run_that_ends_badly_without_a_failed_test_counts_as_one() {
        let mut tally = Tally::default();
        // A package that is not there: cargo fails before any test.
        let mut cargo = sh::cargo("test --locked --offline --quiet -p no-such-package");
        tests(cargo.stderr(Stdio::null()), &mut tally).expect("cargo starts");
        assert_eq!(tally.to_string(), "0 passed, 1 failed, 0 skipped");
    }
}
