//! The state machines of the protocol under exact interleavings.

mod acquire;
mod liveness;
mod npm_format;
