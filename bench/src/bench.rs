//! Everything that a scenario needs: the server, the paths of the programs, and the options of the run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::peer::{Agent, Peer, create_tables};
use crate::proxy::{Link, Port};
use crate::server::Server;
use crate::{Failure, Outcome};

/// Delay that the proxy adds in each direction in scenarios with a network.
pub const DELAY: Duration = Duration::from_millis(5);
/// Lease in scenarios that do not measure it.
pub const LEASE: Duration = Duration::from_secs(20);

/// Programs and packages that `cargo xtask bench` has built or installed. What is missing leaves out its rows.
#[derive(Default)]
pub struct Paths {
    /// The command line, built in release mode.
    pub cli: Option<PathBuf>,
    /// An older command line, to compare `run` with.
    pub baseline_cli: Option<PathBuf>,
    /// `bindings/node` with its addon, built in release mode.
    pub node_package: Option<PathBuf>,
    /// Directory with the `node_modules` of the libraries in Node.
    pub npm: Option<PathBuf>,
    /// Directory with the packages of the library in Python.
    pub pypi: Option<PathBuf>,
    pub python: Option<PathBuf>,
    /// `bench/peers`, which contains the agents in Node and Python.
    pub agents: Option<PathBuf>,
}

/// Options of the run.
#[derive(Clone, Debug)]
pub struct Options {
    pub rounds: usize,
    pub quick: bool,
    pub full: bool,
}

impl Options {
    /// Returns `quick`, `normal` or `full`, whichever the run is.
    pub fn choose<T>(&self, quick: T, normal: T, full: T) -> T {
        match (self.quick, self.full) {
            (true, _) => quick,
            (_, true) => full,
            _ => normal,
        }
    }
}

pub struct Bench {
    pub server: Server,
    pub paths: Paths,
    pub options: Options,
    pub scratch: TempDir,
    /// A directory in memory, if the machine has one; a sync to disk takes no time there.
    memory: Option<TempDir>,
}

impl Bench {
    /// Starts the server and creates the tables.
    pub async fn start(paths: Paths, options: Options) -> Outcome<Bench> {
        let scratch = tempfile::tempdir()?;
        let memory = tempfile::tempdir_in("/dev/shm").ok();
        let bench = Bench { server: Server::start()?, paths, options, scratch, memory };
        let port = Port::open(bench.server.address, Link::default()).await?;
        create_tables(&port.url).await?;
        Ok(bench)
    }

    /// Returns the directories for embedded stores, each with the name that reports use.
    pub fn places(&self) -> Vec<(&'static str, &Path)> {
        let disk = ("on disk", self.scratch.path());
        [Some(disk), self.memory.as_ref().map(|memory| ("in memory", memory.path()))].into_iter().flatten().collect()
    }

    /// Starts an agent with the usual lease.
    pub async fn agent(&self, peer: Peer, lock: &str, link: Link) -> Outcome<Agent> {
        Agent::start(self, peer, lock, LEASE, link, &[]).await
    }

    /// Returns whether what `peer` needs is installed.
    pub fn has(&self, peer: Peer) -> bool {
        match peer {
            Peer::Node => self.paths.node_package.is_some(),
            Peer::NpmDynamoLock | Peer::LockClient | Peer::LockClientTrust => self.paths.npm.is_some(),
            Peer::Python => self.paths.pypi.is_some(),
            _ => true,
        }
    }

    pub fn node(&self, packages: &Option<PathBuf>) -> Outcome<Command> {
        packages.as_ref().ok_or("the packages for Node are not installed")?;
        let mut command = Command::new("node");
        command.arg(self.agents()?.join("agent.js"));
        Ok(command)
    }

    pub fn python(&self) -> Outcome<Command> {
        let mut command = Command::new(self.paths.python.as_ref().ok_or("Python is not installed")?);
        command.arg("-I").arg(self.agents()?.join("agent.py"));
        Ok(command)
    }

    fn agents(&self) -> Outcome<&PathBuf> {
        self.paths.agents.as_ref().ok_or_else(|| Failure::from("BENCH_AGENTS is not set"))
    }

    /// Returns the median round trip of a read over a link with the usual delay, in milliseconds.
    pub async fn round_trip(&self, link: Link) -> Outcome<f64> {
        let mut agent = self.agent(Peer::Bare, "round trips", link).await?;
        agent.call("rtt 20").await?;
        Ok(crate::peer::number(&agent.call("rtt 100").await?, "ns")? / 1e6)
    }
}

/// Returns a link with the usual delay.
pub fn network() -> Link {
    Link { delay: DELAY, ..Link::default() }
}
