//! The table, and the truth about it: who wrote what when, which no client of it knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use dynamo_lock::simulation::ClockReading;
use dynamo_lock_protocol::{
    EXPIRY_PAD, FencingToken, LockName, Op, OpKind, Outcome, RecordVersion, Row, RowState, Verdict, attr,
};

use super::checks::aged;
use super::host::Host;
use super::others::LEGACY_SKEW_MS;
use super::{World, lock};
use crate::mutants::{MutantConfig, OpTag};

/// How far ahead of the time a row is seeded that has lost its token.
const SEED_AHEAD_MS: u64 = 24 * 3600 * 1000;
/// Old versions of a row are kept this long, for stale reads.
const STALE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub struct Table {
    pub locks: BTreeMap<String, Entry>,
    /// When an op was first sent: on the clocks of who sent it, and by the true time, epoch ms.
    pub sent: BTreeMap<String, (ClockReading, u64)>,
    /// When a process first heard of a record version.
    pub heard: BTreeMap<(u64, String), Duration>,
    /// Nonces of acquisitions whose sender was shown somebody else's row, and so has given them up.
    pub forsaken: BTreeSet<String>,
    /// Nonces under which a release was sent.
    pub given_back: BTreeSet<String>,
    /// What each process has put in the original's format.
    pub puts: BTreeMap<u64, Vec<Put>>,
}

/// A put in the original's format.
#[derive(Debug)]
pub struct Put {
    pub version: String,
    pub landed: bool,
}

/// One lock's row.
#[derive(Debug, Default)]
pub struct Entry {
    pub row: Option<Row>,
    /// Since when the row has been this.
    versions: VecDeque<(Duration, Option<Row>)>,
    /// From when on it was free, or not.
    pub changes: Vec<(Duration, bool)>,
    /// The largest token that was ever given.
    pub top: u64,
    pub written: Duration,
    /// Before the last acquisition: since when the row had been as it was, and for how long it was to be respected.
    pub prior: (Duration, Duration),
    /// By token: an acquisition that lands twice begins two.
    pub lease_ids: BTreeMap<u64, LeaseId>,
    pub passes: u64,
    /// A counter beside the lock, written in one transaction with a holder's condition.
    pub counter: u64,
    pub counted: u64,
    /// A resource that remembers the largest token.
    pub fence: u64,
}

/// What is known of one reign.
#[derive(Debug)]
pub struct LeaseId {
    pub host: u64,
    pub nonce: String,
    /// Each write of it that took effect: when it was first sent, and the lease that it left.
    pub writes: Vec<(ClockReading, Duration)>,
    pub released: bool,
    pub revoked: bool,
    /// Its lock was freed though its holder may live: exclusion is broken, by name.
    pub forced: bool,
    pub reported: bool,
    /// Since when nobody who could release it is there any more: it is to be free soon.
    pub given_up: Option<Duration>,
    pub hold: bool,
    /// A further try of its acquisition met it: the answer says whose it is.
    pub met: bool,
    /// Its holder has heard that it is somebody else's.
    pub told_lost: bool,
    /// Its first row bore a stamp.
    pub service_timestamp: bool,
}

impl Entry {
    pub fn put(&mut self, time: Duration, row: Option<Row>) {
        self.row.clone_from(&row);
        self.changes.push((time, row.as_ref().is_none_or(|row| row.whole(attr::EXPIRES_ON) == Some(0))));
        self.written = time;
        self.versions.push_back((time, row));
        while self.versions.len() > 1 && self.versions[1].0 + STALE_MAX < time {
            self.versions.pop_front();
        }
    }

    /// The row as it was.
    pub fn at(&self, then: Duration) -> Option<Row> {
        let seen = self.versions.iter().rev().find(|(since, _)| *since <= then);
        seen.and_then(|(_, row)| row.clone())
    }

    fn by_nonce(&mut self, nonce: &str) -> Option<&mut LeaseId> {
        self.lease_ids.values_mut().rev().find(|lease_id| lease_id.nonce == nonce)
    }

    /// Whether a user's own transaction takes effect that carries a guard's condition: the one that a release asks for.
    pub fn passes_check(&self, mutant: &MutantConfig, name: &str, token: u64) -> bool {
        let nonce = self.lease_ids.get(&token).map_or("", |lease_id| lease_id.nonce.as_str());
        let Ok(name) = LockName::new(name) else { return false };
        let token = Some(FencingToken::new(token));
        let kind = OpKind::Release { lease_id: nonce.into(), token, ttl: 0 };
        let op = Op { name, version: RecordVersion::from_random(0), kind };
        mutant.holds(OpTag::Check, self.row.as_ref(), op.condition())
    }

