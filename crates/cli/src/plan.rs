//! The command line as meant: checked, with defaults filled in. Pure, but for the environment that it is given.

use std::ffi::OsString;
use std::time::Duration;

use dynamo_lock::LockName;
use dynamo_lock::store::StoreUrl;

use crate::args::{Args, Command, RunArgs, StoreArgs, TableCommand};
use crate::exit::{Failure, Kind, NOT_ACQUIRED};
use crate::list::ListTask;

/// The child's variables: which lock it runs under.
pub const NAME: &str = "DYNAMO_LOCK_NAME";
/// The fencing token of that lock.
pub const TOKEN: &str = "DYNAMO_LOCK_TOKEN";
/// Who asked for it.
pub const OWNER: &str = "DYNAMO_LOCK_OWNER";
/// Its store; also where the store is looked for if no flag names one.
pub const STORE: &str = "DYNAMO_LOCK_STORE";
/// All runs around the child, as JSON: for a run inside, that it does not wait for one of them.
pub const RUNS: &str = "DYNAMO_LOCK_RUNS";

/// The longest grace unless another is asked for.
const GRACE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Plan {
    pub store: Choice,
    pub task: Task,
}

/// Which store.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// The embedded one of this user on this machine.
    Default,
    Url(StoreUrl),
}

#[derive(Debug)]
pub enum Task {
    Run(RunTask),
    Hold { name: String, duration: Duration, owner: String },
    Show { name: String, json: bool },
    List(ListTask),
    Revoke(RevokeTask),
    Table(TableCommand),
    Completions(clap_complete::Shell),
    Man,
}

/// Arguments of `revoke`.
#[derive(Debug)]
pub struct RevokeTask {
    pub name: String,
    /// Token of the acquisition to revoke. Without it the user is shown the current holder and asked.
    pub token: Option<u64>,
    /// Free the lock at once, even though its holder may still be working.
    pub force: bool,
    /// Skip questions.
    pub yes: bool,
}

#[derive(Debug)]
pub struct RunTask {
    pub name: LockName,
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub wait_mode: WaitMode,
    /// The exit code if the lock is not acquired.
    pub conflict: u8,
    pub lease: Duration,
    /// Taken from the end of the lease, to end the command in.
    pub grace: Duration,
    pub max_hold: Option<Duration>,
    /// It is kept for so long, however quick the command.
    pub at_least: Option<Duration>,
    pub owner: String,
    pub quiet: bool,
    /// The locks that this very process runs under.
    pub outer: Vec<Outer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitMode {
    None,
    AtMost(Duration),
    Endless,
}

/// A `run` around this one, as the environment tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Outer {
    pub name: String,
    pub token: u64,
    pub store: String,
}

/// What the arguments mean in this environment.
pub fn plan(args: Args, env: impl Fn(&str) -> Option<String>) -> Result<Plan, Failure> {
    let store = match args.command {
        Command::Completions { .. } | Command::Man => Choice::Default,
        _ => choose(&args.store, env(STORE))?,
    };
    let task = match args.command {
        Command::Run(run) => Task::Run(run_task(run, &env)?),
        Command::Hold { name, duration, owner } => {
            Task::Hold { name, duration, owner: owner.unwrap_or_else(|| user(&env)) }
        }
        Command::Show { name, json } => Task::Show { name, json },
        Command::Ls { prefix, held, json } => Task::List(ListTask { prefix, held, json }),
        Command::Revoke { name, token, force, yes } => Task::Revoke(RevokeTask { name, token, force, yes }),
        Command::Table(command) => Task::Table(command),
        Command::Completions { shell } => Task::Completions(shell),
        Command::Man => Task::Man,
    };
    Ok(Plan { store, task })
}

fn run_task(run: RunArgs, env: &impl Fn(&str) -> Option<String>) -> Result<RunTask, Failure> {
    let (program, arguments) = match run.command {
        Some(line) => {
            let shell = env("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".to_owned());
            (shell.into(), vec!["-c".into(), line])
        }
        None => {
            let mut argv = run.argv.into_iter();
            let program = argv.next().ok_or_else(|| Failure::usage("name a command to run, or give a line with -c"))?;
            (program, argv.collect())
        }
    };
    let wait_mode = match run.wait {
        Some(limit) if limit.is_zero() => WaitMode::None,
        Some(limit) => WaitMode::AtMost(limit),
        None if run.nonblock || run.skip => WaitMode::None,
        None => WaitMode::Endless,
    };
    // The end of the longest hold is the command's, to be ended in.
    if run.max_hold.zip(run.at_least).is_some_and(|(most, least)| least > most / 4 * 3) {
        return Err(Failure::usage(
            "--at-least is more than three quarters of --max-hold: keep the lock for less, or allow more",
        ));
    }
    let longest = run.max_hold.map_or(run.lease, |most| most.min(run.lease));
    let grace = run.grace.unwrap_or((longest / 4).min(GRACE_MAX));
    if grace > longest / 2 {
        return Err(Failure::usage(
            "--grace is more than half of --lease or --max-hold, of which it is taken: allow less, or make that longer",
        ));
    }
    Ok(RunTask {
        name: LockName::new(run.name).map_err(Failure::usage)?,
        program,
        arguments,
        wait_mode,
        conflict: if run.skip { 0 } else { run.conflict_exit_code.unwrap_or(NOT_ACQUIRED) },
        lease: run.lease,
        grace,
        max_hold: run.max_hold,
        at_least: run.at_least,
        owner: run.owner.unwrap_or_else(|| user(env)),
        quiet: run.quiet || run.skip,
        outer: outer(env),
    })
}

