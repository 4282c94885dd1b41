//! The examples of each `--help`, run as printed.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::{Fixture, PROGRAM, Running, report_skipped, server_url};

/// Commands with their own help, in an order in which the examples of `table` create what they need.
const COMMANDS: &[&str] = &[
    "",
    "run",
    "once",
    "hold",
    "show",
    "ls",
    #[cfg(feature = "ui")]
    "ui",
    "revoke",
    "reset",
    "table create",
    "table print",
    "policy",
    "doctor",
    "table check",
    "table delete",
    "cost",
    "completions",
    "man",
];

/// Returns the examples in the help of a command: each with its comment.
fn examples(command: &str) -> Vec<String> {
    let help =
        Fixture::new().run(&command.split_whitespace().chain(["--help"]).collect::<Vec<_>>()).exits_with(0).stdout;
    let block = help.split_once("\nExamples:\n").expect("the section").1.split("\n\n").next().unwrap_or_default();
    let lines: Vec<&str> = block.lines().map(|line| line.strip_prefix("  ").expect("an indented line")).collect();
    let starts: Vec<usize> = (0..lines.len()).filter(|&index| lines[index].starts_with("# ")).collect();
    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    starts.iter().zip(ends).map(|(&start, end)| lines[start..end].join("\n")).collect()
}

/// Returns a directory with what the examples need: the scripts that they call, and directories and locks.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let programs = fixture.path("bin");
    std::fs::create_dir(&programs).expect("a directory");
    std::fs::create_dir_all(fixture.path(".config/fish/completions")).expect("a directory");
    symlink(PROGRAM, programs.join("dynamo-lock")).expect("a link");
    let scripts =
        ["report", "backup", "deploy", "migrate", "scheduler", "convert", "send"].map(|name| format!("{name}.sh"));
    for path in scripts.iter().map(String::as_str).chain(["bin/man"]) {
        std::fs::write(fixture.path(path), "#!/bin/sh\nexec cat >/dev/null\n").expect("a file");
        std::fs::set_permissions(fixture.path(path), std::fs::Permissions::from_mode(0o755)).expect("access to it");
    }
    fixture
}

/// Runs the lines with the program in the path. Returns an error unless they succeed.
fn run_lines(fixture: &Fixture, lines: &str, server: Option<&str>) -> Result<(), String> {
    let mut command = fixture.command_of("bash", &["-euo", "pipefail", "-c", lines]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", fixture.path("bin").display()));
    if let Some(server) = server {
        command.env("AWS_ENDPOINT_URL_DYNAMODB", server).env("AWS_REGION", "us-east-1");
    }
    let finished = Running::spawn(command).wait();
    if finished.code == Some(0) { Ok(()) } else { Err(format!("{lines}\n{finished:?}")) }
}

#[test]
fn every_example_of_the_help_works_as_printed() {
    let fixture = fixture();
    let server = server_url("every_example_of_the_help_works_as_printed (those with --table)");
    if let Some(server) = server.as_deref() {
        let _missing = run_lines(&fixture, "dynamo-lock --table Lock table delete --yes", Some(server));
        run_lines(&fixture, "dynamo-lock --table Lock table create", Some(server)).expect("the server has no table");
    }
    let has_jq = run_lines(&fixture, "jq --version", None).is_ok();
    for command in COMMANDS {
        let examples = examples(command);
        assert!(!examples.is_empty(), "{command}");
        for example in examples {
            if example.contains("--table") && server.is_none() {
                continue;
            }
            if example.contains("jq ") && !has_jq {
                report_skipped("every_example_of_the_help_works_as_printed", &format!("jq is missing for {example:?}"));
                continue;
            }
            let prepare = match *command {
                "revoke" => "dynamo-lock hold deploy 1h >token",
                "table create" => "dynamo-lock --table Lock table delete --yes 2>message",
                _ => ":",
            };
            run_lines(&fixture, prepare, server.as_deref()).expect("it is prepared");
            // The page is served until a signal arrives.
            let example = match *command {
                "ui" => format!(
                    "{example} >address &\nuntil grep -q http address; do sleep 0.02; done\n\
                     kill $!\nwait $! || test $? = 143"
                ),
                _ => example,
            };
            run_lines(&fixture, &example, server.as_deref()).unwrap_or_else(|error| panic!("{error}"));
            if *command == "revoke" {
                let end = "t=$(dynamo-lock show deploy | sed -n 's/^token *\\([0-9]*\\).*/\\1/p'); \
                           dynamo-lock revoke deploy --token $t --force --yes 2>message || :";
                run_lines(&fixture, end, None).expect("it is free again");
            }
        }
    }
}

/// Control: the test above notices an example that fails.
#[test]
fn control_wrong_example_is_detected() {
    let fixture = fixture();
    for wrong in ["dynamo-lock run a false", "dynamo-lock frobnicate", "# Purpose\nno-such-program"] {
        assert!(run_lines(&fixture, wrong, None).is_err(), "{wrong}");
    }
}
