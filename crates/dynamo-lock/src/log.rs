//! The `tracing` log of a client: spans and events with stable names and fields.
//!
//! `docs/observability.md` lists them. A test compares that list with the output of this file.

use std::fmt::Display;
use std::time::Duration;

use dynamo_lock_protocol::{FencingToken, Holder, LockName};
use tracing::field::Empty;
use tracing::{Span, debug_span, info_span};

use crate::core::Core;
use crate::renewal::Holding;
use crate::{AcquireError, Event, LossReason, StoreError, StoreErrorKind};

/// Target of all spans and events of this file.
const TARGET: &str = "dynamo_lock";
/// Lateness from which a renewal is logged at level `DEBUG` in place of `TRACE`.
const LATE: Duration = Duration::from_secs(1);

/// Writes one event to the log, with the fields that all events have.
macro_rules! emit {
    ($level:ident, $event:literal, ($name:expr, $owner:expr), { $($field:tt)* }, $message:literal) => {
        tracing::$level!(
            name: $event,
            target: TARGET,
            { lock.name = $name.as_str(), lock.owner = $owner, $($field)* },
            $message
        )
    };
}

/// Writes an event of a client with this owner to the log.
#[rustfmt::skip] // one event per line or two
pub(crate) fn event(owner: &str, event: &Event<'_>) {
    match *event {
        Event::Waiting { name, holder } => emit!(debug, "lock.waiting", (name, owner), {
            holder.owner = holder.owner.as_deref(), holder.token = number(holder)
        }, "the lock is held; waiting for it"),
        Event::WaitEnded { name } => emit!(debug, "lock.wait_ended", (name, owner), {}, "the wait has ended"),
        Event::Contended { name, holder, waited } => emit!(debug, "lock.contended", (name, owner), {
            wait_ms = ms(waited), holder.owner = holder.and_then(|holder| holder.owner.as_deref()),
            holder.token = holder.and_then(number)
        }, "not acquired, because the lock is held"),
        Event::TakenOver { name, holder } => emit!(info, "lock.taken_over", (name, owner), {
            holder.owner = holder.owner.as_deref(), holder.token = number(holder)
        }, "took over an expired lease"),
        Event::Acquired { name, token, waited } => emit!(debug, "lock.acquired", (name, owner), {
            lock.token = token.get(), wait_ms = ms(waited)
        }, "lock acquired"),
        Event::Renewed { name, token, lateness } if lateness >= LATE => emit!(debug, "lock.renewed", (name, owner), {
            lock.token = token.get(), late_ms = ms(lateness)
        }, "lock renewed late"),
        Event::Renewed { name, token, lateness } => emit!(trace, "lock.renewed", (name, owner), {
            lock.token = token.get(), late_ms = ms(lateness)
        }, "lock renewed"),
        Event::Lost { name, token, reason, held, last_error } => emit!(warn, "lock.lost", (name, owner), {
            lock.token = token.get(), error.type = loss_type(reason), held_ms = ms(held),
            error = last_error.map(display)
        }, "lock lost"),
        Event::Released { name, token, held } => emit!(debug, "lock.released", (name, owner), {
            lock.token = token.get(), held_ms = ms(held)
        }, "lock released"),
        Event::RequestFailed { name, error } => emit!(debug, "lock.request_failed", (name, owner), {
            error.type = store_type(error.kind()), error = display(error)
        }, "request failed"),
    }
}

/// Returns the span of an acquisition, from the call to its result.
pub(crate) fn acquire_span(core: &Core, name: &LockName) -> Span {
    info_span!(target: TARGET, "lock.acquire", lock.name = name.as_str(), lock.owner = core.owner, lock.token = Empty,
        error.type = Empty)
}

/// Records the token of an acquisition in its span.
pub(crate) fn record_token(span: &Span, token: FencingToken) {
    span.record("lock.token", token.get());
}

/// Records in the span of an acquisition that it has not waited, because the lock is held.
pub(crate) fn record_held(span: &Span) {
    span.record("error.type", "held");
}

