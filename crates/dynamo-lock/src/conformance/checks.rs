//! Checks that need one writer only.

use std::{collections::BTreeMap, time::Duration};

use super::coverage::CheckResult;
use super::harness::{Handle, Harness, Written, compare, difference};
use super::samples::{acquire, free_row, held_row, release, renew};
use super::{case::Case, rng::Rng};
use crate::clock::{Clock, SystemClock};
use crate::store::{Consistency, LockName, NAME_MAX, Op, RecordVersion, Row, Value, Verdict, apply};

/// Pages of a listing at most. A longer listing counts as endless.
const PAGES_MAX: usize = 2_000;
/// Number of listings until a missing or old row counts as a failure, because a listing may be stale.
const LISTINGS_MAX: u32 = 5;
/// Names, separated by `|`, that a store could confuse with each other or with its own notation.
const SIMILAR_NAMES: &str = "lock|Lock|LOCK|lock | lock|lock  |\u{e9}|e\u{301}|K|\u{212a}|k|\u{df}|ss|%|_|%25|'|''|\"|\\|\
    /|//|a/b|a/b/|.|..|*|?|1|01|1.0|1e0|#n|:v|\u{1F512}|\u{feff}|\u{ffff}|'; DROP TABLE locks; --";

pub(super) async fn raw_inserts(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    harness.insert_raw(name, None).await?;
    harness.expect_row(name, None, "after a row was removed").await?;
    let mut rng = Rng::from_seed(harness.options.seed);
    for _ in 0..20 {
        let row = Case::generate(name, &mut rng).row;
        harness.insert_raw(name, row.clone()).await?;
        harness.expect_row(name, row.as_ref(), "after a row was inserted").await?;
    }
    Ok(())
}

pub(super) async fn generated(
    harness: &mut Harness<'_>,
    name: &str,
    cases: u32,
    generate: fn(&LockName, &mut Rng) -> Case,
) -> CheckResult {
    let name = harness.name(name)?;
    let mut rng = Rng::from_seed(harness.options.seed);
    for number in 0..cases {
        let case = generate(&name, &mut rng);
        let written = one_case(harness, &name, case, number as usize).await;
        written.map_err(|deviation| format!("case {number}: {deviation}"))?;
    }
    harness.insert_raw(&name, None).await
}

async fn one_case(harness: &mut Harness<'_>, name: &LockName, case: Case, number: usize) -> CheckResult {
    let mut row = case.row;
    harness.insert_raw(name, row.clone()).await?;
    for (nth, op) in case.ops.iter().enumerate() {
        let verdict = apply(row.as_ref(), op);
        harness.report.coverage.count(op, &verdict);
        let context = |deviation| format!("op {nth}, {:?} on {row:?}: {deviation}", op.kind);
        let written = harness.handle(number + nth).write(op).await.map_err(context)?;
        compare(&verdict, &written).map_err(context)?;
        let after = match verdict {
            Verdict::Applied(row) => Some(row),
            Verdict::Conflict(row) => row,
        };
        harness.expect_row(name, after.as_ref(), "afterwards").await.map_err(context)?;
        row = after;
    }
    Ok(())
}

/// Inserts each row and writes its op through each handle, and compares the outcome with the specification.
async fn compare_each<const N: usize>(harness: &Harness<'_>, writes: [(Option<Row>, Op); N]) -> CheckResult {
    for (row, op) in writes {
        let verdict = apply(row.as_ref(), &op);
        for handle in &harness.handles {
            harness.insert_raw(&op.name, row.clone()).await?;
            compare(&verdict, &handle.write(&op).await?)?;
        }
    }
    Ok(())
}

pub(super) async fn applied_row(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    let writes = [
        (None, acquire(name, 2)),
        (Some(free_row(7)), acquire(name, 2)),
        (Some(held_row(3, 7)), renew(name, 2, 3, 7, 1)),
        (Some(held_row(3, 7)), release(name, 2, 3, 7)),
    ];
    compare_each(harness, writes).await
}

pub(super) async fn conflict_row(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    let writes = [
        (Some(held_row(3, 7)), acquire(name, 2)),
        (Some(held_row(3, 7)), renew(name, 2, 3, 8, 1)),
        (Some(free_row(7)), release(name, 2, 3, 7)),
        (None, release(name, 2, 3, 7)),
    ];
    compare_each(harness, writes).await
}

