//! `dynamo-lock`: run a command under a shared lock, on one machine or on many.
//!
//! ```text
//! dynamo-lock run nightly-report -- ./report.sh          # waits its turn, runs it, gives the lock up
//! dynamo-lock --table Lock run -n deploy -- ./deploy.sh  # on a DynamoDB table; exit 75 if somebody else is at it
//! ```
//!
//! One way through: `args` (as typed) → `plan` (as meant) → `run` and `commands` (the work) → `exit` (the code, decided
//! in one place). All that is printed goes through `print`, which escapes what other people wrote.

mod args;
mod commands;
mod exit;
mod plan;
mod print;
mod run;
mod store;

use clap::Parser;

use crate::args::Args;
use crate::exit::{End, Failure, Kind};
use crate::plan::{Plan, Task};

fn main() -> std::process::ExitCode {
    exit::on_panic();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return exit::not_parsed(&error),
    };
    let end = plan::plan(args, variable).and_then(|plan| {
        // One thread: the embedded store has its own, and the child's parent-death signal is bound to this one.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            Failure::new(Kind::Internal, format!("cannot start: {error}; try again with less load"))
        })?;
        let end = runtime.block_on(act(plan));
        // Not to wait for a name server that does not answer.
        runtime.shutdown_background();
        end
    });
    exit::finish(end)
}

/// A variable of the environment. What is no text is no valid value of any that is asked for, and stays so.
fn variable(key: &str) -> Option<String> {
    std::env::var_os(key).map(|value| value.into_string().unwrap_or_else(|_| "\u{fffd}".to_owned()))
}

async fn act(plan: Plan) -> Result<End, Failure> {
    let store = store::open(&plan.store).await?;
    match plan.task {
        Task::Run(task) => run::run(&store, &task).await,
        Task::Hold { name, duration, owner } => commands::hold(&store, &name, duration, owner).await,
        Task::Show { name, json } => commands::show(&store, &name, json).await,
        Task::Table(task) => commands::table(&store, task).await,
    }
}
