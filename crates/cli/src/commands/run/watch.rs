//! Supervision of the running command by the wrapper.
//!
//! The command is ended *before* another client can acquire the lock, according to local clocks and independently of
//! requests. The supervisor ends it when the time granted here has passed. If the supervisor itself is stopped or
//! killed, the wrapper ends the command.

use std::{io, process::ExitStatus, time::Duration};

use dynamo_lock::LossReason;
use dynamo_lock_protocol::ClockReading;
use nix::sys::signal::Signal;

use super::{held::Held, rehearsal::Rehearsal, supervised::SupervisedCommand, terminal};
use crate::supervisor::ending::{CLOCK_CHECK_INTERVAL, KILL_INTERVAL, kill_reserve};
use crate::supervisor::message::{Event, Grant, Order};
use crate::{clock, plan::RunTask, signals::Signals, supervisor::process_tree::ProcessTree, sys, ui::output};

/// Number of rounds of SIGKILL that are made even if no time is left.
const KILL_ROUNDS_MIN: u32 = 100;
/// Time after the end of the command before its remaining descendants are reported.
const LINGER_REPORT_DELAY: Duration = Duration::from_secs(1);

/// The way in which the command ended.
pub enum CommandEnd {
    /// The command and all processes that it started have ended. `forced` if they were ended because of the lock.
    Ended { status: ExitStatus, forced: bool },
    /// The command could not be started, with the system's error number.
    NotStarted { errno: i32 },
    /// The command was not started, because no time was left.
    TooLate,
    /// The supervisor ended early. The command and its descendants were ended by this process.
    SupervisorDied,
    /// The supervisor ended early, and these processes could not be ended.
    Unkillable(String),
}

/// State of [`watch`] between two events.
#[derive(Default)]
struct Watch {
    /// Last grant after a revocation. It is not extended.
    ///
    /// The command may still use its grace, because other clients wait until the lease of the revoked holder has
    /// expired.
    last_grant: Option<Grant>,
    /// The warning was sent, and no renewal has succeeded since.
    warned: bool,
    /// Time at which the supervisor should have begun to kill.
    overdue_since: Option<ClockReading>,
    /// Exit status of the command itself.
    status: Option<ExitStatus>,
    /// Time at which the command itself ended, until its remaining descendants have been reported.
    lingering_since: Option<ClockReading>,
}

/// Waits until the command and all processes that it started have ended. Passes signals on to them.
pub async fn watch(
    command: &mut SupervisedCommand,
    held: &Held,
    signals: &mut Signals,
    task: &RunTask,
    rehearsal: Option<&Rehearsal>,
) -> CommandEnd {
    let mut watch = Watch::default();
    loop {
        if watch.lingering_since.take_if(|at| clock::now().holder_elapsed_since(*at) >= LINGER_REPORT_DELAY).is_some() {
            report_lingering(command);
        }
        let timeout = watch.grant_time(command, held, task, rehearsal).await;
        tokio::select! {
            biased;
            event = command.next_event() => match (event, watch.status) {
                (Some(Event::NotStarted { errno }), _) => return CommandEnd::NotStarted { errno },
                (Some(Event::TooLate), _) => return CommandEnd::TooLate,
                (Some(Event::Stopped), _) if terminal::is_foreground() => stop_together(command),
                (Some(Event::Started | Event::Stopped), _) => {}
                (Some(Event::Ended { status }), _) => {
                    watch.status = Some(status);
                    watch.lingering_since = Some(clock::now()).filter(|_| !task.quiet);
                }
                (Some(Event::AllEnded { forced }), Some(status)) => return CommandEnd::Ended { status, forced },
                (Some(Event::AllEnded { .. }) | None, _) => return kill_all(command, held, signals, task).await,
            },
            signal = signals.next() => match signal {
                Signal::SIGTSTP => stop_together(command),
                signal => _ = command.send(Order::Signal(signal)),
            },
            _ = held.lost(), if held.is_valid() => {}
            () = clock::sleep(timeout) => {}
        }
    }
}