    /// Whether the row is held by the reign with this token.
    pub fn is_held_by(&self, token: u64) -> bool {
        let Some(row) = &self.row else { return false };
        let held = row.whole(attr::EXPIRES_ON).is_some_and(|ends| ends > 0);
        row.whole(attr::V) == Some(1) && row.whole(attr::TOKEN) == Some(token) && held
    }
}

impl World {
    /// A write takes effect, or does not, at this instant.
    pub fn apply(&self, host: &Host, op: &Op) -> Outcome {
        let time = self.time();
        let mut table = lock(&self.table);
        let Table { locks, sent, heard, puts, forsaken, .. } = &mut *table;
        let entry = locks.entry(op.name.as_str().to_owned()).or_default();
        let before = entry.row.take();
        let mutant = if self.real.is_none() { self.mutant } else { MutantConfig::NONE };
        let outcome = match mutant.apply(before.as_ref(), op) {
            Verdict::Applied(row) => Outcome::Applied(row),
            Verdict::Conflict(row) => Outcome::Conflict(row),
        };
        match &outcome {
            Outcome::Applied(_) if self.real.is_none() && host.forgets() => entry.row = before,
            Outcome::Applied(row) => {
                let sent_at = sent.get(op.version.as_str()).copied();
                self.classify(host, op, before.as_ref(), entry, heard);
                if matches!(op.kind, OpKind::Acquire(_) | OpKind::TakeOver { .. }) {
                    let lease = before.as_ref().and_then(|row| row.whole(attr::LEASE_MS)).unwrap_or(0);
                    entry.prior = (entry.written, Duration::from_millis(lease));
                    let nonce = row.text(attr::LEASE_ID);
                    let spent = before.as_ref().is_some_and(|before| before.text(attr::LEASE_ID) == nonce);
                    self.check(!spent, "E (once)", || format!("{}: an operation that was spent took effect", op.name));
                }
                if let (OpKind::TakeOver { .. }, Some(before)) = (&op.kind, &before) {
                    self.taken_over(host, op, before, entry, forsaken);
                }
                if matches!(op.kind, OpKind::LegacyGet { .. }) {
                    let of_host = puts.entry(host.id).or_default();
                    of_host
                        .iter_mut()
                        .filter(|put| put.version == op.version.as_str())
                        .for_each(|put| put.landed = true);
                    self.put_in_place(op, before.as_ref(), row);
                }
                entry.put(time, Some(row.clone()));
                if let Some((_, sent_ms)) = sent_at {
                    self.by_the_service(op, before.as_ref(), row, sent_ms);
                }
                self.record(host, op, entry, row, sent_at.map(|(at, _)| at));
            }
            _ => {
                let what = conflict(op, before.as_ref());
                self.count(what);
                if let (OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. }, true) =
                    (&op.kind, what.ends_with("ours"))
                {
                    entry.by_nonce(lease.lease_id.as_str()).into_iter().for_each(|lease_id| lease_id.met = true);
                }
                entry.row = before;
            }
        }
        drop(table);
        self.trace(|| format!("{host:?} {} -> {}", show_op(op), show_outcome(&outcome)));
        outcome
    }

    /// What a takeover says of whoever was there before.
    fn taken_over(&self, host: &Host, op: &Op, before: &Row, entry: &Entry, forsaken: &BTreeSet<String>) {
        if let Ok(RowState::Legacy(legacy)) = before.state()
            && self.plan.service_clock
        {
            let ends = i128::from(legacy.expires_on) + LEGACY_SKEW_MS as i128;
            let over = i128::from(self.epoch_ms()) > ends;
            self.check(over, "legacy (respected)", || format!("{} was taken from an original client", op.name));
        }
        let lease_id = before.whole(attr::TOKEN).and_then(|token| entry.lease_ids.get(&token));
        // Whoever is shown his own acquisition in time has it, and does not begin another. Who stood still does not know how
        // late it is, and goes by his row.
        let own = |lease_id: &&LeaseId| lease_id.host == host.id && lease_id.met && !forsaken.contains(&lease_id.nonce);
        let own = lease_id.filter(own).filter(|_| !self.plan.freezes);
        if let Some((sent_at, lease)) = own.and_then(|lease_id| lease_id.writes.first()) {
            let late = aged(host.machine.moment(self), *sent_at) + *lease / 50 >= *lease;
            self.check(late, "E (recognised)", || format!("{host:?} takes {} from itself", op.name));
        }
        // A release takes its time: a lease that ends just then may be taken over meanwhile.
        let on_its_way = Duration::from_millis(20 + self.plan.latency * 10);
        let left = lease_id.is_some_and(|lease_id| {
            let given_up = lease_id.given_up.is_some_and(|at| self.time() > at + on_its_way);
            !lease_id.hold && (given_up || !lease_id.reported) && !self.is_dead(lease_id.host)
        });
        let well = self.plan.well && self.is_calm();
        self.check(!(well && left), "E (left)", || format!("{} was not released by who held it", op.name));
    }

    /// §5: a stamp is of the write that set `expiresOn`, and at least the service's time when that was sent, the lease and the
    /// pad; a seed is at most that
    /// time. The bounds of hosts that stand still without a clock that counts it are not bounds.
    fn by_the_service(&self, op: &Op, before: Option<&Row>, row: &Row, sent_ms: u64) {
        let (lease, ends) = match &op.kind {
            OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } => (lease.lease_ms, lease.ends),
            OpKind::Renew { lease_ms, ends, .. } => (*lease_ms, *ends),
            _ => return,
        };
        // An old stamp beside the time of a wall clock would be believed.
        let bears = row.text(attr::EXPIRY_CLOCK).is_some();
        self.check(bears == ends.service_timestamp, "§5 (stamp)", || {
            format!("{}: its stamp is not of this write", op.name)
        });
        if !ends.service_timestamp || self.plan.freezes {
            return;
        }
        let least = sent_ms + lease + EXPIRY_PAD.as_millis() as u64;
        let short = least.saturating_sub(row.whole(attr::EXPIRES_ON).unwrap_or(0));
        self.check(short == 0, "§5 (stamp)", || format!("{}: its stamp is {short} ms too early", op.name));
        let lost_its_token = before.is_some_and(|before| before.token().is_none());
        let (true, Some(token)) = (before.is_none() || lost_its_token, row.token()) else { return };
        let ahead = if lost_its_token { SEED_AHEAD_MS } else { 0 };
        let early = ((token.get() - 1) >> 20) * 1000 <= sent_ms + ahead;
        self.check(early, "C (seed)", || format!("{}: {token} is seeded by a time that has not come", op.name));
    }

    /// What a put in the original's format leaves of the row that it replaces.
    fn put_in_place(&self, op: &Op, before: Option<&Row>, row: &Row) {
        let token = |row: &Row| row.whole(attr::TOKEN);
        let rises = before.is_none_or(|before| token(before).is_none_or(|was| token(row) > Some(was)));
        self.check(rises, "C (legacy)", || format!("{}: a put in the original's format took its token back", op.name));
        let stays = before.is_none_or(|before| before.text(attr::DATA) == row.text(attr::DATA));
        self.check(stays, "E (data)", || format!("{}: a put in the original's format lost its payload", op.name));
        let ends = before.and_then(|row| row.number(attr::EXPIRES_ON)?.parse_int()).unwrap_or(0);
        let over = ends <= self.epoch_ms() as i64 + LEGACY_SKEW_MS;
        self.check(over, "legacy (respected)", || format!("{}: a put replaced what is not over", op.name));
        let held = before.is_some_and(|row| row.whole(attr::EXPIRES_ON).is_some_and(|ends| ends > 0));
        self.count(if held { "legacy get of a held row" } else { "legacy get of a free row" });
    }

    fn record(&self, host: &Host, op: &Op, entry: &mut Entry, row: &Row, sent_at: Option<ClockReading>) {
        let Some(sent_at) = sent_at else { return };
        let lease = Duration::from_millis(row.whole(attr::LEASE_MS).unwrap_or(0));
        match &op.kind {
            OpKind::Acquire(new) | OpKind::TakeOver { lease: new, .. } => {
                let token = row.whole(attr::TOKEN).unwrap_or(0);
                let top = entry.top;
                self.check(token > top, "C (tokens)", || format!("{} gave {token} after {top}", op.name));
                entry.top = top.max(token);
                entry.passes += 1;
                let nonce = new.lease_id.as_str().to_owned();
                let lease_id = LeaseId {
                    host: host.id,
                    nonce,
                    writes: vec![(sent_at, lease)],
                    released: false,
                    revoked: false,
                    forced: false,
                    reported: false,
                    given_up: None,
                    hold: false,
                    met: false,
                    told_lost: false,
                    service_timestamp: new.ends.service_timestamp,
                };
                entry.lease_ids.insert(token, lease_id);
            }
            OpKind::Renew { token, .. } => {
                if let Some(lease_id) = entry.lease_ids.get_mut(&token.get()) {
                    let over = lease_id.released || lease_id.revoked;
                    self.check(!over, "E (once)", || format!("a renewal of {} took effect after its end", op.name));
                    lease_id.writes.push((sent_at, lease));
                }
            }
            OpKind::Release { lease_id, .. } => {
                if let Some(lease_id) = entry.by_nonce(lease_id.as_str()) {
                    lease_id.released = true;
                }
            }
            OpKind::Revoke { .. } | OpKind::ForceRevoke { .. } => {
                let token = row.whole(attr::REVOKED_TOKEN).unwrap_or(0);
                entry.top = entry.top.max(row.whole(attr::TOKEN).unwrap_or(0));
                if let Some(lease_id) = entry.lease_ids.get_mut(&token) {
                    lease_id.revoked = true;
                }
                if matches!(op.kind, OpKind::ForceRevoke { .. }) {
                    // Also of a reign that was revoked before, and whose lease others would have waited for.
                    entry.lease_ids.range_mut(..=token).for_each(|(_, lease_id)| lease_id.forced = true);
                }
            }
            OpKind::LegacyGet { .. } => entry.top = entry.top.max(row.whole(attr::TOKEN).unwrap_or(0)),
        }
    }

    /// By which rule something took effect.
    fn classify(
        &self,
        host: &Host,
        op: &Op,
        before: Option<&Row>,
        entry: &Entry,
        heard: &BTreeMap<(u64, String), Duration>,
    ) {
        let what = match &op.kind {
            OpKind::Acquire(_) => "acquire applied",
            OpKind::Renew { .. } => "renew applied",
            OpKind::Release { .. } => "release applied",
            OpKind::Revoke { .. } => "revoke applied",
            OpKind::ForceRevoke { .. } => "force free applied",
            OpKind::LegacyGet { .. } => "legacy get applied",
            OpKind::TakeOver { seen, .. } => {
                let quiet = heard.get(&(host.id, seen.as_str().to_owned())).map(|first| self.time() - *first);
                match before.and_then(|row| row.state().ok()) {
                    Some(RowState::Legacy(_)) => self.count("takeover of a legacy row"),
                    Some(RowState::Held(held)) if quiet.is_some_and(|quiet| quiet >= held.lease * 98 / 100) => {
                        self.count("takeover by R2");
                    }
                    Some(RowState::Held(held))
                        if entry.lease_ids.get(&held.token.get()).is_some_and(|r| r.host == host.id) =>
                    {
                        self.count("takeover of an abandoned reign");
                    }
                    _ => self.count("takeover by §5"),
                }
                "take over applied"
            }
        };
        self.count(what);
    }

    pub fn note_sent(&self, host: &Host, op: &Op) {
        let mut table = lock(&self.table);
        if !table.sent.contains_key(op.version.as_str()) {
            let at = host.machine.moment(self);
            table.sent.insert(op.version.as_str().to_owned(), (at, self.epoch_ms()));
            if let OpKind::Release { lease_id, .. } = &op.kind {
                table.given_back.insert(lease_id.as_str().to_owned());
            }
            if matches!(op.kind, OpKind::LegacyGet { .. }) {
                let put = Put { version: op.version.as_str().to_owned(), landed: false };
                table.puts.entry(host.id).or_default().push(put);
            }
        }
    }

    /// Once all is quiet: whoever was not told of an acquisition of his that took effect has tried to give it back, unless
    /// he has crashed, or was shown somebody else's row before. What lands once more, later, is told under its nonce.
    pub fn nothing_forgotten(&self) {
        let table = lock(&self.table);
        for (name, entry) in &table.locks {
            let heard = |lease_id: &&LeaseId| lease_id.reported || lease_id.revoked || lease_id.told_lost;
            let told: BTreeSet<_> =
                entry.lease_ids.values().filter(heard).map(|lease_id| lease_id.nonce.as_str()).collect();
            let forgotten = entry.lease_ids.iter().find(|(_, lease_id)| {
                let nonce = lease_id.nonce.as_str();
                let excused = self.is_dead(lease_id.host) || table.forsaken.contains(nonce);
                !told.contains(nonce) && !excused && !table.given_back.contains(nonce)
            });
            if let Some((token, _)) = forgotten {
                self.violation(
                    "E (given back)",
                    format!("{name}: nobody was told of {token}, and nobody gave it back"),
                );
            }
        }
    }

    /// Whoever sent this has heard of the row that is there instead.
    pub fn told_lost(&self, op: &Op, row: Option<&Row>) {
        let is = |lease_id: &str| row.is_some_and(|row| row.text(attr::LEASE_ID) == Some(lease_id));
        let free = row.is_none_or(|row| row.whole(attr::EXPIRES_ON) == Some(0));
        let mut table = lock(&self.table);
        match &op.kind {
            OpKind::Acquire(lease) | OpKind::TakeOver { lease, .. } if !is(lease.lease_id.as_str()) => {
                table.forsaken.insert(lease.lease_id.as_str().to_owned());
            }
            OpKind::Renew { lease_id, token, .. } if free || !is(lease_id.as_str()) => {
                let entry = table.locks.get_mut(op.name.as_str());
                let known = entry.and_then(|entry| entry.lease_ids.get_mut(&token.get()));
                known.into_iter().for_each(|lease_id| lease_id.told_lost = true);
            }
            _ => {}
        }
    }

    pub fn note_heard(&self, host: &Host, row: Option<&Row>) {
        let Some(version) = row.and_then(|row| row.text(attr::GUID)) else { return };
        let time = self.time();
        lock(&self.table).heard.entry((host.id, version.to_owned())).or_insert(time);
    }

    /// The row as it stands, or as it stood that long ago.
    pub fn row(&self, name: &LockName, stale: Duration) -> Option<Row> {
        let then = self.time().saturating_sub(stale);
        let table = lock(&self.table);
        let entry = table.locks.get(name.as_str())?;
        if stale.is_zero() { entry.row.clone() } else { entry.at(then) }
    }
}

