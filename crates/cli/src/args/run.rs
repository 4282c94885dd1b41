//! The options of `run` and `once`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::Args as ClapArgs;
use nix::sys::signal::Signal;

use crate::{drill::Drill, values};

/// Options of `run`.
#[derive(Debug, ClapArgs)]
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
    /// Hold the lock alone, which is the default; for scripts that were written for flock
    #[arg(short = 'x', long, visible_short_alias = 'e', conflicts_with_all = ["shared", "slots"])]
    pub exclusive: bool,
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
    /// Rehearse the loss of the lock: lost, revoked or slow-store, with a time as in lost@30s
    ///
    /// The command is ended as in earnest, and the exit code is 76. lost: as if no renewal succeeded, so that the grace
    /// begins DUR after the acquisition. revoked: as if the lock were revoked then. DUR is 10s by default. slow-store:
    /// the answers of the store are held back until the command has ended. The lock is held until then, and nothing is
    /// written that a run does not write. With --forever, only the first run of the command is a drill.
    #[arg(long, value_name = "LOSS", value_parser = Drill::parse)]
    pub drill: Option<Drill>,
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
    /// Print the result of --reset as one JSON object
    #[arg(long, conflicts_with_all = ["argv", "command"])]
    pub json: bool,
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
    /// Lease of the lock, 1s to 1h: if this host crashes, others wait this long [default: 20s]
    #[arg(long, value_name = "DUR", value_parser = values::duration, allow_hyphen_values = true)]
    pub lease: Option<Duration>,
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
    /// Label stored with the lock and shown to others [default: the CI job, the pod or the user]
    ///
    /// The host name, the process ID and a random number are appended to it. The command gets the label in
    /// DYNAMO_LOCK_OWNER, so that a run within it has the same label.
    #[arg(long, value_name = "TEXT")]
    pub owner: Option<String>,
    /// Write the result to FILE as one line of JSON
    ///
    /// The report distinguishes the exit code of the command from those of dynamo-lock. It is written even if the
    /// command was not run, except if the command line cannot be parsed. A regular file is replaced; a pipe, /dev/fd/3
    /// or standard output (-) is written to. A symbolic link outside /dev and /proc is refused.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write facts about the run to FILE in the text format of Prometheus, for node_exporter
    ///
    /// Written at the end of the run, as --report is, for the textfile collector: name a file in its directory that ends
    /// in .prom, one for each job. The time of the last success is kept from an earlier run. - is standard output.
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Do not report that the lock is held, waited for, or kept
    #[arg(short, long)]
    pub quiet: bool,
    /// Run LINE with $SHELL, or with /bin/sh, instead of CMD
    #[arg(short, long = "command", value_name = "LINE", conflicts_with = "argv")]
    pub command: Option<OsString>,
}
