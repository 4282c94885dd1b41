//! Conformance checks for implementations of [`Store`].
//!
//! Implement [`StoreUnderTest`] for your store, and call [`run`] in a test:
//!
//! ```
//! use std::sync::Arc;
//! use dynamo_lock::conformance::{InsertError, Options, StoreUnderTest, run};
//! use dynamo_lock::store::{BoxFuture, LockName, Row, Store};
//! use dynamo_lock::Memory;
//!
//! struct InMemory(Memory);
//!
//! impl StoreUnderTest for InMemory {
//!     fn store(&self) -> Arc<dyn Store> {
//!         Arc::new(self.0.clone())
//!     }
//!     fn other(&self) -> Arc<dyn Store> {
//!         Arc::new(self.0.clone())
//!     }
//!     fn insert_raw<'a>(&'a self, name: &'a LockName, row: Option<Row>) -> BoxFuture<'a, Result<(), InsertError>> {
//!         Box::pin(async move { Ok(self.0.insert_raw(name, row)) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! run(&InMemory(Memory::new()), Options::default()).await.assert_passed();
//! # }
//! ```
//!
//! The specification is [`apply`](crate::store::apply). The checks write generated ops to generated rows, and compare
//! the outcome and the row afterwards with the specification. Further checks cover properties that are only visible
//! with two handles, with concurrent writers, or with many rows. All generated values depend on [`Options::seed`]
//! alone.
//!
//! The checks do not cover response times, the dates of responses, or failures of machines.

mod case;
mod checks;
mod coverage;
mod harness;
mod races;
mod report;
mod rng;
mod samples;
mod tag;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::Store;
use crate::store::{BoxFuture, LockName, Row};

pub use report::Report;

/// Parts that the tests of this crate use. They may change in any version.
#[doc(hidden)]
pub mod internals {
    pub use super::case::Case;
    pub use super::coverage::Coverage;
    pub use super::rng::Rng;
    pub use super::tag::{OpTag, OutcomeTag};
}

use harness::Harness;
use internals::{Case, Coverage, OpTag, OutcomeTag, Rng};

/// Error of [`StoreUnderTest::insert_raw`].
pub type InsertError = Box<dyn Error + Send + Sync>;

/// Store under test, and direct access to its rows.
pub trait StoreUnderTest: Send + Sync {
    /// Returns the store.
    fn store(&self) -> Arc<dyn Store>;

    /// Returns a second handle to the same rows, as separate from the first one as possible: with another connection or
    /// in another process, rather than a clone. May return the same handle as [`store`](Self::store).
    fn other(&self) -> Arc<dyn Store>;

    /// Replaces a row without a condition, as another program would. `None` deletes the row. After the future has
    /// completed, strong reads through both handles return this row.
    fn insert_raw<'a>(&'a self, name: &'a LockName, row: Option<Row>) -> BoxFuture<'a, Result<(), InsertError>>;
}

/// Number and size of the checks.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of all generated rows and ops. Default: 1.
    pub seed: u64,
    /// Generated rows, each with up to six ops. With fewer than about 200, some kinds of ops do not occur, and the
    /// check for that fails. Default: 500.
    pub cases: u32,
    /// Rounds of each race. Default: 40.
    pub rounds: u32,
    /// Concurrent writers in each race, half of them on each handle. Default: 8.
    pub writers: u32,
    /// Rows that are listed. Each has about 5 KB, so that 250 rows need more than one page of DynamoDB. Default: 250.
    pub listed: u32,
    /// Prefix of the names of all rows. The rows are removed at the end, except after a failure. Default:
    /// `conformance/`.
    pub prefix: String,
    /// Time limit of one request. Default: 30 s.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            cases: 500,
            rounds: 40,
            writers: 8,
            listed: 250,
            prefix: "conformance/".to_owned(),
            timeout: Duration::from_secs(30),
        }
    }
}

/// Runs all checks on a store. Requires a tokio runtime with timers.
///
/// A throttled request is repeated up to ten times with growing pauses. A request without an answer, or one that takes
/// longer than [`Options::timeout`], is a failure of its check. All loops are bounded, so that the run ends on any
/// store.
///
/// # Errors
///
/// None. The [`Report`] contains the failed checks.
///
/// # Cancel safety
///
/// May be dropped at any time. Rows with the prefix [`Options::prefix`] then remain.
pub async fn run(store: &dyn StoreUnderTest, options: Options) -> Report {
    let harness = Harness::new(store, &options);
    let mut report = Report::new(options.seed);
    report.add("an inserted row is read as it is", checks::raw_inserts(&harness).await);
    let mut coverage = Coverage::default();
    report.add("writes do what the specification says", checks::generated(&harness, &mut coverage).await);
    report.add("the generated ops reach every outcome", coverage.complete());
    report.coverage = coverage;
    report.add("an applied write returns the row as it has left it", checks::applied_row(&harness).await);
    report.add("a conflict returns the current row", checks::conflict_row(&harness).await);
    report.add("a conflict changes nothing", checks::conflict_changes_nothing(&harness).await);
    report.add("attributes that an op does not name stay as they are", checks::unknown_attributes(&harness).await);
    report.add("a comparison with a missing attribute does not hold", checks::missing_attribute(&harness).await);
    report.add("one write takes effect once", checks::once(&harness).await);
    report.add("a strong read sees every write that was answered", checks::strong_reads(&harness).await);
    report.add("an eventual read returns a state that the row was in", checks::eventual_reads(&harness).await);
    report.add("names are compared by bytes", checks::names(&harness).await);
    report.add("a list contains every row once, as it is", checks::list(&harness).await);
    report.add("one of several racing acquisitions wins", races::acquire_race(&harness).await);
    report.add("one of several racing takeovers wins", races::take_over(&harness).await);
    report.add("a release survives the renewals that race it", races::release_race(&harness).await);
    report.add("racing acquisitions have consecutive tokens", races::tokens(&harness).await);
    report
}
