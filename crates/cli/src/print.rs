//! Everything that is printed. Names, owners and data are other people's words: what could steer a terminal or reorder
//! a line is escaped.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use dynamo_lock::{Clock, Inspection, SystemClock};
use serde_json::json;

/// One line on standard error, in this program's name.
pub fn line(text: &str) {
    // Nobody may be there to read it; that is no reason to end.
    let _closed = writeln!(std::io::stderr(), "dynamo-lock: {}", escape(text));
}

/// One line on standard output.
pub fn answer(text: &str) {
    let _closed = writeln!(std::io::stdout(), "{text}");
}

/// Text with each control, bidirectional and invisible character as `\u{…}`.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            let _never = write!(out, "\\u{{{:x}}}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

/// The same in a JSON document, where such characters occur within strings only.
fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) {
            let _never = write!(out, "\\u{:04x}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

/// Controls; marks, overrides and isolates of writing direction; line breaks of Unicode; characters without width.
/// All are below U+10000.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Who holds the lock and since when, for a line about it.
pub fn holder(owner: Option<&str>, since_ms: Option<u64>) -> String {
    let owner = owner.map_or_else(|| "somebody who left no name".to_owned(), escape);
    match since_ms {
        Some(since) => format!("{owner}, since {} ({} ago)", time(since), age(since)),
        None => owner,
    }
}

fn age(since_ms: u64) -> humantime::FormattedDuration {
    let seconds = SystemClock.now().wall_ms.saturating_sub(since_ms) / 1000;
    humantime::format_duration(Duration::from_secs(seconds))
}

fn time(ms: u64) -> String {
    let at = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    // The library behind it refuses years with five digits.
    at.filter(|_| ms < 253_402_300_800_000)
        .map_or_else(|| format!("{ms} ms after 1970"), |at| humantime::format_rfc3339_seconds(at).to_string())
}

/// What is known of a lock, for people.
pub fn inspection(name: &str, inspection: &Inspection) -> String {
    let mut out = String::new();
    let mut field = |key: &str, value: String| {
        let _never = writeln!(out, "{key:<7} {}", escape(&value));
    };
    field("lock", name.to_owned());
    let token = |token: &Option<dynamo_lock::FencingToken>| token.map_or("none".to_owned(), |token| token.to_string());
    match inspection {
        Inspection::Free { token: last, data } => {
            field("state", "free".to_owned());
            field("token", format!("{} (the last)", token(last)));
            data.iter().for_each(|data| field("data", data.clone()));
        }
        Inspection::Held { by, token: t, may_end, .. } => {
            field("state", "held".to_owned());
            field("holder", holder(by.owner.as_deref(), by.since_ms));
            field("token", token(t));
            let seconds = |duration: &Duration| format!("{:.1} s", duration.as_secs_f64());
            let (earliest, latest) = (seconds(may_end.start()), seconds(may_end.end()));
            field("ends", format!("in {earliest} to {latest}, unless its holder is heard of again"));
            by.data.iter().for_each(|data| field("data", data.clone()));
        }
        Inspection::SurelyOver { by, token: t } => {
            field("state", "over: its holder was not heard of in time, and nobody has taken it since".to_owned());
            field("holder", holder(by.owner.as_deref(), by.since_ms));
            field("token", token(t));
            by.data.iter().for_each(|data| field("data", data.clone()));
        }
        _ => field("state", "unknown to this version".to_owned()),
    }
    out.trim_end().to_owned()
}

/// The same as one JSON object: always the same keys, `null` where nothing is known.
pub fn inspection_json(name: &str, inspection: &Inspection) -> String {
    let (state, token, by, data, may_end) = match inspection {
        Inspection::Free { token, data } => ("free", *token, None, data.clone(), None),
        Inspection::Held { by, token, may_end, .. } => ("held", *token, Some(by), by.data.clone(), Some(may_end)),
        Inspection::SurelyOver { by, token } => ("over", *token, Some(by), by.data.clone(), None),
        _ => ("unknown", None, None, None, None),
    };
    let ms = |duration: Duration| duration.as_millis() as u64;
    let object = json!({
        "name": name,
        "state": state,
        "token": token.map(|token| token.get()),
        "owner": by.and_then(|by| by.owner.clone()),
        "sinceMs": by.and_then(|by| by.since_ms),
        "leaseMs": by.and_then(|by| by.lease).map(ms),
        "mayEndInMs": may_end.map(|range| [ms(*range.start()), ms(*range.end())]),
        "data": data,
    });
    escape_json(&object.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_the_rest_is_not() {
        assert_eq!(escape("a\u{1b}[2Jb\u{7}\r\n"), "a\\u{1b}[2Jb\\u{7}\\u{d}\\u{a}");
        assert_eq!(escape("\u{202e}evil\u{2066}\u{9b}\u{7f}"), "\\u{202e}evil\\u{2066}\\u{9b}\\u{7f}");
        assert_eq!(escape("\u{2028}\u{feff}\u{200b}"), "\\u{2028}\\u{feff}\\u{200b}");
        let plain = "Grüße, 世界 🔒 \"a\" \\ b";
        assert_eq!(escape(plain), plain);
    }

    #[test]
    fn json_is_escaped_and_still_says_the_same() {
        let words = "\u{1b}[2J\u{202e}\u{9b}ü";
        let inspection = Inspection::Free { token: None, data: Some(words.to_owned()) };
        let text = inspection_json("n", &inspection);
        assert!(!text.chars().any(steers), "{text}");
        let back: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(back["data"], words);
        assert_eq!(back["state"], "free");
    }

    #[test]
    fn absurd_times_are_printed_and_do_not_panic() {
        assert!(holder(Some("x"), Some(u64::MAX)).contains("after 1970"));
        assert!(holder(Some("x"), Some(0)).contains("1970-01-01T00:00:00Z"));
    }
}
