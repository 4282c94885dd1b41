//! The clocks of this host, by which the wrapper and its supervisor measure leases. They are those of the library.

use std::time::Duration;

use dynamo_lock::clock::{Clock, ClockReading, SystemClock};

/// Reads all clocks. It is async-signal-safe, because it only makes system calls and does not allocate.
pub fn now() -> ClockReading {
    SystemClock.now()
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    SystemClock.sleep(duration).await;
}
