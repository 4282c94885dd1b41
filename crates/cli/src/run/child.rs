//! The child process.

use std::io::{self, ErrorKind, IsTerminal};
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use dynamo_lock::FencingToken;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

use super::parent_death::kill_with_parent;
use crate::exit::{Failure, Kind};
use crate::plan::{NAME, OWNER, RunTask, STORE, TOKEN};
use crate::store::Open;

/// The command, running.
pub struct Child {
    process: tokio::process::Child,
    /// It leads a process group of its own, so that signals reach its descendants in it. Not with a terminal: there it
    /// shares our group, since a group in the background may not read.
    pub own_group: bool,
}

impl Child {
    /// Starts it; standard input, output and the terminal are its own. `life` it inherits, and so does what it starts:
    /// others see by it that something of us still lives.
    pub fn spawn(store: &Open, task: &RunTask, token: FencingToken, life: Option<OwnedFd>) -> Result<Self, Failure> {
        if let Some(life) = &life {
            let inherited = fcntl(life, FcntlArg::F_SETFD(FdFlag::empty()));
            inherited.map_err(|error| Failure::new(Kind::Internal, format!("cannot hand a descriptor on: {error}")))?;
        }
        let own_group = !io::stdin().is_terminal();
        let mut command = Command::new(&task.program);
        command.args(&task.arguments);
        command.env(NAME, task.name.as_str()).env(TOKEN, token.to_string());
        command.env(OWNER, &task.owner).env(STORE, &store.url);
        if own_group {
            command.process_group(0);
        }
        kill_with_parent(&mut command);
        let process = command.spawn().map_err(|error| {
            let program = &task.program;
            match error.kind() {
                ErrorKind::NotFound => {
                    Failure::new(Kind::NotFound, format!("{program:?} was not found: check its spelling and PATH"))
                }
                _ => Failure::new(
                    Kind::NotExecutable,
                    format!("{program:?} cannot be run: {error}; check that it is an executable file"),
                ),
            }
        })?;
        Ok(Self { process, own_group })
    }

    /// Waits for its end. May be dropped and called again.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Sends a signal to it, and to its group if that is its own. After its end nothing is sent: the number may be
    /// somebody else's by then.
    pub fn send(&self, signal: Signal) {
        let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
        let pid = Pid::from_raw(pid);
        // It may be ending just now.
        let _gone = if self.own_group { killpg(pid, signal) } else { kill(pid, signal) };
    }

    /// Passes on a signal that we got, unless the terminal has sent it to the whole group.
    pub fn pass_on(&self, signal: Signal) {
        if self.own_group || !matches!(signal, Signal::SIGINT | Signal::SIGQUIT) {
            self.send(signal);
        }
    }
}
