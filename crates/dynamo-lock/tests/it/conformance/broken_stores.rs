//! Negative controls of the conformance checks: each check fails for a store that has exactly the defect that the check
//! is meant to find.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dynamo_lock::conformance::{InsertError, Options, Report, StoreUnderTest, run};
use dynamo_lock::store::{Answer, BoxFuture, Change, Condition, Consistency, Page, Path, Value, Verdict, apply, attr};
use dynamo_lock::{LockName, Memory, Store, StoreError, StoreErrorKind};
use dynamo_lock_protocol::{Op, OpKind, Outcome, Row, SharedOp, SharedWrite, holds};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    /// Conforms.
    None,
    /// Applies every write.
    IgnoresCondition,
    /// Returns the previous row, also to a strong read of the second handle.
    IgnoresStrong,
    /// Mixes two versions of a row in an eventual read.
    TearsEventualReads,
    /// Returns no row with a conflict.
    DropsConflictingRow,
    /// Applies each write twice.
    AppliesTwice,
    /// Sends each applied write once more and returns the second outcome.
    RetriesInternally,
    /// Drops attributes that it does not know.
    LosesUnknownAttributes,
    /// Drops attributes that are neither text nor number.
    LosesOtherTypes,
    /// Evaluates a write on the previous version of the row.
    WritesOnOldCopy,
    /// Evaluates the condition and writes in two steps.
    YieldsBetweenReadAndWrite,
    /// Like `YieldsBetweenReadAndWrite`, for renewals only.
    YieldsBeforeRenewal,
    /// Returns the row from before the write.
    ReturnsOldRowAsApplied,
    /// Returns no row with any applied write.
    OmitsAppliedRow,
    /// Treats a missing attribute as different from a value.
    TakesMissingForDifferent,
    /// Treats a text of digits as a number.
    ComparesNumbersAsText,
    /// Ignores case in names.
    FoldsCase,
    /// Ignores spaces at the end of names.
    TrimsNames,
    /// Omits the last page of a listing.
    DropsLastPage,
    /// Returns the last row of a page again on the next one.
    RepeatsRowBetweenPages,
    /// Returns a cursor with every page.
    ListsForever,
    /// Omits an attribute in listings.
    ListsWithoutAttributes,
    /// Reports a write as applied without writing.
    AppliesWithoutWriting,
    /// Reports a conflict but writes.
    WritesOnConflict,
    /// Refuses a token that is not a whole number.
    RefusesFraction,
    /// Rounds a token.
    DropsFraction,
    /// Writes the map of holders with the own entry alone.
    LosesOtherEntries,
    /// Admits one holder more than the limit.
    AdmitsOneMore,
    /// Keeps the end of an entry's lease that a renewal removes.
    KeepsEndOfEntry,
    /// Returns `Unanswered` to every request.
    NeverAnswers,
    /// Never ends a request.
    Hangs,
    /// Throttles every request.
    ThrottlesAlways,
    /// Throttles every other request.
    ThrottlesEveryOther,
    /// Ignores rows that are inserted directly.
    IgnoresRawInserts,
}

/// `Memory` with one defect.
#[derive(Clone, Debug)]
struct BrokenStore {
    rows: Memory,
    defect: Defect,
    /// The state of each row before the last write.
    before: Arc<Mutex<BTreeMap<LockName, Option<Row>>>>,
    requests: Arc<Mutex<u64>>,
    second: bool,
}

impl BrokenStore {
    fn new(defect: Defect) -> Self {
        Self { rows: Memory::new(), defect, before: Arc::default(), requests: Arc::default(), second: false }
    }

    fn key(&self, name: &LockName) -> LockName {
        let text = match self.defect {
            Defect::FoldsCase => name.as_str().to_lowercase(),
            Defect::TrimsNames => name.as_str().trim_end().to_owned(),
            _ => return name.clone(),
        };
        LockName::new(text).expect("the prefix remains")
    }

