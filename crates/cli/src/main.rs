//! `dynamo-lock`: run a command under a shared lock, on one machine or on many.
//!
//! ```text
//! dynamo-lock run nightly-report -- ./report.sh          # waits its turn, runs it, gives the lock up
//! dynamo-lock --table Lock run -n deploy -- ./deploy.sh  # on a DynamoDB table; exit 75 if somebody else is at it
//! ```
//!
//! One way through: `args` (as typed) → `plan` (as meant) → `run` and `commands` (the work) → `exit` (the code, decided
//! in one place). `run` has its command under a `supervisor`, a process of its own. All that is printed goes through
//! `print`, which escapes what other people wrote.

mod args;
mod ask;
mod at_least;
mod clock;
mod commands;
mod exit;
mod ignored;
mod list;
mod manual;
mod plan;
mod print;
mod report;
mod revoke;
mod run;
mod store;
mod supervisor;
mod view;
mod waiting;

use clap::Parser;

use crate::args::Args;
use crate::exit::{End, Failure, Kind};
use crate::plan::{Plan, Task};
use crate::report::{Report, Story};

fn main() -> std::process::ExitCode {
    if let Some(arguments) = supervisor::invoked(std::env::args_os()) {
        return supervisor::main(arguments);
    }
    exit::on_panic();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return exit::not_parsed(&error),
    };
    let end = args.reported().map(Report::open).transpose().and_then(|report| {
        let mut story = Story::default();
        let end = plan::plan(args, variable).and_then(|plan| carry_out(plan, &mut story));
        if let Some(report) = report {
            report.write(&story, &end);
        }
        end
    });
    exit::finish(&end)
}

/// A variable of the environment. What is no text is no valid value of any that is asked for, and stays so.
fn variable(key: &str) -> Option<String> {
    std::env::var_os(key).map(|value| value.into_string().unwrap_or_else(|_| "\u{fffd}".to_owned()))
}

fn carry_out(plan: Plan, story: &mut Story) -> Result<End, Failure> {
    // One thread is enough: the embedded store has its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot start: {error}; try again with less load")))?;
    let end = runtime.block_on(act(plan, story));
    // Not to wait for a name server that does not answer.
    runtime.shutdown_background();
    end
}

async fn act(Plan { store, task }: Plan, story: &mut Story) -> Result<End, Failure> {
    let open = || store::open(&store);
    match task {
        Task::Run(task) => run::run(&open().await?, &task, story).await,
        Task::Hold { name, duration, owner } => commands::hold(&open().await?, &name, duration, owner).await,
        Task::Show { name, json } => commands::show(&open().await?, &name, json).await,
        Task::List(task) => list::list(&open().await?, &task).await,
        Task::Revoke(task) => revoke::revoke(&open().await?, &task).await,
        Task::Table(task) => commands::table(&open().await?, task).await,
        Task::Completions(shell) => manual::completions(shell),
        Task::Man => manual::man(),
    }
}
