//! Inputs of one step of a state machine.

use crate::{ClockReading, ServiceClock};

/// Random bits for one step of a state machine. Each value is used at most once, so every call needs fresh ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entropy {
    /// Bits for a record version.
    pub version: u128,
    /// Bits for a lease ID.
    pub lease_id: u128,
    /// Bits for the length of a pause.
    pub jitter: u64,
}

/// Everything that a state machine may know besides its own state: clocks, service time and random bits.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// Reading of the host's clocks, taken for this call.
    pub at: ClockReading,
    /// Service time as far as earlier responses bound it, `None` if the store has no service clock.
    pub service: Option<&'a ServiceClock>,
    /// Random bits for this call.
    pub entropy: Entropy,
}

impl Now<'_> {
    /// Returns the lower and upper bound of service time now, in milliseconds since 1970. Returns `None` if no recent
    /// response had a date.
    pub(crate) fn service_interval(&self) -> Option<(u64, u64)> {
        self.service.and_then(|clock| clock.interval(self.at))
    }
}
