//! `cargo xtask test`: runs the checks, starts a server, runs all tests and prints one summary line.

use crate::ministack::Server;
use crate::tally::Tally;
use crate::{aws_tools, browser, checks, node, npm, recording, sh};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Environment variable with the URL of the DynamoDB server for tests over HTTP.
const ENDPOINT: &str = "DYNAMO_LOCK_TEST_ENDPOINT";

/// Environment variable with the folder of npm dynamo-lock.
const NPM: &str = "DYNAMO_LOCK_TEST_NPM";

/// Environment variables with the folder of the tools of AWS in Python, and with that Python.
const AWS_TOOLS: (&str, &str) = ("DYNAMO_LOCK_TEST_AWS_TOOLS", "DYNAMO_LOCK_TEST_PYTHON");

/// Settings that the SDK needs to sign requests; a local server accepts every key. The user's own settings are hidden,
/// because they may name another endpoint, and the instance metadata service is not asked for credentials.
pub const DUMMIES: [(&str, &str); 6] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_CONFIG_FILE", "/dev/null"),
    ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// Name of the check of the README's picture. It comes after the tests, because they build the command.
const RECORDING: &str = "the recording of two terminals shows what the programs print";

/// Command for the tests with loom. It is separate, because the dependencies of loom would change the features of others.
const LOOM: &str = "test --package dynamo-lock-loom-tests --features loom --locked";

/// Variables of the user that would change what is tested.
const UNSET: &str = "AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL AWS_ENDPOINT_URL_DYNAMODB \
                     DYNAMO_LOCK_STORE";

/// Runs everything and returns whether all of it passed.
pub fn run(endpoint: Option<&str>, filter: Option<&str>) -> Result<bool, String> {
    let mut tally = Tally::default();
    checks::all(filter, &mut tally)?;
    // The simulated worlds over the real stores need the same dependencies as the rest of the workspace.
    let mut cargo = sh::cargo("test --workspace --features dynamo-lock-sim/stacks --locked --no-fail-fast");
    if let Some(filter) = filter {
        cargo.args(["--", filter]);
    }
    let server = match endpoint {
        Some(url) => {
            // The user's own server, perhaps AWS itself: it is used with the user's credentials and Region.
            cargo.env(ENDPOINT, url);
            None
        }
        None => {
            required(&mut tally, "the DynamoDB server starts (--endpoint URL uses another)", Server::start(), sh::ci())
        }
    };
    if let Some(server) = &server {
        UNSET.split(' ').for_each(|name| _ = cargo.env_remove(name));
        cargo.envs(DUMMIES).env(ENDPOINT, server.url());
    }
    if let Some(legacy) = required(&mut tally, "npm dynamo-lock is installed", npm::install_legacy(), sh::ci()) {
        cargo.env(NPM, legacy);
    }
    let tools = required(&mut tally, "cfn-lint and the AWS command line are installed", aws_tools::install(), sh::ci());
    if let Some((folder, python)) = tools {
        cargo.env(AWS_TOOLS.0, folder).env(AWS_TOOLS.1, python);
    }
    run_and_count(&mut cargo, &mut tally, Tally::line)?;
    if filter.is_none_or(|part| RECORDING.contains(part)) {
        tally.check(RECORDING, recording::check());
    }
    let mut loom = sh::cargo(LOOM);
    if let Some(filter) = filter {
        loom.args(["--", filter]);
    }
    run_and_count(&mut loom, &mut tally, Tally::line)?;
    if let Some(packages) =
        required(&mut tally, "the npm packages for Node are installed", npm::install_for_node(), sh::ci())
    {
        let built = required(&mut tally, "the addon is built", node::place_tested(), true).is_some();
        let url = server.as_ref().map(Server::url).or(endpoint);
        if built {
            node::tests(&packages, filter, &environment(server.is_some(), url), &mut tally)?;
        }
    }
    drop(server);
    if browser::matches(filter)? {
        let chromium = required(&mut tally, "Chromium is installed", browser::find(), sh::ci());
        let packages = chromium.map(|chromium| (chromium, npm::install_for_browser()));
        if let Some((chromium, packages)) = packages
            && let Some(packages) =
                required(&mut tally, "the npm package for the page is installed", packages, sh::ci())
        {
            browser::tests(&packages, &chromium, &mut tally)?;
        }
    }
    println!();
    tally.reasons.iter().for_each(|reason| println!("skipped: {reason}"));
    if !tally.good() && tally.failed == 0 {
        println!("no test ran: check the filter");
        tally.failed = 1;
    }
    println!("{tally}");
    Ok(tally.good())
}

/// Returns the environment of the tests of the Node package.
pub fn environment(is_local: bool, url: Option<&str>) -> Vec<(&'static str, &str)> {
    let mut environment = if is_local { DUMMIES.to_vec() } else { Vec::new() };
    environment.extend(url.map(|url| (ENDPOINT, url)));
    environment
}

/// Counts something that tests require as a check. If it is missing, the tests are skipped; in CI that is a failure,
/// because skipped tests would go unnoticed there.
fn required<T>(tally: &mut Tally, name: &str, needed: Result<T, String>, ci: bool) -> Option<T> {
    match needed {
        Err(error) if !ci => tally.skip(format!("{name}: {error}")),
        Err(error) => tally.check(name, Err(error)),
        Ok(needed) => {
            tally.check(name, Ok(()));
            return Some(needed);
        }
    }
    None
}

/// Runs a test runner, copies its output and adds its results to `tally` with `count`, which gets each line.
pub fn run_and_count(command: &mut Command, tally: &mut Tally, count: fn(&mut Tally, &str)) -> Result<(), String> {
    let failed = tally.failed;
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| sh::cannot_start(command, &error))?;
    let output = child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).split(b'\n'));
    for line in output.map_while(Result::ok) {
        let mut stdout = std::io::stdout().lock();
        let copied = stdout.write_all(&line).and_then(|()| stdout.write_all(b"\n"));
        copied.map_err(|error| format!("cannot write to standard output: {error}"))?;
        count(tally, String::from_utf8_lossy(&line).trim_end());
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() && tally.failed == failed {
        // The build failed, or a test binary died before it printed its results.
        println!("{} ended with {status} and no failed test: see above", command.get_program().to_string_lossy());
        tally.failed += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_counted_even_if_it_is_not_text() {
        let mut tally = Tally::default();
        // TAP, because the lines reach the standard output of this test, whose reader counts those of libtest.
        let output = "caf\\351\\n# pass 2\\n# fail 1\\nno newline";
        run_and_count(Command::new("printf").arg(output), &mut tally, Tally::tap).expect("printf starts");
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn missing_server_fails_in_ci_and_skips_elsewhere() {
        for (ci, sum) in [(true, "0 passed, 1 failed, 0 skipped"), (false, "0 passed, 0 failed, 1 skipped")] {
            let mut tally = Tally::default();
            assert_eq!(required::<()>(&mut tally, "a server starts", Err("no Python".into()), ci), None);
            assert_eq!(tally.to_string(), sum);
        }
    }

    #[test]
    fn failed_build_counts_as_one_failed_test() {
        let mut tally = Tally::default();
        // The package does not exist, so cargo fails before any test.
        let mut cargo = sh::cargo("test --locked --offline --quiet -p no-such-package");
        run_and_count(cargo.stderr(Stdio::null()), &mut tally, Tally::line).expect("cargo starts");
        assert_eq!(tally.to_string(), "0 passed, 1 failed, 0 skipped");
    }
}
