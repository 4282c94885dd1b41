//! [`Turns`]: rules by which a client leaves a lock to other clients.

/// Rules by which a client leaves a lock to other clients, for `ClientBuilder::turns` (feature `simulation`).
///
/// All programs use the default. A simulator breaks one rule at a time, to prove that its checks notice it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Maximum number of handovers in a row. After that, the lock is released.
    pub handovers_max: u8,
    /// Time after an acquisition from which on the lock is released instead of handed over, in leases.
    pub leases_max: u32,
    /// Whether the client rests after a release, so that other clients look first.
    pub rests: bool,
}

impl Default for Turns {
    fn default() -> Self {
        Self { handovers_max: 16, leases_max: 1, rests: true }
    }
}
