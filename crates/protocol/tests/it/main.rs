//! The state machines of the protocol under exact interleavings: each test chooses the time and the content of every
//! response.
//!
//! "Lesson 14" in the comment of a test refers to `docs/internals/lessons.md`, and "Seed 139" to the simulator's run
//! that found the fault.

mod acquire;
mod change_row;
mod handover;
mod hints;
mod hold_history;
mod last_hold;
mod liveness;
mod npm_format;
mod once;
mod paths;
mod poller;
mod rate_plan;
mod release;
mod renew;
mod rows;
mod service_clock;
mod shared_acquire;
mod shared_ops;
mod shared_rows;
mod support;
mod takeover;
