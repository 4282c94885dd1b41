//! The command line as typed.

use std::path::{Path, PathBuf};
use std::{ffi::OsString, process::ExitCode, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, error::ContextKind};
use dynamo_lock::FencingToken;
use nix::sys::signal::Signal;

use crate::{exit, failure::FailureKind, signals, ui::output, values};

/// Run a command under a shared lock, on one machine or on many
#[derive(Debug, Parser)]
#[command(name = "dynamo-lock", version, after_help = exit::help(), infer_long_args = false)]
pub struct Args {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Location of the locks.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// Store that contains the locks [default: $DYNAMO_LOCK_STORE, else a file]
    ///
    /// Either sqlite:///path/locks.db, or
    /// dynamodb://TABLE[?region=…&endpoint=…&profile=…&partition_key=…&service_clock=on|off].
    ///
    /// Without this option, --table and the environment variable DYNAMO_LOCK_STORE, the store is the file
    /// dynamo-lock/locks.db in $XDG_STATE_HOME or in ~/.local/state. Its locks exclude only processes of the same user
    /// on the same machine.
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
        /// Label stored with the lock and shown to others [default: $USER]
        ///
        /// The host name, the process ID and a random number are appended to it.
        #[arg(long, value_name = "TEXT")]
        owner: Option<String>,
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
    },
    /// Create, delete or check the DynamoDB table
    #[command(subcommand)]
    Table(TableCommand),
    /// Print the completion script for a shell
    Completions {
        /// Shell to print the script for
        shell: clap_complete::Shell,
    },
    /// Print the manual page in roff format; to read it: dynamo-lock man | man -l -
    Man,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = format!("Signals:\n  {}\n\n{}", signals::HELP, exit::help()))]
pub struct RunArgs {
    #[command(flatten)]
    pub waiting: WaitArgs,
    #[command(flatten)]
    pub supervision: SupervisionArgs,
    /// Keep the lock for at least DUR, even if the command ends earlier
    ///
    /// The time counts from the acquisition. Hosts with different clocks then do not run a scheduled job twice. At most
    /// 30d, and at most three quarters of --max-hold. SIGINT, SIGTERM, SIGHUP and SIGQUIT end the wait.
    #[arg(long, value_name = "DUR", value_parser = values::at_least, allow_hyphen_values = true)]
    pub at_least: Option<Duration>,
    /// Acquire the lock NAME too, all or none; may be given up to 31 times
    ///
    /// The locks are acquired one after the other in the order of their names, so that runs with overlapping names do
    /// not wait for each other for ever. While one is awaited, the earlier ones are held. If any of them is lost or
    /// about to be lost, the command is ended, and then all are released.
    #[arg(long, value_name = "NAME")]
    pub also: Vec<String>,
    /// Hold the lock together with other runs that have this option
    ///
    /// Runs without it hold the lock alone. Once such a run waits, further runs with --shared wait for it. A free lock
    /// becomes a shared one by its first use with this option, and loses its data; `reset` makes it a plain lock again. A
    /// command under a shared lock must not run another `run --shared` of the same name.
    #[arg(short, long, conflicts_with_all = ["also", "slots", "ready_file"])]
    pub shared: bool,
    /// Let N runs hold the lock at the same time, 1 to 64
    ///
    /// Each run respects its own N. The command gets no DYNAMO_LOCK_TOKEN, because the holders have no order. The name
    /// must not be that of a lock without slots.
    #[arg(long, value_name = "N", value_parser = values::slots, conflicts_with_all = ["also", "ready_file"])]
    pub slots: Option<u64>,
    /// Run the command again after a failure or the loss of the lock
    ///
    /// The lock is released and acquired again, so that another host can run the command. Between two attempts there is
    /// a pause of 1 s, which doubles up to 1 min, and begins with 1 s again after the lock was held for 1 min. Ends when
    /// the command exits with code 0, after SIGTERM or SIGINT, or if SIGHUP or SIGQUIT ends the command.
    #[arg(long, conflicts_with_all = ["nonblock", "skip"])]
    pub forever: bool,
    /// Create FILE while the command runs under the lock, for example for a readiness probe
    ///
    /// The file contains the name of the lock and the token as JSON. It is removed when the command has ended, and
    /// before the lease ends, even if run is killed. One that an earlier run has left is removed before the lock is
    /// waited for. Any other file at this path is an error.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    #[command(flatten)]
    pub execution: ExecutionArgs,
    /// Name of the lock
    pub name: String,
    /// Command to run, with its arguments
    #[arg(value_name = "CMD", trailing_var_arg = true, required_unless_present = "command")]
    pub argv: Vec<OsString>,
}

