//! `dynamo-lock`: runs a command under a shared lock, on one machine or on many.
//!
//! ```text
//! dynamo-lock run nightly-report -- ./report.sh          # waits for the lock, runs the command, releases the lock
//! dynamo-lock --table Lock run -n deploy -- ./deploy.sh  # on a DynamoDB table; exits with 75 if the lock is held
//! ```
//!
//! Data flows in one direction: [`args`] parses the command line, [`plan`] validates it and fills in defaults,
//! [`commands`] does the work on the [`store`], and [`exit`] assigns the exit code. `run` starts its command through a
//! [`supervisor`] process. [`ui`] prints everything that people see.

mod args;
mod clock;
mod commands;
mod env;
mod exit;
mod failure;
mod plan;
mod signal_mask;
mod signals;
mod stdio;
mod store;
mod supervisor;
mod sys;
mod ui;

use crate::commands::run::report::{Report, RunOutcome};
use crate::exit::Exit;
use crate::failure::{Failure, FailureKind};
use crate::plan::{Plan, Task};

fn main() -> std::process::ExitCode {
    if let Some(arguments) = supervisor::arguments(std::env::args_os()) {
        return supervisor::main(arguments);
    }
    exit::exit_on_panic();
    let args = match args::parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    // The report is opened first, so that it contains every later failure.
    let result = args.report().map(Report::open).transpose().and_then(|report| {
        let mut outcome = RunOutcome::default();
        let result = plan::plan(args, env::variable).and_then(|plan| execute(plan, &mut outcome));
        if let Some(report) = report {
            report.write(&outcome, &result);
        }
        result
    });
    exit::finish(&result)
}

fn execute(plan: Plan, outcome: &mut RunOutcome) -> Result<Exit, Failure> {
    // One thread is enough, because the embedded store has its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(FailureKind::Internal, format!("cannot start: {error}; try again with less load"))
    })?;
    let result = runtime.block_on(execute_task(plan, outcome));
    // A name server that does not respond may still occupy a thread, which we do not wait for.
    runtime.shutdown_background();
    result
}

async fn execute_task(Plan { store, task }: Plan, outcome: &mut RunOutcome) -> Result<Exit, Failure> {
    let open = || store::open(&store);
    match task {
        Task::Run(task) => commands::run::run(&open().await?, &task, outcome).await,
        Task::Hold(task) => commands::hold::hold(&open().await?, task).await,
        Task::Show(task) => commands::show::show(&open().await?, &task).await,
        Task::List(task) => commands::list::list(&open().await?, &task).await,
        Task::Revoke(task) => commands::revoke::revoke(&open().await?, &task).await,
        Task::Table(command) => commands::table::table(&open().await?, command).await,
        Task::Completions(shell) => commands::man::completions(shell),
        Task::Man => commands::man::man(),
    }
}
