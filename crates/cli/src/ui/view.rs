//! The state of a lock as `show` and `ls` print it: lines, table cells or JSON.

use std::{fmt::Write as _, ops::RangeInclusive, time::Duration, time::SystemTime};

use dynamo_lock::{
    FencingToken, Holder, InspectError, Inspection, Kind, LastHold, Role, SharedHolder, SharedInspection, Success,
};
use dynamo_lock_protocol::LEASE_MAX;
use serde_json::{Value, json};

use crate::ui::escape::escape;
use crate::ui::{format, output};

/// A column of the table that `ls` prints.
pub struct Column {
    pub heading: &'static str,
    cell: fn(&View) -> String,
}

/// Columns of the table that `ls` prints.
pub const COLUMNS: [Column; 6] = [
    Column { heading: "NAME", cell: |view| escape(&view.name) },
    Column { heading: "STATE", cell: |view| if view.is_revoked() { "revoked" } else { view.state }.to_owned() },
    Column { heading: "TOKEN", cell: |view| or_dash(view.token.map(|token| token.to_string())) },
    Column { heading: "OWNER", cell: View::owner_cell },
    Column { heading: "AGE", cell: |view| or_dash(view.since().map(format::age)) },
    Column { heading: "ENDS", cell: View::ends_cell },
];

/// Difference of the bounds of a lease's end that is not shown. The dates of the service and the pad of a lease cause
/// it.
const BOUNDS_TOLERANCE: Duration = Duration::from_secs(6);

/// Description of the state `expired` in the lines that `show` prints.
const EXPIRED: &str =
    "expired: the holder did not renew its lease in time or has ended, and no other client has acquired the lock since";

