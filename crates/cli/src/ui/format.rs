//! Text forms of holders, times and durations.

use std::time::Duration;

use dynamo_lock::{Clock, Holder, SystemClock};

use crate::ui::escape::escape;

/// First millisecond of the year 10000. `humantime` rejects years with five digits.
const YEAR_10000_MS: u64 = 253_402_300_800_000;

/// Returns the holder's label and the time of its acquisition.
pub fn holder(holder: &Holder) -> String {
    let owner = owner(holder);
    match holder.acquired_at_ms {
        Some(since) => format!("{owner}, since {} ({} ago)", time(since), age(since)),
        None => owner,
    }
}

/// Returns the holder's label, escaped.
pub fn owner(holder: &Holder) -> String {
    holder.owner.as_deref().map_or_else(|| "an unknown owner".to_owned(), escape)
}

/// Returns the time that has passed since a time on the wall clock, in milliseconds since 1970.
pub fn age(ms: u64) -> String {
    span(Duration::from_millis(SystemClock.now().wall_ms.saturating_sub(ms)))
}

/// Returns a duration in whole seconds, in its two largest units, for example `1m 30s`.
pub fn span(length: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(length.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Returns a time, given in milliseconds since 1970, in UTC and RFC 3339 format.
pub fn time(ms: u64) -> String {
    let at = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    at.filter(|_| ms < YEAR_10000_MS)
        .map_or_else(|| format!("{ms} ms after 1970"), |at| humantime::format_rfc3339_seconds(at).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_the_calendar_are_printed_without_panic() {
        assert!(time(u64::MAX).contains("after 1970"));
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert!(!age(u64::MAX).is_empty() && !age(0).is_empty());
    }
}
