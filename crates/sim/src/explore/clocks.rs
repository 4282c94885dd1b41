//! The clocks of each host, as functions of real time. Rates and offsets are constants of a configuration; freezes and
//! suspensions are events.

use dynamo_lock_protocol::ClockReading;

/// Real time zero, ms since 1970: a whole second.
pub const EPOCH_MS: u64 = 1_700_000_000_000;
const BOOT_NS: u64 = 1_000_000_000_000_000;

/// Deviations of a host's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    /// All clocks, thousandths fast (A2: −5 to 5).
    pub rate: i64,
    /// Slew of the boot clock in thousandths, on top of the rate (chrony: up to 80).
    pub slew: i64,
    /// The wall clock's offset.
    pub wall_ms: i64,
}

/// A host's reading at a real time. `frozen_ms` of it no clock has counted; `slept_ms` the unslewed clock has not.
pub fn read(clocks: &Clocks, real_ms: u64, frozen_ms: u64, slept_ms: u64) -> ClockReading {
    let passed = real_ms - frozen_ms;
    let at_rate = |ms: u64, rate: i64| BOOT_NS + ms * 1_000 * (1_000 + rate) as u64;
    ClockReading {
        boot_ns: at_rate(passed, clocks.rate + clocks.slew),
        raw_ns: at_rate(passed - slept_ms, clocks.rate),
        wall_ms: (EPOCH_MS + passed * (1_000 + clocks.rate) as u64 / 1_000).saturating_add_signed(clocks.wall_ms),
    }
}

/// Returns a reading moved by this number of milliseconds. Only for mutants.
pub fn moved(at: ClockReading, ms: i64) -> ClockReading {
    ClockReading {
        boot_ns: at.boot_ns.saturating_add_signed(ms * 1_000_000),
        raw_ns: at.raw_ns.saturating_add_signed(ms * 1_000_000),
        wall_ms: at.wall_ms.saturating_add_signed(ms),
    }
}
