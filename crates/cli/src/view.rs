//! What is known of a lock, laid out: as lines, as a row of a table, as JSON.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use dynamo_lock::{FencingToken, Holder, Inspection};
use serde_json::json;

use crate::print::{epoch_ms, escape, escape_json, holder, time};

/// The columns of [`View::cells`].
pub const COLUMNS: [&str; 6] = ["NAME", "STATE", "TOKEN", "OWNER", "SINCE", "ENDS"];

/// What is known of a lock.
#[derive(Debug, Default)]
pub struct View {
    name: String,
    /// `free`, `held`, `over`, or `refused` if the row is not one that we can read.
    state: &'static str,
    token: Option<FencingToken>,
    by: Option<Holder>,
    may_end: Option<RangeInclusive<Duration>>,
    data: Option<String>,
    fault: Option<String>,
}

impl View {
    pub fn new(name: String, known: Inspection) -> Self {
        let view = Self { name, state: "unknown", ..Self::default() };
        match known {
            Inspection::Free { token, data } => Self { state: "free", token, data, ..view },
            Inspection::Held { by, token, may_end, .. } => {
                let data = by.data.clone();
                Self { state: "held", token, by: Some(by), may_end: Some(may_end), data, ..view }
            }
            Inspection::Expired { by, token } => {
                let data = by.data.clone();
                Self { state: "over", token, by: Some(by), data, ..view }
            }
            _ => view,
        }
    }

    /// Of a row that is refused.
    pub fn refused(name: String, fault: String) -> Self {
        Self { name, state: "refused", fault: Some(fault), ..Self::default() }
    }

    /// Whether somebody holds it, or could: what cannot be read may be a lock of a later version.
    pub fn may_be_held(&self) -> bool {
        !matches!(self.state, "free" | "over")
    }

    /// One line for each thing known.
    pub fn lines(&self) -> String {
        let mut out = String::new();
        let mut field = |key: &str, value: &str| {
            let _never = writeln!(out, "{key:<7} {}", escape(value));
        };
        field("lock", &self.name);
        field("state", if self.state == "over" { OVER } else { self.state });
        if let Some(by) = &self.by {
            field("holder", &holder(by.owner.as_deref(), by.acquired_at));
        }
        let last = if self.state == "free" { " (the last)" } else { "" };
        field("token", &self.token.map_or("none".to_owned(), |token| format!("{token}{last}")));
        if self.may_end.is_some() {
            field("ends", &format!("{}, unless its holder is heard of again", self.ends()));
        }
        self.data.iter().for_each(|data| field("data", data));
        out.trim_end().to_owned()
    }

    /// One object: always the same keys, `null` where nothing is known.
    pub fn json(&self) -> String {
        let ms = |duration: Duration| duration.as_millis() as u64;
        let by = self.by.as_ref();
        let object = json!({
            "name": self.name,
            "state": self.state,
            "token": self.token.map(FencingToken::get),
            "owner": by.and_then(|by| by.owner.as_deref()),
            "sinceMs": by.and_then(|by| by.acquired_at).map(epoch_ms),
            "leaseMs": by.and_then(|by| by.lease).map(ms),
            "mayEndInMs": self.may_end.as_ref().map(|range| [ms(*range.start()), ms(*range.end())]),
            "data": self.data,
            "fault": self.fault,
        });
        escape_json(&object.to_string())
    }

    /// A row of a table, in the order of [`COLUMNS`].
    pub fn cells(&self) -> [String; 6] {
        let by = self.by.as_ref();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            escape(&self.name),
            self.state.to_owned(),
            or_none(self.token.map(|token| token.to_string())),
            or_none(by.and_then(|by| by.owner.as_deref()).map(escape)),
            or_none(by.and_then(|by| by.acquired_at).map(epoch_ms).map(time)),
            self.fault.as_deref().map_or_else(|| self.ends(), escape),
        ]
    }

    fn ends(&self) -> String {
        let Some(range) = &self.may_end else { return "-".to_owned() };
        let (earliest, latest) = (range.start().as_secs_f64(), range.end().as_secs_f64());
        if earliest > 0.0 {
            format!("in {earliest:.1} s to {latest:.1} s")
        } else {
            format!("at the latest in {latest:.1} s")
        }
    }
}

const OVER: &str = "over: its holder was not heard of in time, and nobody has taken it since";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_and_still_says_the_same() {
        let words = "\u{1b}[2J\u{202e}\u{9b}ü";
        let text = View::new("n".to_owned(), Inspection::Free { token: None, data: Some(words.to_owned()) }).json();
        assert_eq!(escape(&text), text);
        let back: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(back["data"], words);
        assert_eq!(back["state"], "free");
    }
}
