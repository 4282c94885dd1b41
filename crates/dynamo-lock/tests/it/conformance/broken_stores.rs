//! Each check of `dynamo_lock::conformance` finds the fault that it is there for: a store that has exactly this fault
//! does not pass.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dynamo_lock::conformance::{Options, PlantError, Report, Subject, run};
use dynamo_lock::store::{Answer, BoxFuture, Change, Condition, Consistency, Page, Value, Verdict, apply, attr};
use dynamo_lock::{LockName, Memory, Store, StoreError, StoreErrorKind};
use dynamo_lock_protocol::{Op, Outcome, Row, holds};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    IgnoresTheCondition,
    IgnoresStrong,
    TearsEventualReads,
    DropsTheConflictingRow,
    AppliesTwice,
    RetriesInside,
    LosesUnknownAttributes,
    LosesOtherTypes,
    WritesOnAnOldCopy,
    YieldsBetweenReadAndWrite,
    YieldsBeforeARenewalLands,
    BringsTheOldRowAsApplied,
    TakesMissingForDifferent,
    ComparesNumbersAsText,
    FoldsCase,
    TrimsNames,
    DropsTheLastPage,
    RepeatsARowBetweenPages,
    ListsForEver,
    ListsWithoutAttributes,
    AppliesWithoutWriting,
    WritesOnConflict,
    RefusesAFraction,
    DropsTheFraction,
    NeverAnswers,
    Hangs,
    ThrottlesAlways,
    ThrottlesEveryOther,
    PlantsNothing,
}

/// A store that is `Memory` but for one fault.
#[derive(Clone, Debug)]
struct Broken {
    rows: Memory,
    fault: Fault,
    /// The state of each row before the last write.
    before: Arc<Mutex<BTreeMap<LockName, Option<Row>>>>,
    requests: Arc<Mutex<u64>>,
    second: bool,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self { rows: Memory::new(), fault, before: Arc::default(), requests: Arc::default(), second: false }
    }

    fn key(&self, name: &LockName) -> LockName {
        let text = match self.fault {
            Fault::FoldsCase => name.as_str().to_lowercase(),
            Fault::TrimsNames => name.as_str().trim_end().to_owned(),
            _ => return name.clone(),
        };
        LockName::new(text).expect("the prefix is left")
    }

    async fn now(&self, name: &LockName) -> Option<Row> {
        self.rows.read(name, Consistency::Strong).await.result.expect("Memory reads")
    }

    /// Something that goes wrong with any request.
    async fn request(&self) -> Result<(), StoreError> {
        let nth = {
            let mut requests = self.requests.lock().unwrap();
            *requests += 1;
            *requests
        };
        let error = |kind| Err(StoreError::new(kind, "on purpose"));
        match self.fault {
            Fault::Hangs => std::future::pending().await,
            Fault::NeverAnswers => error(StoreErrorKind::Unanswered),
            Fault::ThrottlesAlways => error(StoreErrorKind::Throttled),
            Fault::ThrottlesEveryOther if nth % 2 == 0 => error(StoreErrorKind::Throttled),
            _ => Ok(()),
        }
    }

    /// What the fault makes of the op, on the row as this store sees it.
    fn verdict(&self, row: Option<&Row>, op: &Op) -> Verdict {
        match (self.fault, apply(row, op)) {
            (Fault::IgnoresTheCondition, Verdict::Conflict(_)) => Verdict::Applied(forced(row, op)),
            (Fault::TakesMissingForDifferent, Verdict::Conflict(_)) if holds_loosely(row, &op.condition()) => {
                Verdict::Applied(forced(row, op))
            }
            (Fault::ComparesNumbersAsText, Verdict::Conflict(_))
                if holds(row.map(texts_as_numbers).as_ref(), &op.condition()) =>
            {
                Verdict::Applied(forced(row, op))
            }
            (Fault::AppliesTwice, Verdict::Applied(once)) => Verdict::Applied(forced(Some(&once), op)),
            (Fault::LosesUnknownAttributes, Verdict::Applied(mut row)) => {
                row.remove("note");
                Verdict::Applied(row)
            }
            (Fault::LosesOtherTypes, Verdict::Applied(row)) => {
                let kept = row.attributes().filter(|(_, value)| !matches!(value, Value::Other(_)));
                Verdict::Applied(Row::new(kept.map(|(name, value)| (name.to_owned(), value.clone()))))
            }
            (Fault::DropsTheFraction, Verdict::Applied(mut row)) if is_fraction(&row) => {
                row.set(attr::TOKEN, 2.into());
                Verdict::Applied(row)
            }
            (_, verdict) => verdict,
        }
    }

    async fn perform(&self, op: &Op) -> Result<Outcome, StoreError> {
        self.request().await?;
        let name = self.key(&op.name);
        let current = self.now(&name).await;
        let before = self.before.lock().unwrap().insert(name.clone(), current.clone());
        let mut seen = current.clone();
        match self.fault {
            Fault::WritesOnAnOldCopy => seen = before.unwrap_or(seen),
            Fault::YieldsBetweenReadAndWrite => tokio::task::yield_now().await,
            Fault::YieldsBeforeARenewalLands if matches!(op.kind, dynamo_lock_protocol::OpKind::Renew { .. }) => {
                tokio::task::yield_now().await;
            }
            _ => {}
        }
        match self.verdict(seen.as_ref(), op) {
            Verdict::Applied(row) if self.fault == Fault::RefusesAFraction && is_fraction(&row) => {
                Err(StoreError::new(StoreErrorKind::Refused, "the token is no whole number"))
            }
            Verdict::Applied(row) => {
                if self.fault != Fault::AppliesWithoutWriting {
                    self.rows.plant(&name, Some(row.clone()));
                }
                match self.fault {
                    Fault::RetriesInside => self.rows.write(op).await.result,
                    Fault::BringsTheOldRowAsApplied => Ok(Outcome::Applied(current.unwrap_or_default())),
                    _ => Ok(Outcome::Applied(row)),
                }
            }
            Verdict::Conflict(row) => {
                if self.fault == Fault::WritesOnConflict {
                    self.rows.plant(&name, Some(forced(row.as_ref(), op)));
                }
                Ok(Outcome::Conflict(if self.fault == Fault::DropsTheConflictingRow { None } else { row }))
            }
        }
    }

    async fn page(&self, after: Option<&str>) -> Result<Page, StoreError> {
        self.request().await?;
        let mut rows = self.rows.list(None).await.result?.rows;
        if self.fault == Fault::ListsWithoutAttributes {
            rows.iter_mut().for_each(|(_, row)| row.remove("note"));
        }
        const PAGE: usize = 40;
        let from: usize = after.map_or(0, |after| after.parse().expect("our own cursor"));
        let to = (from + PAGE).min(rows.len());
        let next = match self.fault {
            Fault::ListsForEver => Some(to.to_string()),
            Fault::DropsTheLastPage if to + PAGE >= rows.len() => None,
            Fault::RepeatsARowBetweenPages if to < rows.len() => Some((to - 1).to_string()),
            _ => (to < rows.len()).then(|| to.to_string()),
        };
        Ok(Page { rows: rows.drain(from..to).collect(), next })
    }
}