    async fn current(&self, name: &LockName) -> Option<Row> {
        self.rows.read(name, Consistency::Strong).await.result.expect("Memory reads")
    }

    /// Returns the error of this request, if the defect concerns all requests.
    async fn request(&self) -> Result<(), StoreError> {
        let nth = {
            let mut requests = self.requests.lock().unwrap();
            *requests += 1;
            *requests
        };
        let error = |kind| Err(StoreError::new(kind, "on purpose"));
        match self.defect {
            Defect::Hangs => std::future::pending().await,
            Defect::NeverAnswers => error(StoreErrorKind::Unanswered),
            Defect::ThrottlesAlways => error(StoreErrorKind::Throttled),
            Defect::ThrottlesEveryOther if nth % 2 == 0 => error(StoreErrorKind::Throttled),
            _ => Ok(()),
        }
    }

    /// Returns the verdict of this store on an op.
    fn verdict(&self, row: Option<&Row>, op: &Op) -> Verdict {
        match (self.defect, apply(row, op)) {
            (Defect::IgnoresCondition, Verdict::Conflict(_)) => Verdict::Applied(apply_unconditionally(row, op)),
            (Defect::TakesMissingForDifferent, Verdict::Conflict(_)) if holds_loosely(row, &op.condition()) => {
                Verdict::Applied(apply_unconditionally(row, op))
            }
            (Defect::ComparesNumbersAsText, Verdict::Conflict(_))
                if holds(row.map(texts_as_numbers).as_ref(), &op.condition()) =>
            {
                Verdict::Applied(apply_unconditionally(row, op))
            }
            (Defect::AppliesTwice, Verdict::Applied(once)) => Verdict::Applied(apply_unconditionally(Some(&once), op)),
            (Defect::LosesUnknownAttributes, Verdict::Applied(mut row)) => {
                row.remove("note");
                Verdict::Applied(row)
            }
            (Defect::LosesOtherTypes, Verdict::Applied(row)) => {
                let kept = row.attributes().filter(|(_, value)| matches!(value, Value::S(_) | Value::N(_)));
                Verdict::Applied(Row::new(kept.map(|(name, value)| (name.to_owned(), value.clone()))))
            }
            (Defect::DropsFraction, Verdict::Applied(mut row)) if is_fraction(&row) => {
                row.set(attr::TOKEN, 2.into());
                Verdict::Applied(row)
            }
            (_, verdict) => self.shared_verdict(row, op, verdict),
        }
    }

    /// Returns the verdict of this store on a write to a shared row, `verdict` for all others.
    fn shared_verdict(&self, row: Option<&Row>, op: &Op, verdict: Verdict) -> Verdict {
        let OpKind::Shared(write) = &op.kind else { return verdict };
        match (self.defect, &write.op, verdict) {
            (Defect::LosesOtherEntries, SharedOp::Join { entry, .. }, Verdict::Applied(mut row)) => {
                if let Some(Value::Map(mut holders)) = row.get(attr::HOLDERS).cloned() {
                    holders.retain(|key, _| key == entry.lease_id.as_str());
                    row.set(attr::HOLDERS, Value::Map(holders));
                }
                Verdict::Applied(row)
            }
            (Defect::AdmitsOneMore, SharedOp::Join { limit, entry }, Verdict::Conflict(_)) => {
                let join = SharedOp::Join { limit: limit + 1, entry: entry.clone() };
                apply(row, &Op { kind: OpKind::Shared(SharedWrite { op: join, ..write.clone() }), ..op.clone() })
            }
            (Defect::KeepsEndOfEntry, SharedOp::Renew { holder, .. }, Verdict::Applied(mut after)) => {
                let end = row.and_then(|row| row.at(&Path::Field(holder.key(), attr::EXPIRES_ON)));
                if let (Some(end), Some(Value::Map(mut holders))) = (end, after.get(attr::HOLDERS).cloned()) {
                    if let Some(Value::Map(fields)) = holders.get_mut(holder.key().as_str()) {
                        fields.entry(attr::EXPIRES_ON.to_owned()).or_insert_with(|| end.clone());
                    }
                    after.set(attr::HOLDERS, Value::Map(holders));
                }
                Verdict::Applied(after)
            }
            (_, _, verdict) => verdict,
        }
    }

