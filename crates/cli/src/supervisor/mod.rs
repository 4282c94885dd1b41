//! The supervisor: a small process between `dynamo-lock run` (the wrapper) and the command. It is the same program, but
//! without a runtime.
//!
//! The kernel makes it the parent of all processes that the command leaves behind, so it can find all descendants. It
//! ends them when the time granted by the wrapper has passed, or when the wrapper is gone. The wrapper cannot do that
//! itself if it is stopped or was killed with SIGKILL.

pub mod channel;
pub mod ending;
mod forwarding;
pub mod message;
pub mod process;
pub mod process_tree;
pub mod ready_file;

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::process::{Command, ExitCode};
use std::{os::fd::AsFd, os::unix::net::UnixStream, os::unix::process::ExitStatusExt, time::Duration};

use dynamo_lock_protocol::ClockReading;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::{errno::Errno, sys::signal::Signal, sys::wait::WaitPidFlag, unistd::Pid};

use self::ending::{Due, Ending, KILL_INTERVAL};
use self::message::{Event, Grant, Order};
use self::{channel::Channel, process_tree::ProcessTree, ready_file::ReadyFile};
use crate::signals::{SupervisorSignals, is_terminal_stop};
use crate::{clock, signal_mask::SignalMask, sys, ui::output};

/// `argv[0]` that selects supervisor mode. It differs from the wrapper's name, so that `pkill dynamo-lock` does not
/// signal the supervisor.
pub const NAME: &str = "lock-supervisor";
/// Time after a stop of the command after which it is known whether the terminal has stopped the whole group.
const STOP_SETTLE_TIME: Duration = Duration::from_millis(50);

/// Returns the remaining arguments if this process was started as the supervisor.
///
/// These are the descriptor of the channel, the bit set of signals that were blocked before, the grace in nanoseconds,
/// the path of the ready file and its content (both empty if there is none), and the command with its arguments.
pub fn arguments(mut arguments: impl Iterator<Item = OsString>) -> Option<impl Iterator<Item = OsString>> {
    (arguments.next().as_deref() == Some(OsStr::new(NAME))).then_some(arguments)
}

/// Entry point of the supervisor process. Events are reported to the wrapper.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Err(error) = supervise(arguments) else { return ExitCode::SUCCESS };
    // The wrapper notices the end of this process. The message is for the user.
    output::start_write(&format!("{NAME}: {error}\n")).wait(output::STDERR_TIMEOUT);
    ExitCode::FAILURE
}

