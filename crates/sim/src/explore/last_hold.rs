//! The record of the last hold: it is of a hold that was in the row, and that ended this way.
//!
//! No write depends on the record, so the states do not contain it. Each write instead finds the same old record in the
//! row, and must either leave it or replace it by that of the hold that this write ends. By induction the record is true
//! in every state, whichever answers were lost.

use dynamo_lock_protocol::{Op, OpKind, Row, RowState, Target, Value, attr};

use super::{Config, Violation, World, entries, service};

const ATTRIBUTES: [&str; 5] =
    [attr::LAST_OWNER, attr::LAST_ACQUIRED_ON, attr::LAST_ENDED_ON, attr::LAST_END, attr::LAST_EXIT_CODE];

/// Returns the row with a record of an older hold.
pub fn with_old_record(row: &Row) -> Row {
    let mut row = row.clone();
    if row.get(attr::V).is_some() && !entries::is_shared(&row) {
        let values: [Value; 5] = ["old".into(), 1.into(), 2.into(), "forced".into(), 99.into()];
        ATTRIBUTES.into_iter().zip(values).for_each(|(name, value)| row.set(name, value));
    }
    row
}

/// Returns the row without a record.
pub fn without_record(mut row: Row) -> Row {
    ATTRIBUTES.into_iter().for_each(|name| row.remove(name));
    row
}

/// Checks the record that a write leaves. `before` has an old record.
pub fn check(world: &World, config: &Config, before: Option<&Row>, row: &Row, op: &Op) -> Result<(), Violation> {
    let none = Row::default();
    let before = before.unwrap_or(&none);
    let is_kept = ATTRIBUTES.into_iter().all(|name| row.get(name) == before.get(name));
    let is_recorded_as = |end: &str| {
        let same = |to, from| before.get(from).is_some() && row.get(to) == before.get(from);
        let is_copied = same(attr::LAST_OWNER, attr::OWNER) && same(attr::LAST_ACQUIRED_ON, attr::ACQUIRED_ON);
        is_copied && row.text(attr::LAST_END) == Some(end) && row.get(attr::LAST_EXIT_CODE).is_none()
    };
    // The times of a hold that its holder ends are from one clock.
    let is_after_begin = || row.whole(attr::LAST_ENDED_ON) >= before.whole(service::TRUE_ACQUIRED_ON);
    let is_released = || is_recorded_as("released") && is_after_begin();
    // The largest token that was reported, also where a row can have several holders.
    let reported = world.past.reported.max(world.past.entries.token);
    let hands_over = config.clients.iter().any(|client| client.next_lease_ms.is_some());
    // The deletion of the table ends the facts about the tokens that were reported before.
    let knows_reports = world.past.deleted.is_empty();
    let is_true = match (&op.kind, before.state()) {
        (OpKind::LegacyGet { .. } | OpKind::Convert(_), _) => {
            ATTRIBUTES.into_iter().all(|name| row.get(name).is_none())
        }
        // A hold that was reported to a user is recorded. An acquisition that was abandoned is not, unless the release
        // is that of an earlier user of the same client, from whom the lock could not be handed over.
        (OpKind::Release { token: Some(token), .. }, _) if token.get() <= reported => is_released(),
        (OpKind::Release { .. }, _) if hands_over || !knows_reports => is_kept || is_released(),
        (OpKind::Finish { .. }, _) => is_released(),
        (OpKind::TakeOver { .. }, Ok(RowState::Held(_))) if before.get(attr::REVOKED_TOKEN).is_none() => {
            is_recorded_as("expired")
        }
        (OpKind::Revoke { target: Target::Token(_), .. }, Ok(RowState::Held(_))) => is_recorded_as("revoked"),
        (OpKind::ForceRevoke { target: Target::Token(_), .. }, Ok(RowState::Held(_))) => is_recorded_as("forced"),
        // A row of npm dynamo-lock with a token, which has no owner, or a row that the condition of a takeover excludes.
        (OpKind::Revoke { target: Target::Token(_), .. } | OpKind::ForceRevoke { target: Target::Token(_), .. }, _)
        | (OpKind::TakeOver { .. }, Ok(RowState::Free | RowState::Done(_)) | Err(_)) => true,
        _ => is_kept,
    };
    match is_true {
        true => Ok(()),
        false => Err("E: the record of the last hold is not that of the hold that the write ends".into()),
    }
}
