//! The command line as typed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};
use dynamo_lock::FencingToken;

use crate::exit;
use crate::run::SIGNALS;

/// One thing at a time, on one machine or on many: run a command under a shared lock
#[derive(Debug, Parser)]
#[command(name = "dynamo-lock", version, after_help = exit::help(), infer_long_args = false)]
pub struct Args {
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the locks live.
#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Where the locks live")]
pub struct StoreArgs {
    /// sqlite:///path/locks.db or dynamodb://TABLE[?region=…&endpoint=…&profile=…&partition_key=…&service_clock=on|off];
    /// without it DYNAMO_LOCK_STORE, else a file that guards this user on this machine
    #[arg(long, global = true, value_name = "URL")]
    pub store: Option<String>,
    /// A DynamoDB table: short for --store dynamodb://NAME
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "store")]
    pub table: Option<String>,
    /// The table's AWS Region
    #[arg(long, global = true, value_name = "NAME")]
    pub region: Option<String>,
    /// A profile of the AWS configuration files
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Where DynamoDB is, if not at AWS
    #[arg(long, global = true, value_name = "URL")]
    pub endpoint_url: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command while holding a lock
    Run(RunArgs),
    /// Take a lock for a fixed time: nothing renews or releases it. Prints its token
    Hold {
        /// The lock
        name: String,
        /// For how long: 1 s to 30 days
        #[arg(value_name = "DUR", value_parser = hold, allow_negative_numbers = true)]
        duration: Duration,
        /// Who asks, for people
        #[arg(long, value_name = "TEXT")]
        owner: Option<String>,
    },
    /// Tell what is known of a lock
    Show {
        /// The lock
        name: String,
        /// One JSON object on standard output
        #[arg(long)]
        json: bool,
    },
    /// List the locks, as they were a moment ago
    Ls {
        /// Only those whose names begin so
        #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
        prefix: String,
        /// Only those that somebody holds, as far as can be known
        #[arg(long)]
        held: bool,
        /// One JSON object a line on standard output
        #[arg(long)]
        json: bool,
    },
    /// End another client's acquisition of a lock, for example if its holder is stuck
    ///
    /// Other clients acquire the lock when the lease of the revoked holder has expired.
    Revoke {
        /// Name of the lock
        name: String,
        /// Fencing token of the acquisition, as printed by show and ls
        ///
        /// Nothing is revoked if the lock has been acquired again since. On a terminal, revoke shows the current
        /// holder and asks for confirmation if this option is missing.
        #[arg(long, value_name = "N", value_parser = token, allow_negative_numbers = true)]
        token: Option<u64>,
        /// Free the lock at once; unsafe if its holder is still running
        #[arg(long)]
        force: bool,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Create, delete or check the DynamoDB table
    #[command(subcommand)]
    Table(TableCommand),
    /// Print what a shell needs to complete these commands
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, as roff: dynamo-lock man | man -l -
    Man,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = format!("Signals:\n  {SIGNALS}\n\n{}", exit::help()))]
