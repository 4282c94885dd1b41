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
mod drill;
mod env;
mod exit;
mod failure;
mod help;
mod output_file;
mod owner;
mod plan;
mod read_units;
mod signal_mask;
mod signals;
mod startup;
mod store;
mod supervisor;
mod sys;
mod ui;
mod values;

use std::io;

use dynamo_lock::THREAD_KEEP_ALIVE;
use tokio::runtime::{Builder, Runtime};

use crate::args::{Args, Command};
use crate::commands::run::metrics_file::MetricsFile;
use crate::commands::run::report::{Report, RunOutcome};
use crate::{exit::Exit, failure::Failure, plan::RunTask, ui::log};

fn main() -> std::process::ExitCode {
    if let Some(arguments) = supervisor::arguments(std::env::args_os()) {
        return supervisor::main(arguments);
    }
    exit::exit_on_panic();
    signals::survive_file_size_limit();
    let args = match args::parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    log::start(args.verbose);
    // The report is opened first, so that it contains every later failure.
    let result = args.report().map(Report::open).transpose().and_then(|report| {
        let mut outcome = RunOutcome::default();
        let result = args.metrics_file().map(MetricsFile::open).transpose().and_then(|metrics| {
            let result = execute(args, &mut outcome);
            if let Some(metrics) = metrics {
                metrics.write(&outcome, &result);
            }
            result
        });
        if let Some(report) = report {
            report.write(&outcome, &result);
        }
        result
    });
    log::finish();
    exit::finish(&result)
}

fn execute(args: Args, outcome: &mut RunOutcome) -> Result<Exit, Failure> {
    let runtime = exit::catch_panic(start_runtime).unwrap_or_else(|message| Err(io::Error::other(message)));
    let runtime =
        runtime.map_err(|error| Failure::internal(format!("cannot start: {error}; try again with less load")))?;
    let result = runtime.block_on(execute_command(args, outcome));
    // A name server that does not respond may still occupy a thread, which we do not wait for.
    runtime.shutdown_background();
    result
}

/// Starts the runtime. Panics, as tokio does, if there are too few descriptors.
fn start_runtime() -> io::Result<Runtime> {
    // One thread is enough, because the embedded store has its own.
    Builder::new_current_thread().enable_all().thread_keep_alive(THREAD_KEEP_ALIVE).build()
}

async fn execute_command(Args { verbose, store, command }: Args, outcome: &mut RunOutcome) -> Result<Exit, Failure> {
    let verbose = verbose > 0;
    let open = || async { store::open(plan::choose_store(&store, env::variable)?).await };
    match command {
        Command::Run(args) => {
            // The arguments are validated before the store is opened, because opening may create a file.
            let task = RunTask { verbose, ..plan::run_task(args, env::variable)? };
            commands::run::run(&open().await?, &task, outcome).await
        }
        Command::Once(args) if args.reset => commands::reset::reset(&open().await?, &args).await,
        Command::Once(args) => {
            let task = RunTask { verbose, ..plan::once_task(args, env::variable)? };
            commands::run::run(&open().await?, &task, outcome).await
        }
        Command::Hold { name, duration, owner, json } => {
            let owner = plan::owner(owner, env::variable)?;
            commands::hold::hold(&open().await?, &name, duration, owner, json).await
        }
        Command::Show { name, json } => commands::show::show(&open().await?, name, json).await,
        Command::Ls(args) => commands::list::list(&open().await?, &args).await,
        #[cfg(feature = "ui")]
        Command::Ui(args) => commands::ui::ui(&open().await?, &args).await,
        Command::Reset { name, json } => commands::reset::make_plain(&open().await?, name, json).await,
        Command::Revoke(args) => commands::revoke::revoke(&open().await?, &args).await,
        Command::Table(command) => {
            let url = plan::choose_store(&store, env::variable)?;
            commands::table::table(url, command).await
        }
        Command::Doctor(args) => commands::doctor::doctor(plan::choose_store(&store, env::variable)?, &args).await,
        Command::Policy(args) => {
            let url = plan::choose_table(plan::choose_store(&store, env::variable)?)?;
            commands::policy::policy(&url, &args, env::variable)
        }
        Command::Cost(args) if args.from_table => commands::cost::cost_of_table(&open().await?, &args).await,
        Command::Cost(args) => commands::cost::cost(&args),
        Command::Completions { shell } => commands::man::completions(shell),
        Command::Man => commands::man::man(),
    }
}
