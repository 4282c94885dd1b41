//! The wrapper's handle to the supervisor and its command.

use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::time::Duration;

use dynamo_lock::FencingToken;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::held::Held;
use crate::failure::{Failure, FailureKind};
use crate::supervisor::message::{Event, Grant, Order};
use crate::{
    clock, env, plan::RunTask, signal_mask::SignalMask, store::OpenStore, supervisor,
    supervisor::process_tree::ProcessTree, supervisor::ready_file::ReadyFile, sys,
};

/// Largest difference between the ends of two grants that count as equal. Without it, every check would send an order.
const GRANT_TOLERANCE: Duration = Duration::from_millis(10);

/// A command that runs under a supervisor, or is about to be started by it.
pub struct SupervisedCommand {
    supervisor: Child,
    events: Lines<BufReader<UnixStream>>,
    orders: StdUnixStream,
    granted: Option<Grant>,
    /// Descendants of this process that do not belong to the command, because they existed before it was started, and
    /// the descendants of those.
    unrelated: ProcessTree,
    /// The ready file, until this process has removed it.
    ready_file: Option<ReadyFile>,
}

impl SupervisedCommand {
    /// Starts the supervisor, which starts the command after the first grant.
    ///
    /// The command inherits standard input, standard output and the terminal. It also inherits the descriptor
    /// `liveness`, by which other clients see that a process of this holder is alive.
    pub fn spawn(store: &OpenStore, task: &RunTask, held: &Held, liveness: Option<OwnedFd>) -> io::Result<Self> {
        // If the supervisor is killed, its descendants become children of this process, which then ends them.
        sys::adopt_orphans()?;
        let unrelated = ProcessTree::descendants(Pid::this(), &ProcessTree::default())?;
        // All descriptors exist before the supervisor is started, so that their lack cannot occur later.
        let (local, remote) = StdUnixStream::pair()?;
        local.set_nonblocking(true)?;
        let orders = local.try_clone()?;
        let events = BufReader::new(UnixStream::from_std(local)?).lines();
        for inherited in liveness.iter().map(AsFd::as_fd).chain([remote.as_fd()]) {
            fcntl(inherited, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        let locks = &held.tokens()[..];
        // The first name identifies the acquisition of several locks as well, because its token is never used twice.
        let token =
            locks.iter().find(|(name, _)| *name == task.name).and_then(|(_, token)| *token).map(FencingToken::get);
        let ready_file =
            task.ready_file.as_ref().zip(token).map(|(path, token)| ReadyFile::new(path, task.name.as_str(), token));
        let mask = SignalMask::block()?;
        let mut command = Command::new(this_program()?);
        command.arg0(supervisor::NAME);
        command.arg(remote.as_raw_fd().to_string()).arg(mask.blocked_before().to_string());
        command.arg(task.grace.as_nanos().to_string());
        command.args(ReadyFile::arguments(ready_file.as_ref()));
        command.args(&task.argv);
        command.env(env::NAME, task.name.as_str());
        // The variables of an enclosing run are for other locks.
        command.env_remove(env::TOKEN).env_remove(env::TOKENS);
        match (&task.all, token) {
            (None, Some(token)) => _ = command.env(env::TOKEN, token.to_string()),
            (None, None) => {}
            (Some(_), _) => _ = command.env(env::TOKENS, env::format_tokens(locks)),
        }
        command.env(env::OWNER, &task.owner).env(env::STORE, &store.url);
        command.env(env::RUNS, env::format_runs(&task.enclosing_runs, &held.lease_ids(), &store.url));
        sys::pass_sigpipe(command.as_std_mut());
        let supervisor = command.spawn()?;
        drop(mask);
        Ok(Self { supervisor, events, orders, granted: None, unrelated, ready_file })
    }

    /// Allows the command to run until the grant has passed. The grant is sent only if it differs from the last one.
    pub fn grant(&mut self, grant: Grant) {
        let same = self.granted.is_some_and(|granted| granted.left(grant.at).abs_diff(grant.length) < GRANT_TOLERANCE);
        if !same && self.send(Order::RunUntil(grant)) {
            self.granted = Some(grant);
        }
    }

    /// Returns the remaining time of the last grant.
    pub fn time_left(&self) -> Duration {
        self.granted.map_or(Duration::ZERO, |granted| granted.left(clock::now()))
    }

    /// Sends an order and returns whether the socket has accepted it.
    ///
    /// The socket accepts nothing after the supervisor has ended, or when it is full because the supervisor is stopped.
    /// The supervisor then ends the command when its last grant has passed.
    pub fn send(&self, order: Order) -> bool {
        let line = format!("{order}\n");
        // The write bypasses the runtime, which would first poll for readiness. It does not block.
        (&self.orders).write(line.as_bytes()).is_ok_and(|written| written == line.len())
    }

    /// Waits for the next event. Returns `None` after the supervisor has ended. Cancel-safe.
    pub async fn next_event(&mut self) -> Option<Event> {
        while let Ok(Some(line)) = self.events.next_line().await {
            if let Some(event) = Event::parse(&line) {
                return Some(event);
            }
        }
        let _status = self.supervisor.wait().await;
        None
    }

    /// Returns the running processes of the command and its supervisor.
    pub fn descendants(&self) -> io::Result<ProcessTree> {
        ProcessTree::descendants(Pid::this(), &self.unrelated)
    }

    /// Returns the running processes that the supervisor has started, or none if they cannot be listed.
    pub fn started(&self) -> ProcessTree {
        let tree = self.pid().and_then(|pid| ProcessTree::descendants(pid, &ProcessTree::default()).ok());
        tree.unwrap_or_default()
    }

    /// Returns the process ID of the supervisor, until it has been reaped.
    fn pid(&self) -> Option<Pid> {
        self.supervisor.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
    }

    /// Updates the list of unrelated processes, because they may have started others and left them to this process.
    ///
    /// The new list is used only if the supervisor is still running after it was made. The processes that the
    /// supervisor leaves behind would otherwise count as unrelated.
    pub fn update_unrelated(&mut self) {
        let Some(pid) = self.pid().filter(|_| !self.unrelated.is_empty()) else { return };
        let unrelated = ProcessTree::of_child(pid).and_then(|tree| ProcessTree::descendants(Pid::this(), &tree));
        if let (Ok(unrelated), Ok(None)) = (unrelated, self.supervisor.try_wait()) {
            self.unrelated = unrelated;
        }
    }

    /// Returns whether this process has descendants that do not belong to the command.
    pub fn has_unrelated(&self) -> bool {
        !self.unrelated.is_empty()
    }

    /// Removes the ready file in place of the supervisor, which was killed or does not react.
    pub fn remove_ready_file(&mut self) {
        self.ready_file.take().iter().for_each(ReadyFile::remove);
    }

    /// Sends SIGKILL once to the supervisor and then to its descendants. Processes that are missed become children of
    /// this process when the supervisor has ended.
    pub fn kill(&self) {
        self.started().with_child(self.pid()).send(Signal::SIGKILL);
    }
}

/// Returns the path of this program, which is valid even if its file has been replaced since.
fn this_program() -> io::Result<PathBuf> {
    let linked = PathBuf::from("/proc/self/exe");
    if linked.exists() { Ok(linked) } else { std::env::current_exe() }
}

/// Returns the failure for a command that could not be started, with exit code 126 or 127 as in env(1).
pub fn not_started(task: &RunTask, errno: i32) -> Failure {
    let (error, program) = (io::Error::from_raw_os_error(errno), &task.argv[0]);
    if error.kind() == ErrorKind::NotFound {
        return Failure::new(FailureKind::NotFound, format!("{program:?} was not found: check its spelling and PATH"));
    }
    if let Errno::EAGAIN | Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM = Errno::from_raw(errno) {
        return Failure::internal(format!("cannot start {program:?}: {error}; try again with less load"));
    }
    let message = format!("cannot execute {program:?}: {error}; check that it is an executable file");
    Failure::new(FailureKind::NotExecutable, message)
}
