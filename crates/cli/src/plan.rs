//! The task of `run` or `once`, and the choice of the store, validated and with defaults filled in.
//!
//! The functions are pure: they depend on the arguments and the environment that they are given, and on nothing else.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use dynamo_lock::{LockName, store::DynamoDbUrl, store::StoreUrl};
use dynamo_lock_protocol::{LEASE_MAX, LEASE_MIN, LockNames, OWNER_MAX};
use nix::sys::signal::Signal;

use crate::args::{ExecutionArgs, OnceArgs, RunArgs, StoreArgs, SupervisionArgs, WaitArgs};
use crate::env::{self, EnclosingRun, set};
use crate::{drill::Drill, exit::NOT_ACQUIRED, failure::Failure, owner, values};

/// Lease without `--lease` and its variable.
const DEFAULT_LEASE: Duration = Duration::from_secs(20);

/// Upper bound of the default grace.
const DEFAULT_GRACE_MAX: Duration = Duration::from_secs(5);

/// A command to run under a lock: the validated arguments of `run`.
#[derive(Debug)]
pub struct RunTask {
    /// Name of the lock, or of the first one as given.
    pub name: LockName,
    /// Names of all locks, if several are acquired together.
    pub all: Option<LockNames>,
    /// Command with its arguments.
    pub argv: Vec<OsString>,
    /// Longest wait for a held lock: zero for no wait, `None` for no limit.
    pub wait_limit: Option<Duration>,
    /// Exit code if the lock is not acquired.
    pub conflict_code: u8,
    pub lease: Duration,
    /// Time that is reserved at the end of the lease for ending the command.
    pub grace: Duration,
    pub warning: Option<Warning>,
    /// Path of the file that exists while the command runs.
    pub ready_file: Option<PathBuf>,
    /// Loss that is rehearsed.
    pub drill: Option<Drill>,
    /// Whether the command runs again after a failure or a loss.
    pub forever: bool,
    pub max_hold: Option<Duration>,
    /// Time for which the lock is kept, even if the command ends earlier.
    pub at_least: Option<Duration>,
    pub owner: String,
    pub quiet: bool,
    /// Whether to print how long the acquisition took.
    pub verbose: bool,
    pub sharing: Sharing,
    /// The command runs until it has succeeded once.
    pub once: Option<OnceTask>,
    /// Runs that enclose this process. If it waited for one of their locks, the wait would never end.
    pub enclosing_runs: Vec<EnclosingRun>,
}

impl RunTask {
    /// Returns the names of all locks.
    pub fn names(&self) -> &[LockName] {
        self.all.as_ref().map_or(std::slice::from_ref(&self.name), LockNames::as_slice)
    }

    /// Returns the lock, or all of them, as a phrase for messages.
    pub fn phrase(&self) -> String {
        let names: Vec<_> = self.names().iter().map(|name| format!("{:?}", name.as_str())).collect();
        match &names[..] {
            [name] => format!("lock {name}"),
            names => format!("one of the locks {}", names.join(", ")),
        }
    }
}

/// Number of runs that may hold the lock at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One, also if the row is one of a read/write lock.
    Alone,
    /// All that share the lock.
    Shared,
    /// This number.
    Slots(u64),
}

/// The success of a command that runs until it has succeeded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnceTask {
    /// Time for which the success counts, `None` until it is reset.
    pub lasts: Option<Duration>,
}

/// Signal to the command before its lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning {
    pub signal: Signal,
    /// Time that is left of the lease when the signal is sent.
    pub margin: Duration,
}

