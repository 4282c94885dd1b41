//! Commands of the simulator that run worlds.

mod coverage;
pub mod run;
pub mod shrink;