    async fn perform(&self, op: &Op) -> Result<Outcome, StoreError> {
        self.request().await?;
        let name = self.key(&op.name);
        let current = self.current(&name).await;
        let before = self.before.lock().unwrap().insert(name.clone(), current.clone());
        let mut seen = current.clone();
        match self.defect {
            Defect::WritesOnOldCopy => seen = before.unwrap_or(seen),
            Defect::YieldsBetweenReadAndWrite => tokio::task::yield_now().await,
            Defect::YieldsBeforeRenewal if matches!(op.kind, dynamo_lock_protocol::OpKind::Renew { .. }) => {
                tokio::task::yield_now().await;
            }
            _ => {}
        }
        match self.verdict(seen.as_ref(), op) {
            Verdict::Applied(row) if self.defect == Defect::RefusesFraction && is_fraction(&row) => {
                Err(StoreError::new(StoreErrorKind::Refused, "the token is no whole number"))
            }
            Verdict::Applied(row) => {
                if self.defect != Defect::AppliesWithoutWriting {
                    self.rows.insert_raw(&name, Some(row.clone()));
                }
                match self.defect {
                    Defect::RetriesInternally => self.rows.write(op).await.result,
                    Defect::ReturnsOldRowAsApplied => Ok(Outcome::Applied(Some(current.unwrap_or_default()))),
                    Defect::OmitsAppliedRow => Ok(Outcome::Applied(None)),
                    _ => Ok(Outcome::Applied(Some(row))),
                }
            }
            Verdict::Conflict(row) => {
                if self.defect == Defect::WritesOnConflict {
                    self.rows.insert_raw(&name, Some(apply_unconditionally(row.as_ref(), op)));
                }
                Ok(Outcome::Conflict(if self.defect == Defect::DropsConflictingRow { None } else { row }))
            }
        }
    }

    async fn page(&self, after: Option<&str>) -> Result<Page, StoreError> {
        self.request().await?;
        let mut rows = self.rows.list(None).await.result?.rows;
        if self.defect == Defect::ListsWithoutAttributes {
            rows.iter_mut().for_each(|(_, row)| row.remove("note"));
        }
        const PAGE: usize = 40;
        let from: usize = after.map_or(0, |after| after.parse().expect("a cursor of this store"));
        let to = (from + PAGE).min(rows.len());
        let next = match self.defect {
            Defect::ListsForever => Some(to.to_string()),
            Defect::DropsLastPage if to + PAGE >= rows.len() => None,
            Defect::RepeatsRowBetweenPages if to < rows.len() => Some((to - 1).to_string()),
            _ => (to < rows.len()).then(|| to.to_string()),
        };
        Ok(Page { rows: rows.drain(from..to).collect(), next })
    }
}

impl Store for BrokenStore {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            if let Err(error) = self.request().await {
                return Err(error).into();
            }
            let name = self.key(name);
            let before = self.before.lock().unwrap().get(&name).cloned();
            let mut row = self.current(&name).await;
            match (self.defect, consistency, before) {
                (Defect::IgnoresStrong, _, Some(before)) if self.second => row = before,
                (Defect::TearsEventualReads, Consistency::Eventual, Some(Some(before))) => {
                    if let (Some(row), Some(version)) = (&mut row, before.get(attr::GUID)) {
                        row.set(attr::GUID, version.clone());
                    }
                }
                _ => {}
            }
            Ok(row).into()
        })
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        Box::pin(async move { self.perform(op).await.into() })
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        Box::pin(async move { self.page(after).await.into() })
    }
}