/// Returns the task that the arguments of `run` describe in this environment.
pub fn run_task(run: RunArgs, env: impl Fn(&str) -> Option<String>) -> Result<RunTask, Failure> {
    let (max_hold, wait) = (run.supervision.max_hold, run.waiting.wait);
    // The last quarter of the longest hold is reserved for ending the command.
    if max_hold.zip(run.at_least).is_some_and(|(most, least)| least > most / 4 * 3) {
        return Err(Failure::usage(
            "--at-least is more than three quarters of --max-hold: make it shorter, or --max-hold longer",
        ));
    }
    if run.forever && wait == Some(Duration::ZERO) {
        return Err(Failure::usage("--forever waits for the lock, and --wait 0 does not: leave one of them out"));
    }
    let names = (!run.also.is_empty()).then(|| std::iter::once(&run.name).chain(&run.also));
    let all = names.map(LockNames::new).transpose().map_err(Failure::usage)?;
    let sharing = match run.slots {
        Some(slots) => Sharing::Slots(slots),
        None if run.shared => Sharing::Shared,
        None => Sharing::Alone,
    };
    let task = task(run.name, run.argv, (run.waiting, run.supervision, run.execution), env)?;
    let RunArgs { ready_file, forever, drill, at_least, .. } = run;
    Ok(RunTask { all, ready_file, sharing, forever, drill, at_least, ..task })
}

/// Returns the task that the arguments of `once` describe in this environment.
pub fn once_task(once: OnceArgs, env: impl Fn(&str) -> Option<String>) -> Result<RunTask, Failure> {
    if once.yes {
        return Err(Failure::usage("--yes confirms only --reset: leave it out"));
    }
    let task = task(once.name, once.argv, (once.waiting, once.supervision, once.execution), env)?;
    Ok(RunTask { once: Some(OnceTask { lasts: once.lasts }), ..task })
}

/// Returns the task with the arguments that `run` and `once` have in common.
fn task(
    name: String,
    argv: Vec<OsString>,
    (waiting, supervision, execution): (WaitArgs, SupervisionArgs, ExecutionArgs),
    env: impl Fn(&str) -> Option<String>,
) -> Result<RunTask, Failure> {
    let argv = match execution.command {
        Some(line) => {
            let shell = set(&env, env::SHELL).unwrap_or_else(|| "/bin/sh".to_owned());
            vec![shell.into(), "-c".into(), line]
        }
        None => argv,
    };
    let SupervisionArgs { lease, grace, warn_signal, max_hold } = supervision;
    let lease = lease.map_or_else(|| self::lease(&env), Ok)?;
    let longest = max_hold.map_or(lease, |most| most.min(lease));
    let grace = grace.unwrap_or((longest / 4).min(DEFAULT_GRACE_MAX));
    if grace > longest / 2 {
        return Err(Failure::usage(
            "--grace is more than half of --lease or --max-hold, at the end of which it is reserved: make it shorter, \
             or the other longer",
        ));
    }
    let WaitArgs { nonblock, wait, conflict_exit_code, skip } = waiting;
    Ok(RunTask {
        name: LockName::new(name).map_err(Failure::usage)?,
        all: None,
        argv,
        wait_limit: wait.or((nonblock || skip).then_some(Duration::ZERO)),
        conflict_code: if skip { 0 } else { conflict_exit_code.unwrap_or(NOT_ACQUIRED) },
        lease,
        grace,
        warning: warning(warn_signal, longest, grace)?,
        ready_file: None,
        forever: false,
        drill: None,
        max_hold,
        at_least: None,
        owner: owner(execution.owner, &env)?,
        quiet: execution.quiet || skip,
        verbose: false,
        sharing: Sharing::Alone,
        once: None,
        enclosing_runs: env::parse_runs(env(env::RUNS)),
    })
}

/// Returns the warning of `--warn-signal`. `longest` is the longest time that can be left of the lease.
fn warning(
    signal: Option<(Signal, Option<Duration>)>,
    longest: Duration,
    grace: Duration,
) -> Result<Option<Warning>, Failure> {
    let Some((signal, margin)) = signal else { return Ok(None) };
    let margin = margin.unwrap_or(longest / 2);
    if margin <= grace {
        return Err(Failure::usage(
            "--warn-signal would not be sent before --grace begins: make its time longer, or --grace shorter",
        ));
    }
    // A renewal begins when three quarters of the lease are left.
    if margin > longest / 3 * 2 {
        return Err(Failure::usage(
            "the time of --warn-signal is more than two thirds of --lease or --max-hold, so that it would be sent \
             although renewals succeed: make it shorter, or the other longer",
        ));
    }
    Ok(Some(Warning { signal, margin }))
}