/// Options of `once`, which runs a command until it has succeeded once.
#[derive(Debug, ClapArgs)]
#[command(after_help = format!("Signals:\n  {}\n\n{}", signals::HELP, exit::help()))]
pub struct OnceArgs {
    /// Let the success count for DUR from the start of the command, 1s to 3650d [default: until it is reset]
    ///
    /// After that, the command may run again. For a nightly job use a little less than a day, for example 23h.
    #[arg(long = "for", value_name = "DUR", value_parser = values::success, allow_hyphen_values = true)]
    pub lasts: Option<Duration>,
    /// Forget the success of KEY, so that its command may run again
    ///
    /// On a terminal, the success is shown and confirmed first. Scripts add --yes.
    #[arg(long, conflicts_with_all = ["argv", "command", "lasts"])]
    pub reset: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub waiting: WaitArgs,
    #[command(flatten)]
    pub supervision: SupervisionArgs,
    #[command(flatten)]
    pub execution: ExecutionArgs,
    /// Name of the work, which is the name of its lock
    #[arg(value_name = "KEY")]
    pub name: String,
    /// Command to run, with its arguments
    #[arg(value_name = "CMD", trailing_var_arg = true, required_unless_present_any = ["command", "reset"])]
    pub argv: Vec<OsString>,
}

/// Options for the wait for a lock.
#[derive(Debug, ClapArgs)]
pub struct WaitArgs {
    /// Fail with exit code 75 if the lock is held
    ///
    /// If the store does not respond, fail with exit code 69 after about one lease.
    #[arg(short = 'n', long = "nonblock", visible_aliases = ["nb", "nonblocking"], conflicts_with = "wait")]
    pub nonblock: bool,
    /// Wait at most DUR for the lock, for example 30 or 1m30s [default: no limit]
    ///
    /// If the lock is still held after that time, fail with exit code 75. 0 is the same as --nonblock.
    #[arg(short, long, visible_alias = "timeout", value_name = "DUR")]
    #[arg(value_parser = values::duration, allow_hyphen_values = true)]
    pub wait: Option<Duration>,
    /// Exit code if the lock is held by another client, instead of 75
    #[arg(short = 'E', long, value_name = "CODE", value_parser = values::code, allow_negative_numbers = true)]
    pub conflict_exit_code: Option<u8>,
    /// Exit with code 0 if the lock is held, without running the command
    ///
    /// Useful for cron. The lock is not waited for unless --wait is given, and nothing is printed if it is held.
    #[arg(long, conflicts_with = "conflict_exit_code")]
    pub skip: bool,
}

