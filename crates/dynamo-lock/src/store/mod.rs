//! Stores of lock rows. The trait [`Store`] documents the contract of a store, and the `conformance` module checks it.
//!
//! Programs that only use locks need [`StoreError`] and `StoreUrl` of this module. The other types describe rows and
//! writes, for implementations of [`Store`]: an [`Op`] is one write, and [`apply`] specifies its effect on a [`Row`].
//! Rules such as R4 and sections such as §5 are those of `docs/protocol.md` in the repository.

mod answer;
mod contract;
#[cfg(feature = "dynamodb")]
pub(crate) mod dynamodb;
mod error;
pub(crate) mod memory;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
#[cfg(feature = "config")]
mod url;

pub use dynamo_lock_protocol::{
    Change, Condition, Convert, Done, DoneUntil, EndedHold, Ends, EntryKey, EntryLease, FencingToken, HoldEnd,
    HoldHistory, Kind, Lease, LeaseId, Liveness, LockName, NAME_MAX, NewEntry, NextLease, Number, Op, OpKind, Outcome,
    Path, RecordVersion, Role, Row, ServiceDate, SharedHolder, SharedOp, SharedWrite, Target, Value, Verdict, apply,
    attr, check_partition_key, holds,
};

pub use self::answer::{Answer, Consistency, Page};
pub use self::contract::{IntoStore, Store};
pub use self::error::{StoreError, StoreErrorCause, StoreErrorKind, StoreOperation};
#[cfg(feature = "config")]
pub use self::url::{DynamoDbUrl, OpenedStore, StoreUrl, UrlError};
pub use crate::boxed_future::BoxFuture;

#[cfg(all(feature = "dynamodb", feature = "config"))]
#[doc(hidden)] // for the command line
pub use self::dynamodb::examination;
#[cfg(feature = "dynamodb")]
#[doc(hidden)] // for the command line
pub use self::dynamodb::iam;
#[cfg(all(feature = "sqlite", unix))]
#[doc(hidden)] // for the command line
pub use self::sqlite::examination as file_examination;
#[cfg(feature = "dynamodb")]
pub use {
    self::dynamodb::SenderError, self::dynamodb::TableDefinition, self::dynamodb::TableFault,
    crate::error::TableMismatch,
};
