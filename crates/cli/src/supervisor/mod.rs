//! The supervisor: a small process between `dynamo-lock run` and the command, of this same program and without a
//! runtime. The kernel makes it the parent of whatever the command leaves behind, so it knows all descendants. It ends
//! them when the time that the wrapper has granted is over, or when the wrapper is gone: killed with -9 or stopped,
//! that one cannot do it itself.

mod ears;
mod ending;
mod family;
mod held_back;
mod kernel;
mod link;
mod message;

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::clock::{ClockReading, SystemClock};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;
use nix::unistd::Pid;

use self::ears::Ears;
use self::ending::{Due, Ending};
pub use self::ending::{LOOK, reserve};
pub use self::family::{Family, are_told_by_our_numbers, descendants};
pub use self::held_back::HeldBack;
pub use self::kernel::{adopt_orphans, had_no_stdout, hear_of_children, stop, wait_for_the_ended};
use self::link::Link;
pub use self::message::{Grant, Order, Report};
use crate::print;

/// By this name it knows what it is. It is not the wrapper's: who sends a signal to all `dynamo-lock` means that one.
pub const NAME: &str = "lock-supervisor";
/// Between two rounds of killing: something may have been forked during the last.
const ROUND: Duration = Duration::from_millis(10);
/// So long after the command has stopped it is clear whether the terminal has stopped all of us.
const SETTLE: Duration = Duration::from_millis(50);

/// The arguments, if this process is one: the channel's descriptor, the signals that were blocked before we
/// did, the grace in nanoseconds, the command.
pub fn invoked(mut arguments: impl Iterator<Item = OsString>) -> Option<impl Iterator<Item = OsString>> {
    (arguments.next().as_deref() == Some(OsStr::new(NAME))).then_some(arguments)
}

/// Its life. What there is to tell goes to the wrapper.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match supervise(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The wrapper notices the end; this is for whoever wonders why.
            print::say(&format!("{NAME}: {error}\n")).wait(print::PATIENCE);
            ExitCode::FAILURE
        }
    }
}

