//! The integration tests of the library, in one binary because each binary links the AWS SDK, which takes minutes.
//!
//! The modules follow the behavior that they test. "Lesson 14" in the comment of a test refers to
//! `docs/internals/lessons.md`, and "Seed 8035" to the simulator's run that found the fault.
#![allow(clippy::disallowed_methods)] // time is tokio's here, which tests pause

mod acquire;
mod at_risk;
mod cancellation;
mod clocks;
mod conformance;
mod dedicated_thread;
mod deleted_table;
mod dynamodb;
mod events;
mod examples;
mod fuzz_bodies;
mod hold;
mod inspect;
mod item_format;
mod lead;
mod lock_set;
mod loss;
mod npm_format;
mod once;
mod queue;
mod refusals;
mod release;
mod renew;
mod revoke;
mod rows;
mod runtimes;
mod shared;
#[cfg(unix)]
mod sqlite;
mod takeover;
mod testing;
mod try_acquire;
mod url;
mod validation;
mod waiting;
