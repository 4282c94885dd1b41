//! The environment variables of options, and the default owner.

use crate::support::{Finished, Fixture, Running, recording_server};

/// Runs the binary with these variables.
fn run_with(fixture: &Fixture, variables: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let mut command = fixture.command(arguments);
    command.envs(variables.iter().copied());
    Running::spawn(command).wait()
}

fn lease_ms(fixture: &Fixture, variables: &[(&str, &str)], flags: &[&str]) -> String {
    let script = "\"$PROGRAM\" show a --json | grep -o '\"leaseMs\":[0-9]*'";
    run_with(fixture, variables, &[&["run"], flags, &["a", "-c", script]].concat()).exits_with(0).stdout
}

#[test]
fn lease_comes_from_flag_then_variable_then_default() {
    let fixture = Fixture::new();
    assert_eq!(lease_ms(&fixture, &[("DYNAMO_LOCK_LEASE", "40")], &[]), "\"leaseMs\":40000\n");
    assert_eq!(lease_ms(&fixture, &[("DYNAMO_LOCK_LEASE", "40")], &["--lease", "50s"]), "\"leaseMs\":50000\n");
    assert_eq!(lease_ms(&fixture, &[("DYNAMO_LOCK_LEASE", "")], &[]), "\"leaseMs\":20000\n");
    for wrong in ["soon", "2h", "0.5"] {
        let finished = run_with(&fixture, &[("DYNAMO_LOCK_LEASE", wrong)], &["run", "a", "true"]).exits_with(78);
        finished.prints_line(&format!("cannot use the environment variable DYNAMO_LOCK_LEASE: {wrong:?} is no lease"));
    }
    // The flag takes precedence even over a value that cannot be used.
    run_with(&fixture, &[("DYNAMO_LOCK_LEASE", "soon")], &["run", "--lease", "9", "a", "true"]).exits_with(0);
}

#[test]
fn table_comes_from_variable_without_a_store() {
    let (fixture, requests) = recording_server("400 Bad Request", "{}");
    let endpoint = fixture.store().split_once("endpoint=").expect("an endpoint").1.to_owned();
    let variables =
        [("DYNAMO_LOCK_STORE", ""), ("DYNAMO_LOCK_TABLE", "Locks-2"), ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint[..])];
    run_with(&fixture, &variables, &["--region", "eu-west-1", "show", "a"]);
    let sent = requests.lock().unwrap().first().cloned().unwrap_or_default();
    assert!(sent.contains("\"Locks-2\""), "{sent}");
    let wrong = [("DYNAMO_LOCK_STORE", ""), ("DYNAMO_LOCK_TABLE", "x y")];
    let finished = run_with(&fixture, &wrong, &["show", "a"]).exits_with(78);
    finished.prints_line("cannot use the environment variable DYNAMO_LOCK_TABLE: ");
    // A run passes its store on, which takes precedence over the table.
    let fixture = Fixture::new();
    let nested = "\"$PROGRAM\" run b true && \"$PROGRAM\" show b | grep -c free";
    let finished = run_with(&fixture, &[("DYNAMO_LOCK_TABLE", "Lock")], &["run", "a", "-c", nested]).exits_with(0);
    assert_eq!(finished.stdout, "1\n");
}

/// Returns the label of the owner of lock `a`, without host name and process ID.
fn label(fixture: &Fixture, variables: &[(&str, &str)], flags: &[&str]) -> String {
    let script = "\"$PROGRAM\" show a | sed -n 's/^holder *\\(.*\\) (.*, pid.*/\\1/p'";
    let finished = run_with(fixture, variables, &[&["run"], flags, &["a", "-c", script]].concat()).exits_with(0);
    finished.stdout.trim_end().to_owned()
}

#[test]
fn owner_comes_from_flag_then_variable_then_ci_then_user() {
    let fixture = Fixture::new();
    let ci = [("GITHUB_ACTOR", "octocat"), ("GITHUB_RUN_ID", "17"), ("GITHUB_REPOSITORY", "o/r")];
    let own = ("DYNAMO_LOCK_OWNER", "me");
    assert_eq!(label(&fixture, &[], &[]), "tester");
    assert_eq!(label(&fixture, &ci, &[]), "octocat, GitHub run 17 of o/r");
    assert_eq!(label(&fixture, &[own, ci[0], ci[1]], &[]), "me");
    assert_eq!(label(&fixture, &[own, ci[0], ci[1]], &["--owner", "they"]), "they");
    assert_eq!(label(&fixture, &[("DYNAMO_LOCK_OWNER", "")], &[]), "tester");
    let long = "x".repeat(300);
    let finished = run_with(&fixture, &[("DYNAMO_LOCK_OWNER", &long)], &["run", "a", "true"]).exits_with(78);
    finished.prints_line("cannot use the environment variable DYNAMO_LOCK_OWNER: a label has at most 256 bytes");
    // Holds use the same label.
    run_with(&fixture, &[own], &["hold", "b", "1m"]).exits_with(0);
    run_with(&fixture, &[], &["run", "-n", "b", "true"]).exits_with(75).prints("held by me (");
}

/// The exported label has no host name and process ID, so that a nested run can append its own.
#[test]
fn nested_run_has_the_label_and_its_own_process_id() {
    let fixture = Fixture::new();
    let show = "\"$PROGRAM\" show a; \"$PROGRAM\" show b";
    let nested = format!("echo \"$DYNAMO_LOCK_OWNER\"; exec \"$PROGRAM\" run b -c '{show}'");
    let finished = fixture.run(&["run", "--owner", "deployer", "a", "-c", &nested]).exits_with(0);
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(lines[0], "deployer");
    let owners: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("holder  ")).collect();
    let [outer, inner] = owners[..] else { panic!("{lines:?}") };
    for owner in [outer, inner] {
        assert!(owner.starts_with("deployer (") && owner.matches("pid ").count() == 1, "{owner}");
    }
    assert_ne!(outer, inner);
}
