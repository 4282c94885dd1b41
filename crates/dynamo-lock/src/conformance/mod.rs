//! Conformance checks for implementations of [`Store`](crate::Store).
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
//! The checks do not cover response times, the dates of responses, liveness keys, or failures of machines.

mod case;
mod checks;
mod coverage;
mod harness;
mod options;
mod races;
mod report;
mod rng;
mod samples;
mod shared_case;
mod store_under_test;

pub use options::Options;
pub use report::Report;
pub use store_under_test::{InsertError, StoreUnderTest};

/// Parts that the tests of this crate use. They may change in any version.
#[doc(hidden)]
pub mod internals {
    pub use super::{case::Case, coverage::Coverage, rng::Rng};
}

use case::Case;
use harness::Harness;

/// Runs all checks on a store. Requires a tokio runtime with timers.
///
/// A throttled request is sent up to ten times, with growing pauses. A request without an answer, or one that takes
/// longer than [`Options::timeout`], is a failure of its check. All loops are bounded, so that the run ends on any
/// store.
///
/// # Errors
///
/// None. The [`Report`] contains the failed checks, also those that failed because of an error of the store.
///
/// # Cancel safety
///
/// May be dropped at any time. Rows with the prefix [`Options::prefix`] then remain.
pub async fn run(store: &dyn StoreUnderTest, options: Options) -> Report {
    let mut harness = Harness::new(store, &options);
    harness.check("an inserted row is read as it is", "raw", checks::raw_inserts).await;
    let generated = checks::generated(&mut harness, "generated", options.cases, Case::generate).await;
    harness.report.add("writes do what the specification says", generated);
    let generated = checks::generated(&mut harness, "shared", 2 * options.cases, Case::generate_shared).await;
    harness.report.add("writes to shared rows do what the specification says", generated);
    harness.report.add("the generated ops reach every outcome", harness.report.coverage.complete());
    harness.check("an applied write returns the row as it has left it", "applied", checks::applied_row).await;
    harness.check("a conflict returns the current row", "conflict", checks::conflict_row).await;
    harness.check("a conflict changes nothing", "unchanged", checks::conflict_changes_nothing).await;
    harness.check("attributes that an op does not name stay as they are", "unknown", checks::unknown_attributes).await;
    harness.check("a comparison with a missing attribute does not hold", "missing", checks::missing_attribute).await;
    harness.check("one write takes effect once", "once", checks::once).await;
    harness.check("a strong read sees every write that was answered", "strong", checks::strong_reads).await;
    harness.check("an eventual read returns a state that the row was in", "eventual", checks::eventual_reads).await;
    harness.report.add("names are compared by bytes", checks::names(&harness).await);
    harness.report.add("a list contains every row once, as it is", checks::list(&harness).await);
    harness.check("one of several racing acquisitions wins", "race", races::acquire_race).await;
    harness.check("one of several racing takeovers wins", "expired", races::take_over).await;
    harness.check("a release survives the renewals that race it", "release", races::release_race).await;
    harness.check("racing acquisitions have consecutive tokens", "tokens", races::tokens).await;
    harness.report
}
