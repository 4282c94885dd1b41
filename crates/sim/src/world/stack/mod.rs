//! What a world's clients keep their locks in: the model alone, or a real store with the model beside it.
//!
//! Each request takes effect at one instant, in both, and then they must agree. In these worlds a mutant of the
//! protocol's writes is a fault of the real store; the model stays right.

#[cfg(feature = "stacks")]
mod sdk;
#[cfg(feature = "stacks")]
mod sqlite;
#[cfg(feature = "stacks")]
mod wire;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use dynamo_lock::store::{Op, Outcome, Row};
use dynamo_lock::{LockName, Store};

use super::World;
use super::host::Host;
use super::mutant::Mutant;
use super::network::Link;
use super::plan::Plan;
use super::store::show;

/// What is checked where there are two.
#[cfg(feature = "stacks")]
const SPECIFIED: &str = "the store is the specification";

/// Writes that the mutant store forgets, in thousandths.
const FORGOTTEN: u64 = 20;

/// Which store a run is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The protocol's own `apply`.
    #[default]
    Model,
    /// `DynamoDb` over the AWS SDK, whose connector is the network, to a DynamoDB in process.
    #[cfg(feature = "stacks")]
    Sdk,
    /// `Sqlite` on a file, with its thread.
    #[cfg(feature = "stacks")]
    Sqlite,
}

impl FromStr for Kind {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "model" => Ok(Self::Model),
            #[cfg(feature = "stacks")]
            "sdk" => Ok(Self::Sdk),
            #[cfg(feature = "stacks")]
            "sqlite" => Ok(Self::Sqlite),
            #[cfg(not(feature = "stacks"))]
            "sdk" | "sqlite" => Err(format!(
                "the real stores are not in this build: \
                 cargo run -p dynamo-lock-sim --profile sim --features stacks -- run --world {name}"
            )),
            _ => Err(format!("no world {name:?}; there are model, sdk, sqlite")),
        }
    }
}

impl Kind {
    /// How a run is asked for it.
    pub const fn argument(self) -> &'static str {
        match self {
            Self::Model => "",
            #[cfg(feature = "stacks")]
            Self::Sdk => " --world sdk",
            #[cfg(feature = "stacks")]
            Self::Sqlite => " --world sqlite",
        }
    }

    /// What its build needs.
    pub const fn build(self) -> &'static str {
        match self {
            Self::Model => "",
            #[cfg(feature = "stacks")]
            Self::Sdk | Self::Sqlite => " --features stacks",
        }
    }

    /// Whether its worlds can meet this at all.
    pub fn meets(self, _what: &str) -> bool {
        match self {
            Self::Model => true,
            #[cfg(feature = "stacks")]
            Self::Sdk => true,
            #[cfg(feature = "stacks")]
            Self::Sqlite => !["legacy", "§5", "ttl"].iter().any(|absent| _what.contains(absent)),
        }
    }

    /// What cannot be in its worlds is taken out of their plan.
    pub fn settle(self, _plan: &mut Plan) {
        #[cfg(feature = "stacks")]
        if self == Self::Sqlite {
            // It tells no time, nobody else's client writes to it, and it shows what is there.
            (_plan.service_clock, _plan.legacy, _plan.ttl, _plan.stale) = (false, 0, false, Duration::ZERO);
        }
    }
}

/// The stores of one world.
pub enum Stack {
    Model,
    #[cfg(feature = "stacks")]
    Sdk(Arc<sdk::Table>),
    #[cfg(feature = "stacks")]
    Sqlite(sqlite::Disk),
}

impl Stack {
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Model => Self::Model,
            #[cfg(feature = "stacks")]
            Kind::Sdk => Self::Sdk(Arc::new(sdk::Table::new())),
            #[cfg(feature = "stacks")]
            Kind::Sqlite => Self::Sqlite(sqlite::Disk::new()),
        }
    }
}

impl Host {
    /// The store of a client on this host.
    pub fn store(self: &Arc<Self>, _lease: Duration) -> Arc<dyn Store> {
        match &self.world.stack {
            #[cfg(feature = "stacks")]
            Stack::Sdk(table) => Arc::new(sdk::Sdk::new(self, table, _lease)),
            _ => Arc::new(Link(self.clone())),
        }
    }

    /// A fault of the store: it answers, and has written nothing.
    pub fn forgets(&self) -> bool {
        self.world.mutant == Some(Mutant::Forgets) && self.roll(|dice| dice.chance(FORGOTTEN))
    }
}

impl World {
    /// Whether there is nothing but the model.
    pub fn is_model(&self) -> bool {
        matches!(self.stack, Stack::Model)
    }

    /// A write takes effect, or does not.
    pub fn performed(&self, host: &Arc<Host>, op: &Op) -> Outcome {
        let outcome = self.apply(host, op);
        match &self.stack {
            #[cfg(feature = "stacks")]
            Stack::Sqlite(disk) if !host.forgets() => {
                let real = disk.write(host, op);
                self.check(real.as_ref() == Ok(&outcome), SPECIFIED, || {
                    format!("{host:?} {op:?}: SQLite says {real:?}, and {outcome:?} is specified")
                });
                real.unwrap_or(outcome)
            }
            _ => outcome,
        }
    }

    /// A read sees what was there so long ago.
    pub fn looked(&self, host: &Arc<Host>, name: &LockName, stale: Duration) -> Option<Row> {
        let row = self.row(name, stale);
        self.trace(|| format!("{host:?} {name} read {stale:?} old: {}", show(row.as_ref())));
        match &self.stack {
            #[cfg(feature = "stacks")]
            Stack::Sqlite(disk) => {
                let real = disk.read(host, name);
                self.check(real.as_ref() == Ok(&row), SPECIFIED, || {
                    format!("{host:?} {name}: SQLite shows {real:?}, and {row:?} is specified")
                });
                real.unwrap_or(row)
            }
            _ => row,
        }
    }

    /// Somebody who is no client of ours left this row, or none, in the model: so it is in the real store.
    pub fn planted(&self, _name: &str, _row: Option<&Row>) {
        match &self.stack {
            #[cfg(feature = "stacks")]
            Stack::Sdk(table) => table.plant(_name, _row),
            _ => {}
        }
    }
}
