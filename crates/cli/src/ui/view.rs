//! The state of a lock as `show` and `ls` print it: lines, table cells or JSON.

use std::{fmt::Write as _, ops::RangeInclusive, time::Duration, time::SystemTime};

use dynamo_lock::{FencingToken, Holder, Inspection, Kind, Role, SharedHolder, SharedInspection, Success};
use serde_json::{Value, json};

use crate::ui::escape::{escape, escape_json};
use crate::ui::format;

/// Column headings of the table that `ls` prints, in the order of [`View::cells`].
pub const COLUMNS: [&str; 6] = ["NAME", "STATE", "TOKEN", "OWNER", "ACQUIRED", "MAY END"];

/// Description of the state `expired` in the lines that `show` prints.
const EXPIRED: &str =
    "expired: the holder did not renew its lease in time, and no other client has acquired the lock since";

/// Description of the state `done` in the lines that `show` prints.
const DONE: &str = "done: the work has succeeded, so it is skipped";

/// State of one lock.
#[derive(Debug, Default)]
pub struct View {
    name: String,
    /// State: `free`, `held`, `expired`, `done`, or `unreadable` if the row has an unexpected format.
    state: &'static str,
    /// Kind of the row, if it is known.
    kind: Option<Kind>,
    token: Option<FencingToken>,
    holder: Option<Holder>,
    /// Holders of a lock that can have several.
    holders: Vec<SharedHolder>,
    /// Maximum number of holders in the most recent acquisition.
    slots: Option<u64>,
    /// Success of the work in the state `done`.
    success: Option<Success>,
    /// Time from now in which the lease may end.
    may_end: Option<RangeInclusive<Duration>>,
    data: Option<String>,
    /// Reason for the state `unreadable`.
    error: Option<String>,
}

impl View {
    /// Creates the view of a lock that was inspected.
    pub fn new(name: String, inspection: Inspection) -> Self {
        let view = Self { name, state: "unknown", ..Self::default() };
        let (state, holder, may_end) = match inspection {
            Inspection::Shared(shared) => return view.shared(shared),
            Inspection::Free { token, data } => return Self { state: "free", token, data, ..view },
            Inspection::Held { holder, may_end } => ("held", holder, Some(may_end)),
            Inspection::Expired { holder } => ("expired", holder, None),
            Inspection::Done { success, data } => {
                return Self { state: "done", token: Some(success.token), success: Some(success), data, ..view };
            }
            _ => return view,
        };
        Self { state, token: holder.token, data: holder.data.clone(), holder: Some(holder), may_end, ..view }
    }

    fn shared(self, shared: SharedInspection) -> Self {
        let state = if shared.is_held() { "held" } else { "free" };
        let SharedInspection { kind, token, slots, holders, .. } = shared;
        Self { state, kind: Some(kind), token: Some(token), slots, holders, ..self }
    }

    /// Creates the view of a row that cannot be read as a lock.
    pub fn unreadable(name: String, error: String) -> Self {
        Self { name, state: "unreadable", error: Some(error), ..Self::default() }
    }

    /// Returns whether a client may hold the lock. An unreadable row counts as held, because it may be a lock that a
    /// later version of this program wrote.
    pub fn may_be_held(&self) -> bool {
        !matches!(self.state, "free" | "expired" | "done")
    }

    /// Returns one line for each known property.
    pub fn lines(&self) -> String {
        let mut out = String::new();
        let mut field = |key: &str, value: &str| {
            let _never = writeln!(out, "{key:<7} {}", escape(value));
        };
        field("lock", &self.name);
        let state = match self.state {
            "expired" => EXPIRED,
            "done" => DONE,
            state => state,
        };
        field("state", state);
        if let Some(holder) = &self.holder {
            field("holder", &format::holder(holder));
        }
        if self.kind == Some(Kind::Semaphore) {
            field("slots", &self.slots.map_or("unknown".to_owned(), |slots| slots.to_string()));
        }
        self.holders.iter().for_each(|holder| field("holder", &line_of(holder)));
        if let Some(success) = &self.success {
            let or_unknown = |time: Option<SystemTime>| time.map_or("unknown".to_owned(), format::time);
            field("by", success.by.as_deref().unwrap_or("unknown"));
            field("started", &or_unknown(success.started_at));
            field("done", &or_unknown(success.finished_at));
            field("until", &success.until.map_or("it is reset".to_owned(), format::time));
        }
        let last = if self.state == "free" && self.kind.is_none() { " (of the last holder)" } else { "" };
        field("token", &self.token.map_or("none".to_owned(), |token| format!("{token}{last}")));
        if self.may_end.is_some() {
            field("may end", &format!("{}, unless the holder renews its lease", self.may_end()));
        }
        self.data.iter().for_each(|data| field("data", data));
        out.trim_end().to_owned()
    }