pub(super) async fn conflict_changes_nothing(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    for row in [Some(held_row(3, 7)), None] {
        harness.insert_raw(name, row.clone()).await?;
        for (nth, op) in [release(name, 2, 4, 7), renew(name, 2, 3, 7, 0)].iter().enumerate() {
            harness.handle(nth).write(op).await?;
            harness.expect_row(name, row.as_ref(), "after a conflict").await?;
        }
    }
    Ok(())
}

pub(super) async fn unknown_attributes(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    let mut row = free_row(7);
    let map = Value::Map([("a".to_owned(), 1.into())].into());
    let unknown = [("note", "n".into()), ("wanted", 2.into()), ("map", map)];
    unknown.iter().for_each(|(attribute, value)| row.set(attribute, value.clone()));
    harness.insert_raw(name, Some(row)).await?;
    let ops = [acquire(name, 2), renew(name, 3, 2, 8, 1), release(name, 4, 2, 8)];
    for (nth, op) in ops.iter().enumerate() {
        harness.handle(nth).write(op).await?;
        let row = harness.handle(nth).read(name, Consistency::Strong).await?.ok_or("the row is missing")?;
        for (attribute, value) in &unknown {
            if row.get(attribute) != Some(value) {
                return Err(format!("after {:?}, {attribute:?} is {:?}, not {value:?}", op.kind, row.get(attribute)));
            }
        }
    }
    Ok(())
}

pub(super) async fn missing_attribute(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    let without = |mut row: Row, attribute| {
        row.remove(attribute);
        row
    };
    for attribute in ["leaseId", "guid", "token", "v", "expiresOn"] {
        let when = format!("without {attribute:?}");
        expect_conflict(harness, without(free_row(7), attribute), &acquire(name, 2), &when).await?;
    }
    let renewal = renew(name, 2, 3, 7, 1);
    for attribute in ["leaseId", "token", "v", "expiresOn", "renewalSeq"] {
        let mut row = held_row(3, 7);
        expect_conflict(harness, without(row.clone(), attribute), &renewal, &format!("without {attribute:?}")).await?;
        // The same value as text, which does not compare with a number.
        if let Some(number) = row.number(attribute).cloned() {
            row.set(attribute, number.as_str().into());
            expect_conflict(harness, row, &renewal, &format!("{attribute:?} as text")).await?;
        }
    }
    Ok(())
}

async fn expect_conflict(harness: &Harness<'_>, row: Row, op: &Op, when: &str) -> CheckResult {
    harness.insert_raw(&op.name, Some(row)).await?;
    match harness.handle(0).write(op).await.map_err(|deviation| format!("{when}: {deviation}"))? {
        Written::Conflict(_) => Ok(()),
        Written::Applied(row) => Err(format!("{when}: it must be a conflict, and was applied: {row:?}")),
    }
}

pub(super) async fn once(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    harness.insert_raw(name, Some(free_row(7))).await?;
    for round in 0..10u64 {
        let id = 10 + u128::from(round);
        let release = release(name, 100 + id, id, 8 + round);
        for (op, what) in [(acquire(name, id), "an acquisition"), (release, "a release")] {
            let first = format!("{what} that is written for the first time");
            harness.handle(round as usize).write_applied(&op, &first).await?;
            let row = harness.handle(0).read(name, Consistency::Strong).await?.ok_or("the row is missing")?;
            if row.whole("token") != Some(8 + round) {
                return Err(format!("after {what} the token is {:?}, not {}", row.get("token"), 8 + round));
            }
        }
    }
    Ok(())
}

pub(super) async fn strong_reads(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    harness.insert_raw(name, Some(held_row(3, 7))).await?;
    for renewal_seq in 1..=u64::from(harness.options.rounds) {
        let op = renew(name, 1_000 + u128::from(renewal_seq), 3, 7, renewal_seq);
        let row = harness.handle(0).read(name, Consistency::Strong).await?;
        let Verdict::Applied(expected) = apply(row.as_ref(), &op) else {
            return Err(format!(
                "before renewal {renewal_seq} the row differs from what the earlier renewals have written: {row:?}"
            ));
        };
        harness.handle(renewal_seq as usize).write(&op).await?;
        harness.expect_row(name, Some(&expected), "after a write was answered").await?;
    }
    harness.insert_raw(name, None).await?;
    harness.expect_row(name, None, "after the row was removed").await
}

