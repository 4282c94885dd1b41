//! Text forms of holders, times and durations.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dynamo_lock::{Holder, Success};

use crate::{clock, ui::escape::escape};

/// First millisecond of the year 10000. `humantime` rejects years with five digits.
const YEAR_10000_MS: u64 = 253_402_300_800_000;

/// Returns the holder's label and the time of its acquisition.
pub fn holder(holder: &Holder) -> String {
    let owner = owner(holder);
    match holder.acquired_at {
        Some(at) => format!("{owner}, since {} ({} ago)", time(at), age(at)),
        None => owner,
    }
}

/// Returns the holder's label, escaped.
pub fn owner(holder: &Holder) -> String {
    holder.owner.as_deref().map_or_else(|| "an unknown owner".to_owned(), escape)
}

/// Returns when and by whom a success was recorded, and until when it counts, as the rest of a sentence.
pub fn success(success: &Success) -> String {
    let at = success.finished_at.map(|at| format!(" at {} ({} ago)", time(at), age(at))).unwrap_or_default();
    let by = success.by.as_deref().map_or_else(|| "an unknown process".to_owned(), escape);
    let until = success.until.map(|until| format!(", which counts until {}", time(until))).unwrap_or_default();
    format!("succeeded{at} by {by}{until}")
}

/// Returns the time that has passed since `at`, zero if it is in the future.
pub fn age(at: SystemTime) -> String {
    span(Duration::from_millis(clock::now().wall_ms.saturating_sub(epoch_ms(at))))
}

/// Returns a duration in whole seconds, in its two largest units, for example `1m 30s`.
pub fn span(length: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(length.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Returns the time in milliseconds since 1970.
pub fn epoch_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Returns the time in UTC and RFC 3339 format.
pub fn time(at: SystemTime) -> String {
    let ms = epoch_ms(at);
    if ms >= YEAR_10000_MS {
        return format!("{ms} ms after 1970");
    }
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_the_calendar_are_printed_without_panic() {
        let latest = UNIX_EPOCH + Duration::from_millis(u64::MAX);
        assert!(time(latest).contains("after 1970"));
        assert_eq!(time(UNIX_EPOCH), "1970-01-01T00:00:00Z");
        assert_eq!(age(latest), "0s");
        assert!(!age(UNIX_EPOCH).is_empty());
    }
}
