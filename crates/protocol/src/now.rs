//! Inputs of one step of a state machine.

use std::time::Duration;

use crate::{ClockReading, EXPIRY_PAD, ServiceClock, WALL_CLOCK_PAD, validity::DatedTry};

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
    /// Whether clients of npm dynamo-lock may use the same table.
    pub npm_clients: bool,
    /// Random bits for this call.
    pub entropy: Entropy,
}

impl Now<'_> {
    /// Returns the lower and upper bound of service time now, in milliseconds since 1970. Returns `None` if no recent
    /// response had a date.
    pub(crate) fn service_interval(&self) -> Option<(u64, u64)> {
        self.service.and_then(|clock| clock.interval(self.at))
    }

    /// Returns whether the date of a response is earlier than the other dates allow, so that it may be wrong (§5.1).
    pub(crate) fn is_too_early(&self, (date, sent_at): DatedTry) -> bool {
        self.service_interval().is_some_and(|(lower, _)| date.upper_at(sent_at, self.at) < lower)
    }

    /// Returns whether the date of a response is later than the other dates allow, so that it may be wrong (§5.1).
    pub(crate) fn is_too_late(&self, (date, _): DatedTry) -> bool {
        self.service_interval().is_some_and(|(_, upper)| date.lower_when_received() > upper)
    }

    /// Returns the time by which `expiresOn` lies after the end of a lease (§5.1).
    pub(crate) fn pad(&self) -> Duration {
        if self.service.is_none() && self.npm_clients { WALL_CLOCK_PAD } else { EXPIRY_PAD }
    }
}