fn conflict(op: &Op, row: Option<&Row>) -> &'static str {
    let version = row.is_some_and(|row| row.text(attr::GUID) == Some(op.version.as_str()));
    let lease_ids = |lease_id: &str| row.is_some_and(|row| row.text(attr::LEASE_ID) == Some(lease_id));
    match &op.kind {
        OpKind::Acquire(lease) if lease_ids(lease.lease_id.as_str()) => "acquire conflict ours",
        OpKind::Acquire(_) => "acquire conflict lost",
        OpKind::TakeOver { lease, .. } if lease_ids(lease.lease_id.as_str()) => "take over conflict ours",
        OpKind::TakeOver { .. } => "take over conflict lost",
        OpKind::Renew { .. } if version => "renew conflict ours",
        OpKind::Renew { .. } => "renew conflict lost",
        OpKind::Release { lease_id, .. } if version || lease_ids(lease_id.as_str()) => "release conflict ours",
        OpKind::Release { .. } => "release conflict lost",
        OpKind::Revoke { .. } | OpKind::ForceRevoke { .. } if version => "revoke conflict ours",
        OpKind::Revoke { .. } | OpKind::ForceRevoke { .. } => "revoke conflict lost",
        OpKind::LegacyGet { .. } if version => "legacy get conflict ours",
        OpKind::LegacyGet { seen: Some(seen), .. } if row.is_some_and(|row| row.version() == seen.version()) => {
            "legacy get conflict by token"
        }
        OpKind::LegacyGet { .. } => "legacy get conflict lost",
    }
}