impl Watch {
    /// Grants the command the remaining time of the lease, and kills the supervisor if it has not ended the command in
    /// time. Returns the time until the next call.
    async fn grant_time(
        &mut self,
        command: &mut SupervisedCommand,
        held: &Held,
        task: &RunTask,
        rehearsal: Option<&Rehearsal>,
    ) -> Duration {
        let is_revoked = async || match held.is_valid() {
            true => rehearsal.is_some_and(|rehearsal| rehearsal.is_revoked(task)),
            false => held.lost().await == LossReason::Revoked,
        };
        if self.last_grant.is_none() && is_revoked().await {
            self.last_grant = Some(Grant::new(clock::now, || command.time_left().min(task.grace)));
        }
        let grant = self.last_grant.unwrap_or_else(|| Grant::new(clock::now, || time_left(held, task, rehearsal)));
        command.grant(grant);
        command.update_unrelated();
        let reserve = kill_reserve(task.grace);
        let left = grant.left(clock::now());
        if left <= reserve {
            let since = *self.overdue_since.get_or_insert_with(clock::now);
            if clock::now().holder_elapsed_since(since) >= reserve / 2 {
                command.kill();
                command.remove_ready_file();
            }
        }
        let until_warning = self.warn(command, left, task);
        let until_loss = rehearsal.and_then(Rehearsal::time_left).unwrap_or(Duration::MAX);
        match self.overdue_since {
            Some(_) => KILL_INTERVAL,
            None => left
                .saturating_sub(reserve)
                .min(until_warning)
                .min(until_loss)
                .clamp(KILL_INTERVAL, CLOCK_CHECK_INTERVAL),
        }
    }

    /// Sends the warning of `--warn-signal` if it is due. Returns the time until it may be due.
    fn warn(&mut self, command: &SupervisedCommand, left: Duration, task: &RunTask) -> Duration {
        let Some(warning) = task.warning else { return Duration::MAX };
        if left >= warning.margin {
            self.warned = false;
            return left - warning.margin;
        }
        // After a loss, and once the grace has begun, SIGTERM takes the place of the warning.
        let is_useful = left > task.grace && self.last_grant.is_none();
        if is_useful && !self.warned {
            self.warned = command.send(Order::Warn(warning.signal));
        }
        Duration::MAX
    }
}

/// Returns the time that the command may run, if no renewal succeeds.
fn time_left(held: &Held, task: &RunTask, rehearsal: Option<&Rehearsal>) -> Duration {
    let left = held.time_left();
    rehearsal.map_or(left, |rehearsal| rehearsal.limit(left, task))
}

/// Stops the command and then this process. After both are continued, the supervisor continues the command only if
/// there is time left.
fn stop_together(command: &SupervisedCommand) {
    command.send(Order::Stop);
    sys::stop_self();
    command.send(Order::Continue);
}

/// Kills the remaining descendants after the supervisor has ended. On a signal, prints those that could not be killed.
async fn kill_all(command: &mut SupervisedCommand, held: &Held, signals: &mut Signals, task: &RunTask) -> CommandEnd {
    let mut reported = task.quiet;
    command.remove_ready_file();
    for round in 0.. {
        let tree = command.descendants();
        // Listing takes time. A process that forks and ends in the meantime is missed, together with its child. But
        // every descendant hangs below a child of this process, and a child that has ended remains until it is reaped
        // here. If the list is empty and no child was reaped, no process was missed.
        let reaped = sys::reap_children();
        // A remaining child that is not in the tree is one of the unrelated processes, if there are any.
        let only_unrelated = || command.has_unrelated() && tree.as_ref().is_ok_and(ProcessTree::is_empty);
        if reaped.is_none() || reaped == Some(false) && only_unrelated() {
            return CommandEnd::SupervisorDied;
        }
        let mut timeout = KILL_INTERVAL;
        if round >= KILL_ROUNDS_MIN {
            if held.time_left().is_zero() {
                return CommandEnd::Unkillable(names(&tree));
            }
            if !std::mem::replace(&mut reported, true) {
                let names = names(&tree);
                let _pending = output::start_message(&format!(
                    "cannot end processes that the command started: {names}; the lock is kept until they have ended"
                ));
            }
            timeout = CLOCK_CHECK_INTERVAL;
        }
        tree.unwrap_or_default().send(Signal::SIGKILL);
        tokio::select! {
            biased;
            _ = signals.next() => reported = task.quiet,
            () = clock::sleep(timeout) => {}
        }
    }
    CommandEnd::SupervisorDied
}

fn names(tree: &io::Result<ProcessTree>) -> String {
    match tree {
        Ok(tree) if tree.is_empty() => "an unidentified process".to_owned(),
        Ok(tree) => tree.names(),
        Err(error) => format!("unidentified processes (cannot list them: {error})"),
    }
}

fn report_lingering(command: &SupervisedCommand) {
    let names = command.started().names();
    if !names.is_empty() {
        // The message must not block, because the lock is renewed on this thread.
        let _pending = output::start_message(&format!(
            "the command has ended, but processes that it started are still running: {names}; the lock is kept until \
             they have ended"
        ));
    }
}