/// Records the type of the error that has ended an acquisition in its span.
pub(crate) fn record_error(span: &Span, error: &AcquireError) {
    span.record("error.type", acquire_type(error));
}

/// Returns the span of work that runs under a lock.
pub(crate) fn hold_span(holding: &Holding) -> Span {
    let Holding { core, name, token, .. } = holding;
    info_span!(target: TARGET, "lock.hold", lock.name = name.as_str(), lock.owner = core.owner, lock.token = token.get())
}

/// Returns the span of one renewal request.
pub(crate) fn renew_span(holding: &Holding) -> Span {
    let Holding { core, name, token, .. } = holding;
    let (name, token) = (name.as_str(), token.get());
    debug_span!(target: TARGET, "lock.renew", lock.name = name, lock.owner = core.owner, lock.token = token)
}

/// Returns the span of the release of a lock, or of the record of a success.
pub(crate) fn release_span(holding: &Holding) -> Span {
    let Holding { core, name, token, .. } = holding;
    let (name, token) = (name.as_str(), token.get());
    info_span!(target: TARGET, "lock.release", lock.name = name, lock.owner = core.owner, lock.token = token)
}

/// Logs that a guard was dropped at once, which is usually a mistake.
pub(crate) fn dropped_at_once(core: &Core, name: &LockName) {
    let message = "a guard was dropped at once, so its lock is released; keep it while you work";
    emit!(warn, "lock.dropped_at_once", (name, core.owner), {}, "{message}");
}

/// Logs that a release without a caller that receives its error has not released the lock.
pub(crate) fn not_released(core: &Core, name: &LockName, error: &dyn Display) {
    let message = "the lock was not released; its lease expires by itself";
    emit!(warn, "lock.release_failed", (name, core.owner), { error = display(error) }, "{message}");
}

/// Logs that the lease of an abandoned acquisition may remain until it expires.
pub(crate) fn not_cleaned_up(core: &Core, name: &LockName, error: &StoreError) {
    let message = "cannot clean up after an abandoned acquisition; its lease expires by itself";
    let error_type = store_type(error.kind());
    emit!(warn, "lock.cleanup_failed", (name, core.owner), {
        error.type = error_type, error = display(error)
    }, "{message}");
}

/// Logs that a leader that has lost its lock has not acquired it again yet.
pub(crate) fn not_led(core: &Core, name: &LockName, error: &AcquireError) {
    let message = "a lost lock was not acquired again; another attempt follows";
    let error_type = acquire_type(error);
    emit!(warn, "lock.lead_failed", (name, core.owner), {
        error.type = error_type, error = display(error)
    }, "{message}");
}

fn number(holder: &Holder) -> Option<u64> {
    holder.token.map(FencingToken::get)
}

fn ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the stable name of the reason of a loss.
pub(crate) fn loss_type(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Expired => "expired",
        LossReason::TakenOver => "taken_over",
        LossReason::Revoked => "revoked",
        LossReason::RowGone => "row_gone",
        LossReason::MaxHold => "max_hold",
        LossReason::Suspended => "suspended",
        LossReason::RenewalStopped => "renewal_stopped",
        _ => "other",
    }
}

/// Returns the stable name of the kind of a store's error.
pub(crate) fn store_type(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Unanswered => "unanswered",
        StoreErrorKind::Throttled => "throttled",
        StoreErrorKind::AccessDenied => "access_denied",
        StoreErrorKind::Misconfigured => "misconfigured",
        StoreErrorKind::Refused => "refused",
    }
}

fn acquire_type(error: &AcquireError) -> &'static str {
    match error {
        AcquireError::TimedOut { .. } => "timed_out",
        AcquireError::Store(error) => store_type(error.kind()),
        AcquireError::Row { .. } => "row",
        AcquireError::Config(_) => "config",
    }
}

