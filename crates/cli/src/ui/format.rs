//! Text forms of holders, times and durations.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dynamo_lock::{Holder, LastHold, Success};

use crate::{clock, ui::escape::escape};

/// First millisecond of the year 10000. `humantime` rejects years with five digits.
const YEAR_10000_MS: u64 = 253_402_300_800_000;
/// Units of durations, in seconds.
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// Returns the holder's label and the time of its acquisition.
pub fn holder(holder: &Holder) -> String {
    let owner = owner(holder);
    match holder.acquired_at {
        Some(at) => format!("{owner}, since {}", moment(at)),
        None => owner,
    }
}

/// Returns the holder's label, escaped.
pub fn owner(holder: &Holder) -> String {
    holder.owner.as_deref().map_or_else(|| "an unknown owner".to_owned(), escape)
}

/// Returns who held the lock last, since when, for how long, and how the hold ended.
pub fn last(hold: &LastHold) -> String {
    let owner = hold.owner.as_deref().map_or_else(|| "an unknown owner".to_owned(), escape);
    let since = hold.acquired_at.map(|at| format!(", since {}", moment(at))).unwrap_or_default();
    let held = hold.held.map(|held| format!(", for {}", given(held))).unwrap_or_default();
    let code = hold.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    format!("{owner}{since}{held}, {}{code}", hold.end.as_str())
}

/// Returns when and by whom a success was recorded, and until when it counts, as the rest of a sentence.
pub fn success(success: &Success) -> String {
    let at = success.finished_at.map(|at| format!(" at {}", moment(at))).unwrap_or_default();
    let by = success.by.as_deref().map_or_else(|| "an unknown process".to_owned(), escape);
    let until = success.until.map(|until| format!(", which counts until {}", moment(until))).unwrap_or_default();
    format!("succeeded{at} by {by}{until}")
}

/// Returns the time in UTC and its distance from now, for example `2026-11-28 02:00:00 UTC (8h ago)`.
pub fn moment(at: SystemTime) -> String {
    match time_until(at) {
        Duration::ZERO => format!("{} ({} ago)", time(at), age(at)),
        left => format!("{} (in {})", time(at), span_up(left)),
    }
}

/// Returns the time that has passed since `at` in its largest unit, zero if it is in the future.
pub fn age(at: SystemTime) -> String {
    largest_unit(Duration::from_millis(clock::now().wall_ms.saturating_sub(epoch_ms(at))))
}

/// Returns the time until `at` on the wall clock, zero if it has passed.
pub fn time_until(at: SystemTime) -> Duration {
    Duration::from_millis(epoch_ms(at).saturating_sub(clock::now().wall_ms))
}

/// Returns a duration in whole seconds, in its two largest units, for example `1h2m`.
pub fn span(length: Duration) -> String {
    parts(length, 2)
}

/// Returns an upper bound, rounded up to whole seconds, in the form of [`span`].
pub fn span_up(length: Duration) -> String {
    span(Duration::from_secs(length.as_secs() + u64::from(length.subsec_nanos() > 0)))
}

/// Returns a duration that a user has given, with the fraction of a short one, for example `500ms`.
pub fn given(length: Duration) -> String {
    if length < Duration::from_secs(60) { format!("{length:?}") } else { span(length) }
}

fn largest_unit(length: Duration) -> String {
    parts(length, 1)
}

/// Returns the `count` largest units of a duration. Leaves out those that are zero.
fn parts(length: Duration, count: usize) -> String {
    let mut rest = length.as_secs();
    let largest = UNITS.iter().position(|(_, seconds)| rest >= *seconds).unwrap_or(UNITS.len() - 1);
    let mut text = String::new();
    for (unit, seconds) in UNITS.iter().skip(largest).take(count) {
        let number = rest / seconds;
        rest %= seconds;
        if number > 0 || text.is_empty() {
            text += &format!("{number}{unit}");
        }
    }
    text
}

/// Returns the time in milliseconds since 1970.
pub fn epoch_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Returns the time in UTC, for example `2026-11-28 02:00:00 UTC`.
pub fn time(at: SystemTime) -> String {
    let ms = epoch_ms(at);
    if ms >= YEAR_10000_MS {
        return format!("{ms} ms after 1970");
    }
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string();
    format!("{} UTC", text.trim_end_matches('Z').replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_the_calendar_are_printed_without_panic() {
        let latest = UNIX_EPOCH + Duration::from_millis(u64::MAX);
        assert!(time(latest).contains("after 1970"));
        assert_eq!(time(UNIX_EPOCH), "1970-01-01 00:00:00 UTC");
        assert_eq!(age(latest), "0s");
        assert!(!age(UNIX_EPOCH).is_empty());
        assert!(moment(UNIX_EPOCH).ends_with("d ago)") && moment(latest).contains(" (in "));
    }

    #[test]
    fn durations_have_at_most_two_units() {
        let texts = |ms: u64| {
            let length = Duration::from_millis(ms);
            [largest_unit(length), span(length), span_up(length)]
        };
        assert_eq!(texts(0), ["0s", "0s", "0s"]);
        assert_eq!(texts(1), ["0s", "0s", "1s"]);
        assert_eq!(texts(59_999), ["59s", "59s", "1m"]);
        assert_eq!(texts(90_000), ["1m", "1m30s", "1m30s"]);
        assert_eq!(texts(3_605_000), ["1h", "1h", "1h"]);
        assert_eq!(texts(3_720_000), ["1h", "1h2m", "1h2m"]);
        assert_eq!(texts(90_000_000), ["1d", "1d1h", "1d1h"]);
        assert_eq!(texts(400 * 86_400_000), ["400d", "400d", "400d"]);
        assert_eq!([given(Duration::from_millis(500)), given(Duration::from_secs(90))], ["500ms", "1m30s"]);
    }
}
