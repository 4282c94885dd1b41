//! Checks that take many writers at once: each is a task, on one of the two handles.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::exam::{Exam, Passed, Written, acquire, free_row, held_row, lease, op, release, renew};
use crate::FencingToken;
use crate::store::{Consistency, LockName, Op, OpKind, RecordVersion, Row};

/// Sends these at once; the answers beside the op, in any order.
async fn race(exam: &Exam<'_>, ops: Vec<Op>) -> Result<Vec<(Op, Written)>, String> {
    let mut writers = JoinSet::new();
    for (nth, op) in ops.into_iter().enumerate() {
        let handle = exam.handle(nth).clone();
        writers.spawn(async move { handle.write(&op).await.map(|written| (op, written)) });
    }
    let mut answers = Vec::new();
    while let Some(answer) = writers.join_next().await {
        answers.push(answer.map_err(|e| format!("a writer panicked: {e}"))??);
    }
    Ok(answers)
}

/// Exactly one was applied, the row is as it says, and all others were told of that row.
async fn one_winner(exam: &Exam<'_>, name: &LockName, answers: Vec<(Op, Written)>) -> Passed {
    let applied: Vec<&Row> =
        answers.iter().filter_map(|(_, w)| if let Written::Applied(r) = w { Some(r) } else { None }).collect();
    let [winner] = applied[..] else {
        return Err(format!("{} of {} writers were answered Applied, not one", applied.len(), answers.len()));
    };
    for (op, written) in &answers {
        match written {
            Written::Applied(row) if row.version().as_ref() == Some(&op.version) => {}
            Written::Conflict(row) if row.as_ref() == Some(winner) => {}
            odd => return Err(format!("the row that won is {winner:?}, and another writer was told {odd:?}")),
        }
    }
    exam.expect_row(name, Some(winner), "after the race").await
}

pub(super) async fn acquire_race(exam: &Exam<'_>) -> Passed {
    let name = exam.name("race")?;
    for round in 0..exam.options.rounds {
        exam.plant(&name, (round % 2 == 0).then(|| free_row(7))).await?;
        let ops = (0..exam.options.writers).map(|writer| acquire(&name, 1_000 + u128::from(writer))).collect();
        let answers = race(exam, ops).await?;
        one_winner(exam, &name, answers).await.map_err(|why| format!("round {round}: {why}"))?;
    }
    exam.plant(&name, None).await
}

pub(super) async fn take_over(exam: &Exam<'_>) -> Passed {
    let name = exam.name("dead")?;
    for round in 0..exam.options.rounds {
        exam.plant(&name, Some(held_row(3, 7))).await?;
        let one = |nonce: u128| {
            let (seen, seen_token) = (RecordVersion::from_random(1), Some(FencingToken::new(7)));
            op(&name, nonce, OpKind::TakeOver { lease: lease(nonce), seen, seen_token })
        };
        let ops = (0..exam.options.writers).map(|writer| one(1_000 + u128::from(writer))).collect();
        let answers = race(exam, ops).await?;
        one_winner(exam, &name, answers).await.map_err(|why| format!("round {round}: {why}"))?;
    }
    exam.plant(&name, None).await
}

/// A release ends the reign: whatever renewals land before it, none after.
pub(super) async fn release_race(exam: &Exam<'_>) -> Passed {
    let name = exam.name("release")?;
    for round in 0..exam.options.rounds {
        exam.plant(&name, Some(held_row(3, 7))).await?;
        let mut ops: Vec<_> = (1..u64::from(exam.options.writers))
            .map(|renewal_seq| renew(&name, 1_000 + u128::from(renewal_seq), 3, 7, renewal_seq))
            .collect();
        // In the middle, on either handle.
        ops.insert((ops.len() / 2).saturating_sub(round as usize % 2), release(&name, 2_000, 3, 7));
        let answers = race(exam, ops).await?;
        release_survived(exam, &name, &answers).await.map_err(|why| format!("round {round}: {why}"))?;
    }
    exam.plant(&name, None).await
}

async fn release_survived(exam: &Exam<'_>, name: &LockName, answers: &[(Op, Written)]) -> Passed {
    let released = answers.iter().find(|(op, _)| matches!(op.kind, OpKind::Release { .. }));
    let Some((_, Written::Applied(freed))) = released else {
        return Err(format!("no renewal ends a reign, but the release was answered {released:?}"));
    };
    exam.expect_row(name, Some(freed), "after the race").await?;
    for (op, written) in answers {
        let OpKind::Renew { renewal_seq, .. } = op.kind else { continue };
        match written {
            Written::Applied(row) if row.whole("renewalSeq") == Some(renewal_seq) => {}
            Written::Conflict(Some(row)) if row == freed || row.whole("renewalSeq") > Some(renewal_seq) => {}
            odd => return Err(format!("renewal {renewal_seq} must find a later renewal or the release, not {odd:?}")),
        }
    }
    Ok(())
}

/// Writers acquire and release in turns, as fast as they can: no two get one token, and none is left out.
pub(super) async fn tokens(exam: &Exam<'_>) -> Passed {
    let name = exam.name("tokens")?;
    exam.plant(&name, Some(free_row(7))).await?;
    let mut writers = JoinSet::new();
    for writer in 0..exam.options.writers {
        let (handle, name, rounds) = (exam.handle(writer as usize).clone(), name.clone(), exam.options.rounds);
        writers.spawn(async move {
            let mut tokens = Vec::new();
            for round in 0..rounds {
                let nonce = 1_000 + u128::from(writer) * 1_000_000 + u128::from(round);
                let Written::Applied(row) = handle.write(&acquire(&name, nonce)).await? else { continue };
                let token = row.whole("token").ok_or("an acquired row has no token")?;
                tokens.push(token);
                let freed = handle.write(&release(&name, (1 << 64) + nonce, nonce, token)).await?;
                if !matches!(freed, Written::Applied(_)) {
                    return Err(format!("a holder's release was answered {freed:?}"));
                }
                tokio::task::yield_now().await;
            }
            Ok(tokens)
        });
    }
    let mut given = Vec::new();
    while let Some(tokens) = writers.join_next().await {
        given.extend(tokens.map_err(|e| format!("a writer panicked: {e}"))??);
    }
    let distinct: BTreeSet<_> = given.iter().copied().collect();
    if distinct.len() != given.len() {
        return Err(format!("of {} acquisitions only {} have a token of their own", given.len(), distinct.len()));
    }
    let row = exam.handle(0).read(&name, Consistency::Strong).await?.ok_or("the row is gone")?;
    let last = row.whole("token").unwrap_or(0);
    if last != 7 + given.len() as u64 || distinct.last().is_some_and(|max| *max != last) {
        return Err(format!("after {} acquisitions from token 7 on the token is {last}", given.len()));
    }
    exam.plant(&name, None).await
}