/// Returns a file of the repository. It is read at run time, so that the tests compile in the packed crate too.
#[cfg(test)]
pub(crate) fn document(name: &str) -> String {
    let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).expect("a clone of the repository")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use tracing::{Metadata, Subscriber, span};

    use super::*;
    use crate::{Client, Memory};

    /// Name, level and fields of a span or an event.
    type Record = (String, String, Vec<String>);

    /// Subscriber that keeps the name, the level and the fields of each span and event.
    #[derive(Clone, Debug, Default)]
    struct Recorder(Arc<Mutex<BTreeSet<Record>>>);

    impl Recorder {
        fn add(&self, metadata: &Metadata<'_>) {
            let fields = metadata.fields().iter().map(|field| field.name().to_owned());
            let fields = fields.filter(|name| name != "message").collect();
            let record = (metadata.name().to_owned(), metadata.level().to_string(), sorted(fields));
            self.0.lock().expect("no panic").insert(record);
        }
    }

    impl Subscriber for Recorder {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == TARGET
        }

        fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
            self.add(attributes.metadata());
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            self.add(event.metadata());
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    fn sorted(mut fields: Vec<String>) -> Vec<String> {
        fields.sort();
        fields
    }

    /// Returns the rows of the page's table under this heading.
    fn rows(heading: &str) -> BTreeSet<Record> {
        let page = document("observability.md");
        let section = page.split("\n## ").find(|section| section.starts_with(heading)).expect("the section exists");
        let lines = section.lines().filter(|line| line.starts_with("| `lock."));
        let mut rows = BTreeSet::new();
        for line in lines {
            let cells: Vec<_> = line.split('|').collect();
            let levels = codes(cells[2]);
            rows.extend(levels.into_iter().map(|level| (codes(cells[1]).concat(), level, sorted(codes(cells[3])))));
        }
        rows
    }

    /// Returns the parts of a cell that are code.
    fn codes(cell: &str) -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    fn events_of(core: &Core, name: &LockName) {
        let (holder, error) = (&Holder::default(), &crate::run::unanswered());
        let (token, length) = (FencingToken::new(1), Duration::from_millis(1));
        let reason = LossReason::Expired;
        let all = [
            Event::Waiting { name, holder },
            Event::WaitEnded { name },
            Event::Contended { name, holder: None, waited: length },
            Event::TakenOver { name, holder },
            Event::Acquired { name, token, waited: length },
            Event::Renewed { name, token, lateness: length },
            Event::Renewed { name, token, lateness: LATE },
            Event::Lost { name, token, reason, held: length, last_error: Some(error) },
            Event::Released { name, token, held: length },
            Event::RequestFailed { name, error },
        ];
        all.iter().for_each(|event| core.event(*event));
        dropped_at_once(core, name);
        not_released(core, name, error);
        not_cleaned_up(core, name, error);
        not_led(core, name, &AcquireError::Store(error.clone()));
    }

    #[tokio::test]
    async fn spans_and_events_are_those_of_the_page() {
        let client = Client::builder(Memory::new()).build().expect("valid");
        let guard = client.lock("a").expect("valid").acquire().await.expect("free");
        let (spans, events) = (Recorder::default(), Recorder::default());
        tracing::subscriber::with_default(spans.clone(), || {
            acquire_span(&client.core, guard.name());
            drop([hold_span, renew_span, release_span].map(|span| span(&guard.holding)));
        });
        tracing::subscriber::with_default(events.clone(), || events_of(&client.core, guard.name()));
        assert_eq!(*spans.0.lock().expect("no panic"), rows("Spans"));
        assert_eq!(*events.0.lock().expect("no panic"), rows("Log events"));
    }

    /// The names of the types of errors are part of the page.
    #[test]
    fn error_types_are_those_of_the_page() {
        use LossReason::{Expired, MaxHold, RenewalStopped, Revoked, RowGone, Suspended, TakenOver};
        let losses = [Expired, TakenOver, Revoked, RowGone, MaxHold, Suspended, RenewalStopped].map(loss_type);
        use StoreErrorKind::{AccessDenied, Misconfigured, Refused, Throttled, Unanswered};
        let kinds = [Unanswered, Throttled, AccessDenied, Misconfigured, Refused].map(store_type);
        let page = document("observability.md");
        for name in losses.iter().chain(&kinds).chain(&["held", "timed_out", "row", "config"]) {
            assert!(page.contains(&format!("| `{name}` |")), "{name} is in a table of error types");
        }
    }
}