fn outer(env: &impl Fn(&str) -> Option<String>) -> Vec<Outer> {
    let runs = env(RUNS).and_then(|runs| serde_json::from_str::<Vec<(String, u64, String)>>(&runs).ok());
    runs.unwrap_or_default().into_iter().map(|(name, token, store)| Outer { name, token, store }).collect()
}

/// What the child is told of the runs around it: those around us, and ours.
pub fn runs(outer: &[Outer], name: &str, token: u64, store: &str) -> String {
    let all = outer.iter().map(|outer| (outer.name.as_str(), outer.token, outer.store.as_str()));
    serde_json::json!(all.chain([(name, token, store)]).collect::<Vec<_>>()).to_string()
}

/// The user's name: whom to ask, if somebody waits for this lock.
fn user(env: &impl Fn(&str) -> Option<String>) -> String {
    let fits = |name: &String| (1..=64).contains(&name.len());
    env("USER").filter(fits).or_else(|| env("LOGNAME").filter(fits)).unwrap_or_else(|| "dynamo-lock".to_owned())
}

/// Flags win over the environment, and the environment over the default.
fn choose(args: &StoreArgs, env: Option<String>) -> Result<Choice, Failure> {
    let url = match (&args.store, &args.table, env.filter(|url| !url.is_empty())) {
        (Some(url), _, _) => StoreUrl::parse(url).map_err(Failure::usage)?,
        (None, Some(table), _) => StoreUrl::parse(&format!("dynamodb://{table}")).map_err(Failure::usage)?,
        (None, None, Some(url)) => StoreUrl::parse(&url)
            .map_err(|error| Failure::new(Kind::Configuration, format!("the environment's {STORE}: {error}")))?,
        (None, None, None) => {
            return if args.region.is_none() && args.profile.is_none() && args.endpoint_url.is_none() {
                Ok(Choice::Default)
            } else {
                Err(no_table())
            };
        }
    };
    let url = with_flags(url, args)?;
    if url == StoreUrl::Memory {
        return Err(Failure::usage(
            "`memory:` lasts as long as one process, so it would guard nothing: name a file or a table",
        ));
    }
    Ok(Choice::Url(url))
}

fn with_flags(url: StoreUrl, args: &StoreArgs) -> Result<StoreUrl, Failure> {
    if args.region.is_none() && args.profile.is_none() && args.endpoint_url.is_none() {
        return Ok(url);
    }
    let StoreUrl::DynamoDb(mut table) = url else { return Err(no_table()) };
    table.region = args.region.clone().or(table.region);
    table.profile = args.profile.clone().or(table.profile);
    table.endpoint = args.endpoint_url.clone().or(table.endpoint);
    // Through the parser once more: flags obey the rules of the URL.
    StoreUrl::parse(&StoreUrl::DynamoDb(table).to_string()).map_err(Failure::usage)
}

fn no_table() -> Failure {
    Failure::usage("--region, --profile and --endpoint-url are for a DynamoDB table: name it with --table")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(store: Option<&str>, table: Option<&str>, region: Option<&str>, env: Option<&str>) -> String {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let args = StoreArgs { store: text(store), table: text(table), region: text(region), ..StoreArgs::default() };
        match choose(&args, text(env)) {
            Ok(Choice::Default) => "default".to_owned(),
            Ok(Choice::Url(url)) => url.to_string(),
            Err(failure) => format!("{:?}", failure.kind),
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_default() {
        assert_eq!(choice(Some("sqlite:///a"), None, None, Some("sqlite:///b")), "sqlite:///a");
        assert_eq!(choice(None, Some("Lock"), None, Some("sqlite:///b")), "dynamodb://Lock");
        assert_eq!(choice(None, None, None, Some("sqlite:///b")), "sqlite:///b");
        assert_eq!(choice(None, None, None, Some("")), "default");
        assert_eq!(choice(None, None, None, None), "default");
    }

    #[test]
    fn what_a_child_is_told_of_its_runs_is_understood_inside() {
        let around = |name: &str, token| Outer { name: name.to_owned(), token, store: "s".to_owned() };
        let told = runs(&[around("a", 1)], "b\"", 2, "s");
        assert_eq!(outer(&|_| Some(told.clone())), [around("a", 1), around("b\"", 2)]);
        for other in ["", "1", "[[]]", r#"[["a",-1,"s"]]"#] {
            assert_eq!(outer(&|_| Some(other.to_owned())), [], "{other}");
        }
    }

    #[test]
    fn a_region_belongs_to_a_table() {
        assert_eq!(choice(None, Some("Lock"), Some("eu-west-1"), None), "dynamodb://Lock?region=eu-west-1");
        assert_eq!(choice(None, Some("Lock"), Some("not a region"), None), "Usage");
        assert_eq!(choice(None, None, Some("eu-west-1"), None), "Usage");
        assert_eq!(choice(Some("sqlite:///a"), None, Some("eu-west-1"), None), "Usage");
    }

    #[test]
    fn a_store_that_guards_nothing_is_refused() {
        assert_eq!(choice(Some("memory:"), None, None, None), "Usage");
        assert_eq!(choice(None, None, None, Some("nonsense")), "Configuration");
    }
}