impl StoreUnderTest for BrokenStore {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    fn other(&self) -> Arc<dyn Store> {
        Arc::new(Self { second: true, ..self.clone() })
    }

    fn insert_raw<'a>(&'a self, name: &'a LockName, row: Option<Row>) -> BoxFuture<'a, Result<(), InsertError>> {
        let name = self.key(name);
        self.before.lock().unwrap().remove(&name);
        if self.defect != Defect::IgnoresRawInserts {
            self.rows.insert_raw(&name, row);
        }
        Box::pin(async { Ok(()) })
    }
}

fn is_fraction(row: &Row) -> bool {
    row.number(attr::TOKEN).is_some_and(|token| token.as_str().contains('.'))
}

/// Returns the row after the op, even if its condition does not hold.
fn apply_unconditionally(row: Option<&Row>, op: &Op) -> Row {
    let mut next = row.cloned().unwrap_or_default();
    for change in op.changes() {
        match change {
            Change::Set(Path::Attribute(name), value) => next.set(name, value),
            Change::Copy { to: Path::Attribute(name), from, default } => {
                next.set(name, row.and_then(|row| row.at(&from)).cloned().unwrap_or(default));
            }
            Change::Remove(Path::Attribute(name)) => next.remove(name),
            Change::Next(Path::Attribute(name), floor) => {
                next.set(name, (next.whole(name).unwrap_or(floor) + 1).into());
            }
            Change::Replace(row) => next = row,
            // Only the changes of attributes are made, which is enough for a wrong row.
            Change::Set(..) | Change::Copy { .. } | Change::Remove(_) | Change::Next(..) => {}
        }
    }
    next
}

fn holds_loosely(row: Option<&Row>, condition: &Condition) -> bool {
    match condition {
        Condition::Differs(path, value) => row.and_then(|row| row.at(path)) != Some(value),
        Condition::All(all) => all.iter().all(|condition| holds_loosely(row, condition)),
        Condition::Any(any) => any.iter().any(|condition| holds_loosely(row, condition)),
        simple => holds(row, simple),
    }
}

fn texts_as_numbers(row: &Row) -> Row {
    let number = |value: &Value| match value {
        // Lease IDs are left alone: they begin with zeros.
        Value::S(text) if text == "0" || !text.starts_with('0') => {
            text.parse::<u64>().map_or_else(|_| value.clone(), Value::from)
        }
        other => other.clone(),
    };
    Row::new(row.attributes().map(|(name, value)| (name.to_owned(), number(value))))
}

async fn report(defect: Defect) -> Report {
    run(&BrokenStore::new(defect), Options { cases: 300, rounds: 10, listed: 100, ..Options::default() }).await
}

/// Defines a test for each defect, with the check that must find it and a word of the failure.
macro_rules! finds {
    ($($test:ident: $defect:ident, $check:literal, $word:literal;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $test() {
            let report = report(Defect::$defect).await;
            let found = report.failures().find(|(check, _)| *check == $check);
            let (_, failure) = found.expect("the defect is found");
            assert!(failure.contains($word), "{failure}");
            assert!(failure.len() < 4_000, "{failure}");
        }
    )*};
}