pub struct RunArgs {
    /// Wait for no holder. A store that does not answer is given up after about one lease, however patient the run, with
    /// exit code 69
    #[arg(short = 'n', long = "nonblock", visible_alias = "nb", conflicts_with = "wait")]
    pub nonblock: bool,
    /// Wait this long at most for a holder: seconds, or as 1m30s; 0 is -n. Without it, for ever
    #[arg(short, long, visible_alias = "timeout", value_name = "DUR", value_parser = duration, allow_negative_numbers = true)]
    pub wait: Option<Duration>,
    /// Exit code if the lock was not acquired, in place of 75
    #[arg(short = 'E', long, value_name = "CODE", value_parser = code, allow_negative_numbers = true)]
    pub conflict_exit_code: Option<u8>,
    /// If somebody else holds the lock, exit 0 without running: for cron. Waits only with -w
    #[arg(long, conflicts_with = "conflict_exit_code")]
    pub skip: bool,
    /// How long others wait if this host crashes: 1 s to 1 h
    #[arg(long, value_name = "DUR", value_parser = duration, allow_negative_numbers = true, default_value = "20s")]
    pub lease: Duration,
    /// If the lock is about to be lost, how long the command has from TERM to KILL. It is taken from the end of the
    /// lease, a quarter of it and 5 s at most unless given; 0 is KILL at once
    #[arg(long, value_name = "DUR", value_parser = duration, allow_negative_numbers = true)]
    pub grace: Option<Duration>,
    /// End the command before it has held the lock for this long: 1 s or more
    #[arg(long, value_name = "DUR", value_parser = duration, allow_negative_numbers = true)]
    pub max_hold: Option<Duration>,
    /// Keep the lock for so long after taking it, 30 days at most, even if the command is quicker: where hosts' clocks
    /// differ, a job is not run twice. INT, TERM, HUP and QUIT end that wait
    #[arg(long, value_name = "DUR", value_parser = at_least, allow_negative_numbers = true)]
    pub at_least: Option<Duration>,
    /// Who asks, for people
    #[arg(long, value_name = "TEXT")]
    pub owner: Option<String>,
    /// Write there how it went, as one line of JSON, also if the command did not run (but not for a command line that is
    /// not understood). A file is replaced; a pipe, a link or /dev/fd/3 is written to
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Say nothing of waiting, of not getting the lock, nor of keeping it
    #[arg(short, long)]
    pub quiet: bool,
    /// A line for $SHELL (else /bin/sh) to run, in place of CMD
    #[arg(short, long = "command", value_name = "LINE", conflicts_with = "argv")]
    pub command: Option<OsString>,
    /// The lock
    pub name: String,
    /// The command and its arguments
    #[arg(value_name = "CMD", trailing_var_arg = true, required_unless_present = "command")]
    pub argv: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Create it, paid by request unless --provisioned
    Create {
        /// Fixed capacity in read and write units
        #[arg(long, value_name = "R,W", value_parser = units)]
        provisioned: Option<(u32, u32)>,
    },
    /// Delete it with all its locks
    Delete {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Tell whether locks can rest on it, and what to mend
    Check,
}

impl Args {
    /// Of which lock it is to be reported how it went, and where.
    pub fn reported(&self) -> Option<(&str, &Path)> {
        let Command::Run(run) = &self.command else { return None };
        Some((&run.name, run.report.as_deref()?))
    }
}

/// Plain seconds as in flock(1), fractions too, or `1m30s`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    let parsed = if plain {
        text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    } else {
        humantime::parse_duration(text).ok()
    };
    parsed.ok_or_else(|| "write seconds from 0 on, as 90 or 0.5, or units, as 1m30s or 250ms".to_owned())
}

/// So long a lock is kept at most where nothing ends it.
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

fn hold(text: &str) -> Result<Duration, String> {
    let in_range = |length: &Duration| (Duration::from_secs(1)..=MONTH).contains(length);
    Some(duration(text)?).filter(in_range).ok_or_else(|| "a hold is from 1 s to 30 days".to_owned())
}

fn at_least(text: &str) -> Result<Duration, String> {
    Some(duration(text)?).filter(|least| *least <= MONTH).ok_or_else(|| "a lock is kept for at most 30 days".to_owned())
}

fn code(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| "an exit code is from 0 to 255".to_owned())
}

fn token(text: &str) -> Result<u64, String> {
    let token = text.parse().ok().filter(|token| *token <= FencingToken::MAX.get());
    token.ok_or_else(|| "a token is a whole number below 2^53: `dynamo-lock show` tells it".to_owned())
}

fn units(text: &str) -> Result<(u32, u32), String> {
    let unit = |text: &str| text.trim().parse().ok().filter(|units| *units > 0);
    let both = text.split_once(',').and_then(|(read, write)| Some((unit(read)?, unit(write)?)));
    both.ok_or_else(|| "write read and write units, as 1,1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_are_seconds_or_have_units() {
        let ms = |text: &str| duration(text).map(|duration| duration.as_millis()).ok();
        assert_eq!(ms("90"), Some(90_000));
        assert_eq!(ms("0.25"), Some(250));
        assert_eq!(ms("0"), Some(0));
        assert_eq!(ms("1m30s"), Some(90_000));
        assert_eq!(ms("250ms"), Some(250));
        for wrong in ["", "-1", "1.2.3", ".", "inf", "nan", "1e3", "five", "10 parsecs", "99999999999999999999999"] {
            assert_eq!(ms(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_follows_the_command_is_its_own() {
        let args = Args::try_parse_from(["dynamo-lock", "run", "-n", "a", "ls", "-n", "--store", "x", "--", "-c"]);
        let Command::Run(run) = args.as_ref().expect("it parses").command_ref() else { panic!("not run") };
        assert_eq!(run.argv, ["ls", "-n", "--store", "x", "--", "-c"]);
        assert!(run.nonblock && run.command.is_none());
    }

    impl Args {
        fn command_ref(&self) -> &Command {
            &self.command
        }
    }
}
