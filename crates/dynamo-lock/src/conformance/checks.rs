//! Checks that one writer can make.

use std::collections::BTreeMap;
use std::time::Duration;

use super::exam::{Exam, Passed, Written, acquire, agree, difference, free_row, held_row, release, renew};
use super::{Case, Coverage, Dice};
use crate::LockName;
use crate::clock::{Clock, SystemClock};
use crate::store::{Consistency, NAME_MAX, Op, RecordVersion, Row, Value, Verdict, apply};

/// Pages of a listing, after which it is given up.
const PAGES_MAX: usize = 2_000;
/// A listing may be stale: how often it is asked for again.
const LISTINGS_MAX: u32 = 5;

pub(super) async fn planted(exam: &Exam<'_>) -> Passed {
    let name = exam.name("planted")?;
    exam.plant(&name, None).await?;
    exam.expect_row(&name, None, "after a row was removed").await?;
    let mut dice = Dice::from_seed(exam.options.seed);
    for _ in 0..20 {
        let case = Case::generate(&name, &mut dice);
        exam.plant(&name, case.row.clone()).await?;
        exam.expect_row(&name, case.row.as_ref(), "after a row was planted").await?;
    }
    exam.plant(&name, None).await
}

pub(super) async fn generated(exam: &Exam<'_>, coverage: &mut Coverage) -> Passed {
    let name = exam.name("generated")?;
    let mut dice = Dice::from_seed(exam.options.seed);
    for number in 0..exam.options.cases {
        let case = Case::generate(&name, &mut dice);
        one_case(exam, &case, number as usize, coverage).await.map_err(|why| format!("case {number}: {why}"))?;
    }
    exam.plant(&name, None).await
}

async fn one_case(exam: &Exam<'_>, case: &Case, number: usize, coverage: &mut Coverage) -> Passed {
    let Some(first) = case.ops.first() else { return Ok(()) };
    exam.plant(&first.name, case.row.clone()).await?;
    let mut row = case.row.clone();
    for (nth, op) in case.ops.iter().enumerate() {
        let verdict = apply(row.as_ref(), op);
        coverage.count(op, &verdict);
        let context = |why| format!("op {nth}, {:?} on {row:?}: {why}", op.kind);
        let written = exam.handle(number + nth).write(op).await.map_err(context)?;
        agree(&verdict, &written).map_err(context)?;
        let after = match verdict {
            Verdict::Applied(row) => Some(row),
            Verdict::Conflict(row) => row,
        };
        exam.expect_row(&op.name, after.as_ref(), "afterwards").await.map_err(context)?;
        row = after;
    }
    Ok(())
}

/// Plants a row, writes an op, compares the answer and the row with the specification.
async fn one_write(exam: &Exam<'_>, row: Option<Row>, op: &Op) -> Passed {
    exam.plant(&op.name, row.clone()).await?;
    let verdict = apply(row.as_ref(), op);
    for handle in &exam.handles {
        exam.plant(&op.name, row.clone()).await?;
        agree(&verdict, &handle.write(op).await?)?;
    }
    exam.plant(&op.name, None).await
}

pub(super) async fn applied_row(exam: &Exam<'_>) -> Passed {
    let name = exam.name("applied")?;
    one_write(exam, None, &acquire(&name, 2)).await?;
    one_write(exam, Some(free_row(7)), &acquire(&name, 2)).await?;
    one_write(exam, Some(held_row(3, 7)), &renew(&name, 2, 3, 7, 1)).await?;
    one_write(exam, Some(held_row(3, 7)), &release(&name, 2, 3, 7)).await
}

pub(super) async fn conflict_row(exam: &Exam<'_>) -> Passed {
    let name = exam.name("conflict")?;
    one_write(exam, Some(held_row(3, 7)), &acquire(&name, 2)).await?;
    one_write(exam, Some(held_row(3, 7)), &renew(&name, 2, 3, 8, 1)).await?;
    one_write(exam, Some(free_row(7)), &release(&name, 2, 3, 7)).await?;
    one_write(exam, None, &release(&name, 2, 3, 7)).await
}

pub(super) async fn conflict_changes_nothing(exam: &Exam<'_>) -> Passed {
    let name = exam.name("unchanged")?;
    let rows = [Some(held_row(3, 7)), None];
    for row in rows {
        exam.plant(&name, row.clone()).await?;
        for (nth, op) in [release(&name, 2, 4, 7), renew(&name, 2, 3, 7, 0)].iter().enumerate() {
            exam.handle(nth).write(op).await?;
            exam.expect_row(&name, row.as_ref(), "after a conflict").await?;
        }
    }
    exam.plant(&name, None).await
}

