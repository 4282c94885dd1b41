//! Checks of the promises, with clocks and rules of the simulator's own.

pub mod children;
pub mod linearizability;
pub mod sharing;
pub mod turns;
pub mod validity;
pub mod writes;
