//! Simulator of the lock protocol: searches for executions that break a promise.
//!
//! [`explore`] searches small configurations exhaustively, and [`sets`] several locks that are acquired together.
//! [`world`] runs the real client in random worlds, in virtual time. [`once`] plays random histories of
//! work that runs once. [`threads`] runs the client on real threads. [`handoff`]
//! measures how quickly waiters notice a release. The binary `dynamo-lock-sim` is the command line of all.

#![allow(missing_docs)] // not published: its users are its own command line and tests

pub mod explore;
pub mod handoff;
pub mod mutants;
pub mod once;
pub mod sets;
pub mod threads;
pub mod world;