fn supervise(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let invalid =
        || io::Error::new(ErrorKind::InvalidInput, "invalid arguments: only `dynamo-lock run` starts this program");
    let mut number = || arguments.next().and_then(|text| text.to_str()?.parse::<u64>().ok()).ok_or_else(invalid);
    let (channel, blocked, grace) = (number()?, number()?, Duration::from_nanos(number()?));
    let mask = SignalMask::inherited(blocked)?;
    let ready_file = ReadyFile::from_arguments(&mut arguments).ok_or_else(invalid)?;
    let program = arguments.next().ok_or_else(invalid)?;
    let channel = UnixStream::from(sys::inherited_fd(i32::try_from(channel).map_err(|_| invalid())?)?);
    // The command must not inherit the channel, because the wrapper takes its end for the end of this process.
    fcntl(&channel, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    let mut channel = Channel::new(channel);
    sys::set_process_name(NAME);
    sys::adopt_orphans()?;
    let connection = UnixStream::pair()?;
    // The wrapper has failed or was killed, and no command was started.
    let Some((grant, orders)) = first_grant(&mut channel) else { return Ok(()) };
    let in_time = move || Ending::new(grace).due(grant.left(clock::now()), clock::now()).is_none();
    let mut command = Command::new(program);
    command.args(arguments);
    sys::pass_sigpipe(&mut command);
    sys::prepare(&mut command, mask.previous(), in_time);
    let command = match command.spawn().map_err(|error| error.raw_os_error().unwrap_or(0)) {
        Err(errno) if errno == Errno::ETIME as i32 => return channel.send(Event::TooLate),
        Err(errno) => return channel.send(Event::NotStarted { errno }),
        // The handle is dropped, because all children are waited for together.
        Ok(child) => Some(Pid::from_raw(child.id() as i32)),
    };
    let mut supervisor = Supervisor {
        signals: SupervisorSignals::listen(connection)?,
        channel: channel.into_nonblocking()?,
        ending: Ending::new(grace),
        grant,
        orphaned: false,
        ready_file,
        command,
        stopped: None,
        wrapper_stopped: false,
    };
    drop(mask);
    supervisor.signals.discard();
    orders.into_iter().for_each(|order| supervisor.execute(order));
    supervisor.run()
}

/// Waits for the first grant. Returns the latest one, and all orders received so far, which the command must still
/// receive after its start. Returns `None` if the wrapper has closed the channel.
fn first_grant(channel: &mut Channel) -> Option<(Grant, Vec<Order>)> {
    let grant = |order: &Order| if let Order::RunUntil(grant) = order { Some(*grant) } else { None };
    let mut orders = Vec::new();
    loop {
        if let Some(grant) = orders.iter().rev().find_map(grant) {
            return Some((grant, orders));
        }
        orders.extend(channel.receive()?);
    }
}

/// State of the supervisor while the command or its descendants are running.
struct Supervisor {
    signals: SupervisorSignals,
    channel: Channel,
    ending: Ending,
    /// Time for which the command may run, as granted last.
    grant: Grant,
    /// The wrapper has closed the channel.
    orphaned: bool,
    /// The file that exists while the command runs under the lock. `None` if there is none, or after its removal.
    ready_file: Option<ReadyFile>,
    /// The command itself. `None` after it has ended.
    command: Option<Pid>,
    /// Time at which the command was stopped by a stop signal, until the stop has been reported.
    stopped: Option<ClockReading>,
    /// The wrapper has reported that it is stopped.
    wrapper_stopped: bool,
}

impl Supervisor {
    /// Runs until the command and all its descendants have ended.
    fn run(mut self) -> io::Result<()> {
        self.send(Event::Started);
        if let Some(Err(error)) = self.ready_file.as_ref().map(ReadyFile::create) {
            let _pending =
                output::start_message(&format!("cannot create the ready file: {error}; the command is running"));
        }
        loop {
            self.execute_orders();
            if self.reap()? {
                self.send(Event::AllEnded { forced: self.ending.has_begun() });
                let _closed = self.channel.finish();
                return Ok(());
            }
            let _closed = self.channel.flush();
            let now = clock::now();
            match self.due(now) {
                Some(Due::Ask) => {
                    self.remove_ready_file();
                    self.ending.asked = Some(now);
                    let tree = self.descendants();
                    tree.send(Signal::SIGTERM);
                    // Stopped processes must be continued before they can handle SIGTERM.
                    tree.send(Signal::SIGCONT);
                }
                Some(Due::Kill) => self.ending.killed = true,
                None => {}
            }
            if self.ending.killed {
                self.descendants().send(Signal::SIGKILL);
                self.remove_ready_file();
            }
            self.report_stop(now);
            self.wait(now)?;
        }
    }

    /// Sends an event. A closed channel is not an error here, because [`execute_orders`](Self::execute_orders) notices
    /// it.
    fn send(&mut self, event: Event) {
        let _closed = self.channel.send(event);
    }

    /// Removes the ready file once, because the command is not ready any more, or must end.
    fn remove_ready_file(&mut self) {
        self.ready_file.take().iter().for_each(ReadyFile::remove);
    }

    /// Returns the command and its running descendants, or the command alone if they cannot be listed. A process that
    /// is missed is still waited for.
    fn descendants(&self) -> ProcessTree {
        ProcessTree::descendants(Pid::this(), &ProcessTree::default()).unwrap_or_default().with_child(self.command)
    }

    /// Returns the signal that is due. Without the wrapper, the command is ended now, and has at most the grace to end.
    fn due(&self, now: ClockReading) -> Option<Due> {
        let left = self.grant.left(now);
        self.ending.due(if self.orphaned { left.min(self.ending.grace) } else { left }, now)
    }

    /// Waits for a signal, an order, or the next time at which a check is due.
    fn wait(&self, now: ClockReading) -> io::Result<()> {
        let mut timeout = if self.ending.killed { KILL_INTERVAL } else { self.ending.next_check(self.grant.left(now)) };
        if self.stopped.is_some() {
            timeout = timeout.min(STOP_SETTLE_TIME);
        }
        let mut fds = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.channel.as_fd(), PollFlags::POLLIN),
        ];
        // A closed channel would always be readable.
        let fds = if self.orphaned { &mut fds[..1] } else { &mut fds[..] };
        match poll(fds, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reaps the children that have ended. Returns whether no child is left.
    fn reap(&mut self) -> io::Result<bool> {
        self.signals.update();
        loop {
            let (pid, status) = match sys::wait(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED) {
                Ok(Some(child)) => child,
                Ok(None) => return Ok(false),
                Err(Errno::ECHILD) => return Ok(true),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            match status.stopped_signal() {
                _ if Some(pid) != self.command => {}
                Some(signal) if is_terminal_stop(signal) => self.stopped = Some(clock::now()),
                Some(_) => {}
                None => {
                    (self.command, self.stopped) = (None, None);
                    self.remove_ready_file();
                    self.send(Event::Ended { status });
                }
            }
        }
    }

    /// Executes all orders that have arrived. Grants come first, because the latest one also applies to the orders
    /// before it.
    fn execute_orders(&mut self) {
        let mut orders = Vec::new();
        while !self.orphaned {
            match self.channel.receive() {
                None => self.orphaned = true,
                Some(more) if more.is_empty() => break,
                Some(more) => orders.extend(more),
            }
        }
        orders.sort_by_key(|order| !matches!(order, Order::RunUntil(_)));
        orders.into_iter().for_each(|order| self.execute(order));
    }
}
