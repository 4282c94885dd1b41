//! The command line as typed.

mod cost;
mod doctor;
mod inspect;
mod policy;
mod run;
mod table;
#[cfg(feature = "ui")]
mod ui;

use std::{path::Path, process::ExitCode, time::Duration};

use clap::{ArgAction, Args as ClapArgs, FromArgMatches, Parser, Subcommand, error::ContextKind};

pub use cost::{CostArgs, PRICES_AS_OF};
pub use doctor::DoctorArgs;
pub use inspect::{ListArgs, RevokeArgs};
pub use policy::{PermittedUse, PolicyArgs};
pub use run::{ExecutionArgs, OnceArgs, RunArgs, SupervisionArgs, WaitArgs};
pub use table::{PrintArgs, TableArgs, TableCommand};
#[cfg(feature = "ui")]
pub use ui::UiArgs;

use crate::{failure::FailureKind, help, ui::output, values};

/// Run a command under a shared lock, on one machine or on many
///
/// A lock is a name in a store: a DynamoDB table for all hosts that use it, or a file for one host. `run` acquires the
/// lock, runs a command, and releases the lock. If a host crashes, others acquire its locks when their leases have
/// expired. Each acquisition has a fencing token, which is greater than all earlier ones of the same lock.
#[derive(Debug, Parser)]
#[command(name = "dynamo-lock", version, infer_long_args = false)]
pub struct Args {
    /// Log to standard error: what happens to the locks; -vv also the requests of the AWS SDK
    ///
    /// The log contains no credentials. Without this option, the environment variable RUST_LOG selects what is logged.
    /// run and once also print how long acquiring the lock took.
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 900)]
    pub verbose: u8,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Location of the locks.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// Store that contains the locks [default: a file]
    ///
    /// Either sqlite:///path/locks.db, or
    /// dynamodb://TABLE[?region=…&endpoint=…&profile=…&partition_key=…&service_clock=on|off].
    ///
    /// The default is the file dynamo-lock/locks.db in $XDG_STATE_HOME or in ~/.local/state. Its locks exclude only
    /// processes of the same user on the same machine.
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// DynamoDB table; short for --store dynamodb://NAME
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "store")]
    pub table: Option<String>,
    /// AWS Region of the table
    #[arg(long, global = true, value_name = "NAME")]
    pub region: Option<String>,
    /// Profile in the AWS configuration files
    ///
    /// The profile's credentials are used, even if the environment contains an access key.
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Endpoint of DynamoDB, if it is not the one of AWS
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command while holding a lock
    ///
    /// The lock is released after the command and all processes that it started have ended. If the lease is about to be
    /// lost, they are ended before another client can acquire the lock.
    ///
    /// The command finds the lock in the environment variables DYNAMO_LOCK_NAME, DYNAMO_LOCK_TOKEN, DYNAMO_LOCK_OWNER
    /// and DYNAMO_LOCK_STORE. With --also, DYNAMO_LOCK_TOKENS is a JSON object with the token of each lock, in place of
    /// DYNAMO_LOCK_TOKEN.
    Run(RunArgs),
    /// Run a command until it has succeeded once
    ///
    /// If its success is recorded, the command is skipped, and the exit code is 0. While another process runs it, this
    /// one waits: it then skips the command after a success, and runs it after a failure or a crash.
    ///
    /// The command has succeeded if it exits with code 0 while the lock is held, and all processes that it started have
    /// ended. Its success is recorded in the same write that would have released the lock. A command that has succeeded
    /// although its success could not be recorded may run again; the exit code is 79.
    Once(OnceArgs),
    /// Acquire a lock for a fixed time and print its token
    ///
    /// The lock is neither renewed nor released, so it stays held after this command has ended. The exit code is
    /// 75 if another client holds the lock.
    Hold {
        /// Name of the lock
        name: String,
        /// Time to hold the lock, 1s to 30d, for example 90, 1m30s or 1d
        #[arg(value_name = "DUR", value_parser = values::hold, allow_negative_numbers = true)]
        duration: Duration,
        /// Label stored with the lock and shown to others [default: the CI job, the pod or the user]
        ///
        /// The host name, the process ID and a random number are appended to it.
        #[arg(long, value_name = "TEXT")]
        owner: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the state of a lock
    Show {
        /// Name of the lock
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the locks
    ///
    /// The listing is not a snapshot: locks may change while it is read, and its values may be slightly out of date.
    Ls(ListArgs),
    /// Show the locks on a page in a browser on this machine
    ///
    /// The address of the page is printed on standard output. It contains a token, so that other users of this machine
    /// cannot open it. Ctrl-C ends the page. Each scan reads the whole store, and pauses while no page is visible.
    #[cfg(feature = "ui")]
    Ui(UiArgs),
    /// End another client's acquisition of a lock, for example if its holder is stuck
    ///
    /// Other clients can acquire the lock when the lease of the revoked holder has expired.
    Revoke(RevokeArgs),
    /// Make a name that was used with --slots, --shared or once the name of a plain lock
    ///
    /// The lock must not be held. Its token goes on, so that later tokens are greater.
    Reset {
        /// Name of the lock
        name: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Create, print, delete or check the DynamoDB table
    #[command(subcommand)]
    Table(TableCommand),
    /// Check that locks can be used on the store, and name each fault with its fix
    ///
    /// Prints one line for each check: ok, warning, fault or untested. Nothing is changed or created: the requests read,
    /// or write under a condition that never holds. The output contains no secrets and can be passed on.
    ///
    /// The exit code is 0 without a fault, also with warnings, and else that of the first fault: 69, 77 or 78. Of the
    /// permissions, only those of `run` are required.
    Doctor(DoctorArgs),
    /// Print the IAM policy with the least privilege for a use of the table
    ///
    /// No request is sent. The policy is printed on standard output, and explanations on standard error. The resource
    /// is the table of the store options, for example --table Lock. Its Region and account are placeholders where
    /// neither the table's ARN, nor --region, $AWS_REGION and --account give a value.
    Policy(PolicyArgs),
    /// Estimate what locks in DynamoDB cost in a month
    ///
    /// Each line shows a part of the cost with its formula: renewals of the locks that are held, acquisitions, and the
    /// looks of processes that wait. Rows have at most 1 KB. A failed acquisition costs a write too, which is not
    /// estimated. Opens no store without --from-table.
    Cost(CostArgs),
    /// Print the completion script for a shell
    Completions {
        /// Shell to print the script for
        shell: clap_complete::Shell,
    },
    /// Print the manual page in roff format; to read it: dynamo-lock man | man -l -
    Man,
}

impl Args {
    /// Returns the names of the locks and the path of their report, if one was requested.
    pub fn report(&self) -> Option<(Vec<String>, &Path)> {
        let (name, also, report) = match &self.command {
            Command::Run(run) => (&run.name, &run.also[..], &run.execution.report),
            Command::Once(once) => (&once.name, &[][..], &once.execution.report),
            _ => return None,
        };
        Some((std::iter::once(name).chain(also).cloned().collect(), report.as_deref()?))
    }

    /// Returns the name of the lock and the path of the metrics file, if one was requested.
    pub fn metrics_file(&self) -> Option<(String, &Path)> {
        let (name, path) = match &self.command {
            Command::Run(run) => (&run.name, &run.execution.metrics_file),
            Command::Once(once) => (&once.name, &once.execution.metrics_file),
            _ => return None,
        };
        Some((name.clone(), path.as_deref()?))
    }
}

/// Parses the command line. If that fails, or if help was requested, prints the text and returns the exit code.
pub fn parse() -> Result<Args, ExitCode> {
    let parsed = Args::try_parse().or_else(|_| {
        // The complete help texts are generated only if one of them may be printed.
        let mut command = help::command();
        command.try_get_matches_from_mut(std::env::args_os()).and_then(|found| Args::from_arg_matches(&found))
    });
    parsed.map_err(|error| print(&error))
}

/// Prints the usage error, the help or the version. Options of flock(1) and the command `release` get messages of their
/// own, because users are likely to try them.
fn print(error: &clap::Error) -> ExitCode {
    let flag = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let command = error.get(ContextKind::InvalidSubcommand).map(ToString::to_string).unwrap_or_default();
    match flock_flag(&flag) {
        Some(reason) => output::message(&format!("{reason}: leave {flag} out")),
        None if command == "release" => output::message(
            "there is no command `release`: `run` releases its lock when the command has ended; use `revoke` to end \
             the acquisition of another client",
        ),
        None => _ = error.print(),
    }
    ExitCode::from(if error.use_stderr() { FailureKind::Usage as u8 } else { 0 })
}

/// Returns the reason why an option of flock(1) does not exist here.
fn flock_flag(flag: &str) -> Option<&'static str> {
    match flag {
        "-u" | "--unlock" => Some("a lock is released when its command has ended"),
        "-o" | "--close" => Some("a lock is not a descriptor, so there is none to close"),
        "-F" | "--no-fork" => Some("`run` waits for its command, to release the lock"),
        "--fd" | "--fcntl" => Some("a lock is a name in a store, not a file"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn argument_definitions_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn arguments_after_the_command_belong_to_it() {
        let args = Args::try_parse_from(["dynamo-lock", "run", "-n", "a", "ls", "-n", "--store", "x", "--", "-c"]);
        let Command::Run(run) = args.expect("it parses").command else { panic!("not run") };
        assert_eq!(run.argv, ["ls", "-n", "--store", "x", "--", "-c"]);
        assert!(run.waiting.nonblock && run.execution.command.is_none());
    }
}