/// Returns the lease of the environment, or the default.
fn lease(env: impl Fn(&str) -> Option<String>) -> Result<Duration, Failure> {
    let Some(text) = set(env, env::LEASE) else { return Ok(DEFAULT_LEASE) };
    let lease = values::duration(&text).ok().filter(|lease| (LEASE_MIN..=LEASE_MAX).contains(lease));
    lease
        .ok_or_else(|| invalid(env::LEASE, format!("{text:?} is no lease; expected 1s to 1h, for example 30 or 1m30s")))
}

/// Returns the owner label: that of the option, of the environment, or the default.
pub fn owner(option: Option<String>, env: impl Fn(&str) -> Option<String>) -> Result<String, Failure> {
    if let Some(label) = option {
        return Ok(label);
    }
    match set(&env, env::OWNER) {
        Some(label) if label.len() > OWNER_MAX => {
            let length = label.len();
            Err(invalid(env::OWNER, format!("a label has at most {OWNER_MAX} bytes, not {length}; use a shorter one")))
        }
        Some(label) => Ok(label),
        None => Ok(owner::default_label(env)),
    }
}

/// Returns the failure for a variable with an invalid value.
fn invalid(variable: &str, problem: impl std::fmt::Display) -> Failure {
    Failure::configuration(format!("cannot use the environment variable {variable}: {problem}"))
}

/// Returns the store to use, `None` for the embedded store of this user on this machine. Flags take precedence over the
/// environment, and the environment over the default.
///
/// [`env::STORE`] takes precedence over [`env::TABLE`], because an enclosing `run` sets it to the store that it uses.
pub fn choose_store(args: &StoreArgs, env: impl Fn(&str) -> Option<String>) -> Result<Option<StoreUrl>, Failure> {
    let parse_table = |table: &str| StoreUrl::parse(&format!("dynamodb://{table}"));
    let url = match (&args.store, &args.table) {
        (Some(url), _) => Some(StoreUrl::parse(url).map_err(Failure::usage)?),
        (None, Some(table)) => Some(parse_table(table).map_err(Failure::usage)?),
        (None, None) => match (set(&env, env::STORE), set(&env, env::TABLE)) {
            (Some(url), _) => Some(StoreUrl::parse(&url).map_err(|error| invalid(env::STORE, error))?),
            (None, Some(table)) => Some(parse_table(&table).map_err(|error| invalid(env::TABLE, error))?),
            (None, None) => None,
        },
    };
    let has_table_flags = args.region.is_some() || args.profile.is_some() || args.endpoint_url.is_some();
    match url {
        Some(StoreUrl::DynamoDb(mut table)) if has_table_flags => {
            table.region = args.region.clone().or(table.region);
            table.profile = args.profile.clone().or(table.profile);
            table.endpoint = args.endpoint_url.clone().or(table.endpoint);
            // The URL is parsed again, so that the rules for URLs apply to flags as well.
            StoreUrl::parse(&StoreUrl::DynamoDb(table).to_string()).map(Some).map_err(Failure::usage)
        }
        _ if has_table_flags => Err(Failure::usage(
            "--region, --profile and --endpoint-url apply only to a DynamoDB table: name one with --table",
        )),
        Some(StoreUrl::Memory) => Err(Failure::usage(
            "cannot use the store `memory:`: it ends with its process, so its locks exclude no other process; \
             name a file or a table",
        )),
        url => Ok(url),
    }
}

/// Returns the table, or a usage error if the store is not one.
pub fn choose_table(store: Option<StoreUrl>) -> Result<DynamoDbUrl, Failure> {
    match store {
        Some(StoreUrl::DynamoDb(table)) => Ok(table),
        _ => Err(not_a_table()),
    }
}