pub fn show_op(op: &Op) -> String {
    let short = |text: &str| text[..6.min(text.len())].to_owned();
    let what = match &op.kind {
        OpKind::Acquire(lease) => format!("acquire {} lease {} ms", short(lease.lease_id.as_str()), lease.lease_ms),
        OpKind::TakeOver { lease, seen, .. } => {
            format!("take over {} from {}", short(lease.lease_id.as_str()), short(seen.as_str()))
        }
        OpKind::Renew { lease_id, renewal_seq, .. } => format!("renew {} beat {renewal_seq}", short(lease_id.as_str())),
        OpKind::Release { lease_id, .. } => format!("release {}", short(lease_id.as_str())),
        OpKind::Revoke { target, .. } => format!("revoke {target:?}"),
        OpKind::ForceRevoke { target, .. } => format!("force free {target:?}"),
        OpKind::LegacyGet { expires_on, .. } => format!("legacy get until {expires_on}"),
    };
    format!("{} {what} as {}", op.name, short(op.version.as_str()))
}

pub fn show_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Applied(row) => format!("applied {}", show(Some(row))),
        Outcome::Conflict(row) => format!("conflict {}", show(row.as_ref())),
        other => format!("{other:?}"),
    }
}

pub fn show(row: Option<&Row>) -> String {
    let Some(row) = row else { return "(no row)".to_owned() };
    let text = |name| row.text(name).map_or("-".to_owned(), |text| text[..6.min(text.len())].to_owned());
    let number = |name| row.whole(name).map_or("-".to_owned(), |number| number.to_string());
    format!(
        "(guid {} reign {} token {} ends {} stamp {} lease {})",
        text(attr::GUID),
        text(attr::LEASE_ID),
        number(attr::TOKEN),
        number(attr::EXPIRES_ON),
        text(attr::EXPIRY_CLOCK),
        number(attr::LEASE_MS)
    )
}