pub(super) async fn foreign_attributes(exam: &Exam<'_>) -> Passed {
    let name = exam.name("foreign")?;
    let mut row = free_row(7);
    let text = |value: &str| Value::from(value);
    let foreign = [("note", text("n")), ("wanted", 2.into()), ("map", Value::Other(r#"{"M":{"a":{"N":"1"}}}"#.into()))];
    for (attribute, value) in foreign.clone() {
        row.set(attribute, value);
    }
    exam.plant(&name, Some(row)).await?;
    let ops = [acquire(&name, 2), renew(&name, 3, 2, 8, 1), release(&name, 4, 2, 8)];
    for (nth, op) in ops.iter().enumerate() {
        exam.handle(nth).write(op).await?;
        let row = exam.handle(nth).read(&name, Consistency::Strong).await?.ok_or("the row is gone")?;
        for (attribute, value) in &foreign {
            if row.get(attribute) != Some(value) {
                return Err(format!("after {:?}, {attribute:?} is {:?}, not {value:?}", op.kind, row.get(attribute)));
            }
        }
    }
    exam.plant(&name, None).await
}

pub(super) async fn missing_attribute(exam: &Exam<'_>) -> Passed {
    let name = exam.name("missing")?;
    for attribute in ["leaseId", "guid", "token", "v", "expiresOn"] {
        let mut row = free_row(7);
        row.remove(attribute);
        expect_conflict(exam, row, &acquire(&name, 2)).await.map_err(|why| format!("without {attribute:?}: {why}"))?;
    }
    for attribute in ["leaseId", "token", "v", "expiresOn", "renewalSeq"] {
        let mut row = held_row(3, 7);
        row.remove(attribute);
        let op = renew(&name, 2, 3, 7, 1);
        expect_conflict(exam, row, &op).await.map_err(|why| format!("without {attribute:?}: {why}"))?;
        // The same as text, which is neither above nor below a number and equal to none.
        let mut row = held_row(3, 7);
        if let Some(number) = row.number(attribute).cloned() {
            row.set(attribute, number.as_str().into());
            expect_conflict(exam, row, &op).await.map_err(|why| format!("{attribute:?} as text: {why}"))?;
        }
    }
    exam.plant(&name, None).await
}

async fn expect_conflict(exam: &Exam<'_>, row: Row, op: &Op) -> Passed {
    exam.plant(&op.name, Some(row)).await?;
    match exam.handle(0).write(op).await? {
        Written::Conflict(_) => Ok(()),
        Written::Applied(row) => Err(format!("it must be a conflict, and was applied: {row:?}")),
    }
}

pub(super) async fn once(exam: &Exam<'_>) -> Passed {
    let name = exam.name("once")?;
    exam.plant(&name, Some(free_row(7))).await?;
    for round in 0..10u64 {
        let nonce = 10 + u128::from(round);
        let (taken, given) = (acquire(&name, nonce), release(&name, 100 + nonce, nonce, 8 + round));
        for (op, what) in [(&taken, "an acquisition"), (&given, "a release")] {
            let written = exam.handle(round as usize).write(op).await?;
            if !matches!(written, Written::Applied(_)) {
                return Err(format!("{what} that is the first of its kind must be applied, and was {written:?}"));
            }
            let row = exam.handle(0).read(&name, Consistency::Strong).await?.ok_or("the row is gone")?;
            if row.whole("token") != Some(8 + round) {
                return Err(format!("after {what} the token is {:?}, not {}", row.get("token"), 8 + round));
            }
        }
    }
    exam.plant(&name, None).await
}

pub(super) async fn strong_reads(exam: &Exam<'_>) -> Passed {
    let name = exam.name("strong")?;
    exam.plant(&name, Some(held_row(3, 7))).await?;
    for renewal_seq in 1..=u64::from(exam.options.rounds) {
        let op = renew(&name, 1_000 + u128::from(renewal_seq), 3, 7, renewal_seq);
        let row = exam.handle(0).read(&name, Consistency::Strong).await?;
        let Verdict::Applied(expected) = apply(row.as_ref(), &op) else {
            return Err(format!("before renewal {renewal_seq} the row is not as the renewals before left it: {row:?}"));
        };
        exam.handle(renewal_seq as usize).write(&op).await?;
        exam.expect_row(&name, Some(&expected), "after a write was answered").await?;
    }
    exam.plant(&name, None).await?;
    exam.expect_row(&name, None, "after the row was removed").await
}

pub(super) async fn eventual_reads(exam: &Exam<'_>) -> Passed {
    let name = exam.name("eventual")?;
    exam.plant(&name, Some(held_row(3, 7))).await?;
    // No row is a state that it was in too.
    let mut states = vec![None, Some(held_row(3, 7))];
    for renewal_seq in 1..=u64::from(exam.options.rounds) {
        let op = renew(&name, 1_000 + u128::from(renewal_seq), 3, 7, renewal_seq);
        exam.handle(renewal_seq as usize).write(&op).await?;
        states.push(exam.handle(0).read(&name, Consistency::Strong).await?);
        for handle in &exam.handles {
            let row = handle.read(&name, Consistency::Eventual).await?;
            if !states.contains(&row) {
                let last = states.last().and_then(Option::as_ref);
                return Err(format!("it never was as shown; to the last state: {}", difference(last, row.as_ref())));
            }
        }
    }
    exam.plant(&name, None).await
}

pub(super) async fn names(exam: &Exam<'_>) -> Passed {
    let fill = "x".repeat(NAME_MAX.saturating_sub(exam.options.prefix.len() + "names/".len() + 1));
    let long = [format!("{fill}1"), format!("{fill}2")];
    let mut rest = vec!["lock", "Lock", "LOCK", "lock ", " lock", "lock  ", "\u{e9}", "e\u{301}", "K", "\u{212a}", "k"];
    rest.extend([
        "\u{df}", "ss", "%", "_", "%25", "'", "''", "\"", "\\", "/", "//", "a/b", "a/b/", ".", "..", "*", "?",
    ]);
    rest.extend(["1", "01", "1.0", "1e0", "#n", ":v", "\u{1F512}", "\u{feff}", "\u{ffff}", "'; DROP TABLE locks; --"]);
    rest.extend(long.iter().map(String::as_str));
    let names = rest.iter().map(|rest| exam.name(&format!("names/{rest}"))).collect::<Result<Vec<_>, _>>()?;
    for name in &names {
        exam.plant(name, None).await?;
    }
    for (nth, name) in names.iter().enumerate() {
        let written = exam.handle(nth).write(&acquire(name, 10 + nth as u128)).await?;
        if !matches!(written, Written::Applied(_)) {
            return Err(format!("{name:?} has no row yet, but acquiring it was {written:?}"));
        }
    }
    for (nth, name) in names.iter().enumerate() {
        let Verdict::Applied(row) = apply(None, &acquire(name, 10 + nth as u128)) else { continue };
        exam.expect_row(name, Some(&row), &format!("on {name:?}")).await?;
    }
    for name in &names {
        exam.plant(name, None).await?;
    }
    Ok(())
}

pub(super) async fn list(exam: &Exam<'_>) -> Passed {
    let mut rows = BTreeMap::new();
    for nth in 0..exam.options.listed {
        let mut row = if nth % 2 == 0 { free_row(7) } else { held_row(3, 7) };
        row.set("guid", RecordVersion::from_random(u128::from(nth)).as_str().into());
        row.set("data", "d".repeat(4_096).as_str().into());
        row.set("note", Value::Other(r#"{"L":[{"S":"x"},{"NULL":true}]}"#.to_owned()));
        row.set("more", "m".repeat(1_024).as_str().into());
        let name = exam.name(&format!("list/{nth}"))?;
        exam.plant(&name, Some(row.clone())).await?;
        rows.insert(name, row);
    }
    for handle in 0..2 {
        let mut found = one_listing(exam, handle, &rows).await?;
        for attempt in 1..LISTINGS_MAX {
            if found.is_none() {
                break;
            }
            SystemClock.sleep(Duration::from_millis(20 << attempt)).await;
            found = one_listing(exam, handle, &rows).await?;
        }
        if let Some(stale) = found {
            return Err(format!("asked {LISTINGS_MAX} times: {stale}"));
        }
    }
    for name in rows.keys() {
        exam.plant(name, None).await?;
    }
    Ok(())
}

/// What may be because the listing is stale is in the inner answer.
async fn one_listing(exam: &Exam<'_>, handle: usize, rows: &BTreeMap<LockName, Row>) -> Result<Option<String>, String> {
    let prefix = exam.name("list/")?;
    let mut found: BTreeMap<String, Row> = BTreeMap::new();
    let mut after = None;
    for _ in 0..PAGES_MAX {
        let page = exam.handle(handle).list(after.as_deref()).await?;
        for (name, row) in page.rows.into_iter().filter(|(name, _)| name.starts_with(prefix.as_str())) {
            if found.insert(name.clone(), row).is_some() {
                return Err(format!("{name:?} is listed twice"));
            }
        }
        if page.next.is_some() && page.next == after {
            return Err(format!("it does not end: after {after:?} comes {after:?}"));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if after.is_some() {
        return Err(format!("it does not end after {PAGES_MAX} pages"));
    }
    for (name, row) in rows {
        match found.remove(name.as_str()) {
            None => return Ok(Some(format!("{name:?} is not listed"))),
            Some(listed) if listed != *row => {
                return Ok(Some(format!("{name:?} is listed otherwise: {}", difference(Some(row), Some(&listed)))));
            }
            Some(_) => {}
        }
    }
    Ok(found.keys().next().map(|name| format!("{name:?} is listed, and is not there")))
}
