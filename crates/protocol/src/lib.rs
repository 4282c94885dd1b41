//! The lease protocol of dynamo-lock, as data and state machines without I/O.
//!
//! A lock is one row. Every change of the row is an [`Op`], one conditional write, and [`apply`] specifies its effect.
//! The state machines decide which requests to send and how long a lease is valid:
//!
//! | machine | task |
//! |---|---|
//! | [`Acquire`] | acquires a lock and takes over expired ones |
//! | [`AcquireAll`] | orders the acquisitions of several locks |
//! | [`SharedAcquire`] | acquires an entry of a row with several holders |
//! | [`Held`] | renews a held lock and detects its loss |
//! | [`Handover`] | passes a held lock to the next waiter of the same client |
//! | [`Release`] | releases a lock |
//! | [`Hold`] | acquires a lock for a fixed time |
//! | [`Finish`] | records the success of work that runs once, in place of the release |
//! | [`Revoke`] | revokes another client's lock, or forgets a success |
//! | [`ChangeRow`] | revokes one of several holders, or changes the kind of a free row |
//! | [`LegacyGet`] | acquires a lock as npm dynamo-lock does |
//!
//! [`Machine`] describes how to drive them. Time and random bits are arguments ([`Now`]), so that a test, a simulator
//! or a model checker can use the same machines as the library. [`expiry`] decides whether a lease has expired.
//!
//! Comments name the rules R1 to R6 and the sections (§) of `docs/protocol.md`.
//!
//! This crate contains no clock, no source of randomness, no I/O and no hash map, and it has no dependencies.

mod abandoned;
mod access;
mod acquire;
mod acquire_all;
mod apply;
mod change;
mod change_row;
mod condition;
mod config;
mod convert;
mod entry_release;
mod entry_watches;
mod expiry;
mod finish;
mod handover;
mod held;
mod held_entry;
mod hint;
mod hold;
mod hold_history;
mod hold_record;
mod kind;
mod last_hold;
mod lease;
mod lease_end;
mod legacy;
mod lock_names;
mod loss;
mod machine;
mod name;
mod now;
mod npm_format;
mod number;
mod op;
mod operation;
mod own_hold;
mod path;
mod poller;
mod rate_plan;
mod release;
mod request;
mod retry;
mod revoke;
mod row;
mod row_error;
mod schema;
mod service_clock;
mod shared_acquire;
mod shared_op;
mod shared_operation;
mod shared_row;
mod shared_waiter;
mod stored_lease;
mod success;
mod takeover;
mod target;
mod time;
mod token;
mod validity;
mod watch;

pub use access::{Access, HOLDERS_MAX};
pub use acquire::{Acquire, AcquireEnd};
pub use acquire_all::{AcquireAll, AcquireAllStep};
pub use apply::{Verdict, apply};
pub use change::Change;
pub use change_row::{ChangeRow, ChangeRowEnd, RowChange};
pub use condition::{Condition, holds};
pub use config::{
    ConfigError, DATA_MAX, DRIFT_PER_MILLE, EXPIRY_PAD, HOLD_MAX, LEASE_MAX, LEASE_MIN, OWNER_MAX, SUCCESS_MAX,
    SUCCESS_MIN, TTL_MARGIN, Timing, WALL_CLOCK_PAD,
};
pub use convert::Convert;
pub use expiry::{Evidence, Expiry, entry_expiry, expiry};
pub use finish::{Finish, FinishEnd};
pub use handover::{Handover, HandoverEnd};
pub use held::{Held, HeldStep};
pub use hint::Hint;
pub use hold::Hold;
pub use hold_history::HoldHistory;
pub use hold_record::HoldRecord;
pub use kind::Kind;
pub use last_hold::{EndedHold, HoldEnd, LastHold};
pub use lease::{Ends, Lease, NextLease};
pub use legacy::{LegacyEnd, LegacyGet};
pub use lock_names::{LOCKS_MAX, LockNames, LockNamesError};
pub use loss::LossReason;
pub use machine::{Body, Machine, Refusal, Response, Step};
pub use name::{LockName, NAME_MAX, NameError};
pub use now::{Entropy, Now};
pub use number::Number;
pub use op::{Op, OpKind, Outcome};
pub use own_hold::OwnHold;
pub use path::{EntryKey, Path};
pub use poller::{Due, Poller, RoundTrip, RowFacts, Source};
pub use rate_plan::RatePlan;
pub use release::{Release, ReleaseEnd};
pub use request::{Renewal, Request, WaitMode};
pub use revoke::{Revoke, RevokeEnd};
pub use row::{DoneRow, HeldRow, LegacyRow, Row, RowState, Value};
pub use row_error::RowError;
pub use schema::{attr, check_partition_key};
pub use service_clock::{DELTA, ServiceClock, ServiceDate};
pub use shared_acquire::SharedAcquire;
pub use shared_op::{EntryLease, NewEntry, Role, SharedHolder, SharedOp, SharedWrite};
pub use shared_row::{SharedEntry, SharedRow};
pub use success::{Done, DoneUntil, Success};
pub use target::Target;
pub use time::{ClockReading, Deadline, ReceivedAt, SentAt};
pub use token::{FencingToken, LeaseId, RecordVersion};
pub use watch::{Holder, Liveness, Watch};