/// Options for the lease of a lock, and for ending the command before the lease ends.
#[derive(Debug, ClapArgs)]
pub struct SupervisionArgs {
    /// Lease of the lock, 1s to 1h: if this host crashes, others wait this long
    #[arg(long, value_name = "DUR", value_parser = values::duration, allow_hyphen_values = true, default_value = "20s")]
    pub lease: Duration,
    /// Time for the command to end if the lock is about to be lost
    ///
    /// The command receives SIGTERM when the grace begins, and SIGKILL before it has passed. The grace is the last part
    /// of the lease, and at most half of it, or half of --max-hold if that is shorter. 0 sends SIGKILL only. The
    /// default is a quarter of the lease, but at most 5s.
    #[arg(long, value_name = "DUR", value_parser = values::duration, allow_hyphen_values = true)]
    pub grace: Option<Duration>,
    /// Send SIG to the command when less than DUR of the lease is left because no renewal has succeeded
    ///
    /// SIG is a name such as USR1, or a number. It is sent to the command only, once until a renewal has succeeded. DUR
    /// is longer than the grace, and at most two thirds of --lease, or of --max-hold if that is shorter. The default is
    /// half of it. A command that does not handle the signal is ended by most signals.
    #[arg(long, value_name = "SIG[@DUR]", value_parser = values::warn_signal)]
    pub warn_signal: Option<(Signal, Option<Duration>)>,
    /// End the command before it has held the lock for DUR, 1s or more
    #[arg(long, value_name = "DUR", value_parser = values::duration, allow_hyphen_values = true)]
    pub max_hold: Option<Duration>,
}

/// Options for the execution of a command, and for what is written about it.
#[derive(Debug, ClapArgs)]
pub struct ExecutionArgs {
    /// Label stored with the lock and shown to others [default: $USER]
    ///
    /// The host name, the process ID and a random number are appended to it.
    #[arg(long, value_name = "TEXT")]
    pub owner: Option<String>,
    /// Write the result to FILE as one line of JSON
    ///
    /// The report distinguishes the exit code of the command from those of dynamo-lock. It is written even if the
    /// command was not run, except if the command line cannot be parsed. A regular file is replaced; a pipe or
    /// /dev/fd/3 is written to. A symbolic link outside /dev and /proc is refused.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Do not report that the lock is held, waited for, or kept
    #[arg(short, long)]
    pub quiet: bool,
    /// Run LINE with $SHELL, or with /bin/sh, instead of CMD
    #[arg(short, long = "command", value_name = "LINE", conflicts_with = "argv")]
    pub command: Option<OsString>,
}

#[derive(Debug, ClapArgs)]
pub struct ListArgs {
    /// List only locks with names that begin with P
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// List only locks that may be held, including unreadable ones
    #[arg(long)]
    pub held: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct RevokeArgs {
    /// Name of the lock
    pub name: String,
    /// Fencing token of the acquisition, as printed by show and ls
    ///
    /// Nothing is revoked if this acquisition has ended, even if the lock has been acquired again since. The token may
    /// be omitted on a terminal: revoke then shows the current holder and asks for confirmation.
    #[arg(long, value_name = "N", value_parser = values::token, allow_negative_numbers = true)]
    pub token: Option<FencingToken>,
    /// ID of one of several holders, as printed by show
    ///
    /// The holders of a lock that is used with --slots or --shared have no tokens of their own.
    #[arg(long, value_name = "ID", conflicts_with = "token")]
    pub holder: Option<String>,
    /// Free the lock at once; unsafe if its holder is still running
    #[arg(long)]
    pub force: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Create the table, with on-demand capacity unless --provisioned is given
    Create {
        /// Provisioned capacity in read and write units, for example 1,1
        #[arg(long, value_name = "R,W", value_parser = values::units)]
        provisioned: Option<(u32, u32)>,
    },
    /// Delete the table with all its locks
    Delete {
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Check that the table can be used for locks, and report problems
    Check,
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
}

/// Parses the command line. If that fails, or if help was requested, prints the text and returns the exit code.
pub fn parse() -> Result<Args, ExitCode> {
    Args::try_parse().map_err(|error| print(&error))
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
        "-x" | "-e" | "--exclusive" => Some("a lock is exclusive without --shared and --slots"),
        "-u" | "--unlock" => Some("a lock is released when its command has ended"),
        "-o" | "--close" => Some("a lock is not a descriptor, so there is none to close"),
        "-F" | "--no-fork" => Some("`run` waits for its command, to release the lock"),
        "--fd" | "--fcntl" => Some("a lock is a name in a store, not a file"),
        "--verbose" => Some("waiting is reported unless -q is given"),
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