pub(super) async fn eventual_reads(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    harness.insert_raw(name, Some(held_row(3, 7))).await?;
    // The row did not exist before, which is a state that a stale read may return.
    let mut states = vec![None, Some(held_row(3, 7))];
    for renewal_seq in 1..=u64::from(harness.options.rounds) {
        let op = renew(name, 1_000 + u128::from(renewal_seq), 3, 7, renewal_seq);
        harness.handle(renewal_seq as usize).write(&op).await?;
        states.push(harness.handle(0).read(name, Consistency::Strong).await?);
        for handle in &harness.handles {
            let row = handle.read(name, Consistency::Eventual).await?;
            if !states.contains(&row) {
                let difference = difference(states.last().and_then(Option::as_ref), row.as_ref());
                return Err(format!("the row never was in the state that was read; from the last one: {difference}"));
            }
        }
    }
    Ok(())
}

pub(super) async fn names(harness: &Harness<'_>) -> CheckResult {
    let fill = "x".repeat(NAME_MAX.saturating_sub(harness.options.prefix.len() + "names/".len() + 1));
    let long = [format!("{fill}1"), format!("{fill}2")];
    let rest = SIMILAR_NAMES.split('|').chain(long.iter().map(String::as_str));
    let names = rest.map(|rest| harness.name(&format!("names/{rest}"))).collect::<Result<Vec<_>, _>>()?;
    for name in &names {
        harness.insert_raw(name, None).await?;
    }
    for (nth, name) in names.iter().enumerate() {
        let acquisition = format!("an acquisition of {name:?}, which has no row yet,");
        harness.handle(nth).write_applied(&acquire(name, 10 + nth as u128), &acquisition).await?;
    }
    for (nth, name) in names.iter().enumerate() {
        let Verdict::Applied(row) = apply(None, &acquire(name, 10 + nth as u128)) else { continue };
        harness.expect_row(name, Some(&row), &format!("on {name:?}")).await?;
    }
    for name in &names {
        harness.insert_raw(name, None).await?;
    }
    Ok(())
}

pub(super) async fn list(harness: &Harness<'_>) -> CheckResult {
    let name = |nth| harness.name(&format!("list/{nth}"));
    let mut rows = BTreeMap::new();
    for nth in 0..harness.options.listed {
        let mut row = if nth % 2 == 0 { free_row(7) } else { held_row(3, 7) };
        row.set("guid", RecordVersion::from_random(u128::from(nth)).as_str().into());
        row.set("data", "d".repeat(4_096).as_str().into());
        row.set("note", Value::Other(r#"{"L":[{"S":"x"},{"NULL":true}]}"#.to_owned()));
        row.set("more", "m".repeat(1_024).as_str().into());
        harness.insert_raw(&name(nth)?, Some(row.clone())).await?;
        rows.insert(name(nth)?.to_string(), row);
    }
    for handle in &harness.handles {
        let mut listings = 1;
        while let Some(deviation) = stale_row(&listing(harness, handle).await?, &rows) {
            if listings == LISTINGS_MAX {
                return Err(format!("after {LISTINGS_MAX} listings: {deviation}"));
            }
            SystemClock.sleep(Duration::from_millis(10 << listings)).await;
            listings += 1;
        }
    }
    for nth in 0..harness.options.listed {
        harness.insert_raw(&name(nth)?, None).await?;
    }
    Ok(())
}

/// Lists all rows of the check once.
async fn listing(harness: &Harness<'_>, handle: &Handle) -> Result<BTreeMap<String, Row>, String> {
    let prefix = harness.name("list/")?;
    let mut found = BTreeMap::new();
    let mut after = None;
    for _ in 0..PAGES_MAX {
        let page = handle.list(after.as_deref()).await?;
        for (name, row) in page.rows.into_iter().filter(|(name, _)| name.starts_with(prefix.as_str())) {
            if found.insert(name.clone(), row).is_some() {
                return Err(format!("{name:?} is listed twice"));
            }
        }
        match page.next {
            None => return Ok(found),
            next if next == after => {
                return Err(format!("it does not end: the page after {after:?} has the same cursor"));
            }
            next => after = next,
        }
    }
    Err(format!("it does not end after {PAGES_MAX} pages"))
}

/// Returns a deviation of a listing that staleness would explain.
fn stale_row(listed: &BTreeMap<String, Row>, rows: &BTreeMap<String, Row>) -> Option<String> {
    let name = rows.keys().chain(listed.keys()).find(|name| rows.get(*name) != listed.get(*name))?;
    Some(match (rows.get(name), listed.get(name)) {
        (_, None) => format!("{name:?} is not listed"),
        (None, _) => format!("{name:?} is listed, but has no row"),
        (row, listed) => format!("{name:?} is listed otherwise: {}", difference(row, listed)),
    })
}
