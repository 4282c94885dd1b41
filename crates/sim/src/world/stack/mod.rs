//! Store of the clients of a world: the model alone, or a real store with the model beside it.
//!
//! Each request is applied at one instant in both, and then they must agree. In these worlds a mutant of the writes is
//! a fault of the real store, and the model stays right.

#[cfg(feature = "stacks")]
mod response;
#[cfg(feature = "stacks")]
mod sdk;
#[cfg(feature = "stacks")]
mod sqlite;
#[cfg(feature = "stacks")]
mod wire;

use std::{os::fd::OwnedFd, str::FromStr, sync::Arc, time::Duration};

use dynamo_lock::store::{Op, Outcome, Row};
use dynamo_lock::{LockName, Store};

use super::{Link, Plan, Process, World, show};
use crate::mutants::Fault;

/// Writes that the faulty store forgets, per thousand.
const FORGOTTEN: u64 = 20;

/// Store under the clients of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "stacks"), allow(dead_code))] // two of them need the feature
pub enum StoreKind {
    /// The protocol's own `apply`.
    #[default]
    Model,
    /// `DynamoDb` over the AWS SDK, whose connector is the simulated network, to an in-process DynamoDB.
    Sdk,
    /// `Sqlite` on a file, with its thread.
    Sqlite,
}

impl FromStr for StoreKind {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "model" => Ok(Self::Model),
            "sdk" if cfg!(feature = "stacks") => Ok(Self::Sdk),
            "sqlite" if cfg!(feature = "stacks") => Ok(Self::Sqlite),
            "sdk" | "sqlite" => Err(format!(
                "the real stores are not in this build: \
                 cargo run -p dynamo-lock-sim --profile sim --features stacks -- run --world {name}"
            )),
            _ => Err(format!("unknown world {name:?}; expected model, sdk or sqlite")),
        }
    }
}

impl StoreKind {
    /// Returns the arguments that repeat a run with this store.
    pub const fn arguments(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Sdk => " --world sdk",
            Self::Sqlite => " --world sqlite",
        }
    }

    /// Returns whether an event can occur in worlds with this store.
    pub fn can_meet(self, what: &str) -> bool {
        let absent: &[_] = match self {
            Self::Model => &["child", "ended holder"],
            Self::Sdk => &["wild", "table deleted", "child", "ended holder"],
            Self::Sqlite => &["wild", "table deleted", "legacy", "§5", "ttl"],
        };
        !absent.iter().any(|absent| what.contains(absent))
    }

    /// Removes from a plan what cannot occur with this store.
    pub fn restrict(self, plan: &mut Plan) {
        if self != Self::Model {
            // The real stores have wrong dates of their own, which the client must ignore.
            plan.wild_host = 0;
        }
        // Only the model can delete its table.
        plan.deletions &= self == Self::Model;
        if self == Self::Sqlite {
            // SQLite has no service clock, no legacy clients and no stale reads.
            (plan.service_clock, plan.legacy, plan.ttl, plan.stale) = (false, 0, false, Duration::ZERO);
            // A child makes waiters wait for longer than is promised without faults.
            plan.children = plan.crashes && !plan.fault_free;
        }
    }

    /// Returns the real store of one world, if there is one.
    pub fn real_store(self) -> Option<Arc<dyn RealStore>> {
        match self {
            #[cfg(feature = "stacks")]
            Self::Sdk => Some(Arc::new(sdk::Table::new())),
            #[cfg(feature = "stacks")]
            Self::Sqlite => Some(Arc::new(sqlite::Disk::new())),
            _ => None,
        }
    }
}

/// A real store beside the model.
pub trait RealStore: Send + Sync {
    /// Returns the store of a client, by default the network.
    fn store(self: Arc<Self>, process: &Arc<Process>, _lease: Duration) -> Arc<dyn Store> {
        Arc::new(Link(process.clone()))
    }

    /// Starts a child of a process, which lives until the descriptor is closed. `None` if the store cannot detect
    /// children.
    fn start_child(&self, _process: &Arc<Process>) -> Option<OwnedFd> {
        None
    }

    /// Applies a write that the model has just applied, and returns the outcome.
    fn write_row(&self, _host: &Arc<Process>, _op: &Op, model: Outcome) -> Outcome {
        model
    }

    /// Reads a row that the model has just read.
    fn read_row(&self, _host: &Arc<Process>, _name: &LockName, model: Option<Row>) -> Option<Row> {
        model
    }

    /// Writes or deletes a row as another program does.
    fn mirror_row(&self, _name: &str, _row: Option<&Row>) {}
}

impl Process {
    /// Returns the store of a client of this process.
    pub fn store(self: &Arc<Self>, lease: Duration) -> Arc<dyn Store> {
        match &self.world.real_store {
            Some(real_store) => real_store.clone().store(self, lease),
            None => Arc::new(Link(self.clone())),
        }
    }

    /// Returns whether the store forgets this write: it answers and has written nothing.
    pub fn forgets(&self) -> bool {
        self.world.mutant.is(Fault::StoreForgets) && self.draw(|rng| rng.chance(FORGOTTEN))
    }
}

impl World {
    /// Applies a write.
    pub fn write_row(&self, process: &Arc<Process>, op: &Op) -> Outcome {
        let outcome = self.apply(process, op);
        match &self.real_store {
            Some(real_store) if !process.forgets() => real_store.write_row(process, op, outcome),
            _ => outcome,
        }
    }

    /// Reads the row as it was this long ago.
    pub fn read_row(&self, process: &Arc<Process>, name: &LockName, stale: Duration) -> Option<Row> {
        let row = self.row(name, stale);
        self.trace(|| format!("{process:?} {name} read {stale:?} old: {}", show(row.as_ref())));
        match &self.real_store {
            Some(real_store) => real_store.read_row(process, name, row),
            None => row,
        }
    }

    /// Copies a row that another program left in the model to the real store.
    pub fn mirror_row(&self, name: &str, row: Option<&Row>) {
        self.real_store.iter().for_each(|real_store| real_store.mirror_row(name, row));
    }
}
