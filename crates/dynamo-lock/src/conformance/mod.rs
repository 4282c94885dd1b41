//! The checks that every [`Store`] passes, for your own store too.
//!
//! Say how to reach your store by implementing [`Subject`], and [`run`] the checks in a test of yours:
//!
//! ```
//! use std::sync::Arc;
//! use dynamo_lock::conformance::{Options, PlantError, Subject, run};
//! use dynamo_lock::store::{BoxFuture, LockName, Row, Store};
//! use dynamo_lock::Memory;
//!
//! struct InMemory(Memory);
//!
//! impl Subject for InMemory {
//!     fn store(&self) -> Arc<dyn Store> {
//!         Arc::new(self.0.clone())
//!     }
//!     fn other(&self) -> Arc<dyn Store> {
//!         Arc::new(self.0.clone())
//!     }
//!     fn plant<'a>(&'a self, name: &'a LockName, row: Option<Row>) -> BoxFuture<'a, Result<(), PlantError>> {
//!         Box::pin(async move { Ok(self.0.plant(name, row)) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! run(&InMemory(Memory::new()), Options::default()).await.assert_passed();
//! # }
//! ```
//!
//! The specification is [`apply`](crate::store::apply): the checks write generated ops on generated rows and compare the
//! answer, and the row that is there afterwards, with what it says. Further checks are about what only shows with two
//! handles, with many writers at once, or with many rows. All that is generated follows from [`Options::seed`].
//!
//! Deliberately absent: how long anything takes, what an answer's date says, and what happens when a machine fails.

mod case;
mod checks;
mod coverage;
mod exam;
mod races;
mod report;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::Store;
use crate::store::{BoxFuture, LockName, Row};

pub use case::{Case, Dice};
pub use coverage::{Coverage, Feat, Said};
pub use report::{Check, Report};

use exam::Exam;

/// Why a row could not be planted.
pub type PlantError = Box<dyn Error + Send + Sync>;

/// A store under examination, and how to reach its rows past it.
pub trait Subject: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// A second handle to the same rows, as far from the first as can be had: another connection or another process
    /// behind it rather than a clone. If there is none, the same as [`store`](Subject::store).
    fn other(&self) -> Arc<dyn Store>;

    /// Puts a row there as somebody else would write it, without a condition; `None` deletes it. Once it is done,
    /// strong reads through both handles see it.
    fn plant<'a>(&'a self, name: &'a LockName, row: Option<Row>) -> BoxFuture<'a, Result<(), PlantError>>;
}

/// How much is checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// What all generated rows and ops follow from.
    pub seed: u64,
    /// Generated rows, each with up to six ops. With fewer than about 200 [`Report::coverage`] has gaps, and fails.
    pub cases: u32,
    /// Rounds of each race.
    pub rounds: u32,
    /// Writers in each race, half of them on each handle.
    pub writers: u32,
    /// Rows that are listed. Each is about 5 KB, so that 250 of them do not fit one page of DynamoDB's.
    pub listed: u32,
    /// What the names of all rows begin with. They are removed at the end, except after a failure.
    pub prefix: String,
    /// The longest that one request may take.
    pub wait_mode: Duration,
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
            wait_mode: Duration::from_secs(30),
        }
    }
}

/// Runs every check on a store, on a tokio runtime with timers. A request that is throttled is repeated up to ten
/// times with growing pauses; one that gets no answer is a failure of its check, as is one that takes longer than
/// [`Options::wait_mode`]. All loops are bounded, so it comes to an end on any store.
///
/// # Errors
///
/// None: what did not pass is in the [`Report`].
///
/// # Cancel safety
///
/// It may be dropped at any time. Rows that begin with [`Options::prefix`] then stay.
pub async fn run(subject: &dyn Subject, options: Options) -> Report {
    let exam = Exam::new(subject, &options);
    let mut report = Report::new(options.seed);
    report.add("a planted row is read as it is", checks::planted(&exam).await);
    let mut coverage = Coverage::default();
    report.add("writes do what the specification says", checks::generated(&exam, &mut coverage).await);
    report.add("the generated ops reach every answer", coverage.complete());
    report.coverage = coverage;
    report.add("an applied write brings the row as it left it", checks::applied_row(&exam).await);
    report.add("a conflict brings the row as it stands", checks::conflict_row(&exam).await);
    report.add("a conflict changes nothing", checks::conflict_changes_nothing(&exam).await);
    report.add("attributes that an op does not name stay as they are", checks::foreign_attributes(&exam).await);
    report.add("a comparison with a missing attribute does not hold", checks::missing_attribute(&exam).await);
    report.add("one write takes effect once", checks::once(&exam).await);
    report.add("a strong read sees every write that was answered", checks::strong_reads(&exam).await);
    report.add("an eventual read shows some state that the row was in", checks::eventual_reads(&exam).await);
    report.add("names are compared by bytes", checks::names(&exam).await);
    report.add("a list shows every row once, as it is", checks::list(&exam).await);
    report.add("of writers who race for a free lock one wins", races::acquire_race(&exam).await);
    report.add("of writers who race for a dead lock one wins", races::take_over(&exam).await);
    report.add("a release survives the renewals that race it", races::release_race(&exam).await);
    report.add("the tokens of racing acquisitions are one row of numbers", races::tokens(&exam).await);
    report
}
