//! The command's end, or the lease's: whichever comes first. The command is ended *before* others may have the lock, by
//! local clocks and whatever requests do. The supervisor does that by the time it is granted here; should it be stopped
//! itself, this process does.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::clock::{ClockReading, SystemClock};
use dynamo_lock::{Guard, LossReason};
use nix::sys::signal::Signal;

use super::signals::Signals;
use super::supervised::Supervised;
use super::terminal;
use crate::plan::RunTask;
use crate::print;
use crate::supervisor::{self, Family, Grant, LOOK, Order, Report, reserve};

/// Between two rounds of killing.
const ROUND: Duration = Duration::from_millis(10);
/// Rounds that are made even without any time left.
const ROUNDS_MIN: u32 = 100;
/// What lives on after the command is not spoken of before.
const LINGERS: Duration = Duration::from_secs(1);

/// How it went with the command, and all that it had started.
pub enum Watched {
    /// All have ended; `forced` if that was asked for, for the lock's sake.
    Ended { status: ExitStatus, forced: bool },
    /// It was not begun: the system's error number.
    NotBegun { errno: i32 },
    /// It was not begun, for there was no time left.
    Late,
    /// The supervisor has ended before its time; the others are ended too.
    Unsupervised,
    /// The same, but these could not be ended.
    Left(Vec<String>),
}

/// Waits for the end of the command and of all that it has started; passes signals on.
pub async fn watch(supervised: &mut Supervised, guard: &Guard, signals: &mut Signals, task: &RunTask) -> Watched {
    let cancelled = guard.cancellation();
    let mut noticed = false;
    // Others wait for the end of a lease whose reign was revoked: the command may still end in good order.
    let mut notice: Option<Grant> = None;
    let mut overdue: Option<ClockReading> = None;
    let mut ended: Option<ExitStatus> = None;
    // When it did, until it has been told who lives on.
    let mut lingering: Option<ClockReading> = None;
    loop {
        if lingering.take_if(|at| SystemClock.now().holder_elapsed_since(*at) >= LINGERS).is_some() {
            tell_who_lingers(supervised);
        }
        if notice.is_none() && !guard.is_valid() && guard.lost().await == LossReason::Revoked {
            notice = Some(Grant::of(|| SystemClock.now(), || supervised.left().min(task.grace)));
        }
        let grant = notice.unwrap_or_else(|| Grant::of(|| SystemClock.now(), || guard.time_left()));
        supervised.grant(grant);
        supervised.look_for_others();
        let left = grant.left(SystemClock.now());
        if left <= reserve(task.grace) {
            let now = SystemClock.now();
            let since = *overdue.get_or_insert(now);
            if now.holder_elapsed_since(since) >= reserve(task.grace) / 2 {
                supervised.kill();
            }
        }
        let nap = if overdue.is_some() { ROUND } else { left.saturating_sub(reserve(task.grace)).clamp(ROUND, LOOK) };
        tokio::select! {
            biased;
            report = supervised.next() => match (report, ended) {
                (Some(Report::Begun), _) => {}
                (Some(Report::NotBegun { errno }), _) => return Watched::NotBegun { errno },
                (Some(Report::Late), _) => return Watched::Late,
                (Some(Report::Stopped), _) if terminal::is_ours() => stop_together(supervised),
                (Some(Report::Stopped), _) => {}
                (Some(Report::Ended { status, .. }), _) => {
                    ended = Some(status);
                    lingering = Some(SystemClock.now()).filter(|_| !task.quiet);
                }
                (Some(Report::Gone { forced }), Some(status)) => return Watched::Ended { status, forced },
                (Some(Report::Gone { .. }) | None, _) => return end_all(supervised, guard, signals, task).await,
            },
            signal = signals.next() => match signal {
                Signal::SIGTSTP => stop_together(supervised),
                signal => _ = supervised.order(Order::Pass(signal)),
            },
            () = cancelled.cancelled(), if !noticed => noticed = true,
            () = SystemClock.sleep(nap) => {}
        }
    }
}

/// Stops the command, then this process; the supervisor lets the command go on only if there is time left.
fn stop_together(supervised: &Supervised) {
    supervised.order(Order::Stop);
    supervisor::stop();
    supervised.order(Order::Continue);
}

/// The supervisor is gone: what it has left is ours, and is ended. A signal is answered by who cannot be.
async fn end_all(supervised: &Supervised, guard: &Guard, signals: &mut Signals, task: &RunTask) -> Watched {
    let mut told = task.quiet;
    for round in 0.. {
        let family = supervised.family();
        // A look takes time: who forks and ends meanwhile is missed, with what it has forked. But all that descends from
        // us does so by a child of ours, and one that ends stays until it is waited for here. If none has, none was missed.
        let ended = supervisor::wait_for_the_ended();
        // A child that lives is one of the others, if there are any.
        let none = || supervised.has_others() && family.as_ref().is_ok_and(Family::is_empty);
        if ended.is_none() || ended == Some(false) && none() {
            return Watched::Unsupervised;
        }
        let mut rest = ROUND;
        if round >= ROUNDS_MIN {
            if guard.time_left().is_zero() {
                return Watched::Left(names(&family));
            }
            if !std::mem::replace(&mut told, true) {
                let names = names(&family).join(", ");
                let text =
                    format!("cannot end what the command has started: {names}; the lock is kept until it has ended");
                let _by_itself = print::aside(&text);
            }
            rest = LOOK;
        }
        family.unwrap_or_default().send(Signal::SIGKILL);
        tokio::select! {
            biased;
            _ = signals.next() => told = task.quiet,
            () = SystemClock.sleep(rest) => {}
        }
    }
    Watched::Unsupervised
}

fn names(family: &io::Result<Family>) -> Vec<String> {
    match family {
        Ok(family) if family.is_empty() => {
            vec!["one that cannot be seen, or forks and ends too fast for that".to_owned()]
        }
        Ok(family) => family.names(),
        Err(error) => vec![format!("nobody can be looked for ({error})")],
    }
}

fn tell_who_lingers(supervised: &Supervised) {
    let names = supervised.started().unwrap_or_default().names();
    if !names.is_empty() {
        let names = names.join(", ");
        let text = format!("the command has ended, what it has started has not: {names}; the lock is kept until then");
        // Nobody waits until it has been read: renewals would wait too.
        let _by_itself = print::aside(&text);
    }
}
