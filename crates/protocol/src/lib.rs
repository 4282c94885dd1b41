//! The lease protocol of dynamo-lock, pure.
//!
//! One row per lock. Every change of it is an [`Op`]: one conditional write, whose meaning is the function [`apply`].
//! The machines decide what to send and what may be believed: [`Acquire`] until a lock is held, [`Held`] while it is,
//! [`Release`] at its end, [`Revoke`] from outside; [`LegacyGet`] takes a lock as the original npm package did. They are fed with what happened and when, and answer with what to
//! do next; time and luck come in as arguments ([`Now`]), so a test, a simulator or a model checker can drive them.
//!
//! The rules R1 to R6 that comments name are those of `docs/protocol.md`.
//!
//! Deliberately absent: clocks, random sources, I/O, hash maps, dependencies.

mod acquire;
mod apply;
pub mod attr;
mod backoff;
mod condition;
mod config;
mod held;
mod legacy;
mod name;
mod now;
mod npm_format;
mod number;
mod op;
mod release;
mod row;
mod service_clock;
mod time;
mod token;
mod watch;

pub use acquire::{Acquire, Request, Step, WaitMode};
pub use apply::{Verdict, apply};
pub use condition::{Condition, holds};
pub use config::{
    ConfigError, DATA_MAX, DRIFT_PER_MILLE, EXPIRY_PAD, HOLD_MAX, LEASE_MAX, LEASE_MIN, OWNER_MAX, TTL_MARGIN, Timing,
};
pub use held::{Held, HeldStep, LossReason, Renewal};
pub use legacy::{LegacyEnd, LegacyGet, LegacyStep};
pub use name::{LockName, NAME_MAX, NameError};
pub use now::{Entropy, Now};
pub use number::Number;
pub use op::{Change, Ends, Lease, Op, OpKind, Outcome, Target};
pub use release::{Release, ReleaseEnd, ReleaseStep, Revoke, RevokeEnd, RevokeStep};
pub use row::{HeldRow, LegacyRow, Row, RowError, RowState, Value};
pub use service_clock::{DELTA, ServiceClock, ServiceDate};
pub use time::{ClockReading, Deadline, ReceivedAt, SentAt};
pub use token::{FencingToken, LeaseId, RecordVersion};
pub use watch::{Holder, Liveness, Watch};