    /// Returns one JSON object. It always has the same keys; unknown values are `null`.
    pub fn json(&self) -> String {
        let (holder, success) = (self.holder.as_ref(), self.success.as_ref());
        let time = |time: Option<SystemTime>| time.map(format::epoch_ms);
        let object = json!({
            "name": self.name,
            "state": self.state,
            "token": self.token.map(FencingToken::get),
            "owner": holder.map_or(success.and_then(|s| s.by.as_deref()), |holder| holder.owner.as_deref()),
            "acquiredAtMs": time(holder.map_or(success.and_then(|s| s.started_at), |holder| holder.acquired_at)),
            "expiresAtMs": holder.and_then(|holder| holder.expires_at).map(format::epoch_ms),
            "leaseMs": holder.and_then(|holder| holder.lease).map(ms),
            "mayEndMs": range(self.may_end.as_ref()),
            "kind": self.kind.map(|kind| kind.to_string()),
            "slots": self.slots,
            "holders": self.holders.iter().map(json_of).collect::<Vec<_>>(),
            "doneAtMs": time(success.and_then(|success| success.finished_at)),
            "doneUntilMs": time(success.and_then(|success| success.until)),
            "data": self.data,
            "error": self.error,
        });
        escape_json(&object.to_string())
    }

    /// Returns the cells of a table row, in the order of [`COLUMNS`].
    pub fn cells(&self) -> [String; 6] {
        let (holder, success) = (self.holder.as_ref(), self.success.as_ref());
        let owner = holder.map_or(success.and_then(|s| s.by.as_deref()), |holder| holder.owner.as_deref());
        let acquired = holder.map_or(success.and_then(|s| s.started_at), |holder| holder.acquired_at);
        let live: Vec<_> = self.holders.iter().filter(|entry| entry.may_end.is_some()).collect();
        let (owner, acquired) = match &live[..] {
            [] => (owner, acquired),
            [entry] => (entry.holder.owner.as_deref(), entry.holder.acquired_at),
            _ => (None, None),
        };
        let several = Some(format!("{} holders", live.len())).filter(|_| live.len() > 1);
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            escape(&self.name),
            self.state.to_owned(),
            or_dash(self.token.map(|token| token.to_string())),
            or_dash(several.or_else(|| owner.map(escape))),
            or_dash(acquired.map(format::time)),
            self.error.as_deref().map_or_else(|| self.may_end(), escape),
        ]
    }

    fn may_end(&self) -> String {
        let Some(range) = &self.may_end else { return "-".to_owned() };
        let (earliest, latest) = (range.start().as_secs_f64(), range.end().as_secs_f64());
        if earliest > 0.0 { format!("in {earliest:.1} s to {latest:.1} s") } else { format!("within {latest:.1} s") }
    }
}

fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

fn range(range: Option<&RangeInclusive<Duration>>) -> Value {
    range.map_or(Value::Null, |range| json!({ "earliest": ms(*range.start()), "latest": ms(*range.end()) }))
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Shared => "shared",
        Role::Exclusive => "exclusive",
        Role::Waiting => "waiting",
    }
}

fn id(entry: &SharedHolder) -> &str {
    entry.holder.lease_id.as_ref().map_or("", |id| id.as_str())
}

/// Returns the line of one of several holders.
fn line_of(entry: &SharedHolder) -> String {
    let state = match (entry.may_end.is_some(), entry.revoked, entry.role) {
        (false, _, _) => ", expired",
        (true, true, _) => ", revoked",
        (true, false, Role::Waiting) => ", waits for the readers",
        (true, false, Role::Exclusive) => ", alone",
        (true, false, Role::Shared) => "",
    };
    format!("{} {}{state}", id(entry), format::holder(&entry.holder))
}

fn json_of(entry: &SharedHolder) -> Value {
    let holder = &entry.holder;
    json!({
        "id": id(entry),
        "role": role(entry.role),
        "owner": holder.owner,
        "acquiredAtMs": holder.acquired_at.map(format::epoch_ms),
        "expiresAtMs": holder.expires_at.map(format::epoch_ms),
        "leaseMs": holder.lease.map(ms),
        "revoked": entry.revoked,
        "expired": entry.may_end.is_none(),
        "mayEndMs": range(entry.may_end.as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_and_parses_to_the_original_text() {
        let text = "\u{1b}[2J\u{202e}\u{9b}ü";
        let json = View::new("n".to_owned(), Inspection::Free { token: None, data: Some(text.to_owned()) }).json();
        assert_eq!(escape(&json), json);
        let parsed: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(parsed["data"], text);
        assert_eq!(parsed["state"], "free");
    }
}
