//! Checks with concurrent writers: each writer is a task that uses one of the two handles.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::samples::{acquire, free_row, held_row, lease, op, release, renew};
use super::{coverage::CheckResult, harness::Harness, harness::Written};
use crate::store::{Consistency, FencingToken, LockName, Op, OpKind, RecordVersion, Row};

/// Writes all ops concurrently. Returns each op with its outcome, in any order.
async fn race(harness: &Harness<'_>, ops: Vec<Op>) -> Result<Vec<(Op, Written)>, String> {
    let mut writers = JoinSet::new();
    for (nth, op) in ops.into_iter().enumerate() {
        let handle = harness.handle(nth).clone();
        writers.spawn(async move { handle.write(&op).await.map(|written| (op, written)) });
    }
    let mut answers = Vec::new();
    while let Some(answer) = writers.join_next().await {
        answers.push(answer.map_err(|e| format!("a writer panicked: {e}"))??);
    }
    Ok(answers)
}

/// Checks that exactly one write was applied, that the row is as this write has returned it, and that all other writes
/// have returned the same row as a conflict.
async fn one_winner(harness: &Harness<'_>, name: &LockName, answers: Vec<(Op, Written)>) -> CheckResult {
    let applied: Vec<&Row> =
        answers.iter().filter_map(|(_, w)| if let Written::Applied(row) = w { row.as_ref() } else { None }).collect();
    let [winner] = applied[..] else {
        return Err(format!("{} of {} writes were applied, not one", applied.len(), answers.len()));
    };
    for (op, written) in &answers {
        match written {
            Written::Applied(Some(row)) if row.version().as_ref() == Some(&op.version) => {}
            Written::Conflict(row) if row.as_ref() == Some(winner) => {}
            other => return Err(format!("{winner:?} was applied, but another write has returned {other:?}")),
        }
    }
    harness.expect_row(name, Some(winner), "after the race").await
}

/// Races writers in each round: inserts the row of the round, and writes one op for each writer.
async fn one_winner_per_round(
    harness: &Harness<'_>,
    name: &LockName,
    row: impl Fn(u32) -> Option<Row>,
    op: impl Fn(u128) -> Op,
) -> CheckResult {
    for round in 0..harness.options.rounds {
        harness.insert_raw(name, row(round)).await?;
        let ops = (0..harness.options.writers).map(|writer| op(1_000 + u128::from(writer))).collect();
        let answers = race(harness, ops).await?;
        one_winner(harness, name, answers).await.map_err(|deviation| format!("round {round}: {deviation}"))?;
    }
    Ok(())
}

pub(super) async fn acquire_race(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    let row = |round| (round % 2 == 0).then(|| free_row(7));
    one_winner_per_round(harness, name, row, |id| acquire(name, id)).await
}

pub(super) async fn take_over(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    let take_over = |id| {
        let (seen, seen_token) = (RecordVersion::from_random(1), Some(FencingToken::new(7)));
        op(name, id, OpKind::TakeOver { lease: lease(id), seen, seen_token, ended: None })
    };
    one_winner_per_round(harness, name, |_| Some(held_row(3, 7)), take_over).await
}

/// Checks that a release ends the lease: renewals are applied before it, and none after it.
pub(super) async fn release_race(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    for round in 0..harness.options.rounds {
        harness.insert_raw(name, Some(held_row(3, 7))).await?;
        let mut ops: Vec<_> = (1..u64::from(harness.options.writers))
            .map(|renewal_seq| renew(name, 1_000 + u128::from(renewal_seq), 3, 7, renewal_seq))
            .collect();
        // In the middle of the renewals, and on the other handle in every other round.
        ops.insert((ops.len() / 2).saturating_sub(round as usize % 2), release(name, 2_000, 3, 7));
        let answers = race(harness, ops).await?;
        release_survived(harness, name, &answers).await.map_err(|deviation| format!("round {round}: {deviation}"))?;
    }
    Ok(())
}

async fn release_survived(harness: &Harness<'_>, name: &LockName, answers: &[(Op, Written)]) -> CheckResult {
    let is_release = |op: &Op| matches!(op.kind, OpKind::Release { .. });
    let Some((release, written)) = answers.iter().find(|(op, _)| is_release(op)) else { return Ok(()) };
    if !matches!(written, Written::Applied(_)) {
        return Err(format!("a renewal does not end a lease, but the release has returned {written:?}"));
    }
    let freed = harness.handle(0).read(name, Consistency::Strong).await?;
    let freed = freed.filter(|row| row.version().as_ref() == Some(&release.version));
    let freed = freed.ok_or("after the race, the row is not as the release has left it")?;
    harness.expect_row(name, Some(&freed), "after the race").await?;
    for (op, written) in answers {
        let OpKind::Renew { renewal_seq, .. } = op.kind else { continue };
        match written {
            Written::Applied(None) => {}
            Written::Applied(Some(row)) if row.whole("renewalSeq") == Some(renewal_seq) => {}
            Written::Conflict(Some(row)) if *row == freed || row.whole("renewalSeq") > Some(renewal_seq) => {}
            other => {
                return Err(format!("renewal {renewal_seq} must find a later renewal or the release, not {other:?}"));
            }
        }
    }
    Ok(())
}

/// Checks the tokens of writers that acquire and release as fast as possible: each acquisition has the next token.
pub(super) async fn tokens(harness: &Harness<'_>, name: &LockName) -> CheckResult {
    harness.insert_raw(name, Some(free_row(7))).await?;
    let mut writers = JoinSet::new();
    for writer in 0..harness.options.writers {
        let (handle, name, rounds) = (harness.handle(writer as usize).clone(), name.clone(), harness.options.rounds);
        writers.spawn(async move {
            let mut tokens = Vec::new();
            for round in 0..rounds {
                let id = 1_000 + u128::from(writer) * 1_000_000 + u128::from(round);
                let Written::Applied(Some(row)) = handle.write(&acquire(&name, id)).await? else { continue };
                let token = row.whole("token").ok_or("an acquired row has no token")?;
                tokens.push(token);
                handle.write_applied(&release(&name, (1 << 64) + id, id, token), "the release of the holder").await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, String>(tokens)
        });
    }
    let mut issued = Vec::new();
    while let Some(tokens) = writers.join_next().await {
        issued.extend(tokens.map_err(|e| format!("a writer panicked: {e}"))??);
    }
    let distinct: BTreeSet<_> = issued.iter().copied().collect();
    if distinct.len() != issued.len() {
        return Err(format!("{} acquisitions have only {} different tokens", issued.len(), distinct.len()));
    }
    let row = harness.handle(0).read(name, Consistency::Strong).await?.ok_or("the row is missing")?;
    let last = row.whole("token").unwrap_or(0);
    if last != 7 + issued.len() as u64 || distinct.last().is_some_and(|max| *max != last) {
        return Err(format!("after token 7 and {} acquisitions the token is {last}", issued.len()));
    }
    Ok(())
}