/// Returns the usage error for a command that needs a table.
pub fn not_a_table() -> Failure {
    Failure::usage("this store is a file, not a DynamoDB table: name a table with --table")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(store: Option<&str>, table: Option<&str>, region: Option<&str>, env: Option<&str>) -> String {
        choice_with(store, table, region, &[(env::STORE, env)])
    }

    fn choice_with(
        store: Option<&str>,
        table: Option<&str>,
        region: Option<&str>,
        env: &[(&str, Option<&str>)],
    ) -> String {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let args = StoreArgs { store: text(store), table: text(table), region: text(region), ..StoreArgs::default() };
        let value = |key: &str| env.iter().find(|(name, _)| *name == key).and_then(|(_, value)| text(*value));
        match choose_store(&args, value) {
            Ok(None) => "default".to_owned(),
            Ok(Some(url)) => url.to_string(),
            Err(failure) => format!("{:?}", failure.kind),
        }
    }

    #[test]
    fn flags_override_the_environment_and_the_default() {
        assert_eq!(choice(Some("sqlite:///a"), None, None, Some("sqlite:///b")), "sqlite:///a");
        assert_eq!(choice(None, Some("Lock"), None, Some("sqlite:///b")), "dynamodb://Lock");
        assert_eq!(choice(None, None, None, Some("sqlite:///b")), "sqlite:///b");
        assert_eq!(choice(None, None, None, Some("")), "default");
        assert_eq!(choice(None, None, None, None), "default");
    }

    #[test]
    fn region_without_table_is_a_usage_error() {
        assert_eq!(choice(None, Some("Lock"), Some("eu-west-1"), None), "dynamodb://Lock?region=eu-west-1");
        assert_eq!(choice(None, Some("Lock"), Some("not a region"), None), "Usage");
        assert_eq!(choice(None, None, Some("eu-west-1"), None), "Usage");
        assert_eq!(choice(Some("sqlite:///a"), None, Some("eu-west-1"), None), "Usage");
    }

    #[test]
    fn memory_store_and_malformed_url_are_rejected() {
        assert_eq!(choice(Some("memory:"), None, None, None), "Usage");
        assert_eq!(choice(None, None, None, Some("nonsense")), "Configuration");
    }

    /// The variable of the store wins, because a `run` sets it for its command beside an inherited table.
    #[test]
    fn table_of_the_environment_is_used_without_store() {
        let choice =
            |store, table, region| choice_with(None, None, region, &[(env::STORE, store), (env::TABLE, table)]);
        assert_eq!(choice(None, Some("Lock"), None), "dynamodb://Lock");
        assert_eq!(choice(Some(""), Some("Lock"), Some("eu-west-1")), "dynamodb://Lock?region=eu-west-1");
        assert_eq!(choice(Some("sqlite:///a"), Some("Lock"), None), "sqlite:///a");
        assert_eq!(choice(None, Some(""), None), "default");
        assert_eq!(choice(None, Some("x y"), None), "Configuration");
        assert_eq!(choice_with(Some("sqlite:///a"), None, None, &[(env::TABLE, Some("x y"))]), "sqlite:///a");
    }

    #[test]
    fn lease_and_owner_come_from_the_environment() {
        let with = |key: &'static str, value: &str| {
            let value = value.to_owned();
            move |name: &str| (name == key).then(|| value.clone())
        };
        let seconds = |value: &str| lease(with(env::LEASE, value)).map(|lease| lease.as_secs()).ok();
        assert_eq!(
            (seconds("45"), seconds("1m30s"), seconds("1h"), seconds("")),
            (Some(45), Some(90), Some(3600), Some(20))
        );
        for wrong in ["0", "999ms", "2h", "soon", "-1"] {
            let failure = lease(with(env::LEASE, wrong)).expect_err(wrong);
            assert!(failure.message.contains(env::LEASE) && failure.message.contains(wrong), "{failure:?}");
        }
        let label = |option: Option<&str>, value: &str| owner(option.map(str::to_owned), with(env::OWNER, value)).ok();
        assert_eq!(label(None, "ci").as_deref(), Some("ci"));
        assert_eq!(label(Some("me"), "ci").as_deref(), Some("me"));
        assert_eq!(label(None, "").as_deref(), Some("dynamo-lock"));
        assert_eq!(label(None, &"x".repeat(OWNER_MAX + 1)), None);
        assert_eq!(label(Some("me"), &"x".repeat(OWNER_MAX + 1)).as_deref(), Some("me"));
    }
}