impl Store for Broken {
    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        Box::pin(async move {
            if let Err(error) = self.request().await {
                return Err(error).into();
            }
            let name = self.key(name);
            let before = self.before.lock().unwrap().get(&name).cloned();
            let mut row = self.now(&name).await;
            match (self.fault, consistency, before) {
                (Fault::IgnoresStrong, _, Some(before)) if self.second => row = before,
                (Fault::TearsEventualReads, Consistency::Eventual, Some(Some(before))) => {
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

impl Subject for Broken {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    fn other(&self) -> Arc<dyn Store> {
        Arc::new(Self { second: true, ..self.clone() })
    }

    fn plant<'a>(&'a self, name: &'a LockName, row: Option<Row>) -> BoxFuture<'a, Result<(), PlantError>> {
        let name = self.key(name);
        self.before.lock().unwrap().remove(&name);
        if self.fault != Fault::PlantsNothing {
            self.rows.plant(&name, row);
        }
        Box::pin(async { Ok(()) })
    }
}

fn is_fraction(row: &Row) -> bool {
    row.number(attr::TOKEN).is_some_and(|token| token.as_str().contains('.'))
}

/// What the op leaves, whether its condition holds or not.
fn forced(row: Option<&Row>, op: &Op) -> Row {
    let mut next = row.cloned().unwrap_or_default();
    for change in op.changes() {
        match change {
            Change::Set(name, value) => next.set(name, value),
            Change::Remove(name) => next.remove(name),
            Change::Replace(row) => next = row,
            Change::Next(name, token_floor) => next.set(name, (next.whole(name).unwrap_or(token_floor) + 1).into()),
        }
    }
    next
}

fn holds_loosely(row: Option<&Row>, condition: &Condition) -> bool {
    match condition {
        Condition::Differs(name, value) => row.and_then(|row| row.get(name)) != Some(value),
        Condition::All(all) => all.iter().all(|condition| holds_loosely(row, condition)),
        Condition::Any(any) => any.iter().any(|condition| holds_loosely(row, condition)),
        simple => holds(row, simple),
    }
}

fn texts_as_numbers(row: &Row) -> Row {
    let number = |value: &Value| match value {
        // Not the nonces, which begin with zeros.
        Value::S(text) if text == "0" || !text.starts_with('0') => {
            text.parse::<u64>().map_or_else(|_| value.clone(), Value::from)
        }
        other => other.clone(),
    };
    Row::new(row.attributes().map(|(name, value)| (name.to_owned(), number(value))))
}

async fn examine(fault: Fault) -> Report {
    run(&Broken::new(fault), Options { cases: 300, rounds: 10, listed: 100, ..Options::default() }).await
}

/// A test for each fault, by the check that must find it, and a word of what it must say.
macro_rules! finds {
    ($($test:ident: $fault:ident, $check:literal, $says:literal;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $test() {
            let report = examine(Fault::$fault).await;
            let found = report.checks().iter().find(|check| check.name == $check).expect("a check of this name");
            let why = found.outcome.as_ref().expect_err("the fault was not found");
            assert!(why.contains($says), "{why}");
            assert!(why.len() < 4_000, "{why}");
        }
    )*};
}

finds! {
    a_condition_must_not_be_ignored: IgnoresTheCondition, "a conflict changes nothing", "after a conflict";
    generated_ops_find_an_ignored_condition: IgnoresTheCondition, "writes do what the specification says", "Conflict";
    strong_must_not_be_ignored: IgnoresStrong, "a strong read sees every write that was answered", "second handle";
    an_eventual_read_must_not_be_torn:
        TearsEventualReads, "an eventual read shows some state that the row was in", "never was";
    a_conflict_must_not_drop_the_row: DropsTheConflictingRow, "a conflict brings the row as it stands", "no row";
    a_write_must_not_take_effect_twice: AppliesTwice, "one write takes effect once", "not 8";
    a_retry_must_not_hide_in_the_store: RetriesInside, "one write takes effect once", "must be applied";
    unknown_attributes_must_not_be_lost:
        LosesUnknownAttributes, "attributes that an op does not name stay as they are", "note";
    other_types_must_not_be_lost: LosesOtherTypes, "attributes that an op does not name stay as they are", "map";
    a_write_must_not_be_on_an_old_copy: WritesOnAnOldCopy, "one write takes effect once", "must be applied";
    a_write_must_be_one_with_its_condition:
        YieldsBetweenReadAndWrite, "of writers who race for a free lock one wins", "not one";
    a_takeover_must_be_one_with_its_condition:
        YieldsBetweenReadAndWrite, "of writers who race for a dead lock one wins", "not one";
    no_two_may_get_one_token:
        YieldsBetweenReadAndWrite, "the tokens of racing acquisitions are one row of numbers", "";
    a_release_must_not_be_overwritten:
        YieldsBeforeARenewalLands, "a release survives the renewals that race it", "after the race";
    applied_must_not_bring_the_old_row:
        BringsTheOldRowAsApplied, "an applied write brings the row as it left it", "another row";
    missing_must_not_be_different:
        TakesMissingForDifferent, "a comparison with a missing attribute does not hold", "must be a conflict";
    text_must_not_be_a_number:
        ComparesNumbersAsText, "a comparison with a missing attribute does not hold", "as text";
    names_must_not_fold_case: FoldsCase, "names are compared by bytes", "has no row yet";
    names_must_not_be_trimmed: TrimsNames, "names are compared by bytes", "has no row yet";
    a_list_must_not_drop_its_last_page: DropsTheLastPage, "a list shows every row once, as it is", "is not listed";
    a_list_must_not_repeat_a_row: RepeatsARowBetweenPages, "a list shows every row once, as it is", "twice";
    a_list_must_end: ListsForEver, "a list shows every row once, as it is", "does not end";
    a_list_must_bring_attributes: ListsWithoutAttributes, "a list shows every row once, as it is", "otherwise";
    applied_must_mean_written: AppliesWithoutWriting, "a strong read sees every write that was answered", "renewalSeq";
    a_conflict_must_not_write: WritesOnConflict, "a conflict changes nothing", "after a conflict";
    a_fraction_must_not_be_refused: RefusesAFraction, "writes do what the specification says", "was refused";
    a_fraction_must_not_be_dropped: DropsTheFraction, "writes do what the specification says", "\"token\" is";
    no_answer_is_a_failure: NeverAnswers, "one write takes effect once", "was not answered";
    a_request_must_end: Hangs, "one write takes effect once", "longer than 30s";
    throttling_must_end: ThrottlesAlways, "one write takes effect once", "throttled 10 times";
    planting_must_plant: PlantsNothing, "a planted row is read as it is", "after a row was planted";
}

#[tokio::test(start_paused = true)]
async fn a_store_without_a_fault_passes() {
    examine(Fault::None).await.assert_passed();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_throttles_now_and_then_passes() {
    examine(Fault::ThrottlesEveryOther).await.assert_passed();
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_names_fails_no_other_check() {
    assert_eq!(examine(Fault::FoldsCase).await.failed(), ["names are compared by bytes"]);
    assert_eq!(examine(Fault::ListsForEver).await.failed(), ["a list shows every row once, as it is"]);
    assert_eq!(
        examine(Fault::TearsEventualReads).await.failed(),
        ["an eventual read shows some state that the row was in"]
    );
}