/// Description of the state `held` in the lines that `show` prints, after a revocation.
const REVOKED: &str =
    "held, but revoked: the holder cannot renew its lease, and others wait until the lease has expired";

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
    /// Last hold that has ended.
    last: Option<LastHold>,
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
        let (state, holder, may_end, last) = match inspection {
            Inspection::Shared(shared) => return view.shared(shared),
            Inspection::Free { token, data, last } => return Self { state: "free", token, data, last, ..view },
            Inspection::Held { holder, may_end, last } => ("held", holder, Some(may_end), last),
            Inspection::Expired { holder, last } => ("expired", holder, None, last),
            Inspection::Done { success, data, last } => {
                return Self { state: "done", token: Some(success.token), success: Some(success), data, last, ..view };
            }
            _ => return view,
        };
        Self { state, token: holder.token, data: holder.data.clone(), holder: Some(holder), may_end, last, ..view }
    }

    fn shared(self, shared: SharedInspection) -> Self {
        let state = if shared.is_held() { "held" } else { "free" };
        let SharedInspection { kind, token, slots, holders, .. } = shared;
        Self { state, kind: Some(kind), token: Some(token), slots, holders, ..self }
    }

    /// Returns the JSON object of a lock that this command has changed, `null` if it cannot be read.
    pub fn object_after_change(name: &str, read: Result<Inspection, InspectError>) -> Value {
        read.map_or(Value::Null, |inspection| Self::new(name.to_owned(), inspection).object())
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
            "held" if self.is_revoked() => REVOKED,
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
            let or_unknown = |time: Option<SystemTime>| time.map_or("unknown".to_owned(), format::moment);
            field("by", success.by.as_deref().unwrap_or("unknown"));
            field("started", &or_unknown(success.started_at));
            field("done", &or_unknown(success.finished_at));
            field("until", &success.until.map_or("it is reset".to_owned(), format::moment));
        }
        let lease = self.holder.as_ref().and_then(|holder| holder.lease);
        lease.iter().for_each(|lease| field("lease", &format::given(*lease)));
        let last = if self.state == "free" && self.kind.is_none() { " (of the last holder)" } else { "" };
        field("token", &self.token.map_or("none".to_owned(), |token| format!("{token}{last}")));
        if let Some(range) = &self.may_end {
            let is_final = self.is_hold() || self.is_revoked();
            let unless = if is_final { "" } else { ", unless it is renewed, which a hold is not" };
            field("may end", &format!("{}{unless}", end(range, self.holder.as_ref())));
        }
        self.last.iter().for_each(|last| field("last", &format::last(last)));
        self.data.iter().for_each(|data| field("data", data));
        out.trim_end().to_owned()
    }

    /// Returns one JSON object as a line.
    pub fn json(&self) -> String {
        output::json_line(&self.object())
    }

    /// Returns one JSON object. It always has the same keys; unknown values are `null`.
    pub fn object(&self) -> Value {
        let (holder, success) = (self.holder.as_ref(), self.success.as_ref());
        let time = |time: Option<SystemTime>| time.map(format::epoch_ms);
        json!({
            "name": self.name,
            "state": self.state,
            "token": self.token.map(FencingToken::get),
            "owner": holder.map_or(success.and_then(|s| s.by.as_deref()), |holder| holder.owner.as_deref()),
            "acquiredAtMs": time(holder.map_or(success.and_then(|s| s.started_at), |holder| holder.acquired_at)),
            "expiresAtMs": holder.and_then(|holder| holder.expires_at).map(format::epoch_ms),
            "leaseMs": holder.and_then(|holder| holder.lease).map(ms),
            "revoked": self.is_revoked(),
            "mayEndMs": range(self.may_end.as_ref()),
            "kind": self.kind.map(|kind| kind.to_string()),
            "slots": self.slots,
            "holders": self.holders.iter().map(json_of).collect::<Vec<_>>(),
            "doneAtMs": time(success.and_then(|success| success.finished_at)),
            "doneUntilMs": time(success.and_then(|success| success.until)),
            "last": self.last.as_ref().map(last),
            "data": self.data,
            "error": self.error,
        })
    }

    /// Returns the cells of a table row, in the order of [`COLUMNS`].
    pub fn cells(&self) -> Vec<String> {
        COLUMNS.iter().map(|column| (column.cell)(self)).collect()
    }

    /// Returns the holders with unexpired leases, of a lock that can have several.
    fn live_holders(&self) -> Vec<&SharedHolder> {
        self.holders.iter().filter(|entry| entry.may_end.is_some()).collect()
    }

    fn owner_cell(&self) -> String {
        let (holder, success) = (self.holder.as_ref(), self.success.as_ref());
        let owner = holder.map_or(success.and_then(|s| s.by.as_deref()), |holder| holder.owner.as_deref());
        match &self.live_holders()[..] {
            [] => or_dash(owner.map(escape)),
            [entry] => or_dash(entry.holder.owner.as_deref().map(escape)),
            several => format!("{} holders", several.len()),
        }
    }

    /// Returns the time of the acquisition, for a success that of the run, and for several holders that of the first
    /// one.
    fn since(&self) -> Option<SystemTime> {
        match &self.live_holders()[..] {
            [] => self.holder.as_ref().map_or(self.success.as_ref().and_then(|s| s.started_at), |h| h.acquired_at),
            several => several.iter().filter_map(|entry| entry.holder.acquired_at).min(),
        }
    }

    fn ends_cell(&self) -> String {
        if let Some(error) = &self.error {
            return escape(error);
        }
        let live = self.live_holders();
        let entry =
            if let [entry] = live[..] { entry.may_end.as_ref().map(|range| (range, &entry.holder)) } else { None };
        match (self.may_end.as_ref(), entry) {
            (Some(range), _) => end(range, self.holder.as_ref()),
            (None, Some((range, holder))) => end(range, Some(holder)),
            (None, None) => "-".to_owned(),
        }
    }

    /// Returns whether an operator has revoked the lease of the one holder, and it has not expired.
    fn is_revoked(&self) -> bool {
        self.state == "held" && self.holder.as_ref().is_some_and(|holder| holder.revoked)
    }

    /// Returns whether the lease is too long for one that is renewed.
    fn is_hold(&self) -> bool {
        self.holder.as_ref().and_then(|holder| holder.lease).is_some_and(|lease| lease > LEASE_MAX)
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Returns when a lease ends if it is not renewed, for example `in 12s`.
///
/// Without evidence of the time, only an upper bound is proven. The end by the holder's own clock is shown beside it,
/// because that counts down.
fn end(range: &RangeInclusive<Duration>, holder: Option<&Holder>) -> String {
    let (earliest, latest) = (*range.start(), *range.end());
    let stated = holder.and_then(|holder| holder.expires_at).map_or(Duration::ZERO, format::time_until);
    let latest_text = format::span_up(latest);
    if earliest.is_zero() && (Duration::from_nanos(1)..latest).contains(&stated) {
        let stated = format::span_up(stated);
        if stated == latest_text { format!("in {stated}") } else { format!("in {stated}, at most {latest_text}") }
    } else if earliest.is_zero() {
        format!("within {latest_text}")
    } else if latest - earliest <= BOUNDS_TOLERANCE {
        format!("in {latest_text}")
    } else {
        format!("in {} to {latest_text}", format::span(earliest))
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

/// Returns the object of the last hold, with the keys of the Node package.
fn last(hold: &LastHold) -> Value {
    json!({
        "owner": hold.owner,
        "acquiredAtMs": hold.acquired_at.map(format::epoch_ms),
        "heldMs": hold.held.map(ms),
        "end": hold.end.as_str(),
        "exitCode": hold.exit_code,
    })
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
        let json =
            View::new("n".to_owned(), Inspection::Free { token: None, data: Some(text.to_owned()), last: None }).json();
        assert_eq!(escape(&json), json);
        let parsed: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(parsed["data"], text);
        assert_eq!(parsed["state"], "free");
    }
}