finds! {
    ignored_condition_is_found: IgnoresCondition, "a conflict changes nothing", "after a conflict";
    ignored_condition_is_found_by_generated_ops: IgnoresCondition, "writes do what the specification says", "Conflict";
    ignored_consistency_is_found: IgnoresStrong, "a strong read sees every write that was answered", "second handle";
    torn_eventual_read_is_found:
        TearsEventualReads, "an eventual read returns a state that the row was in", "never was";
    conflict_without_row_is_found: DropsConflictingRow, "a conflict returns the current row", "no row";
    write_applied_twice_is_found: AppliesTwice, "one write takes effect once", "not 8";
    internal_retry_is_found: RetriesInternally, "one write takes effect once", "must be applied";
    lost_unknown_attribute_is_found:
        LosesUnknownAttributes, "attributes that an op does not name stay as they are", "note";
    lost_attribute_of_other_type_is_found: LosesOtherTypes, "attributes that an op does not name stay as they are", "map";
    write_on_old_copy_is_found: WritesOnOldCopy, "one write takes effect once", "must be applied";
    acquire_in_two_steps_is_found:
        YieldsBetweenReadAndWrite, "one of several racing acquisitions wins", "not one";
    takeover_in_two_steps_is_found:
        YieldsBetweenReadAndWrite, "one of several racing takeovers wins", "not one";
    duplicate_token_is_found:
        YieldsBetweenReadAndWrite, "racing acquisitions have consecutive tokens", "";
    overwritten_release_is_found:
        YieldsBeforeRenewal, "a release survives the renewals that race it", "after the race";
    old_row_as_applied_is_found:
        ReturnsOldRowAsApplied, "an applied write returns the row as it has left it", "another row";
    omitted_applied_row_is_found:
        OmitsAppliedRow, "an applied write returns the row as it has left it", "does not contain the row";
    missing_taken_for_different_is_found:
        TakesMissingForDifferent, "a comparison with a missing attribute does not hold", "must be a conflict";
    text_taken_for_number_is_found:
        ComparesNumbersAsText, "a comparison with a missing attribute does not hold", "as text";
    case_insensitive_name_is_found: FoldsCase, "names are compared by bytes", "has no row yet";
    trimmed_name_is_found: TrimsNames, "names are compared by bytes", "has no row yet";
    missing_last_page_is_found: DropsLastPage, "a list contains every row once, as it is", "is not listed";
    row_repeated_between_pages_is_found: RepeatsRowBetweenPages, "a list contains every row once, as it is", "twice";
    endless_list_is_found: ListsForever, "a list contains every row once, as it is", "does not end";
    list_without_attributes_is_found: ListsWithoutAttributes, "a list contains every row once, as it is", "otherwise";
    applied_but_not_written_is_found: AppliesWithoutWriting, "a strong read sees every write that was answered", "renewalSeq";
    write_on_conflict_is_found: WritesOnConflict, "a conflict changes nothing", "after a conflict";
    refused_fraction_is_found: RefusesFraction, "writes do what the specification says", "was refused";
    dropped_fraction_is_found: DropsFraction, "writes do what the specification says", "\"token\" is";
    lost_entry_is_found:
        LosesOtherEntries, "writes to shared rows do what the specification says", "\"holders\" is";
    ignored_limit_is_found: AdmitsOneMore, "writes to shared rows do what the specification says", "Conflict";
    kept_end_of_entry_is_found:
        KeepsEndOfEntry, "writes to shared rows do what the specification says", "\"holders\" is";
    unanswered_request_is_found: NeverAnswers, "one write takes effect once", "was not answered";
    hanging_request_is_found: Hangs, "one write takes effect once", "longer than 30s";
    endless_throttling_is_found: ThrottlesAlways, "one write takes effect once", "throttled 10 times";
    ignored_raw_insert_is_found: IgnoresRawInserts, "an inserted row is read as it is", "after a row was inserted";
}

#[tokio::test(start_paused = true)]
async fn store_without_defect_passes() {
    report(Defect::None).await.assert_passed();
}

#[tokio::test(start_paused = true)]
async fn store_that_throttles_sometimes_passes() {
    report(Defect::ThrottlesEveryOther).await.assert_passed();
}

#[tokio::test(start_paused = true)]
async fn defect_fails_no_other_check() {
    assert_eq!(report(Defect::FoldsCase).await.failed(), ["names are compared by bytes"]);
    assert_eq!(report(Defect::ListsForever).await.failed(), ["a list contains every row once, as it is"]);
    assert_eq!(
        report(Defect::TearsEventualReads).await.failed(),
        ["an eventual read returns a state that the row was in"]
    );
}
