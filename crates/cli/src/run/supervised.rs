//! The command under its supervisor, as the wrapper sees them.

use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as Channel;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::SystemClock;
use dynamo_lock::FencingToken;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::exit::{Failure, Kind};
use crate::plan::{self, NAME, OWNER, RUNS, RunTask, STORE, TOKEN};
use crate::store::Open;
use crate::supervisor::{self, Family, Grant, HeldBack, Order, Report, descendants};

/// Two grants that end within this are the same one.
const SAME: Duration = Duration::from_millis(10);

/// A command that runs, or is about to.
pub struct Supervised {
    supervisor: Child,
    reports: Lines<BufReader<UnixStream>>,
    orders: Channel,
    granted: Option<Grant>,
    /// What this process had started, or been left, before, and what descends from that.
    others: Family,
}

impl Supervised {
    /// Starts the supervisor; it begins the command once it knows for how long it may run. Standard input, output and
    /// the terminal are the command's. `life` is inherited by all of them: others see by it that something of us lives.
    pub fn spawn(store: &Open, task: &RunTask, token: FencingToken, life: Option<OwnedFd>) -> Result<Self, Failure> {
        Self::try_spawn(store, task, token, life).map_err(|error| {
            Failure::new(Kind::Internal, format!("cannot start a process: {error}; try again with less load"))
        })
    }

    fn try_spawn(store: &Open, task: &RunTask, token: FencingToken, life: Option<OwnedFd>) -> io::Result<Self> {
        // If the supervisor is killed, what the command has left is ours to end.
        supervisor::adopt_orphans()?;
        let others = descendants(Pid::this(), &Family::default())?;
        let (ours, theirs) = Channel::pair()?;
        for handed_on in life.iter().map(AsFd::as_fd).chain([theirs.as_fd()]) {
            fcntl(handed_on, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        let held_back = HeldBack::begin()?;
        let mut command = Command::new(this_program()?);
        command.arg0(supervisor::NAME);
        command.arg(theirs.as_raw_fd().to_string()).arg(held_back.already().to_string());
        command.arg(task.grace.as_nanos().to_string());
        command.arg(&task.program).args(&task.arguments);
        command.env(NAME, task.name.as_str()).env(TOKEN, token.to_string());
        command.env(OWNER, &task.owner).env(STORE, &store.url);
        command.env(RUNS, plan::runs(&task.outer, task.name.as_str(), token.get(), &store.url));
        let supervisor = command.spawn()?;
        drop(held_back);
        ours.set_nonblocking(true)?;
        let orders = ours.try_clone()?;
        let reports = BufReader::new(UnixStream::from_std(ours)?).lines();
        Ok(Self { supervisor, reports, orders, granted: None, others })
    }

    /// The command may run for so long, and no longer.
    pub fn grant(&mut self, grant: Grant) {
        let same = self.granted.is_some_and(|granted| granted.left(grant.at).abs_diff(grant.length) < SAME);
        if !same && self.order(Order::Until(grant)) {
            self.granted = Some(grant);
        }
    }

    /// What is left of what was granted last.
    pub fn left(&self) -> Duration {
        self.granted.map_or(Duration::ZERO, |granted| granted.left(SystemClock.now()))
    }

    /// Says it; whether it could be said: the supervisor may have ended, or been stopped for so long that nothing more
    /// fits. Then the time that it knows of ends.
    pub fn order(&self, order: Order) -> bool {
        let line = format!("{order}\n");
        // Not by the runtime, which would first have to look whether it may write. Nothing waits: it does not block.
        (&self.orders).write(line.as_bytes()).is_ok_and(|written| written == line.len())
    }

    /// What the supervisor has to say next; `None` once it has ended. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Report> {
        loop {
            match self.reports.next_line().await {
                Ok(Some(line)) => match Report::parse(&line) {
                    Some(report) => return Some(report),
                    None => continue,
                },
                _ => {
                    let _its_last_word_was_said = self.supervisor.wait().await;
                    return None;
                }
            }
        }
    }

    /// All that lives of the command and its supervisor.
    pub fn family(&self) -> io::Result<Family> {
        descendants(Pid::this(), &self.others)
    }

    /// All that lives of what the supervisor has begun.
    pub fn started(&self) -> io::Result<Family> {
        self.pid().map_or_else(|| Ok(Family::default()), |pid| descendants(pid, &Family::default()))
    }

    /// The supervisor, until it has been waited for.
    fn pid(&self) -> Option<Pid> {
        self.supervisor.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
    }

    /// Looks who the others are now: they start more, and leave it to us when they end. So does the supervisor: what was
    /// seen counts only if that lives even after it.
    pub fn look_for_others(&mut self) {
        let Some(pid) = self.pid().filter(|_| !self.others.is_empty()) else { return };
        let others = Family::of_one(pid).and_then(|supervisor| descendants(Pid::this(), &supervisor));
        if let (Ok(others), Ok(None)) = (others, self.supervisor.try_wait()) {
            self.others = others;
        }
    }

    /// Whether there are any.
    pub fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Kills the supervisor and what it has begun, once: what is forked meanwhile, or cannot be looked for now, is left to
    /// us by its end.
    pub fn kill(&self) {
        self.started().unwrap_or_default().with(self.pid()).send(Signal::SIGKILL);
    }
}

/// This program, even if its file has been replaced since.
fn this_program() -> io::Result<PathBuf> {
    let linked = PathBuf::from("/proc/self/exe");
    if linked.exists() { Ok(linked) } else { std::env::current_exe() }
}

/// Why a command was not begun, as env(1) tells it.
pub fn not_begun(task: &RunTask, errno: i32) -> Failure {
    let (error, program) = (io::Error::from_raw_os_error(errno), &task.program);
    match error.kind() {
        ErrorKind::NotFound => {
            Failure::new(Kind::NotFound, format!("{program:?} was not found: check its spelling and PATH"))
        }
        _ => Failure::new(
            Kind::NotExecutable,
            format!("{program:?} cannot be run: {error}; check that it is an executable file"),
        ),
    }
}