fn supervise(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let wrong = || io::Error::new(ErrorKind::InvalidInput, "this is started by `dynamo-lock run`, not by hand");
    let mut number = || arguments.next().and_then(|text| text.to_str()?.parse::<u64>().ok()).ok_or_else(wrong);
    let (channel, blocked, grace) = (number()?, number()?, number()?);
    let held_back = HeldBack::inherited(blocked)?;
    let grace = Duration::from_nanos(grace);
    let program = arguments.next().ok_or_else(wrong)?;
    let channel = UnixStream::from(kernel::inherited(i32::try_from(channel).map_err(|_| wrong())?)?);
    // The command must not have it: its end tells the supervisor's.
    fcntl(&channel, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    let mut link = Link::new(channel);
    kernel::name(NAME);
    kernel::adopt_orphans()?;
    // Not before it is known for how long.
    let mut orders = Vec::new();
    let grant = loop {
        match orders.iter().rev().find_map(|order| if let Order::Until(grant) = order { Some(*grant) } else { None }) {
            Some(grant) => break grant,
            None => orders.extend(link.hear().ok_or(ErrorKind::UnexpectedEof)?),
        }
    };
    let in_time = move || Ending::new(grace).due(grant.left(SystemClock.now()), SystemClock.now()).is_none();
    let mut command = Command::new(program);
    command.args(arguments);
    kernel::begin(&mut command, held_back.before(), in_time);
    let command = match command.spawn().map_err(|error| error.raw_os_error().unwrap_or(0)) {
        Err(errno) if errno == Errno::ETIME as i32 => return link.tell(Report::Late),
        Err(errno) => return link.tell(Report::NotBegun { errno }),
        // It is waited for with all others, not by its handle.
        Ok(child) => Some(Pid::from_raw(child.id() as i32)),
    };
    let mut supervisor = Supervisor {
        ears: Ears::open()?,
        link: link.without_waiting()?,
        ending: Ending::new(grace),
        grant,
        orphaned: false,
        command,
        stopped: None,
        halted: false,
    };
    drop(held_back);
    supervisor.ears.forget();
    // What was said to a command that was not there yet.
    orders.into_iter().for_each(|order| supervisor.follow(order));
    supervisor.until_all_are_gone()
}

struct Supervisor {
    ears: Ears,
    link: Link,
    ending: Ending,
    /// For how long the command may run, as the wrapper said last.
    grant: Grant,
    /// The wrapper is gone.
    orphaned: bool,
    /// The command itself, until it has ended.
    command: Option<Pid>,
    /// When it was seen to be stopped as by a terminal, until that has been told.
    stopped: Option<ClockReading>,
    /// The wrapper is stopped, as it has said.
    halted: bool,
}

impl Supervisor {
    fn until_all_are_gone(mut self) -> io::Result<()> {
        self.tell(Report::Begun);
        loop {
            self.obey();
            if self.reap()? {
                self.tell(Report::Gone { forced: self.ending.has_begun() });
                let _gone = self.link.finish();
                return Ok(());
            }
            let _gone = self.link.go_on();
            let now = SystemClock.now();
            match self.due(now) {
                Some(Due::Ask) => {
                    self.ending.asked = Some(now);
                    let family = self.family();
                    family.send(Signal::SIGTERM);
                    // Who is stopped could not hear it.
                    family.send(Signal::SIGCONT);
                }
                Some(Due::Kill) => self.ending.killed = true,
                None => {}
            }
            if self.ending.killed {
                self.family().send(Signal::SIGKILL);
            }
            self.look_whether_it_is_stopped(now);
            self.wait(now)?;
        }
    }

    /// A wrapper that is not there to hear it is noticed by its silence.
    fn tell(&mut self, report: Report) {
        let _gone = self.link.tell(report);
    }

    /// All that lives of the command and what it has started. If nobody can be looked for, the command alone; who is
    /// missed is still waited for.
    fn family(&self) -> Family {
        descendants(Pid::this(), &Family::default()).unwrap_or_default().with(self.command)
    }

    /// What is to be done about the command. Without the wrapper it is ended in good order, while there is time.
    fn due(&self, now: ClockReading) -> Option<Due> {
        let left = self.left(now);
        self.ending.due(if self.orphaned { left.min(self.ending.grace) } else { left }, now)
    }

    fn left(&self, now: ClockReading) -> Duration {
        self.grant.left(now)
    }

    /// Until something happens, or something is due.
    fn wait(&self, now: ClockReading) -> io::Result<()> {
        let mut nap = if self.ending.killed { ROUND } else { self.ending.nap(self.left(now)) };
        if self.stopped.is_some() {
            nap = nap.min(SETTLE);
        }
        let mut fds =
            [PollFd::new(self.ears.as_fd(), PollFlags::POLLIN), PollFd::new(self.link.as_fd(), PollFlags::POLLIN)];
        // A channel at its end would be readable for ever.
        let fds = if self.orphaned { &mut fds[..1] } else { &mut fds[..] };
        match poll(fds, PollTimeout::try_from(nap).unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes notice of who has ended; whether nobody is left.
    fn reap(&mut self) -> io::Result<bool> {
        self.ears.listen();
        loop {
            let (pid, status) = match kernel::wait(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED) {
                Ok(Some(child)) => child,
                Ok(None) => return Ok(false),
                Err(Errno::ECHILD) => return Ok(true),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            match status.stopped_signal() {
                _ if Some(pid) != self.command => {}
                Some(signal) if ears::stops(signal) => self.stopped = Some(SystemClock.now()),
                Some(_) => {}
                None => {
                    (self.command, self.stopped) = (None, None);
                    self.tell(Report::Ended { status, forced: self.ending.has_begun() });
                }
            }
        }
    }

    /// A command that stops itself alone, as `less` does, would leave a terminal where nobody listens. The wrapper can
    /// do as if the terminal had stopped all.
    fn look_whether_it_is_stopped(&mut self, now: ClockReading) {
        if self.halted || self.ears.stopped_by_terminal() {
            self.stopped = None;
        }
        if self.stopped.is_some_and(|at| now.holder_elapsed_since(at) >= SETTLE) {
            self.stopped = None;
            if self.family().stopped(self.command) {
                self.tell(Report::Stopped);
            }
        }
    }

    /// Does what the wrapper has said, all of it: what it granted last is what holds, also for what it said before.
    fn obey(&mut self) {
        let mut orders = Vec::new();
        while !self.orphaned {
            match self.link.hear() {
                None => self.orphaned = true,
                Some(more) if more.is_empty() => break,
                Some(more) => orders.extend(more),
            }
        }
        orders.sort_by_key(|order| !matches!(order, Order::Until(_)));
        orders.into_iter().for_each(|order| self.follow(order));
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Until(grant) => self.grant = grant,
            // Words that the command may know. Of what it has started, many a `sleep` would be ended by one.
            Order::Pass(signal @ (Signal::SIGUSR1 | Signal::SIGUSR2)) => {
                Family::default().with(self.command).send(signal);
            }
            Order::Pass(signal) => self.those_left_out_by(signal).send(signal),
            Order::Stop => {
                self.halted = true;
                self.those_left_out_by(Signal::SIGTSTP).send(Signal::SIGSTOP);
            }
            Order::Continue => {
                self.halted = false;
                // Who was stopped past its time is killed as it is. Whom the terminal has stopped once more stays so; the
                // others were stopped by us, and nobody but us will have them go on.
                if self.due(SystemClock.now()) != Some(Due::Kill) {
                    let family = self.family();
                    let stopped = self.ears.stopped_by_terminal();
                    if stopped { family.of_other_groups() } else { family }.send(Signal::SIGCONT);
                }
            }
        }
    }

    /// Whom a signal has not reached that the wrapper got: if it came from the terminal, who shares that has it.
    fn those_left_out_by(&mut self, signal: Signal) -> Family {
        let family = self.family();
        if self.ears.take_from_terminal(signal) { family.of_other_groups() } else { family }
    }
}
