//! What a world's clients keep their locks in: the model alone, or a real store with the model beside it.
//!
//! Each request takes effect at one instant, in both, and then they must agree. In these worlds a mutant of the
//! protocol's writes is a fault of the real store; the model stays right.

#[cfg(feature = "stacks")]
mod sdk;
#[cfg(feature = "stacks")]
mod sqlite;
#[cfg(feature = "stacks")]
mod told;
#[cfg(feature = "stacks")]
mod wire;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use dynamo_lock::store::{Op, Outcome, Row};
use dynamo_lock::{LockName, Store};

use super::World;
use super::host::Host;
use super::network::Link;
use super::plan::Plan;
use super::store::show;
use crate::mutants::Fault;

/// Writes that the mutant store forgets, in thousandths.
const FORGOTTEN: u64 = 20;

/// Which store a run is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "stacks"), allow(dead_code))] // two of them need the feature
pub enum Kind {
    /// The protocol's own `apply`.
    #[default]
    Model,
    /// `DynamoDb` over the AWS SDK, whose connector is the network, to a DynamoDB in process.
    Sdk,
    /// `Sqlite` on a file, with its thread.
    Sqlite,
}

impl FromStr for Kind {
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
            _ => Err(format!("no world {name:?}; there are model, sdk, sqlite")),
        }
    }
}

impl Kind {
    /// What the run's own arguments need besides, to repeat a run of this kind.
    pub const fn arguments(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Sdk => " --world sdk",
            Self::Sqlite => " --world sqlite",
        }
    }

    /// Whether its worlds can meet this at all.
    pub fn meets(self, what: &str) -> bool {
        self != Self::Sqlite || !["legacy", "§5", "ttl"].iter().any(|absent| what.contains(absent))
    }

    /// Takes out of a plan what cannot be in its worlds.
    pub fn settle(self, plan: &mut Plan) {
        if self == Self::Sqlite {
            // It tells no time, nobody else's client writes to it, and it shows what is there.
            (plan.service_clock, plan.legacy, plan.ttl, plan.stale) = (false, 0, false, Duration::ZERO);
        }
    }

    /// The real store of one world, if there is one.
    pub fn real(self) -> Option<Arc<dyn Real>> {
        match self {
            #[cfg(feature = "stacks")]
            Self::Sdk => Some(Arc::new(sdk::Table::new())),
            #[cfg(feature = "stacks")]
            Self::Sqlite => Some(Arc::new(sqlite::Disk::new())),
            _ => None,
        }
    }
}

/// A real store, beside the model.
pub trait Real: Send + Sync {
    /// The store of a client on this host, where it is more than the link.
    fn store(self: Arc<Self>, host: &Arc<Host>, _lease: Duration) -> Arc<dyn Store> {
        Arc::new(Link(host.clone()))
    }

    /// Does what the model has just done, and says how it went.
    fn performed(&self, _host: &Arc<Host>, _op: &Op, model: Outcome) -> Outcome {
        model
    }

    /// Shows what the model has just shown.
    fn looked(&self, _host: &Arc<Host>, _name: &LockName, model: Option<Row>) -> Option<Row> {
        model
    }

    /// Somebody who is no client of ours left this row, or none.
    fn planted(&self, _name: &str, _row: Option<&Row>) {}
}

impl Host {
    /// The store of a client on this host.
    pub fn store(self: &Arc<Self>, lease: Duration) -> Arc<dyn Store> {
        match &self.world.real {
            Some(real) => real.clone().store(self, lease),
            None => Arc::new(Link(self.clone())),
        }
    }

    /// A fault of the store: it answers, and has written nothing.
    pub fn forgets(&self) -> bool {
        self.world.mutant.is(Fault::StoreForgets) && self.roll(|dice| dice.chance(FORGOTTEN))
    }
}

impl World {
    /// A write takes effect, or does not.
    pub fn performed(&self, host: &Arc<Host>, op: &Op) -> Outcome {
        let outcome = self.apply(host, op);
        match &self.real {
            Some(real) if !host.forgets() => real.performed(host, op, outcome),
            _ => outcome,
        }
    }

    /// A read sees what was there so long ago.
    pub fn looked(&self, host: &Arc<Host>, name: &LockName, stale: Duration) -> Option<Row> {
        let row = self.row(name, stale);
        self.trace(|| format!("{host:?} {name} read {stale:?} old: {}", show(row.as_ref())));
        match &self.real {
            Some(real) => real.looked(host, name, row),
            None => row,
        }
    }

    /// Somebody who is no client of ours left this row, or none, in the model: so it is in the real store.
    pub fn planted(&self, name: &str, row: Option<&Row>) {
        self.real.iter().for_each(|real| real.planted(name, row));
    }
}
